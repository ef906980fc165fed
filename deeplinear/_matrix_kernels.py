"""Numba kernels of the matrix flows: their right-hand sides."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deeplinear._path_kernels import compiled
from deeplinear.rules import RANK_TOLERANCE

Array: TypeAlias = NDArray[np.float64]
Widths: TypeAlias = NDArray[np.int64]
Triple: TypeAlias = tuple[Array, Array, Array]

GRADIENT, FULL, LAYER, BALANCED_MAP = 0, 1, 2, 3

SMALLEST = float(np.finfo(np.float64).tiny)


class Problem(NamedTuple):
    """What a velocity depends on besides the weights; ``widths`` are n_0 ... n_d."""

    kind: int
    widths: Widths
    target: Array
    power: float
    damping: float
    scale: float
    whitened: bool
    root: Array


@compiled
def _decompose(matrix: Array, full: bool) -> Triple:
    """Return the singular value decomposition."""
    return np.linalg.svd(matrix, full)


@compiled
def _write(matrix: Array, factor: float, start: int, out: Array) -> int:
    """Write factor times a matrix's entries into a flat array; return where they end."""
    # loops, here and below: an assignment to a slice takes numba seconds to compile
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            out[start] = factor * matrix[i, j]
            start += 1
    return start


@compiled
def _difference(one: Array, other: Array) -> Array:
    """Return the difference of two matrices."""
    found = np.empty(one.shape)
    for i in range(one.shape[0]):
        for j in range(one.shape[1]):
            found[i, j] = one[i, j] - other[i, j]
    return found


@compiled
def _padded(values: Array, length: int) -> Array:
    """Return the values followed by zeros."""
    longer = np.zeros(length)
    for i in range(values.size):
        longer[i] = values[i]
    return longer


@compiled
def _inverse_power(problem: Problem, value: float, floor: float) -> float:
    """Return (value**2 + damping)**-power for a singular value, 0 at or below the floor."""
    if value <= floor:
        return 0.0
    if problem.damping > 0.0:
        return float((value * value + problem.damping) ** -problem.power)
    return float(value ** (-2.0 * problem.power))


@compiled
def unpacked(state: Array, widths: Widths) -> list[Array]:
    """Return the weight matrices W_1 ... W_d as views of the flat state."""
    layers = []
    start = 0
    for i in range(widths.size - 1):
        stop = start + widths[i + 1] * widths[i]
        layers.append(state[start:stop].reshape(widths[i + 1], widths[i]))
        start = stop
    return layers


@compiled
def _products_before(layers: list[Array]) -> list[Array]:
    """Return B_1 ... B_{d+1}; the last is the whole map."""
    before = [np.eye(layers[0].shape[1]), layers[0].copy()]
    for i in range(1, len(layers)):
        before.append(layers[i] @ before[i])
    return before


@compiled
def _products_after(layers: list[Array]) -> list[Array]:
    """Return A_d ... A_1, in that order."""
    after = [np.eye(layers[-1].shape[0])]
    for i in range(len(layers) - 1, 0, -1):
        after.append(after[-1] @ layers[i])
    return after


@compiled
def _backpropagate(
    layers: list[Array], before: list[Array], signal: Array, scale: float, out: Array
) -> None:
    """Write -scale A_i' signal B_i' for every layer."""
    stop = out.size
    for i in range(len(layers) - 1, -1, -1):
        stop -= layers[i].size
        update = signal @ before[i].T if i > 0 else signal
        _write(update, -scale, stop, out)
        signal = layers[i].T @ signal


@compiled
def _solve_two_layers(problem: Problem, layers: list[Array], error: Array) -> Array:
    """Return (K + damping)**-power [error] for d = 2, diagonal in the output basis of W_2."""
    left, outer, _ = _decompose(layers[1], True)
    outer = _padded(outer, left.shape[0])
    rotated = left.T @ error
    if problem.whitened:
        _, inner, right = _decompose(layers[0], True)
        inner = _padded(inner, right.shape[0])
        rotated = rotated @ right.T
        floor = RANK_TOLERANCE * max(np.hypot(outer[0], inner[0]), SMALLEST)
        for a in range(rotated.shape[0]):
            for b in range(rotated.shape[1]):
                value = np.hypot(outer[a], inner[b])
                rotated[a, b] *= _inverse_power(problem, value, floor)
        return left @ (rotated @ right)
    # Sigma and R W_1'W_1 R do not commute: one small decomposition for each output direction
    root = problem.root
    inputs = root.shape[0]
    stacked = np.empty((inputs + layers[0].shape[0], inputs))
    inner_map = layers[0] @ root
    for b in range(inner_map.shape[0]):
        for c in range(inputs):
            stacked[inputs + b, c] = inner_map[b, c]
    values, vectors = [], []
    largest = 0.0
    for a in range(outer.size):
        for b in range(inputs):
            for c in range(inputs):
                stacked[b, c] = outer[a] * root[b, c]
        _, found, right = _decompose(stacked, False)
        largest = max(largest, found[0])
        values.append(found)
        vectors.append(right)
    floor = RANK_TOLERANCE * max(largest, SMALLEST)
    for a in range(outer.size):
        parts = vectors[a] @ rotated[a]
        for c in range(inputs):
            parts[c] *= _inverse_power(problem, values[a][c], floor)
        turned = vectors[a].T @ parts
        for c in range(inputs):
            rotated[a, c] = turned[c]
    return left @ rotated


