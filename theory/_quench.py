"""Where walkers in a rugged bowl end when the temperature is taken away, and what parts them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory._gibbs import basin_integrals
from theory._stationary import Wells, count_wells, find_wells, rise
from theory._types import Vector
from theory.checks import as_integer, as_number
from theory.rugged import RuggedBowl

__all__ = ["QuenchStatistics", "one_dimensional_connectivity", "quench_statistics"]

MOST_QUENCHED = 1000
"""Most wells that a quench is computed for."""

HOTTEST = 1e6
"""Highest reduced temperature that a quench is computed for."""


def _tops(wells: Wells) -> Vector:
    """Return the heights of the barriers above the lowest minimum."""
    left = wells.minima[:-1], wells.bends[:-1]
    return np.asarray(wells.heights[:-1] + rise(*left, wells.tops - wells.minima[:-1]))


def _row(heights: Vector, tops: Vector, i: int) -> Vector:
    """Return the connectivities of well i with all wells to its right."""
    mean = (heights[i] + heights[i + 1 :]) / 2
    below = mean - np.maximum.accumulate(tops[i:])
    above = mean - np.minimum.accumulate(heights[i:])[1:]
    return np.asarray(np.where(above > -below, above, below))


def one_dimensional_connectivity(landscape: RuggedBowl, i: int, j: int) -> float:
    r"""Return the mode connectivity of two minima, along the only path there is.

    **Equation.** :math:`mc = \tfrac12(L_i + L_j) - L(x^*)` with x* where the loss on the way
    from one minimum to the other deviates most from the mean of the ends.

    **Shapes and units.** An energy: negative where a barrier is the largest deviation, positive
    where a deeper well on the way is.

    Parameters
    ----------
    landscape : RuggedBowl
        The bowl.
    i, j : int
        Numbers of two minima as ``landscape.minima()`` lists them.

    Returns
    -------
    float
        0 for i = j.

    Raises
    ------
    ValueError
        If there is no such minimum.

    References
    ----------
    The rule: Yang et al. (2021), arXiv:2107.11228, for curves in many dimensions; on the rugged
    bowl: derived here.

    Examples
    --------
    >>> round(one_dimensional_connectivity(RuggedBowl(1.0, 7.5, 1.0), 1, 2), 6)
    -12.059405
    """
    wells = find_wells(landscape.ruggedness, landscape.phase)
    last = wells.minima.size - 1
    left, right = sorted(as_integer(name, v, low=0, high=last) for name, v in (("i", i), ("j", j)))
    if left == right:
        return 0.0
    return float(_row(wells.heights, _tops(wells), left)[right - left - 1]) * landscape.energy_unit


@dataclass(frozen=True, eq=False)
class QuenchStatistics:
    """What is left of a Gibbs law when every walker slides into the well it is in.

    Parameters
    ----------
    weights : Float[ndarray, " well"]
        Share of the walkers in each well, in the order of ``landscape.minima()``.
    share_a_well : float
        Probability that two walkers end in one well.
    mean_connectivity : float
        Mean mode connectivity of two walkers, an energy.
    mean_loss : float
        Mean loss at the bottoms, with the zero of ``landscape.loss``: its cosine counts -ε in
        a well, not 0.
    mean_curvature : float
        Mean curvature at the bottoms, the sharpness.
    """

    weights: Float[ndarray, " well"]
    share_a_well: float
    mean_connectivity: float
    mean_loss: float
    mean_curvature: float


def quench_statistics(landscape: RuggedBowl, temperature: float) -> QuenchStatistics:
    r"""Return where walkers at a temperature end when it is taken away at once.

    **Equation.** :math:`p_j = \int_{\text{basin } j} e^{-L/T} dx / Z`, the basins parted by the
    maxima; then means over :math:`p_j`, and over pairs :math:`p_i p_j` of the
    :func:`one_dimensional_connectivity`.

    **Shapes and units.** Those of the bowl.

    Parameters
    ----------
    landscape : RuggedBowl
        The bowl, of at most 1000 wells.
    temperature : float
        T > 0, at most 1e6 a/k².

    Returns
    -------
    QuenchStatistics
        Weights and means.

    Raises
    ------
    ValueError
        If there are too many wells, or it is too hot.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> quench = quench_statistics(RuggedBowl(1.0, 12.0, 1.0), 10.0)
    >>> quench.weights.round(6).tolist(), round(quench.share_a_well, 6)
    ([0.000464, 0.125685, 0.747703, 0.125685, 0.000464], 0.590653)
    """
    T = as_number("temperature", temperature, low=0.0, open_low=True)
    r, t = landscape.ruggedness, T / landscape.energy_unit
    if not 0 < t <= HOTTEST:
        raise ValueError(
            f"temperature = {T:g}: must be in (0, {HOTTEST:g}] in units of curvature /"
            f" wavenumber², is {t:g}"
        )
    count = count_wells(r, landscape.phase) if r < 10 * MOST_QUENCHED else round(r / math.pi)
    if count > MOST_QUENCHED:
        raise ValueError(
            f"landscape has {count:.6g} wells, must have at most {MOST_QUENCHED}: take a smaller"
            " roughness or wavenumber"
        )
    wells = find_wells(r, landscape.phase)
    mass = basin_integrals(wells, r, t)[:, 0]
    p = mass / mass.sum()
    tops = _tops(wells)
    pairs = sum(p[i] * (p[i + 1 :] @ _row(wells.heights, tops, i)) for i in range(p.size - 1))
    return QuenchStatistics(
        weights=p,
        share_a_well=float(p @ p),
        mean_connectivity=2 * float(pairs) * landscape.energy_unit,
        mean_loss=(wells.base + float(p @ wells.heights)) * landscape.energy_unit,
        mean_curvature=landscape.curvature * float(p @ (1 + wells.bends)),
    )
