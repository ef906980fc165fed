"""What optimisers with small preconditioners for every layer share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sandbox.network.layers import Bias, FactorLayer, factor_dtype
from sandbox.optim._fallback import fallback_group, move_by_fallback
from sandbox.optim._layer_factors import LayerwiseFactors, Nonfinite, Scaling, Sharing, Side
from theory.checks import as_number, shown

__all__ = ["LayerwiseFactors", "LayerwiseOptimizer", "Nonfinite", "Scaling", "Sharing", "Side"]


class LayerwiseOptimizer(LayerwiseFactors, Optimizer):
    """Heavy-ball descent along layer-wise preconditioned gradients.

    The base of the optimisers that precondition every layer by small matrices; see
    :class:`LayerwiseFactors` for the schedule.
    """

    closure = "none"

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        damping: float,
        *,
        T: int = 10,
        S: int = 1,
        decay: float = 0.95,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        maximize: bool = False,
        scaling: Scaling = "mean",
        sharing: Sharing = "expand",
        bias: Bias = "augment",
        side: Side = "gradient",
        nonfinite: Nonfinite = "raise",
        skip: Collection[str] = (),
        factor_samples: int | None = None,
        fallback: Mapping[str, Any] | None = None,
    ) -> None:
        defaults = _checked_group({
            "lr": lr,
            "damping": damping,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "maximize": maximize,
        })
        others = self._prepare(
            model,
            T=T,
            S=S,
            decay=decay,
            scaling=scaling,
            sharing=sharing,
            bias=bias,
            side=side,
            nonfinite=nonfinite,
            skip=skip,
            factor_samples=factor_samples,
        )
        matrices = [p for layer in self.layers for p in layer.parameters]
        groups: list[dict[str, Any]] = [{"params": matrices, "covariance": True, **defaults}]
        if others and fallback is None:
            names = ", ".join(name for name, _ in others[:8]) + ", ..." * (len(others) > 8)
            self.remove()
            raise ValueError(
                f"no factor rule for {names}: give fallback={{'optimizer': 'sgd', 'lr': ...}} (or"
                " 'adamw') to train them so, freeze them by requires_grad_(False), or use the"
                " gradient preconditioner with an optimiser of your own"
            )
        self.fallback = None if fallback is None else fallback_group(fallback, maximize=maximize)
        if others and self.fallback is not None:
            groups.append({"params": [p for _, p in others], **self.fallback})
        self._names = {id(p): name for name, p in model.named_parameters()}
        Optimizer.__init__(self, groups, defaults)

    def damping_of(self, layer: FactorLayer) -> float:
        """Return the damping that a layer's next preconditioner gets."""
        del layer  # one for all; schedulers and users may have changed it
        return as_number("damping", self.param_groups[0]["damping"], low=0.0, open_low=True)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters without a factor rule, to be trained by the fallback.

        Parameters
        ----------
        param_group : dict
            ``params``, and what is to differ from the ``fallback`` given at the start.

        Raises
        ------
        ValueError
            If there is no fallback, a setting is out of range, or the group says that it has
            a covariance: layers are found when the optimiser is made.
        """
        if param_group.get("covariance"):
            if self.param_groups:
                raise ValueError(
                    "param_group has covariance = True: layers are found when the optimiser is"
                    " made, and what is added later is trained by the fallback"
                )
        else:
            if self.fallback is None and "optimizer" not in param_group:
                raise ValueError(
                    "param_group: parameters added later have no factor rule, and there is no"
                    " fallback; give the group 'optimizer': 'sgd' or 'adamw' and an 'lr'"
                )
            given = {k: v for k, v in param_group.items() if k not in {"params", "covariance"}}
            settings = fallback_group({**(self.fallback or {}), **given})
            param_group = {"params": param_group["params"], **settings}
        Optimizer.add_param_group(self, param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step from the gradients at hand, which are left as they are.

        Parameters
        ----------
        closure : callable or None
            Computes the gradients and returns the loss, if they are not there yet.

        Returns
        -------
        Tensor or None
            What the closure returned.

        Raises
        ------
        ValueError
            If the closure is no function, or the damping was set to what is not above 0.
        RuntimeError
            If a gradient or the closure's loss is not finite (``nonfinite="raise"``); nothing
            is changed then. If a layer has a gradient but its inputs were never seen, or
            its covariance cannot be factorised.
        """
        loss = None
        if closure is not None:
            if not callable(closure):
                raise ValueError(f"closure = {shown(closure)}: must be a function or None")
            with torch.enable_grad():
                loss = closure()
        # refuses what it may have been set to before anything moves
        self.damping_of(self.layers[0])
        gradients = [
            (f"the gradient of {self._names.get(id(p), 'a parameter')}", p.grad)
            for group in self.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        if isinstance(loss, Tensor | float):
            gradients.append(("the loss", torch.as_tensor(loss)))
        if not self._finite(gradients):
            return loss
        self._move_layers(self.param_groups[0])
        for group in self.param_groups[1:]:
            move_by_fallback(group, self.state)
        self._advance()
        return loss

    def _move_layers(self, group: dict[str, Any]) -> None:
        """Move the parameters of all layers that have a gradient."""
        active = [
            layer for layer in self.layers if any(p.grad is not None for p in layer.parameters)
        ]
        for layer in active:
            self._make_ready(layer)
        pairs = [(p, p.grad) for layer in active for p in layer.parameters if p.grad is not None]
        if not pairs:
            return
        moved: list[Tensor] = [p for p, _ in pairs]
        gradients = [gradient for _, gradient in pairs]
        if group["weight_decay"]:
            torch._foreach_mul_(moved, 1 - group["lr"] * group["weight_decay"])
        sources = self._with_momentum(moved, gradients, float(group["momentum"]))
        scale = float(group["lr"]) if group["maximize"] else -float(group["lr"])
        if self.side == "activation":
            torch._foreach_add_(moved, sources, alpha=scale)
            return
        by_parameter = dict(zip(map(id, moved), sources, strict=True))
        for layer in active:
            self._apply(layer, [by_parameter.get(id(p)) for p in layer.parameters], scale)

    def _with_momentum(
        self, moved: list[Tensor], gradients: list[Tensor], momentum: float
    ) -> list[Tensor]:
        """Return the gradients, or the buffers that they have been added to."""
        if not momentum:
            return gradients
        fresh = [p for p in moved if "momentum_buffer" not in self.state[p]]
        for p in fresh:
            self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        buffers = [self.state[p]["momentum_buffer"] for p in moved]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        return buffers

    def _apply(self, layer: FactorLayer, sources: Sequence[Tensor | None], scale: float) -> None:
        """Add ``scale`` times the preconditioned sources to a layer's parameters."""
        kind = factor_dtype(layer.module.weight.dtype)
        parts = [
            torch.zeros_like(p, dtype=kind) if source is None else source.to(kind)
            for p, source in zip(layer.parameters, sources, strict=True)
        ]
        updates = layer.split(self._precondition(layer, layer.matrix(*parts)))
        for p, source, update in zip(layer.parameters, sources, updates, strict=True):
            if source is not None:
                p.add_(update, alpha=scale)

    def reset(self) -> None:
        """Forget momentum, factors, preconditioners and the step count."""
        self.state.clear()
        LayerwiseFactors.reset(self)

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state and groups, and ``"factors"``: all that a resumed run needs.

        Returns
        -------
        dict
            Plain data.
        """
        return Optimizer.state_dict(self) | {"factors": self.factor_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state back, factors bit for bit in their own types.

        Parameters
        ----------
        state_dict : dict
            What :meth:`state_dict` gave.

        Raises
        ------
        ValueError
            If it has no factors, or those of other layers.
        """
        if "factors" not in state_dict:
            raise ValueError(
                "state_dict has no 'factors': it must come from an optimiser of this kind"
            )
        kept = self.factor_state()
        self.load_factor_state(state_dict["factors"])
        try:
            Optimizer.load_state_dict(self, {k: v for k, v in state_dict.items() if k != "factors"})
        except Exception:
            self.load_factor_state(kept)
            raise

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies need; they watch the copied model."""
        own = {k: v for k, v in self._plain().items() if not k.startswith("_optimizer_")}
        # a learning rate scheduler hangs a step on the optimiser that is bound to this one
        for name in ("_names", "step"):
            own.pop(name, None)
        return own

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take attributes; a copy hangs hooks of its own on its model."""
        Optimizer.__setstate__(self, state)
        self._names = {id(p): name for name, p in self.model.named_parameters()}
        self._revive()


def _checked_group(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a group of layers after checking them."""
    if not isinstance(given["maximize"], bool):
        raise ValueError(f"maximize = {shown(given['maximize'])}: must be True or False")
    return {
        "lr": as_number("lr", given["lr"], low=0.0),
        "damping": as_number("damping", given["damping"], low=0.0, open_low=True),
        "momentum": as_number("momentum", given["momentum"], low=0.0, high=1.0, open_high=True),
        "weight_decay": as_number("weight_decay", given["weight_decay"], low=0.0),
        "maximize": given["maximize"],
    }
