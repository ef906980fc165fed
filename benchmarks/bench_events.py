"""Spiking networks with stochastic release: one second of 4,000 and of 20,000 neurons.

The network is CUBA-like: leaky integrate-and-fire neurons with currents that decay
exponentially, driven above threshold, 80 synapses a neuron, a delay of 1.5 ms, steps of
0.1 ms. Amplitudes go with 1 / p, so that the mean input is the same for every p.

Contenders: ``simulate`` with a number drawn for every synapse (``per_synapse``) and with
gaps between releases (``skip``); both on two threads; and the neurons alone,
without synapses (``neurons``).
Ratios are of the fastest of the rounds, which a busy machine disturbs least: of processor
time on one thread, of time elapsed between one thread and two. ``release_only`` is the ratio
of what is left when the time of the neurons without synapses is taken off both; it still
holds the arrivals, which both share. The 4,000 neurons are run again with 1,000 synapses
each, where a spike costs more than the membranes do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from paired import write

from synapses.events import Network, Neurons, Recording, random_network, simulate

DT_S, DURATION_S, DELAY_S, SEED = 1e-4, 1.0, 1.5e-3, 7
SIZES = ((4000, 80), (20000, 80), (4000, 1000))
PROBABILITIES = (1.0, 0.1)
ROUNDS = 7


def network(count: int, fan: int, p: float) -> Network:
    """Return the network; the input of a neuron is that of 80 synapses whatever their number."""
    neurons = Neurons(
        count, tau_m_s=0.02, v_rest_volt=-0.049, v_reset_volt=-0.06, v_threshold_volt=-0.05,
        refractory_s=0.005, tau_exc_s=0.005, tau_inh_s=0.01,
    )  # fmt: skip
    scale = 80 / (fan * p)
    return random_network(
        neurons, fan, SEED, release_probability=p, delay_s=DELAY_S,
        excitatory_volt=0.00162 * scale, inhibitory_volt=-0.009 * scale,
    )  # fmt: skip


def ours(net: Network) -> dict[str, Callable[[], Recording]]:
    """Return the contenders of this project."""
    nothing = np.zeros(0)
    alone = Network(
        net.neurons, np.zeros(net.neurons.count + 1, int), nothing.astype(int), nothing,
        nothing.astype(np.float32), DELAY_S,
    )  # fmt: skip

    def run(which: Network, sampler: Any, threads: int = 1) -> Callable[[], Recording]:
        return lambda: simulate(which, DURATION_S, DT_S, SEED, sampler, threads=threads)

    return {
        "neurons": run(alone, "skip"),
        "per_synapse": run(net, "per-synapse"),
        "skip": run(net, "skip"),
        "per_synapse_two_threads": run(net, "per-synapse", 2),
        "skip_two_threads": run(net, "skip", 2),
    }


def told(run: Recording, count: int) -> dict[str, Any]:
    """Return what a run did."""
    rate = run.spike_step.size / (count * DURATION_S)
    return {"rate_hz": rate, **asdict(run.operations)}


def measure(count: int, fan: int, p: float) -> dict[str, Any]:
    """Time all contenders on one network."""
    net = network(count, fan, p)
    contenders = ours(net)
    runs = {name: call() for name, call in contenders.items()}
    elapsed: dict[str, list[float]] = {name: [] for name in contenders}
    worked: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, call in contenders.items():
            start, begun = time.perf_counter(), time.process_time()
            call()
            elapsed[name].append(time.perf_counter() - start)
            worked[name].append(time.process_time() - begun)
    fastest = {name: min(times) for name, times in elapsed.items()}
    least = {name: min(times) for name, times in worked.items()}
    rest = {name: least[name] - least["neurons"] for name in ("per_synapse", "skip")}
    return {
        "median_seconds": {name: float(np.median(times)) for name, times in elapsed.items()},
        "fastest_seconds": fastest,
        "processor_seconds": least,
        "ratio_per_synapse_to_skip": least["per_synapse"] / least["skip"],
        "ratio_per_synapse_to_skip_release_only": rest["per_synapse"] / rest["skip"],
        "ratio_one_thread_to_two": {
            name: fastest[name] / fastest[f"{name}_two_threads"] for name in rest
        },
        "load_average": os.getloadavg(),
        "work": {name: told(runs[name], count) for name in rest},
        "bytes_per_synapse": net.bytes_per_synapse + runs["skip"].released.itemsize,
    }


def main() -> None:
    """Measure and write the figures."""
    figures: dict[str, Any] = {"simulated_seconds": DURATION_S, "dt_s": DT_S, "networks": {}}
    for count, fan in SIZES:
        for p in PROBABILITIES:
            name = f"{count} neurons, {fan} synapses each, p = {p:g}"
            figures["networks"][name] = measure(count, fan, p)
    write(__file__, figures)


if __name__ == "__main__":
    main()
