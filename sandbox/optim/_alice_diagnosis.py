"""How gradients change with the distance, layer by layer, and the exponents of that."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from sandbox.optim._alice_points import Closure, Points, SignStream
from sandbox.optim._alice_update import distance
from theory.checks import as_integer, as_number, shown

__all__ = ["By", "GlassDiagnosis", "averaged", "labels", "sweep"]

By = Literal["layer", "parameter", "group"]


@dataclass(frozen=True, slots=True, eq=False)
class GlassDiagnosis:
    r"""Squared changes of gradients against the distance, and the exponents of their power laws.

    **Equation.** Along random signs z, averaged over parameters, directions and both sides,
    :math:`\langle (g(\sigma z) - g(0))^2 \rangle \sim \sigma^p`, where p = 1 is glass and p = 2
    a Hessian; :math:`\langle (g(\sigma z) - 2 g(0) + g(-\sigma z))^2 \rangle \sim \sigma^q`, where
    q = 1 is glass (jumps), 3 kinks of the gradient and 4 a smooth loss.

    **Shapes and units.** sigmas in units of the parameters; squares in gradient².

    Parameters
    ----------
    names : tuple of str
        What was measured: layers, parameters or groups.
    sigmas : ndarray
        Distances, growing.
    change, second_difference : ndarray
        The two mean squares; 0 where the gradient did not change.

    References
    ----------
    Exponents of gradient variation: Duersch et al. (2024), arXiv:2411.16914; those of second
    differences: derived here.

    Examples
    --------
    >>> steps = np.array([0.1, 0.2, 0.4])
    >>> glass = GlassDiagnosis(("layer",), steps, 3 * steps[None], 6 * steps[None])
    >>> glass.exponents()["second_difference"].round(12).tolist()
    [1.0]
    """

    names: tuple[str, ...]
    sigmas: Float[ndarray, " sigma"]
    change: Float[ndarray, "name sigma"]
    second_difference: Float[ndarray, "name sigma"]

    def exponents(
        self, low: float = 0.0, high: float = float("inf")
    ) -> dict[str, Float[ndarray, " name"]]:
        """Return exponents, fitted by least squares of logarithms.

        Parameters
        ----------
        low, high : float
            The distances between which to fit.

        Returns
        -------
        dict
            ``"change"`` and ``"second_difference"``; NaN for a name whose squares are positive
            at fewer than two distances.

        Examples
        --------
        >>> steps = np.array([1.0, 2.0, 4.0])
        >>> bowl = GlassDiagnosis(("layer",), steps, steps[None] ** 2, 0 * steps[None])
        >>> bowl.exponents()["change"].round(12).tolist(), bowl.exponents(2)["second_difference"]
        ([2.0], array([nan]))
        """
        inside = (self.sigmas >= low) & (self.sigmas <= high)
        return {
            name: np.array([_slope(self.sigmas[inside], row[inside]) for row in squares])
            for name, squares in (
                ("change", self.change),
                ("second_difference", self.second_difference),
            )
        }

    def log(self, logger: logging.Logger) -> None:
        """Write one line a name, at level INFO.

        Parameters
        ----------
        logger : logging.Logger
            Where to.
        """
        found = self.exponents()
        for row, name in enumerate(self.names):
            logger.info(
                "%s: exponent of the gradient's change %.2f (glass 1, Hessian 2), of its second"
                " difference %.2f (glass 1, smooth 4)",
                name,
                found["change"][row],
                found["second_difference"][row],
            )


def _slope(sigmas: ndarray, squares: ndarray) -> float:
    """Return the slope of a straight line through logarithms."""
    seen = squares > 0
    if seen.sum() < 2:
        return float("nan")
    x, y = np.log(sigmas[seen]), np.log(squares[seen])
    x = x - x.mean()
    return float(x @ y / (x @ x))


def labels(groups: Sequence[dict], model: nn.Module | None, by: By) -> list[str]:
    """Return the name of what each parameter, in order of the groups, is counted under."""
    known = {} if model is None else {id(p): name for name, p in model.named_parameters()}
    found = []
    for number, group in enumerate(groups):
        own = group.get("param_names", [None] * len(group["params"]))
        for place, (parameter, name) in enumerate(zip(group["params"], own, strict=True)):
            name = name or known.get(id(parameter))
            if by == "group":
                found.append(f"group {number}")
            elif name is None:
                found.append(f"group {number}, parameter {place}")
            else:
                found.append(name.rpartition(".")[0] or name if by == "layer" else name)
    return found


def sweep(
    parameters: Sequence[Tensor],
    under: Sequence[str],
    closure: Closure,
    model: nn.Module | None,
    sigmas: Sequence[float] | ndarray,
    directions: int,
    seed: int,
) -> GlassDiagnosis:
    """Return what gradients do along random signs; leave everything as it was."""
    count = as_integer("directions", directions, low=1)
    try:
        steps = np.array([as_number("sigmas", s, low=0.0, open_low=True) for s in sigmas])
    except TypeError:
        raise ValueError(f"sigmas = {shown(sigmas)}: must be a list of distances") from None
    if len(steps) < 2 or (np.diff(steps) <= 0).any():
        raise ValueError(f"sigmas = {shown(sigmas)}: must be two or more distances, growing")
    names = tuple(dict.fromkeys(under))
    signs = SignStream(as_integer("seed", seed, low=0))
    slopes = [p.grad for p in parameters]
    kept = [None if g is None else g.clone() for g in slopes]
    totals = torch.zeros(2, len(parameters), len(steps), dtype=torch.float64)
    points = Points(parameters, closure, model)
    try:
        with points:
            middle = points.gradients(points.centre)
            for _ in range(count):
                z = signs.draw(parameters)
                for column, sigma in enumerate(steps.tolist()):
                    ends = []
                    for side in (sigma, -sigma):
                        places = [c + side * way for c, way in zip(points.centre, z, strict=True)]
                        ends.append(points.gradients(places))
                    for row, (up, down, mid) in enumerate(zip(*ends, middle, strict=True)):
                        if up is None or down is None or mid is None:
                            continue
                        one, two = (up - mid).double(), (down - mid).double()
                        totals[0, row, column] += (one.square() + two.square()).sum().cpu() / 2
                        totals[1, row, column] += (one + two).square().sum().cpu()
            if not bool(points.finite):
                raise RuntimeError(
                    "diagnose: a loss or gradient is not finite; use smaller sigmas, or another"
                    " minibatch"
                )
            points.restore_buffers()
            points.same_randomness()
    finally:
        for parameter, slope, value in zip(parameters, slopes, kept, strict=True):
            parameter.grad = slope
            if slope is not None and value is not None:
                slope.copy_(value)  # a closure may zero gradients in place
    index = np.array([names.index(name) for name in under])
    sizes = np.bincount(index, [p.numel() for p in parameters])
    squares = totals.numpy() / count
    change, second = (
        np.stack([part[index == k].sum(axis=0) for k in range(len(names))]) / sizes[:, None]
        for part in squares
    )
    return GlassDiagnosis(names, steps, change, second)


def averaged(
    parts: Sequence[tuple[dict[str, Any], Tensor, str]], state: Mapping[Any, dict[str, Any]]
) -> GlassDiagnosis:
    """Return what the sample steps so far have seen."""
    seen = [(g, p, n) for g, p, n in parts if p in state and state[p]["step"]]
    if not seen:
        raise ValueError(
            "closure = None: no sample step has been done yet; do one, or give a closure"
        )
    sigma = {distance(group) for group, *_ in seen}
    if len(sigma) > 1:
        raise ValueError(f"closure = None: groups have probed at {sorted(sigma)}; give a closure")
    near = sigma.pop()
    if near <= 0:
        raise ValueError("closure = None: lr is 0 now, and says no more how far probes were")
    names = tuple(dict.fromkeys(name for *_, name in seen))
    change, second = np.zeros((len(names), 2)), np.full((len(names), 2), np.nan)
    for row, name in enumerate(names):
        parameters = [p for _, p, own in seen if own == name]
        sizes = np.array([p.numel() for p in parameters])
        squares = np.array([state[p]["differences"].tolist() for p in parameters])
        across, bend = sizes @ squares / sizes.sum()
        change[row] = (across + bend) / 4, across
        second[row, 0] = bend
    return GlassDiagnosis(names, near * np.array([1.0, 2.0]), change, second)
