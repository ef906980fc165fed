"""Derivations of every closed form of this room, from the loss alone, checked by sympy.

Each function returns a :class:`theory.derivation.Derivation`: numbered steps in
words and formulas, residuals that a machine brings to zero, and ``results``,
named expressions that the kernels are compared with. The pages
``docs/derivations/`` tell them at length.
"""

from deeplinear.derivations.conservation import conservation_full, conservation_layer
from deeplinear.derivations.discrete import euler_stability
from deeplinear.derivations.generalisation import early_stopping
from deeplinear.derivations.gradient_descent import (
    gradient_descent_depth_d,
    gradient_descent_depth_two,
)
from deeplinear.derivations.natural_gradient import (
    layer_natural_gradient_root,
    natural_gradient_chord,
)
from deeplinear.derivations.riccati import riccati_balanced
from deeplinear.derivations.saxe import saxe_modes
from deeplinear.derivations.square_root import square_root_rule
from deeplinear.derivations.times import critical_power, damping_identity, learning_time
from deeplinear.derivations.velocities import mode_velocities

__all__ = [
    "conservation_full",
    "conservation_layer",
    "critical_power",
    "damping_identity",
    "early_stopping",
    "euler_stability",
    "gradient_descent_depth_d",
    "gradient_descent_depth_two",
    "layer_natural_gradient_root",
    "learning_time",
    "mode_velocities",
    "natural_gradient_chord",
    "riccati_balanced",
    "saxe_modes",
    "square_root_rule",
]
