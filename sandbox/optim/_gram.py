r"""Fisher matrices by their root: F = G G', one column a sample and label, never formed.

A column of G in one layer is :math:`\sum_p e_p a_p^\top`, p running over the places where
the layer's weights are shared (one for a linear layer fed vectors). Everything that a
natural gradient asks of F follows from the rows :math:`a` and :math:`e`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sandbox.network.columns import PIECE, LayerColumns

__all__ = [
    "DampedRoot",
    "NotFiniteError",
    "combined",
    "gram",
    "transposed",
]

LOG = logging.getLogger("sandbox.optim")

SAFETY = 16.0
"""Damping below this multiple of the rounding error of a Gram matrix asks for float64."""


class NotFiniteError(RuntimeError):
    """A Fisher matrix has entries that are not finite."""


def gram(columns: Sequence[LayerColumns]) -> Float[Tensor, "column column"]:
    """Return G'G, summed over layers."""
    total = columns[0].gram()
    for more in columns[1:]:
        total.add_(more.gram())
    return total


def transposed(columns: Sequence[LayerColumns], matrices: Sequence[Tensor]) -> Tensor:
    """Return G'u, summed over layers."""
    total = columns[0].transposed(matrices[0])
    for layer, matrix in zip(columns[1:], matrices[1:], strict=True):
        total += layer.transposed(matrix)
    return total


def combined(columns: Sequence[LayerColumns], weights: Tensor) -> list[Tensor]:
    """Return G w, a matrix a layer."""
    return [layer.combined(weights) for layer in columns]


class DampedRoot:
    r"""The inverse of damping + G G', by the smaller of the two Gram matrices of G.

    **Equation.** :math:`(\lambda + GG^\top)^{-1} u = \frac1\lambda \left(u - G (\lambda +
    G^\top G)^{-1} G^\top u\right)` where there are no more columns than parameters, and a
    Cholesky factor of :math:`\lambda + GG^\top` itself otherwise.

    Both factorisations are done in float64. The Gram matrix is computed in the type of the
    factors unless the damping is within its rounding error. If the factorisation fails:
    the Gram matrix in float64, then ten times the damping, each logged; then an error.

    Parameters
    ----------
    columns : sequence of LayerColumns
        Layers coupled in one matrix.
    damping : float
        lambda, > 0.
    name : str
        Of these layers, for messages.
    dual : bool or None
        Which matrix to factorise; None for the smaller one.
    exact : bool
        Whether to raise rather than to use more damping.

    Attributes
    ----------
    damping : float
        What was used in the end.
    dual : bool
        Whether it is the Gram matrix of the columns.

    Raises
    ------
    NotFiniteError
        If the matrix is not finite.
    RuntimeError
        If it cannot be factorised.
    """

    def __init__(
        self,
        columns: Sequence[LayerColumns],
        damping: float,
        name: str,
        *,
        dual: bool | None = None,
        exact: bool = False,
    ) -> None:
        self.columns = columns
        if dual is None:
            dual = columns[0].columns <= sum(layer.entries for layer in columns)
        self.dual = dual
        self.factor, self.damping = _factorised(self._matrix, columns, damping, name, exact)

    def __call__(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        """Return the solution for matrices u of the layers' shapes."""
        if self.dual:
            through = transposed(self.columns, matrices)
            weights = torch.cholesky_solve(through.to(self.factor)[:, None], self.factor)
            weights = weights[:, 0].to(through)
            return [
                layer.combined(weights, matrix, 1 / self.damping)
                for layer, matrix in zip(self.columns, matrices, strict=True)
            ]
        flat = torch.cat([matrix.reshape(-1) for matrix in matrices]).to(self.factor)
        found = torch.cholesky_solve(flat[:, None], self.factor)[:, 0].to(matrices[0])
        pieces = torch.split(found, [matrix.numel() for matrix in matrices])
        return [piece.view_as(matrix) for piece, matrix in zip(pieces, matrices, strict=True)]

    def _matrix(self, columns: Sequence[LayerColumns]) -> Tensor:
        """Return the smaller Gram matrix."""
        if self.dual:
            return gram(columns)
        parameters = sum(layer.entries for layer in columns)
        total = columns[0].slopes.new_zeros(parameters, parameters)
        count, step = columns[0].columns, max(1, PIECE // parameters)
        for first in range(0, count, step):
            last = min(first + step, count)
            rows = torch.cat([layer.rows(first, last) for layer in columns], dim=1)
            total.addmm_(rows.T, rows)
        return total


def _factorised(
    build: Callable[[Sequence[LayerColumns]], Tensor],
    columns: Sequence[LayerColumns],
    damping: float,
    name: str,
    exact: bool,
) -> tuple[Tensor, float]:
    """Return the Cholesky factor of a Gram matrix plus damping, and the damping it took."""
    matrix = build(columns)
    kind = matrix.dtype
    if kind != torch.float64:
        if damping < SAFETY * torch.finfo(kind).eps * float(matrix.diagonal().sum()):
            matrix = build([layer.to(torch.float64) for layer in columns])
        wide = matrix.double()
    else:
        wide = matrix
    if not wide.diagonal().sum().isfinite():
        raise NotFiniteError(
            f"the Fisher matrix of {name} is not finite: the outputs have diverged"
        )
    found = _cholesky(wide, damping)
    if found is None and matrix.dtype != torch.float64:
        LOG.warning("%s: Cholesky failed at damping %g; again in float64", name, damping)
        wide = build([layer.to(torch.float64) for layer in columns])
        found = _cholesky(wide, damping)
    if found is None and not exact:
        LOG.warning("%s: Cholesky failed at damping %g; again with ten times it", name, damping)
        damping = 10 * damping
        found = _cholesky(wide, damping)
    if found is None:
        raise RuntimeError(
            f"the Fisher matrix of {name} has no Cholesky factor at damping {damping:g}: use more"
            " damping"
        )
    return found, damping


def _cholesky(matrix: Tensor, damping: float) -> Tensor | None:
    """Return the lower factor of matrix + damping, or None."""
    damped = matrix.clone()
    damped.diagonal().add_(damping)
    factor, failed = torch.linalg.cholesky_ex(damped)
    return None if bool(failed) or not bool(factor.isfinite().all()) else factor
