"""Time along a mode's curve: Chebyshev panels, summed, and inverted for the output times.

The curve is cut into pieces whose logarithmic variable keeps the integrand dt/dx free of
sharp features: FAR (x = ln y), NEAR (x = ln of the distance to the end point), LINE (the
crossing of w_k = 0 at constant speed, so short that the speed is constant to 1e-13) and
TAIL (the last approach to w_k = 0 as a power law, exact to the same order).
"""

from __future__ import annotations

import numpy as np

from deeplinear._path_kernels import (
    LAYER,
    PAIR,
    Curve,
    compiled,
    partner,
    product,
    root,
    solve_product,
    solve_shift,
    stretch,
    stretch_near,
)

DONE = 0
BLOW_UP = 1
SINGULAR_START = 2
OUT_OF_RANGE = 3
NOT_CONVERGED = 4

FAR = 0
NEAR = 1
LINE = 2
TAIL = 3

NODES = 16
RANGE = 50.0
"""Largest ratio of the integrand's values inside one panel."""
NARROWEST = 1e-7
"""Panels this narrow are taken as they are: only rounding can make them fail."""
SMALLEST = 1e-290
"""Products of squared weights below this, or above its inverse, are refused."""
BELOW = 0.4
ABOVE = 3.0
"""Where FAR gives way to NEAR, in end points: midway between the singularities of both."""
FLAT = 1e-3
"""The approach is exponential once the distance is this share of the tolerance."""


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
    """Write the weights at y; the weight that crosses 0, with offset zero, takes the side's sign."""
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
    """Run over one FAR or NEAR piece, write the rows that fall in it, return the time at its end.

    In a NEAR piece ``end`` is the end point, with the sign of (end - y) in ``target``.
    Without times left to write the piece stops early, unless it had none to begin with.
    """
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
        if not np.isfinite(high) or not np.isfinite(low):
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


@compiled
def _small_y(curve: Curve, target: float, ties: int, precision: float) -> float:
    """Return a y below which the curve is a straight power law in y, to a relative precision."""
    p = curve.exponent
    small = np.inf
    rest = 1.0
    if curve.model == PAIR:
        small = curve.damping
        if ties == 1:
            rest = partner(curve, 0.0)
            small = min(small, rest)
    else:
        for offset in curve.offsets:
            if offset > 0.0:
                small = min(small, offset)
                rest *= offset
        if curve.damping > 0.0 and ties > 1:
            small = min(small, (curve.damping / (ties * rest)) ** (1.0 / (ties - 1.0)))
    small *= precision
    if target != 0.0:
        # u moves by the square of this share of the target, so its square root may be kept
        share = abs(target) * (np.sqrt(precision) * 1e-3 if ties == 1 else precision)
        small = min(small, (share**p / rest) ** (1.0 / ties))
    return float(small)


