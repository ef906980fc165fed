r"""The family of curvature-corrected learning rules, as one frozen object.

A deep linear network :math:`\bar W = W_d \cdots W_1` with whitened inputs has
the loss :math:`L = \tfrac12 \|\bar W - W^*\|_F^2`. Writing
:math:`\Delta = \bar W - W^*`, :math:`A_i = W_d \cdots W_{i+1}`,
:math:`B_i = W_{i-1} \cdots W_1` and :math:`J` for the Jacobian of
:math:`\operatorname{vec}\bar W`, every rule of this room is a power of the
Gauss-Newton curvature :math:`H = J^\top J` applied to the gradient. The
derivations are in ``docs/derivations/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from theory._types import Matrix, Vector
from theory.checks import as_number, one_of

__all__ = [
    "BlowUpError",
    "CurvatureCorrection",
    "matrix_velocity",
    "mode_velocity",
    "partial_products",
]

RANK_TOLERANCE = 1e-12
"""Singular values of a Jacobian below this fraction of the largest count as zero."""


class BlowUpError(ValueError):
    """A flow whose speed diverges before the time that was asked for.

    Parameters
    ----------
    message : str
        What blew up and what to do about it.
    time : float
        The time at which it does, in units of 1 / learning rate.

    Attributes
    ----------
    time : float
        The time of the blow-up, in units of 1 / learning rate.
    """

    def __init__(self, message: str, time: float) -> None:
        super().__init__(message)
        self.time = time


@dataclass(frozen=True, slots=True)
class CurvatureCorrection:
    r"""A learning rule: gradient times an inverse power of the curvature.

    **Equation.** With :math:`g` the gradient, :math:`q` the power,
    :math:`\varepsilon` the damping and :math:`\kappa` the scale,
    :math:`\dot\theta = -\kappa\,(H + \varepsilon)^{-q} g` where :math:`H` is the
    whole Gauss-Newton matrix (``blocks="full"``) or its diagonal blocks, one a
    layer (``blocks="layer"``). Powers of a singular matrix are pseudo-inverse
    powers when the damping is zero.

    **Shapes and units.** Damping has the units of the curvature, the square of a
    product of d - 1 weights; time is learning rate x steps.

    Parameters
    ----------
    power : float
        q in [0, 1]: 0 is gradient descent, 1/2 the square-root rule, 1 natural
        gradient descent (with ``blocks="layer"``: the K-FAC structure).
    blocks : {"full", "layer"}
        Which part of the curvature is inverted.
    damping : float
        Levenberg-Marquardt damping, >= 0, added to the curvature.
    scale : float or None
        Prefactor, > 0. None means 1 for ``"full"`` and ``1 / d**power`` for
        ``"layer"``, which makes both rules equal on balanced paths. Undamped
        K-FAC is ``scale=1``.

    Raises
    ------
    ValueError
        If a field lies outside its range.

    References
    ----------
    Huh (2020), PMLR 119, 4552-4560 (powers 0, 1/2 and 1); the continuous family
    is this project's definition.

    Examples
    --------
    >>> natural = CurvatureCorrection(power=1.0)
    >>> natural.prefactor(depth=3)
    1.0
    >>> CurvatureCorrection(power=1.0, blocks="layer").prefactor(depth=4)
    0.25
    >>> CurvatureCorrection(damping=-1.0)
    Traceback (most recent call last):
    ...
    ValueError: damping = -1.0: must be a finite number in [0, inf)
    """

    power: float = 0.5
    blocks: Literal["full", "layer"] = "full"
    damping: float = 0.0
    scale: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "power", as_number("power", self.power, low=0.0, high=1.0))
        one_of("blocks", self.blocks, ("full", "layer"))
        object.__setattr__(self, "damping", as_number("damping", self.damping, low=0.0))
        if self.scale is not None:
            scale = as_number("scale", self.scale, low=0.0, open_low=True)
            object.__setattr__(self, "scale", scale)

    def prefactor(self, depth: int) -> float:
        """Return the scale in force for a network of this depth.

        Parameters
        ----------
        depth : int
            Number of weight layers, d.

        Returns
        -------
        float
            ``scale`` if given, else 1 (full) or ``d**-power`` (layer).
        """
        if self.scale is not None:
            return self.scale
        return 1.0 if self.blocks == "full" else float(depth) ** -self.power


def _products_of_others(weights: Vector) -> Vector:
    """Return p_i, the product of all weights but the i-th, exact at zeros."""
    before = np.concatenate(([1.0], np.cumprod(weights[:-1])))
    after = np.concatenate((np.cumprod(weights[:0:-1])[::-1], [1.0]))
    others: Vector = before * after
    return others


def mode_velocity(rule: CurvatureCorrection, weights: Vector, target: float) -> Vector:
    r"""Velocity of one decoupled mode: the defining right-hand side, for checks.

    **Equation.** With :math:`u = \prod_i w_i`, :math:`p_i = \prod_{j \ne i} w_j`,
    :math:`S = \sum_i p_i^2`: full rules
    :math:`\dot w_i = \kappa\,p_i (S + \varepsilon)^{-q} (s - u)`, layer rules
    :math:`\dot w_i = \kappa\,p_i (p_i^2 + \varepsilon)^{-q} (s - u)`; a zero
    curvature gives no update (pseudo-inverse).

    **Shapes and units.** (layer,) in and out; time in 1 / learning rate.

    Parameters
    ----------
    rule : CurvatureCorrection
        The learning rule.
    weights : Vector
        w_i, shape (layer,), input side first.
    target : float
        s, the mode's singular value in the target.

    Returns
    -------
    Vector
        dw/dt, shape (layer,).

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120 (power 0);
    Huh (2020), PMLR 119 (powers 1/2 and 1).

    Examples
    --------
    >>> mode_velocity(CurvatureCorrection(power=0.0), np.array([0.5, 2.0]), 3.0)
    array([4., 1.])
    """
    others = _products_of_others(weights)
    curvature = others**2
    if rule.blocks == "full":
        curvature = np.full_like(others, curvature.sum())
    curvature = curvature + rule.damping
    safe = np.where(curvature > 0, curvature, 1.0)
    factor = np.where(curvature > 0, safe**-rule.power, 0.0)
    error = target - np.prod(weights)
    velocity: Vector = rule.prefactor(len(weights)) * others * factor * error
    return velocity


def partial_products(weights: Sequence[Matrix]) -> tuple[list[Matrix], list[Matrix]]:
    r"""Products of the layers after and before each layer.

    **Equation.** :math:`A_i = W_d \cdots W_{i+1}`, :math:`B_i = W_{i-1} \cdots W_1`
    with empty products equal to the identity, so that
    :math:`\bar W = A_i W_i B_i` for every i.

    **Shapes and units.** A_i (n_d, n_i), B_i (n_{i-1}, n_0).

    Parameters
    ----------
    weights : sequence of Matrix
        W_1 ... W_d, input side first.

    Returns
    -------
    after : list of Matrix
        A_1 ... A_d.
    before : list of Matrix
        B_1 ... B_d.

    Examples
    --------
    >>> after, before = partial_products([2 * np.eye(1), 3 * np.eye(1)])
    >>> after[0].item(), before[1].item()
    (3.0, 2.0)
    """
    before = [np.eye(weights[0].shape[1])]
    for matrix in weights[:-1]:
        before.append(matrix @ before[-1])
    after = [np.eye(weights[-1].shape[0])]
    for matrix in reversed(weights[1:]):
        after.append(after[-1] @ matrix)
    return after[::-1], before


def _corrected(jacobian: Matrix, error: Vector, rule: CurvatureCorrection) -> Vector:
    """Return (J'J + damping)**-power J' error from the SVD of the Jacobian J."""
    left, values, right = np.linalg.svd(jacobian, full_matrices=False)
    keep = values > RANK_TOLERANCE * max(values[0], np.finfo(np.float64).tiny)
    values = values[keep]
    gains = values * (values**2 + rule.damping) ** -rule.power
    corrected: Vector = right[keep].T @ (gains * (left[:, keep].T @ error))
    return corrected


def matrix_velocity(
    rule: CurvatureCorrection,
    weights: Sequence[Matrix],
    target: Matrix,
    input_root: Matrix | None = None,
) -> list[Matrix]:
    r"""Velocity of the weight matrices: the defining right-hand side, for checks.

    **Equation.** :math:`J_i = (B_i \Sigma^{1/2})^\top \otimes A_i` (column-major
    vec), :math:`\dot\theta = -\kappa (J^\top J + \varepsilon)^{-q} J^\top
    \operatorname{vec}(\Delta\Sigma^{1/2})` for full rules and the same block by
    block for layer rules. It forms the Jacobian, so it suits small networks; the
    flow of :func:`deeplinear.matrix_flow` uses faster, equal expressions.

    **Shapes and units.** W_i (n_i, n_{i-1}), target (n_d, n_0), input_root
    (n_0, n_0), a symmetric square root of the input covariance.

    Parameters
    ----------
    rule : CurvatureCorrection
        The learning rule.
    weights : sequence of Matrix
        W_1 ... W_d, input side first.
    target : Matrix
        W*.
    input_root : Matrix or None
        :math:`\Sigma^{1/2}`; None for whitened inputs.

    Returns
    -------
    list of Matrix
        dW_i/dt.

    References
    ----------
    Huh (2020), PMLR 119, 4552-4560; Bernacchia, Lengyel & Hennequin (2018), NeurIPS.

    Examples
    --------
    >>> rule = CurvatureCorrection(power=1.0)
    >>> velocity = matrix_velocity(rule, [np.eye(2), np.eye(2)], 3 * np.eye(2))
    >>> (velocity[0].round(12) + 0.0).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    after, before = partial_products(weights)
    root = np.eye(weights[0].shape[1]) if input_root is None else input_root
    blocks = [np.kron((b @ root).T, a) for a, b in zip(after, before, strict=True)]
    error = ((after[0] @ weights[0] - target) @ root).reshape(-1, order="F")
    if rule.blocks == "full":
        flat = _corrected(np.hstack(blocks), error, rule)
    else:
        flat = np.concatenate([_corrected(block, error, rule) for block in blocks])
    scale = rule.prefactor(len(weights))
    cuts = np.cumsum([matrix.size for matrix in weights])[:-1]
    return [
        -scale * part.reshape(matrix.shape, order="F")
        for part, matrix in zip(np.split(flat, cuts), weights, strict=True)
    ]
