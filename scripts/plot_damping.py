r"""
What damping does
=================

Natural gradient divides by the curvature, which is nearly zero where learning
starts. In practice one divides by the curvature plus a damping
:math:`\varepsilon`. For the full curvature the price is known exactly, at every
depth and for every imbalance of the layers:

.. math::

   T_\varepsilon = T_{\mathrm{natural}} + \varepsilon\, T_{\mathrm{gradient}}.

Damping brings back a fraction :math:`\varepsilon` of the plateau of gradient
descent. For the layer-block rule it also changes the path: with two layers
:math:`(w_1^2 + \varepsilon) / (w_2^2 + \varepsilon)` is conserved, which is a ray
for :math:`\varepsilon \to 0` and the hyperbola of gradient descent for
:math:`\varepsilon \to \infty`.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp

from deeplinear import CurvatureCorrection, learning_time, matrix_flow
from sandbox.bench.figures import house_style

TARGET = 1.0

# %%
# The price in time
# -----------------
#
# The prediction uses the two undamped learning times only. The experiment
# integrates the damped rule, :math:`\dot w_i = p_i (s - u) / (S + \varepsilon)`.


def measured_time(damping, start, stop):
    """Return when the integrated product reaches the stop."""

    def slopes(_, weights):
        others = weights.prod() / weights
        return others * (TARGET - weights.prod()) / ((others**2).sum() + damping)

    def learned(_, weights):
        return weights.prod() - stop

    learned.terminal = True
    flow = solve_ivp(slopes, (0, 1e5), start, "DOP853", rtol=1e-9, atol=1e-12, events=learned)
    return flow.t_events[0][0]


STARTS = {
    "(0.1, 0.1)": np.array([0.1, 0.1]),
    "(0.5, 0.05, 0.1)": np.array([0.5, 0.05, 0.1]),
    "(0.1, 0.1, 0.1, 0.1)": np.full(4, 0.1),
}
DAMPINGS = np.geomspace(1e-4, 10, 11)
FINE = np.geomspace(1e-4, 10, 101)

# %%
# The change of the path
# ----------------------
#
# With the invariant :math:`r`, the path of the layer-block rule is
# :math:`w_2^2 = (w_1^2 + \varepsilon) / r - \varepsilon`.

BEGIN = np.array([0.5, 0.1])
PATH_DAMPINGS = (0.0, 0.01, 0.1, 1.0)


def predicted_path(damping, w1):
    """Return w2 on the path through the start."""
    ratio = (BEGIN[0] ** 2 + damping) / (BEGIN[1] ** 2 + damping)
    return np.sqrt((w1**2 + damping) / ratio - damping)


def measured_path(damping, fractions):
    """Return integrated weights, shape (time, layer), at about these shares of the way."""
    rule = CurvatureCorrection(1.0, "layer", damping=damping)
    stops = BEGIN.prod() + fractions * (TARGET - BEGIN.prod())
    times = np.array([learning_time(rule, BEGIN, TARGET, stop) for stop in stops])
    weights = [np.full((1, 1), w) for w in BEGIN]
    flow = matrix_flow(rule, weights, np.array([[TARGET]]), times)
    return np.stack([layer[:, 0, 0] for layer in flow], axis=1)


with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4.2))
    for (name, start), marker in zip(STARTS.items(), "os^", strict=True):
        natural, gradient = (
            learning_time(CurvatureCorrection(power), start, TARGET, 0.95) for power in (1.0, 0.0)
        )
        (line,) = left.plot(FINE, natural + FINE * gradient)
        points = {"marker": marker, "color": line.get_color(), "mfc": "white", "mew": 1.1}
        left.plot(DAMPINGS, [measured_time(e, start, 0.95) for e in DAMPINGS], ls="none", **points)
        left.plot([], [], ls=line.get_linestyle(), label=name, **points)
    left.set(title="Full rule: time", xscale="log", yscale="log", xlabel="damping $\\varepsilon$")
    left.set_ylabel("time to 95 % (1 / learning rate)")
    left.legend(title="start (line: theory, marker: experiment)", title_fontsize="small")

    w1 = np.linspace(0.3, 2.6, 200)
    right.plot(w1, TARGET / w1, "-", color="0.8", lw=5, label="minima, $w_1 w_2 = s$")
    right.plot(*BEGIN, "k*", ms=10, label="start", zorder=5)
    for damping, marker in zip(PATH_DAMPINGS, "os^D", strict=True):
        found = measured_path(damping, np.array([0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.99]))
        line_w1 = np.linspace(BEGIN[0], found[-1, 0], 100)
        (line,) = right.plot(line_w1, predicted_path(damping, line_w1))
        points = {"marker": marker, "color": line.get_color(), "mfc": "white", "mew": 1.1}
        right.plot(*found.T, ls="none", **points)
        right.plot([], [], ls=line.get_linestyle(), label=f"$\\varepsilon$ = {damping:g}", **points)
    imbalance = BEGIN[0] ** 2 - BEGIN[1] ** 2
    end = np.sqrt((imbalance + np.sqrt(imbalance**2 + 4 * TARGET**2)) / 2)
    w1 = np.linspace(BEGIN[0], end, 100)
    right.plot(
        w1, np.sqrt(w1**2 - imbalance), "-", color="0.4", lw=1, label="$\\varepsilon \\to \\infty$"
    )
    right.set(title="Layer-block rule: path", xlim=(0, 2.6), ylim=(0, 2.0))
    right.set(xlabel="weight of layer 1, $w_1$", ylabel="weight of layer 2, $w_2$")
    right.legend(loc="upper right")

plt.show()
