"""Mean first-passage times of a random walk with a wall, whose steps need not be commensurable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy import ndarray
from scipy import sparse
from scipy.sparse.linalg import spsolve

__all__ = ["mean_first_passage"]

ROUNDING = 1e-12
"""Places closer to the wall or the goal than this are on it."""

CONVERGED = 1e-12
"""Relative change at which the tree of places is deep enough."""

MOST_UPS = 1 << 15
"""Deepest tree."""


def mean_first_passage(
    *,
    start: float,
    floor: float,
    goal: float,
    up: float,
    down: float,
    chance: Callable[[ndarray], ndarray],
) -> float:
    """Mean number of steps from a place to the first at or below the goal."""
    # The walk lives on y in (goal, floor]; a step adds `up` < 0 with probability chance(y),
    # else `down` > 0, and the wall puts every y above the floor onto it. Since the last visit
    # to the wall the walk has made i ups and j downs and is at floor + i up + j down. These
    # places are infinitely many, but those of large i are hardly ever reached: the tree is
    # doubled until the answer stays.
    deepest, known = 64, np.inf
    while deepest <= MOST_UPS:
        at_floor = _time(floor, floor, goal, up, down, chance, deepest, None)
        if abs(start - floor) > ROUNDING:
            found = _time(start, floor, goal, up, down, chance, deepest, at_floor)
        else:
            found = at_floor
        if abs(found - known) <= CONVERGED * found:
            return found
        deepest, known = 2 * deepest, found
    raise ValueError(
        "the mean time of the walk of the release probability does not converge: p_up and p_down"
        " are too small for an exact solution"
    )


def _time(
    start: float,
    floor: float,
    goal: float,
    up: float,
    down: float,
    chance: Callable[[ndarray], ndarray],
    deepest: int,
    at_floor: float | None,
) -> float:
    """Solve T(y) = 1 + chance T(y + up) + (1 - chance) T(y + down) on the tree from ``start``."""
    i = np.arange(deepest)
    first = np.maximum(np.ceil((goal + ROUNDING - start - i * up) / down), 0).astype(np.int64)
    last = np.floor((floor - ROUNDING - start - i * up) / down).astype(np.int64)
    last[0] = max(last[0], 0)  # the start itself, even where it is the wall
    number = np.maximum(last - first + 1, 0)
    offset = np.concatenate([[0], np.cumsum(number)])
    count = int(offset[-1])
    ups = np.repeat(i, number)
    downs = np.arange(count) - np.repeat(offset[:-1], number) + np.repeat(first, number)
    places = start + ups * up + downs * down
    risen = chance(places)
    rows = np.arange(count)
    matrix = sparse.csr_matrix(sparse.identity(count))
    right = np.ones(count)
    for more_ups, more_downs, weight in ((1, 0, risen), (0, 1, 1 - risen)):
        target = places + more_ups * up + more_downs * down
        there = np.minimum(ups + more_ups, deepest - 1)
        slot = offset[there] + downs + more_downs - first[there]
        inside = (ups + more_ups < deepest) & (downs + more_downs >= first[there])
        inside &= downs + more_downs <= last[there]
        # what leaves the tree without reaching the goal has hit the wall, or is cut off there
        walled = (target > goal + ROUNDING) & ~inside
        shape = (count, count)
        matrix = matrix - sparse.csr_matrix(
            (weight[inside], (rows[inside], slot[inside])), shape=shape
        )
        if at_floor is None:
            zero = np.zeros(int(walled.sum()), dtype=np.int64)
            matrix = matrix - sparse.csr_matrix((weight[walled], (rows[walled], zero)), shape=shape)
        else:
            right[walled] += weight[walled] * at_floor
    return float(spsolve(matrix.tocsc(), right)[0])
