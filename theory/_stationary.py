"""Stationary points of u²/2 - r cos(u + phase): every one, and energies that do not cancel.

In v = u + phase they solve v + r sin v = phase. The left side rises and falls in turn, so each
minimum lies alone on a rising piece and each maximum alone on a falling one, and whether a
piece reaches the phase is told by a closed form: none is missed, none found twice.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import hyp2f1

from theory._types import Vector

__all__ = [
    "MOST_WELLS",
    "Wells",
    "count_wells",
    "find_wells",
    "fold_excess",
    "rise",
    "stationary_only_at_minimum",
]

MOST_WELLS = 1_000_000
"""Most minima that are listed."""

_SINE = [(-1) ** i / math.factorial(2 * i + 3) for i in range(9)]
_COSINE = [(-1) ** i / math.factorial(2 * i + 4) for i in range(9)]


class Wells(NamedTuple):
    """The minima of u²/2 - r cos(u + phase), from left to right, and the maxima between.

    ``bends`` is r cos(u + phase) at the minima, so that 1 + bends is the curvature; ``heights``
    are the losses above the lowest minimum, whose loss is ``base``.
    """

    minima: Vector
    tops: Vector
    bends: Vector
    heights: Vector
    base: float


def fold_excess(r: float) -> float:
    """Return q - arctan q with q = sqrt(r² - 1), and 0 where the landscape is convex."""
    if r <= 1:
        return 0.0
    q = math.sqrt(r - 1) * math.sqrt(r + 1)
    if q > 0.5:
        return q - math.atan(q)
    return q**3 / 3 * float(hyp2f1(1.0, 1.5, 2.5, -q * q))


def _defects(d: float | Vector) -> tuple[Any, Any]:
    """Return d - sin d and cos d - 1 + d²/2, also where their terms nearly cancel."""
    square = np.minimum(d * d, 1.0)
    sine, cosine = (np.polynomial.polynomial.polyval(square, c) for c in (_SINE, _COSINE))
    near = np.abs(d) < 1
    return (
        np.where(near, d * square * sine, d - np.sin(d)),
        np.where(near, square**2 * cosine, d * d / 2 - 2 * np.sin(d / 2) ** 2),
    )


def rise(place: float | Vector, bend: float | Vector, d: float | Vector) -> Any:
    """Return the loss at a distance d from a stationary point, above that point."""
    sine, cosine = _defects(d)
    return (1 + bend) * d**2 / 2 - bend * cosine + place * sine


def _climb(level: Vector, r: float, sign: int) -> Vector:
    """Return the first w >= 0 at which the concave r sin w + sign w reaches a level."""
    end = math.pi if r <= 1 else math.acos(-sign / r)
    # Newton from the left of a concave function never passes the root
    w = level / (r + sign) if r > 1 else np.where(level >= math.pi, end, level / (r + sign))
    for _ in range(200):
        rest = level - (r * np.sin(w) + sign * w)
        slope = r * np.cos(w) + sign
        going = (rest > 0) & (slope > 0)
        further = np.minimum(w + np.where(going, rest / np.where(going, slope, 1.0), 0.0), end)
        if (further == w).all():
            break
        w = further
    return w


def _pieces(r: float, phase: float) -> tuple[int, int]:
    """Return the first and the last rising piece with a minimum; phase in [0, pi]."""
    excess = fold_excess(r)
    first = min(0, math.ceil((phase - math.pi - excess) / (2 * math.pi)) - 1)
    last = max(0, math.floor((phase + math.pi + excess) / (2 * math.pi)) + 1)
    # strictly inside: where a piece just touches the phase there is an inflection
    while first < 0 and 2 * math.pi * -first + phase - math.pi >= excess:
        first += 1
    while last > 0 and 2 * math.pi * last - phase - math.pi >= excess:
        last -= 1
    return first, last


def count_wells(r: float, phase: float) -> int:
    """Return the number of minima."""
    first, last = _pieces(r, abs(math.remainder(phase, 2 * math.pi)))
    return last - first + 1


def stationary_only_at_minimum(r: float, phase: float) -> bool:
    """Return whether the landscape has no stationary point but its minimum."""
    folded = abs(math.remainder(phase, 2 * math.pi))
    # the next piece to the nearest; equality is an inflection, stationary too
    return r <= 1 or math.pi - folded > fold_excess(r)


def _heights(w: Vector, levels: Vector, centre: int, r: float) -> Vector:
    """Return the energies above the lowest well, without cancellation."""
    # nearly equal wells share all digits but the last: solve for differences, see well_energies
    apart = np.abs(levels) - abs(levels[centre])
    size = np.abs(w)
    mean, delta = (size + size[centre]) / 2, size - size[centre]
    for _ in range(3):
        slope = 1 + r * np.cos(mean) * np.cos(delta / 2)
        rest = delta + 2 * r * np.cos(mean) * np.sin(delta / 2) - apart
        delta = delta - np.where(slope > 0, rest / np.where(slope > 0, slope, 1.0), 0.0)
    half = delta / 2
    return np.asarray(2 * r * np.sin(mean) * np.sin(half) * (1 + r * np.cos(mean) * np.cos(half)))


def find_wells(r: float, phase: float, reach: int | None = None) -> Wells:
    """Return all minima and the maxima between them.

    Parameters
    ----------
    r : float
        Ruggedness, >= 0.
    phase : float
        Any; counted modulo 2 pi, so that numpy's pi is half a turn exactly.
    reach : int or None
        Only minima within so many periods of the centre; None for all.

    Returns
    -------
    Wells
        From left to right.

    Raises
    ------
    ValueError
        If there are more minima than can be listed.
    """
    turned = math.remainder(phase, 2 * math.pi)
    folded = abs(turned)
    if reach is None and r > math.pi * MOST_WELLS:
        raise ValueError(
            f"ruggedness = {r:g}: about {r / math.pi:.3g} minima, more than {MOST_WELLS};"
            " take a smaller roughness or wavenumber, or smooth more"
        )
    first, last = _pieces(r, folded)
    if reach is not None:
        first, last = max(first, -reach), min(last, reach)
    number = np.arange(first, last + 1)
    levels = folded - 2 * np.pi * number
    w = np.copysign(_climb(np.abs(levels), r, 1), levels)
    between = levels[:-1] - np.pi
    limit = fold_excess(r)
    v = -np.copysign(_climb(np.minimum(np.abs(between), limit), r, -1), between)
    minima, tops, bends = w - levels, v - between, r * np.cos(w)
    heights = _heights(w, levels, -first, r)
    base = float(minima[-first] ** 2 / 2 - bends[-first])
    if turned < 0:
        minima, tops, bends, heights = -minima[::-1], -tops[::-1], bends[::-1], heights[::-1]
    return Wells(minima, tops, bends, heights, base)
