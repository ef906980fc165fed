"""The presynaptic rule as a torch optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from synapses.layers import stochastic_layers
from synapses.rule import PresynapticRule
from theory.checks import as_number, one_of, shown

__all__ = ["PresynapticOptimizer", "presynaptic_step"]


def presynaptic_step(
    rule: PresynapticRule,
    strength: Tensor,
    release_probability: Tensor,
    gradient: Tensor,
    learning_rate: float,
    weight_decay: float = 0.0,
    direction: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return strength and release probability after one step; torch's twin of ``rule.step``.

    **Equation.** :class:`synapses.PresynapticRule`; the strength moves along ``direction``
    instead of the gradient if there is one.

    **Shapes and units.** Tensors of one shape.

    Parameters
    ----------
    rule : PresynapticRule
        The rule.
    strength : Tensor
        Expected strength p m.
    release_probability : Tensor
        In [0, 1].
    gradient : Tensor
        Of the loss in the expected strength; p follows it in any case.
    learning_rate : float
        eta.
    weight_decay : float
        lambda; not modulated.
    direction : Tensor or None
        What another optimiser would subtract, per unit of its learning rate.

    Returns
    -------
    strength, release_probability : Tensor
        New tensors.

    Examples
    --------
    >>> rule = PresynapticRule(0.07, 0.07, g_lim=0.001)
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> round(presynaptic_step(rule, 0.1 * one, 0.5 * one, 0.02 * one, 0.05)[1].item(), 15)
    0.57
    """
    p = release_probability
    rest = (1.0 if rule.variant == "printed" else rule.p_max) - p
    slope = gradient if direction is None else direction
    if rule.rate_modulation:
        slope = slope * rest
    if weight_decay:
        slope = slope + weight_decay * strength
    moved = strength - learning_rate * slope
    size = gradient.abs()
    printed = rule.variant == "printed"
    up = size > rule.g_lim if printed else size >= rule.g_lim
    frozen = p > rule.p_freeze if printed else p >= rule.p_freeze
    # tensors, not numbers: torch would take numbers for float32
    change = torch.where(up, p.new_tensor(rule.p_up), p.new_tensor(-rule.p_down))
    if not printed:
        change = change * rest
    after = torch.where(frozen, p, (p + change).clamp(rule.p_min, rule.p_max))
    return moved, after


