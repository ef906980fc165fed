"""Time along a piece of a mode's curve: Chebyshev panels, summed, and inverted for the outputs.

The variable is logarithmic, x = ln y on a FAR piece and x = ln of the distance to the end
point on a NEAR one, which keeps the integrand dt/dx free of sharp features.
"""

from __future__ import annotations

import numpy as np

from deeplinear._path_kernels import PAIR, Curve, compiled, partner, root, stretch, stretch_near

DONE = 0
BLOW_UP = 1
SINGULAR_START = 2
OUT_OF_RANGE = 3
NOT_CONVERGED = 4

FAR = 0
NEAR = 1

NODES = 16
RANGE = 50.0
"""Largest ratio of the integrand's values inside one panel."""
NARROWEST = 1e-7
"""Panels this narrow are taken as they are: only rounding can make them fail."""
SMALLEST = 1e-290
"""Products of squared weights below this, or above its inverse, are refused."""


def _panel_matrices() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes on [-1, 1] and values there -> Chebyshev coefficients of the antiderivative."""
    # angles as whole numbers of pi / (2 NODES), reduced exactly: rounding would fill the tail
    odd = 2 * np.arange(NODES)[::-1] + 1
    nodes = np.cos(odd * (0.5 * np.pi / NODES))
    turns = np.outer(np.arange(NODES), odd) % (4 * NODES)
    series = np.vstack([np.cos(turns * (0.5 * np.pi / NODES)), np.zeros((2, NODES))]) * (2 / NODES)
    integral = np.zeros((NODES + 1, NODES))
    for k in range(1, NODES + 1):
        integral[k] = (series[k - 1] - series[k + 1]) / (2.0 * k)
    integral[0] = -((-1.0) ** np.arange(1, NODES + 1)) @ integral[1:]
    # one row a node: the kernel's inner loop then runs over coefficients and vectorises
    return nodes, np.ascontiguousarray(integral.T)


_X, _ANTIDERIVATIVE = _panel_matrices()


@compiled
def in_range(value: float) -> bool:
    """Tell whether a product of squares is neither underflowing nor overflowing."""
    return SMALLEST <= value <= 1.0 / SMALLEST


@compiled
def write_row(
    curve: Curve, signs: np.ndarray, side: float, y: float, rows: np.ndarray, j: int
) -> None:
    """Write the weights at y; the weight that crosses 0, of offset zero, takes the side's sign."""
    offsets = curve.offsets
    if curve.model == PAIR:
        small = 0 if offsets[0] == 0.0 else 1
        rows[j, small] = signs[small] * side * np.sqrt(y)
        rows[j, 1 - small] = signs[1 - small] * np.sqrt(partner(curve, y))
        return
    for i in range(offsets.size):
        size = signs[i] * root(curve, y + offsets[i])
        rows[j, i] = size * side if offsets[i] == 0.0 else size


@compiled
def _at(coefficients: np.ndarray, x: float) -> tuple[float, float]:
    """Return a Chebyshev series and its derivative by Clenshaw's recurrence."""
    ahead = 0.0
    further = 0.0
    slope = 0.0
    slope_further = 0.0
    for k in range(NODES, 0, -1):
        slope, slope_further = 2.0 * (ahead + x * slope) - slope_further, slope
        ahead, further = coefficients[k] + 2.0 * x * ahead - further, ahead
    return coefficients[0] + x * ahead - further, ahead + x * slope - slope_further


@compiled
def _invert(integral: np.ndarray, whole: float, goal: float) -> float:
    """Return x in [-1, 1] where the series, 0 at -1 and whole at 1, is goal."""
    low = -1.0
    high = 1.0
    x = 2.0 * goal / whole - 1.0
    for _ in range(60):
        value, slope = _at(integral, x)
        if value > goal:
            high = min(high, x)
        else:
            low = max(low, x)
        new = x - (value - goal) / slope
        if not (low <= new <= high):
            new = 0.5 * (low + high)
        # Newton squares the error, so the next step would be at rounding
        done = abs(new - x) <= 1e-8
        x = new
        if done:
            break
    return x


@compiled
def march(
    curve: Curve,
    piece: int,
    side: float,
    target: float,
    end: float,
    start: float,
    stop: float,
    clock: float,
    tolerance: float,
    times: np.ndarray,
    j: int,
    signs: np.ndarray,
    rows: np.ndarray,
) -> tuple[float, int]:
    """Run over one FAR or NEAR piece, write the rows in it, return the time at its end."""
    # NEAR: end is the end point, and target has the sign of end - y; a piece stops early
    # when no times are left to write, unless there were none to begin with
    integrand = np.empty(NODES)
    integral = np.empty(NODES + 1)
    cap = 12.0 if piece == NEAR else min(6.0, 30.0 / curve.offsets.size)
    x = start
    direction = 1.0 if stop > start else -1.0
    width = min(cap, 1.5)
    sign = 1.0 if target >= 0.0 else -1.0
    for _ in range(200000):
        left = abs(stop - x)
        if left == 0.0 or (times.size > 0 and j == times.size):
            return clock, j
        last = width >= 0.999 * left
        if last:
            width = left
        low = np.inf
        high = 0.0
        for n in range(NODES):
            y = np.exp(x + direction * width * 0.5 * (_X[n] + 1.0))
            if piece == NEAR:
                value = stretch_near(curve, abs(target), end, sign * y)
            else:
                value = stretch(curve, side, target, y)
            integrand[n] = value
            low = min(low, value)
            high = max(high, value)
        if not (np.isfinite(high) and low > 0.0):
            return np.nan, j
        if high > RANGE * low and width > NARROWEST:
            width *= max(0.2, 0.95 * np.log(RANGE) / np.log(high / low))
            continue
        integral[:] = 0.0
        for n in range(NODES):
            for k in range(NODES + 1):
                integral[k] += _ANTIDERIVATIVE[n, k] * integrand[n]
        # the integrand's own last two coefficients
        tail = 2.0 * (NODES * abs(integral[NODES]) + (NODES - 1) * abs(integral[NODES - 1]))
        # the last coefficients shrink about as width**15
        growth = 0.9 * (tolerance * high / max(tail, 1e-18 * high)) ** (1.0 / 15.0)
        if tail > tolerance * high and width > NARROWEST:
            width *= min(0.8, max(0.2, growth))
            continue
        half = 0.5 * width
        whole = _at(integral, 1.0)[0]
        spent = half * whole
        while j < times.size and times[j] <= clock + spent:
            place = _invert(integral, whole, (times[j] - clock) / half)
            y = np.exp(x + direction * half * (place + 1.0))
            if piece == NEAR:
                y = end - sign * y
            write_row(curve, signs, side, y, rows, j)
            j += 1
        clock += spent
        x = stop if last else x + direction * width
        width = min(width * min(2.0, max(0.7, growth)), cap)
    return np.nan, j
