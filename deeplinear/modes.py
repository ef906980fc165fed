r"""Exact trajectories of one decoupled mode under any rule.

A mode is a chain of d scalar weights. Under every rule of this room but the
damped layer rule at depth >= 3 it keeps a known curve, so that its whole motion
is one scalar function of time: in closed form where one exists, otherwise one
integral, computed to rounding by Chebyshev panels in logarithmic variables and
inverted. The derivations are in ``docs/derivations/``.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from deeplinear import _mode_kernels as kernels
from deeplinear.rules import BlowUpError, CurvatureCorrection
from theory._types import Vector
from theory.checks import as_number, as_times, as_vector, shown

__all__ = ["mode_trajectory"]

PANEL_TOLERANCE = 1e-13
"""Largest share of a panel's integrand in its last two Chebyshev coefficients."""
STEP_TOLERANCE = 1e-13
"""Relative error of a step where no curve is known."""


def raise_for(status: int, moment: float, weights: Vector, where: str = "") -> None:
    """Raise what a kernel's status stands for."""
    if status == kernels.BLOW_UP:
        raise BlowUpError(
            f"weights{where} = {shown(weights.tolist())}: the speed diverges at t = {moment:.17g},"
            " where a product of the other weights vanishes; ask for earlier times, add damping"
            " or use power <= 1/2",
            moment,
        )
    if status == kernels.SINGULAR_START:
        raise ValueError(
            f"weights{where} = {shown(weights.tolist())}: the undamped layer rule with power > 1/2"
            " inverts a curvature that is zero there; weights must not be 0, or add damping"
        )
    if status == kernels.OUT_OF_RANGE:
        raise ValueError(
            f"weights{where} = {shown(weights.tolist())}: the squared product of the weights or"
            " the target leaves the range 1e-290 to 1e290 of double precision; rescale them"
        )
    if status == kernels.NOT_CONVERGED:
        raise ValueError(
            f"weights{where} = {shown(weights.tolist())}: the flow from there cannot be resolved"
            " in double precision; move the weights away from the singularity or add damping"
        )


def mode_trajectory(
    rule: CurvatureCorrection, weights: Vector, target: float, times: Vector
) -> Float[ndarray, "time layer"]:
    r"""Weights of one decoupled mode at the given times.

    **Equation.** The flow of :func:`deeplinear.rules.mode_velocity`, solved. Full rules
    keep :math:`w_i^2 - w_j^2`, undamped layer rules :math:`|w_i|^{2-2q} - |w_j|^{2-2q}`
    (q = 1: the ratios), the damped layer rule at d = 2
    :math:`(w_i^2 + \varepsilon)^{1-q} - (w_j^2 + \varepsilon)^{1-q}`. With p the exponent
    and y = :math:`|w_k|^p` of the smallest weight, full rules follow
    :math:`\dot y = 2 \kappa u\,(S + \varepsilon)^{-q} (s - u)`. Closed forms: d = 1, any
    rule; d = 2, q = 0, any imbalance and sign,

    .. math:: w(t) = \frac{a_+ v_+ + a_- e^{-kt} v_-}
        {\sqrt{e^{-kt} + (a_+^2 + a_-^2 e^{-kt})(1 - e^{-kt}) / k}}, \quad
        k = \sqrt{c^2 + 4 s^2},

    :math:`c = w_1^2 - w_2^2`, :math:`a_\pm = v_\pm \cdot w(0)` with the eigenvectors of
    [[c/2, s], [s, -c/2]]; d = 2, q = 1/2, a hyperbolic tangent (layer rule, or balanced);
    q = 1 undamped, :math:`u = s + (u_0 - s) e^{-\kappa t}` (layer rule: the rate is
    :math:`\kappa d` and :math:`w_i = w_i(0) (u / u_0)^{1/d}`). Everything else on a curve
    is one integral, accurate to about 1e-13 of the largest weight, or to the rounding of
    the time where the mode moves fast; the damped layer rule at d >= 3 keeps no known
    curve and is stepped with a relative error of 1e-13 a step.

    **Shapes and units.** weights (layer,), input side first, at t = 0; times in
    1 / learning rate, t = learning rate x steps.

    Parameters
    ----------
    rule : CurvatureCorrection
        The learning rule.
    weights : Vector
        w_i at t = 0, shape (layer,), input side first. Of any sign; one weight may be 0;
        from two zeros on the mode rests (a saddle).
    target : float
        s, of any sign.
    times : Vector
        Output times, >= 0, sorted.

    Returns
    -------
    Float[ndarray, "time layer"]
        w_i at the times.

    Raises
    ------
    BlowUpError
        If the speed diverges before the last time: undamped layer rules with power > 1/2
        whose product must change sign, and undamped full rules with power > 1/2 that must
        do so from two smallest weights of equal magnitude. Its ``time`` says when. (At
        power <= 1/2 the latter get stuck on the saddle, as the pseudo-inverse has it.)
    ValueError
        If an argument is not finite, times are negative or not sorted, an undamped layer
        rule with power > 1/2 starts with a weight at 0, or the squared product of the
        weights or the target leaves double precision.

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120 (power 0, d = 2, in hyperbolic
    angles); everything else: derived here.

    Examples
    --------
    >>> gradient = CurvatureCorrection(power=0.0)
    >>> path = mode_trajectory(gradient, np.array([0.5, -0.1]), 2.0, np.array([0.0, 1.0, 1e3]))
    >>> path.round(6).tolist()
    [[0.5, -0.1], [1.096599, 0.981086], [1.457257, 1.372442]]
    """
    weights = as_vector("weights", weights)
    target = as_number("target", target)
    times = as_times("times", times)
    rows = np.empty((times.size, weights.size))
    status, moment = kernels.run_mode(
        rule.power,
        rule.blocks == "full",
        rule.damping,
        rule.prefactor(weights.size),
        weights,
        target,
        PANEL_TOLERANCE,
        STEP_TOLERANCE,
        times,
        rows,
        np.nan,
    )
    raise_for(status, moment, weights)
    if not np.isfinite(rows).all():
        raise_for(kernels.NOT_CONVERGED, moment, weights)
    rows[times == 0.0] = weights
    return rows
