"""The compiled network against brian2's C++: 4,000 neurons, 80 synapses each, p = 0.1, 1 s.

Both get one network, synapse by synapse, with the same starting voltages. brian2 integrates
exactly (``method="exact"``) and draws ``rand() < p`` in ``on_pre``; it is built once with its
default compiler flags, on one thread. ``inner`` is the time of the loop over steps: what
brian2's program reports of itself, and for ours the whole call, laying out and collecting
included; the ratio is of the fastest runs, which a busy machine disturbs least. Sweeps over
100 release probabilities count everybody's compilation: brian2's best
practice, one build and ``device.run(run_args=...)`` for each point, and a build a point.
Sweeps are extrapolated from ``POINTS`` points; ours compiles in a fresh process and folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from bench_events import DT_S, DURATION_S, SEED, network
from paired import write

from synapses.events import Network, simulate

COUNT, FAN, P, POINTS, SWEEP = 4000, 80, 0.1, 9, 100
BOUND = 0.05
"""Relative difference of the mean rates that is allowed: draws differ, and a rate of 17 Hz
of 4,000 neurons that inhibit each other varies by about a hundredth between seeds."""

COLD = """
import time
from synapses.events import Neurons, random_network, simulate
start = time.perf_counter()
neurons = Neurons(10, 0.02, -0.049, -0.06, -0.05, tau_exc_s=0.005, tau_inh_s=0.01)
simulate(random_network(neurons, 4, 1, release_probability=0.1), 0.01, 1e-4, 1)
print(time.perf_counter() - start)
"""


def brian(net: Network, b2: Any) -> tuple[Any, Any]:
    """Build brian2's network and compile it; return its synapses and its spike counter."""
    cells = b2.NeuronGroup(
        COUNT,
        """dv/dt = (ge + gi - (v + 49*mV)) / (20*ms) : volt (unless refractory)
        dge/dt = -ge / (5*ms) : volt
        dgi/dt = -gi / (10*ms) : volt""",
        threshold="v > -50*mV", reset="v = -60*mV", refractory=5 * b2.ms, method="exact",
    )  # fmt: skip
    cells.v = np.asarray(net.neurons.v_initial_volt) * b2.volt
    source = np.repeat(np.arange(COUNT), np.diff(net.indptr))
    objects = [cells]
    for name, chosen in (("ge", net.amplitude_volt >= 0), ("gi", net.amplitude_volt < 0)):
        links = b2.Synapses(
            cells, cells, "m : volt (constant)\np : 1 (constant, shared)",
            on_pre=f"{name}_post += int(rand() < p) * m", delay=net.delay_s * b2.second,
        )  # fmt: skip
        links.connect(i=source[chosen], j=net.target[chosen])
        links.m = net.amplitude_volt[chosen].astype(float) * b2.volt
        links.p = P
        objects.append(links)
    spikes = b2.SpikeMonitor(cells, record=False)
    b2.Network(objects, spikes).run(DURATION_S * b2.second)
    return objects[1:], spikes


def main() -> None:
    """Measure and write the figures."""
    import brian2 as b2

    net = network(COUNT, FAN, P)
    with tempfile.TemporaryDirectory() as folder:
        b2.set_device("cpp_standalone", directory=folder, build_on_run=False)
        b2.prefs.devices.cpp_standalone.openmp_threads = 0
        b2.defaultclock.dt = DT_S * b2.second
        b2.seed(SEED)
        start = time.perf_counter()
        links, spikes = brian(net, b2)
        b2.device.build(directory=folder, compile=True, run=False)
        build = time.perf_counter() - start
        simulate(net, DURATION_S, DT_S, SEED)
        inner: dict[str, list[float]] = {"per_synapse": [], "skip": [], "brian2": []}
        points: dict[str, list[float]] = {"skip": [], "per_synapse": [], "brian2": []}
        for i in range(POINTS):
            for sampler, name in (("per-synapse", "per_synapse"), ("skip", "skip")):
                start = time.perf_counter()
                run = simulate(net, DURATION_S, DT_S, SEED + i, sampler)
                inner[name].append(time.perf_counter() - start)
                points[name].append(inner[name][-1])
            start = time.perf_counter()
            b2.device.run(run_args={link.p: P for link in links})
            points["brian2"].append(time.perf_counter() - start)
            inner["brian2"].append(float(b2.device._last_run_time))
        theirs = spikes.num_spikes / (COUNT * DURATION_S)
    ours = run.spike_step.size / (COUNT * DURATION_S)
    assert abs(ours / theirs - 1) < BOUND, f"rates differ: {ours} and {theirs}"
    with tempfile.TemporaryDirectory() as folder:
        told = subprocess.run(
            [sys.executable, "-c", COLD], env=os.environ | {"NUMBA_CACHE_DIR": folder},
            capture_output=True, text=True, check=True, timeout=300,
        )  # fmt: skip
    cold = float(told.stdout)
    seconds = {name: min(times) for name, times in inner.items()}
    point = {name: float(np.median(times)) for name, times in points.items()}
    sweep = {
        "skip": cold + SWEEP * point["skip"],
        "per_synapse": cold + SWEEP * point["per_synapse"],
        "brian2_one_build": build + SWEEP * point["brian2"],
        "brian2_a_build_a_point": SWEEP * (build + point["brian2"]),
    }
    write(
        __file__,
        {
            "load_average": os.getloadavg(),
            "rate_hz": {"ours": ours, "brian2": theirs, "bound": BOUND},
            "inner_seconds_fastest": seconds,
            "inner_seconds_median": {n: float(np.median(times)) for n, times in inner.items()},
            "brian2_over_ours": {
                n: seconds["brian2"] / seconds[n] for n in ("per_synapse", "skip")
            },
            "compile_seconds": {"ours": cold, "brian2": build},
            "sweep_points": {"measured": POINTS, "extrapolated_to": SWEEP},
            "sweep_seconds": sweep,
            "sweep_ratio": {
                f"{theirs} / {name}": sweep[theirs] / sweep[name]
                for theirs in ("brian2_one_build", "brian2_a_build_a_point")
                for name in ("per_synapse", "skip")
            },
        },
    )


if __name__ == "__main__":
    main()
