"""Numba kernels of the matrix flows: right-hand sides and one adaptive stepper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.integrate import DOP853

from deeplinear.rules import RANK_TOLERANCE

Array: TypeAlias = NDArray[np.float64]
Widths: TypeAlias = NDArray[np.int64]
Triple: TypeAlias = tuple[Array, Array, Array]

Function = TypeVar("Function", bound=Callable[..., Any])

GRADIENT, FULL, LAYER, BALANCED_MAP = 0, 1, 2, 3
FINISHED, COLLAPSED, EXHAUSTED = 0, 1, 2
STEP_BUDGET = 200_000

_STAGES = DOP853.n_stages
_A = np.ascontiguousarray(DOP853.A[:_STAGES, :_STAGES])
_B = np.ascontiguousarray(DOP853.B)
_E3 = np.ascontiguousarray(DOP853.E3)
_E5 = np.ascontiguousarray(DOP853.E5)
_SMALLEST = float(np.finfo(np.float64).tiny)
_EPSILON = float(np.finfo(np.float64).eps)
_NOISE = 32 * _EPSILON
"""Local errors below this fraction of the weights are rounding, which no smaller step removes."""
_CRAWL, _PATIENCE = 1e-8, 1000
"""So many steps in a row, each below that fraction of the time reached, lead nowhere."""


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


def compiled(function: Function) -> Function:
    """Compile a kernel with numba and keep it on disk."""
    return cast("Function", numba.njit(cache=True)(function))


@compiled
def _decompose(matrix: Array, full: bool) -> Triple:
    """Return the singular value decomposition."""
    return np.linalg.svd(matrix, full)


@compiled
def _padded(values: Array, length: int) -> Array:
    """Return the values followed by zeros."""
    longer = np.zeros(length)
    longer[: values.size] = values
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
def _unpack(state: Array, widths: Widths) -> list[Array]:
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
        start = stop - layers[i].size
        update = signal @ before[i].T if i > 0 else signal
        out[start:stop] = -scale * np.ascontiguousarray(update).ravel()
        signal = layers[i].T @ signal
        stop = start


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
        floor = RANK_TOLERANCE * max(np.hypot(outer[0], inner[0]), _SMALLEST)
        for a in range(rotated.shape[0]):
            for b in range(rotated.shape[1]):
                value = np.hypot(outer[a], inner[b])
                rotated[a, b] *= _inverse_power(problem, value, floor)
        return left @ (rotated @ right)
    # Sigma and R W_1'W_1 R do not commute: one small decomposition for each output direction
    root = problem.root
    inputs = root.shape[0]
    stacked = np.empty((inputs + layers[0].shape[0], inputs))
    stacked[inputs:] = layers[0] @ root
    values = np.empty((outer.size, inputs))
    vectors = np.empty((outer.size, inputs, inputs))
    for a in range(outer.size):
        stacked[:inputs] = outer[a] * root
        _, values[a], vectors[a] = _decompose(stacked, False)
    floor = RANK_TOLERANCE * max(values.max(), _SMALLEST)
    for a in range(outer.size):
        parts = vectors[a] @ rotated[a]
        for c in range(inputs):
            parts[c] *= _inverse_power(problem, values[a, c], floor)
        rotated[a] = vectors[a].T @ parts
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
    floor = RANK_TOLERANCE * max(values[0], _SMALLEST)
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
        floor = RANK_TOLERANCE * max(outer[0] * inner[0], _SMALLEST)
        for a in range(outer.size):
            for b in range(inner.size):
                value = outer[a] * inner[b]
                parts[a, b] *= value * _inverse_power(problem, value, floor)
        update = (left_in.T @ parts) @ right_out.T
        stop = start + layers[i].size
        out[start:stop] = -problem.scale * np.ascontiguousarray(update).ravel()
        start = stop


@compiled
def _balanced_map(problem: Problem, product: Array, out: Array) -> None:
    """Write the velocity of the map of a balanced network of this depth."""
    depth = problem.widths.size - 1
    left, values, right = _decompose(product, True)
    roots = values ** (2.0 / depth)
    rows, columns = _padded(roots, left.shape[0]), _padded(roots, right.shape[0])
    parts = (left.T @ (product - problem.target)) @ right.T
    floor = RANK_TOLERANCE * max(np.sqrt(depth * roots[0] ** (depth - 1)), _SMALLEST)
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
    out[:] = (left @ (parts @ right)).ravel()


@compiled
def velocity(problem: Problem, state: Array, out: Array) -> None:
    """Write the time derivative of the flat state."""
    if problem.kind == BALANCED_MAP:
        _balanced_map(problem, state.reshape(problem.target.shape), out)
        return
    layers = _unpack(state, problem.widths)
    before = _products_before(layers)
    error = before[-1] - problem.target
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


@compiled
def _root_mean_square(values: Array) -> float:
    """Return the root mean square."""
    total = 0.0
    for value in values:
        total += value * value
    return float(np.sqrt(total / values.size))


@compiled
def _smallest_layer(problem: Problem, state: Array) -> float:
    """Return the least nonzero root mean square of a layer, infinity if there is none."""
    if problem.kind == BALANCED_MAP:
        size = _root_mean_square(state)
        return size if size > 0 else np.inf
    least = np.inf
    for layer in _unpack(state, problem.widths):
        size = _root_mean_square(layer.ravel())
        if size > 0:
            least = min(least, size)
    return least


@compiled
def _advance(
    state: Array, step: float, stages: Array, weights: Array, count: int, out: Array
) -> None:
    """Write state + step * sum of weighted stages."""
    out[:] = state
    for j in range(count):
        if abs(weights[j]) > 0.0:
            factor = step * weights[j]
            stage = stages[j]
            for i in range(out.size):
                out[i] += factor * stage[i]


@compiled
def _relative_error(stages: Array, step: float, tolerance: float) -> float:
    """Return the local error of a step over the tolerance (Hairer's blend of orders 5 and 3)."""
    fifth = 0.0
    third = 0.0
    for i in range(stages.shape[1]):
        a = 0.0
        b = 0.0
        for j in range(stages.shape[0]):
            a += _E5[j] * stages[j, i]
            b += _E3[j] * stages[j, i]
        fifth += a * a
        third += b * b
    blend = fifth / np.sqrt((fifth + 0.01 * third) * stages.shape[1] + _SMALLEST)
    return float(step * blend / tolerance)


@compiled
def integrate(
    problem: Problem, start: Array, times: Array, rtol: float, budget: int
) -> tuple[Array, int, float]:
    """Return Dormand-Prince 8(5,3) states at the output times, the outcome and the time reached."""
    states = np.empty((times.size, start.size))
    stages = np.empty((_STAGES + 1, start.size))
    state, trial = start.copy(), np.empty(start.size)
    velocity(problem, state, stages[0])
    reference = _smallest_layer(problem, state)
    if not np.isfinite(reference):
        reference = max(_root_mean_square(problem.target.ravel()), _SMALLEST)
    time, taken, crawling = 0.0, 0, 0
    speed = _root_mean_square(stages[0])
    step = 0.01 * reference / speed if speed > 0 else np.inf
    for index in range(times.size):
        while time < times[index]:
            if taken == budget:
                return states, EXHAUSTED, time
            taken += 1
            remaining = times[index] - time
            landing = step * 1.01 >= remaining
            length = remaining if landing else step
            # close to a singularity the local error stays large however small the step; where
            # the velocity points at a discontinuity from both sides, steps stay tiny for ever
            crawling = crawling + 1 if not landing and length < _CRAWL * time else 0
            if crawling > _PATIENCE or (not landing and length <= 4 * _EPSILON * time):
                return states, COLLAPSED, time
            finite = True
            for s in range(1, _STAGES + 1):
                if s < _STAGES:
                    _advance(state, length, stages, _A[s], s, trial)
                else:
                    _advance(state, length, stages, _B, _STAGES, trial)
                finite = bool(np.isfinite(trial).all())
                if not finite:
                    break
                velocity(problem, trial, stages[s])
            error = np.inf
            if finite:
                tolerance = max(rtol * reference, _NOISE * _root_mean_square(trial), _SMALLEST)
                error = _relative_error(stages, length, tolerance)
            # written so that an error that is not a number counts as too large
            if not error <= 1.0:
                step = length * max(0.1, 0.9 * error**-0.125) if error < np.inf else 0.1 * length
                if step <= 0.0:
                    return states, COLLAPSED, time
                continue
            growth = min(5.0, max(0.2, 0.9 * max(error, 1e-12) ** -0.125))
            step = max(step, length * growth) if landing else length * growth
            time = times[index] if landing else time + length
            state, trial = trial, state
            stages[0] = stages[_STAGES]
            reference = min(reference, _smallest_layer(problem, state))
        states[index] = state
    return states, FINISHED, time
