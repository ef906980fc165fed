r"""
How long learning takes
=======================

How long does a mode need to grow from small balanced weights,
:math:`w_i(0) = a_0`, to 95 % of its target? Correcting the gradient by the power
:math:`-q` of the curvature, the answer is

.. math::

   T_q = d^{q-1} \Bigl[\tfrac{u^k}{k s}\;{}_2F_1(1, k; 1 + k; u/s)\Bigr]_{u_0}^{u_f},
   \qquad k = 1 - (2 - \tfrac{2}{d})(1 - q).

The sign of :math:`k` decides. Below the critical power
:math:`q_c(d) = (d-2)/(2(d-1))` the time diverges as the start shrinks to zero;
above it, it stays finite. The square root, :math:`q = 1/2`, lies above
:math:`q_c` at every depth.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp

from deeplinear import CurvatureCorrection, learning_time
from sandbox.bench.figures import house_style

TARGET, STOP = 1.0, 0.95


# %%
# Theory and experiment
# ---------------------
#
# :func:`deeplinear.learning_time` is the closed form. The experiment integrates
# all :math:`d` weights from the definition of the rule,
# :math:`\dot w_i = p_i S^{-q} (s - u)` with :math:`p_i = u / w_i` and
# :math:`S = \sum_i p_i^2`, until the product reaches the mark. It steps in
# :math:`\ln w_i`, so that a plateau of length :math:`10^9` is no harder than a
# short one.


def predicted(power, depth, start):
    """Return the learning time of a balanced start in closed form."""
    return learning_time(CurvatureCorrection(power), np.full(depth, start), TARGET, STOP)


def measured(power, depth, start):
    """Return the learning time that an adaptive integrator finds."""

    def slopes(_, state):
        # the state is ln w_i and the time, against the logarithmic growth
        logs = state[:-1]
        others = np.exp(logs.sum() - logs)
        error = TARGET - np.exp(logs.sum())
        rates = others * np.exp(-logs) * (others**2).sum() ** -power * error
        return np.append(rates, 1.0) / rates.max()

    def learned(_, state):
        return state[:-1].sum() - np.log(STOP * TARGET)

    learned.terminal = True
    begin = np.append(np.full(depth, np.log(start)), 0.0)
    flow = solve_ivp(slopes, (0, 100), begin, "DOP853", rtol=1e-8, atol=1e-8, events=learned)
    return flow.y_events[0][0, -1]


# %%
# Depth, scale of the start, and power
# ------------------------------------
#
# Left: gradient descent needs a time that explodes with depth; from :math:`q = 1/2`
# on, depth hardly matters. Middle: the same for the scale of the start. Right: the
# power swept at depth 4. Left of the dotted line at :math:`q_c = 1/3` every
# smaller start costs more time, right of it the curves run together.

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
NAMES = ("0, gradient descent", "1/4", "1/2, square root", "3/4", "1, natural gradient")
DEPTHS = np.array([2, 3, 4, 6, 8, 10])
STARTS = np.array([1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3])
MARKERS = "os^Dv"

with house_style():
    figure, (by_depth, by_start, by_power) = plt.subplots(1, 3, figsize=(10.2, 3.9))
    for power, name, marker in zip(POWERS, NAMES, MARKERS, strict=True):
        theory = [predicted(power, depth, 0.05) for depth in DEPTHS]
        (line,) = by_depth.plot(DEPTHS, theory)
        points = {"marker": marker, "ls": "none", "mfc": "white", "mew": 1.1}
        points["color"] = line.get_color()
        by_depth.plot(DEPTHS, [measured(power, depth, 0.05) for depth in DEPTHS], **points)
        by_start.plot(
            STARTS, [predicted(power, 4, a) for a in STARTS], ls=line.get_linestyle(),
            color=line.get_color(),
        )  # fmt: skip
        by_start.plot(STARTS, [measured(power, 4, a) for a in STARTS], **points)
        points["ls"] = line.get_linestyle()
        by_start.plot([], [], label=name, **points)
    by_depth.set(title="Every layer starts at 0.05", xlabel="depth $d$ (layers)")
    by_depth.set(yscale="log", ylabel="time to 95 % (1 / learning rate)", xticks=DEPTHS)
    by_start.set(title="Depth 4", xlabel="start of each layer, $a_0$", xscale="log", yscale="log")
    by_start.set_ylabel("time to 95 % (1 / learning rate)")
    by_start.legend(title="power $q$", title_fontsize="small", loc="upper right")

    sweep = np.linspace(0, 1, 81)
    for start, marker in zip((0.1, 1e-2, 1e-3, 1e-4), MARKERS, strict=False):
        (line,) = by_power.plot(sweep, [predicted(power, 4, start) for power in sweep])
        points = {"marker": marker, "mfc": "white", "mew": 1.1, "color": line.get_color()}
        coarse = sweep[::8]
        by_power.plot(coarse, [measured(power, 4, start) for power in coarse], ls="none", **points)
        label = f"{start:g}" if start > 1e-3 else f"$10^{{{np.log10(start):.0f}}}$"
        by_power.plot([], [], ls=line.get_linestyle(), label=label, **points)
    by_power.axvline(1 / 3, color="0.3", ls=":", lw=1.2)
    by_power.annotate(
        "$q_c$", (1 / 3, 1.0), (4, -4), xycoords=("data", "axes fraction"), va="top",
        textcoords="offset points",
    )  # fmt: skip
    by_power.set(title="Depth 4", xlabel="power $q$", yscale="log")
    by_power.set_ylabel("time to 95 % (1 / learning rate)")
    by_power.legend(title="start $a_0$", title_fontsize="small", loc="upper right")

plt.show()
