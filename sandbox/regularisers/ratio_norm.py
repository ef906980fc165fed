"""The ratio of the 1-norm to the 2-norm of weights as a penalty: few of them, easily coded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import reduce
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from sandbox.regularisers._step_watch import step_watch
from sandbox.regularisers._weight_choice import chosen_weights
from theory.checks import as_number, one_of, shown

__all__ = ["RatioNorm", "Scope"]

Scope: TypeAlias = Literal["tensor", "global"]
"""One ratio a weight tensor, or one of all weights as a single vector."""


@dataclass(frozen=True, slots=True)
class RatioNorm:
    r"""Penalty on the ratio of the 1-norm to the 2-norm of a network's weights.

    **Equation.** :math:`\Omega = \lambda \sum_t f(w_t)`, :math:`f(w) = \lVert w \rVert_1 /
    \lVert w \rVert_2`, the sum over weight tensors t, or with ``scope="global"`` the single
    :math:`\lambda f(w)` of all weights as one vector. Its gradient is that of
    :func:`theory.sparsity.ratio_norm_gradient`: it shrinks weights below
    :math:`c = \lVert w \rVert_2^2 / \lVert w \rVert_1` and makes larger ones grow.

    **Shapes and units.** f has no unit and does not see the scale of w: its slope is inversely
    proportional to it and orthogonal to w. Steps therefore make :math:`\lVert w \rVert_2` grow,
    without end where nothing else holds it (:func:`theory.sparsity.norm_after_step`), and the
    penalty acts the less the longer it has acted; watch :meth:`norms`.

    Parameters
    ----------
    strength : float
        lambda, >= 0.
    scope : {"tensor", "global"}
        One ratio a weight tensor, or one of all weights. f of n weights is at most the root of
        n, so that a large tensor is pushed at harder than a small one.
    biases : bool
        Whether vectors count, too: biases, gains of normalisation layers.

    Raises
    ------
    ValueError
        If the strength is negative or the scope unknown.

    Notes
    -----
    Weights that are 0 get the subgradient 0: they stay where they are unless the loss moves
    them. A tensor that is 0 everywhere adds 0, and its gradient is 0. Frozen parameters do not
    count. Layers that release stochastically (:mod:`synapses.layers`) are penalised in the
    variable that they keep: expected strengths, or quantal amplitudes.

    References
    ----------
    Aytekin, Cricri & Aksu (2019), arXiv:1905.01044. Which scope, strength or control of the norm
    was used there is not stated in what could be read.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, -4.0]]))
    >>> round(RatioNorm(0.1).penalty(layer).item(), 6)
    0.14
    """

    strength: float
    scope: Scope = "tensor"
    _: KW_ONLY
    biases: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "strength", as_number("strength", self.strength, low=0.0))
        one_of("scope", self.scope, ("tensor", "global"))
        if not isinstance(self.biases, bool):
            raise ValueError(f"biases = {shown(self.biases)}: must be True or False")

    def penalty(self, model: nn.Module) -> Float[Tensor, ""]:
        """Return the penalty of a model's weights, to be differentiated.

        Parameters
        ----------
        model : torch.nn.Module
            The network.

        Returns
        -------
        Tensor
            A scalar, in float32 at least.

        Raises
        ------
        ValueError
            If the model has no trained weight.

        Examples
        --------
        >>> layer = nn.Linear(3, 1, bias=False)
        >>> _ = layer.weight.data.copy_(torch.tensor([[2.0, 2.0, 0.0]]))
        >>> RatioNorm(1.0).penalty(layer).backward()
        >>> layer.weight.grad.abs().max().item() < 1e-6
        True
        """
        weights = list(chosen_weights(model, biases=self.biases, frozen=False).values())
        return self.strength * reduce(
            torch.add, [_norms(group).ratio for group in self._groups(weights)]
        )

    __call__ = penalty

    def ratios(self, model: nn.Module) -> dict[str, float]:
        """Return the ratio of every weight tensor, or of all; its square softly counts nonzeros.

        Parameters
        ----------
        model : torch.nn.Module
            The network.

        Returns
        -------
        dict of str to float
            By parameter name; ``"all weights"`` if the scope is global.
        """
        return self._told(model, lambda norms: norms.ratio)

    def norms(self, model: nn.Module) -> dict[str, float]:
        """Return the 2-norm of every weight tensor, or of all; steps of the penalty raise it.

        Parameters
        ----------
        model : torch.nn.Module
            The network.

        Returns
        -------
        dict of str to float
            By parameter name; ``"all weights"`` if the scope is global.
        """
        return self._told(model, lambda norms: norms.length)

    def attach(self, optimizer: Optimizer, model: nn.Module) -> Any:
        """Add the penalty's gradient to ``p.grad`` in every step of an optimiser.

        The same steps as with the penalty in the loss, also of weights that are frozen or thawed
        later; what reads the gradient of the task's loss, such as
        :class:`sandbox.regularisers.SynapticIntelligence`, does not see it.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            It must train all weights that the penalty is of.
        model : torch.nn.Module
            The network.

        Returns
        -------
        handle
            Its ``remove()`` takes the penalty off.

        Raises
        ------
        ValueError
            If the optimiser does not train one of the weights, or its ``p.grad`` is no gradient.
        """
        watch = step_watch(optimizer)
        trained = chosen_weights(model, biases=self.biases, frozen=False)
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, parameter in trained.items():
            if id(parameter) not in held:
                raise ValueError(
                    f"optimizer = {type(optimizer).__name__}: does not train {name}, so the"
                    " penalty cannot move it; freeze it, or add the penalty to the loss"
                )
        every = chosen_weights(model, biases=self.biases, frozen=True).values()
        weights = [w for w in every if id(w) in held]
        return watch.join_penalty(lambda: self._add([w for w in weights if w.requires_grad]))

    def _groups(self, weights: Sequence[Tensor]) -> list[list[Tensor]]:
        """Return weights by what has a ratio of its own."""
        return [list(weights)] if self.scope == "global" else [[w] for w in weights]

    @torch.no_grad()
    def _told(self, model: nn.Module, number: Callable[[_Norms], Tensor]) -> dict[str, float]:
        """Return a number of every group by name."""
        named = chosen_weights(model, biases=self.biases, frozen=False)
        names = ["all weights"] if self.scope == "global" else list(named)
        groups = self._groups(list(named.values()))
        return {
            name: float(number(_norms(group))) for name, group in zip(names, groups, strict=True)
        }

    @torch.no_grad()
    def _add(self, weights: Sequence[Tensor]) -> Tensor | None:
        """Add the gradient to that of the weights; return the penalty, None of no weights."""
        if not weights:
            return None
        total = torch.zeros((), device=weights[0].device)
        for group in self._groups(weights):
            norms = _norms(group)
            ratio = norms.ratio
            total = total + ratio
            pull, scale = ratio / norms.two, self.strength / norms.two
            for w, u in zip(group, norms.scaled, strict=True):
                # the peak last: its reciprocal may overflow, and 0 is to stay 0 then
                slope = u.sign().sub_(u * pull).mul_(scale).div_(norms.peak).to(w.dtype)
                if w.grad is None:
                    w.grad = slope
                elif w.grad.is_sparse:
                    w.grad = slope.add_(w.grad)
                else:
                    w.grad.add_(slope)
        return self.strength * total


class _Norms(NamedTuple):
    """Norms of some weights in units of the largest magnitude, without which squares overflow.

    The magnitude and the 2-norm of weights that are all 0 are taken to be 1, their ratio is 0.
    """

    one: Tensor
    two: Tensor
    peak: Tensor
    scaled: list[Tensor]

    @property
    def ratio(self) -> Tensor:
        """The 1-norm over the 2-norm."""
        return self.one / self.two

    @property
    def length(self) -> Tensor:
        """The 2-norm, in the unit of the weights; 0 if all are."""
        return torch.where(self.one > 0, self.two * self.peak, 0.0)


def _wide(weight: Tensor) -> Tensor:
    """Return a tensor in float32 at least."""
    return weight.float() if weight.dtype in {torch.float16, torch.bfloat16} else weight


def _norms(weights: Sequence[Tensor]) -> _Norms:
    """Return the norms of tensors as one vector, with a graph."""
    wide = [_wide(w) for w in weights]
    with torch.no_grad():
        peaks = [w.abs().amax() for w in wide if w.numel()]
        top = reduce(torch.maximum, peaks) if peaks else wide[0].new_zeros(())
        peak = torch.where(top > 0, top, 1.0)
    scaled = [w / peak for w in wide]
    one = reduce(torch.add, [w.abs().sum() for w in scaled])
    square = reduce(torch.add, [w.square().sum() for w in scaled])
    # the root has an infinite slope at 0: nothing flows back there
    two = torch.where(square > 0, square, 1.0).sqrt()
    return _Norms(one, two, peak, scaled)
