"""Gradient descent and Adam on stacked parameters, with numbers that differ between members."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from theory.checks import as_number, as_vector, one_of, shown

__all__ = ["Descent", "Update"]


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    r"""An update rule for an ensemble, with numbers that may differ between members.

    **Equation.** With :math:`g \leftarrow g + \lambda\theta`: sgd,
    :math:`v \leftarrow \mu v + g`, :math:`\theta \leftarrow \theta - \eta v`; adam,
    :math:`m \leftarrow \beta_1 m + (1-\beta_1) g`,
    :math:`v \leftarrow \beta_2 v + (1-\beta_2) g^2`,
    :math:`\theta \leftarrow \theta - \eta\,\hat m/(\sqrt{\hat v} + \epsilon)` with
    :math:`\hat m = m/(1-\beta_1^t)`, :math:`\hat v = v/(1-\beta_2^t)`: those of
    ``torch.optim.SGD`` and ``torch.optim.Adam``.

    **Shapes and units.** ``lr``, ``momentum`` and ``weight_decay``: one number, or one a
    member.

    Parameters
    ----------
    kind : {"sgd", "adam"}
        Which rule.
    lr : float or sequence of float
        Step size eta, > 0.
    momentum : float or sequence of float
        The factor mu of sgd, in [0, 1).
    weight_decay : float or sequence of float
        The coefficient lambda, >= 0.
    betas : pair of float
        Of adam, in [0, 1).
    eps : float
        Of adam, > 0.

    Raises
    ------
    ValueError
        If a number is out of range, or momentum is given to adam.

    References
    ----------
    Polyak (1964), doi:10.1016/0041-5553(64)90137-5; Kingma & Ba (2015), arXiv:1412.6980.
    """

    kind: Literal["sgd", "adam"] = "sgd"
    lr: float | Sequence[float] | ndarray = 0.1
    momentum: float | Sequence[float] | ndarray = 0.0
    weight_decay: float | Sequence[float] | ndarray = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("sgd", "adam"))
        bounds = {"lr": (0.0, math.inf), "momentum": (0.0, 1.0), "weight_decay": (0.0, math.inf)}
        for name, (low, high) in bounds.items():
            given = getattr(self, name)
            for i, value in enumerate(as_vector(name, np.atleast_1d(given)).tolist()):
                where = f"{name}[{i}]" if np.ndim(given) else name
                as_number(where, value, low=low, high=high, open_low=name == "lr", open_high=True)
        if len(self.betas) != 2:
            raise ValueError(f"betas = {shown(self.betas)}: must be two numbers")
        for i, beta in enumerate(self.betas):
            as_number(f"betas[{i}]", beta, low=0.0, high=1.0, open_high=True)
        as_number("eps", self.eps, low=0.0, open_low=True)
        if self.kind == "adam" and np.any(self.momentum):
            raise ValueError(f"momentum = {self.momentum}: adam has betas instead; leave it at 0")


class Update:
    """The rule at work on stacked parameters."""

    def __init__(self, rule: Descent, parameters: dict[str, Tensor]) -> None:
        self.rule, self.parameters, self.t = rule, parameters, 0
        members = len(next(iter(parameters.values())))
        self.decays, self.rolls = bool(np.any(rule.weight_decay)), bool(np.any(rule.momentum))
        self.numbers: dict[str, dict[str, Tensor]] = {}
        for name in ("lr", "momentum", "weight_decay"):
            values = np.atleast_1d(np.asarray(getattr(rule, name), dtype=np.float64))
            if len(values) not in {1, members}:
                raise ValueError(
                    f"{name} has {len(values)} values: must be one, or {members}, one a member"
                )
            self.numbers[name] = {
                key: torch.tensor(values, dtype=p.dtype, device=p.device).reshape(
                    -1, *[1] * (p.ndim - 1)
                )
                for key, p in parameters.items()
            }
        self.clear()

    def clear(self) -> None:
        """Forget what was accumulated."""
        self.t = 0
        self.first = {key: torch.zeros_like(p) for key, p in self.parameters.items()}
        self.second = {key: torch.zeros_like(p) for key, p in self.parameters.items()}

    def step(self, gradients: dict[str, Tensor], factor: float) -> None:
        """Move all members."""
        self.t += 1
        for key, p in self.parameters.items():
            g = gradients[key]
            if self.decays:
                g = g + self.numbers["weight_decay"][key] * p
            lr = self.numbers["lr"][key] * factor
            if self.rule.kind == "sgd":
                if self.rolls:
                    g = self.first[key].mul_(self.numbers["momentum"][key]).add_(g)
                p.sub_(lr * g)
                continue
            b1, b2 = self.rule.betas
            m = self.first[key].mul_(b1).add_(g, alpha=1 - b1)
            v = self.second[key].mul_(b2).addcmul_(g, g, value=1 - b2)
            scale = (v / (1 - b2**self.t)).sqrt_().add_(self.rule.eps)
            p.sub_(lr / (1 - b1**self.t) * m / scale)
