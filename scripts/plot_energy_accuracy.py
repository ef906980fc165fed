r"""
What a bit costs
================

A network that recognises digits has an energy, in Schug, Benzing & Steger (2021) the sum
of the sizes of its expected strengths, and tells something about the label: the mutual
information of label and output. Weight decay trades one for the other. Three networks
start from the same weights:

- *plastic*: every synapse has a release probability of its own, and learns it,
- *deterministic*: every synapse always transmits,
- *fixed*: every synapse releases with probability 0.4.

Where release is plastic, synapses that do not matter stay unreliable; their noise and the
decay keep them weak. A fixed probability makes important synapses fail as often as all
the others. It takes time: at first the deterministic network is ahead.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from sandbox.bench.figures import house_style
from sandbox.training.data import load
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from synapses import PresynapticRule
from synapses.consolidation import PresynapticOptimizer
from synapses.energy import EnergyModel
from synapses.networks import stochastic_mlp
from theory.streams import Streams
from theory.task_information import label_entropy, task_information

digits = load("digits", scaling="standard")
streams = Streams(1)
WIDTHS, RATE, DECAY = [64, 40, 10], 0.2, 0.03


def network(release_probability):
    """Return the same starting weights in every case."""
    return stochastic_mlp(WIDTHS, streams=streams, release_probability=release_probability)


plastic, deterministic, fixed = network(0.25), network(None), network(0.4)
rule = PresynapticRule(0.07, 0.07, g_lim=0.001, variant="program", rate_modulation=False)
optimisers = {
    "plastic": PresynapticOptimizer(plastic, rule, RATE, weight_decay=DECAY),
    "deterministic": torch.optim.SGD(deterministic.parameters(), RATE, weight_decay=DECAY),
    "fixed": torch.optim.SGD(fixed.parameters(), RATE, weight_decay=DECAY),
}
networks = {"plastic": plastic, "deterministic": deterministic, "fixed": fixed}

# %%
# The experiment
# --------------
#
# A hook measures energy and, on the test set with ten masks, information.

inputs, labels = torch.tensor(digits.test.inputs), np.asarray(digits.test.targets)
paths = {name: [] for name in networks}
EPOCHS = (0, 1, 2, 3, 5, 8, 12, 16, 20)


def keep(now):
    if now.epoch in EPOCHS:
        with torch.no_grad():
            chances = [now.model(inputs).softmax(dim=1).numpy() for _ in range(10)]
        bits = np.mean([task_information(one, labels) for one in chances])
        accuracy = (np.mean(chances, axis=0).argmax(axis=1) == labels).mean()
        energy = EnergyModel("strength").of(now.model).total
        paths[name].append((energy, bits, accuracy))


plan = Plan(epochs=EPOCHS[-1], batch_size=50, evaluate_every=EPOCHS[-1])
for name, model in networks.items():
    hooks = {"start": keep, "epoch": keep}
    fit(model, digits, optimisers[name], plan, streams=streams, hooks=hooks)
    energy, bits, accuracy = paths[name][-1]
    print(f"{name:14} {bits:.2f} bit for {energy:5.1f}, test accuracy {accuracy:.3f}")

# %%
# More bits for the same energy
# -----------------------------
#
# Left, every network's way from the common start: what is learned moves it up, decay to the
# left. Right, the information that a unit of energy buys.

with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.8))
    for number, (name, marker) in enumerate(zip(networks, "os^", strict=True)):
        energy, bits, _ = np.transpose(paths[name])
        look = {"color": f"C{number}", "marker": marker, "mfc": "white", "label": name}
        left.plot(energy, bits, **look)
        right.plot(EPOCHS, 1000 * bits / energy, **look)
    left.axhline(label_entropy(labels), color="0.5", linestyle=":")
    left.text(energy[0], label_entropy(labels) - 0.05, "label entropy", ha="right", va="top")
    left.set_title("what it tells, what it costs")
    left.set_xlabel("energy Σ|w̄| (weight)")
    left.set_ylabel("information (bit)")
    right.set_title("energy efficiency")
    right.set_xlabel("epoch")
    right.set_ylabel("information per energy (bit per 1000 weight)")
    right.legend(loc="upper left")
    plt.show()
