r"""
Reliable synapses forget less
=============================

A network learns handwritten digits whose pixels are shuffled anew for every task. By the
presynaptic rule of Schug, Benzing & Steger (2021), synapses that matter become reliable;
reliable synapses learn slowly, and past a threshold their release probability is frozen.
So what the first task needs is kept, and later tasks are left with fewer free synapses.

The controls: gradient descent without any consolidation, and the same stochastic network
whose release probabilities stay at 0.4. Tests average five sampled networks.
"""

import matplotlib.pyplot as plt
import torch

from sandbox.bench.figures import house_style
from sandbox.training.data import load
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from sandbox.training.tasks import permuted_tasks
from synapses import PresynapticRule
from synapses.consolidation import PresynapticOptimizer
from synapses.networks import Averaged, stochastic_mlp
from theory.streams import Streams

TASKS, EPOCHS = 3, 8
streams = Streams(1)
stream = permuted_tasks(load("digits", scaling="standard"), TASKS, streams=streams)
rule = PresynapticRule(0.33, 0.33, g_lim=0.006, p_freeze=0.95, variant="program")
still = PresynapticRule(0.0, 0.0, g_lim=0.006, rate_modulation=False)


def network(release_probability):
    """Return the same starting weights in every case."""
    return stochastic_mlp(
        (64, 48, 48, 10), streams=streams, release_probability=release_probability
    )


# %%
# The experiment
# --------------
#
# These tasks have some two hundred steps instead of thousands, so the steps of the release
# probabilities are larger than the published ones.

models = {
    "presynaptic consolidation": Averaged(network(0.25), samples=5),
    "gradient descent": network(None),
    "release fixed at 0.4": Averaged(network(0.4), samples=5),
}
rules = {
    "presynaptic consolidation": PresynapticOptimizer(
        models["presynaptic consolidation"], rule, lr=0.45
    ),
    "gradient descent": torch.optim.SGD(models["gradient descent"].parameters(), lr=0.1),
    "release fixed at 0.4": PresynapticOptimizer(models["release fixed at 0.4"], still, lr=0.1),
}
plan = Plan(epochs=EPOCHS, batch_size=64, evaluate="all", evaluate_every=4)
histories = {
    name: fit(model, stream, rules[name], plan, streams=streams) for name, model in models.items()
}

# %%
# The first task
# --------------
#
# Left: the first task, tested while it and the others are learned. Right: the price. With
# consolidation a task is learned less well, because reliable synapses learn slowly. One seed;
# over many, the gain on the first task is what stands out of the noise.

with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.6), sharey=True)
    for number, (name, history) in enumerate(histories.items()):
        looks = {"color": f"C{number}", "marker": "os^"[number], "markersize": 4, "label": name}
        steps = history.column("step", task=0)
        left.plot(steps, history.column("test_accuracy", task=0), **looks)
        learned = history.accuracy_matrix().values[1:].diagonal()
        right.plot(range(1, TASKS + 1), learned, **looks)
    for border in range(1, TASKS):
        left.axvline(border * steps.max() / TASKS, color="0.75", linewidth=0.8, zorder=0)
    left.set_title("the first task, over all of training")
    left.set_xlabel("optimiser steps (grey: next task)")
    left.set_ylabel("test accuracy")
    right.set_title("each task, right after it was learned")
    right.set_xlabel("task")
    right.set_ylabel("test accuracy")
    right.set_xticks(range(1, TASKS + 1))
    right.set_ylim(0, 1.02)
    lines, names = left.get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=3)
    plt.show()

for name, history in histories.items():
    matrix = history.accuracy_matrix()
    print(
        f"{name:26} first task {matrix.values[-1, 0]:.3f}  average {matrix.average:.3f}"
        f"  backward {matrix.backward:+.3f}"
    )
