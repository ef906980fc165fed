r"""
One synapse, three engines
==========================

A stochastic synapse releases where a random number is below its release probability. So
two simulators can be compared in two ways. Fed with the same numbers they must release
at the same synapses at the same times, whatever else they compute on the way. With
numbers of their own they must follow the same law:
:doc:`the moments of quantal release </derivations/quantal_moments>`.

A torch layer is carried to brian2 and to the compiled engine by
:mod:`synapses.bridge`; the synapse from input i to output j has the same number in all
of them, so that one table of numbers serves all.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import binom

from sandbox.bench.figures import house_style
from sandbox.claims._brian import quiet_brian
from synapses import ReleaseModel
from synapses.brian import stochastic_synapses
from synapses.bridge import inject_uniforms, to_brian, to_events
from synapses.events import Network, Neurons, release_uniforms, simulate
from synapses.layers import StochasticLinear

INPUTS, OUTPUTS, STEPS, DT_S = 24, 2, 160, 2.0**-10
torch.manual_seed(1)
chances = torch.linspace(0.1, 0.9, INPUTS, dtype=torch.float64).repeat(OUTPUTS, 1)
layer = StochasticLinear(
    INPUTS, OUTPUTS, bias=False, release_probability=chances, dtype=torch.float64
)
numbers = release_uniforms(seed=3, steps=STEPS, synapses=INPUTS * OUTPUTS)

# %%
# The same numbers
# ----------------
#
# The compiled engine draws the input spikes, at 60 Hz; the others get the same ones. A
# spike arrives one step later. Torch takes the spikes of a step as the input of a
# forward pass.

neurons = Neurons(OUTPUTS, tau_m_s=0.02, v_rest_volt=0, v_reset_volt=0, v_threshold_volt=1)
network = to_events(layer, neurons, unit_volt=1e-3, delay_s=DT_S, source_rate_hz=60.0)
run = simulate(network, STEPS * DT_S, DT_S, seed=4, uniforms=numbers, record_events=True)
sent = np.zeros((STEPS, INPUTS))
sent[run.source_spike_step, run.source_spike_source] = 1

released = {"torch": np.zeros((STEPS, INPUTS * OUTPUTS), dtype=bool)}
with torch.no_grad(), inject_uniforms(layer, numbers):
    for step in range(STEPS):
        arriving = sent[step - 1] if step else np.zeros(INPUTS)
        layer(torch.tensor(arriving[None]))
        released["torch"][step] = (layer.last_mask.numpy().T * arriving[:, None]).ravel()

with quiet_brian(DT_S) as b2:
    when, who = np.nonzero(sent)
    source = b2.SpikeGeneratorGroup(INPUTS, who, when * DT_S * b2.second)
    target = b2.NeuronGroup(OUTPUTS, "v : volt")
    S = to_brian(layer, source, target, on="v", unit=b2.mV, uniforms=numbers, record=True)
    S.delay = DT_S * b2.second
    b2.Network(source, target, S).run(STEPS * DT_S * b2.second)
    hit = S.recorder["r"] == 1
    steps = np.rint(np.asarray(S.recorder["t"])[hit] / DT_S).astype(int)
    released["brian2"] = np.zeros_like(released["torch"])
    released["brian2"][steps, S.recorder["synapse"][hit]] = True

released["compiled"] = np.zeros_like(released["torch"])
events = run.events
released["compiled"][events.step[events.released], events.synapse[events.released]] = True
for name, table in released.items():
    print(f"{name:9}{table.sum()} releases, {(table != released['torch']).sum()} unlike torch")

with house_style():
    figure, axes = plt.subplots(figsize=(7.2, 4.4))
    failed = events.synapse[~events.released] % OUTPUTS == 0
    axes.plot(
        1e3 * DT_S * events.step[~events.released][failed],
        chances[0][events.synapse[~events.released][failed] // OUTPUTS],
        ".", color="0.75", ms=3, label="failure",
    )  # fmt: skip
    looks = {"torch": ("o", 9.0), "brian2": ("s", 5.5), "compiled": (".", 3.5)}
    for name, (marker, size) in looks.items():
        step, synapse = np.nonzero(released[name][:, ::OUTPUTS])
        axes.plot(
            1e3 * DT_S * step, chances[0][synapse], marker, ms=size, mfc="none", label=name, ls=""
        )
    axes.set_title("releases onto the first output", pad=24)
    axes.set_xlabel("time (ms)")
    axes.set_ylabel("release probability of the synapse")
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    plt.show()

# %%
# Numbers of their own
# --------------------
#
# One spike through a synapse of five sites onto each of 20,000 targets. Both samplers of
# the compiled engine take part: one draws a number for every synapse, the other skips
# from release to release.

TARGETS = 20_000
model = ReleaseModel(sites=5, release_probability=0.3)
quanta = {}
many = StochasticLinear(model.sites, TARGETS, False, model.release_probability, variable="quantal")
with torch.no_grad():
    many.weight.fill_(1)
    quanta["torch"] = many(torch.ones(1, model.sites))[0].numpy()
with quiet_brian(DT_S, seed=5) as b2:
    source = b2.NeuronGroup(1, "v : 1", threshold="True", reset="")
    target = b2.NeuronGroup(TARGETS, "z : 1")
    S = stochastic_synapses(source, target, model, amplitude=1, on="z")
    b2.Network(source, target, S).run(DT_S * b2.second)
    quanta["brian2"] = target.z[:]
network = Network.from_pairs(
    Neurons(TARGETS, 1.0, 0.0, 0.0, 100.0),
    source=np.full(TARGETS * model.sites, TARGETS),
    target=np.repeat(np.arange(TARGETS), model.sites),
    amplitude_volt=1.0,
    release_probability=np.full(TARGETS * model.sites, model.release_probability),
    delay_s=DT_S,
    source_rate_hz=np.array([1 / DT_S]),  # a spike every step; what it sends arrives in the next
)
for sampler in ("per-synapse", "skip"):
    quanta[sampler] = simulate(network, 2 * DT_S, DT_S, seed=6, sampler=sampler).final_v_volt

counts = np.arange(model.sites + 1)
law = binom.pmf(counts, model.sites, model.release_probability)
error = np.sqrt(law * (1 - law) / TARGETS)
with house_style():
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(6.4, 5.2), sharex=True, height_ratios=(2, 1.3)
    )
    upper.bar(counts, law, width=0.9, color="0.85", label="binomial law")
    lower.axhspan(-3, 3, color="0.92", lw=0, zorder=0)
    for place, (name, marker) in enumerate(zip(quanta, "os^D", strict=True)):
        shares = np.bincount(np.rint(quanta[name]).astype(int), minlength=counts.size) / TARGETS
        x = counts + 0.18 * (place - 1.5)
        upper.plot(x, shares, marker, mfc="white", color=f"C{place}", label=name)
        lower.plot(x, (shares - law) / error, marker, mfc="white", color=f"C{place}")
    upper.set_title("what one spike releases, in every engine")
    upper.set_ylabel("share of targets")
    upper.set_xlabel("quanta")
    upper.legend()
    lower.set_title("deviation from the law (grey: three standard errors)")
    lower.set_ylabel("standard errors")
    lower.set_xlabel("quanta")
    plt.show()
