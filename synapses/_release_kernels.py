"""Compiled release of transmitter: which synapses of a spiking unit release, and onto whom.

A sampler only names candidates; :func:`post` then looks at them all. Between the two lies
a short list, so that the memory accesses of many synapses can overlap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from synapses._philox_kernels import compiled, log_unit, uniform, uniform_pair

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
    """Releases on their way: of one segment a row, in order of arrival; one copy or two."""

    target: np.ndarray
    amplitude: np.ndarray
    begin: np.ndarray
    log_step: np.ndarray
    log_synapse: np.ndarray
    log_end: np.ndarray


# The samplers take plain arrays and numbers: a tuple of arrays is handed over field by field,
# which would take as long as a short row does.


@compiled
def draw_each(
    kind: int, key0: int, key1: int, uniforms: np.ndarray, step: int, start: int, stop: int,
    p: np.ndarray, chosen: np.ndarray, claim: np.ndarray, numbers: np.ndarray, count: int,
) -> int:  # fmt: skip
    """List the releases of a row, with a number for each synapse; return their count."""
    for base in range(start, stop, BATCH):
        size = min(BATCH, stop - base)
        if kind == INJECTED:
            for i in range(size):
                numbers[i] = uniforms[step, base + i]
        else:
            for i in range(size):
                k = base + i
                numbers[i] = uniform(key0, key1, k, step, k >> 32, 0)
        for i in range(size):
            # written either way: a branch would be mispredicted at every other release
            chosen[count] = base + i
            claim[count] = CERTAIN
            count += numbers[i] < p[base + i]
    return count


@compiled
def fill_gaps(
    key0: int, key1: int, step: int, unit: int, draws: int, size: int, ceiling: float, pace: float,
    even: bool, first: np.ndarray, second: np.ndarray,
) -> None:  # fmt: skip
    """Draw gaps, and with each either another gap or the number that decides on its candidate."""
    for i in range(size):
        one, other = uniform_pair(key0, key1, unit, step, draws + i, 0)
        first[i] = log_unit(1.0 - one) * pace
        # given a candidate at the ceiling, it releases with probability p / ceiling
        second[i] = log_unit(1.0 - other) * pace if even else other * ceiling


@compiled
def draw_gaps(
    key0: int, key1: int, step: int, unit: int, start: int, stop: int, ceiling: float, pace: float,
    even: bool, chosen: np.ndarray, claim: np.ndarray, first: np.ndarray, second: np.ndarray,
    count: int,
) -> tuple[int, int]:  # fmt: skip
    """List candidates of a row by the gaps between them; return their count and the draws made."""
    if ceiling == 0.0 or start == stop:
        return count, 0
    per_draw = 2 if even else 1
    place, draws = start, int(np.int64(0))  # a literal would be a type of its own
    while True:
        size = min(BATCH, int((stop - place) * ceiling / per_draw) + 1)
        if size > 2:
            size = (size + 3) & -4  # vector code draws four at a time
        fill_gaps(key0, key1, step, unit, draws, size, ceiling, pace, even, first, second)
        draws += size
        for i in range(size):
            # as floats: where the ceiling is tiny a gap may not fit an integer
            if first[i] >= stop - place:
                return count, draws
            place += int(first[i])
            chosen[count] = place
            claim[count] = CERTAIN if even else second[i]
            count += 1
            place += 1
            if even:
                if second[i] >= stop - place:
                    return count, draws
                place += int(second[i])
                chosen[count] = place
                claim[count] = CERTAIN
                count += 1
                place += 1


@compiled
def post(
    step: int, count: int, synapses: Synapses, chosen: np.ndarray, claim: np.ndarray,
    inbox: Inbox, copy: int, segment: int, filled: int, logging: bool,
) -> int:  # fmt: skip
    """Send the candidates that release to their targets; return how far the inbox is filled."""
    for i in range(count):
        k = chosen[i]
        if claim[i] < 0.0 or claim[i] < synapses.probability[k]:
            inbox.target[copy, segment, filled] = synapses.target[k]
            inbox.amplitude[copy, segment, filled] = synapses.amplitude[k]
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
    part: int, parts: int, window: int, start: int, stop: int, units: np.ndarray,
    begin: np.ndarray, synapses: Synapses, sampler: Sampler, scratch: Scratch, inbox: Inbox,
    logging: bool, counters: np.ndarray,
) -> None:  # fmt: skip
    """Release for all spikes of a part that arrive in a window, the steps from start to stop."""
    chosen, claim = scratch.synapse[part], scratch.claim[part]
    first, second = scratch.first[part], scratch.second[part]
    # a row is listed at one place more than it is long: a synapse that fails is written as well
    room = chosen.size - scratch.longest - 1
    copy = window % inbox.begin.shape[0]
    draws, visits = 0, 0
    for segment in (part, parts + part):
        filled = int(np.int64(0))  # a literal would be a type of its own
        for step in range(start, stop):
            inbox.begin[copy, segment, step - start] = filled
            spike, last = begin[segment, step - start], begin[segment, step - start + 1]
            while spike < last:
                count = int(np.int64(0))  # a literal would be a type of its own
                while spike < last and count <= room:
                    unit = units[segment, spike]
                    low, high = synapses.indptr[unit], synapses.indptr[unit + 1]
                    spike += 1
                    if sampler.kind == SKIP:
                        before = count
                        count, made = draw_gaps(
                            sampler.key0, sampler.key1, step, unit, low, high,
                            synapses.ceiling[unit], synapses.pace[unit], synapses.even[unit],
                            chosen, claim, first, second, count,
                        )  # fmt: skip
                        draws += made
                        visits += count - before
                    else:
                        count = draw_each(
                            sampler.kind, sampler.key0, sampler.key1, sampler.uniforms, step, low,
                            high, synapses.probability, chosen, claim, first, count,
                        )  # fmt: skip
                        visits += high - low
                filled = post(
                    step, count, synapses, chosen, claim, inbox, copy, segment, filled, logging
                )
        inbox.begin[copy, segment, stop - start] = filled
        counters[part, 2] += filled
    counters[part, 0] += visits if sampler.kind == PER_SYNAPSE else draws
    counters[part, 1] += visits
