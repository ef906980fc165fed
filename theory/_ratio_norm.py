"""The ratio of the 1-norm to the 2-norm, its gradient, and the threshold between them."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory.checks import as_number, as_vector

__all__ = [
    "critical_threshold",
    "hoyer_sparsity",
    "magnitudes",
    "ratio_norm",
    "ratio_norm_gradient",
]

SCALES = (1e-150, 1e150)
"""Largest magnitudes between which squares and their inverses neither vanish nor overflow."""


def magnitudes(w: Float[ndarray, " weight"]) -> tuple[float, Float[ndarray, " weight"]]:
    """Return the largest magnitude and all of them in units of it."""
    size = np.abs(as_vector("w", w))
    peak = float(size.max())
    if peak == 0:
        raise ValueError("w is 0 everywhere: the ratio of its norms is undefined")
    if not SCALES[0] <= peak <= SCALES[1]:
        raise ValueError(
            f"w has the largest magnitude {peak:g}: must be from {SCALES[0]:g} to {SCALES[1]:g},"
            " beyond which squares vanish or overflow; scale it, the ratio does not change"
        )
    # an entry beside which all is rounding stays an entry: it is not 0
    return peak, np.where(size > 0, np.maximum(size / peak, np.finfo(np.float64).tiny), 0.0)


def ratio_norm(w: Float[ndarray, " weight"]) -> float:
    r"""Return the ratio of the 1-norm to the 2-norm.

    **Equation.** :math:`f(w) = \lVert w \rVert_1 / \lVert w \rVert_2`.

    **Shapes and units.** Without unit: f does not change with the scale of w.

    Parameters
    ----------
    w : Float[ndarray, " weight"]
        Weights, not all 0.

    Returns
    -------
    float
        Between 1 (one nonzero entry) and sqrt n (all magnitudes equal); its square is a soft
        count of nonzeros.

    Raises
    ------
    ValueError
        If all weights are 0, one is not finite, or their scale overflows.

    References
    ----------
    As a loss of networks: Aytekin, Cricri & Aksu (2019), arXiv:1905.01044.

    Examples
    --------
    >>> ratio_norm(np.array([3.0, -4.0]))
    1.4
    """
    size = magnitudes(w)[1]
    return float(size.sum() / np.linalg.norm(size))


def hoyer_sparsity(w: Float[ndarray, " weight"]) -> float:
    r"""Return the sparsity of weights between 0 and 1.

    **Equation.** :math:`(\sqrt n - f) / (\sqrt n - 1)`, f the ratio norm.

    **Shapes and units.** Without unit.

    Parameters
    ----------
    w : Float[ndarray, " weight"]
        Two weights or more, not all 0.

    Returns
    -------
    float
        1 for one nonzero weight, 0 if all magnitudes are equal.

    Raises
    ------
    ValueError
        If there is one weight only, or all are 0.

    References
    ----------
    Hoyer (2004), Journal of Machine Learning Research 5:1457-1469.

    Examples
    --------
    >>> hoyer_sparsity(np.array([0.0, -2.0, 0.0]))
    1.0
    """
    ratio, n = ratio_norm(w), len(w)
    if n < 2:
        raise ValueError("w has one entry: sparsity needs two or more")
    return (math.sqrt(n) - ratio) / (math.sqrt(n) - 1)


def critical_threshold(w: Float[ndarray, " weight"]) -> float:
    r"""Return the magnitude above which weights grow and below which they shrink.

    **Equation.** :math:`c = \lVert w \rVert_2^2 / \lVert w \rVert_1`. Gradient descent of the ratio
    norm moves a nonzero weight at the velocity
    :math:`\mathrm{sgn}(w_i) (\lvert w_i \rvert / c - 1) / \lVert w \rVert_2`.

    **Shapes and units.** That of the weights.

    Parameters
    ----------
    w : Float[ndarray, " weight"]
        Weights, not all 0.

    Returns
    -------
    float
        At least the mean magnitude of the nonzero weights, at most the largest.

    References
    ----------
    Derived here; see :func:`ratio_norm_critical_points`.

    Examples
    --------
    >>> critical_threshold(np.array([3.0, -1.0]))
    2.5
    """
    peak, size = magnitudes(w)
    return float(size @ size / size.sum() * peak)


def ratio_norm_gradient(
    w: Float[ndarray, " weight"], at_zero: float = 0.0
) -> Float[ndarray, " weight"]:
    r"""Return the gradient of the ratio norm, a subgradient where weights are 0.

    **Equation.** :math:`\frac{\mathrm{sgn}(w_i)}{\lVert w \rVert_2} - w_i \frac{\lVert w \rVert_1}
    {\lVert w \rVert_2^3}`; at :math:`w_i = 0` any number within :math:`\pm 1 / \lVert w \rVert_2`.

    **Shapes and units.** Per unit of the weights; orthogonal to w.

    Parameters
    ----------
    w : Float[ndarray, " weight"]
        Weights, not all 0.
    at_zero : float
        What stands for sgn(0), in [-1, 1].

    Returns
    -------
    Float[ndarray, " weight"]
        Of the shape of w.

    Raises
    ------
    ValueError
        If all weights are 0, one is not finite, or at_zero is out of range.

    References
    ----------
    Aytekin, Cricri & Aksu (2019), arXiv:1905.01044.

    Examples
    --------
    >>> ratio_norm_gradient(np.array([2.0, 2.0, 0.0]))
    array([0., 0., 0.])
    """
    zero = as_number("at_zero", at_zero, low=-1.0, high=1.0)
    peak, size = magnitudes(w)
    norm = np.linalg.norm(size)
    slopes = (1 - size * (size.sum() / (size @ size))) / norm / peak
    return np.where(size > 0, np.sign(w) * slopes, zero / (norm * peak))
