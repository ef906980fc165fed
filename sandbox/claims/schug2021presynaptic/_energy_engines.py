"""Energies of counted releases, standardised by the closed form, from every engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
import torch

from synapses.energy import EnergyModel
from synapses.events import Network, Neurons, simulate
from synapses.layers import StochasticLinear
from synapses.release import ReleaseModel
from theory.streams import Streams

__all__ = ["ENGINES"]

Engine: TypeAlias = Callable[[int, int], np.ndarray]
"""From a seed and a number of repeats to standardised energies."""

MODEL = EnergyModel("releases", spike_cost=0.5)
CHANCES = (0.1, 0.25, 0.4, 0.7, 0.95)
SITES = 4
"""Sites of every synapse: in the events engine and in torch, parallel synapses."""


def from_numpy(seed: int, repeats: int) -> np.ndarray:
    """Draw binomial amplitudes of 40 spikes at each of five synapses."""
    generator = Streams(seed).generator("releases")
    models = [ReleaseModel(SITES, p) for p in CHANCES]
    found = sum(m.sample(generator, (repeats, 40)).sum(axis=1) + 0.5 * 40 for m in models)
    means, variances = zip(*(MODEL.moments(40, m) for m in models), strict=True)
    return np.asarray((found - sum(means)) / np.sqrt(sum(variances)))


def from_events(sampler: Literal["per-synapse", "skip"], seed: int, repeats: int) -> np.ndarray:
    """Let Poisson sources spike, each onto a neuron of its own, one source a synapse and repeat."""
    senders = len(CHANCES) * repeats
    source = np.repeat(np.arange(senders), SITES)
    chances = np.repeat(np.tile(CHANCES, repeats), SITES)
    steps, delay = 400, 1
    network = Network.from_pairs(
        Neurons(1, 0.02, -0.06, -0.06, -0.05),
        source=source + 1,
        target=np.zeros(source.size, dtype=int),
        amplitude_volt=0.0,
        release_probability=chances,
        delay_s=delay * 1e-3,
        source_rate_hz=np.full(senders, 100.0),
    )
    run = simulate(network, steps * 1e-3, 1e-3, seed, sampler=sampler)
    # spikes of the last step have not arrived
    arrived = run.source_spike_source[run.source_spike_step < steps - delay]
    spikes = np.bincount(arrived, minlength=senders).reshape(repeats, -1)
    energy = MODEL.of(run, network=network).per_synapse["sources"]
    found = energy.reshape(repeats, -1).sum(axis=1) + 0.5 * spikes.sum(axis=1)
    models = [ReleaseModel(SITES, p) for p in CHANCES]
    moments = np.array([
        [MODEL.moments(int(n), m) for n, m in zip(row, models, strict=True)] for row in spikes
    ])
    mean, variance = moments.sum(axis=1).T
    return np.asarray((found - mean) / np.sqrt(variance))


def from_torch(seed: int, repeats: int) -> np.ndarray:
    """Show a layer of synapses 40 presentations of five active units; count released masks."""
    p = torch.tensor(CHANCES).repeat(SITES, 1)
    generator = torch.Generator().manual_seed(Streams(seed).integer("masks"))
    layer = StochasticLinear(len(CHANCES), SITES, release_probability=p, generator=generator)
    released = layer.draw(repeats, 40).sum(dim=(1, 2, 3)).numpy()
    expected = MODEL.of(layer, inputs=torch.ones(1, len(CHANCES))).total
    variance = sum(MODEL.moments(40, ReleaseModel(SITES, chance))[1] for chance in CHANCES)
    found = released + 0.5 * 40 * len(CHANCES)
    return np.asarray((found - 40 * expected) / np.sqrt(variance))


ENGINES: dict[str, Engine] = {
    "numpy": from_numpy,
    "events, per-synapse": partial(from_events, "per-synapse"),
    "events, skip": partial(from_events, "skip"),
    "torch": from_torch,
}
