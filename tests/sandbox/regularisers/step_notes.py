"""An observer that writes down, and a penalty, for the tests of what happens round a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sandbox.regularisers._step_watch import StepWatch

__all__ = ["F64", "Notes", "pull", "weight"]

F64 = torch.float64


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self, parameter: Tensor, sees: Any, log: list[Any]) -> None:
        self.parameter, self.sees, self.log = parameter, sees, log

    def starting(self, watch: StepWatch) -> None:
        self.log.append((self.sees, "starting", self.parameter.tolist()))

    def gradients(self, watch: StepWatch) -> None:
        found = watch.gradient(self.parameter)
        self.log.append((self.sees, "gradients", None if found is None else found.tolist()))

    def stepped(self, watch: StepWatch) -> None:
        self.log.append((self.sees, "stepped", self.parameter.tolist()))


def weight(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=F64))


def pull(parameter: Tensor, strength: float, value: float | None = None):
    """Return a penalty strength |w|^2 with its value, or another."""

    def add() -> Tensor:
        own = parameter.detach()
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(own)
        parameter.grad.add_(2 * strength * own)
        return strength * own.square().sum() if value is None else torch.tensor(value, dtype=F64)

    return add
