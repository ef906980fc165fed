"""Compiled network of integrate-and-fire neurons, run one transmission delay at a time.

The steps of one delay form a window: whatever arrives in a window was sent in the one
before, so that parts of the network need not wait for each other within it. A part is a
range of neurons and a range of sources; its spikes fill the segments ``part`` (neurons) and
``parts + part`` (sources). In every step a neuron receives from the segments in their
order, and within a segment in the order of sending unit and synapse. However the network
is cut, that is the order of the CSR rows, so sums round in the same way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from synapses._barrier_kernels import meet
from synapses._cells_kernels import (
    Cells,
    State,
    count_external,
    move_currents,
    move_jumps,
    receive,
)
from synapses._philox_kernels import compiled, log_unit, uniform
from synapses._release_kernels import Inbox, Sampler, Scratch, Synapses, release_part


class Spikes(NamedTuple):
    """Spikes, of one segment a row, and where each step of the last window begins."""

    step: np.ndarray
    unit: np.ndarray
    end: np.ndarray
    begin: np.ndarray
    need: np.ndarray  # synapses of the spikes of the last window
    most: np.ndarray  # spikes that one window can hold
    pending: np.ndarray  # window that a part still has to release in, for want of room
    reached: np.ndarray  # last window that a part is through with, a line of cache each


class Cut(NamedTuple):
    """Where the parts begin: in neurons, in sources, in neurons with external input."""

    neuron: np.ndarray
    source: np.ndarray
    external: np.ndarray


@compiled
def next_spike(cells: Cells, source: int, fired: int, due: int, never: int) -> int:
    """Return the step of a source's spike after the one at ``due``."""
    number = uniform(cells.source_key0, cells.source_key1, source, fired, fired >> 32, 0)
    gap = log_unit(1.0 - number) * cells.pace[source]
    return never if gap >= never - due - 1 else due + 1 + int(gap)


@compiled
def first_spikes(cells: Cells, state: State, never: int) -> None:
    """Set the step of every source's first spike."""
    for source in range(state.due.size):
        if np.isinf(cells.pace[source]):
            state.due[source] = never
        else:
            state.due[source] = next_spike(
                cells, source, state.fired[source], state.due[source], never
            )


@compiled
def fire_sources(
    start: int, stop: int, never: int, cells: Cells, state: State, low: int, high: int,
    spikes: Spikes, segment: int,
) -> int:  # fmt: skip
    """List the spikes of sources within a window, in order of step and source; return draws."""
    begin = spikes.begin[segment]
    begin[:] = 0
    for source in range(low, high):
        due, fired = state.due[source], state.fired[source]
        while due < stop:
            begin[due - start + 1] += 1
            fired += 1
            due = next_spike(cells, source, fired, due, never)
    begin[0] = spikes.end[segment]
    for j in range(1, begin.size):
        begin[j] += begin[j - 1]
    # the same again, now that it is known where each step's spikes go
    draws = 0
    for source in range(low, high):
        while state.due[source] < stop:
            due = state.due[source]
            place = begin[due - start]
            spikes.step[segment, place] = due
            spikes.unit[segment, place] = state.v.size + source
            begin[due - start] += 1
            state.fired[source] += 1
            state.due[source] = next_spike(cells, source, state.fired[source], due, never)
            draws += 1
    # each beginning has moved to the next one's place
    for j in range(begin.size - 1, 0, -1):
        begin[j] = begin[j - 1]
    begin[0] = spikes.end[segment]
    spikes.end[segment] = begin[-1]
    return draws


