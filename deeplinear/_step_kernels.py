"""The damped layer rule at depth >= 3, which keeps no curve: steps of order 8 with error control.

Dormand and Prince's pair 8(5, 3), its coefficients taken from ``scipy.integrate.DOP853``;
steps end on the output times, so no interpolation enters.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import DOP853

from deeplinear._panel_kernels import DONE, NOT_CONVERGED
from deeplinear._path_kernels import compiled, raised

_STAGES = int(DOP853.n_stages)
_A = np.ascontiguousarray(DOP853.A[:_STAGES, :_STAGES])
_B = np.ascontiguousarray(DOP853.B)
_E3 = np.ascontiguousarray(DOP853.E3)
_E5 = np.ascontiguousarray(DOP853.E5)

MOST_STEPS = 1_000_000
FLOOR = 1e-8
"""Weights below this share of the largest start are known to this share of the tolerance."""


@compiled
def _slope(
    power: float,
    damping: float,
    scale: float,
    target: float,
    by_product: bool,
    state: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write d(weights)/dt, or d(weights, t)/du when the product u is the independent variable."""
    depth = state.size - 1
    u = 1.0
    for i in range(depth):
        u *= state[i]
    total = 0.0
    for i in range(depth):
        others = 1.0
        for k in range(depth):
            if k != i:
                others *= state[k]
        out[i] = others / raised(others**2 + damping, power)
        total += others * out[i]
    factor = 1.0 / total if by_product else scale * (target - u)
    for i in range(depth):
        out[i] *= factor
    out[depth] = 1.0 / (scale * total * (target - u)) if by_product else 1.0


@compiled
def _settled(state: np.ndarray, target: float) -> int:
    """Tell where the flow is linear (1: close to the target) or at rest to rounding (2)."""
    depth = state.size - 1
    u = 1.0
    largest = 0.0
    for i in range(depth):
        u *= state[i]
        largest = max(largest, abs(state[i]))
    if target != 0.0 and abs(target - u) <= 1e-9 * abs(target):
        return 1
    vanished = 0
    for i in range(depth):
        vanished += abs(state[i]) <= 1e-18 * largest
    # one weight gone is the end for a zero target; two gone are a saddle reached together
    return 2 if vanished >= 2 or (vanished == 1 and target == 0.0) else 0


@compiled
def _advance(
    power: float,
    damping: float,
    scale: float,
    target: float,
    by_product: bool,
    state: np.ndarray,
    here: float,
    there: float,
    width: float,
    rtol: float,
) -> tuple[float, float]:
    """Carry the state towards there, until it settles; return where it is and the step."""
    # a step of 0 says that the tolerance could not be met
    size = state.size
    slopes = np.empty((_STAGES + 1, size))
    trial = np.empty(size)
    direction = 1.0 if there > here else -1.0
    left = abs(there - here)
    largest = np.abs(state[: size - 1]).max()
    _slope(power, damping, scale, target, by_product, state, slopes[0])
    if width <= 0.0:
        speed = np.abs(slopes[0, : size - 1]).max()
        width = 1e-3 * largest / speed if speed > 0.0 else abs(there - here)
    for _ in range(MOST_STEPS):
        if left <= 0.0 or (not by_product and _settled(state, target) > 0):
            return there - direction * left, width
        last = width >= 0.9999 * left
        h = direction * (left if last else width)
        for s in range(1, _STAGES):
            for i in range(size):
                total = 0.0
                for r in range(s):
                    total += _A[s, r] * slopes[r, i]
                trial[i] = state[i] + h * total
            _slope(power, damping, scale, target, by_product, trial, slopes[s])
        for i in range(size):
            total = 0.0
            for r in range(_STAGES):
                total += _B[r] * slopes[r, i]
            trial[i] = state[i] + h * total
        _slope(power, damping, scale, target, by_product, trial, slopes[_STAGES])
        fifth = 0.0
        third = 0.0
        for i in range(size):
            floor = FLOOR * largest if i < size - 1 else 0.0
            bound = rtol * max(abs(state[i]), abs(trial[i]), floor)
            five = 0.0
            three = 0.0
            for r in range(_STAGES + 1):
                five += _E5[r] * slopes[r, i]
                three += _E3[r] * slopes[r, i]
            fifth += (five / bound) ** 2 if bound > 0.0 else 0.0
            third += (three / bound) ** 2 if bound > 0.0 else 0.0
        error = abs(h) * fifth / np.sqrt(max((fifth + 0.01 * third) * size, 1e-300))
        if not np.isfinite(error):
            width = 0.1 * abs(h)
            continue
        growth = 10.0 if error == 0.0 else min(10.0, max(0.2, 0.9 * error**-0.125))
        if error <= 1.0:
            # what is left is kept, not where we are: steps may be finer than the clock's digits
            left = 0.0 if last else left - abs(h)
            for i in range(size):
                state[i] = trial[i]
                slopes[0, i] = slopes[_STAGES, i]
            if not last or growth < 1.0:
                width = abs(h) * growth
        else:
            width = abs(h) * min(1.0, growth)
    return there - direction * left, 0.0


@compiled
def step_through(
    power: float,
    damping: float,
    scale: float,
    weights: np.ndarray,
    target: float,
    rtol: float,
    times: np.ndarray,
    rows: np.ndarray,
    stop: float,
) -> tuple[int, float]:
    """Fill the rows, or without times return when the product reaches ``stop``."""
    depth = weights.size
    state = np.zeros(depth + 1)
    state[:depth] = weights
    if times.size == 0:
        u = 1.0
        for i in range(depth):
            u *= weights[i]
        _, width = _advance(power, damping, scale, target, True, state, u, stop, 0.0, rtol)
        return (DONE if width > 0.0 else NOT_CONVERGED), state[depth]
    here = 0.0
    width = 0.0
    settled = _settled(state, target)
    slope = np.zeros(depth + 1)
    for j in range(times.size):
        if settled == 0 and times[j] > here:
            here, width = _advance(
                power, damping, scale, target, False, state, here, times[j], width, rtol
            )
            if width == 0.0:
                return NOT_CONVERGED, here
            settled = _settled(state, target)
        rows[j] = state[:depth]
        if settled == 1:
            _slope(power, damping, scale, target, False, state, slope)
            u = 1.0
            for i in range(depth):
                u *= state[i]
            decay = 0.0
            for i in range(depth):
                decay += slope[i] * u / state[i] / (target - u) if target != u else 0.0
            if decay > 0.0:
                rows[j] += slope[:depth] * (-np.expm1(-decay * (times[j] - here)) / decay)
    return DONE, here
