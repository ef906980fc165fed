"""Many modes at once, in parallel, each as exact as a single one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from deeplinear import _mode_kernels as kernels
from deeplinear.modes import PANEL_TOLERANCE, raise_for
from deeplinear.rules import CurvatureCorrection
from theory._types import Vector
from theory.checks import as_matrix, as_number, as_times, as_vector

__all__ = ["mode_sweep"]

PANEL_SHARE = 10.0
"""Panel tolerance per relative error: the terms that are dropped are far below the last kept."""


def mode_sweep(
    rule: CurvatureCorrection,
    weights: Float[ndarray, "set layer"],
    target: Float[ndarray, " set"],
    times: Vector,
    *,
    rtol: float = 1e-10,
) -> Float[ndarray, "set time layer"]:
    r"""Trajectories of many decoupled modes, one parameter set a row.

    **Equation.** That of :func:`deeplinear.mode_trajectory` for every set.

    **Shapes and units.** weights (set, layer), target (set,), times (time,) in
    1 / learning rate; sets run in parallel, and the result does not depend on the
    number of threads.

    Parameters
    ----------
    rule : CurvatureCorrection
        The learning rule, one for all sets.
    weights : Float[ndarray, "set layer"]
        Weights at time zero, input side first.
    target : Float[ndarray, " set"]
        s of every set.
    times : Vector
        Output times, sorted.
    rtol : float
        Error wanted in units of a set's largest weight, between 1e-12 and 1e-2. Where
        the flow has a curve the error stays below it (measured: 1/20 of it); the damped
        layer rule at depth >= 3 is stepped with this relative error a step. Closed
        forms are exact to rounding whatever it is.

    Returns
    -------
    Float[ndarray, "set time layer"]
        The trajectories.

    Raises
    ------
    ValueError
        If shapes disagree or a set's start is singular for an inverse; the set's
        index is named.
    BlowUpError
        If a set's speed diverges before the last time; the first such set's index and
        its time are named.

    References
    ----------
    Derived here; see ``docs/derivations/``.

    Examples
    --------
    >>> rule = CurvatureCorrection(power=1.0)
    >>> sets = mode_sweep(rule, np.full((2, 2), 0.1), np.array([1.0, 2.0]), np.array([1.0]))
    >>> sets.prod(axis=2).round(6).tolist()
    [[0.635799], [1.26792]]
    """
    weights = as_matrix("weights", weights)
    target = as_vector("target", target)
    if target.size != weights.shape[0]:
        raise ValueError(
            f"target has shape {target.shape}: must be ({weights.shape[0]},), one a row of weights"
        )
    times = as_times("times", times)
    rtol = as_number("rtol", rtol, low=1e-12, high=1e-2)
    sets, depth = weights.shape
    rows = np.empty((sets, times.size, depth))
    statuses = np.zeros(sets, dtype=np.int64)
    moments = np.zeros(sets)
    kernels.run_modes(
        rule.power,
        rule.blocks == "full",
        rule.damping,
        rule.prefactor(depth),
        weights,
        target,
        max(PANEL_SHARE * rtol, PANEL_TOLERANCE),
        rtol,
        times,
        rows,
        statuses,
        moments,
    )
    broken = np.flatnonzero((statuses != kernels.DONE) | ~np.isfinite(rows).all(axis=(1, 2)))
    if broken.size:
        k = int(broken[0])
        status = int(statuses[k])
        if status == kernels.DONE:
            status = kernels.NOT_CONVERGED
        raise_for(status, float(moments[k]), weights[k], f"[{k}]")
    rows[:, times == 0.0] = weights[:, None]
    return rows
