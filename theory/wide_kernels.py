"""Tangent kernels of infinitely wide two-layer networks."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.integrate import quad

from theory._activations import ACTIVATIONS
from theory._conditioning_derivations import erf_tangent_kernel
from theory.checks import as_matrix, as_number, one_of

__all__ = ["erf_kernel", "erf_tangent_kernel", "slope_second_moment"]

LARGEST = 1e75
"""Inputs whose fourth powers are in the range of floating point."""


def erf_kernel(inputs: Any) -> Float[ndarray, "sample sample"]:
    r"""Return the tangent kernel of an infinitely wide two-layer erf network, both layers trained.

    **Equation.** For :math:`f = m^{-1/2} \sum_j v_j\,\mathrm{erf}(w_j \cdot x / \sqrt d)` with
    standard normal weights and :math:`q_{ab} = x_a \cdot x_b / d`,
    :math:`D = (1 + 2q_{aa})(1 + 2q_{bb})`:
    :math:`\Theta_{ab} = \tfrac2\pi \arcsin(2 q_{ab} / \sqrt D) + \tfrac4\pi\, q_{ab} / \sqrt{D - 4
    q_{ab}^2}`.

    **Shapes and units.** ``inputs`` (sample, feature), the kernel (sample, sample).

    Parameters
    ----------
    inputs : array_like
        One sample a row; d is the number of features.

    Returns
    -------
    Float[ndarray, "sample sample"]
        Theta.

    Raises
    ------
    ValueError
        If the inputs are no finite matrix, or so large that fourth powers overflow.

    References
    ----------
    Williams (1997), Computing with infinite networks; Jacot, Gabriel & Hongler (2018),
    arXiv:1806.07572; see :func:`erf_tangent_kernel`.

    Examples
    --------
    >>> erf_kernel([[1.0, 0.0]]).round(6)
    array([[0.700886]])
    """
    X = as_matrix("inputs", inputs)
    if np.abs(X).max() > LARGEST:
        raise ValueError(
            f"inputs has an entry of size {np.abs(X).max():g}: must be at most {LARGEST:g}"
        )
    X /= math.sqrt(X.shape[1])
    q = X @ X.T
    own = np.diag(q)
    # D - 4q² from the area that two inputs span: the difference itself loses all digits of large,
    # nearly parallel ones
    area = np.array([[_area(a, b) for b in X] for a in X])
    root = np.sqrt(1 + 2 * np.add.outer(own, own) + 4 * area)
    # arcsin(2q / sqrt D) as an angle
    values = 2 / math.pi * np.arctan2(2 * q, root)
    return np.asarray(values + 4 / math.pi * q / root)


def _area(a: ndarray, b: ndarray) -> float:
    """Return the squared area that two vectors span."""
    plus, minus = a + b, a - b
    if plus @ plus < minus @ minus:
        plus, minus = minus, plus
    length = plus @ plus
    if length == 0:
        return 0.0
    across = minus - plus * ((minus @ plus) / length)
    return float(length * (across @ across)) / 4


def slope_second_moment(activation: str, scale: float = 1.0) -> float:
    r"""Return the mean squared slope of an activation under a normal field.

    **Equation.** :math:`E\,a'(sz)^2`, z standard normal: the least eigenvalue, at infinite width,
    of a two-layer network with orthonormal inputs, inner weights of standard deviation s trained
    and outer weights of size 1 fixed. For tanh: :math:`E\,\mathrm{sech}^4(sz)`.

    **Shapes and units.** Without unit.

    Parameters
    ----------
    activation : str
        "tanh", "erf", "sin" or "relu".
    scale : float
        s, in (0, 1e3].

    Returns
    -------
    float
        To 1e-12; by quadrature for "tanh" and "erf".

    References
    ----------
    Derived here.

    Examples
    --------
    >>> round(slope_second_moment("tanh"), 12)
    0.464402902448
    """
    act = ACTIVATIONS[one_of("activation", activation, tuple(ACTIVATIONS))]
    s = as_number("scale", scale, low=0.0, high=1e3, open_low=True)
    if activation == "relu":
        return 0.5
    if activation == "sin":
        return (1 + math.exp(-2 * s * s)) / 2

    def density(z: float) -> float:
        return float(act.slope(np.array(s * z)) ** 2) * math.exp(-(z**2) / 2)

    edges = sorted({0.0, *(min(x / max(s, 1.0), 40.0) for x in (1.0, 5.0, 20.0)), 12.0, 40.0})
    pieces = (
        quad(density, a, b, epsabs=1e-14, epsrel=1e-13, limit=400)[0] for a, b in pairwise(edges)
    )
    return math.fsum(pieces) * math.sqrt(2 / math.pi)
