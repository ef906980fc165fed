"""Preconditioners that rewrite gradients and leave the step to any optimiser."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from sandbox.network.layers import Bias, FactorLayer, factor_dtype
from sandbox.optim._layer_factors import LayerwiseFactors, Nonfinite, Scaling, Sharing, Side
from sandbox.optim.foof import InputCovariance
from theory.checks import as_number

__all__ = ["FOOFPreconditioner", "GradientPreconditioner"]


class GradientPreconditioner(LayerwiseFactors):
    """The base of preconditioners of ``p.grad``; subclasses bring the rule.

    ``loss.backward(); preconditioner.step(); optimizer.step()``: in between, gradients may be
    unscaled, clipped or added to as ever. Parameters without a rule keep their gradients. The
    schedule is that of the optimiser with the same rule.
    """

    def __init__(
        self,
        model: nn.Module,
        damping: float,
        *,
        T: int = 10,
        S: int = 1,
        decay: float = 0.95,
        scaling: Scaling = "mean",
        sharing: Sharing = "expand",
        bias: Bias = "augment",
        side: Side = "gradient",
        nonfinite: Nonfinite = "raise",
        skip: Collection[str] = (),
        factor_samples: int | None = None,
    ) -> None:
        self.damping = as_number("damping", damping, low=0.0, open_low=True)
        self._prepare(
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

    def damping_of(self, layer: FactorLayer) -> float:
        """Return the damping that a layer's next preconditioner gets."""
        del layer  # one for all; it may have been changed
        return as_number("damping", self.damping, low=0.0, open_low=True)

    @torch.no_grad()
    def step(self) -> bool:
        """Replace the gradients of all layers by preconditioned ones, in place.

        Returns
        -------
        bool
            False if a gradient was not finite and nothing was changed.

        Raises
        ------
        ValueError
            If the damping was set to what is not above 0.
        RuntimeError
            If a gradient is not finite (``nonfinite="raise"``), a layer's inputs were never
            seen, or its covariance cannot be factorised.
        """
        # refuses what it may have been set to before anything changes
        self.damping_of(self.layers[0])
        active = [
            (layer, [p.grad for p in layer.parameters])
            for layer in self.layers
            if any(p.grad is not None for p in layer.parameters)
        ]
        named = [
            (f"the gradient of {layer.called}", g)
            for layer, own in active
            for g in own
            if g is not None
        ]
        if not self._finite(named):
            return False
        for layer, _ in active:
            self._make_ready(layer)
        if self.side == "gradient":
            for layer, own in active:
                kind = factor_dtype(layer.module.weight.dtype)
                parts = [
                    torch.zeros_like(p, dtype=kind) if g is None else g.to(kind)
                    for p, g in zip(layer.parameters, own, strict=True)
                ]
                found = layer.split(self._precondition(layer, layer.matrix(*parts)))
                for g, new in zip(own, found, strict=True):
                    if g is not None:
                        g.copy_(new)
        self._advance()
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return damping, factors, preconditioners, counters and random state.

        Returns
        -------
        dict
            Plain data.
        """
        return {"damping": self.damping, "factors": self.factor_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state back, bit for bit.

        Parameters
        ----------
        state_dict : dict
            What :meth:`state_dict` gave.

        Raises
        ------
        ValueError
            If it belongs to other layers.
        """
        self.load_factor_state(state_dict["factors"])
        self.damping = as_number("damping", state_dict["damping"], low=0.0, open_low=True)

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies need; they watch the copied model."""
        return self._plain()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take attributes; a copy hangs hooks of its own on its model."""
        self.__dict__.update(state)
        self._revive()


class FOOFPreconditioner(InputCovariance, GradientPreconditioner):
    r"""Gradients of linear and convolutional layers times the inverse input covariance.

    **Equation.** :math:`G \leftarrow G (A + \lambda)^{-p}` for every layer, in place of
    ``p.grad``, with A and its schedule as in :class:`~sandbox.optim.foof.FOOF`. Followed by
    SGD without momentum this is FOOF; momentum of the optimiser that follows averages
    preconditioned gradients, where FOOF preconditions averaged ones.

    **Shapes and units.** Gradients are divided by the units of A to the power p, so that
    learning rates differ from those of the optimiser alone; as the damping grows, the
    preconditioned gradient tends to :math:`\lambda^{-p} G`.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    damping : float
        :math:`\lambda`, > 0, in the units of A. The attribute may be changed; the next
        refresh uses it.
    power, T, S, decay, scaling, sharing, bias, side, nonfinite, skip, factor_samples
        As for :class:`~sandbox.optim.foof.FOOF`. With gradient scaling for float16,
        ``nonfinite="skip"`` leaves gradients that overflowed to the scaler.

    Raises
    ------
    ValueError
        If a number is out of range, no layer has a rule, or a layer shares its parameters.

    References
    ----------
    Benzing (2022), arXiv:2201.12250, section 4.

    Examples
    --------
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> preconditioner = FOOFPreconditioner(model, damping=1.0)
    >>> model(torch.tensor([[3.0]])).sum().backward()
    >>> preconditioner.step()
    True
    >>> round(model.weight.grad.item(), 6)  # 3 / (9 + 1)
    0.3
    >>> optimizer.step()
    """

    def __init__(
        self, model: nn.Module, damping: float, *, power: float = 1.0, **rest: Any
    ) -> None:
        self.power = as_number("power", power, low=0.0, open_low=True)
        super().__init__(model, damping, **rest)