class PresynapticOptimizer(Optimizer):
    r"""Trains strengths and release probabilities of stochastic layers by the presynaptic rule.

    **Equation.** :class:`synapses.PresynapticRule` with the gradient of the sampled network. A
    layer that holds amplitudes m is moved through :math:`\bar w = pm`:
    :math:`m' = \bar w'/p'`, with :math:`\partial L/\partial \bar w = (\partial L/\partial
    m)/p`.

    **Shapes and units.** As the layers.

    Parameters
    ----------
    model : torch.nn.Module
        A network with stochastic layers.
    rule : PresynapticRule
        Of p, and of the rate of the strengths.
    lr : float
        eta, > 0.
    weight_decay : float
        lambda, >= 0; for strengths only, not modulated by 1 - p.
    inner : torch.optim.Optimizer or None
        An optimiser of the same model whose direction, per unit of its own learning rate,
        replaces the raw gradient for the strengths. That rate must not be 0; directions are
        differences of weights, so a very small one loses digits.
    others : {"fixed", "trained"}
        Whether parameters without release, such as biases, stay where they are (the
        published model) or follow their gradient with rate ``lr``, or ``inner``.

    Raises
    ------
    ValueError
        If the model has no stochastic layer, a number is out of range, or ``inner`` moves
        none of the strengths or has a rate of 0.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884.

    Examples
    --------
    >>> from synapses.layers import StochasticLinear
    >>> net = StochasticLinear(4, 2, release_probability=0.5)
    >>> rule = PresynapticRule(0.07, 0.07, g_lim=1e-3)
    >>> optimizer = PresynapticOptimizer(net, rule, lr=0.1)
    >>> net(torch.ones(1, 4)).square().sum().backward()
    >>> optimizer.step()
    >>> sorted(round(p, 2) for p in net.release_probability.unique().tolist())
    [0.43, 0.57]
    """

    def __init__(
        self,
        model: nn.Module,
        rule: PresynapticRule,
        lr: float,
        weight_decay: float = 0.0,
        inner: Optimizer | None = None,
        *,
        others: Literal["fixed", "trained"] = "fixed",
    ) -> None:
        if not isinstance(rule, PresynapticRule):
            raise ValueError(f"rule = {shown(rule)}: must be a PresynapticRule")
        layers = stochastic_layers(model)
        if not layers:
            raise ValueError(
                f"model = {shown(model)}: has no stochastic layer for the rule to act on; build it"
                " from synapses.layers"
            )
        self.rule, self.inner = rule, inner
        self.others = one_of("others", others, ("fixed", "trained"))
        self.layers = list(layers.values())
        known = {id(layer.weight) for layer in self.layers}
        if inner is not None:
            moved = {id(p) for group in inner.param_groups for p in group["params"]}
            if known.isdisjoint(moved):
                raise ValueError(
                    f"inner = {type(inner).__name__}: has none of the model's stochastic weights;"
                    " make it from model.parameters()"
                )
            _refuse_zero_rates(inner)
        rest = [p for p in model.parameters() if id(p) not in known and p.requires_grad]
        defaults = {
            "lr": as_number("lr", lr, low=0.0, open_low=True),
            "weight_decay": as_number("weight_decay", weight_decay, low=0.0),
        }
        groups: list[dict[str, Any]] = [{"params": [layer.weight for layer in self.layers]}]
        if rest:
            groups.append({"params": rest, "weight_decay": 0.0})
        super().__init__(groups, defaults)

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies need: torch's base class would leave the rule out."""
        own = {name: getattr(self, name) for name in ("rule", "inner", "others", "layers")}
        state: dict[str, Any] = super().__getstate__()
        return state | own

    def reset(self) -> None:
        """Forget the state, that of the inner optimiser included."""
        self.state.clear()
        if self.inner is not None:
            getattr(self.inner, "reset", self.inner.state.clear)()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch allows both
        """Do one step from the gradients at hand.

        Parameters
        ----------
        closure : callable or None
            Computes the gradients and returns the loss, if they are not there yet.

        Returns
        -------
        float or None
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        directions = self._directions()
        group = self.param_groups[0]
        for layer in self.layers:
            weight, p = layer.weight, layer.release_probability
            if weight.grad is None:
                continue
            scale = 1.0 if layer.variable == "expected" else p
            strength, gradient = weight * scale, weight.grad / scale
            direction = directions.get(id(weight))
            if direction is not None:
                direction = direction * scale  # of the strength, as the step is one of it
            strength, after = presynaptic_step(
                self.rule, strength, p, gradient, group["lr"], group["weight_decay"], direction
            )
            p.copy_(after)
            weight.copy_(strength if layer.variable == "expected" else strength / after)
        if self.others == "trained":
            for other in self.param_groups[1:]:
                for parameter in other["params"]:
                    if parameter.grad is not None:
                        way = directions.get(id(parameter), parameter.grad)
                        parameter.sub_(other["lr"] * way)
        return loss

    def _directions(self) -> dict[int, Tensor]:
        """Return what the inner optimiser would subtract, per unit of its learning rate."""
        if self.inner is None:
            return {}
        _refuse_zero_rates(self.inner)  # a schedule may have brought one to 0
        before = [
            (p, p.clone(), float(group["lr"]))
            for group in self.inner.param_groups
            for p in group["params"]
        ]
        self.inner.step()
        found = {id(p): (old - p) / rate for p, old, rate in before}
        for p, old, _ in before:
            p.copy_(old)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the state, that of the inner optimiser included."""
        state: dict[str, Any] = super().state_dict()
        return state if self.inner is None else state | {"inner": self.inner.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state back.

        Parameters
        ----------
        state_dict : dict
            What :meth:`state_dict` gave.
        """
        if self.inner is not None:
            self.inner.load_state_dict(state_dict["inner"])
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "inner"})


def _refuse_zero_rates(inner: Optimizer) -> None:
    """Refuse learning rates by which a direction cannot be divided."""
    for i, group in enumerate(inner.param_groups):
        as_number(f"inner.param_groups[{i}]['lr']", float(group["lr"]), low=0.0, open_low=True)
