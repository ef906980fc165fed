"""Conditioning of tangent kernels: where it comes from, how far it holds, what composition does."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory._composition import (
    composed_constant,
    composed_kernel,
    fourier_kernel_bound,
    fourier_separation,
)
from theory._conditioning_derivations import composition_conditioning, singular_value_certificate
from theory._model_checks import finite, positive
from theory.checks import as_integer, as_matrix, as_number, as_vector, one_of
from theory.tangent_models import TangentModel

__all__ = [
    "certifying_width",
    "composed_constant",
    "composed_kernel",
    "composition_conditioning",
    "fourier_kernel_bound",
    "fourier_separation",
    "gaussian_condition_bound",
    "hessian_control_limit",
    "singular_codimension",
    "singular_value_certificate",
    "tangent_kernel",
]


def tangent_kernel(
    model: TangentModel, parameters: Float[ndarray, " parameter"]
) -> Float[ndarray, "output output"]:
    r"""Return the tangent kernel of a model.

    **Equation.** :math:`K = DF\,DF^\top`; half the squared gradient of the loss is
    :math:`\tfrac12 r^\top K r`.

    **Shapes and units.** (output, output).

    Parameters
    ----------
    model : TangentModel
        F.
    parameters : Float[ndarray, "parameter"]
        Where.

    Returns
    -------
    Float[ndarray, "output output"]
        Symmetric, with no negative eigenvalue but for rounding.

    References
    ----------
    Jacot, Gabriel & Hongler (2018), arXiv:1806.07572.

    Examples
    --------
    >>> from theory.tangent_models import Linear
    >>> tangent_kernel(Linear([[1.0, 2.0]]), np.zeros(2))
    array([[5.]])
    """
    jacobian = as_matrix(
        "model.jacobian(parameters)", model.jacobian(as_vector("parameters", parameters))
    )
    with np.errstate(over="ignore", invalid="ignore"):
        return as_matrix("the kernel", jacobian @ jacobian.T)


def hessian_control_limit(
    initial_mu: float, mu: float, lipschitz: float, outputs: int, radius: float
) -> float:
    r"""Return how large the Hessians of the outputs may be for PL* to hold on a ball.

    **Equation.** :math:`\max_i \|H_{F_i}\| \le (\lambda_0 - \mu) / (2 L_F \sqrt n R)`.

    **Shapes and units.** Largest spectral norm of one output's Hessian.

    Parameters
    ----------
    initial_mu : float
        lambda_0, the least eigenvalue of the tangent kernel at the centre, > 0.
    mu : float
        Constant wanted, in (0, initial_mu].
    lipschitz : float
        L_F on the ball, > 0.
    outputs : int
        n, >= 1.
    radius : float
        R, > 0.

    Returns
    -------
    float
        The limit, 0 for mu = initial_mu.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorem 2, arXiv:2003.00307.

    Examples
    --------
    >>> hessian_control_limit(1.0, 0.5, 1.0, 4, 0.25)
    0.5
    """
    least = positive("initial_mu", initial_mu)
    wanted = as_number("mu", mu, low=0.0, high=least, open_low=True)
    n = as_integer("outputs", outputs, low=1)
    limit = (least - wanted) / (2 * math.sqrt(n)) / positive("lipschitz", lipschitz)
    return finite("the limit", limit / positive("radius", radius))


def certifying_width(
    initial_mu: float,
    bend: float,
    residual: float,
    *,
    outputs: int = 1,
    lipschitz: float = 1.0,
    proof: str,
) -> float:
    r"""Return the width above which a network with Hessians of size bend / sqrt(m) is certified.

    **Equation.** With :math:`\lambda = ` ``initial_mu``: "published"
    :math:`(16 L_F^2 \sqrt n |r_0| b / \lambda^2)^2`, "path"
    :math:`108\,n (L_F |r_0| b)^2 / \lambda^3`, "singular value" :math:`(8 |r_0| b / \lambda)^2`.

    **Shapes and units.** Hidden units; not rounded.

    Parameters
    ----------
    initial_mu : float
        Least eigenvalue of the tangent kernel at the start, > 0, taken not to depend on the width.
    bend : float
        b: for the first two the largest norm of one output's Hessian times sqrt(m), for the last
        the Jacobian's Lipschitz constant times sqrt(m); >= 0.
    residual : float
        \|r_0\|, >= 0.
    outputs : int
        n; not used by "singular value".
    lipschitz : float
        L_F, > 0; not used by "singular value".
    proof : str
        "published": theorems 2 and 6; "path": theorem 2 with the length of the path;
        "singular value": what :func:`theory.plstar.certify_pl` uses.

    Returns
    -------
    float
        The width, at the best constant mu each proof allows.

    References
    ----------
    Theorems 2 and 6: Liu, Zhu & Belkin (2022), arXiv:2003.00307; the rest derived here, see
    :func:`singular_value_certificate`.

    Examples
    --------
    >>> round(certifying_width(0.5, 0.75, 1.0, proof="singular value"))
    144
    """
    least = positive("initial_mu", initial_mu)
    n, top = as_integer("outputs", outputs, low=1), positive("lipschitz", lipschitz)
    change = as_number("bend", bend, low=0.0) * as_number("residual", residual, low=0.0)
    kind = one_of("proof", proof, ("published", "path", "singular value"))
    if kind == "published":
        root = 16 * math.sqrt(n) * (top / least) * change * (top / least)
    elif kind == "path":
        root = math.sqrt(108 * n / least) * (top / least) * change
    else:
        root = 8 * change / least
    return finite("the width", root * root)


def gaussian_condition_bound(outputs: int, parameters: int) -> float:
    r"""Return a bound of the mean log condition number of a Gaussian Jacobian's kernel.

    **Equation.** :math:`E \ln \kappa(K) < 2 \ln[m / (m - n + 1)] + 5`, entries of DF independent
    and normal.

    **Shapes and units.** Natural logarithm.

    Parameters
    ----------
    outputs : int
        n, >= 1.
    parameters : int
        m, > n.

    Returns
    -------
    float
        The bound.

    References
    ----------
    Chen & Dongarra (2005), doi:10.1137/040616413, as used by Liu, Zhu & Belkin (2022),
    arXiv:2003.00307.

    Examples
    --------
    >>> round(gaussian_condition_bound(10, 20), 2)
    6.2
    """
    n = as_integer("outputs", outputs, low=1)
    m = as_integer("parameters", parameters, low=n + 1)
    return 2 * math.log(m / (m - n + 1)) + 5


def singular_codimension(outputs: int, parameters: int) -> int:
    r"""Return the codimension to expect of the set where the tangent kernel is singular.

    **Equation.** :math:`m - n + 1`, that of the n x m matrices of lower rank.

    **Shapes and units.** Dimensions.

    Parameters
    ----------
    outputs : int
        n, >= 1.
    parameters : int
        m, >= n; with fewer parameters than outputs the kernel is singular everywhere.

    Returns
    -------
    int
        At least 1.

    References
    ----------
    Liu, Zhu & Belkin (2022), section 3, arXiv:2003.00307.

    Examples
    --------
    >>> singular_codimension(1, 2)
    2
    """
    n = as_integer("outputs", outputs, low=1)
    return as_integer("parameters", parameters, low=n) - n + 1
