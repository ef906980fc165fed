"""Repeated release in every engine, each with random numbers of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy import ndarray

from sandbox.claims._brian import quiet_brian
from sandbox.claims.schug2021presynaptic._engines import STEP_S, every_step
from synapses import ReleaseModel
from synapses.brian import stochastic_synapses
from synapses.events import Network, Neurons, simulate
from synapses.layers import StochasticLinear


def releases_in_torch(p: ndarray, spikes: int, seed: int) -> ndarray:
    """Return releases (spike, synapse) of synapses that spikes reach all at once."""
    generator = torch.Generator().manual_seed(seed)
    layer = StochasticLinear(
        1,
        p.size,
        bias=False,
        release_probability=torch.tensor(p[:, None]),
        dtype=torch.float64,
        generator=generator,
    )
    return np.asarray(layer.draw(spikes)[:, :, 0] > 0)


def releases_in_brian(p: ndarray, spikes: int, seed: int) -> ndarray:
    """As :func:`releases_in_torch`, in brian2."""
    with quiet_brian(STEP_S, seed) as b2:
        source, target = every_step(b2, 1), b2.NeuronGroup(p.size, "z : 1")
        S = stochastic_synapses(source, target, ReleaseModel(), amplitude=1.0, on="z")
        S.p_syn = p
        seen = b2.StateMonitor(S, "n_rel", record=True, when="end")
        b2.Network(source, target, S, seen).run(spikes * b2.defaultclock.dt)
        return np.asarray(np.diff(seen.n_rel, axis=1, prepend=0).T > 0)


def releases_compiled(p: ndarray, spikes: int, seed: int, sampler: Any) -> ndarray:
    """As :func:`releases_in_torch`, in the compiled engine; half the synapses have one source."""
    network = Network.from_pairs(
        Neurons(p.size, 1.0, 0.0, 0.0, 1.0),
        source=p.size + np.arange(p.size) // ((p.size + 1) // 2),
        target=np.arange(p.size),
        amplitude_volt=0.0,
        release_probability=p,
        delay_s=STEP_S,
        source_rate_hz=np.full(2, 1 / STEP_S),
    )
    run = simulate(
        network, (spikes + 1) * STEP_S, STEP_S, seed, sampler=sampler, record_events=True
    )
    assert run.events is not None
    return run.events.released.reshape(spikes, p.size)


def inputs_in_torch(model: ReleaseModel, targets: int, seed: int) -> ndarray:
    """Return what one spike adds to each of many targets, by all sites of its synapse."""
    layer = StochasticLinear(
        model.sites,
        targets,
        bias=False,
        release_probability=model.release_probability,
        variable="quantal",
        generator=torch.Generator().manual_seed(seed),
    )
    with torch.no_grad():
        layer.weight.fill_(model.quantal_size)
        return np.asarray(layer(torch.ones(1, model.sites))[0])


def inputs_in_brian(model: ReleaseModel, targets: int, seed: int) -> ndarray:
    """As :func:`inputs_in_torch`, in brian2."""
    with quiet_brian(STEP_S, seed) as b2:
        source, target = every_step(b2, 1), b2.NeuronGroup(targets, "z : 1")
        S = stochastic_synapses(source, target, model, amplitude=1.0, on="z")
        b2.Network(source, target, S).run(b2.defaultclock.dt)
        return np.array(target.z[:])


def inputs_compiled(model: ReleaseModel, targets: int, seed: int, sampler: Any) -> ndarray:
    """As :func:`inputs_in_torch`, in the compiled engine: jumps of the potential from 0."""
    synapses = targets * model.sites
    network = Network.from_pairs(
        Neurons(targets, 1.0, 0.0, 0.0, 1e6),
        source=np.full(synapses, targets),
        target=np.repeat(np.arange(targets), model.sites),
        amplitude_volt=model.quantal_size,
        release_probability=np.full(synapses, model.release_probability),
        delay_s=STEP_S,
        source_rate_hz=np.array([1 / STEP_S]),
    )
    run = simulate(network, 2 * STEP_S, STEP_S, seed, sampler=sampler)
    return run.final_v_volt
