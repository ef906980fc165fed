r"""
Speed and stability in finite steps
===================================

A learning rule is used in finite steps, :math:`w \leftarrow w + \eta\,\dot w`, and
the step must fit the speed. A chain of :math:`d` equal weights :math:`a` moves at

.. math::

   \|\dot w\| = \sqrt{S}\,(S + \varepsilon)^{-q}\,(s - a^d), \qquad S = d\,a^{2d - 2}.

At small weights that is next to nothing under gradient descent, exactly the error
:math:`s - a^d` under the square root, and beyond all bounds under natural
gradient, whose first step therefore throws the network far beyond the target.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from deeplinear import CurvatureCorrection
from sandbox.bench.figures import house_style
from sandbox.optim import CurvatureCorrected
from sandbox.training.models import deep_linear

DEPTH = 3  # and the target is s = 1
RULES = {
    "gradient descent": CurvatureCorrection(0.0),
    "square root": CurvatureCorrection(0.5),
    "natural gradient": CurvatureCorrection(1.0),
    "natural gradient, damping $10^{-5}$": CurvatureCorrection(1.0, damping=1e-5),
}

# %%
# Speed
# -----
#
# Measured on one step of the torch optimiser, divided by the step size.


def predicted_speed(rule, a):
    """Return the speed of a chain of equal weights."""
    curvature = DEPTH * a ** (2 * DEPTH - 2)
    return np.sqrt(curvature) * (curvature + rule.damping) ** -rule.power * (1 - a**DEPTH)


def measured_speed(rule, a):
    """Return the length of one optimiser step of 1e-6, over 1e-6."""
    net = deep_linear([np.full((1, 1), a)] * DEPTH)
    one = torch.ones(1, 1, dtype=torch.float64)
    CurvatureCorrected(net.parameters(), rule, lr=1e-6).step(lambda: (net(one), one))
    return np.sqrt(sum((p.item() - a) ** 2 for p in net.parameters())) / 1e-6


# %%
# Stability
# ---------
#
# Every point of the maps is a network, trained for 3000 steps: does its loss ever
# exceed the initial one, and does it learn? Two lines need no training. The loss of
# the *first* step rises if it carries the weights beyond
# :math:`a_1^d = 2s - a_0^d`,
#
# .. math::
#
#    \eta > \frac{(2s - a_0^d)^{1/d} - a_0}{d^{-q}\,a_0^{(d-1)(1-2q)}\,(s - a_0^d)},
#
# which for natural gradient shrinks as :math:`a_0^{d-1}`. Near the target the steps
# diverge if :math:`\eta > 2 / S_*^{1-q}` with :math:`S_* = d\,s^{2-2/d}`.

STEPS = 3000
RATES = np.geomspace(1e-2, 10, 48)
STARTS = np.geomspace(1e-3, 0.8, 48)
OUTCOMES = {  # with the shade of each in the maps
    f"not learned within {STEPS} steps": "0.9",
    "learns, loss never above its start": "white",
    "loss rises above its start, then learns": "#E69F00",
    "overshoots and does not settle": "#54375A",
}


def outcomes(power):
    """Return the number of every network's outcome, shape (start, rate)."""
    rates, starts = np.meshgrid(RATES, STARTS)
    first = 1 - starts**DEPTH
    a, worst, late = starts.copy(), np.zeros_like(starts), np.zeros_like(starts)
    for step in range(STEPS):
        others = a ** (DEPTH - 1)  # the product of the other weights, p
        error = 1 - a * others
        # what has grown beyond all bounds stays where it is
        rate = np.where(np.abs(error) < 1e36, rates, 0.0)
        a += rate * np.abs(others) ** (1 - 2 * power) * DEPTH**-power * error
        worst = np.maximum(worst, -error)
        if step >= STEPS - 10:
            late = np.maximum(late, np.abs(error))
    learned = late < 0.05
    return np.select([learned & (worst <= first), learned, worst <= 0], [1, 2, 0], default=3)


def first_step_bound(power, a):
    """Return the largest rate whose first step does not raise the loss."""
    speed = DEPTH**-power * a ** ((DEPTH - 1) * (1 - 2 * power)) * (1 - a**DEPTH)
    return ((2 - a**DEPTH) ** (1 / DEPTH) - a) / speed


# %%
# The square root can take steps of order one from any start. Natural gradient must
# take tiny ones, or live through a loss that explodes before it shrinks again.

with house_style():
    figure, panels = plt.subplots(2, 2, figsize=(9.2, 8.0))
    speeds, *maps = panels.ravel()
    a = np.geomspace(1e-3, 0.8, 100)
    for (name, rule), marker in zip(RULES.items(), "os^D", strict=True):
        (line,) = speeds.plot(a, predicted_speed(rule, a))
        look = {"marker": marker, "color": line.get_color(), "mfc": "white", "mew": 1.1}
        speeds.plot(a[::11], [measured_speed(rule, x) for x in a[::11]], ls="none", **look)
        speeds.plot([], [], ls=line.get_linestyle(), label=name, **look)
    speeds.set(xscale="log", yscale="log", xlabel="weight of each layer, $a$", ylim=(1e-7, 1e9))
    speeds.set(title="Speed of the weights", ylabel="$|dw/dt|$")
    speeds.legend(loc="upper right", title="line: theory, marker: torch", title_fontsize="small")

    for axes, power, name in zip(maps, (0.0, 0.5, 1.0), RULES, strict=False):
        axes.grid(visible=False)
        found = outcomes(power).T
        shades = ListedColormap(list(OUTCOMES.values()))
        axes.pcolormesh(STARTS, RATES, found, cmap=shades, vmin=-0.5, vmax=3.5, rasterized=True)
        axes.contourf(STARTS, RATES, found == 0, [0.5, 1.5], colors="none", hatches=["//"])
        rim = [withStroke(linewidth=4, foreground="white")]  # seen on light and on dark
        limit = axes.axhline(2 / DEPTH ** (1 - power), color="k", ls="--", path_effects=rim)
        (bound,) = axes.plot(STARTS, first_step_bound(power, STARTS), "k-", path_effects=rim)
        axes.set(title=name.capitalize(), xscale="log", yscale="log", ylim=RATES[[0, -1]])
        axes.set(xlabel="start of each layer, $a_0$", ylabel="step (learning rate), $\\eta$")
    keys = [Patch(facecolor=shade, edgecolor="0.5") for shade in OUTCOMES.values()]
    keys[0].set_hatch("//")
    figure.legend(
        [bound, limit, *keys],
        ["theory: loss rises in the first step", "theory: unstable at the target", *OUTCOMES],
        loc="outside lower center", ncols=2, fontsize="medium",
    )  # fmt: skip

plt.show()
