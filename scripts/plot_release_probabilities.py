r"""
Synapses become reliable, or stay as they are
=============================================

A network of stochastic synapses learns handwritten digits by the presynaptic rule of
Schug, Benzing & Steger (2021): a synapse whose gradient is large releases more often
from now on, any other less often. All start with release probability 0.25.

Since one mask serves a whole batch, a synapse that did not release has no gradient
and goes down. So a reliable synapse has more chances to go up, an unreliable one
fewer, and the rule has two stable states: :doc:`the walk of a release probability
</derivations/release_walk>`.
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
from synapses.layers import StochasticLinear, mean_weights
from theory.streams import Streams

digits = load("digits", scaling="standard")
torch.manual_seed(0)
net = torch.nn.Sequential(StochasticLinear(64, 50), torch.nn.ReLU(), StochasticLinear(50, 10))
rule = PresynapticRule(0.07, 0.07, g_lim=0.005, variant="program")
optimizer = PresynapticOptimizer(net, rule, lr=0.05)

# %%
# The experiment
# --------------
#
# A hook keeps the release probabilities of the first layer now and then.

kept, EVERY = {}, {0, 40, 160, 640}


def keep(now):
    if now.step in EVERY:
        kept[now.step] = net[0].release_probability.flatten().numpy().copy()


plan = Plan(epochs=32, batch_size=64, evaluate_every=32)
history = fit(net, digits, optimizer, plan, streams=Streams(0), hooks={"start": keep, "step": keep})
print(f"test accuracy, one sampled network: {history.final['test_accuracy']:.3f}")
with mean_weights(net), torch.no_grad():
    answers = net(torch.tensor(digits.test.inputs)).argmax(dim=1).numpy()
print(f"test accuracy, mean weights:        {(answers == digits.test.targets).mean():.3f}")

# %%
# Two peaks
# ---------
#
# Between the peaks lies the place where the drift changes sign: at p = f / π, with the
# critical share f of up-steps and the chance π that a release brings a large gradient,
# at least f itself.

with house_style():
    figure, panels = plt.subplots(1, len(kept), figsize=(9.2, 2.8), sharey=True)
    bins = np.linspace(0.25, 1.0, 26)
    for panel, (step, values) in zip(panels, kept.items(), strict=True):
        shares = np.histogram(values, bins)[0] / len(values)
        panel.stairs(shares, bins, fill=True, color="C0")
        panel.axvline(rule.critical_up_frequency(), color="C1", linestyle="--")
        panel.set_title(f"after {step} steps")
        panel.set_xlabel("release probability")
        panel.set_yscale("log")
    panels[0].set_ylabel("share of synapses")
    panels[-1].text(0.5, 0.6, "critical share of\nup-steps, 0.48", color="C1", fontsize=8)
    plt.show()
