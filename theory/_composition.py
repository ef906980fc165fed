"""Conditioning of composed models, and of random Fourier features behind a bottleneck."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory._model_checks import finite, positive
from theory.checks import as_integer, as_matrix, as_number

__all__ = [
    "composed_constant",
    "composed_kernel",
    "fourier_kernel_bound",
    "fourier_separation",
]


def composed_constant(mu: float, least_stretch: float) -> float:
    r"""Return the constant of a model followed by an invertible map of its outputs.

    **Equation.** :math:`\mu \rho^2` with :math:`\rho = \inf 1 / \|J_\Phi^{-1}\|`, the least
    singular value of the map's Jacobian.

    **Shapes and units.** As mu, times the map's gain squared.

    Parameters
    ----------
    mu : float
        Constant of the model, > 0.
    least_stretch : float
        rho, > 0.

    Returns
    -------
    float
        Constant of the composition.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorem 3, arXiv:2003.00307; see
    :func:`theory.conditioning.composition_conditioning`.

    Examples
    --------
    >>> composed_constant(2.0, 0.5)
    0.5
    """
    stretch = positive("least_stretch", least_stretch)
    return finite("the constant", positive("mu", mu) * stretch * stretch)


def composed_kernel(
    outer_kernel: Any, outer_jacobian: Any, inner_kernel: Any
) -> Float[ndarray, "output output"]:
    r"""Return the tangent kernel of h = g(f) with parameters in both.

    **Equation.** :math:`K_h = K_g + J_g K_f J_g^\top`; its least eigenvalue is at least K_g's.

    **Shapes and units.** K_g (n, n), J_g (n, k), K_f (k, k).

    Parameters
    ----------
    outer_kernel : array_like
        K_g, at the inner outputs.
    outer_jacobian : array_like
        J_g: derivatives of g by its inputs.
    inner_kernel : array_like
        K_f.

    Returns
    -------
    Float[ndarray, "output output"]
        K_h.

    Raises
    ------
    ValueError
        If the three do not fit together.

    References
    ----------
    Liu, Zhu & Belkin (2022), proposition 4, arXiv:2003.00307; see
    :func:`theory.conditioning.composition_conditioning`.

    Examples
    --------
    >>> composed_kernel([[1.0]], [[2.0, 0.0]], np.eye(2))
    array([[5.]])
    """
    outer, J = as_matrix("outer_kernel", outer_kernel), as_matrix("outer_jacobian", outer_jacobian)
    inner = as_matrix("inner_kernel", inner_kernel)
    for name, matrix, size in (
        ("outer_kernel", outer, J.shape[0]),
        ("inner_kernel", inner, J.shape[1]),
    ):
        if matrix.shape != (size, size):
            raise ValueError(
                f"{name} has shape {matrix.shape}: must be {(size, size)}, to fit outer_jacobian of"
                f" shape {J.shape}"
            )
    with np.errstate(over="ignore", invalid="ignore"):
        return as_matrix("the kernel", outer + J @ inner @ J.T)


def fourier_kernel_bound(samples: int, separation: float) -> float:
    r"""Return a lower bound of the least eigenvalue of a random Fourier model's kernel.

    **Equation.** :math:`1 - (n-1) e^{-n^2 d^2 / 2}` for the kernel
    :math:`K_{ij} = e^{-n^2 |f_i - f_j|^2 / 2}`, frequencies of standard deviation n.

    **Shapes and units.** Without unit; may be negative, and says nothing then.

    Parameters
    ----------
    samples : int
        n, >= 1.
    separation : float
        d, the least distance of two inputs, >= 0.

    Returns
    -------
    float
        The bound.

    References
    ----------
    Liu, Zhu & Belkin (2022), the example of section 3.3, arXiv:2003.00307.

    Examples
    --------
    >>> fourier_kernel_bound(3, 0.0)
    -1.0
    """
    n = as_integer("samples", samples, low=1)
    gap = as_number("separation", separation, low=0.0)
    return 1 - (n - 1) * math.exp(-(n * gap) * (n * gap) / 2)


def fourier_separation(samples: int) -> float:
    r"""Return the separation of inputs that keeps the least eigenvalue at 1/2 or more.

    **Equation.** :math:`d = \sqrt{2 \ln(2n - 2)} / n`.

    **Shapes and units.** Distance between inputs.

    Parameters
    ----------
    samples : int
        n, >= 2.

    Returns
    -------
    float
        The separation.

    References
    ----------
    Liu, Zhu & Belkin (2022), the example of section 3.3, arXiv:2003.00307.

    Examples
    --------
    >>> round(fourier_kernel_bound(10, fourier_separation(10)), 12)
    0.5
    """
    n = as_integer("samples", samples, low=2)
    return math.sqrt(2 * math.log(2 * n - 2)) / n
