"""Langevin dynamics of 4,096 replicas in a rugged bowl, 1,000 steps.

Contenders: ``langevin`` on one thread and on two; with averages at every tenth step; the
same kernel's random numbers alone (``normals``); Euler-Maruyama with numpy, a vector of
replicas a step, temporaries reused (``numpy``); and numpy's random numbers alone
(``numpy_normals``).
Ratios are of the fastest of the rounds, which a busy machine disturbs least: of processor time
on one thread; of time elapsed between one thread and two, over ten times as many steps.
``identical`` says whether one thread and two gave the same bits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from paired import write

from theory._langevin_kernels import BLOCK, normal_pairs
from theory.langevin import langevin
from theory.rugged import RuggedBowl

BOWL, TEMPERATURE = RuggedBowl(), 0.1
DT = 0.05 / (BOWL.curvature + BOWL.roughness * BOWL.wavenumber**2)
REPLICAS, STEPS, LONG, ROUNDS, KEY = 4096, 1000, 10_000, 15, (1, 2)


@njit  # type: ignore[untyped-decorator]  # numba has no types
def normals_alone(key0: int, key1: int, pairs: int, blocks: int, space: Any) -> None:
    """Draw what a run draws, in the same order, into the same two vectors."""
    for block in range(blocks):
        for pair in range(pairs):
            normal_pairs(key0, key1, pair, block, space[0], space[1])


def normals() -> None:
    """Draw the normal numbers of the run with its own generator."""
    normals_alone(*KEY, STEPS // 2, REPLICAS // BLOCK, np.empty((2, BLOCK)))


def numpy_normals() -> None:
    """Draw them with numpy."""
    generator, space = np.random.default_rng(1), np.empty(REPLICAS)
    for _ in range(STEPS):
        generator.standard_normal(out=space)


def numpy_run() -> Any:
    """Run Euler-Maruyama with numpy."""
    generator = np.random.default_rng(1)
    x, noise, slope, part = (np.zeros(REPLICAS) for _ in range(4))
    pull = DT * BOWL.roughness * BOWL.wavenumber
    amplitude = np.sqrt(2 * TEMPERATURE * DT)
    for _ in range(STEPS):
        generator.standard_normal(out=noise)
        np.multiply(x, BOWL.wavenumber, out=slope)
        np.sin(slope, out=slope)
        slope *= pull
        np.multiply(x, DT * BOWL.curvature, out=part)
        x -= slope
        x -= part
        noise *= amplitude
        x += noise
    return x


def ours(threads: int, steps: int = STEPS, **words: Any) -> Callable[[], Any]:
    """Return a run of this project."""
    start = np.zeros(REPLICAS)
    return lambda: langevin(BOWL, TEMPERATURE, start, DT, steps, KEY, threads=threads, **words)


def main() -> None:
    """Measure and write the figures."""
    contenders: dict[str, Callable[[], Any]] = {
        "langevin": ours(1),
        "one_thread_long": ours(1, LONG),
        "two_threads_long": ours(2, LONG),
        "averages": ours(1, average_from=0, average_every=10),
        "normals": normals,
        "numpy": numpy_run,
        "numpy_normals": numpy_normals,
    }
    results = {name: call() for name, call in contenders.items()}
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
    scale = 1e9 / (REPLICAS * STEPS)
    one, two = (results[f"{n}_long"].position for n in ("one_thread", "two_threads"))
    figures = {
        "replicas": REPLICAS,
        "steps": STEPS,
        "long_steps": LONG,
        "median_seconds": {name: float(np.median(times)) for name, times in elapsed.items()},
        "fastest_seconds": fastest,
        "processor_ns_a_replica_and_step": {
            name: t * scale * (STEPS / LONG if name.endswith("long") else 1)
            for name, t in least.items()
        },
        "ratio_numpy_to_langevin": least["numpy"] / least["langevin"],
        "ratio_langevin_to_normals": least["langevin"] / least["normals"],
        "ratio_langevin_to_numpy_normals": least["langevin"] / least["numpy_normals"],
        "ratio_one_thread_to_two": fastest["one_thread_long"] / fastest["two_threads_long"],
        "identical": bool((one == two).all()),
        "load_average": os.getloadavg(),
    }
    write(__file__, figures)


if __name__ == "__main__":
    main()
