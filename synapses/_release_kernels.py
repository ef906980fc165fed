"""Compiled release of transmitter: which synapses of a spiking unit release, and onto whom.

A sampler only names candidates; :func:`post` then looks at them all. Between the two lies
a short list, so that the memory accesses of many synapses can overlap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from synapses._philox_kernels import compiled, uniform, uniform_pair

PER_SYNAPSE, SKIP, INJECTED = 0, 1, 2

BATCH = 64
"""Random numbers made at a time."""

CERTAIN = -1.0
"""Claim of a candidate that releases whatever its probability."""


class Synapses(NamedTuple):
    """Rows of synapses in order of their source, and what :data:`SKIP` needs of every row."""

    indptr: np.ndarray
    target: np.ndarray
    amplitude: np.ndarray
    probability: np.ndarray
    ceiling: np.ndarray  # largest probability of the row
    pace: np.ndarray  # 1 / log(1 - ceiling)
    even: np.ndarray  # whether all probabilities of the row are the same
    released: np.ndarray


class Sampler(NamedTuple):
    """How releases are drawn: one of the three constants above, its key, injected numbers."""

    kind: int
    key0: int
    key1: int
    uniforms: np.ndarray


class Scratch(NamedTuple):
    """Candidates not yet looked at, a row a part, and room for random numbers."""

    synapse: np.ndarray
    claim: np.ndarray
    first: np.ndarray
    second: np.ndarray
    longest: int  # synapses of the longest row


class Inbox(NamedTuple):
    """Releases on their way to their targets: of one segment a row, in order of arrival."""

    target: np.ndarray
    amplitude: np.ndarray
    begin: np.ndarray
    log_step: np.ndarray
    log_synapse: np.ndarray
    log_end: np.ndarray


@compiled
def draw_each(
    sampler: Sampler, step: int, unit: int, synapses: Synapses, scratch: Scratch, part: int,
    count: int,
) -> int:  # fmt: skip
    """List the releases of a row, with a number for each synapse; return their count."""
    start, stop = synapses.indptr[unit], synapses.indptr[unit + 1]
    chosen = scratch.synapse[part]
    claim = scratch.claim[part]
    for base in range(start, stop, BATCH):
        numbers = scratch.first[part, : min(BATCH, stop - base)]
        if sampler.kind == INJECTED:
            for i in range(numbers.size):
                numbers[i] = sampler.uniforms[step, base + i]
        else:
            for i in range(numbers.size):
                numbers[i] = uniform(
                    sampler.key0, sampler.key1, base + i, step, (base + i) >> 32, 0
                )
        chances = synapses.probability[base : base + numbers.size]
        for i in range(numbers.size):
            # written either way: a branch would be mispredicted at every other release
            chosen[count] = base + i
            claim[count] = CERTAIN
            count += numbers[i] < chances[i]
    return count


@compiled
def draw_gaps(
    sampler: Sampler, step: int, unit: int, synapses: Synapses, scratch: Scratch, part: int,
    count: int,
) -> tuple[int, int]:  # fmt: skip
    """List candidates of a row by the gaps between them; return their count and the draws made."""
    start, stop = synapses.indptr[unit], synapses.indptr[unit + 1]
    ceiling, pace, even = synapses.ceiling[unit], synapses.pace[unit], synapses.even[unit]
    if ceiling == 0.0 or start == stop:
        return count, 0
    chosen = scratch.synapse[part]
    claim = scratch.claim[part]
    per_draw = 2 if even else 1
    place, draws = start, 0
    while True:
        expected = int((stop - place) * ceiling / per_draw) + 2
        first = scratch.first[part, : min(BATCH, expected)]
        second = scratch.second[part, : first.size]
        for i in range(first.size):
            first[i], second[i] = uniform_pair(sampler.key0, sampler.key1, unit, step, draws + i, 0)
        draws += first.size
        for i in range(first.size):
            # as a float: where the ceiling is tiny the gap may not fit an integer
            gap = np.log(1.0 - first[i]) * pace
            if gap >= stop - place:
                return count, draws
            place += int(gap)
            chosen[count] = place
            # given a candidate at the ceiling, it releases with probability p / ceiling
            claim[count] = CERTAIN if even else second[i] * ceiling
            count += 1
            place += 1
            if even:
                gap = np.log(1.0 - second[i]) * pace
                if gap >= stop - place:
                    return count, draws
                place += int(gap)
                chosen[count] = place
                claim[count] = CERTAIN
                count += 1
                place += 1


@compiled
def post(
    step: int, count: int, synapses: Synapses, scratch: Scratch, part: int, inbox: Inbox,
    segment: int, filled: int, logging: bool,
) -> int:  # fmt: skip
    """Send the candidates that release to their targets; return how far the inbox is filled."""
    for i in range(count):
        k = scratch.synapse[part, i]
        claim = scratch.claim[part, i]
        if claim < 0.0 or claim < synapses.probability[k]:
            inbox.target[segment, filled] = synapses.target[k]
            inbox.amplitude[segment, filled] = synapses.amplitude[k]
            synapses.released[k] += np.uint32(1)
            filled += 1
            if logging:
                end = inbox.log_end[segment]
                inbox.log_step[segment, end] = step
                inbox.log_synapse[segment, end] = k
                inbox.log_end[segment] = end + 1
    return filled


@compiled
def release_part(
    part: int, parts: int, start: int, stop: int, units: np.ndarray, begin: np.ndarray,
    synapses: Synapses, sampler: Sampler, scratch: Scratch, inbox: Inbox, logging: bool,
    counters: np.ndarray,
) -> None:  # fmt: skip
    """Release for all spikes of a part that arrive in the steps from start to stop."""
    # a row is listed at one place more than it is long: a synapse that fails is written as well
    room = scratch.synapse.shape[1] - scratch.longest - 1
    draws, visits = 0, 0
    for segment in (part, parts + part):
        filled = 0
        for step in range(start, stop):
            inbox.begin[segment, step - start] = filled
            spike, last = begin[segment, step - start], begin[segment, step - start + 1]
            while spike < last:
                count = 0
                while spike < last and count <= room:
                    row = units[segment, spike]
                    spike += 1
                    if sampler.kind == SKIP:
                        before = count
                        count, made = draw_gaps(sampler, step, row, synapses, scratch, part, count)
                        draws += made
                        visits += count - before
                    else:
                        count = draw_each(sampler, step, row, synapses, scratch, part, count)
                        visits += synapses.indptr[row + 1] - synapses.indptr[row]
                filled = post(
                    step, count, synapses, scratch, part, inbox, segment, filled, logging
                )
        inbox.begin[segment, stop - start] = filled
        counters[part, 2] += filled
    counters[part, 0] += visits if sampler.kind == PER_SYNAPSE else draws
    counters[part, 1] += visits
