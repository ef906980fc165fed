"""Numba kernels of the matrix flows: one adaptive stepper."""

from __future__ import annotations

import numpy as np
from scipy.integrate import DOP853

from deeplinear._matrix_kernels import (
    BALANCED_MAP,
    SMALLEST,
    Array,
    Problem,
    unpacked,
    velocity,
)
from deeplinear._path_kernels import compiled

FINISHED, COLLAPSED, EXHAUSTED = 0, 1, 2
STEP_BUDGET = 200_000

_STAGES = DOP853.n_stages
_A = np.ascontiguousarray(DOP853.A[:_STAGES, :_STAGES])
_B = np.ascontiguousarray(DOP853.B)
_E3 = np.ascontiguousarray(DOP853.E3)
_E5 = np.ascontiguousarray(DOP853.E5)
_EPSILON = float(np.finfo(np.float64).eps)
_NOISE = 32 * _EPSILON
"""Local errors below this fraction of the weights are rounding, which no smaller step removes."""
_CRAWL, _PATIENCE = 1e-8, 1000
"""So many steps in a row, each below that fraction of the time reached, lead nowhere."""


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
    for layer in unpacked(state, problem.widths):
        size = _root_mean_square(layer.ravel())
        if size > 0:
            least = min(least, size)
    return least


@compiled
def _copy(values: Array, out: Array) -> None:
    """Write flat values into memory of their size."""
    for i in range(out.size):
        out[i] = values[i]


@compiled
def _is_finite(values: Array) -> bool:
    """Tell whether all values are finite."""
    finite = True
    for value in values:
        finite = finite and bool(np.isfinite(value))
    return finite


@compiled
def _advance(
    state: Array, step: float, stages: Array, weights: Array, count: int, out: Array
) -> None:
    """Write state + step * sum of weighted stages."""
    _copy(state, out)
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
    blend = fifth / np.sqrt((fifth + 0.01 * third) * stages.shape[1] + SMALLEST)
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
        reference = max(_root_mean_square(problem.target.ravel()), SMALLEST)
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
                finite = _is_finite(trial)
                if not finite:
                    break
                velocity(problem, trial, stages[s])
            error = np.inf
            if finite:
                tolerance = max(rtol * reference, _NOISE * _root_mean_square(trial), SMALLEST)
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
            _copy(stages[_STAGES], stages[0])
            reference = min(reference, _smallest_layer(problem, state))
        _copy(state, states[index])
    return states, FINISHED, time