@compiled
def _solve_deep(problem: Problem, layers: list[Array], before: list[Array], error: Array) -> Array:
    """Return (K + damping)**-power [error] for any depth from the SVD of the Jacobian."""
    depth = len(layers)
    after = _products_after(layers)
    outputs, inputs = error.shape
    size = 0
    for layer in layers:
        size += layer.size
    jacobian = np.empty((size, outputs * inputs))
    row = 0
    for i in range(depth):
        left, right = after[depth - 1 - i], before[i] @ problem.root
        for a in range(left.shape[1]):
            for b in range(right.shape[0]):
                for o in range(outputs):
                    for j in range(inputs):
                        jacobian[row, o * inputs + j] = left[o, a] * right[b, j]
                row += 1
    _, values, vectors = _decompose(jacobian, False)
    floor = RANK_TOLERANCE * max(values[0], SMALLEST)
    parts = vectors @ np.ascontiguousarray(error).ravel()
    for c in range(values.size):
        parts[c] *= _inverse_power(problem, values[c], floor)
    return (vectors.T @ parts).reshape(outputs, inputs)


@compiled
def _layer_rule(
    problem: Problem, layers: list[Array], before: list[Array], error: Array, out: Array
) -> None:
    """Write the layer-block velocity from the SVDs of A_i and B_i Sigma**(1/2)."""
    depth = len(layers)
    after = _products_after(layers)
    start = 0
    for i in range(depth):
        left, outer, left_in = _decompose(after[depth - 1 - i], False)
        right_out, inner, right = _decompose(before[i] @ problem.root, False)
        parts = (left.T @ error) @ right.T
        floor = RANK_TOLERANCE * max(outer[0] * inner[0], SMALLEST)
        for a in range(outer.size):
            for b in range(inner.size):
                value = outer[a] * inner[b]
                parts[a, b] *= value * _inverse_power(problem, value, floor)
        start = _write((left_in.T @ parts) @ right_out.T, -problem.scale, start, out)


@compiled
def _balanced_map(problem: Problem, product: Array, out: Array) -> None:
    """Write the velocity of the map of a balanced network of this depth."""
    depth = problem.widths.size - 1
    left, values, right = _decompose(product, True)
    roots = values ** (2.0 / depth)
    rows, columns = _padded(roots, left.shape[0]), _padded(roots, right.shape[0])
    parts = (left.T @ _difference(product, problem.target)) @ right.T
    floor = RANK_TOLERANCE * max(np.sqrt(depth * roots[0] ** (depth - 1)), SMALLEST)
    for a in range(rows.size):
        for b in range(columns.size):
            # a sum of positive terms: no cancellation where singular values coincide
            curvature = 1.0
            other = 1.0
            for _ in range(depth - 1):
                other *= columns[b]
                curvature = curvature * rows[a] + other
            if problem.power > 0:
                curvature *= _inverse_power(problem, np.sqrt(curvature), floor)
            parts[a, b] *= -problem.scale * curvature
    _write(left @ (parts @ right), 1.0, 0, out)


@compiled
def velocity(problem: Problem, state: Array, out: Array) -> None:
    """Write the time derivative of the flat state."""
    if problem.kind == BALANCED_MAP:
        _balanced_map(problem, state.reshape(problem.target.shape), out)
        return
    layers = unpacked(state, problem.widths)
    before = _products_before(layers)
    error = _difference(before[-1], problem.target)
    if not problem.whitened:
        error = error @ problem.root
    if problem.kind == LAYER:
        _layer_rule(problem, layers, before, error, out)
        return
    if problem.kind == FULL:
        if len(layers) == 2:
            error = _solve_two_layers(problem, layers, error)
        else:
            error = _solve_deep(problem, layers, before, error)
    if not problem.whitened:
        error = error @ problem.root
    _backpropagate(layers, before, error, problem.scale, out)
