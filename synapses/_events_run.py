"""Run a network: lay out the buffers, call the compiled windows, collect what they leave."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy import ndarray

from synapses import _events_kernels as kernels
from synapses import _release_kernels as release
from synapses._barrier_kernels import LINE
from synapses._cells_kernels import Cells, State
from synapses._events_network import Network
from theory.streams import Streams

__all__ = ["Job", "run"]

COUNTERS = 5
"""Draws, visits, releases, state updates, draws of external inputs and sources."""

ROOM = 1 << 16
"""Spikes, or releases on record, that a buffer holds beyond the most a window can bring."""

UPDATES = 1 << 26
"""State updates between two returns to the interpreter, where an interrupt is noticed."""


FAR = 2**62
"""A window that no run reaches."""


@dataclass(frozen=True)
class Job:
    """A checked request."""

    network: Network
    steps: int
    delay: int
    hold: int
    dt_s: float
    seed: int
    sampler: str
    uniforms: ndarray | None
    threads: int
    record_events: bool


@dataclass
class Found:
    """What has been taken out of the buffers so far."""

    step: list[ndarray] = field(default_factory=list)
    unit: list[ndarray] = field(default_factory=list)
    event_step: list[ndarray] = field(default_factory=list)
    event_synapse: list[ndarray] = field(default_factory=list)


def _cells(job: Job, streams: Streams) -> Cells:
    """Return the factors of one step."""
    neurons, dt = job.network.neurons, job.dt_s
    decay_exc, gain_exc = _current(neurons.tau_exc_s, neurons.tau_m_s, dt)
    decay_inh, gain_inh = _current(neurons.tau_inh_s, neurons.tau_m_s, dt)
    rate = np.asarray(neurons.external_rate_hz)
    external = np.flatnonzero(rate)
    mean = rate[external] * dt
    chance = job.network.source_rate_hz * dt
    with np.errstate(divide="ignore"):
        pace = 1 / np.log1p(-chance)
    external_key, source_key = streams.key("external"), streams.key("sources")
    return Cells(
        currents=neurons.has_currents,
        decay_m=math.exp(-dt / neurons.tau_m_s),
        decay_exc=decay_exc,
        decay_inh=decay_inh,
        gain_exc=gain_exc,
        gain_inh=gain_inh,
        threshold=neurons.v_threshold_volt,
        reset=neurons.v_reset_volt,
        hold=job.hold,
        asymptote=neurons.v_rest_volt + np.asarray(neurons.drive_volt),
        external=external,
        mean=mean,
        none=np.exp(-mean),
        jump=np.asarray(neurons.external_jump_volt)[external],
        pace=pace,
        key0=external_key[0],
        key1=external_key[1],
        source_key0=source_key[0],
        source_key1=source_key[1],
    )


def _current(tau_s: float | None, tau_m_s: float, dt_s: float) -> tuple[float, float]:
    """Return the factors of one step of a current: its decay, and what it adds to v."""
    if tau_s is None:
        return 1.0, 0.0
    # tau (e^(-dt/tau) - e^(-dt/tau_m)) / (tau - tau_m), written for time constants that are equal
    x = dt_s / tau_m_s - dt_s / tau_s
    ratio = math.expm1(x) / x if x else 1.0
    return math.exp(-dt_s / tau_s), dt_s / tau_m_s * math.exp(-dt_s / tau_m_s) * ratio


def _synapses(job: Job) -> release.Synapses:
    """Return the rows and their largest probabilities."""
    network = job.network
    p = network.release_probability
    first, last = network.indptr[:-1], network.indptr[1:]
    ceiling = np.zeros(network.units)
    floor = np.zeros(network.units)
    held = np.flatnonzero(last > first)
    if held.size:
        # the rows that hold something follow each other without gaps
        ceiling[held] = np.maximum.reduceat(p, first[held])
        floor[held] = np.minimum.reduceat(p, first[held])
    # below the normal numbers 1 / log(1 - p) overflows, and nothing would ever be released
    ceiling[ceiling < np.finfo(np.float64).tiny] = 0.0
    with np.errstate(divide="ignore"):
        pace = 1 / np.log1p(-ceiling)
    return release.Synapses(
        network.indptr,
        network.target,
        network.amplitude_volt,
        p,
        ceiling,
        pace,
        ceiling == floor,
        np.zeros(p.size, dtype=np.uint32),
    )


class _Buffers:
    """Everything that the kernels write to but the state."""

    def __init__(self, job: Job, cut: kernels.Cut, longest: int) -> None:
        parts = job.threads
        most = np.concatenate([
            np.diff(cut.neuron) * -(-job.delay // job.hold), np.diff(cut.source) * job.delay
        ])  # fmt: skip
        # of the last window and of the next one; memory that is not used is never mapped
        shape = (2 * parts, 2 * int(most.max()) + ROOM)
        begin = (2 * parts, job.delay + 1)
        self.spikes = kernels.Spikes(
            np.empty(shape, np.int32),
            np.empty(shape, np.int32),
            np.zeros(2 * parts, np.int64),
            np.zeros(begin, np.int64),
            np.zeros(2 * parts, np.int64),
            most,
            np.zeros(parts, np.int64),
            np.zeros(parts * LINE, np.int64),
        )
        log = (2 * parts, ROOM if job.record_events else 0)
        copies = min(parts, 2)
        self.inbox = release.Inbox(
            np.empty((copies, 2 * parts, 0), np.int32),
            np.empty((copies, 2 * parts, 0), np.float32),
            np.zeros((copies, *begin), np.int64),
            np.empty(log, np.int64),
            np.empty(log, np.int64),
            np.zeros(2 * parts, np.int64),
        )
        self.scratch = release.Scratch(
            np.empty((parts, longest + 4096), np.int64),
            np.empty((parts, longest + 4096)),
            np.empty((parts, release.BATCH)),
            np.empty((parts, release.BATCH)),
            longest,
        )

    def make_room(self, found: Found, logging: bool) -> None:
        """Take out spikes and events, and give the inbox the size that the last window needs."""
        spikes, inbox = self.spikes, self.inbox
        for segment, end in enumerate(spikes.end):
            start = spikes.begin[segment, 0]
            found.step.append(spikes.step[segment, :start].copy())
            found.unit.append(spikes.unit[segment, :start].copy())
            # what arrives in the next window stays
            for column in (spikes.step, spikes.unit):
                column[segment, : end - start] = column[segment, start:end].copy()
            spikes.begin[segment] -= start
            spikes.end[segment] -= start
            logged = inbox.log_end[segment]
            found.event_step.append(inbox.log_step[segment, :logged].copy())
            found.event_synapse.append(inbox.log_synapse[segment, :logged].copy())
            inbox.log_end[segment] = 0
        need = int(spikes.need.max())
        copies, rows, held = inbox.target.shape
        if need > held:
            wide = (copies, rows, need + need // 2)
            target, amplitude = np.empty(wide, np.int32), np.empty(wide, np.float32)
            # parts that had room have released already
            target[:, :, :held], amplitude[:, :, :held] = inbox.target, inbox.amplitude
            inbox = inbox._replace(target=target, amplitude=amplitude)
        if logging and need > inbox.log_step.shape[1]:
            log = (rows, need + ROOM)
            inbox = inbox._replace(
                log_step=np.empty(log, np.int64), log_synapse=np.empty(log, np.int64)
            )
        self.inbox = inbox
        spikes.pending[:] = 0

    def finish(self, found: Found) -> None:
        """Take out what is left."""
        self.spikes.begin[:] = self.spikes.end[:, None]
        self.spikes.need[:] = 0
        self.make_room(found, logging=False)


def run(job: Job) -> dict[str, Any]:
    """Return the arrays of a recording by name."""
    network, parts = job.network, job.threads
    neurons, count, sources = network.neurons, network.neurons.count, network.source_rate_hz.size
    streams = Streams(job.seed)
    cells, synapses = _cells(job, streams), _synapses(job)
    shares = np.arange(parts + 1)
    edges = count * shares // parts
    cut = kernels.Cut(edges, sources * shares // parts, np.searchsorted(cells.external, edges))
    currents = count if neurons.has_currents else 0
    state = State(
        np.array(neurons.v_initial_volt),
        np.zeros(currents),
        np.zeros(currents),
        np.zeros(count, np.int64),
        np.full(sources, -1),
        np.zeros(sources, np.int64),
    )
    kernels.first_spikes(cells, state, job.steps)
    if job.uniforms is not None:
        sampler = release.Sampler(release.INJECTED, 0, 0, job.uniforms)
    else:
        kind, name = {
            "per-synapse": (release.PER_SYNAPSE, "release"), "skip": (release.SKIP, "skip")
        }[job.sampler]  # fmt: skip
        nothing = np.empty((0, 0))
        nothing.flags.writeable = False
        sampler = release.Sampler(kind, *streams.key(name), nothing)
    longest = int(np.diff(network.indptr).max())
    buffers, found = _Buffers(job, cut, longest), Found()
    counters = np.zeros((parts, COUNTERS), np.int64)
    where, jumps = np.empty(count, np.int64), np.empty(count)

    def advance(part: int, window: int, until: int) -> int:
        try:
            return kernels.advance(
                part, parts, window, until, job.delay, job.steps, cells, state, cut, synapses,
                sampler, buffers.scratch, buffers.spikes, buffers.inbox, where, jumps,
                job.record_events, counters,
            )  # fmt: skip
        except BaseException:
            buffers.spikes.reached[part * LINE] = FAR  # or else the others wait for ever
            raise

    windows = -(-job.steps // job.delay)
    together = max(1, UPDATES // (count * job.delay))
    window = 0
    with ThreadPoolExecutor(max(1, parts - 1)) as pool:
        while window < windows:
            until = min(windows, window + together)
            others = [pool.submit(advance, part, window, until) for part in range(1, parts)]
            try:
                following = advance(0, window, until)
            except BaseException:
                buffers.spikes.reached[0] = FAR  # an interrupt may come before the call as well
                raise
            for other in others:
                other.result()
            window = following
            late = np.flatnonzero(buffers.spikes.pending)
            if not late.size:
                continue
            buffers.make_room(found, job.record_events)
            start, stop = window * job.delay, min((window + 1) * job.delay, job.steps)
            for part in late:
                release.release_part(
                    int(part), parts, window, start, stop, buffers.spikes.unit,
                    buffers.spikes.begin, synapses, sampler, buffers.scratch, buffers.inbox,
                    job.record_events, counters,
                )  # fmt: skip
    buffers.finish(found)
    return _collected(job, state, synapses, found, counters)


def _collected(
    job: Job, state: State, synapses: release.Synapses, found: Found, counters: ndarray
) -> dict[str, Any]:
    """Put spikes and events into the order of step and unit, or step and synapse."""
    count = job.network.neurons.count
    step, unit = np.concatenate(found.step), np.concatenate(found.unit)
    # stable: runs that are sorted already, as those of one part, cost next to nothing
    order = np.argsort(step.astype(np.int64) * job.network.units + unit, kind="stable")
    step, unit = step[order], unit[order]
    own = unit < count
    arrays: dict[str, Any] = {
        "spike_step": step[own],
        "spike_neuron": unit[own],
        "source_spike_step": step[~own],
        "source_spike_source": unit[~own] - count,
        "released": synapses.released,
        "final_v_volt": state.v,
        "final_g_exc_volt": state.g_exc,
        "final_g_inh_volt": state.g_inh,
        "counters": counters.sum(axis=0),
    }
    event_step, event_synapse = (
        np.concatenate(found.event_step),
        np.concatenate(found.event_synapse),
    )
    order = np.lexsort((event_synapse, event_step))
    arrays["event_step"], arrays["event_synapse"] = event_step[order], event_synapse[order]
    return arrays
