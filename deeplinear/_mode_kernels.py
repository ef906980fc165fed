"""One decoupled mode under any rule: closed forms where they exist, else its curve or steps.

``run_mode`` is what :mod:`deeplinear.modes`, :mod:`deeplinear.times` and
:mod:`deeplinear.sweep` share; ``run_modes`` runs many modes in parallel, each computed by
one thread alone, so that the result does not depend on their number.
"""

from __future__ import annotations

from functools import partial

import numba
import numpy as np

from deeplinear._follow_kernels import follow
from deeplinear._panel_kernels import (
    BLOW_UP,
    DONE,
    NOT_CONVERGED,
    OUT_OF_RANGE,
    SINGULAR_START,
    in_range,
    write_row,
)
from deeplinear._path_kernels import (
    FULL,
    LAYER,
    PAIR,
    Curve,
    compiled,
    pair_gap,
    power_difference,
    solve_product,
)
from deeplinear._step_kernels import step_through

__all__ = ["BLOW_UP", "DONE", "NOT_CONVERGED", "OUT_OF_RANGE", "SINGULAR_START", "run_modes"]


@compiled
def _log_ratio(target: float, u: float, stop: float) -> float:
    """Return ln((target - u) / (target - stop))."""
    return float(np.log1p((stop - u) / (target - stop)))


@compiled
def _gradient_pair(
    a: float, b: float, target: float, time: float, scale: float, out: np.ndarray
) -> None:
    """Write gradient descent's state at depth 2 from magnitudes a >= b, any sign of the target."""
    c = (a - b) * (a + b)
    k = np.hypot(c, 2.0 * target)
    root_decay = np.exp(-0.5 * k * scale * time)
    decay = root_decay**2
    gone = -np.expm1(-k * scale * time)
    spent = gone / k if k > 0.0 else scale * time
    tilt = c / k if k > 0.0 else 0.0
    co_tilt = (2.0 * target / k) ** 2 / (1.0 + tilt) if k > 0.0 else 1.0
    cosine = np.sqrt(0.5 * (1.0 + tilt))
    sine = np.sqrt(0.5 * co_tilt)
    norm = a * a + b * b
    if target >= 0.0:
        growing = a * cosine + b * sine
        fading = b * cosine - a * sine
        first = 0.5 * a * ((1.0 + tilt) + decay * co_tilt) + target * spent * b
        second = 0.5 * b * (co_tilt + decay * (1.0 + tilt)) + target * spent * a
    else:
        fading = a * sine + b * cosine
        # a cosine - b sine without cancellation near the balanced line, which runs into the saddle
        growing = 0.5 * c * (1.0 + (norm / k)) / (a * cosine + b * sine)
        first = growing * cosine + fading * decay * sine
        second = -growing * sine + fading * decay * cosine
    grown = np.hypot(root_decay * np.sqrt(1.0 + fading**2 * spent), growing * np.sqrt(spent))
    if grown == 0.0:
        # exactly balanced, wrong sign, and so late that the distance to the saddle underflows
        out[0] = 0.0
        out[1] = 0.0
    else:
        out[0] = first / grown
        out[1] = second / grown


@compiled
def _pair_bracket(c: float, k: float, target: float, u: float, norm: float) -> float:
    """Return c^2 + 4 target u + k norm >= 0 without cancellation."""
    low = c * c + 4.0 * target * u
    if low >= 0.0:
        return low + k * norm
    return (2.0 * c * (target - u)) ** 2 / (k * norm - low)


@compiled
def _gradient_pair_time(a: float, b: float, target: float, u: float, stop: float) -> float:
    """Return gradient descent's time from product u >= 0 to stop at depth 2."""
    c = (a - b) * (a + b)
    k = np.hypot(c, 2.0 * target)
    if k == 0.0:
        return (u - stop) / (2.0 * u * stop)
    if c == 0.0 and target < 0.0:
        return float(np.log(u * (stop - target) / (stop * (u - target))) / k)
    norm = a * a + b * b
    norm_stop = np.hypot(c, 2.0 * stop)
    start = _pair_bracket(c, k, target, u, norm)
    if target <= 0.0:
        end = _pair_bracket(c, k, target, stop, norm_stop)
        return float((np.log(end / start) + _log_ratio(target, u, stop)) / k)
    change = 4.0 * (stop - u) * (target + k * (stop + u) / (norm + norm_stop))
    return float((np.log1p(change / start) + _log_ratio(target, u, stop)) / k)


