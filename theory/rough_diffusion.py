"""Diffusion over a rough potential: how much slower, and how long until a point is passed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq

from theory._bessel import log_i0
from theory._diffusion_derivations import kramers_limit, rough_potential_diffusion, trapping_line
from theory._overdamped import lifson_jackson, passage_time, spectral_gap
from theory.checks import as_number, as_vector

__all__ = [
    "cosine_diffusion",
    "cosine_relaxation",
    "gaussian_diffusion",
    "kramers_limit",
    "kramers_rate",
    "lifson_jackson",
    "passage_time",
    "rough_potential_diffusion",
    "spectral_gap",
    "trapping_line",
    "trapping_temperature",
]


def _slowing(roughness: float | Sequence[float], temperature: float) -> float:
    """Return log of the product of I0(eps/T)^2; the ratio may overflow, the logarithm not."""
    parts = np.atleast_1d(roughness)
    ratios = [
        as_number("roughness", eps, low=0.0)
        / as_number("temperature", temperature, low=0.0, open_low=True)
        for eps in as_vector("roughness", parts).tolist()
    ]
    return 2 * sum(log_i0(ratio) for ratio in ratios)


def cosine_diffusion(roughness: float | Sequence[float], temperature: float) -> float:
    r"""Return the long-time diffusion constant over cosines.

    **Equation.** For :math:`V = -\varepsilon\cos kx` and
    :math:`dx = -V'\,dt + \sqrt{2T}\,dW`,

    .. math:: D = T / I_0(\varepsilon/T)^2,

    whatever k; cosines of incommensurate periods multiply their factors.

    **Shapes and units.** Mobility 1: energies and temperatures in one unit, which is
    length²/time.

    Parameters
    ----------
    roughness : float or sequence of float
        Amplitude of the cosine, or of each of several, >= 0.
    temperature : float
        T > 0.

    Returns
    -------
    float
        At most T; 0 where it is below the smallest float.

    Raises
    ------
    ValueError
        If an amplitude is negative or the temperature not positive.

    References
    ----------
    Lifson & Jackson (1962), doi:10.1063/1.1732899. The cosine: see
    :func:`rough_potential_diffusion`.

    Examples
    --------
    >>> round(cosine_diffusion(1.0, 1.0), 12)
    0.623860360432
    >>> round(cosine_diffusion([1.0, 0.5], 1.0), 12)
    0.551602194091
    """
    slowing = _slowing(roughness, temperature)
    return float(temperature) * math.exp(-slowing)


def cosine_relaxation(
    curvature: float, roughness: float | Sequence[float], temperature: float
) -> float:
    r"""Return the rate at which a rough bowl is relaxed.

    **Equation.** In :math:`L = a x^2/2 - \varepsilon\cos kx` the diffusion over the cosine
    and the drift it leaves are slowed alike,

    .. math:: dx = -\frac{a\,dt}{I_0(\varepsilon/T)^2} x + \sqrt{2D}\,dW , \qquad
       \text{rate } a / I_0(\varepsilon/T)^2,

    where many periods fit into the bowl, :math:`T/a \gg (2\pi/k)^2`, and the bowl falls by
    much less than T a period, :math:`2\pi a|x|/k \ll T`.

    **Shapes and units.** 1/time.

    Parameters
    ----------
    curvature : float
        a > 0.
    roughness : float or sequence of float
        Amplitudes, >= 0.
    temperature : float
        T > 0.

    Returns
    -------
    float
        At most a.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Derived here from Lifson & Jackson (1962), doi:10.1063/1.1732899.

    Examples
    --------
    >>> round(cosine_relaxation(1.0, 0.1, 0.1), 12)
    0.623860360432
    """
    a = as_number("curvature", curvature, low=0.0, open_low=True)
    return a * math.exp(-_slowing(roughness, temperature))


def gaussian_diffusion(deviation: float, temperature: float) -> float:
    r"""Return the long-time diffusion constant over Gaussian roughness.

    **Equation.** :math:`D = T e^{-(\sigma/T)^2}` for energies with a normal law of standard
    deviation :math:`\sigma` at any point.

    **Shapes and units.** As :func:`cosine_diffusion`.

    Parameters
    ----------
    deviation : float
        :math:`\sigma` >= 0.
    temperature : float
        T > 0.

    Returns
    -------
    float
        At most T.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Zwanzig (1988), doi:10.1073/pnas.85.7.2029.

    Examples
    --------
    >>> round(gaussian_diffusion(1.0, 1.0), 12)
    0.367879441171
    """
    sigma = as_number("deviation", deviation, low=0.0)
    T = as_number("temperature", temperature, low=0.0, open_low=True)
    ratio = sigma / T
    return T * math.exp(-ratio * ratio) if ratio < 1e3 else 0.0


def kramers_rate(
    bottom_curvature: float, top_curvature: float, barrier: float, temperature: float
) -> float:
    r"""Return the rate of escape over one barrier, high against the temperature.

    **Equation.** :math:`r = \frac{\sqrt{\kappa_b \kappa_t}}{2\pi} e^{-\Delta/T}` with
    :math:`\kappa = |L''|` at the bottom and at the top.

    **Shapes and units.** 1/time at mobility 1.

    Parameters
    ----------
    bottom_curvature, top_curvature : float
        :math:`\kappa_b, \kappa_t`, both as positive numbers.
    barrier : float
        :math:`\Delta` >= 0, from bottom to top.
    temperature : float
        T > 0.

    Returns
    -------
    float
        The rate; right to relative order :math:`T/\Delta`.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Kramers (1940), doi:10.1016/S0031-8914(40)90098-2.

    Examples
    --------
    >>> eps, T = 1.0, 0.1  # -eps cos x: hops of 2π at the rate r either way diffuse with (2π)² r
    >>> rate = kramers_rate(eps, eps, 2 * eps, T)
    >>> round((2 * np.pi) ** 2 * rate / cosine_diffusion(eps, T), 3)
    1.027
    """
    product = math.sqrt(
        as_number("bottom_curvature", bottom_curvature, low=0.0, open_low=True)
    ) * math.sqrt(as_number("top_curvature", top_curvature, low=0.0, open_low=True))
    height = as_number("barrier", barrier, low=0.0)
    T = as_number("temperature", temperature, low=0.0, open_low=True)
    return product / (2 * math.pi) * math.exp(-height / T)


def trapping_temperature(roughness: float, curvature: float, training_time: float) -> float:
    r"""Return the temperature below which a rough bowl is not relaxed in the time given.

    **Equation.** The root T of :math:`I_0(\varepsilon/T)^2 = a\tau`; for long times

    .. math:: \frac{\varepsilon}{T} \simeq \tfrac12 \ln(a\tau)
        + \tfrac12 \ln\frac{2\pi\varepsilon}{T} .

    **Shapes and units.** The unit of energy; 1/time and time.

    Parameters
    ----------
    roughness : float
        Amplitude :math:`\varepsilon` of the cosine, > 0.
    curvature : float
        a > 0.
    training_time : float
        :math:`\tau`, with :math:`a\tau > 1`: even a smooth bowl takes 1/a.

    Returns
    -------
    float
        The temperature.

    Raises
    ------
    ValueError
        If a number is out of range or :math:`a\tau \le 1`.

    References
    ----------
    Derived here: see :func:`trapping_line`.

    Examples
    --------
    >>> T = trapping_temperature(0.1, 1.0, 1000.0)
    >>> round(T, 6), round(1000 * cosine_relaxation(1.0, 0.1, T), 9)
    (0.019355, 1.0)
    """
    eps = as_number("roughness", roughness, low=0.0, open_low=True)
    a = as_number("curvature", curvature, low=0.0, open_low=True)
    time = as_number("training_time", training_time, low=0.0, open_low=True)
    lasting = math.log(a) + math.log(time)
    if lasting <= 0:
        raise ValueError(
            f"training_time = {time:g} with curvature = {a:g}: must be longer than 1/curvature,"
            " which a smooth bowl takes"
        )

    def excess(ratio: float) -> float:
        """Return how much the slowing exceeds the time, in logarithms."""
        return 2 * log_i0(ratio) - lasting

    # I0(z)^2 lies between z^2/2 and e^{2z}, so does the root between their roots
    high = lasting + 2 * math.sqrt(lasting)
    temperature = eps / float(brentq(excess, lasting / 2, high, xtol=1e-300, rtol=1e-15))
    if math.isinf(temperature):
        raise ValueError(
            f"roughness = {eps:g}: the temperature is beyond the largest float; choose a larger"
            " unit of energy"
        )
    return temperature
