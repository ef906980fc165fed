"""Overdamped motion without sampling: passage times, diffusion, the spectrum."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import eigh, toeplitz

from theory._log_quadrature import Panels, doubled, resolve
from theory.checks import as_integer, as_number, as_vector, shown

__all__ = ["lifson_jackson", "passage_time", "spectral_gap"]

ACCURACY = 1e-10
"""Relative accuracy that the quadratures are refined to."""

NEGLIGIBLE = 60.0
"""Rise of the energy, in temperatures, beyond which a tail holds no probability."""

REFINEMENTS = 8
"""Most bisections of every panel."""

LARGEST = math.log(np.finfo(float).max)
"""Logarithm of the largest float."""


def _unresolved(low: float, high: float) -> str:
    """Return what to say of a potential that no panels resolve."""
    return (
        f"potential cannot be integrated between {low:g} and {high:g} to {ACCURACY:g}: it must be"
        " smooth or have kinks alone"
    )


def lifson_jackson(potential: Callable[[Any], Any], period: float, temperature: float) -> float:
    r"""Return the long-time diffusion constant over a periodic potential.

    **Equation.** With means over one period,
    :math:`D = T / (\langle e^{V/T}\rangle \langle e^{-V/T}\rangle)`.

    **Shapes and units.** As :func:`cosine_diffusion`.

    Parameters
    ----------
    potential : callable
        V, vectorised over positions; smooth but for kinks.
    period : float
        Its period, > 0.
    temperature : float
        T > 0.

    Returns
    -------
    float
        To ten digits; 0 where it is below the smallest float.

    Raises
    ------
    ValueError
        If the potential has another period or cannot be integrated.

    References
    ----------
    Lifson & Jackson (1962), doi:10.1063/1.1732899.

    Examples
    --------
    >>> round(lifson_jackson(lambda x: -2 * np.cos(3 * x), 2 * np.pi / 3, 1.0), 10)
    0.1924368785
    """
    span = as_number("period", period, low=0.0, open_low=True)
    T = as_number("temperature", temperature, low=0.0, open_low=True)
    places = np.linspace(0.0, span, 17)
    energies, shifted = np.asarray(potential(places)), np.asarray(potential(places + span))
    if not (np.isfinite(energies).all() and np.isfinite(shifted).all()):
        raise ValueError(f"potential is not finite everywhere from 0 to {2 * span:g}: mend it")
    if not np.allclose(energies, shifted, rtol=1e-9, atol=1e-9 * (1 + np.ptp(energies))):
        raise ValueError(f"period = {span:g}: the potential does not repeat after it")

    def slowing(panels: Panels) -> float:
        """Return log of the product of both means."""
        f = panels.exponent
        return panels.log_integral(f) + panels.log_integral(-f) - 2 * math.log(span)

    def exponent(x: Any) -> Any:
        """Return energies in temperatures."""
        return np.asarray(potential(x), dtype=np.float64) / T

    panels = resolve(exponent, 0.0, span)
    value = math.nan
    for _ in range(REFINEMENTS):
        before, value = value, slowing(panels)
        if abs(value - before) <= ACCURACY:
            return T * math.exp(-value)
        panels = doubled(exponent, panels)
    raise ValueError(_unresolved(0.0, span))


def _tail(exponent: Callable[[Any], Any], start: float, high: float) -> float:
    """Return the point below start where a confining potential leaves no probability."""
    distances = (high - start) * 2.0 ** np.arange(-8, 200)
    with np.errstate(over="ignore", invalid="ignore"):
        heights = np.asarray(exponent(start - distances), dtype=np.float64)
    lowest = np.fmin.accumulate(heights)
    # six doublings in a row, lest a barrier be taken for the end
    above = np.isinf(heights) | (heights - lowest > NEGLIGIBLE)
    runs = np.convolve(above, np.ones(6), mode="valid") == 6
    if not runs.any():
        raise ValueError("potential does not rise towards the infinite end: the time is infinite")
    return float(start - distances[int(np.argmax(runs))])


def passage_time(
    potential: Callable[[Any], Any], start: float, low: float, high: float, temperature: float
) -> float:
    r"""Return the mean first passage time out of an interval.

    **Equation.** For :math:`dx = -V'(x)\,dt + \sqrt{2T}\,dW` from x, with
    :math:`S(p, q) = \int_p^q e^{V/T}`,

    .. math::

        \tau(x) = \frac{S(x, h) \int_l^x e^{-V(y)/T} S(l, y)\,dy
            + S(l, x) \int_x^h e^{-V(y)/T} S(y, h)\,dy}{T\, S(l, h)} ,

    all terms positive; for :math:`l = -\infty` its limit
    :math:`\frac1T \int_x^h e^{V(z)/T} \int_{-\infty}^z e^{-V(y)/T}\,dy\,dz`.
    Quadrature by panels, in logarithms.

    **Shapes and units.** Time at mobility 1: length²/energy.

    Parameters
    ----------
    potential : callable
        V, vectorised over positions; smooth but for kinks. What is narrower than a five-hundredth
        of the interval may be overlooked, unless it repeats.
    start : float
        x, from low to high.
    low, high : float
        The ends, passed for good when reached; one may be infinite if V rises there.
    temperature : float
        T > 0.

    Returns
    -------
    float
        To about ten digits.

    Raises
    ------
    ValueError
        If the start lies outside, nothing can be reached, the potential does not confine
        towards an infinite end, or the time is beyond the largest float.

    References
    ----------
    The equation: Gardiner (2009), Stochastic Methods, section 5.5, ISBN 978-3-540-70712-7.

    Examples
    --------
    >>> time = passage_time(lambda x: -2 * np.cos(x), 0.0, -2 * np.pi, 2 * np.pi, 1.0)
    >>> round(time, 8)
    102.57497917
    """
    x = as_number("start", start)
    T = as_number("temperature", temperature, low=0.0, open_low=True)
    ends = f"({shown(low)}, {shown(high)})"
    if not (isinstance(low, Real) and isinstance(high, Real)):
        raise ValueError(f"low, high = {ends}: must be two numbers, of which one may be infinite")
    if math.isnan(low) or math.isnan(high) or not low <= x <= high or low == high:
        raise ValueError(f"start = {x:g}: must lie inside {ends}, where low < high")
    if math.isinf(low) and math.isinf(high):
        raise ValueError(f"low, high = {ends}: one end must be finite, or nothing is passed")
    if x in (low, high):
        return 0.0
    if math.isinf(high):
        return passage_time(lambda y: potential(-y), -x, -high, -low, T)

    def exponent(y: Any) -> Any:
        """Return energies in temperatures."""
        return np.asarray(potential(y), dtype=np.float64) / T

    def beyond(panels: Panels) -> tuple[float, float]:
        """Return log of S(x, h) and of the integral of e^-f S(y, h)."""
        inner = panels.log_running(backward=True)
        return panels.log_integral(panels.exponent), panels.log_integral(inner - panels.exponent)

    lower = _tail(exponent, x, high) if math.isinf(low) else low
    left, right = resolve(exponent, lower, x), resolve(exponent, x, high)
    value = math.nan
    for _ in range(REFINEMENTS):
        reach, above = beyond(right)
        if math.isinf(low):
            fresh = np.logaddexp(reach + left.log_integral(-left.exponent), above)
        else:
            back = left.log_integral(left.exponent)
            below = left.log_integral(left.log_running() - left.exponent)
            fresh = np.logaddexp(reach + below, back + above) - np.logaddexp(back, reach)
        before, value = value, float(fresh) - math.log(T)
        if abs(value - before) <= ACCURACY:
            if value > LARGEST:
                raise ValueError(
                    f"temperature = {T:g}: the time, e^{value:.0f}, is beyond the largest float;"
                    " raise the temperature"
                )
            return math.exp(value)
        left, right = doubled(exponent, left), doubled(exponent, right)
    raise ValueError(_unresolved(lower, high))


def spectral_gap(
    gradient: Callable[[Any], Any],
    curvature: Callable[[Any], Any],
    temperature: float,
    half_width: float,
    points: int,
) -> Float[ndarray, " level"]:
    r"""Return the two slowest relaxation rates: 0, of the equilibrium, and the gap.

    **Equation.** The Fokker-Planck operator of :math:`dx = -L'\,dt + \sqrt{2T}\,dW` is, made
    symmetric by :math:`e^{L/2T}`, minus

    .. math:: H = -T \partial_x^2 + \frac{L'^2}{4T} - \frac{L''}{2} ,

    here on a grid of sinc functions, whose error falls exponentially in the number of points.

    **Shapes and units.** 1/time at mobility 1; ascending.

    Parameters
    ----------
    gradient, curvature : callable
        L' and L'', vectorised.
    temperature : float
        T > 0.
    half_width : float
        The grid spans [-half_width, half_width]; nine standard deviations of the equilibrium
        leave e^-40 outside.
    points : int
        From 16 to 4000; several to the finest length of L or of the equilibrium.

    Returns
    -------
    Float[ndarray, " level"]
        The ground state, 0 up to rounding, and the gap.

    Raises
    ------
    ValueError
        If a number is out of range or the ground state is not 0 within a millionth of the gap:
        too narrow, too coarse or too cold.

    References
    ----------
    Risken (1989), The Fokker-Planck Equation, section 5.4, doi:10.1007/978-3-642-61544-3; the
    grid: Colbert & Miller (1992), doi:10.1063/1.462100.

    Examples
    --------
    >>> levels = spectral_gap(lambda x: 2 * x, lambda x: 2 + 0 * x, 0.1, 2.5, 100)
    >>> bool(abs(levels - [0, 2]).max() < 1e-11)
    True
    """
    T = as_number("temperature", temperature, low=0.0, open_low=True)
    width = as_number("half_width", half_width, low=0.0, open_low=True)
    count = as_integer("points", points, low=16, high=4000)
    x = np.linspace(-width, width, count)
    step = x[1] - x[0]
    slope = as_vector("gradient(x)", gradient(x))
    bend = as_vector("curvature(x)", curvature(x))
    if slope.shape != x.shape or bend.shape != x.shape:
        raise ValueError(
            f"gradient, curvature return {slope.size}, {bend.size} values for {count} positions:"
            " must return one a position"
        )
    lag = np.arange(count)
    with np.errstate(divide="ignore"):
        kinetic = np.where(lag == 0, np.pi**2 / 3, 2 * (-1.0) ** lag / lag.astype(float) ** 2)
    with np.errstate(all="ignore"):
        matrix = toeplitz(T / step / step * kinetic)
        matrix[lag, lag] += slope / (4 * T) * slope - bend / 2
    if not np.isfinite(matrix).all():
        raise ValueError(
            f"half_width = {width:g}, temperature = {T:g}: energies on this grid are beyond the"
            " largest float; choose other units"
        )
    levels = np.asarray(eigh(matrix, eigvals_only=True, subset_by_index=[0, 1]))
    if not abs(levels[0]) <= 1e-6 * levels[1]:
        raise ValueError(
            f"half_width = {width:g}, points = {count}: the ground state is {levels[0]:.3g} beside"
            f" a gap of {levels[1]:.3g}, it must be 0; take a wider or finer grid, or a higher"
            " temperature"
        )
    return levels
