r"""
Protection against forgetting, and what it costs
================================================

A network that learns one task after the other overwrites what it knew. Methods against it
say how much every weight matters, :math:`\Omega_i`, and hold it to its old value,

.. math::

   L + c \sum_i \Omega_i\, (\theta_i - \theta^*_i)^2 ,

once a task is learned (:class:`sandbox.continual.Protection`). They differ in
:math:`\Omega`: the Fisher information of the outputs (EWC), the loss that a weight has
lowered (SI), the noise of its gradient (SOS), the outputs' sensitivity to it (MAS). Synapses
that release transmitter at random need no such penalty: presynaptic consolidation makes
those that matter reliable, and what is reliable learns slowly
(:class:`synapses.consolidation.PresynapticOptimizer`). It was conceived to spend little.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from sandbox.bench.figures import house_style
from sandbox.continual import Protection, learn
from sandbox.training.data import load
from sandbox.training.models import mlp
from sandbox.training.plan import Plan
from sandbox.training.tasks import permuted_tasks
from synapses import PresynapticRule
from synapses.consolidation import PresynapticOptimizer
from synapses.energy import EnergyModel
from synapses.networks import Averaged, stochastic_mlp
from theory.streams import Streams

# %%
# Four tasks: handwritten digits, their pixels permuted anew for each. One network 64-64-10 with
# one set of outputs, never told which task a digit is from. Every strength c is the best of a few
# in mean accuracy, on other seeds; the energy is the sum of the moduli of all (expected)
# strengths.

DIGITS, TASKS, SEEDS = load("digits", scaling="standard"), 4, (2, 3)
WIDTHS = [64, 64, 10]
STRENGTHS = {
    "none": None,
    "EWC": 10.0,
    "SI": 1.0,
    "SOS": 3.0,
    "MAS": 0.01,
}
METHODS = {"none": "none", "EWC": "ewc", "SI": "si", "SOS": "sos", "MAS": "mas-logit"}
RULE = PresynapticRule(p_up=0.33, p_down=0.33, g_lim=0.006, p_freeze=0.95, variant="program")


def run(name, seed):
    """Learn the tasks; return accuracies (learned, task) and energies (learned)."""
    streams, energies = Streams(seed), []
    stream = permuted_tasks(DIGITS, TASKS, streams=streams)
    if name == "presynaptic":
        # evaluated by the mean of ten draws of all releases
        model = Averaged(stochastic_mlp(WIDTHS, streams=streams, release_probability=0.25), 10)
        optimizer, protection = PresynapticOptimizer(model, RULE, lr=0.45), None
        plan = Plan(epochs=5, batch_size=64, evaluate_every=5)
    else:
        model = mlp(WIDTHS, streams=streams)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        settings = METHODS[name], STRENGTHS[name]
        protection = Protection(model, optimizer, *settings, streams=streams)
        plan = Plan(epochs=5, batch_size=128, evaluate_every=5, reset_optimizer=True)

    def measure(now):
        energies.append(EnergyModel("strength").of(now.model).total)

    history = learn(
        model,
        stream,
        optimizer,
        plan,
        protection,
        streams=streams,
        hooks={"start": measure, "task-end": measure},
    )
    return history.accuracy_matrix().values, np.array(energies)


found = {}
for name in (*METHODS, "presynaptic"):
    runs = [run(name, seed) for seed in SEEDS]
    found[name] = tuple(np.array(part) for part in zip(*runs, strict=True))

# %%
# Left and middle: accuracy on test digits after each task, on the first task and averaged over
# the tasks learned so far. Right: what the networks spend. Means over two seeds, bars from the one
# to the other; dotted: guessing.

learned = np.arange(1, TASKS + 1)
panels = {
    "first task": lambda accuracy, _: accuracy[:, 1:, 0],
    "mean over learned tasks": lambda accuracy, _: np.stack(
        [accuracy[:, k, :k].mean(axis=1) for k in learned], axis=1
    ),
    "energy": lambda _, energy: energy[:, 1:],
}
with house_style():
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.9))
    styles = dict(zip(found, plt.rcParams["axes.prop_cycle"], strict=False))
    for axis, (title, part) in zip(axes, panels.items(), strict=True):
        for place, (name, pair) in enumerate(found.items()):
            values = part(*pair)
            mean = values.mean(axis=0)
            bars = mean - values.min(axis=0), values.max(axis=0) - mean
            shift = 0.04 * (place - 2.5)
            axis.errorbar(learned + shift, mean, bars, label=name, elinewidth=0.8, **styles[name])
        axis.set(title=title, xlabel="tasks learned", xticks=learned, ylabel="test accuracy")
    for axis in axes[:2]:
        axis.set_ylim(0, 1)
        axis.axhline(0.1, color="0.6", lw=0.8, ls=":")
    axes[2].set_ylim(bottom=0)
    axes[2].set_ylabel("sum of |strength|")
    axes[0].legend(loc="lower left", ncols=2)
    plt.show()

for name, (accuracy, energy) in found.items():
    first, average = accuracy[:, -1, 0].mean(), accuracy[:, -1].mean()
    print(
        f"{name:12} first task {first:.2f}, mean {average:.2f}, energy {energy[:, -1].mean():.0f}"
    )
