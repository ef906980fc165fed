"""A trained network as spiking neurons, in every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy import ndarray
from torch import nn

from sandbox.claims._brian import quiet_brian
from sandbox.claims.schug2021presynaptic._engines import STEP_S, every_step
from synapses.bridge import from_brian, inject_uniforms, to_brian, to_events
from synapses.consolidation import PresynapticOptimizer
from synapses.events import Neurons, simulate
from synapses.layers import StochasticLinear

TAU_S, THRESHOLD_VOLT = 0.02, 0.01

Layers: TypeAlias = tuple[StochasticLinear, StochasticLinear]


@dataclass(frozen=True)
class Spiking:
    """Synaptic events (step, synapse, released), a table for each layer; spikes of its neurons."""

    events: tuple[ndarray, ndarray]
    spikes: tuple[ndarray, ndarray]


def split(layers: Layers, numbers: ndarray) -> tuple[ndarray, ndarray]:
    """Return the columns of the first layer and of the second, which the engine puts first."""
    second = layers[1].weight.numel()
    return numbers[:, second:], numbers[:, :second]


def spike_compiled(
    layers: Layers, rates_hz: ndarray, unit_volt: float, numbers: ndarray, seed: int
) -> tuple[Spiking, ndarray]:
    """Run a network of two layers in the compiled engine; return as well what the inputs sent."""
    hidden, outputs = layers[0].out_features, layers[1].out_features
    network = to_events(
        nn.Sequential(*layers),
        Neurons(hidden + outputs, TAU_S, 0.0, 0.0, THRESHOLD_VOLT),
        unit_volt=unit_volt,
        delay_s=STEP_S,
        source_rate_hz=rates_hz,
    )
    steps = len(numbers)
    run = simulate(network, steps * STEP_S, STEP_S, seed, uniforms=numbers, record_events=True)
    assert run.events is not None
    table = np.stack([run.events.step, run.events.synapse, run.events.released], axis=1)
    second = layers[1].weight.numel()
    first = table[table[:, 1] >= second] - [0, second, 0]
    spikes = np.zeros((steps, network.neurons.count), dtype=bool)
    spikes[run.spike_step, run.spike_neuron] = True
    sent = np.zeros((steps, layers[0].in_features), dtype=bool)
    sent[run.source_spike_step, run.source_spike_source] = True
    found = Spiking((first, table[table[:, 1] < second]), (spikes[:, :hidden], spikes[:, hidden:]))
    return found, sent


def spike_in_torch(layers: Layers, sent: ndarray, unit_volt: float, numbers: ndarray) -> Spiking:
    """Run the network step by step: torch layers as synapses, neurons by their equations."""
    keep = float(np.exp(-STEP_S / TAU_S))
    voltages = [torch.zeros(1, layer.out_features, dtype=torch.float64) for layer in layers]
    before = [torch.zeros(1, layer.in_features, dtype=torch.float64) for layer in layers]
    events: tuple[list[ndarray], list[ndarray]] = ([], [])
    spikes: tuple[list[ndarray], list[ndarray]] = ([], [])
    columns = split(layers, numbers)
    with (
        torch.no_grad(),
        inject_uniforms(layers[0], columns[0]),
        inject_uniforms(layers[1], columns[1]),
    ):
        for step, row in enumerate(sent):
            now = [torch.tensor(row[None], dtype=torch.float64)]
            for k, layer in enumerate(layers):
                arriving = unit_volt * layer(before[k])
                assert layer.last_mask is not None
                reached = np.flatnonzero(np.repeat(before[k].numpy()[0], layer.out_features))
                released = layer.last_mask.T.flatten().numpy()[reached]
                events[k].append(np.stack([np.full_like(reached, step), reached, released], axis=1))
                moved = keep * voltages[k]
                fires = moved > THRESHOLD_VOLT
                # a jump that meets a spike is lost in the reset
                voltages[k] = torch.where(fires, 0.0, moved + arriving)
                spikes[k].append(fires.numpy()[0])
                now.append(fires.double())
            before = now[:-1]
    first, second = (np.concatenate(part).astype(int) for part in events)
    return Spiking((first, second), (np.array(spikes[0]), np.array(spikes[1])))


def spike_in_brian(layers: Layers, sent: ndarray, unit_volt: float, numbers: ndarray) -> Spiking:
    """Run the network in brian2, its synapses through the bridge."""
    steps, inputs = sent.shape
    with quiet_brian(STEP_S) as b2:
        when, who = np.nonzero(sent)
        source = b2.SpikeGeneratorGroup(inputs, who, when * STEP_S * b2.second)
        names = {"tau": TAU_S * b2.second, "theta": THRESHOLD_VOLT * b2.volt}
        groups = [source]
        carried = []
        for layer, columns in zip(layers, split(layers, numbers), strict=True):
            group = b2.NeuronGroup(
                layer.out_features,
                "dv/dt = -v/tau : volt",
                threshold="v > theta",
                reset="v = 0*volt",
                method="exact",
                namespace=names,
            )
            S = to_brian(
                layer, groups[-1], group, on="v", unit=unit_volt * b2.volt, record=True,
                uniforms=columns,
            )  # fmt: skip
            S.delay = STEP_S * b2.second
            groups.append(group)
            carried.append(S)
        monitors = [b2.SpikeMonitor(group) for group in groups[1:]]
        b2.Network(groups, carried, monitors).run(steps * STEP_S * b2.second)
        events = []
        for S in carried:
            step = np.round(np.asarray(S.recorder["t"]) / STEP_S).astype(int)
            events.append(np.stack([step, S.recorder["synapse"], S.recorder["r"]], axis=1))
        spikes = []
        for group, monitor in zip(groups[1:], monitors, strict=True):
            table = np.zeros((steps, len(group)), dtype=bool)
            table[np.round(np.asarray(monitor.t) / STEP_S).astype(int), np.array(monitor.i)] = True
            spikes.append(table)
        return Spiking((events[0], events[1]), (spikes[0], spikes[1]))


def differences(one: Spiking, two: Spiking) -> tuple[int, int]:
    """Count the arrivals that are in one run but not in the other, and the spikes."""
    arrivals = spikes = 0
    for k in (0, 1):
        rows = [set(map(tuple, run.events[k].tolist())) for run in (one, two)]
        arrivals += len(rows[0] ^ rows[1])
        spikes += int((one.spikes[k] != two.spikes[k]).sum())
    return arrivals, spikes


def lost_on_the_way(layer: StochasticLinear, optimizer: PresynapticOptimizer) -> int:
    """Carry a layer to brian2 and back; count the numbers that have changed, and the rule."""
    back = StochasticLinear(layer.in_features, layer.out_features, bias=False)
    with quiet_brian(STEP_S) as b2:
        source = every_step(b2, layer.in_features)
        target = b2.NeuronGroup(layer.out_features, "z : 1\nerror : 1")
        S = to_brian(layer, source, target, optimizer=optimizer)
        b2.Network(source, target, S).run(0 * b2.second)
        learning = from_brian(S, back)
    lost = int(learning is None or learning.rule != optimizer.rule)
    for one, two in zip(back.state_dict().values(), layer.state_dict().values(), strict=True):
        lost += int(torch.ne(one, two).sum())
    return lost
