"""Exact learning dynamics of deep linear networks under curvature-corrected rules.

One frozen object, :class:`CurvatureCorrection`, names a learning rule. Closed
forms, numba kernels, the sympy derivations of :mod:`deeplinear.derivations` and
the torch optimiser :class:`sandbox.optim.CurvatureCorrected` all take it.
"""

from deeplinear.flow import matrix_flow
from deeplinear.invariants import invariants
from deeplinear.matrices import blow_up_time
from deeplinear.modes import mode_trajectory
from deeplinear.rules import BlowUpError, CurvatureCorrection
from deeplinear.sweep import mode_sweep
from deeplinear.teacher import Teacher, teacher
from deeplinear.times import learning_time

__all__ = [
    "BlowUpError",
    "CurvatureCorrection",
    "Teacher",
    "blow_up_time",
    "invariants",
    "learning_time",
    "matrix_flow",
    "mode_sweep",
    "mode_trajectory",
    "teacher",
]