@compiled
def _straight_pair(z: float, delta: float, target: float, time: float) -> float:
    """Return the smaller weight of dz/dt = target - z (z + delta), target > 0, after a time."""
    half = 0.5 * delta
    k = np.hypot(half, np.sqrt(target))
    bent = np.tanh(k * time)
    return float((z * (k - half * bent) + target * bent) / (k + (z + half) * bent))


@compiled
def _straight_pair_time(z: float, delta: float, target: float, u: float, stop: float) -> float:
    """Return the time in which the product of a straight pair goes from u to stop."""
    half = 0.5 * delta
    top = half + np.hypot(half, np.sqrt(target))
    z_stop = stop / (half + np.hypot(half, np.sqrt(stop)))
    step = (stop - u) / (z + z_stop + delta)
    rest = (target - stop) / (z_stop + top)
    return float((np.log1p(step / (z + top)) + np.log1p(step / rest)) / (2.0 * top - delta))


@compiled
def _natural(
    curve: Curve,
    signs: np.ndarray,
    target: float,
    u: float,
    times: np.ndarray,
    rows: np.ndarray,
) -> int:
    """Write natural gradient descent's rows: the product runs along a chord."""
    ties = 0
    for offset in curve.offsets:
        ties += offset == 0.0
    for j in range(times.size):
        gone = -np.expm1(-curve.scale * times[j])
        here = u * np.exp(-curve.scale * times[j]) + target * gone
        value = here * here
        if value > 0.0 and not in_range(value) and (ties > 1 or value > 1.0):
            return OUT_OF_RANGE
        y = solve_product(curve, value) if in_range(value) else 0.0
        write_row(curve, signs, 1.0 if here >= 0.0 else -1.0, y, rows, j)
    return DONE


