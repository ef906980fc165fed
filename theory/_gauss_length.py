"""Gauss length of a path, and what a small one says of the squared distance to its end."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.polynomial import polynomial
from scipy.integrate import quad

from theory.checks import as_matrix, as_number, as_vector

__all__ = ["corner_rise", "gauss_length", "polynomial_gauss_length", "sufficient_condition"]

MERGED = 64 * np.finfo(np.float64).eps
"""Points nearer than this share of the largest coordinate differ by rounding: no direction."""
STOPPED = 1e-7
"""Speed, as a share of the largest, below which rounding hides the tangent: a double root is
known to the square root of the unit round-off."""
QUADRATURE_ERROR = 1e-9


def turn(first: Float[ndarray, " output"], second: Float[ndarray, " output"]) -> float:
    """Return the angle between two directions, accurate near 0 and near pi."""
    a, b = (v / np.abs(v).max() for v in (first, second))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return 2 * math.atan2(float(np.linalg.norm(a - b)), float(np.linalg.norm(a + b)))


def gauss_length(path: Float[ndarray, "alpha output"]) -> float:
    r"""Return the Gauss length of a sampled path: the sum of its corner angles.

    **Equation.** With edges :math:`e_k = z_{k+1} - z_k`, :math:`\sum_k \angle(e_k, e_{k+1})`,
    which is :math:`\int \lVert \frac{d}{d\alpha} \frac{z'}{\lVert z' \rVert} \rVert d\alpha` of
    the path with straight edges. A curve through the points turns at least as much.

    **Shapes and units.** Radians; independent of the spacing of alpha.

    A repeated point is skipped: the path has paused, and where it goes on tells its turn, so
    that running back counts pi. Points that differ by rounding alone count as repeated. A path
    that never moves has length 0, as it should in :func:`sufficient_condition`.

    Parameters
    ----------
    path : Float[ndarray, "alpha output"]
        Outputs of one example in the order of alpha; two points or more.

    Returns
    -------
    float
        At least 0; 0 for a straight path.

    Raises
    ------
    ValueError
        If there is one point only, or an entry is not finite.

    References
    ----------
    Gauss length of a network's path: Lucas et al. (2021), arXiv:2104.11044. The polygon as a
    lower bound: Milnor (1950), doi:10.2307/1969467.

    Examples
    --------
    >>> gauss_length(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 2.0]])) / np.pi
    0.5
    """
    points = as_matrix("path", path)
    if len(points) < 2:
        raise ValueError("path has one point: must have two or more")
    # no difference overflows
    points /= max(float(np.abs(points).max()), float(np.finfo(np.float64).tiny))
    nearest = MERGED * np.abs(points).max()
    if (np.abs(np.diff(points, axis=0)).max(axis=1) <= nearest).any():
        kept = [points[0]]
        for point in points[1:]:
            if np.abs(point - kept[-1]).max() > nearest:
                kept.append(point)
        points = np.array(kept)
    edges = np.diff(points, axis=0)
    if len(edges) < 2:
        return 0.0
    edges /= np.abs(edges).max(axis=1, keepdims=True)
    edges /= np.linalg.norm(edges, axis=1, keepdims=True)
    apart = np.linalg.norm(edges[1:] - edges[:-1], axis=1)
    along = np.linalg.norm(edges[1:] + edges[:-1], axis=1)
    return float(2 * np.arctan2(apart, along).sum())


def polynomial_gauss_length(coefficients: Float[ndarray, "power output"]) -> float:
    r"""Return the Gauss length of a polynomial path over [0, 1].

    **Equation.** :math:`\int_0^1 \frac{\sqrt{\lVert z' \rVert^2 \lVert z'' \rVert^2 -
    \langle z', z'' \rangle^2}}{\lVert z' \rVert^2} d\alpha`, by adaptive quadrature between the
    slowest places. A quadratic path has the angle between its first and last tangent.

    **Shapes and units.** Row k holds the coefficients of :math:`\alpha^k`; radians.

    Parameters
    ----------
    coefficients : Float[ndarray, "power output"]
        Ascending powers.

    Returns
    -------
    float
        0 for a path that is straight or never moves.

    Raises
    ------
    ValueError
        If the path of degree 3 or more stops, so that its tangent has no direction, or turns too
        sharply to be integrated to 1e-9.

    References
    ----------
    Lucas et al. (2021), arXiv:2104.11044; the quadratic path: derived here, see
    :func:`two_layer_interpolation`.

    Examples
    --------
    >>> round(polynomial_gauss_length(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])), 12)
    1.107148717794
    """
    path = np.trim_zeros(as_matrix("coefficients", coefficients), "b", axis=0)
    if len(path) <= 3:
        padded = np.zeros((3, path.shape[1]))
        padded[: len(path)] = path
        return quadratic_gauss_length(padded[1], padded[2])
    path = path / np.abs(path[1:]).max()
    velocity = polynomial.polyder(path, axis=0)
    bend = polynomial.polyder(velocity, axis=0)
    speed = np.sum([np.convolve(v, v) for v in velocity.T], axis=0)
    slow = polynomial.polyroots(np.trim_zeros(polynomial.polyder(speed), "b")).real
    places = np.unique(np.concatenate([[0.0, 1.0], slow[(slow > 0) & (slow < 1)]]))
    speeds = np.linalg.norm(polynomial.polyval(places, velocity), axis=0)
    if speeds.min() <= STOPPED * speeds.max():
        raise ValueError(
            f"coefficients: the path stops at alpha = {places[speeds.argmin()]:.6g}, where its"
            " tangent has no direction; give its samples to gauss_length"
        )

    def rate(alpha: float) -> float:
        """Return how fast the tangent turns."""
        v, b = polynomial.polyval(alpha, velocity), polynomial.polyval(alpha, bend)
        across = b - v * (np.dot(v, b) / np.dot(v, v))
        return float(np.linalg.norm(across) / np.linalg.norm(v))

    total, doubt = 0.0, 0.0
    for low, high in pairwise(places.tolist()):
        # with full output a failure is told by the error estimate, not by a warning
        value, error, *_ = quad(
            rate, low, high, epsabs=1e-13, epsrel=1e-13, limit=400, full_output=True
        )
        total, doubt = total + value, doubt + error
    if not doubt <= QUADRATURE_ERROR:
        raise ValueError(
            f"coefficients: the path turns too sharply, its Gauss length {total:.6g} is uncertain"
            f" by {doubt:.1g}; give its samples to gauss_length"
        )
    return float(total)


def quadratic_gauss_length(
    linear: Float[ndarray, " output"], quadratic: Float[ndarray, " output"]
) -> float:
    """Return the angle between first and last tangent of a quadratic path."""
    # halves and quarters: nothing overflows
    first, last = linear / 4, linear / 4 + quadratic / 2
    # from rest, or to rest, the path is straight
    return turn(first, last) if first.any() and last.any() else 0.0


def sufficient_condition(lengths: Float[ndarray, " example"]) -> bool:
    r"""Return whether Gauss lengths guarantee that the squared error never rises.

    **Equation.** :math:`\mathrm{GL}_i \le \pi/2` for every example i. Then
    :math:`\frac{d}{d\alpha} \frac12 \lVert z(\alpha) - z(1) \rVert^2 = -\int_\alpha^1 \langle
    z'(s), z'(\alpha) \rangle ds \le 0`, since no two tangents are more than a right angle apart.

    **Shapes and units.** Radians. The error is measured from the path's end z(1), for each
    example. Lengths of sampled paths guarantee it for the samples.

    Parameters
    ----------
    lengths : Float[ndarray, " example"]
        Gauss length of the path of every example, >= 0.

    Returns
    -------
    bool
        False says nothing: a half circle, of length pi, is monotone.

    Raises
    ------
    ValueError
        If a length is negative or not finite.

    References
    ----------
    Lucas et al. (2021), arXiv:2104.11044; see :func:`gauss_length_condition`.

    Examples
    --------
    >>> sufficient_condition(np.array([0.3, 1.5])), sufficient_condition(np.array([0.3, 1.6]))
    (True, False)
    """
    values = as_vector("lengths", lengths)
    if values.min() < 0:
        raise ValueError(f"lengths = {values.min():g} at least once: a Gauss length is >= 0")
    return bool(values.max() <= math.pi / 2)


def corner_rise(angle: float, before: float = 1.0, after: float = 1.0) -> float:
    r"""Return how far the squared error rises along two edges with one corner.

    **Equation.** With the corner's angle :math:`\theta`, edges a before it and b after it, and
    :math:`c = b \lvert \cos\theta \rvert`, the rise of :math:`\frac12 \lVert z - z(1) \rVert^2` is
    0 for :math:`\theta \le \pi/2`, :math:`c^2/2` if :math:`a \ge c`, else :math:`a(2c - a)/2`.

    **Shapes and units.** Radians; lengths in one unit; the rise in its square.

    Parameters
    ----------
    angle : float
        Turn :math:`\theta` of the corner, in [0, pi]: the Gauss length of the path.
    before, after : float
        Lengths of the edges, > 0.

    Returns
    -------
    float
        Above 0 for every angle above pi/2: the sufficient condition is sharp.

    Raises
    ------
    ValueError
        If a number is out of range, or the rise beyond the largest float.

    References
    ----------
    Derived here; see :func:`gauss_length_condition`.

    Examples
    --------
    >>> round(corner_rise(1.7), 12)
    0.008300451855
    """
    theta = as_number("angle", angle, low=0.0, high=math.pi)
    a = as_number("before", before, low=0.0, open_low=True)
    b = as_number("after", after, low=0.0, open_low=True)
    reach = max(-b * math.cos(theta), 0.0)
    rise = reach * reach / 2 if a >= reach else a * (2 * reach - a) / 2
    if math.isinf(rise):
        raise ValueError(f"before, after = {a:g}, {b:g}: the rise is beyond the largest float")
    return rise
