"""Integrated flows of weight matrices under any rule of the family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from deeplinear import _matrix_kernels as kernels
from deeplinear import _stepper_kernels as stepper
from deeplinear.matrices import _check_target, blow_up_time
from deeplinear.rules import RANK_TOLERANCE, BlowUpError, CurvatureCorrection, partial_products
from theory._types import Matrix, Vector
from theory.checks import as_matrices, as_matrix, as_number, as_times

__all__ = ["matrix_flow"]

SYMMETRY_TOLERANCE = 1e-10
"""Asymmetry and negative eigenvalues of a covariance allowed, relative to its size."""


def _covariance_root(covariance: Matrix, inputs: int) -> tuple[Matrix, int]:
    """Return the symmetric square root of a covariance and its rank."""
    matrix = as_matrix("input_covariance", covariance)
    if matrix.shape != (inputs, inputs):
        raise ValueError(
            f"input_covariance has shape {matrix.shape}: must be {(inputs, inputs)},"
            " the columns of weights[0]"
        )
    size = float(np.abs(matrix).max())
    asymmetry = float(np.abs(matrix - matrix.T).max())
    if asymmetry > SYMMETRY_TOLERANCE * size:
        raise ValueError(
            f"input_covariance differs from its transpose by {asymmetry:.3g}: must be symmetric"
        )
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    if values[0] < -SYMMETRY_TOLERANCE * max(values[-1], -values[0]):
        raise ValueError(
            f"input_covariance has the eigenvalue {values[0]:.3g}: must be positive semidefinite"
        )
    # what the eigensolver leaves of a zero eigenvalue is no direction of the inputs
    values = np.where(values > values.size * np.finfo(np.float64).eps * values[-1], values, 0.0)
    root: Matrix = (vectors * np.sqrt(values)) @ vectors.T
    return root, int(np.count_nonzero(values))


def _rank(matrix: Matrix) -> int:
    """Return the number of singular values above the rank tolerance."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return int(np.count_nonzero(values > RANK_TOLERANCE * values[0]))


def _check_layer_start(weights: list[Matrix], root: Matrix, input_rank: int) -> None:
    """Refuse starts at which inverses of the layer blocks are not continuous."""
    after, before = partial_products(weights)
    widths = [input_rank, *(matrix.shape[0] for matrix in weights)]
    for i, (a, b) in enumerate(zip(after, before, strict=True)):
        expected = {
            f"layers {i + 2} to {len(weights)}": (a, min(widths[i + 1 :])),
            f"the inputs and layers 1 to {i}": (b @ root, min(widths[: i + 1])),
        }
        for name, (product, full) in expected.items():
            rank = _rank(product)
            if rank < full:
                raise ValueError(
                    f"weights: the product of {name} has rank {rank} and its widths allow"
                    f" {full}: undamped layer rules with power > 1/2 are not continuous"
                    " there; start elsewhere or set damping > 0"
                )


def _check_blow_up(
    rule: CurvatureCorrection, weights: list[Matrix], target: Matrix, last: float
) -> None:
    """Raise when the layer-block natural gradient is known to break down before ``last``."""
    widths = [weights[0].shape[1], *(matrix.shape[0] for matrix in weights)]
    square = widths[0] == widths[-1] and min(widths) == widths[0]
    if rule.power < 1.0 or len(weights) == 1 or not square:
        return
    singular = blow_up_time(weights, target, rule.prefactor(len(weights)))
    if last >= singular:
        raise BlowUpError(
            f"times[-1] = {last}: the layers become singular at t = {singular:.6g}"
            " (a negative eigenvalue of the target relative to the start);"
            " ask for earlier times, add damping or a spare hidden unit",
            singular,
        )


def _kind(rule: CurvatureCorrection) -> int:
    """Return the kernel's name for a rule."""
    if rule.power > 0.0:
        return kernels.FULL if rule.blocks == "full" else kernels.LAYER
    return kernels.GRADIENT


def _check_finished(outcome: int, reached: float, last: float) -> None:
    """Raise if an integration ended before its last output time."""
    if outcome == stepper.COLLAPSED:
        raise BlowUpError(
            f"times[-1] = {last}: the step size collapses at t = {reached:.6g}, where the"
            " weights lose rank and the rule is singular; ask for earlier times or set"
            " damping > 0",
            reached,
        )
    if outcome != stepper.FINISHED:
        raise ValueError(
            f"times[-1] = {last}: {stepper.STEP_BUDGET} steps reach only t = {reached:.6g};"
            " ask for earlier times, or for a larger rtol"
        )