@compiled
def move_part(
    part: int, parts: int, window: int, start: int, stop: int, never: int, cells: Cells,
    state: State, cut: Cut, indptr: np.ndarray, scratch: Scratch, spikes: Spikes, inbox: Inbox,
    found: np.ndarray, jumps: np.ndarray, counters: np.ndarray,
) -> None:  # fmt: skip
    """Move the neurons and sources of a part through a window, the steps from start to stop."""
    low, high = cut.neuron[part], cut.neuron[part + 1]
    first, last = cut.external[part], cut.external[part + 1]
    copy = window % inbox.begin.shape[0]
    own, v, ready, rest = (
        found[low:high],
        state.v[low:high],
        state.ready[low:high],
        cells.asymptote[low:high],
    )
    g_exc, g_inh = state.g_exc[low:high], state.g_inh[low:high]
    end = spikes.end[part]
    spikes.begin[part, :] = end
    for step in range(start, stop):
        if cells.currents:
            count = move_currents(step, cells, v, g_exc, g_inh, ready, rest, own)
        else:
            count = move_jumps(step, cells, v, ready, rest, own)
        for i in range(count):
            spikes.step[part, end + i] = step
            spikes.unit[part, end + i] = low + own[i]
        end += count
        spikes.begin[part, step - start + 1 :] = end
        for segment in range(2 * parts):
            receive(
                cells.currents, step, inbox.target[copy, segment], inbox.amplitude[copy, segment],
                inbox.begin[copy, segment, step - start],
                inbox.begin[copy, segment, step - start + 1],
                low, high, v, g_exc, g_inh, ready,
            )  # fmt: skip
        if last > first:
            count = count_external(
                step, cells, first, last, scratch.first[part], own, jumps[low:high]
            )
            receive(
                cells.currents, step, own, jumps[low:high], 0, count, low, high, v, g_exc, g_inh,
                ready,
            )  # fmt: skip
    spikes.end[part] = end
    sources = parts + part
    draws = fire_sources(
        start, stop, never, cells, state, cut.source[part], cut.source[part + 1], spikes, sources
    )
    for segment in (part, sources):
        need = 0
        for i in range(spikes.begin[segment, 0], spikes.end[segment]):
            row = spikes.unit[segment, i]
            need += indptr[row + 1] - indptr[row]
        spikes.need[segment] = need
    counters[part, 3] += (high - low) * (stop - start)
    counters[part, 4] += (last - first) * (stop - start) + draws


@compiled
def has_room(part: int, parts: int, spikes: Spikes, inbox: Inbox, logging: bool) -> bool:
    """Return whether the buffers of a part hold what is to be released, and the next window."""
    for segment in (part, parts + part):
        if spikes.end[segment] + spikes.most[segment] > spikes.step.shape[1]:
            return False
        if spikes.need[segment] > inbox.target.shape[2]:
            return False
        left = inbox.log_step.shape[1] - inbox.log_end[segment]
        if logging and spikes.need[segment] > left:
            return False
    return True


@compiled
def advance(
    part: int, parts: int, window: int, windows: int, width: int, never: int, cells: Cells,
    state: State, cut: Cut, synapses: Synapses, sampler: Sampler, scratch: Scratch,
    spikes: Spikes, inbox: Inbox, found: np.ndarray, jumps: np.ndarray, logging: bool,
    counters: np.ndarray,
) -> int:  # fmt: skip
    """Move a part through windows, release into the next; return the one that is up to then."""
    # the parts meet after each window, and fill another copy of the inbox than the one that
    # some may still be reading
    while True:
        start, stop = window * width, min((window + 1) * width, never)
        move_part(
            part, parts, window, start, stop, never, cells, state, cut, synapses.indptr, scratch,
            spikes, inbox, found, jumps, counters,
        )  # fmt: skip
        window += 1
        if has_room(part, parts, spikes, inbox, logging):
            start, stop = stop, min(stop + width, never)
            release_part(
                part, parts, window, start, stop, spikes.unit, spikes.begin, synapses, sampler,
                scratch, inbox, logging, counters,
            )  # fmt: skip
        else:
            spikes.pending[part] = window
        if parts > 1:
            meet(spikes.reached, part, parts, window)
        if window >= windows:
            return window
        for other in range(parts):
            # not any window: who is ahead may have run out of room in the one after
            if spikes.pending[other] == window:
                return window
