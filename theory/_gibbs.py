"""The Gibbs law of u²/2 - r cos(u + phase), at any temperature."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre
from scipy.special import i0e, ive

from theory._stationary import Wells, find_wells, rise
from theory._types import Matrix, Vector

__all__ = ["BowlMoments", "basin_integrals", "bowl_moments"]

SERIES_FROM = 2.0
"""Reduced temperature from which the Bessel series is used: below, its terms may cancel."""

NEGLIGIBLE = 80.0
"""Energy, in temperatures, above which nothing is counted."""

LEVELS = 18
"""Panels from the bottom of a well to the negligible height, equal in the square root of it."""

LARGEST_ARGUMENT = 1e9
"""Argument from which the Bessel functions of any order are expanded: scipy's end soon after."""

WIDEST = 3.0
"""Widest panel, half a period of the cosine."""

_X, _W = legendre.leggauss(16)


class BowlMoments(NamedTuple):
    """log Z, <u²>, <l> and <l''> of the reduced landscape l."""

    log_partition: float
    second_moment: float
    mean_loss: float
    mean_curvature: float


def _scaled_bessel(n: Vector, z: float) -> Vector:
    """Return I_n(z) e^-z for the few orders of the series."""
    if z < LARGEST_ARGUMENT:
        return np.asarray(ive(n, z))
    return np.asarray(i0e(z) * (1 - n**2 / (2 * z)))


def _series(r: float, phase: float, t: float) -> BowlMoments:
    """Return moments by the expansion of e^(z cos v) in Bessel functions I_n(z), z = r/t."""
    z = r / t
    n = np.arange(math.ceil(math.sqrt(2 * NEGLIGIBLE / t)) + 1.0)
    damping = np.where(n == 0, 1.0, 2.0) * np.exp(-(n**2) * t / 2) * np.cos(n * phase)
    terms = _scaled_bessel(n, z) * damping
    total = float(terms.sum())
    beside = _scaled_bessel(np.abs(n - 1), z) + _scaled_bessel(n + 1, z)
    cosine = float(beside / 2 @ damping) / total
    second = t - t * (t * float(n**2 @ terms) / total)
    log_z = (math.log(2 * math.pi) + math.log(t)) / 2 + z + math.log(total)
    return BowlMoments(log_z, second, second / 2 - r * cosine, 1 + r * cosine)


def _panels(place: float, bend: float, side: int, end: float, t: float, r: float) -> Vector:
    """Return distances from a bottom that cut one side of its basin into smooth panels."""
    wanted = NEGLIGIBLE * t * (np.arange(1, LEVELS + 1) / LEVELS) ** 2
    # the curvature is at most 1 + r
    low = np.minimum(np.sqrt(2 * wanted / (1 + r)), end)
    high = np.full(LEVELS, end)
    for _ in range(12):
        middle = np.sqrt(low) * np.sqrt(high)
        below = rise(side * place, bend, middle) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.unique(np.concatenate([[0.0], high, np.arange(WIDEST, high[-1], WIDEST)]))


def _end(place: float, side: int, t: float, r: float) -> float:
    """Return a distance from an outermost minimum beyond which nothing is counted."""
    return math.sqrt(2 * (NEGLIGIBLE * t + r + 1) + place * place) + max(-side * place, 0.0)


def basin_integrals(wells: Wells, r: float, t: float) -> Matrix:
    """Return, for each basin, the Gibbs weight and its integrals of u², l and l''.

    Parameters
    ----------
    wells : Wells
        Minima and maxima; those missing must be too high to count.
    r : float
        Ruggedness.
    t : float
        Reduced temperature, > 0.

    Returns
    -------
    Matrix
        A row a basin; columns: the integrals of 1, u², l - base and l'' with the weight
        exp(-(l - base)/t)/sqrt t, which is not small where t is.
    """
    out = np.zeros((wells.minima.size, 4))
    for j in np.flatnonzero(wells.heights <= NEGLIGIBLE * t):
        place, bend = float(wells.minima[j]), float(wells.bends[j])
        neighbours = {-1: wells.tops[j - 1 : j] if j else wells.tops[:0], 1: wells.tops[j : j + 1]}
        for side, top in neighbours.items():
            end = float(abs(top[0] - place)) if top.size else _end(place, side, t, r)
            edges = _panels(place, bend, side, end, t, r)
            half = np.diff(edges)[:, None] / 2
            d = (edges[:-1, None] + half * (1 + _X)).ravel()
            energy = wells.heights[j] + rise(side * place, bend, d)
            weight = (half / math.sqrt(t) * _W).ravel() * np.exp(-energy / t)
            curvature = 1 + bend - 2 * bend * np.sin(d / 2) ** 2 + side * place * np.sin(d)
            out[j] += [
                weight.sum(),
                weight @ (place + side * d) ** 2,
                weight @ energy,
                weight @ curvature,
            ]
    return out


def bowl_moments(r: float, phase: float, t: float) -> BowlMoments:
    """Return log Z, <u²>, <l> and <l''> of the Gibbs law exp(-l/t).

    Parameters
    ----------
    r : float
        Ruggedness, >= 0.
    phase : float
        Any.
    t : float
        Reduced temperature, > 0.

    Returns
    -------
    BowlMoments
        Hot: a Bessel series of few terms. Cold: quadrature from the bottom of every basin that
        counts, with energies that are differences before they are rounded.
    """
    if t >= SERIES_FROM:
        return _series(r, phase, t)
    # the loss of a well n periods out is at least (n - 1)² 2π² - 5 above the lowest
    reach = 3 + math.ceil(math.sqrt(2 * (NEGLIGIBLE * t + 5)) / (2 * math.pi))
    wells = find_wells(r, phase, reach)
    mass, square, energy, curvature = (float(v) for v in basin_integrals(wells, r, t).sum(axis=0))
    return BowlMoments(
        math.log(mass) + math.log(t) / 2 - wells.base / t,
        square / mass,
        wells.base + energy / mass,
        curvature / mass,
    )
