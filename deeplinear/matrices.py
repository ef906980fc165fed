r"""Closed matrix solutions of natural gradient flow, for networks without aligned modes.

Under the undamped natural gradient the map of a network runs straight to its
target; under the layer-block rule (the K-FAC structure) so do, in a sense made
precise below, the layers. Both are exact for starts that share no singular
vectors with the target. The derivations are in ``docs/derivations/``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg
from jaxtyping import Float
from numpy import ndarray

from deeplinear.rules import RANK_TOLERANCE, BlowUpError, partial_products
from theory._types import Matrix, Vector
from theory.checks import as_matrices, as_matrix, as_number, as_times

__all__ = ["blow_up_time", "layer_natural_gradient_weights", "natural_gradient_map"]

SPECTRUM_TOLERANCE = 1e-12
"""Eigenvalues, or imaginary parts, below this fraction of the matrix count as zero."""

WORST_EIGENBASIS = 1e4
"""Eigenvector matrices with a larger condition number are replaced by a Schur form."""


def _check_target(name: str, target: Matrix, outputs: int, inputs: int) -> Matrix:
    """Return the target as a matrix of the shape of the network's map."""
    matrix = as_matrix(name, target)
    if matrix.shape != (outputs, inputs):
        raise ValueError(
            f"{name} has shape {matrix.shape}: must be {(outputs, inputs)}, the shape of the map"
        )
    return matrix


def _relative_target(weights: list[Matrix], target: Matrix) -> Matrix:
    """Return Wb(0)^{-1} W*, after checking that the map is square and invertible."""
    inputs, outputs = weights[0].shape[1], weights[-1].shape[0]
    if inputs != outputs:
        raise ValueError(
            f"weights map {inputs} inputs to {outputs} outputs: the layer-block solution"
            " needs a square map"
        )
    _, before = partial_products(weights)
    product = weights[-1] @ before[-1]
    values = np.linalg.svd(product, compute_uv=False)
    if values[-1] <= RANK_TOLERANCE * values[0]:
        raise ValueError(
            f"weights have a singular product (singular values {values[0]:.3g} to"
            f" {values[-1]:.3g}): the layer-block solution needs an invertible one"
        )
    relative: Matrix = np.linalg.solve(product, _check_target("target", target, outputs, inputs))
    return relative


def _prefactor(scale: float | None, depth: int) -> float:
    """Return the layer rule's scale: as given, or 1 / depth."""
    return 1.0 / depth if scale is None else as_number("scale", scale, low=0.0, open_low=True)


def natural_gradient_map(
    start: Matrix, target: Matrix, times: Vector
) -> Float[ndarray, "time out in"]:
    r"""Map of a network under undamped natural gradient flow: a straight chord.

    **Equation.** :math:`\bar W(t) = W^* + (\bar W(0) - W^*) e^{-t}`, for any start
    whose tangent kernel has full rank (aligned or not, balanced or not, whitened
    inputs or not). The layer-block rule with scale :math:`\kappa` follows the same
    chord in the time :math:`\kappa d\,t`.

    **Shapes and units.** start and target (out, in); times in 1 / learning rate.

    Parameters
    ----------
    start : Matrix
        Wb(0), the product of the layers at time zero.
    target : Matrix
        W*.
    times : Vector
        Output times, sorted.

    Returns
    -------
    Float[ndarray, "time out in"]
        Wb(t).

    Raises
    ------
    ValueError
        If shapes differ or times are not sorted.

    References
    ----------
    Huh (2020), PMLR 119, 4552-4560, and Bernacchia, Lengyel & Hennequin (2018),
    NeurIPS, for the rule; the chord in this form is derived here.

    Examples
    --------
    >>> half = np.array([0.0, np.log(2.0)])
    >>> natural_gradient_map(np.zeros((1, 1)), np.ones((1, 1)), half).ravel()
    array([0. , 0.5])
    """
    start = as_matrix("start", start)
    target = _check_target("target", target, *start.shape)
    elapsed = as_times("times", times)[:, None, None]
    chord: Float[ndarray, "time out in"] = start * np.exp(-elapsed) - target * np.expm1(-elapsed)
    return chord


def blow_up_time(weights: Sequence[Matrix], target: Matrix, scale: float | None = None) -> float:
    r"""Time at which undamped layer-block natural gradient flow becomes singular.

    **Equation.** The eigenvalues of :math:`X(t) = \bar W(0)^{-1} \bar W(t)` are
    :math:`e^{-\kappa d t} + (1 - e^{-\kappa d t})\mu` with :math:`\mu` those of
    :math:`\bar W(0)^{-1} W^*`. A real :math:`\mu < 0` makes the map singular at
    :math:`t^* = \ln(1 + 1/|\mu|) / (\kappa d)`, where the layers next to a hidden
    layer as narrow as the map move infinitely fast. Infinity is returned when no
    :math:`\mu` is negative, when there is one layer only, and when every hidden
    layer is wider than the map: the last holds for generic starts, whose
    spare units are in use.

    **Shapes and units.** W_i (n_i, n_{i-1}) with n_d = n_0, target (n_0, n_0);
    the result is in units of 1 / learning rate.

    Parameters
    ----------
    weights : sequence of Matrix
        W_1 ... W_d at time zero, input side first.
    target : Matrix
        W*.
    scale : float or None
        Prefactor kappa of the rule; None means 1 / d. Undamped K-FAC is 1.

    Returns
    -------
    float
        The time of the first singularity, infinity if there is none.

    Raises
    ------
    ValueError
        If the product of the weights is not square or not invertible.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> round(blow_up_time([np.eye(2), np.eye(2)], np.diag([1.0, -0.5])), 12)  # ln 3
    1.098612288668
    >>> blow_up_time([np.eye(2), np.eye(2)], np.diag([1.0, 0.5]))
    inf
    """
    chain = as_matrices("weights", weights)
    relative = _relative_target(chain, target)
    depth = len(chain)
    kappa = _prefactor(scale, depth)
    if depth == 1 or min(matrix.shape[0] for matrix in chain[:-1]) > relative.shape[0]:
        return float(np.inf)
    spectrum = np.linalg.eigvals(relative)
    zero = SPECTRUM_TOLERANCE * float(np.linalg.norm(relative))
    negative = spectrum.real[(np.abs(spectrum.imag) <= zero) & (spectrum.real < -zero)]
    if negative.size == 0:
        return float(np.inf)
    return float(np.log1p(1.0 / np.abs(negative).max()) / (kappa * depth))


