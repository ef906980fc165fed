r"""
How synapses freeze, task by task
=================================

All synapses of a network start with release probability 0.25. While tasks come one after
the other, the presynaptic rule of Schug, Benzing & Steger (2021) raises the probability of
a synapse whose gradient is large and lowers any other, down to 0.25. Past 0.95 it stays
where it is for good.

Hardly any synapse is found between the two: :doc:`the walk of a release probability
</derivations/release_walk>` has one stable state at the floor and one near 1. What is
frozen is lost to later tasks, and so the flow upward slows down.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm

from sandbox.bench.figures import house_style
from sandbox.training.data import load
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from sandbox.training.tasks import permuted_tasks
from synapses import PresynapticRule
from synapses.consolidation import PresynapticOptimizer
from synapses.layers import stochastic_layers
from synapses.networks import stochastic_mlp
from theory.streams import Streams

TASKS, EVERY = 3, 6
streams = Streams(1)
stream = permuted_tasks(load("digits", scaling="standard"), TASKS, streams=streams)
net = stochastic_mlp((64, 64, 64, 10), streams=streams)
rule = PresynapticRule(0.33, 0.33, g_lim=0.006, p_freeze=0.95, variant="program")
optimizer = PresynapticOptimizer(net, rule, lr=0.45)

# %%
# The experiment
# --------------
#
# A hook keeps a histogram of all release probabilities every few steps.

bins = np.linspace(0.25, 1.0, 31)
steps, histograms, frozen, floor = [], [], [], []


def keep(now):
    if now.step % EVERY == 0:
        layers = stochastic_layers(net).values()
        p = np.concatenate([layer.release_probability.numpy().ravel() for layer in layers])
        steps.append(now.step)
        histograms.append(np.histogram(p, bins)[0] / len(p))
        frozen.append(rule.is_frozen(p).mean())
        floor.append((p == rule.p_min).mean())


plan = Plan(epochs=8, batch_size=64, evaluate_every=8)
fit(net, stream, optimizer, plan, streams=streams, hooks={"start": keep, "step": keep})

# %%
# Two states
# ----------

with house_style():
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(7.2, 5.4), sharex=True, height_ratios=(3, 2), layout="constrained"
    )
    edges = np.append(steps, steps[-1] + EVERY) - EVERY / 2
    shares = np.ma.masked_equal(np.transpose(histograms), 0)
    image = upper.pcolormesh(edges, bins, shares, norm=LogNorm(1e-4, 1), cmap="viridis")
    upper.axhline(rule.p_freeze, color="C1", linestyle="--", linewidth=1)
    upper.set_title("release probabilities over time (dashed: frozen beyond)")
    upper.set_xlabel("optimiser steps")
    upper.set_ylabel("release probability")
    figure.colorbar(image, ax=upper, label="share of synapses in a bin")
    lower.plot(steps, frozen, color="C0", label="frozen")
    lower.plot(steps, floor, color="C1", linestyle="--", label="at the floor, 0.25")
    for border in range(1, TASKS):
        for panel in (upper, lower):
            panel.axvline(border * steps[-1] / TASKS, color="0.6", linewidth=0.8)
    lower.set_title("shares of all synapses (grey lines: the next task begins)")
    lower.set_xlabel("optimiser steps")
    lower.set_ylabel("share of synapses")
    lower.set_ylim(0, 1)
    lower.legend(loc="center right")
    plt.show()

after = [round(float(share), 2) for share in frozen[len(frozen) // TASKS :: len(frozen) // TASKS]]
print(f"frozen after each task: {after}")
