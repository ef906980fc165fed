"""Plain optimisers for the parameters that have no matrix preconditioner."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor

from theory.checks import as_number, one_of, shown

__all__ = ["fallback_group", "move_by_fallback"]

KNOWN = {"optimizer", "lr", "momentum", "weight_decay", "betas", "eps", "maximize"}


def fallback_group(given: Mapping[str, Any], *, maximize: bool = False) -> dict[str, Any]:
    r"""Return the settings of a parameter group without factor rule, checked and complete.

    **Equation.** ``"sgd"``: :math:`m \leftarrow \mu m + g`, :math:`\theta \leftarrow (1 -
    \eta w) \theta - \eta m`. ``"adamw"``: :math:`\theta \leftarrow (1 - \eta w) \theta - \eta
    \hat m / (\sqrt{\hat v} + \epsilon)`. Weight decay w is decoupled in both.

    **Shapes and units.** Elementwise.

    Parameters
    ----------
    given : mapping
        ``optimizer`` ("sgd" if missing, or "adamw") and ``lr``, the latter required;
        ``momentum``, ``weight_decay``, ``betas``, ``eps``, ``maximize``.
    maximize : bool
        For a mapping that does not say.

    Returns
    -------
    dict
        All of these, and ``covariance``, False.

    Raises
    ------
    ValueError
        If ``lr`` is missing, a key is unknown or a value out of range.

    References
    ----------
    Loshchilov & Hutter (2019), arXiv:1711.05101, for decoupled decay.

    Examples
    --------
    >>> fallback_group({"lr": 0.1})["optimizer"]
    'sgd'
    """
    if not isinstance(given, Mapping) or "lr" not in given:
        raise ValueError(
            f"fallback = {shown(given)}: must be a mapping with an 'lr', such as"
            " {'optimizer': 'sgd', 'lr': 0.01, 'momentum': 0.9}"
        )
    unknown = given.keys() - KNOWN - {"covariance", "damping"}
    if unknown:
        listed = ", ".join(sorted(KNOWN))
        raise ValueError(f"fallback has {', '.join(sorted(unknown))}: known are {listed}")
    maximize = given.get("maximize", maximize)
    if not isinstance(maximize, bool):
        raise ValueError(f"fallback maximize = {shown(maximize)}: must be True or False")
    betas = given.get("betas", (0.9, 0.999))
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise ValueError(f"fallback betas = {shown(betas)}: must be a pair of numbers")
    return {
        "covariance": False,
        "optimizer": one_of("fallback optimizer", given.get("optimizer", "sgd"), ("sgd", "adamw")),
        "lr": as_number("fallback lr", given["lr"], low=0.0),
        "momentum": as_number(
            "fallback momentum", given.get("momentum", 0.0), low=0.0, high=1.0, open_high=True
        ),
        "weight_decay": as_number("fallback weight_decay", given.get("weight_decay", 0.0), low=0.0),
        "betas": tuple(
            as_number("fallback betas", beta, low=0.0, high=1.0, open_high=True) for beta in betas
        ),
        "eps": as_number("fallback eps", given.get("eps", 1e-8), low=0.0),
        "maximize": maximize,
    }


def move_by_fallback(group: dict[str, Any], state: MutableMapping[Tensor, Any]) -> None:
    """Do one step of a group's own plain optimiser.

    Parameters
    ----------
    group : dict
        With the settings of :func:`fallback_group`.
    state : mapping
        Of the whole optimiser; what belongs to this group's parameters is changed.
    """
    moved = [p for p in group["params"] if p.grad is not None]
    if not moved:
        return
    gradients: list[Tensor] = [p.grad for p in moved]
    if group["weight_decay"]:
        torch._foreach_mul_(moved, 1 - group["lr"] * group["weight_decay"])
    scale = float(group["lr"]) if group["maximize"] else -float(group["lr"])
    if group["optimizer"] == "adamw":
        _adam(moved, gradients, group, state, scale)
        return
    if group["momentum"]:
        buffers = [state[p].setdefault("momentum_buffer", torch.zeros_like(p)) for p in moved]
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, gradients)
        gradients = buffers
    torch._foreach_add_(moved, gradients, alpha=scale)


def _adam(
    moved: list[Tensor],
    gradients: list[Tensor],
    group: dict[str, Any],
    state: MutableMapping[Tensor, Any],
    scale: float,
) -> None:
    """Add Adam's direction, corrected for the start, times ``scale``."""
    first, second = group["betas"]
    for p in moved:
        if "count" not in state[p]:
            state[p].update(count=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        state[p]["count"] += 1
    means = [state[p]["exp_avg"] for p in moved]
    squares = [state[p]["exp_avg_sq"] for p in moved]
    torch._foreach_lerp_(means, gradients, 1 - first)
    torch._foreach_mul_(squares, second)
    torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
    for p, mean, square in zip(moved, means, squares, strict=True):
        count = state[p]["count"]
        size = (square / (1 - second**count)).sqrt_().add_(group["eps"])
        p.addcdiv_(mean, size, value=scale / (1 - first**count))
