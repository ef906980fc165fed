"""Skipping random numbers of numpy's legacy generator without making them."""

import numba
import numpy as np

__all__ = ["twist"]

WORDS, MIDDLE = 624, 397
UPPER, LOWER, MATRIX = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(0x9908B0DF)


@numba.njit(cache=True)
def twist(state: np.ndarray, times: int) -> None:
    """Advance a Mersenne Twister (MT19937) by whole blocks of 624 words, in place."""
    for _ in range(times):
        for k in range(WORDS):
            mixed = (state[k] & UPPER) | (state[(k + 1) % WORDS] & LOWER)
            value = state[(k + MIDDLE) % WORDS] ^ (mixed >> np.uint32(1))
            if mixed & np.uint32(1):
                value ^= MATRIX
            state[k] = value
