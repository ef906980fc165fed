r"""Quantities that a learning rule conserves, for modes and for whole matrices.

Full rules keep the balance of adjacent layers whatever their power and damping;
layer rules keep other functions of the layers, and at depth three or more, with
damping, none of this kind. See ``docs/derivations/`` for the derivations.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from deeplinear.rules import RANK_TOLERANCE, CurvatureCorrection
from theory._types import Matrix, Vector
from theory.checks import as_matrices, as_vector

__all__ = ["invariants"]


def invariants(
    rule: CurvatureCorrection, weights: Sequence[Matrix] | Vector
) -> list[Matrix] | list[float] | Vector:
    r"""Conserved differences between each layer and the one before it.

    **Equation.** Full rules, any power and damping: :math:`D_i = W_{i+1}^\top
    W_{i+1} - W_i W_i^\top`. Layer rules with power q and damping
    :math:`\varepsilon`, :math:`G_+ = W_{i+1}^\top W_{i+1} + \varepsilon` and
    :math:`G_- = W_i W_i^\top + \varepsilon`: :math:`\operatorname{tr} G_+^{1-q} -
    \operatorname{tr} G_-^{1-q}`, for q = 1 :math:`\log\det G_+ - \log\det G_-`
    (pseudo-determinants where undamped and singular), at depth 2 for any widths and
    alignment with whitened inputs; at greater depth only for q = 0, and for q = 1
    with undamped square layers. Modes: the same with scalars for matrices, at any
    depth while undamped.

    **Shapes and units.** One value an adjacent pair of layers, next minus this.

    Parameters
    ----------
    rule : CurvatureCorrection
        The learning rule.
    weights : sequence of Matrix, or Vector
        W_1 ... W_d, or the weights w_1 ... w_d of one decoupled mode.

    Returns
    -------
    list of Matrix, list of float, or Vector
        Matrices D_1 ... D_{d-1} for full rules, floats for layer rules, and for a
        mode a vector of shape (d - 1,).

    Raises
    ------
    ValueError
        If the rule conserves no such quantity, or a logarithm of zero is asked for.

    References
    ----------
    Power 0: Saxe, McClelland & Ganguli (2014), arXiv:1312.6120; conservation by
    full rules: Huh (2020), PMLR 119; the laws of layer rules are derived here.

    Examples
    --------
    >>> invariants(CurvatureCorrection(0.5, "layer"), np.array([0.5, 0.1, 0.7])).round(12)
    array([-0.4, 0.6])
    >>> invariants(CurvatureCorrection(1.0), [np.eye(1), 2 * np.eye(1)])
    [array([[3.]])]
    """
    if isinstance(weights, np.ndarray) and weights.ndim == 1:
        return _of_mode(rule, as_vector("weights", weights))
    chain = as_matrices("weights", list(weights))
    if rule.blocks == "full":
        return [after.T @ after - before @ before.T for before, after in pairwise(chain)]
    return _of_layers(rule, chain)


def _of_mode(rule: CurvatureCorrection, weights: Vector) -> Vector:
    """Return the differences of a decoupled mode."""
    power, damping = rule.power, rule.damping
    if rule.blocks == "full" or power == 0:
        power, damping = 0.0, 0.0
    elif damping > 0 and len(weights) > 2:
        raise ValueError(_no_law(rule, len(weights)))
    values = weights**2 + damping
    if power < 1:
        conserved: Vector = np.diff(values ** (1 - power))
        return conserved
    if not values.all():
        where = int(np.flatnonzero(values == 0)[0])
        raise ValueError(
            f"weights[{where}] = 0: the conserved ratio of undamped layer-block natural gradient"
            " needs weights other than 0"
        )
    ratios: Vector = np.diff(np.log(values))
    return ratios


def _of_layers(rule: CurvatureCorrection, chain: list[Matrix]) -> list[float]:
    """Return the differences of whole layers under a layer rule."""
    depth, power = len(chain), rule.power
    square = all(matrix.shape == chain[0].shape[:1] * 2 for matrix in chain)
    if depth > 2 and power > 0 and (rule.damping > 0 or power < 1 or not square):
        raise ValueError(_no_law(rule, depth))
    values = []
    for before, after in pairwise(chain):
        # both Gram matrices have the width of the hidden layer between
        parts = [_spectral_sum(matrix, len(before), rule, depth > 2) for matrix in (before, after)]
        values.append(parts[1] - parts[0])
    return values


def _spectral_sum(matrix: Matrix, width: int, rule: CurvatureCorrection, deep: bool) -> float:
    """Return tr G^(1-q) or log det G for the damped Gram matrix G of one layer."""
    singular = np.linalg.svd(matrix, compute_uv=False)
    eigenvalues = np.zeros(width)
    eigenvalues[: min(len(singular), width)] = singular[:width] ** 2
    damping = rule.damping if rule.power > 0 else 0.0
    if rule.power < 1:
        return float(np.sum((eigenvalues + damping) ** (1 - rule.power)))
    if damping == 0:
        kept = eigenvalues[eigenvalues > RANK_TOLERANCE**2 * eigenvalues[0]]
        if not kept.size or (deep and kept.size < width):
            raise ValueError(
                f"weights: a layer of shape {matrix.shape} has rank {kept.size}; the conserved"
                " log-determinant of undamped layer-block natural gradient needs more, add damping"
            )
        eigenvalues = kept
    return float(np.sum(np.log(eigenvalues + damping)))


def _no_law(rule: CurvatureCorrection, depth: int) -> str:
    """Say why nothing is conserved."""
    return (
        f"rule = {rule} at depth {depth}: no pairwise law exists; layer rules keep one at depth 2,"
        " for decoupled modes while undamped, for power 0, and for power 1 with undamped square"
        " layers"
    )