def matrix_flow(
    rule: CurvatureCorrection,
    weights: Sequence[Matrix],
    target: Matrix,
    times: Vector,
    *,
    input_covariance: Matrix | None = None,
    rtol: float = 1e-10,
) -> list[Float[ndarray, "time out in"]]:
    r"""Weights of a deep linear network under a curvature-corrected gradient flow.

    **Equation.** With :math:`K = \sum_i A_i A_i^\top \otimes (B_i\Sigma^{1/2})^\top
    (B_i \Sigma^{1/2})` acting on maps, full rules are :math:`\dot W_i = -\kappa
    A_i^\top (K + \varepsilon)^{-q}[\Delta\Sigma^{1/2}] (B_i\Sigma^{1/2})^\top` and
    layer rules the same with the i-th term of K in place of K. Inverses come from
    singular value decompositions of Jacobians, never of their Gram matrices.

    One evaluation costs O(n^3) for power 0, for layer rules and for two layers
    with whitened inputs, O(n^4) for two layers with other inputs, and O(d n^6) for
    full rules with more layers (the Jacobian, d n^2 x n^2, is decomposed). Steps are
    those of the Dormand-Prince pair of order 8. Each step's error, in root mean
    square over all weights, is at most ``rtol`` times the smallest layer met so far,
    so that small starts keep their digits.

    **Shapes and units.** W_i (n_i, n_{i-1}), target (n_d, n_0), input_covariance
    (n_0, n_0); times in 1 / learning rate.

    Parameters
    ----------
    rule : CurvatureCorrection
        The learning rule.
    weights : sequence of Matrix
        W_1 ... W_d at time zero, input side first.
    target : Matrix
        W*.
    times : Vector
        Output times, sorted.
    input_covariance : Matrix or None
        :math:`\Sigma = E[xx^\top]`, symmetric, positive semidefinite; None for
        whitened inputs.
    rtol : float
        Relative error allowed in each step, in [1e-14, 1e-2].

    Returns
    -------
    list of Float[ndarray, "time out in"]
        W_i at the output times, one array a layer.

    Raises
    ------
    ValueError
        If shapes disagree, the covariance is not one, an undamped layer rule with
        power > 1/2 starts at products of lower rank than their widths allow, or
        the flow is too stiff for the times asked for.
    BlowUpError
        If the flow becomes singular before the last time.

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120 (power 0); Huh (2020), PMLR
    119, 4552-4560 (powers 1/2 and 1); the efficient forms are derived here.

    Examples
    --------
    >>> start, target = [np.eye(2), np.eye(2)], np.diag([4.0, 9.0])
    >>> rule = CurvatureCorrection(power=0.5)
    >>> first, second = matrix_flow(rule, start, target, np.array([0.0, 30.0]))
    >>> np.round(first[-1], 8) + 0.0
    array([[2., 0.],
           [0., 3.]])
    """
    chain = as_matrices("weights", weights)
    widths = np.array([chain[0].shape[1], *(matrix.shape[0] for matrix in chain)])
    target = _check_target("target", target, int(widths[-1]), int(widths[0]))
    times = as_times("times", times)
    rtol = as_number("rtol", rtol, low=1e-14, high=1e-2)
    inputs = int(widths[0])
    root, input_rank = np.eye(inputs), inputs
    if input_covariance is not None:
        root, input_rank = _covariance_root(input_covariance, inputs)
    if rule.blocks == "layer" and rule.power > 0.5 and not rule.damping > 0.0:
        _check_layer_start(chain, root, input_rank)
        if input_rank == inputs:
            _check_blow_up(rule, chain, target, float(times[-1]))
    start = np.concatenate([matrix.ravel() for matrix in chain])
    problem = kernels.Problem(
        _kind(rule),
        widths,
        target,
        rule.power,
        rule.damping,
        rule.prefactor(len(chain)),
        input_covariance is None,
        root,
    )
    states, outcome, reached = stepper.integrate(problem, start, times, rtol, stepper.STEP_BUDGET)
    _check_finished(outcome, reached, float(times[-1]))
    cuts = np.cumsum([matrix.size for matrix in chain])[:-1]
    return [
        part.reshape(times.size, *matrix.shape)
        for part, matrix in zip(np.split(states, cuts, axis=1), chain, strict=True)
    ]
