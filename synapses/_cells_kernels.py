"""Compiled neurons: one step of their membrane, what they receive, when they spike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from synapses._philox_kernels import compiled, uniform

BLOCK = 128
"""Neurons between two looks at whether any has crossed the threshold."""


class Cells(NamedTuple):
    """What does not change: factors of one step, voltages, the external input's numbers."""

    currents: bool
    decay_m: float
    decay_exc: float
    decay_inh: float
    gain_exc: float
    gain_inh: float
    threshold: float
    reset: float
    hold: int  # steps until v moves again
    asymptote: np.ndarray
    external: np.ndarray  # neurons with external input
    mean: np.ndarray
    none: np.ndarray  # probability of no external arrival in a step
    jump: np.ndarray
    pace: np.ndarray  # of every source, 1 / log(1 - probability of a spike in a step)
    key0: int
    key1: int
    source_key0: int
    source_key1: int


class State(NamedTuple):
    """What changes, of neurons and of sources."""

    v: np.ndarray
    g_exc: np.ndarray
    g_inh: np.ndarray
    ready: np.ndarray  # first step in which v moves again
    due: np.ndarray  # step of a source's next spike
    fired: np.ndarray  # spikes of a source so far


@compiled
def move_currents(
    step: int, cells: Cells, v: np.ndarray, g_exc: np.ndarray, g_inh: np.ndarray,
    ready: np.ndarray, rest: np.ndarray, found: np.ndarray,
) -> int:  # fmt: skip
    """Move neurons with synaptic currents by one step; list those that spike."""
    decay_m, decay_exc, decay_inh = cells.decay_m, cells.decay_exc, cells.decay_inh
    gain_exc, gain_inh, threshold = cells.gain_exc, cells.gain_inh, cells.threshold
    count = int(np.int64(0))  # a literal would be a type of its own
    for base in range(0, v.size, BLOCK):
        size = min(BLOCK, v.size - base)
        above = 0
        for j in range(size):
            # unsigned, or else the compiler allows for negative indices and drops vector code
            i = np.uint64(base) + np.uint64(j)
            moved = rest[i] + (v[i] - rest[i]) * decay_m + g_exc[i] * gain_exc + g_inh[i] * gain_inh
            moved = moved if ready[i] <= step else v[i]
            g_exc[i] *= decay_exc
            g_inh[i] *= decay_inh
            v[i] = moved
            above += moved > threshold
        if above:
            count = fire(
                step, cells.reset, cells.hold, threshold, v, ready, base, size, found, count
            )
    return count


@compiled
def move_jumps(
    step: int, cells: Cells, v: np.ndarray, ready: np.ndarray, rest: np.ndarray, found: np.ndarray
) -> int:
    """Move neurons whose voltage jumps by one step; list those that spike."""
    decay_m, threshold = cells.decay_m, cells.threshold
    count = int(np.int64(0))  # a literal would be a type of its own
    for base in range(0, v.size, BLOCK):
        size = min(BLOCK, v.size - base)
        above = 0
        for j in range(size):
            i = np.uint64(base) + np.uint64(j)
            moved = rest[i] + (v[i] - rest[i]) * decay_m
            moved = moved if ready[i] <= step else v[i]
            v[i] = moved
            above += moved > threshold
        if above:
            count = fire(
                step, cells.reset, cells.hold, threshold, v, ready, base, size, found, count
            )
    return count


@compiled
def fire(
    step: int, reset: float, hold: int, threshold: float, v: np.ndarray, ready: np.ndarray,
    base: int, size: int, found: np.ndarray, count: int,
) -> int:  # fmt: skip
    """List and reset the neurons of a block that are above the threshold."""
    for i in range(base, base + size):
        if v[i] > threshold:
            found[count] = i
            count += 1
            v[i] = reset
            ready[i] = step + hold
    return count


@compiled
def receive(
    currents: bool, step: int, target: np.ndarray, amplitude: np.ndarray, first: int, last: int,
    low: int, high: int, v: np.ndarray, g_exc: np.ndarray, g_inh: np.ndarray, ready: np.ndarray,
) -> None:  # fmt: skip
    """Let the neurons from low to high have their share of an inbox, in its order."""
    # a tuple of arrays would be handed over field by field: plain arrays, once a step
    for k in range(first, last):
        neuron = target[k] - low
        if neuron < 0 or neuron >= high - low:
            continue
        jump = np.float64(amplitude[k])
        if not currents:
            # what a refractory neuron receives is lost
            if ready[neuron] <= step:
                v[neuron] += jump
        elif jump >= 0.0:
            g_exc[neuron] += jump
        else:
            g_inh[neuron] += jump


@compiled
def count_external(
    step: int, cells: Cells, first: int, last: int, numbers: np.ndarray,
    target: np.ndarray, jumps: np.ndarray,
) -> int:  # fmt: skip
    """List the neurons to which external events come, a Poisson number by inversion; count them."""
    found = int(np.int64(0))  # a literal would be a type of its own
    for base in range(first, last, numbers.size):
        size = min(numbers.size, last - base)
        for i in range(size):
            numbers[i] = uniform(cells.key0, cells.key1, cells.external[base + i], step, 0, 0)
        for i in range(size):
            k = base + i
            term = total = cells.none[k]
            arrivals = 0
            while numbers[i] >= total:
                arrivals += 1
                term *= cells.mean[k] / arrivals
                if total + term == total and arrivals > cells.mean[k]:
                    break  # the sum has reached 1 but for rounding
                total += term
            if arrivals:
                target[found] = cells.external[k]
                jumps[found] = arrivals * cells.jump[k]
                found += 1
    return found
