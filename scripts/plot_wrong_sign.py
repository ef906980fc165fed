r"""
The wrong side of the saddle
============================

Two weights in a row whose product starts with the wrong sign,
:math:`u_0 < 0 < s`, must pass the saddle at the origin. How a rule does that
tells much about its stability.

Natural gradient with the full curvature takes the hyperbola beside the saddle.
Layer-block natural gradient must stay on its ray, which leads *into* the saddle,
and arrives there with infinite speed at a finite time,
:math:`t^* = \ln(1 + |u_0|/s) / (\kappa d)`, :math:`\kappa = 1/d` here. The
layer-block square root keeps :math:`|w_1| - |w_2|`: at finite speed the smaller
weight crosses zero and the motion goes on along the other diagonal.
"""

import matplotlib.pyplot as plt
import numpy as np

from deeplinear import CurvatureCorrection, blow_up_time, matrix_flow
from sandbox.bench.figures import house_style

TARGET = 1.0
START = np.array([0.9, -0.4])
FULL_NATURAL = CurvatureCorrection(1.0)
LAYER_NATURAL = CurvatureCorrection(1.0, "layer")
LAYER_ROOT = CurvatureCorrection(0.5, "layer")

end = blow_up_time([np.full((1, 1), w) for w in START], np.array([[TARGET]]))
print(f"layer-block natural gradient blows up at t = {end:.6f}, ln(1.36) = {np.log(1.36):.6f}")