def _from_eigenbasis(
    products: list[Matrix], relative: Matrix, elapsed: Vector
) -> list[Float[ndarray, "time out in"]] | None:
    """Return the layers from the eigenvectors of M, None if those are ill-conditioned."""
    depth = len(products) - 1
    spectrum, vectors = np.linalg.eig(relative)
    if np.linalg.cond(vectors) > WORST_EIGENBASIS:
        return None
    fraction = np.exp(-elapsed)[:, None]
    roots = (fraction - np.expm1(-elapsed)[:, None] * spectrum + 0j) ** (1.0 / depth)
    size = relative.shape[0]
    layers = []
    for i in range(depth):
        # right division by products[i] @ vectors, for all times at once
        scaled = (products[i + 1] @ vectors)[None] * roots[:, None, :]
        divisor = (products[i] @ vectors).T
        rows = np.linalg.solve(divisor, scaled.reshape(-1, size).T).T
        layers.append(np.ascontiguousarray(rows.reshape(scaled.shape).real))
    return layers


def _from_schur(
    products: list[Matrix], relative: Matrix, elapsed: Vector
) -> list[Float[ndarray, "time out in"]]:
    """Return the layers from the root of the triangular factor, for defective M."""
    depth = len(products) - 1
    triangle, basis = scipy.linalg.schur(relative.astype(complex), output="complex")
    identity = np.eye(relative.shape[0])
    layers = [np.empty((elapsed.size, *relative.shape)) for _ in range(depth)]
    for k, time in enumerate(elapsed):
        factor = np.exp(-time) * identity - np.expm1(-time) * triangle
        root = basis @ scipy.linalg.fractional_matrix_power(factor, 1.0 / depth) @ basis.conj().T
        for i in range(depth):
            scaled = products[i + 1] @ root.real
            layers[i][k] = np.linalg.solve(products[i].T, scaled.T).T
    return layers


def layer_natural_gradient_weights(
    weights: Sequence[Matrix],
    target: Matrix,
    times: Vector,
    scale: float | None = None,
) -> list[Float[ndarray, "time out in"]]:
    r"""Layers of a square network under undamped layer-block natural gradient flow.

    **Equation.** With :math:`X(t) = e^{-\kappa d t} I + (1 - e^{-\kappa d t})
    \bar W(0)^{-1} W^*` and its principal root, :math:`W_i(t) = [W_i \cdots W_1](0)
    \, X(t)^{1/d}\, [W_{i-1} \cdots W_1](0)^{-1}`: every layer contributes the same
    share, with no alignment assumed and at any depth.

    **Shapes and units.** W_i (n, n), target (n, n); times in 1 / learning rate.

    Parameters
    ----------
    weights : sequence of Matrix
        W_1 ... W_d at time zero, square and invertible, input side first.
    target : Matrix
        W*.
    times : Vector
        Output times, sorted.
    scale : float or None
        Prefactor kappa of the rule; None means 1 / d. Undamped K-FAC is 1.

    Returns
    -------
    list of Float[ndarray, "time out in"]
        W_i(t), one array a layer.

    Raises
    ------
    ValueError
        If a layer is not square or not invertible.
    BlowUpError
        If a time lies at or beyond the singularity (:func:`blow_up_time`).

    References
    ----------
    Derived here; the rule is that of Bernacchia, Lengyel & Hennequin (2018),
    NeurIPS, at ``scale=None``.

    Examples
    --------
    >>> start, target = [np.eye(1), np.eye(1)], np.array([[4.0]])
    >>> [w[-1].item() for w in layer_natural_gradient_weights(start, target, np.array([50.0]))]
    [2.0, 2.0]
    """
    chain = as_matrices("weights", weights)
    for i, matrix in enumerate(chain):
        if matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"weights[{i}] has shape {matrix.shape}: every layer must be square")
    elapsed = as_times("times", times)
    singular = blow_up_time(chain, target, scale)
    if elapsed[-1] >= singular:
        raise BlowUpError(
            f"times[-1] = {elapsed[-1]}: the layers become singular at t = {singular:.6g};"
            " ask for earlier times, add damping or a spare hidden unit",
            singular,
        )
    depth = len(chain)
    relative = _relative_target(chain, target)
    _, before = partial_products(chain)
    products = [*before, chain[-1] @ before[-1]]
    clock = _prefactor(scale, depth) * depth * elapsed
    layers = _from_eigenbasis(products, relative, clock)
    return _from_schur(products, relative, clock) if layers is None else layers
