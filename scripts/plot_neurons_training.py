r"""
Four optimisers, update by update
=================================

K-FAC multiplies a layer's gradient G by an approximate inverse curvature from both sides.
Natural gradient uses the exact inverse Fisher matrix of the samples at hand, of which K-FAC
is the approximation. Gradient descent on neurons (FOOF) has no curvature in it: it asks for
weights that move the layer's *outputs* along their gradient,

.. math::

   \Delta W = \eta\, G\, (A + \lambda)^{-1},
   \qquad A = \frac1N \sum_n a_n a_n^\top,

with the layer's inputs :math:`a_n` (:class:`sandbox.optim.FOOF`). The exact method is the
slowest of the three. F. Benzing, arXiv:2201.12250, concludes that K-FAC does not owe its
speed to the curvature.
"""

import matplotlib.pyplot as plt
import numpy as np

from sandbox.bench.figures import house_style
from sandbox.claims.benzing2022neurons._experiments import train
from sandbox.claims.benzing2022neurons._presets import ARMS, SETTINGS, TUNED

# %%
# Handwritten digits, a network 64-24-24-10 without biases, the same starts for all. Every
# optimiser has the step size and the damping that served it best on other starts, by one
# search with one rule.

SEEDS = range(2)
NAMES = ("SGD + momentum", "natural gradient", "K-FAC", "FOOF")


def curves(mode, names):
    """Return training losses (seed, time) of every optimiser."""
    found = {}
    for name in names:
        arm = ARMS[name].at(*TUNED["quick", mode][name])
        item = {"setting": SETTINGS["quick", mode], "arm": arm, "device": "cpu", "every": 2}
        found[name] = np.array([train(item | {"seed": seed})["losses"] for seed in SEEDS])
    return found


def mean(losses):
    """Return the geometric mean over seeds."""
    return np.exp(np.log(losses).mean(axis=0))


# %%
# Left: all of 300 digits in the batch, and the Fisher matrix and both factors of all of them
# at the present weights. Right: batches of 100 of 600 digits, factors averaged.
# Lines are geometric means of two starts, bands reach from the one to the other.

panels = {
    "all data in a batch": curves("full batch", NAMES),
    "mini-batches": curves("mini-batch", NAMES[:1] + NAMES[2:]),
}
with house_style():
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 3.9), sharey=True)
    styles = dict(zip(NAMES, plt.rcParams["axes.prop_cycle"], strict=False))
    for axis, (title, found) in zip(axes, panels.items(), strict=True):
        for name, losses in found.items():
            updates = 2 * np.arange(losses.shape[1])
            axis.semilogy(updates, mean(losses), label=name, **styles[name])
            low, high = losses.min(axis=0), losses.max(axis=0)
            axis.fill_between(updates, low, high, color=styles[name]["color"], alpha=0.15, lw=0)
        axis.set(title=title, xlabel="updates", xlim=(0, updates[-1]))
    axes[0].set(ylabel="training loss (nat)", ylim=(1e-4, 5))
    axes[0].legend(loc="lower left")
    plt.show()

for title, found in panels.items():
    for name, losses in found.items():
        print(f"{title}, {name}: {mean(losses)[-1]:.1e} nat at the end")
