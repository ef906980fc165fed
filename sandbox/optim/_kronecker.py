r"""Inverses of damped Kronecker products: how K-FAC's damping meets its two factors.

A layer's curvature is modelled as :math:`E \otimes A` on the row-major entries of its weights,
A the second moment of its inputs and E that of its output gradients. Damping it leaves no
Kronecker product, and what to do about that is the choice between the functions here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sandbox.optim._inverse_root import LOG, LinAlgError

__all__ = [
    "Eigenbasis",
    "eigenbasis",
    "factored_damping",
    "joint_weights",
    "published_direction",
    "robust_eigenbasis",
    "standard_direction",
]


def factored_damping(
    inputs: Float[Tensor, "in in"], outputs: Float[Tensor, "out out"], damping: float
) -> tuple[float, float]:
    r"""Split a damping between the two factors in proportion to their mean eigenvalues.

    **Equation.** :math:`\lambda_A \lambda_E = \lambda` and :math:`\lambda_A / \lambda_E =
    (\operatorname{tr} A / m) / (\operatorname{tr} E / n)`. The product
    :math:`(E + \lambda_E) \otimes (A + \lambda_A)` has the cross terms
    :math:`\lambda_E\, 1 \otimes A + \lambda_A\, E \otimes 1` beside the damping itself, and
    they are usually the larger part.

    **Shapes and units.** A is (m, m), E is (n, n); the damping has the units of their product.
    Traces are summed in float64.

    Parameters
    ----------
    inputs : Tensor
        A.
    outputs : Tensor
        E.
    damping : float
        :math:`\lambda > 0`.

    Returns
    -------
    input_damping, output_damping : float
        :math:`\lambda_A` and :math:`\lambda_E`, the root of the damping both where a factor
        is zero, since no proportion is defined then.

    References
    ----------
    Martens & Grosse (2015), arXiv:1503.05671, section 6.3. The case of a zero factor is
    settled here.

    Examples
    --------
    >>> factored_damping(8 * torch.eye(2), 2 * torch.eye(3), 0.25)
    (1.0, 0.25)
    """
    root = math.sqrt(damping)
    means = [float(factor.diagonal().double().mean()) for factor in (inputs, outputs)]
    if not all(mean > 0 for mean in means):
        return root, root
    # roots before the quotient: means of 1e-300 and 1e300 have no quotient
    ratio = math.sqrt(means[0]) / math.sqrt(means[1])
    return ratio * root, root / ratio


@dataclass(frozen=True, slots=True, eq=False)
class Eigenbasis:
    """Eigenvectors and eigenvalues of a positive semi-definite matrix.

    Parameters
    ----------
    vectors : Tensor
        Orthonormal columns.
    values : Tensor
        Not negative, ascending.
    """

    vectors: Float[Tensor, "size size"]
    values: Float[Tensor, " size"]


def eigenbasis(matrix: Float[Tensor, "size size"]) -> Eigenbasis:
    """Diagonalise a positive semi-definite matrix in float64, with signs that are fixed.

    **Equation.** U S U' = matrix. The entry of the largest modulus is positive in every
    column of U, the first one of them where several tie, so that the result is the same
    whatever signs the linear algebra library happens to give. Where eigenvalues coincide, as
    the zeros of a matrix of low rank do, the basis of their space remains the library's.

    **Shapes and units.** Values in the units of the matrix; those below zero by rounding are
    zero. float64 whatever the matrix was: single precision is known to fail on low rank.

    Parameters
    ----------
    matrix : Tensor
        Symmetric.

    Returns
    -------
    Eigenbasis
        In float64.

    Raises
    ------
    torch.linalg.LinAlgError
        If the algorithm does not converge.

    Examples
    --------
    >>> found = eigenbasis(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
    >>> [round(value, 12) for value in found.values.tolist()]
    [1.0, 3.0]
    """
    values, vectors = torch.linalg.eigh(matrix.double())
    largest = vectors.abs().argmax(dim=0, keepdim=True)
    vectors = vectors * vectors.gather(0, largest).sign()
    # row by row: a file keeps no strides, and products round differently for other ones
    return Eigenbasis(vectors.contiguous(), values.clamp_min(0.0))


def robust_eigenbasis(matrix: Tensor, damping: float, name: str) -> Eigenbasis:
    """Diagonalise, with ten times the damping added where that fails; log it, or give up."""
    if not bool(matrix.sum().isfinite()):
        raise RuntimeError(f"{name}: it is not finite; the step would not be either")
    try:
        return eigenbasis(matrix)
    except LinAlgError:
        extra = 10 * damping
        LOG.warning(
            "%s: the float64 eigenvalues of the %s x %s factor did not converge; trying with"
            " damping %g added",
            name,
            *matrix.shape,
            extra,
        )
    damped = matrix.to(torch.float64, copy=True)
    damped.diagonal().add_(extra)
    try:
        return eigenbasis(damped)
    except LinAlgError as failure:
        raise RuntimeError(
            f"{name}: its eigenvalues do not converge, nor do they with damping {extra:g} added;"
            " increase the damping or use rule='heuristic'"
        ) from failure


def joint_weights(
    inputs: Float[Tensor, " in"], outputs: Float[Tensor, " out"], damping: float, power: float = 1.0
) -> Float[Tensor, "out in"]:
    r"""Eigenvalues of the damped Kronecker product's inverse power, one an entry of the weights.

    **Equation.** :math:`K_{ij} = (s^E_i s^A_j + \lambda)^{-p}`.

    **Shapes and units.** (out, in), the damping's units to the power -p.

    Parameters
    ----------
    inputs, outputs : Tensor
        Eigenvalues of A and of E.
    damping : float
        :math:`\lambda > 0`.
    power : float
        p.

    Returns
    -------
    Tensor
        Positive numbers, none above :math:`\lambda^{-p}`.

    Examples
    --------
    >>> joint_weights(torch.tensor([0.0, 2.0]), torch.tensor([1.5]), 1.0).tolist()
    [[1.0, 0.25]]
    """
    damped = torch.outer(outputs, inputs).add_(damping)
    return damped.reciprocal_() if power == 1.0 else damped.pow_(-power)


def standard_direction(
    gradient: Float[Tensor, "out in"],
    inputs: Float[Tensor, "in in"],
    outputs: Float[Tensor, "out out"],
    weights: Float[Tensor, "out in"],
) -> Float[Tensor, "out in"]:
    r"""Apply the inverse power of the damped Kronecker product, exactly.

    **Equation.** :math:`(E \otimes A + \lambda)^{-p} G = U_E\,[(U_E^\top G U_A) \circ K]\,
    U_A^\top`.

    **Shapes and units.** As in the signature.

    Parameters
    ----------
    gradient : Tensor
        G.
    inputs, outputs : Tensor
        Eigenvectors :math:`U_A`, :math:`U_E` of the two factors, in columns.
    weights : Tensor
        K, from :func:`joint_weights`.

    Returns
    -------
    Tensor
        The direction.

    References
    ----------
    Grosse & Martens (2016), arXiv:1602.01407, appendix B; the mixed product property.

    Examples
    --------
    >>> quarter_turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> weights = torch.tensor([[1.0], [10.0]])
    >>> gradient = torch.tensor([[2.0], [3.0]])
    >>> standard_direction(gradient, torch.eye(1), quarter_turn, weights).tolist()
    [[20.0], [3.0]]
    """
    inner = outputs.T @ gradient @ inputs
    return outputs @ inner.mul_(weights) @ inputs.T


def published_direction(
    gradient: Float[Tensor, "out in"],
    inputs: Float[Tensor, "in in"],
    outputs: Float[Tensor, "out out"],
    weights: Float[Tensor, "out in"],
) -> Float[Tensor, "out in"]:
    r"""Apply the eigenbases as the authors' public code does, the left one transposed.

    **Equation.** :math:`U_E^\top\,[(U_E G U_A) \circ K]\,U_A^\top`. This is the exact
    inverse power for another matrix in the place of E, :math:`E' = U_E^\top S_E U_E`: its
    eigenvalues are those of E, its eigenvectors the rows of :math:`U_E` instead of the
    columns. So it is symmetric and positive definite, and minus the result is a descent
    direction; but which neurons E' couples depends on the order of the eigenvalues in a list
    and on the signs of the eigenvectors, which mean nothing: flipping them by D gives
    :math:`D E' D`. Averaged over all signs, each entry of :math:`G U_A` is multiplied by a
    number, :math:`\sum_k (U_E)_{ki}^2 K_{kj}` for entry (i, j).

    **Shapes and units.** As in the signature. :func:`eigenbasis` fixes the signs, which makes
    the result reproducible; it makes it no more meaningful.

    Parameters
    ----------
    gradient : Tensor
        G.
    inputs, outputs : Tensor
        Eigenvectors :math:`U_A`, :math:`U_E` of the two factors, in columns.
    weights : Tensor
        K, from :func:`joint_weights`.

    Returns
    -------
    Tensor
        The direction.

    References
    ----------
    The formula is that of the code published with Benzing (2022), arXiv:2201.12250, whose
    text states :func:`standard_direction`. Its properties are derived here.

    Examples
    --------
    >>> cycle = torch.eye(3)[[1, 2, 0]]
    >>> weights, gradient = torch.tensor([[1.0], [10.0], [100.0]]), torch.ones(3, 1)
    >>> standard_direction(gradient, torch.eye(1), cycle, weights).flatten().tolist()
    [10.0, 100.0, 1.0]
    >>> published_direction(gradient, torch.eye(1), cycle, weights).flatten().tolist()
    [100.0, 1.0, 10.0]
    """
    return standard_direction(gradient, inputs, outputs.T, weights)
