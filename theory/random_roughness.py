"""A bowl with Gaussian roughness: how many minima it has, before and after smoothing."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.special import ndtr

from theory._load_derivations import expected_minima
from theory._types import Vector
from theory.checks import as_integer, as_matrix, as_number

__all__ = [
    "count_minima",
    "curvature_spread",
    "expected_minima",
    "mean_minima",
    "sample_landscapes",
]

REACH = 9.0  # deviations: a normal variable is beyond them with probability 1e-19


def curvature_spread(
    deviation: float, length: float, curvature: float = 1.0, *, smoothing: float = 0.0
) -> float:
    r"""Return the standard deviation of the roughness's curvature, over the bowl's curvature.

    **Equation.** :math:`R_s = \frac{\sqrt3 \sigma}{a l^2}
    \left(\frac{l^2}{l^2 + 2s^2}\right)^{5/4}`, for roughness of covariance
    :math:`\sigma^2 e^{-r^2/2l^2}`.

    **Shapes and units.** Scalars; lengths l and s in one unit, σ in that of the loss.

    Parameters
    ----------
    deviation : float
        σ >= 0. An average over n examples has σ proportional to n to the power -1/2, which makes
        R a load.
    length : float
        l > 0.
    curvature : float
        a > 0.
    smoothing : float
        Width s >= 0 of the normal displacement that the loss is averaged over.

    Returns
    -------
    float
        R_s, without unit: the one number on which the count of minima depends.

    Raises
    ------
    ValueError
        If a number is out of range, or R_s beyond the largest float.

    References
    ----------
    Derived here: :func:`expected_minima`.

    Examples
    --------
    >>> round(curvature_spread(0.3, 0.3), 4), round(curvature_spread(0.3, 0.3, smoothing=0.5), 4)
    (5.7735, 0.5504)
    """
    sigma = as_number("deviation", deviation, low=0.0)
    scale = as_number("length", length, low=0.0, open_low=True)
    a = as_number("curvature", curvature, low=0.0, open_low=True)
    ratio = as_number("smoothing", smoothing, low=0.0) / scale
    spread = math.sqrt(3) * sigma / a / scale / scale * math.pow(1 + 2 * ratio * ratio, -1.25)
    if not math.isfinite(spread):
        raise ValueError(
            f"deviation = {sigma:g} with length = {scale:g} and curvature = {a:g}: the spread is"
            " beyond the largest float; choose units nearer to 1"
        )
    return spread


def mean_minima(spread: float) -> float:
    r"""Return the expected number of minima of a bowl with Gaussian roughness.

    **Equation.** :math:`\Phi(1/R) + R\,\varphi(1/R)`, with the standard normal distribution Φ
    and density φ: the mean positive part of 1 + Rz.

    **Shapes and units.** Scalars without unit.

    Parameters
    ----------
    spread : float
        R >= 0, see :func:`curvature_spread`.

    Returns
    -------
    float
        1 for a smooth bowl; about 1/2 + R/√(2π) for a very rough one.

    References
    ----------
    Derived here with the formula of Kac and Rice: :func:`expected_minima`.

    Examples
    --------
    >>> mean_minima(0.0), round(mean_minima(curvature_spread(0.3, 0.3)), 10)
    (1.0, 2.8377576296)
    """
    R = as_number("spread", spread, low=0.0)
    if R == 0:
        return 1.0
    return float(ndtr(1 / R) + R * math.exp(-0.5 / R / R) / math.sqrt(2 * math.pi))


def sample_landscapes(
    generator: np.random.Generator,
    count: int,
    *,
    deviation: float,
    length: float,
    curvature: float = 1.0,
    step: float,
) -> tuple[Vector, Float[ndarray, "landscape place"]]:
    r"""Draw bowls with Gaussian roughness on a grid that holds all their minima.

    **Equation.** :math:`L(\theta) = a\theta^2/2 + \xi(\theta)` with covariance
    :math:`\sigma^2 e^{-r^2/2l^2}`. On the grid the law is exact to rounding: ξ is a sum of waves
    on a circle longer than the grid by 9l, where the covariance is down to 1e-18.

    **Shapes and units.** Places (place,) in the unit of the length, losses (landscape, place).

    Parameters
    ----------
    generator : numpy.random.Generator
        Source of the normals.
    count : int
        Number of landscapes, >= 1.
    deviation, length, curvature : float
        σ >= 0, l > 0, a > 0.
    step : float
        Distance of neighbours, in (0, l]. Pairs closer than it are lost: at l/16 with R = 5.8,
        0.13 % of the minima, and in proportion to the square of the step.

    Returns
    -------
    places, losses : numpy.ndarray
        The grid reaches where the slope of the bowl is nine deviations of the roughness's.

    Raises
    ------
    ValueError
        If a number is out of range, or the grid would have more than 10⁶ places.

    References
    ----------
    Circulant embedding: Dietrich & Newsam (1997), SIAM J. Sci. Comput. 18, 1088.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> places, losses = sample_landscapes(
    ...     generator, 3, deviation=0.3, length=0.3, step=0.03)
    >>> losses.shape, count_minima(losses)
    ((3, 623), array([3, 3, 2]))
    """
    sigma = as_number("deviation", deviation, low=0.0)
    scale = as_number("length", length, low=0.0, open_low=True)
    a = as_number("curvature", curvature, low=0.0, open_low=True)
    h = as_number("step", step, low=0.0, high=scale, open_low=True)
    rows = as_integer("count", count, low=1)
    reach = (REACH * sigma / scale / a + scale) / h
    if not 2 * reach + REACH * scale / h < 10**6:
        raise ValueError(
            f"step = {step}: needs {2 * reach + REACH * scale / h:.3g} places to hold all minima;"
            " take a larger step"
        )
    half = math.ceil(reach)
    places = h * np.arange(-half, half + 1)
    period = 2 * half + 1 + math.ceil(REACH * scale / h)
    lag = h * np.minimum(np.arange(period), period - np.arange(period)) / scale
    power = np.fft.fft(sigma**2 * np.exp(-(lag**2) / 2)).real.clip(min=0.0)
    waves = generator.standard_normal((2, rows, period))
    rough = np.fft.fft(np.sqrt(power / period) * (waves[0] + 1j * waves[1])).real
    return places, a * places**2 / 2 + rough[:, : len(places)]


def count_minima(losses: Float[ndarray, "landscape place"]) -> Int[ndarray, " landscape"]:
    """Return the number of minima inside each row.

    **Equation.** Falls followed by rises; equal neighbours continue what went before.

    **Shapes and units.** (landscape, place) to (landscape,).

    Parameters
    ----------
    losses : numpy.ndarray
        At least three places a row, in order.

    Returns
    -------
    numpy.ndarray
        Counts; the ends of a row are no minima.

    Raises
    ------
    ValueError
        If there are fewer than three places or a loss is not finite.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> count_minima(np.array([[3.0, 1.0, 2.0, 1.0, 1.0, 2.0], [3.0, 2.0, 2.0, 1.0, 0.0, 5.0]]))
    array([2, 1])
    """
    values = as_matrix("losses", losses)
    if values.shape[1] < 3:
        raise ValueError(f"losses has shape {values.shape}: must have at least three places a row")
    ways = np.sign(np.diff(values, axis=1))
    last = np.maximum.accumulate(np.where(ways != 0, np.arange(ways.shape[1]), 0), axis=1)
    ways = np.take_along_axis(ways, last, axis=1)
    counts: Int[ndarray, " landscape"] = ((ways[:, :-1] < 0) & (ways[:, 1:] > 0)).sum(axis=1)
    return counts
