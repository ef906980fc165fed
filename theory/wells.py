"""The wells of a rugged bowl: when they begin, what parts them, where a quench leaves a walker.

The model and its formulas are this project's own construction.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import spherical_jn

from theory._quench import (
    QuenchStatistics,
    one_dimensional_connectivity,
    quench_statistics,
)
from theory._stationary import count_wells, find_wells, rise
from theory._well_derivations import stationary_thresholds, washboard_barrier
from theory.checks import as_integer, as_number
from theory.rugged import RuggedBowl

__all__ = [
    "QuenchStatistics",
    "neighbour_barriers",
    "number_of_wells",
    "one_dimensional_connectivity",
    "one_point_convexity",
    "quench_statistics",
    "stationary_thresholds",
    "tilted_barrier",
    "tilted_curvature",
    "washboard_barrier",
    "well_thresholds",
]


def well_thresholds(count: int) -> Float[ndarray, " threshold"]:
    r"""Return the ruggedness from which the bowl with a minimum at its centre has more wells.

    **Equation.** :math:`r_j = \sqrt{1 + u_j^2}` with :math:`\tan u_j = u_j`,
    :math:`\sin u_j < 0`; beyond :math:`r_j` there are 2j + 1 wells.

    **Shapes and units.** Ruggedness has no unit.

    Parameters
    ----------
    count : int
        How many thresholds, from 1 to 1,000,000.

    Returns
    -------
    Float[ndarray, " threshold"]
        Ascending, about 2π apart.

    References
    ----------
    Derived here: :func:`stationary_thresholds`.

    Examples
    --------
    >>> well_thresholds(3).round(10).tolist()
    [4.6033388488, 10.9498798698, 17.2497655676]
    """
    number = np.arange(1, as_integer("count", count, low=1, high=1_000_000) + 1)
    u = turn = (2 * number - 1) * np.pi
    # u = turn + arctan u: each round brings more than a digit
    for _ in range(16):
        u = turn + np.arctan(u)
    return np.asarray(np.hypot(1.0, u))


def number_of_wells(ruggedness: float, phase: float = 0.0) -> int:
    r"""Return how many minima u²/2 - r cos(u + phase) has.

    **Equation.** The number of integers n with
    :math:`|\varphi - 2\pi n| < \pi + q - \arctan q`, :math:`q = \sqrt{r^2 - 1}`; 1 for r ≤ 1.

    **Shapes and units.** Scalars without unit.

    Parameters
    ----------
    ruggedness : float
        r, from 0 to 1e15.
    phase : float
        Any; counted modulo 2π.

    Returns
    -------
    int
        About r/π.

    References
    ----------
    Derived here: :func:`stationary_thresholds`.

    Examples
    --------
    >>> [number_of_wells(r) for r in (1.0, 4.6, 4.7, 12.0)], number_of_wells(2.0, np.pi)
    ([1, 1, 3, 5], 2)
    """
    r = as_number("ruggedness", ruggedness, low=0.0, high=1e15)
    return count_wells(r, as_number("phase", phase))


def one_point_convexity(ruggedness: float) -> float:
    r"""Return the constant c of u l'(u) ≥ c u² for l = u²/2 - r cos u.

    **Equation.** :math:`c = 1 + r \min_u \frac{\sin u}{u} = 1 - r/r_1`, with the first
    threshold :math:`r_1 = 4.6033`; in units of the curvature of the bowl.

    **Shapes and units.** Scalars without unit. For a smoothed bowl, its effective ruggedness.

    Parameters
    ----------
    ruggedness : float
        r >= 0.

    Returns
    -------
    float
        At most 1; not positive where there are several wells.

    References
    ----------
    Derived here: :func:`stationary_thresholds`.

    Examples
    --------
    >>> round(one_point_convexity(1.0), 10)
    0.7827663718
    """
    r = as_number("ruggedness", ruggedness, low=0.0)
    return 1 - r / float(well_thresholds(1)[0])


def tilted_barrier(tilt: float) -> float:
    r"""Return the barrier of a cosine on a slope, downhill, in units of its amplitude.

    **Equation.** :math:`\Delta/\varepsilon = 2[\sqrt{1 - g^2} - g \arccos g]`.

    **Shapes and units.** g is the slope over the steepest slope εk of the cosine.

    Parameters
    ----------
    tilt : float
        g in [0, 1].

    Returns
    -------
    float
        2 on the level, 0 at the steepest slope; no digit is lost near it.

    References
    ----------
    Derived here: :func:`washboard_barrier`.

    Examples
    --------
    >>> round(tilted_barrier(0.5), 12)
    0.684853256372
    """
    angle = math.acos(as_number("tilt", tilt, low=0.0, high=1.0))
    return 2 * angle * angle * float(spherical_jn(1, angle))


def tilted_curvature(tilt: float) -> float:
    r"""Return the curvature at both ends of the barrier of a cosine on a slope.

    **Equation.** :math:`\kappa/(\varepsilon k^2) = \sqrt{1 - g^2}`, at the bottom and, with the
    other sign, at the top.

    **Shapes and units.** As :func:`tilted_barrier`.

    Parameters
    ----------
    tilt : float
        g in [0, 1].

    Returns
    -------
    float
        From 1 on the level to 0.

    References
    ----------
    Derived here: :func:`washboard_barrier`.

    Examples
    --------
    >>> round(tilted_curvature(0.5), 12)
    0.866025403784
    """
    g = as_number("tilt", tilt, low=0.0, high=1.0)
    return math.sqrt((1 - g) * (1 + g))


def neighbour_barriers(landscape: RuggedBowl) -> Float[ndarray, "pair direction"]:
    """Return the barriers between neighbouring minima.

    **Equation.** L at the maximum between, less L at the minimum that is left.

    **Shapes and units.** Energies; one row a pair of neighbours, from left to right.

    Parameters
    ----------
    landscape : RuggedBowl
        The bowl.

    Returns
    -------
    Float[ndarray, "pair direction"]
        Columns: from the left minimum to the right one, and back. No row for a single minimum.

    References
    ----------
    Derived here: :func:`well_energies`.

    Examples
    --------
    >>> neighbour_barriers(RuggedBowl(1.0, 7.5, 1.0)).round(4).tolist()
    [[3.4062, 20.7127], [20.7127, 3.4062]]
    """
    wells = find_wells(landscape.ruggedness, landscape.phase)
    rows = []
    for ends in (slice(None, -1), slice(1, None)):
        places = wells.minima[ends]
        rows.append(rise(places, wells.bends[ends], wells.tops - places))
    return np.stack(rows, axis=1) * landscape.energy_unit
