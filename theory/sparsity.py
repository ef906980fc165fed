"""The ratio of the 1-norm to the 2-norm as a measure of sparsity: its critical points, exactly."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory._ratio_norm import (
    critical_threshold,
    hoyer_sparsity,
    magnitudes,
    ratio_norm,
    ratio_norm_gradient,
)
from theory._sparsity_derivations import ratio_norm_critical_points
from theory.checks import as_number
from theory.information import binary_entropy

__all__ = [
    "Inertia",
    "critical_threshold",
    "hoyer_sparsity",
    "inertia",
    "is_critical",
    "norm_after_step",
    "ratio_norm",
    "ratio_norm_critical_points",
    "ratio_norm_gradient",
    "ternary_entropy",
]


class Inertia(NamedTuple):
    """Second order of the ratio norm at a ternary point.

    Parameters
    ----------
    nonzeros, zeros : int
        k and n - k.
    flat : int
        Directions of curvature 0: that of w.
    negative : int
        Directions of negative curvature, k - 1.
    eigenvalue : float
        Their curvature, -1/(c² √k); 0 if there are none.
    kink_slope : float
        Slope, 1 over the 2-norm of w, at which the ratio rises to either side of a zero entry;
        0 if there is none.
    kind : {"local minimum", "saddle", "local maximum"}
        A minimum only for k = 1; a maximum, flat along w, for k = n > 1.
    """

    nonzeros: int
    zeros: int
    flat: int
    negative: int
    eigenvalue: float
    kink_slope: float
    kind: Literal["local minimum", "saddle", "local maximum"]


def is_critical(w: Float[ndarray, " weight"], tolerance: float = 1e-12) -> bool:
    r"""Return whether weights satisfy the first-order condition of the ratio norm.

    **Equation.** :math:`\lvert w_i \rvert = c` wherever :math:`w_i \ne 0`: the weights are
    ternary. Zeros satisfy it through 0 in their interval of slopes.

    **Shapes and units.** The tolerance is a share of c.

    Parameters
    ----------
    w : Float[ndarray, " weight"]
        Weights, not all 0.
    tolerance : float
        How far a magnitude may be from c, which rounding needs.

    Returns
    -------
    bool
        Nothing is said of a minimum; see :func:`inertia`.

    References
    ----------
    Aytekin, Cricri & Aksu (2019), arXiv:1905.01044.

    Examples
    --------
    >>> is_critical(np.array([0.7, -0.7, 0.0])), is_critical(np.array([0.7, -0.6, 0.0]))
    (True, False)
    """
    share = as_number("tolerance", tolerance, low=0.0, high=1.0, open_high=True)
    size = magnitudes(w)[1]
    threshold = size @ size / size.sum()
    return bool((np.abs(size[size > 0] / threshold - 1) <= share).all())


def inertia(w: Float[ndarray, " weight"], tolerance: float = 1e-12) -> Inertia:
    r"""Return the exact second order of the ratio norm at a ternary point.

    **Equation.** With k nonzeros of signs s, the Hessian on them is
    :math:`(s s^\top - k I) / (c^2 k^{3/2})`: eigenvalue 0 along w, and
    :math:`-1/(c^2 \sqrt k)` k - 1 times. Along a zero entry f rises to both sides at the slope
    :math:`1/\lVert w \rVert_2`.

    **Shapes and units.** Curvatures per square, the slope per unit of the weights.

    Parameters
    ----------
    w : Float[ndarray, " weight"]
        A ternary point.
    tolerance : float
        How far magnitudes may be from c, as a share of it.

    Returns
    -------
    Inertia
        Its numbers and the kind of critical point; a saddle for 2 <= k < n.

    Raises
    ------
    ValueError
        If w is not ternary.

    References
    ----------
    Derived here; see :func:`ratio_norm_critical_points`.

    Examples
    --------
    >>> point = inertia(0.7 * np.array([1.0, -1.0, 0.0, 1.0, 0.0]))
    >>> point.kind, point.negative, round(point.eigenvalue, 12)
    ('saddle', 2, -1.178265855489)
    """
    if not is_critical(w, tolerance):
        sizes = np.abs(w)
        raise ValueError(
            f"w has nonzero magnitudes from {sizes[sizes > 0].min():.6g} to"
            f" {sizes.max():.6g}: must be equal, a ternary point"
        )
    threshold = critical_threshold(w)
    n, k = len(w), int(np.count_nonzero(w))
    root = math.sqrt(k)
    return Inertia(
        nonzeros=k,
        zeros=n - k,
        flat=1,
        negative=k - 1,
        eigenvalue=-1 / (threshold**2 * root) if k > 1 else 0.0,
        kink_slope=1 / (threshold * root) if k < n else 0.0,
        kind="local minimum" if k == 1 else "local maximum" if k == n else "saddle",
    )


def norm_after_step(w: Float[ndarray, " weight"], rate: float) -> float:
    r"""Return the 2-norm after one step of gradient descent on the ratio norm.

    **Equation.** The gradient is orthogonal to w and has the squared length
    :math:`(k - f^2) / \lVert w \rVert_2^2`, k the number of nonzeros, so that
    :math:`\lVert w - \eta \nabla f \rVert_2^2 = \lVert w \rVert_2^2 + \eta^2 (k - f^2) /
    \lVert w \rVert_2^2`: a flow conserves the norm, steps make it grow.

    **Shapes and units.** That of the weights; the rate in its square. Zeros take no step.

    Parameters
    ----------
    w : Float[ndarray, " weight"]
        Weights, not all 0.
    rate : float
        Learning rate eta, >= 0.

    Returns
    -------
    float
        At least the norm before; equal to it at a ternary point.

    Raises
    ------
    ValueError
        If all weights are 0, the rate is negative, or the norm overflows.

    References
    ----------
    Derived here; see :func:`ratio_norm_critical_points`.

    Examples
    --------
    >>> norm_after_step(np.array([1.0, -1.0]), 0.5) == 2**0.5
    True
    """
    step = as_number("rate", rate, low=0.0)
    peak, size = magnitudes(w)
    norm = float(np.linalg.norm(size)) * peak
    # sqrt(k - f^2), without the cancellation near ternary points
    spread = float(np.linalg.norm(1 - size[size > 0] * (size.sum() / (size @ size))))
    after = math.hypot(norm, step * spread / norm)
    if math.isinf(after):
        raise ValueError(f"rate = {step:g}: the norm after the step is beyond the largest float")
    return after


def ternary_entropy(share: float) -> float:
    r"""Return the entropy of a ternary weight of random place and sign.

    **Equation.** :math:`H = -p \log_2 p - (1-p) \log_2 (1-p) + p`.

    **Shapes and units.** Bits per weight.

    Parameters
    ----------
    share : float
        Share p of nonzero weights, in [0, 1]; their signs are equally likely.

    Returns
    -------
    float
        At most log2(3), at p = 2/3.

    References
    ----------
    Shannon (1948), doi:10.1002/j.1538-7305.1948.tb01338.x.

    Examples
    --------
    >>> round(ternary_entropy(0.1), 6), round(32 / ternary_entropy(0.1), 1)
    (0.568996, 56.2)
    """
    p = as_number("share", share, low=0.0, high=1.0)
    return binary_entropy(p) + p
