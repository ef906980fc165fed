"""The path of the parameters, and whether its steps are those of gradient descent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SLACK", "Path", "flat_parameters", "trained"]

SLACK = {torch.float32: 1e-3, torch.float64: 1e-6}
"""Relative deviation from the gradient step by which a step may differ through rounding."""


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require a gradient."""
    return [p for p in model.parameters() if p.requires_grad]


def flat_parameters(model: nn.Module) -> Tensor:
    """Return a copy of the trained parameters as one vector."""
    return torch.cat([p.detach().reshape(-1) for p in trained(model)])


class Path:
    """Where the parameters started, where they are, how long the way was."""

    def __init__(self) -> None:
        self.length = 0.0
        self.rates: list[float] = []
        self._first = self._last = self._slope = torch.empty(0)

    def start(self, model: nn.Module) -> None:
        """Start here."""
        self._first = self._last = flat_parameters(model)

    @property
    def distance(self) -> float:
        """From the start, in a straight line."""
        here = self._last.double()
        return float((here - self._first.to(here)).norm())

    def expect(self, slope: Tensor) -> None:
        """Begin a new interval with this gradient of L."""
        self.rates, self._slope = [], slope

    def step(self, model: nn.Module, rate: float) -> str:
        """Add a step; say why it is no gradient step, if it is the first of its interval."""
        here = flat_parameters(model)
        step = here - self._last.to(here)
        self._last = here
        self.length += float(step.double().norm())
        self.rates.append(rate)
        if not self._slope.numel():
            return ""
        expected = rate * self._slope.to(here)
        self._slope = torch.empty(0)
        rounding = 8 * torch.finfo(here.dtype).eps * float(here.norm())
        difference, size = float((step + expected).norm()), float(expected.norm())
        if difference <= SLACK[here.dtype] * size + rounding:
            return ""
        return (
            f"is not -eta grad L, but {difference:.3g} off its length {size:.3g}: no bound"
            " (momentum, a mini-batch, a penalty, dropout, other data or another loss_scale?)"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything as a tree."""
        return {
            "length": self.length,
            "rates": list(self.rates),
            "first": self._first,
            "last": self._last,
            "slope": self._slope,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take everything back."""
        self.length, self.rates = state["length"], list(state["rates"])
        self._first, self._last, self._slope = state["first"], state["last"], state["slope"]
