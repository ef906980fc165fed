r"""Curvature and glass density from three gradients, and how far to trust them.

The gradients are taken at the two ends and in the middle of a stretch, with the same minibatch
and the same random numbers. In the Gaussian limit of the jumps the two increments are
independent normal numbers of mean h sigma and variance rho sigma: everything here is the sample
mean and the sample variance of increments.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory._glass_arrays import Real, as_real, matched, plain, within_range
from theory.checks import as_integer, as_number

__all__ = [
    "GlassEstimate",
    "absolute_curvature",
    "density_variance",
    "equispaced_gradients",
    "rms_curvature",
    "squared_curvature",
    "three_gradients",
]


class GlassEstimate(NamedTuple):
    """Curvature and glass density, estimated parameter by parameter."""

    curvature: Real
    density: Real


def three_gradients(before: Real, middle: Real, after: Real, sigma: float) -> GlassEstimate:
    r"""Estimate curvature and glass density from gradients at -sigma, 0 and sigma.

    **Equation.** :math:`\hat h = (g_+ - g_-) / 2\sigma`,
    :math:`\hat\rho = (2/\sigma) [(g_+ + g_-)/2 - g_0]^2`: mean and unbiased variance of the
    increments :math:`g_0 - g_-`, :math:`g_+ - g_0`, over sigma. Unbiased; in the Gaussian limit no
    other unbiased estimates from the three have less variance.

    **Shapes and units.** Gradients of one parameter or of many, of one shape; sigma in units of
    the parameter.

    Parameters
    ----------
    before, middle, after : Real
        The three gradients; with a random sign for every parameter, which end is which does not
        matter to the density, and makes the curvature that of the drawn direction.
    sigma : float
        Half the stretch, > 0.

    Returns
    -------
    GlassEstimate
        (curvature, density).

    Raises
    ------
    ValueError
        If sigma is not positive, a gradient is not finite, or shapes differ.

    References
    ----------
    Estimates by the kernels (-1, 0, 1) and (1, -2, 1): the public program of Duersch et al.
    (2024), arXiv:2411.16914; that they are mean and variance, and their variances: derived here.

    Examples
    --------
    >>> h, rho = three_gradients(0.11, 0.20, 0.47, 0.005)
    >>> round(float(h), 10), round(float(rho), 10)
    (36.0, 3.24)
    """
    width = as_number("sigma", sigma, low=0.0, open_low=True)
    low, mid = as_real("before", before), as_real("middle", middle)
    high = as_real("after", after)
    if not low.shape == mid.shape == high.shape:
        raise ValueError(
            f"before, middle and after have shapes {low.shape}, {mid.shape}, {high.shape}:"
            " must be one shape"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        bend = (high / 2 + low / 2) - mid
        curvature, density = (high / 2 - low / 2) / width, 2 / width * bend * bend
    return GlassEstimate(
        within_range("middle", mid, curvature), within_range("middle", mid, density)
    )


def equispaced_gradients(
    gradients: Float[ndarray, " place *parameter"], spacing: float
) -> GlassEstimate:
    r"""Estimate curvature and glass density from three or more equally spaced gradients.

    **Equation.** With n gradients, mean and unbiased variance of their n - 1 increments over the
    spacing; n = 3 is :func:`three_gradients`.

    **Shapes and units.** gradients (place, ...); spacing in units of the parameter.

    Parameters
    ----------
    gradients : ndarray
        At equally spaced places along a line, in order.
    spacing : float
        Distance of neighbours, > 0.

    Returns
    -------
    GlassEstimate
        (curvature, density), each of the shape of one gradient.

    Raises
    ------
    ValueError
        If there are fewer than three gradients, one is not finite, or the spacing is not positive.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> h, rho = equispaced_gradients(np.array([0.11, 0.20, 0.47]), 0.005)
    >>> round(float(h), 10), round(float(rho), 10)
    (36.0, 3.24)
    """
    values = as_real("gradients", gradients)
    width = as_number("spacing", spacing, low=0.0, open_low=True)
    if values.ndim == 0 or len(values) < 3:
        raise ValueError(
            f"gradients has shape {values.shape}: the first axis must hold three places or more"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.diff(values, axis=0)
        curvature, density = steps.mean(axis=0) / width, steps.var(axis=0, ddof=1) / width
    return GlassEstimate(
        within_range("gradients", values[0], curvature),
        within_range("gradients", values[0], density),
    )


def density_variance(
    density: float, gradients: int = 3, *, fourth_rate: float = 0.0, length: float = math.inf
) -> float:
    r"""Return the variance of the estimated glass density.

    **Equation.** From n equispaced gradients over a length l, with
    :math:`\kappa = \lambda \langle J^4 \rangle`,

    .. math:: \mathrm{Var}\,\hat\rho = \frac{2 \rho^2}{n - 2} + \frac{\kappa}{l} .

    The second term, of jumps that are few, does not fall with n.

    **Shapes and units.** Scalars; density².

    Parameters
    ----------
    density : float
        rho >= 0.
    gradients : int
        n >= 3.
    fourth_rate : float
        kappa >= 0, as :attr:`theory.glass_process.JumpProcess.fourth_rate`; 0 in the Gaussian
        limit.
    length : float
        l > 0, from the first gradient to the last: 2 sigma of three.

    Returns
    -------
    float
        The variance.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> density_variance(3.0), density_variance(3.0, 11)
    (18.0, 2.0)
    """
    rho = as_number("density", density, low=0.0)
    count = as_integer("gradients", gradients, low=3)
    rate = as_number("fourth_rate", fourth_rate, low=0.0)
    # no length at all: the Gaussian limit
    span = math.inf if length == math.inf else as_number("length", length, low=0.0, open_low=True)
    return float(within_range("density", rho, 2 * rho * rho / (count - 2) + rate / span))


def squared_curvature(estimate: GlassEstimate, sigma: float) -> Real:
    r"""Return the unbiased estimate of the squared curvature.

    **Equation.** :math:`\hat h^2 - \hat\rho / 2\sigma`, since
    :math:`\mathrm{Var}\,\hat h = \rho / 2\sigma`: glass leaks into every measured curvature.

    **Shapes and units.** Any shape; curvature². It may be negative.

    Parameters
    ----------
    estimate : GlassEstimate
        From :func:`three_gradients`.
    sigma : float
        Half the stretch, > 0.

    Returns
    -------
    Real
        The estimate.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> float(squared_curvature(GlassEstimate(36.0, 3.24), 0.005))
    972.0
    """
    width = as_number("sigma", sigma, low=0.0, open_low=True)
    h, rho = matched(
        curvature=as_real("estimate.curvature", estimate.curvature),
        density=as_real("estimate.density", estimate.density, low=0.0),
    )
    with np.errstate(over="ignore", invalid="ignore"):
        return within_range("estimate.curvature", h, h * h - rho / (2 * width))


def rms_curvature(curvature: Real, density: Real, sigma: float) -> Real:
    r"""Return what the root mean square of measured curvatures tends to.

    **Equation.** :math:`\sqrt{h^2 + \rho / 2\sigma}`.

    **Shapes and units.** Arrays that broadcast; curvature.

    Parameters
    ----------
    curvature, density : Real
        The true h, and rho >= 0.
    sigma : float
        Half the stretch, > 0.

    Returns
    -------
    Real
        At least the size of h.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> round(float(rms_curvature(36.0, 3.24, 0.005)), 12)
    40.249223594996
    """
    h, variance = _spread(curvature, density, sigma)
    return plain(np.hypot(h, np.sqrt(variance)))


def absolute_curvature(curvature: Real, density: Real, sigma: float) -> Real:
    r"""Return what the mean size of measured curvatures tends to, for many jumps.

    **Equation.** With :math:`v = \rho / 2\sigma`, the mean of a folded normal number,

    .. math:: \sqrt{2v/\pi}\; e^{-h^2/2v} + h\,\mathrm{erf}(h / \sqrt{2v}) :

    :math:`\sqrt{\rho / \pi\sigma}` where h = 0.

    **Shapes and units.** Arrays that broadcast; curvature.

    Parameters
    ----------
    curvature, density : Real
        The true h, and rho >= 0.
    sigma : float
        Half the stretch, > 0.

    Returns
    -------
    Real
        At least the size of h.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> round(float(absolute_curvature(0.0, 3.24, 0.005)), 12)
    14.361922094452
    """
    from scipy.special import erf

    h, variance = _spread(curvature, density, sigma)
    size = np.abs(h)
    width = np.sqrt(2 * variance)
    # without glass the ratio is infinite: erf is 1 and the first term 0
    ratio = np.full(np.broadcast(h, width).shape, 1e3)
    with np.errstate(over="ignore"):
        np.divide(size, width, out=ratio, where=width > 0)
    ratio = np.minimum(ratio, 1e3)
    return plain(width / math.sqrt(math.pi) * np.exp(-(ratio**2)) + size * erf(ratio))


def _spread(curvature: Real, density: Real, sigma: float) -> tuple[Real, Real]:
    """Return h, and the variance with which it is measured."""
    width = as_number("sigma", sigma, low=0.0, open_low=True)
    h, rho = matched(
        curvature=as_real("curvature", curvature), density=as_real("density", density, low=0.0)
    )
    with np.errstate(over="ignore"):
        variance = rho / width / 2
    within_range("density", rho, variance)
    return h, variance
