"""Inverse powers of damped second moments, with what is tried where they fail."""

from __future__ import annotations

import logging
import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["LOG", "LinAlgError", "inverse_root"]

LOG = logging.getLogger("sandbox.optim")

LinAlgError: type[RuntimeError] = torch.linalg.LinAlgError  # type: ignore[attr-defined]  # unlisted
"""What decompositions that do not converge raise."""


def inverse_root(
    matrix: Float[Tensor, "column column"],
    damping: float,
    power: float = 1.0,
    *,
    name: str = "the matrix",
    scale: float = 1.0,
    into: Tensor | None = None,
    rows: Float[Tensor, "row column"] | None = None,
) -> Float[Tensor, "column column"]:
    r"""Inverse power of a symmetric positive semidefinite matrix, damped, as a matrix.

    **Equation.** :math:`(s A + \lambda)^{-p}`, from a Cholesky factorisation where p = 1 and
    from eigenvalues, those below 0 by rounding set to 0, otherwise. Where p = 1 and the few
    rows X of :math:`s A = X^\top X` are known, from the Woodbury identity

    .. math:: (X^\top X + \lambda)^{-1} = \lambda^{-1} \bigl[1 - X^\top
        (X X^\top + \lambda)^{-1} X\bigr],

    with a factorisation of a matrix of the number of rows only. The difference loses
    :math:`\operatorname{tr} X^\top X / \lambda` of the precision: above 1,000 it is taken in
    float64, and above :math:`10^{9}` not at all.

    What fails is tried again in float64, then with ten times the damping; both are logged
    under ``sandbox.optim``.

    **Shapes and units.** The damping has the units of the matrix.

    Parameters
    ----------
    matrix : Tensor
        float32 or float64; left as it is.
    damping : float
        :math:`\lambda \ge 0`; above 0 unless the matrix is regular.
    power : float
        p > 0.
    name : str
        What the matrix belongs to, for messages.
    scale : float
        s.
    into : Tensor or None
        Memory that may be overwritten by the result, of the matrix's shape and type.
    rows : Tensor or None
        X, if there are few of them.

    Returns
    -------
    Tensor
        Symmetric, in the type of the matrix; ``into`` itself where that saved memory.

    Raises
    ------
    RuntimeError
        If the matrix holds what is not finite, or all three attempts fail.

    References
    ----------
    Benzing (2022), arXiv:2201.12250, equation 6, for p = 1; derived here otherwise.

    Examples
    --------
    >>> inverse_root(torch.tensor([[3.0]]), damping=1.0).item()
    0.25
    """
    if power == 1 and rows is not None:
        found = _from_rows(rows, damping)
        if found is not None:
            return found
    attempts = [(matrix.dtype, damping)]
    if matrix.dtype != torch.float64:
        attempts.append((torch.float64, damping))
    attempts.append((torch.float64, 10 * damping))
    for i, (dtype, extra) in enumerate(attempts):
        if i:
            LOG.warning(
                "%s: the factorisation of the %s x %s covariance failed; trying %s, damping %g",
                name,
                *matrix.shape,
                str(dtype).removeprefix("torch."),
                extra,
            )
        if i == 0 and into is not None and into.is_contiguous() and not matrix.is_cuda:
            work = torch.mul(matrix, scale, out=into)
        else:
            work = matrix.to(dtype) * scale
        work.diagonal().add_(extra)
        found = _attempt(work, extra, power)
        if found is not None:
            # a file keeps no strides, and products may round differently for other ones
            return found.to(matrix.dtype).contiguous()
        if i == 0 and not math.isfinite(float(matrix.sum())):
            raise RuntimeError(
                f"{name}: its covariance is not finite; the step would not be either"
            )
    raise RuntimeError(
        f"{name}: its covariance cannot be factorised with damping {damping:g}, nor with ten times"
        " that in float64; increase the damping"
    )


def _attempt(work: Tensor, damping: float, power: float) -> Tensor | None:
    """Return the inverse power of a damped matrix, overwritten, or None where that failed."""
    if power == 1:
        # LAPACK's order of entries, so that both calls work in place
        work = work.mT
        if work.is_cuda:
            factor, info = torch.linalg.cholesky_ex(work)
        else:
            info = torch.empty((), dtype=torch.int32)
            factor, _ = torch.linalg.cholesky_ex(work, out=(work, info))
        if int(info):
            return None
        found = torch.cholesky_inverse(factor, out=None if work.is_cuda else work).mT
    else:
        try:
            values, vectors = torch.linalg.eigh(work)
        except LinAlgError:
            return None
        # below the damping there is rounding alone
        scaled = vectors * values.clamp_min(damping).pow(-power / 2)
        found = scaled @ scaled.T
    return found if math.isfinite(float(found.sum())) else None


def _from_rows(rows: Tensor, damping: float) -> Tensor | None:
    """Return the damped inverse of the rows' second moment, or None where rounding forbids it."""
    trace = float(rows.square().sum(dtype=torch.float64))
    if not damping > 0 or not trace <= 1e9 * damping:
        return None
    work = rows.double() if trace > 1e3 * damping else rows
    gram = work @ work.T
    gram.diagonal().add_(damping)
    factor, info = torch.linalg.cholesky_ex(gram)
    if int(info):
        return None
    half = torch.linalg.solve_triangular(factor, work, upper=False)
    found = (half.T @ half).div_(-damping)
    found.diagonal().add_(1 / damping)
    return found.to(rows.dtype) if math.isfinite(float(found.sum())) else None