@compiled
def run_mode(
    power: float,
    full: bool,
    damping: float,
    scale: float,
    weights: np.ndarray,
    target: float,
    tolerance: float,
    rtol: float,
    times: np.ndarray,
    rows: np.ndarray,
    stop: float,
) -> tuple[int, float]:
    """Fill the rows of one mode, or without times return when its product reaches ``stop``."""
    # stop lies strictly between the product of the weights and the target; the number
    # beside the status is that time, or the blow-up's
    depth = weights.size
    reach = times.size == 0
    signs = np.ones(depth)
    sizes = np.abs(weights)
    zeros = 0
    small = 0
    parity = 1.0
    for i in range(depth):
        if weights[i] < 0.0:
            signs[i] = -1.0
            parity = -parity
        zeros += weights[i] == 0.0
        if sizes[i] < sizes[small]:
            small = i
    if zeros > 0 and parity * target < 0.0:
        signs[small] = -signs[small]
        parity = -parity
    target *= parity
    stop *= parity
    u = 1.0
    for i in range(depth):
        u *= sizes[i]
    if power == 0.0:
        full = True
        damping = 0.0
    if depth == 1:
        pace = scale * (1.0 + damping) ** -power
        if reach:
            return DONE, _log_ratio(target, u, stop) / pace
        for j in range(times.size):
            gone = -np.expm1(-pace * times[j])
            rows[j, 0] = signs[0] * (u * np.exp(-pace * times[j]) + target * gone)
        return DONE, 0.0
    layer = not full and damping == 0.0
    if layer and power > 0.5 and zeros > 0:
        return SINGULAR_START, 0.0
    if zeros >= 2 or target == u:
        for j in range(times.size):
            rows[j] = weights
        return DONE, np.inf
    if u == 0.0 and zeros == 0 and target == 0.0:
        return OUT_OF_RANGE, np.nan
    if not full and damping > 0.0 and depth > 2:
        ties = 0
        for i in range(depth):
            ties += sizes[i] == sizes[small]
        if reach and target < 0.0 and stop <= 0.0 and ties > 1:
            return DONE, np.inf
        return step_through(
            power, damping, scale, weights, parity * target, rtol, times, rows, parity * stop
        )
    if layer and power == 1.0:
        pace = scale * depth
        if u == 0.0:
            return OUT_OF_RANGE, np.nan
        blow_up = np.log1p(u / -target) / pace if target < 0.0 else np.inf
        if reach:
            if stop < 0.0:
                return BLOW_UP, blow_up
            return DONE, _log_ratio(target, u, stop) / pace
        if times[-1] > blow_up:
            return BLOW_UP, blow_up
        for j in range(times.size):
            gone = -np.expm1(-pace * times[j])
            grown = np.exp(-pace * times[j]) + (target / u) * gone
            rows[j] = weights * max(grown, 0.0) ** (1.0 / depth)
        return DONE, 0.0

    exponent = 2.0 - 2.0 * power if layer else 2.0
    offsets = np.zeros(depth)
    gap = 0.0
    if not full and damping > 0.0:
        model = PAIR
        # a marker for the larger weight; equal weights keep the first as the smaller one
        offsets[1 - small] = 1.0
        gap = pair_gap(sizes[1 - small], sizes[small], power, damping)
    else:
        model = LAYER if layer else FULL
        for i in range(depth):
            offsets[i] = power_difference(sizes[i], sizes[small], exponent)
    curve = Curve(model, power, damping, scale, exponent, offsets, gap)
    tied = 0
    for i in range(depth):
        tied += sizes[i] == sizes[small]

    if power == 0.0 and depth == 2:
        if reach:
            if tied == 2 and stop <= 0.0:
                return DONE, np.inf
            large = 1 - small
            return DONE, _gradient_pair_time(sizes[large], sizes[small], target, u, stop) / scale
        pair = np.empty(2)
        large = 1 - small
        for j in range(times.size):
            _gradient_pair(sizes[large], sizes[small], target, times[j], scale, pair)
            rows[j, large] = signs[large] * pair[0]
            rows[j, small] = signs[small] * pair[1]
        return DONE, 0.0
    if power == 1.0 and full and damping == 0.0 and target != 0.0:
        blow_up = np.inf
        if target < 0.0 and tied > 1:
            blow_up = np.log1p(u / -target) / scale
        if reach:
            if stop < 0.0 and blow_up < np.inf:
                return BLOW_UP, blow_up
            return DONE, _log_ratio(target, u, stop) / scale
        if times[-1] > blow_up:
            return BLOW_UP, blow_up
        return _natural(curve, signs, target, u, times, rows), 0.0
    straight = power == 0.5 and damping == 0.0 and depth == 2 and target > 0.0
    if straight and (layer or tied == 2):
        # a balanced full pair moves at 1/sqrt(2) of the layer pair's speed
        pace = scale if layer else scale / np.sqrt(2.0)
        delta = sizes[1 - small] - sizes[small]
        if reach:
            return DONE, _straight_pair_time(sizes[small], delta, target, u, stop) / pace
        for j in range(times.size):
            z = _straight_pair(sizes[small], delta, target, pace * times[j])
            rows[j, small] = signs[small] * z
            rows[j, 1 - small] = signs[1 - small] * (z + delta)
        return DONE, 0.0
    return follow(curve, sizes[small], signs, target, tolerance, times, rows, stop)


@partial(compiled, parallel=True)
def run_modes(
    power: float,
    full: bool,
    damping: float,
    scale: float,
    weights: np.ndarray,
    target: np.ndarray,
    tolerance: float,
    rtol: float,
    times: np.ndarray,
    rows: np.ndarray,
    statuses: np.ndarray,
    moments: np.ndarray,
) -> None:
    """Fill the rows (set, time, layer) of many modes, and what became of each."""
    for k in numba.prange(weights.shape[0]):
        status, moment = run_mode(
            power,
            full,
            damping,
            scale,
            weights[k],
            target[k],
            tolerance,
            rtol,
            times,
            rows[k],
            np.nan,
        )
        statuses[k] = status
        moments[k] = moment
