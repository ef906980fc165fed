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

from deeplinear import (
    BlowUpError,
    CurvatureCorrection,
    blow_up_time,
    matrix_flow,
    mode_trajectory,
)
from sandbox.bench.figures import house_style

TARGET = 1.0
START = np.array([0.9, -0.4])
WEIGHTS = [np.full((1, 1), weight) for weight in START]
RULES = {
    "natural gradient, full": CurvatureCorrection(1.0),
    "square root, layer blocks": CurvatureCorrection(0.5, "layer"),
    "natural gradient, layer blocks": CurvatureCorrection(1.0, "layer"),
}

# %%
# The end of the layer-block rule
# -------------------------------
#
# :func:`deeplinear.blow_up_time` is a certificate: it looks at the start and the
# target only. Asking for the flow beyond it raises an error that says when.

last = blow_up_time(WEIGHTS, np.array([[TARGET]]))
print(f"t* = {last:.6f}, ln(1 + |u0| / s) = {np.log1p(-START.prod() / TARGET):.6f}")

try:
    matrix_flow(RULES["natural gradient, layer blocks"], WEIGHTS, np.array([[TARGET]]), np.ones(1))
except BlowUpError as error:
    print(error)

# %%
# The theory
# ----------
#
# With :math:`e = s - u` left to learn and :math:`c = w_1^2 - w_2^2`, the weights
# move at the speed :math:`e / (c^2 + 4u^2)^{1/4}` under natural gradient, at
# exactly :math:`e` under the layer-block square root, and at
# :math:`\tfrac12 e\,|w|\,/\,|u|` under layer-block natural gradient.


def predicted_speed(name, weights):
    """Return the length of dw/dt at weights of shape (time, layer)."""
    u = weights.prod(axis=1)
    error = TARGET - u
    if name == "natural gradient, full":
        return error / ((weights[:, 0] ** 2 - weights[:, 1] ** 2) ** 2 + 4 * u**2) ** 0.25
    if name == "square root, layer blocks":
        return error
    return 0.5 * error * np.linalg.norm(weights, axis=1) / np.abs(u)


# %%
# The experiment
# --------------
#
# The matrices are integrated from the rules' definition; speeds are differences
# of neighbouring states.


def measured(rule, times, width=1e-5):
    """Return weights, shape (time, layer), and the speed at the given times."""
    around = np.sort(np.concatenate([times - width, times, times + width]))
    flow = matrix_flow(rule, WEIGHTS, np.array([[TARGET]]), around)
    weights = np.stack([layer[:, 0, 0] for layer in flow], axis=1).reshape(len(times), 3, 2)
    speed = np.linalg.norm(weights[:, 2] - weights[:, 0], axis=1) / (2 * width)
    return weights[:, 1], speed


# %%
# Left: three ways to the target. Right: what they cost in speed. The full rule
# also speeds up near the saddle, but passes; the square root never moves faster
# than its error.

with house_style():
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4.3))
    w1 = np.linspace(0.3, 1.6, 200)
    left.plot(w1, TARGET / w1, "-", color="0.8", lw=5, label="minima, $w_1 w_2 = s$")
    left.axhline(0, color="0.5", lw=0.8)
    left.plot(0, 0, "kX", ms=9, label="saddle", clip_on=False, zorder=5)
    left.plot(*START, "k*", ms=10, label="start", zorder=5)
    for (name, rule), colour, style, marker in zip(
        RULES.items(), colours, ("-", "--", "-."), "osD", strict=False
    ):
        stop = 4.0 if "blocks" not in name or "root" in name else last * (1 - 1e-6)
        times = stop - np.geomspace(stop, 1e-9, 800) if stop < 1 else np.linspace(0, stop, 800)
        path = mode_trajectory(rule, START, TARGET, times)
        left.plot(*path.T, ls=style, color=colour)
        right.plot(times, predicted_speed(name, path), ls=style, color=colour)
        marks = np.array([0.02, 0.1, 0.2, 0.26, 0.3]) if stop < 1 else np.arange(0.1, 2.6, 0.2)
        found, speed = measured(rule, marks)
        for axes, points in ((left, found.T), (right, (marks, speed))):
            axes.plot(
                *points, marker=marker, ls="none", color=colour, mfc="white", mew=1.1, zorder=3,
            )  # fmt: skip
        right.plot([], [], ls=style, marker=marker, color=colour, mfc="white", label=name)
    left.set(xlabel="weight of layer 1, $w_1$", ylabel="weight of layer 2, $w_2$")
    left.set(title="Paths", xlim=(0, 1.6), ylim=(-0.5, 1.5))
    left.legend(loc="upper left")
    right.axvline(last, color="0.4", ls=":", lw=1.2)
    right.annotate("blow-up, $t^*$", (last, 7.5), (6, 0), textcoords="offset points", va="center")
    right.set(xlabel="time (1 / learning rate)", ylabel="speed of the weights, $|dw/dt|$")
    right.set(title="Speeds", xlim=(0, 2.5), ylim=(0, 8))
    right.legend(title="line: theory, marker: experiment", title_fontsize="small", loc=(0.36, 0.55))

plt.show()