@compiled
def follow(
    curve: Curve,
    start: float,
    signs: np.ndarray,
    target: float,
    tolerance: float,
    times: np.ndarray,
    rows: np.ndarray,
    stop: float,
) -> tuple[int, float]:
    """Fill the rows, or without times return when the product reaches ``stop``.

    ``start`` is the smallest magnitude. Signs are such that the product starts >= 0, and
    a negative target asks for a change of sign. ``stop`` lies ahead on the way to the target
    or at it; inf is returned where the mode gets stuck before.
    """
    p = curve.exponent
    reach = times.size == 0
    ties = 0
    for offset in curve.offsets:
        ties += offset == 0.0
    if curve.model == PAIR:
        ties = 2 if curve.gap == 0.0 else 1
    y = start**p
    value = product(curve, y)
    u = root(curve, value)
    clock = 0.0
    j = 0
    side = 1.0
    size = abs(target)
    ending = 0.0
    shift = 0.0
    if target > 0.0:
        if 0.25 * target < u < 4.0 * target:
            shift = solve_shift(curve, y, np.log1p((target - u) / u))
            ending = y + shift
        else:
            ending = solve_product(curve, size**p)
    elif target < 0.0:
        ending = solve_product(curve, size**p)
    y_stop = 0.0
    if reach and stop != 0.0:
        y_stop = solve_product(curve, abs(stop) ** p)
    stays = target <= 0.0 and (ties > 1 or target == 0.0)
    small = 0.0
    if stays or target < 0.0 or (ties == 1 and y < BELOW * ending):
        small = _small_y(curve, target, ties, 1e-17 if stays else 1e-13)
    lost = value < SMALLEST and (stays or ties > 1 or y > small)
    if lost or value > 1.0 / SMALLEST or (target != 0.0 and not in_range(size**p)):
        return OUT_OF_RANGE, np.nan

    if target <= 0.0 and y > small:
        singular = not stays and curve.model == LAYER and curve.power > 0.5
        low = max(small, y * 1e-20**p) if singular else small
        inside = reach and stop > 0.0 and y_stop >= low
        x_end = np.log(y_stop if inside else low)
        clock, j = march(
            curve, FAR, 1.0, target, 0.0, np.log(y), x_end, clock, tolerance, times, j, signs, rows
        )
        if inside or (not reach and j == times.size) or np.isnan(clock):
            return (NOT_CONVERGED if np.isnan(clock) else DONE), clock
        y = low
        start = root(curve, y)

    if stays:
        spread = stretch(curve, 1.0, target, y)
        steepness = (ties - 1.0) * (1.0 - 2.0 * curve.power)
        if curve.damping > 0.0:
            steepness = ties - 1.0
        if target == 0.0:
            steepness += ties
        excess = (steepness - 1.0) / p
        extinction = clock - spread / excess if excess < 0.0 else np.inf
        diverges = excess < 0.0 and steepness < 0.0
        if reach:
            if stop > 0.0 and y_stop < y:
                fold = np.log(y / y_stop)
                gain = fold if excess == 0.0 else np.expm1(excess * fold) / excess
                return DONE, clock + spread * gain
            if stop == 0.0 and target != 0.0:
                return DONE, extinction
            return (BLOW_UP if diverges else DONE), extinction if diverges else np.inf
        while j < times.size:
            if times[j] > extinction:
                if diverges:
                    return BLOW_UP, extinction
                write_row(curve, signs, 1.0, 0.0, rows, j)
            else:
                ratio = (times[j] - clock) / spread
                if excess != 0.0:
                    ratio = np.log1p(max(excess * ratio, -1.0 + 1e-300)) / excess
                write_row(curve, signs, 1.0, y * np.exp(-ratio), rows, j)
            j += 1
        return DONE, clock

    if target < 0.0 or (small > 0.0 and y <= small):
        goal = root(curve, small)
        singular = curve.model == LAYER and curve.power > 0.5 and target < 0.0
        edge = max(y, small) if not singular else y
        crawl = p * stretch(curve, 1.0, target, edge) / root(curve, edge)
        z = start
        direction = -1.0 if target < 0.0 else 1.0
        if direction < 0.0:
            goal = -goal
        if singular:
            goal = 0.0
        z_stop = root(curve, y_stop) * (1.0 if stop >= 0.0 else -1.0)
        if reach and direction * z_stop <= direction * goal:
            return DONE, clock + crawl * abs(z_stop - z)
        while j < times.size and times[j] <= clock + crawl * abs(goal - z):
            place = z + direction * (times[j] - clock) / crawl
            write_row(curve, signs, 1.0 if place >= 0.0 else -1.0, abs(place) ** p, rows, j)
            j += 1
        clock += crawl * abs(goal - z)
        if singular:
            return (DONE if j == times.size and not reach else BLOW_UP), clock
        y = small
        side = direction

    seam = BELOW * ending if y < ending else ABOVE * ending
    if (y < ending and y < seam) or (y > ending and y > seam):
        inside = reach and (y_stop - y) * (y_stop - seam) <= 0.0
        x_end = np.log(y_stop if inside else seam)
        clock, j = march(
            curve, FAR, side, target, 0.0, np.log(y), x_end, clock, tolerance, times, j, signs, rows
        )
        if inside or np.isnan(clock):
            return (NOT_CONVERGED if np.isnan(clock) else DONE), clock
        y = seam
        shift = 0.0
    if shift == 0.0:
        shift = ending - y
    x_end = np.log(ending * FLAT * tolerance * min(1.0, p) / curve.offsets.size)
    if reach:
        remaining = abs(solve_shift(curve, ending, np.log1p((abs(stop) - size) / size)))
        x_end = np.log(remaining)
    x_start = np.log(abs(shift))
    if x_start > x_end or reach:
        bound = size if shift > 0.0 else -size
        clock, j = march(
            curve,
            NEAR,
            side,
            bound,
            ending,
            x_start,
            x_end,
            clock,
            tolerance,
            times,
            j,
            signs,
            rows,
        )
        if np.isnan(clock):
            return NOT_CONVERGED, clock
        shift = np.exp(x_end) if shift > 0.0 else -np.exp(x_end)
    if j < times.size:
        spread = stretch_near(curve, size, ending, shift)
    while j < times.size:
        y = ending - shift * np.exp(-(times[j] - clock) / spread)
        write_row(curve, signs, side, y, rows, j)
        j += 1
    return DONE, clock
