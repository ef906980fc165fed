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

__all__ = ["mode_trajectory", "raise_for"]

PANEL_TOLERANCE = 1e-13
"""Largest share of a panel's integrand in its last two Chebyshev coefficients."""
STEP_TOLERANCE = 1e-12
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
    out = np.empty((1, 1))
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
