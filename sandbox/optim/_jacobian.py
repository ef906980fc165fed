"""Jacobians of small networks and powers of the curvature that they make."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from deeplinear.rules import RANK_TOLERANCE, CurvatureCorrection

__all__ = ["corrected", "output_gradients", "output_jacobian"]

ROWS_AT_ONCE = 1024
"""Rows of a Jacobian computed in one batched backward pass."""


def output_gradients(
    outputs: Tensor, cotangent: Tensor, parameters: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return J' cotangent for every parameter, None where no gradient path leads to it."""
    if not parameters:
        return []
    cotangent = cotangent.reshape(outputs.shape).to(outputs.dtype)
    return list(
        torch.autograd.grad(outputs, parameters, cotangent, retain_graph=True, allow_unused=True)
    )


@torch.enable_grad()
def output_jacobian(outputs: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    r"""Jacobian of all outputs in every parameter tensor, from the outputs' own graph.

    **Equation.** Block b is :math:`\partial f_r / \partial \theta_b`, r running over
    the entries of the outputs in row-major order.

    **Shapes and units.** Block b has shape (row, entries of parameter b).

    Parameters
    ----------
    outputs : Tensor
        What the network gave, any shape, with its graph, which stays usable.
    parameters : sequence of Tensor
        Leaves of that graph.

    Returns
    -------
    list of Tensor
        One block a parameter.

    References
    ----------
    Reverse-mode differentiation, row by row, batched with ``torch.vmap`` where every
    operation of the graph allows it.

    Examples
    --------
    >>> weight = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> output_jacobian(weight @ torch.tensor([3.0, 5.0]), [weight])[0].tolist()
    [[3.0, 5.0]]
    """
    flat = outputs.reshape(-1)
    pieces = [
        _rows(flat[start : start + ROWS_AT_ONCE], parameters)
        for start in range(0, len(flat), ROWS_AT_ONCE)
    ]
    return [torch.cat(column) for column in zip(*pieces, strict=True)]


def _rows(rows: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return one Jacobian block a parameter, of these rows alone."""
    probes = torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
    try:
        found = torch.autograd.grad(
            rows, parameters, probes, retain_graph=True, is_grads_batched=True
        )
    except RuntimeError:
        # an operation without a batching rule; any other fault comes back from the loop
        single = [
            torch.autograd.grad(rows, parameters, probe, retain_graph=True) for probe in probes
        ]
        found = tuple(torch.stack(column) for column in zip(*single, strict=True))
    return [block.reshape(len(rows), -1) for block in found]


def corrected(
    rows: Float[Tensor, "row parameter"],
    residual: Float[Tensor, " row"],
    gradient: Float[Tensor, " parameter"],
    rule: CurvatureCorrection,
) -> Float[Tensor, " parameter"]:
    r"""Gradient times an inverse power of the curvature, from one SVD.

    **Equation.** With :math:`\tilde J = U S V^\top` the rows, :math:`r` the residual and
    :math:`g = \tilde J^\top r` the gradient, :math:`V (S^2 + \varepsilon)^{-q} V^\top g`
    where :math:`V^\top g = S U^\top r`. Each coefficient takes whichever of the two
    expressions loses less to rounding: the first errs by a fraction of
    :math:`\|g\|`, the second by the same fraction of :math:`S \|r\|`.

    **Shapes and units.** As in the signature; the curvature is the Gram matrix of the
    columns.

    Parameters
    ----------
    rows : Tensor
        The Jacobian in the metric of the loss.
    residual : Tensor
        The residual in the same metric.
    gradient : Tensor
        The gradient of the loss.
    rule : CurvatureCorrection
        Power and damping; its scale is left to the caller.

    Returns
    -------
    Tensor
        The corrected gradient. Singular values below a fraction of the largest
        (1e-12 in float64, 1e-5 in float32) count as zero: they get nothing without
        damping, and ``damping**-power`` times the gradient with it.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> rule = CurvatureCorrection(power=1.0)
    >>> rows = torch.tensor([[2.0, 0.0]])
    >>> corrected(rows, torch.tensor([3.0]), torch.tensor([6.0, 0.0]), rule).tolist()
    [1.5, 0.0]
    """
    if rule.power == 0:
        return gradient
    rounding = torch.finfo(rows.dtype).eps
    tolerance = RANK_TOLERANCE if rows.dtype == torch.float64 else 1e-5
    left, values, right = torch.linalg.svd(rows, full_matrices=False)
    keep = values > tolerance * values[0].clamp_min(torch.finfo(rows.dtype).tiny)
    left, values, right = left[:, keep], values[keep], right[keep]
    through = right @ gradient
    better = values * residual.norm() < gradient.norm()
    coefficients = torch.where(better, values * (left.T @ residual), through)
    result: Tensor = right.T @ (coefficients * (values.square() + rule.damping) ** -rule.power)
    if rule.damping > 0:
        # outside the kept directions the curvature is the damping alone; what rounding
        # leaves there would break conservation laws if it were amplified
        rest = gradient - right.T @ through
        if rest.norm() > 100 * rounding * gradient.norm():
            result = result + rule.damping**-rule.power * rest
    return result
