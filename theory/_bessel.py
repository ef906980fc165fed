"""The logarithm of the modified Bessel function I0, without overflow or cancellation."""

from __future__ import annotations

import math

from scipy.special import i0e

__all__ = ["log_i0"]

_SERIES = [1 / math.factorial(k) ** 2 for k in range(10, 0, -1)]


def log_i0(z: float) -> float:
    """Return ln I0(z) for z >= 0 to full relative accuracy; infinity for infinity.

    Parameters
    ----------
    z : float
        The argument, >= 0.

    Returns
    -------
    float
        About z²/4 for small z, z - ln(2πz)/2 for large.

    Examples
    --------
    >>> log_i0(1e-8), round(log_i0(1e6), 3)
    (2.5000000000000003e-17, 999992.173)
    """
    if z >= 1:
        return z + math.log(i0e(z)) if math.isfinite(z) else math.inf
    # below 1, z and ln(e^-z I0) nearly cancel
    square, total = z * z / 4, 0.0
    for c in _SERIES:
        total = (total + c) * square
    return math.log1p(total)
