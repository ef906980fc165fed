r"""The curve one decoupled mode moves on, as a function of a single number.

Every rule but the damped layer rule at depth >= 3 keeps a mode on a curve that it
follows with its own clock. The curve is written with y = \|w_k\|**p, w_k the weight of
smallest magnitude: ``FULL`` and ``LAYER`` have \|w_i\|**p = y + c_i, with p = 2 for full
rules and p = 2 - 2 power for undamped layer rules; ``PAIR`` is the damped layer rule at
depth 2, where (w^2 + damping)**(1 - power) differs by a constant between the layers.
Weights are taken as magnitudes, the target's sign carries the rest; ``side`` is the
sign of w_k. "Stretch" is time spent per unit of the logarithm that parametrises a piece.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])

FULL = 0
LAYER = 1
PAIR = 2


def _sources_digest() -> str:
    """Return a digest of this folder's kernel files."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*_kernels.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_DIGEST = _sources_digest()


def compiled(function: Function, parallel: bool = False) -> Function:
    """Compile a kernel with numba and keep it on disk until any kernel file changes."""
    kernel: Any = numba.njit(cache=True, parallel=parallel)(function)
    # numba looks at the function's own file alone, and would go on using a caller that was
    # compiled with an older callee from another file
    stored: Any = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
    if stored is not None and hasattr(stored, "_source_stamp"):
        stored._source_stamp = _DIGEST
    return cast("Function", kernel)


class Curve(NamedTuple):
    """A mode's curve and the rule that moves along it."""

    model: int
    power: float
    damping: float
    scale: float
    exponent: float
    offsets: np.ndarray
    gap: float


@compiled
def root(curve: Curve, value: float) -> float:
    """Return value**(1 / exponent)."""
    if curve.exponent == 2.0:
        return float(np.sqrt(value))
    if curve.exponent == 1.0:
        return value
    return float(value ** (1.0 / curve.exponent))


@compiled
def raised(value: float, power: float) -> float:
    """Return value**power, quickly for the powers with a name."""
    if power == 0.0:
        return 1.0
    if power == 0.5:
        return float(np.sqrt(value))
    if power == 1.0:
        return value
    return float(value**power)


@compiled
def power_difference(large: float, small: float, exponent: float) -> float:
    """Return large**exponent - small**exponent without cancellation."""
    if exponent == 2.0:
        return (large - small) * (large + small)
    if exponent == 1.0:
        return large - small
    if small <= 0.5 * large:
        return float(large**exponent - small**exponent)
    return float(small**exponent * np.expm1(exponent * np.log1p((large - small) / small)))


@compiled
def pair_gap(large: float, small: float, power: float, damping: float) -> float:
    """Return the conserved difference of a damped pair, in units of the damping."""
    lift = np.log1p(power_difference(large, small, 2.0) / (damping + small**2))
    if power == 1.0:
        return float(np.expm1(lift))
    rest = 1.0 - power
    return float(np.exp(rest * np.log1p(small**2 / damping)) * np.expm1(rest * lift))


@compiled
def partner(curve: Curve, y: float) -> float:
    """Return the square of the larger weight of a damped pair whose smaller square is y."""
    damping = curve.damping
    if curve.power == 1.0:
        return y + (y + damping) * curve.gap
    rest = 1.0 - curve.power
    grown = np.expm1(rest * np.log1p(y / damping)) + curve.gap
    return float(damping * np.expm1(np.log1p(grown) / rest))


@compiled
def partner_shift(curve: Curve, y: float, shift: float) -> float:
    """Return partner(y + shift) - partner(y) without cancellation."""
    if curve.power == 1.0:
        return shift * (1.0 + curve.gap)
    rest = 1.0 - curve.power
    own = y + curve.damping
    other = partner(curve, y) + curve.damping
    change = own**rest * np.expm1(rest * np.log1p(shift / own))
    return float(other * np.expm1(np.log1p(change / other**rest) / rest))


@compiled
def product(curve: Curve, y: float) -> float:
    """Return the product of the weights' magnitudes to the power of the exponent."""
    if curve.model == PAIR:
        return y * partner(curve, y)
    value = 1.0
    for offset in curve.offsets:
        value *= y + offset
    return value


@compiled
def log_slope(curve: Curve, y: float) -> float:
    """Return d ln(product) / dy."""
    if curve.model == PAIR:
        other = partner(curve, y)
        growth = ((other + curve.damping) / (y + curve.damping)) ** curve.power
        return float(1.0 / y + growth / other)
    total = 0.0
    for offset in curve.offsets:
        total += 1.0 / (y + offset)
    return total


