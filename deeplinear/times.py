r"""Learning times of one decoupled mode, exactly, under any rule.

The product u of a mode's weights moves monotonically towards the target, so the
time at which it has some value is a function of that value: in closed form where
one exists, otherwise one integral along the mode's curve. The derivations are in
``docs/derivations/``.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import hyp2f1

from deeplinear import _mode_kernels as kernels
from deeplinear.modes import PANEL_TOLERANCE, STEP_TOLERANCE, raise_for
from deeplinear.rules import CurvatureCorrection
from theory._types import Vector
from theory.checks import as_number, as_vector

__all__ = ["learning_time"]

LEAST_EXPONENT = 0.05
"""Closer to a logarithm than this the two ends of the power law cancel: quadrature instead."""
NEAREST_STOP = 0.99
"""Closer to the target 1 - stop / target loses digits: quadrature in the distance instead."""


def _balanced_time(power: float, depth: int, target: float, start: float, stop: float) -> float:
    """Return the full rule's time between products 0 < start**depth < stop < target, scale 1."""
    exponent = 1.0 - (2.0 - 2.0 / depth) * (1.0 - power)
    # in units of the final weight, which stay in range where start**depth does not
    x0 = start / target ** (1.0 / depth)
    x1 = (stop / target) ** (1.0 / depth)
    unit = float(depth ** (power - 1.0) * target ** (exponent - 1.0))
    if exponent == 0.0:
        log_start = math.log(x0) * depth - math.log1p(-(x0**depth))
        return float(unit) * (math.log(stop / (target - stop)) - log_start)

    def primitive(x: float) -> float:
        series = float(hyp2f1(1.0, exponent, 1.0 + exponent, x**depth))
        return float(x ** (depth * exponent) / exponent * series)

    return float(unit * (primitive(x1) - primitive(x0)))


def _closed_form_applies(
    rule: CurvatureCorrection, sizes: Vector, target: float, stop: float
) -> bool:
    """Tell whether the balanced hypergeometric form holds, and keeps its digits."""
    if stop > NEAREST_STOP * target:
        return False
    depth = len(sizes)
    exponent = 1.0 - (2.0 - 2.0 / depth) * (1.0 - rule.power)
    if rule.damping > 0.0 or depth == 1 or np.any(sizes != sizes[0]) or sizes[0] == 0.0:
        return False
    # equality in floating point: a stop below the start that underflowed is not ahead of it
    ahead = depth * math.log(sizes[0]) < math.log(stop)
    fits = exponent * depth * math.log(sizes[0]) > -600.0
    return ahead and fits and (exponent == 0.0 or abs(exponent) >= LEAST_EXPONENT)


def learning_time(rule: CurvatureCorrection, weights: Vector, target: float, stop: float) -> float:
    r"""Time until the product of a mode's weights reaches a value.

    **Equation.** With :math:`u = \prod_i w_i` and :math:`S = \sum_i (u / w_i)^2`,
    full rules take :math:`T = \frac{1}{\kappa} \int_{u_0}^{u_f}
    \frac{(S + \varepsilon)^q}{S\,(s - u)}\, du` along the curve
    :math:`w_i^2 - w_j^2` = const; layer rules take the same integral of
    :math:`1 / \sum_i p_i^2 (p_i^2 + \varepsilon)^{-q}`. Balanced, undamped, with
    :math:`k = 1 - (2 - 2/d)(1 - q)`,
    :math:`T = \frac{d^{q-1}}{\kappa} \left[ \frac{u^k}{k s}\,
    {}_2F_1(1, k; 1 + k; u / s) \right]_{u_0}^{u_f}` (a logarithm at k = 0). Powers 0
    and 1/2 at depth 2 and power 1 have elementary forms; everything else is one
    integral, computed to about 1e-13. The damped layer rule at depth >= 3 keeps no
    known curve and is stepped with a relative error of 1e-12 a step.

    **Shapes and units.** weights (layer,), input side first, at t = 0; target and stop
    are values of the product; the time is learning rate x steps.

    Parameters
    ----------
    rule : CurvatureCorrection
        The learning rule.
    weights : Vector
        w_i at t = 0, shape (layer,), input side first.
    target : float
        s, of any sign.
    stop : float
        The value of the product to wait for: a value, not a fraction of the target.

    Returns
    -------
    float
        The time; 0.0 if the product starts there (to its rounding), inf if it never
        gets there: not ahead on the way to the target, the target itself (reached as
        t -> inf only), or beyond a saddle where the mode gets stuck.

    Raises
    ------
    BlowUpError
        If the speed diverges before the product gets there (undamped layer rules with
        power > 1/2 when the product must change sign; full rules with power > 1/2 when
        two smallest weights are also equal in magnitude). Its ``time`` says when.
    ValueError
        If an argument is not finite, or an undamped layer rule with power > 1/2 starts
        with a weight at 0, or the squared product leaves double precision.

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120 (power 0); the general power,
    imbalance, sign and damping: derived here.

    Examples
    --------
    Natural gradient descent takes the same time at every depth and start scale:

    >>> natural = CurvatureCorrection(power=1.0)
    >>> round(learning_time(natural, np.full(4, 0.05), 1.0, 0.95), 4)
    2.9957
    >>> round(learning_time(CurvatureCorrection(power=0.0), np.full(4, 0.05), 1.0, 0.95), 4)
    200.5749
    """
    weights = as_vector("weights", weights)
    target = as_number("target", target)
    stop = as_number("stop", stop)
    depth = weights.size
    sizes = np.abs(weights)
    inverts = rule.blocks == "layer" and rule.damping == 0.0 and rule.power > 0.5
    if inverts and depth > 1 and not sizes.all():
        raise_for(kernels.SINGULAR_START, math.nan, weights)
    # flip signs so that the product starts at u >= 0; a zero weight has the target's sign
    parity = math.prod(np.where(weights < 0.0, -1.0, 1.0))
    if not sizes.all() and parity * target < 0.0:
        parity = -parity
    goal, ahead, u = parity * target, parity * stop, math.prod(sizes)
    if abs(ahead - u) <= 2.0 * depth * np.finfo(np.float64).eps * u:
        return 0.0
    if not (u < ahead < goal or goal < ahead < u) or np.count_nonzero(sizes == 0.0) > 1:
        return math.inf
    scale = rule.prefactor(depth)
    if u < ahead and _closed_form_applies(rule, sizes, goal, ahead):
        time = _balanced_time(rule.power, depth, goal, float(sizes[0]), ahead) / scale
        return time if rule.blocks == "full" else time * depth**-rule.power
    status, moment = kernels.run_mode(
        rule.power,
        rule.blocks == "full",
        rule.damping,
        scale,
        weights,
        target,
        PANEL_TOLERANCE,
        STEP_TOLERANCE,
        np.empty(0),
        np.empty((0, depth)),
        stop,
    )
    raise_for(status, moment, weights)
    if math.isnan(moment):
        raise_for(kernels.NOT_CONVERGED, moment, weights)
    return float(moment)
