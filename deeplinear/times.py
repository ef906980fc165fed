r"""How long a decoupled mode takes to learn, under any rule.

The time is the same one-dimensional integral that :mod:`deeplinear.modes` inverts:
a closed form where one exists, otherwise computed to rounding in logarithmic
variables, so that plateaus of 1e9 units of time lose no accuracy.
"""

from __future__ import annotations

import numpy as np

from deeplinear import _mode_kernels as kernels
from deeplinear.modes import PANEL_TOLERANCE, STEP_TOLERANCE, raise_for
from deeplinear.rules import CurvatureCorrection
from theory._types import Vector
from theory.checks import as_number, as_vector

__all__ = ["learning_time"]


def learning_time(rule: CurvatureCorrection, weights: Vector, target: float, stop: float) -> float:
    r"""Time until the product of a mode's weights reaches a value.

    **Equation.** :math:`T = \int \mathrm{d}z / \dot z` along the conserved curve
    of the mode, from the product of ``weights`` to ``stop``; for balanced starts
    under full rules :math:`T_q = d^{q-1} [u^k/(ks)\, {}_2F_1(1, k; 1+k; u/s)]` with
    :math:`k = 1 - (2 - 2/d)(1 - q)`.

    **Shapes and units.** weights (layer,); time in 1 / learning rate.

    Parameters
    ----------
    rule : CurvatureCorrection
        The learning rule.
    weights : Vector
        w_i at time zero, input side first.
    target : float
        s, the mode's singular value in the target.
    stop : float
        The value of the product waited for (not a fraction of the target).

    Returns
    -------
    float
        The time; 0 if the product is there already, inf if it never comes there
        (the target itself is only approached).

    Raises
    ------
    ValueError
        If an argument is not finite, or the start is singular for an inverse.
    BlowUpError
        If the speed diverges before ``stop`` is reached.

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120 (power 0); other powers are
    derived here, see ``docs/derivations/``.

    Examples
    --------
    >>> rule = CurvatureCorrection(power=1.0)
    >>> round(learning_time(rule, np.array([0.1, 0.1]), 1.0, 0.95), 12)
    2.9856819377
    """
    weights = as_vector("weights", weights)
    target = as_number("target", target)
    stop = as_number("stop", stop)
    start = float(np.prod(weights))
    if stop == start:
        return 0.0
    between = start < stop < target or target < stop < start
    status, time = kernels.run_mode(
        rule.power,
        rule.blocks == "full",
        rule.damping,
        rule.prefactor(weights.size),
        weights,
        target,
        PANEL_TOLERANCE,
        STEP_TOLERANCE,
        np.empty(0) if between else np.zeros(1),
        np.empty((1, weights.size)),
        stop,
    )
    raise_for(status, time, weights)
    return float(time) if between else np.inf
