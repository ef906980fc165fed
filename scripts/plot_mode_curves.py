r"""
Strong modes first, or all at once
==================================

A deep linear network :math:`y = W_3 W_2 W_1 x` learns the singular modes of its
target independently of each other, if it starts aligned with them. Each mode is
then one number, its strength :math:`u(t)`, which rises from almost nothing to
the singular value :math:`s`.

Under gradient descent a mode waits on a plateau for a time of order
:math:`1/s`, so that strong modes are learned long before weak ones. Natural
gradient learns all modes at one rate, :math:`u(t) = s + (u_0 - s) e^{-t}`. The
square root of the inverse curvature lies between: no plateau, but still an order.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

from deeplinear import CurvatureCorrection, matrix_flow, mode_trajectory
from sandbox.bench.figures import house_style

STRENGTHS = np.array([4.0, 2.0, 1.0, 0.5])
START = 0.1  # every layer of every mode
DEPTH = 3
RULES = {
    "gradient descent": CurvatureCorrection(0.0),
    "square root": CurvatureCorrection(0.5),
    "natural gradient": CurvatureCorrection(1.0),
}

# %%
# The theory
# ----------
#
# :func:`deeplinear.mode_trajectory` gives the weights of one mode exactly; the
# strength is their product.


def predicted(rule, times):
    """Return u(t) / s of every mode, shape (time, mode)."""
    start = np.full(DEPTH, START)
    curves = [mode_trajectory(rule, start, strength, times).prod(axis=1) for strength in STRENGTHS]
    return np.stack(curves, axis=1) / STRENGTHS


# %%
# The experiment
# --------------
#
# The modes are hidden behind random rotations of every layer, and the 4 x 4
# matrices are integrated as a whole. Only afterwards are they rotated back.

generator = np.random.default_rng(1)
frames = [np.linalg.qr(generator.normal(size=(4, 4)))[0] for _ in range(DEPTH + 1)]
weights = [START * after @ before.T for before, after in pairwise(frames)]
target = (frames[-1] * STRENGTHS) @ frames[0].T


def measured(rule, times):
    """Return u(t) / s of every mode of the integrated network, shape (time, mode)."""
    first, second, third = matrix_flow(rule, weights, target, times, rtol=1e-8)
    product = third @ second @ first
    return np.einsum("xa,txy,ya->ta", frames[-1], product, frames[0]) / STRENGTHS


# %%
# Time is on a logarithmic axis, the same for all three rules.

with house_style():
    figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.5), sharex=True, sharey=True)
    line_times = np.geomspace(0.03, 60, 300)
    marks = np.geomspace(0.04, 50, 13)
    for axes, (name, rule) in zip(panels, RULES.items(), strict=True):
        lines = axes.plot(line_times, predicted(rule, line_times))
        points = axes.plot(marks, measured(rule, marks), linestyle="none", mfc="white", mew=1.1)
        for line, point, marker in zip(lines, points, "os^D", strict=True):
            point.set(marker=marker, color=line.get_color())
        axes.set(title=name.capitalize(), xscale="log", xlabel="time (1 / learning rate)")
    panels[0].set_ylabel("learned share of the mode, $u/s$")
    panels[0].legend(
        [(line, point) for line, point in zip(lines, points, strict=True)],
        [f"$s$ = {strength:g}" for strength in STRENGTHS],
        title="line: theory\nmarker: experiment", title_fontsize="small", loc="upper left",
    )  # fmt: skip

plt.show()
