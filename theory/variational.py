"""The Gaussian that fits a rugged bowl best: narrow in one well, or broad over many."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.special import lambertw

from theory._load_derivations import gaussian_variational_branches
from theory.checks import as_number

__all__ = [
    "CRITICAL_POINT",
    "Branch",
    "Coexistence",
    "coexistence",
    "gaussian_variational",
    "gaussian_variational_branches",
    "spinodals",
]

CRITICAL_POINT = (math.exp(2.0), 8.0, 4.0)
"""Ruggedness, reduced temperature and squared width at which two branches become one."""


@dataclass(frozen=True)
class Branch:
    """A stationary Gaussian.

    Parameters
    ----------
    width : float
        x = k²s², its variance in units 1/k².
    free_energy : float
        In units a/k²; never below -t ln Z, that of the Gibbs law.
    stable : bool
        Whether it is a minimum of the free energy.
    """

    width: float
    free_energy: float
    stable: bool


@dataclass(frozen=True)
class Coexistence:
    """Where the narrow and the broad Gaussian have the same free energy.

    Parameters
    ----------
    temperature : float
        Reduced temperature t.
    narrow, broad : float
        The two squared widths x.
    """

    temperature: float
    narrow: float
    broad: float


def _temperature(x: float, rho: float) -> float:
    """Return the temperature at which the Gaussian of squared width x is stationary."""
    return x * (1 + rho * math.exp(-x / 2))


def _free_energy(x: float, rho: float, t: float) -> float:
    """Return mean loss less temperature times entropy."""
    return x / 2 - rho * math.exp(-x / 2) - t / 2 * math.log(2 * math.pi * math.e * x)


def _width(rho: float, t: float, low: float, high: float) -> float:
    """Return the one stationary width in an interval."""

    def excess(x: float) -> float:
        """Return how far the temperature of a width is above the one wanted."""
        return _temperature(x, rho) - t

    ends = excess(low), excess(high)
    if ends[0] * ends[1] > 0:  # by rounding: the width is that of a fold
        return low if abs(ends[0]) < abs(ends[1]) else high
    return float(brentq(excess, low, high, xtol=5e-324, rtol=1e-15, maxiter=2000))


def _folds(rho: float) -> tuple[float, float]:
    """Return the squared widths at which the narrow branch ends, and the broad one."""
    lowest = -math.e / rho
    narrow, broad = (2 - 2 * float(lambertw(lowest, branch).real) for branch in (0, -1))
    return narrow, broad


def spinodals(ruggedness: float) -> tuple[float, float]:
    r"""Return the temperatures between which a narrow and a broad Gaussian are both stable.

    **Equation.** :math:`t = x(1 + \rho e^{-x/2})` at its extrema :math:`x = 2(1 - W(-e/\rho))`,
    with the branches -1 and 0 of Lambert's function.

    **Shapes and units.** Scalars without unit.

    Parameters
    ----------
    ruggedness : float
        ρ > e² = 7.389: below there is one branch.

    Returns
    -------
    tuple of float
        t below which there is no broad Gaussian, and t above which there is no narrow one.

    References
    ----------
    Derived here: :func:`gaussian_variational_branches`.

    Examples
    --------
    >>> spinodals(20.0)
    (10.916824206185604, 16.86576068309963)
    """
    rho = as_number("ruggedness", ruggedness, low=CRITICAL_POINT[0], open_low=True)
    narrow, broad = _folds(rho)
    return _temperature(broad, rho), _temperature(narrow, rho)


def gaussian_variational(ruggedness: float, reduced_temperature: float) -> tuple[Branch, ...]:
    r"""Return the stationary Gaussians about the centre of the bowl u²/2 - ρ cos u.

    **Equation.** :math:`F(x) = x/2 - \rho e^{-x/2} - (t/2)\ln(2\pi e x)` is stationary where
    :math:`t = x(1 + \rho e^{-x/2})`.

    **Shapes and units.** Scalars without unit: energies in a/k², lengths in 1/k.

    Parameters
    ----------
    ruggedness : float
        ρ >= 0.
    reduced_temperature : float
        t in [1e-300 (1 + ρ), 1e300]: without temperature the Gaussian has no width.

    Returns
    -------
    tuple of Branch
        Narrowest first: three strictly between the :func:`spinodals`, the middle one unstable;
        else one.

    Notes
    -----
    The jump from narrow to broad is the approximation's, not the Gibbs law's: that law's second
    moment grows smoothly, for ρ = 20 by 9.07, 11.55, 13.93, 15.91 at t = 10, 12, 14.13, 16. A
    narrow branch describes a walker trapped in the central well. At the critical point the width
    is a threefold root, good to five digits.

    References
    ----------
    Derived here: :func:`gaussian_variational_branches`. The bound: Gibbs, Bogoliubov, Feynman.

    Examples
    --------
    >>> [(round(b.width, 4), b.stable) for b in gaussian_variational(20.0, 14.0)]
    [(1.1342, True), (4.4914, False), (13.7111, True)]
    """
    rho = as_number("ruggedness", ruggedness, low=0.0)
    t = as_number("reduced_temperature", reduced_temperature, low=1e-300 * (1 + rho), high=1e300)
    # x = t is the width without roughness, and a bound
    intervals = [(0.0, t, True)]
    if rho > CRITICAL_POINT[0]:
        low, high = spinodals(rho)
        narrow, broad = _folds(rho)
        intervals = []
        if t < high:
            intervals.append((0.0, narrow, True))
        if low < t < high:
            intervals.append((narrow, broad, False))
        if t > low:
            intervals.append((broad, t, True))
    widths = [(_width(rho, t, left, right), stable) for left, right, stable in intervals]
    return tuple(Branch(x, _free_energy(x, rho, t), stable) for x, stable in widths)


def coexistence(ruggedness: float) -> Coexistence:
    r"""Return the temperature at which narrow and broad Gaussian have the same free energy.

    **Equation.** :math:`F(x_n) = F(x_b)` with both stationary.

    **Shapes and units.** Scalars without unit.

    Parameters
    ----------
    ruggedness : float
        ρ > e² = 7.389. Within 1e-7 of it the free energies differ by less than rounding; the
        spinodals then bound the temperature to ten digits.

    Returns
    -------
    Coexistence
        Temperature and the two squared widths.

    References
    ----------
    Derived here: :func:`gaussian_variational_branches`.

    Examples
    --------
    >>> round(coexistence(20.0).temperature, 10)
    14.1324762928
    """
    rho = as_number("ruggedness", ruggedness, low=CRITICAL_POINT[0], open_low=True)
    ends = spinodals(rho)
    folds = _folds(rho)

    def pair(t: float) -> tuple[float, float]:
        """Return the narrow and the broad width."""
        return _width(rho, t, 0.0, folds[0]), _width(rho, t, folds[1], t)

    def excess(t: float) -> float:
        """Return how much more free energy the broad Gaussian has."""
        narrow, broad = pair(t)
        return _free_energy(broad, rho, t) - _free_energy(narrow, rho, t)

    # inside the spinodals by a margin that rounding does not cross
    margin = 1e-9 * (ends[1] - ends[0])
    low, high = ends[0] + margin, ends[1] - margin
    if excess(low) > 0 > excess(high):
        t = float(brentq(excess, low, high, xtol=5e-324, rtol=1e-15))
    else:
        t = (low + high) / 2
    return Coexistence(t, *pair(t))