@compiled
def solve_product(curve: Curve, value: float) -> float:
    """Return the y > 0 whose product is value > 0."""
    depth = curve.offsets.size
    if curve.model != PAIR and depth == 2:
        offset = curve.offsets[0] + curve.offsets[1]
        half = 0.5 * offset
        return float(value / (half + np.hypot(half, np.sqrt(value))))
    # ln(product) is increasing and, but for pairs, convex in ln(y): Newton from above
    high = np.log(value) / depth
    low = -np.inf
    x = high
    if curve.model != PAIR:
        rest = 1.0
        for offset in curve.offsets:
            if offset > 0.0:
                rest *= offset
        ties = 0
        for offset in curve.offsets:
            ties += offset == 0.0
        x = min(x, np.log(value / rest) / ties)
    for _ in range(200):
        y = np.exp(x)
        miss = np.log(product(curve, y) / value)
        if miss > 0.0:
            high = min(high, x)
        else:
            low = max(low, x)
        step = miss / (y * log_slope(curve, y))
        x_new = x - step
        if x_new > high or x_new < low:
            x_new = min(max(x_new, low), high)
            if low > -np.inf:
                x_new = 0.5 * (low + high)
        if abs(x_new - x) <= 1e-9 and abs(step) <= 1e-9:
            x = x_new
            break
        x = x_new
    y = np.exp(x)
    # one more step in y itself: the logarithm rounds at the size of |x|, not at 1
    return float(y - np.log(product(curve, y) / value) / log_slope(curve, y))


@compiled
def solve_shift(curve: Curve, y: float, log_ratio: float) -> float:
    """Return the shift of y that multiplies the mode's product u by exp(log_ratio)."""
    goal = curve.exponent * log_ratio
    shift = 0.0
    for _ in range(100):
        here = y + shift
        if curve.model == PAIR:
            value = np.log1p(shift / y)
            value += np.log1p(partner_shift(curve, y, shift) / partner(curve, y))
        else:
            value = 0.0
            for offset in curve.offsets:
                value += np.log1p(shift / (y + offset))
        step = (value - goal) / log_slope(curve, here)
        new = shift - step
        if new <= -y:
            new = 0.5 * (shift - y)
        done = abs(new - shift) <= 1e-9 * abs(new)
        shift = new
        if done:
            break
    return shift


@compiled
def slowness(curve: Curve, value: float, curvature: float) -> float:
    """Return (target - u) / (dy/dt) from the product and, but for ``LAYER``, the curvature."""
    if curve.model == LAYER:
        p = curve.exponent
        if p == 1.0:
            return 1.0 / curve.scale
        return float(value ** (1.0 / p - 1.0) / (p * curve.scale))
    slow = raised(curvature + curve.damping, curve.power)
    return float(slow / (2.0 * curve.scale * np.sqrt(value)))


@compiled
def stretch(curve: Curve, side: float, target: float, y: float) -> float:
    """Return |dt / d ln(y)|."""
    if curve.model == PAIR:
        curvature = partner(curve, y)
        value = y * curvature
    else:
        # by index: iterating over the field would count references at every call
        offsets = curve.offsets
        value = 1.0
        curvature = 0.0
        for i in range(offsets.size):
            here = y + offsets[i]
            curvature = curvature * here + value
            value *= here
    if target == 0.0 and curve.model == LAYER:
        # the product of the rate and u, which underflows long before y does
        return y / (curve.exponent * curve.scale * value)
    error = abs(target - side * root(curve, value))
    return y * slowness(curve, value, curvature) / error


@compiled
def stretch_near(curve: Curve, size: float, end: float, shift: float) -> float:
    """Return |dt / d ln|shift|| at y = end - shift; size is |target|, the product at the end."""
    y = end - shift
    # difference of products, every term of one sign: no cancellation as shift goes to 0
    if curve.model == PAIR:
        curvature = partner(curve, y)
        lost = -partner_shift(curve, end, -shift)
        value = y * curvature
        whole = end * (curvature + lost)
        difference = shift * curvature + end * lost
    else:
        offsets = curve.offsets
        value = 1.0
        curvature = 0.0
        whole = 1.0
        difference = 0.0
        for i in range(offsets.size):
            here = y + offsets[i]
            difference = difference * here + whole * shift
            whole *= end + offsets[i]
            curvature = curvature * here + value
            value *= here
    slow = abs(shift) * slowness(curve, value, curvature)
    if curve.exponent == 2.0:
        return float(slow * (size + np.sqrt(value)) / abs(difference))
    if curve.exponent == 1.0:
        return slow / abs(difference)
    error = -size * np.expm1(np.log1p(-difference / whole) / curve.exponent)
    return float(slow / abs(error))
