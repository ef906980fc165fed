"""The whole way of a mode along its curve, piece by piece, to the end point or a stop.

FAR (x = ln y) and NEAR (x = ln of the distance to the end point) are marched in panels.
Between them, where w_k changes sign, lies a line: a crossing so short that the speed is
constant to 1e-13. Where the mode ends at w_k = 0 a tail follows instead: a power law in
time, exact to the same order; the last approach to any other end is exponential.
"""

from __future__ import annotations

import numpy as np

from deeplinear._panel_kernels import (
    BLOW_UP,
    DONE,
    FAR,
    NEAR,
    NOT_CONVERGED,
    OUT_OF_RANGE,
    SMALLEST,
    in_range,
    march,
    write_row,
)
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

BELOW = 0.4
ABOVE = 3.0
"""Where FAR gives way to NEAR, in end points: midway between the singularities of both."""
FLAT = 1e-3
"""The approach is exponential once the distance is this share of the tolerance."""


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
        small = min(small, (share**p / max(rest, SMALLEST)) ** (1.0 / ties))
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
    """Fill the rows, or without times return when the product reaches ``stop``."""
    # start is the smallest magnitude; signs are such that the product starts >= 0, and a
    # negative target asks for a change of sign; stop lies ahead on the way to the target,
    # and the time is inf where the mode gets stuck before it
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
    if reach and in_range(abs(stop) ** p):
        y_stop = solve_product(curve, abs(stop) ** p)
    stays = target <= 0.0 and (ties > 1 or target == 0.0)
    small = 0.0
    if stays or target < 0.0 or (ties == 1 and y < BELOW * ending):
        small = _small_y(curve, target, ties, 1e-17 if stays else 1e-13)
    lost = value < SMALLEST and (stays or ties > 1 or y > small)
    if lost or value > 1.0 / SMALLEST or (target != 0.0 and not in_range(size**p)):
        return OUT_OF_RANGE, np.nan
    if reach and stop != 0.0 and not in_range(abs(stop) ** p):
        return OUT_OF_RANGE, np.nan

    if target <= 0.0 and y > small:
        # a diverging speed: what is left of the way takes no time, and y would underflow
        hasty = target < 0.0 and curve.model == LAYER and curve.power > 0.5
        low = max(small, y * 1e-20**p) if hasty else small
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
