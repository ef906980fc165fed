"""One parameter's averages and its step, as the published program of Alice makes them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from theory.checks import as_integer, as_number, one_of, shown
from theory.glass import STEP, exact_move

__all__ = ["BOUNDS", "CURVATURES", "checked", "distance", "fresh_state", "observe", "signed_step"]

CURVATURES = ("abs", "rms", "off")
BOUNDS = ("adam", "sgdm", "fixed")

Group = dict[str, Any]


def checked(group: Group) -> Group:
    """Return a parameter group with every option checked, and defaults that depend on others."""
    rate = group["lr"].item() if isinstance(group["lr"], Tensor) else group["lr"]
    rate = as_number("lr", rate, low=0.0, open_low=True)
    low = as_number("lr_min", group["lr_min"], low=0.0)
    high = 2 * rate if group["lr_max"] is None else as_number("lr_max", group["lr_max"], low=0.0)
    if low > high:
        raise ValueError(f"lr_min = {low:g}: must not be above lr_max = {high:g}")
    pairs = {}
    for name, words in (("betas", "two numbers in [0, 1)"), ("weight_decay", "two numbers >= 0")):
        pair = group[name]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"{name} = {shown(pair)}: must be {words}")
        top = 1.0 if name == "betas" else math.inf
        pairs[name] = tuple(
            as_number(f"{name}[{i}]", value, low=0.0, high=top, open_high=True)
            for i, value in enumerate(pair)
        )
    first, second = pairs["betas"]
    quick = as_integer("quick_steps", group["quick_steps"], low=0)
    # decimal numbers as meant, not as stored: 1/(1 - 0.95) would be 19.99999999999998
    exact = [1 - Fraction(repr(beta)) for beta in (first, second)]
    if (quick + 1) * exact[1] > 1:
        raise ValueError(
            f"quick_steps = {quick} with betas[1] = {second:g}: the curvature's average would"
            f" need a negative weight; keep quick_steps <= {math.floor(1 / exact[1]) - 1}"
        )
    burn = math.floor(1 / exact[0]) if group["burn_in"] is None else group["burn_in"]
    omega = as_number("omega", group["omega"], low=0.0, open_low=True)
    phi = exact_move(first, omega) if group["phi"] is None else group["phi"]
    one_of("hessian", group["hessian"], CURVATURES)
    for name in ("glass", "maximize", "scale_bounds"):
        if not isinstance(group[name], bool):
            raise ValueError(f"{name} = {shown(group[name])}: must be True or False")
    if group["hessian"] == "off" and not group["glass"]:
        raise ValueError(
            "hessian = 'off' with glass = False: nothing would end a step but its bounds; switch"
            " one on, or use torch.optim.Adam"
        )
    sigma = group["sigma"]
    return group | {
        "lr_min": low,
        "lr_max": high,
        "bounds_lr": rate,
        "betas": pairs["betas"],
        "weight_decay": pairs["weight_decay"],
        "quick_steps": quick,
        "burn_in": as_integer("burn_in", burn, low=1),
        "omega": omega,
        "phi": as_number("phi", phi, low=0.0, open_low=True),
        "bounds": one_of("bounds", group["bounds"], BOUNDS),
        "eps": as_number("eps", group["eps"], low=0.0, open_low=True),
        "sigma": None if sigma is None else as_number("sigma", sigma, low=0.0, open_low=True),
    }


def distance(group: Group) -> float:
    """Return how far from the look-ahead a group's probes are."""
    return float(group["lr"] if group["sigma"] is None else group["sigma"])


def fresh_state(parameter: Tensor) -> dict[str, Any]:
    """Return the state of a parameter that has not been seen."""
    names = ("ahead", "gradient", "glass", "curvature", "second_moment")
    zeros = {name: torch.zeros_like(parameter) for name in names}
    return {"step": 0, **zeros, "differences": parameter.new_zeros(2)}


def observe(
    state: dict[str, Any],
    group: Group,
    place: Tensor,
    slope: Tensor,
    ends: tuple[Tensor, Tensor, float] | None,
) -> None:
    """Take gradients into a parameter's averages.

    Parameters
    ----------
    state : dict
        Changed in place.
    group : dict
        The parameter's options.
    place, slope : Tensor
        nu, and the gradient there.
    ends : tuple or None
        Gradients at nu + sigma z and nu - sigma z, and sigma; None on a quick step.
    """
    count = state["step"] = state["step"] + 1
    most = (count - 1) / count
    first, second = group["betas"]
    one, two = group["weight_decay"]
    state["second_moment"].lerp_(slope * slope, 1 - min(second, most))
    if ends is not None:
        third = min(max(1 - (group["quick_steps"] + 1) * (1 - second), 0.0), most)
        # the halves are taken first: two gradients may overflow where their mean does not
        up, down, sigma = ends[0] / 2, ends[1] / 2, ends[2]
        change, bend = (up - down) / sigma, (up + down) - slope
        rms = group["hessian"] == "rms"
        size = change * change + two * two if rms else change.abs() + two
        state["curvature"].lerp_(size, 1 - third)
        state["glass"].lerp_(2 * bend * bend / sigma, 1 - third)
        squares = [(2 * (up - down)).square().mean(), (2 * bend).square().mean()]
        state["differences"].lerp_(torch.stack(squares), 1 - third)
    if group["maximize"]:
        slope = -slope
    if one or two:
        side = torch.where(place < 0, -torch.ones_like(place), 1.0)  # 1 at 0
        slope = slope + one * side + two * place
    state["gradient"].lerp_(slope, 1 - min(first, most))


def signed_step(state: dict[str, Any], group: Group) -> Tensor:
    """Return the bounded quasi-Newton step d; a length that is NaN becomes the upper bound."""
    eps, size = group["eps"], state["gradient"].abs()
    scale = float(group["lr"]) / group["bounds_lr"] if group["scale_bounds"] else 1.0
    glass, h = state["glass"], state["curvature"]
    if group["hessian"] != "abs":
        h = h.sqrt() if group["hessian"] == "rms" else torch.zeros_like(h)
    alpha = STEP * glass / (size + eps) if group["glass"] else torch.zeros_like(glass)
    # two roots: the product under one of them overflows earlier
    length = size / (alpha + h + alpha.sqrt() * (alpha + 2 * h).sqrt() + eps)
    unit = torch.ones_like(size) if group["bounds"] == "fixed" else size
    if group["bounds"] == "adam":
        unit = size / (state["second_moment"].sqrt() + eps)
    low, high = group["lr_min"] * scale * unit, group["lr_max"] * scale * unit
    length = torch.where(length.isnan(), high, length).maximum(low).minimum(high)
    return torch.where(state["gradient"] > 0, -length, length)
