"""Compiled random numbers: Philox-4x32-10 for one counter at a time.

The same bits as :func:`theory.streams.philox` and :func:`theory.streams.uniforms`,
for use inside other kernels, where each draw is addressed by what it is for.
"""

from __future__ import annotations

import numba
import numpy as np

from theory.streams import MULTIPLIERS, ROUNDS, WEYL

__all__ = ["philox_uniform", "philox_uniform_pair", "philox_words"]

# uint64 by name: numba would make a float of an int64 and a uint64
_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
_W0, _W1 = np.uint64(WEYL[0]), np.uint64(WEYL[1])
_FIVE, _SIX, _SHIFT = np.uint64(5), np.uint64(6), np.uint64(26)


@numba.njit(cache=True)
def philox_words(key0, key1, c0, c1, c2, c3):  # type: ignore[no-untyped-def]  # numba infers
    """Return the four 32-bit words of a counter under a key, as uint64."""
    k0, k1 = np.uint64(key0) & _WORD, np.uint64(key1) & _WORD
    c0, c1 = np.uint64(c0) & _WORD, np.uint64(c1) & _WORD
    c2, c3 = np.uint64(c2) & _WORD, np.uint64(c3) & _WORD
    for _ in range(ROUNDS):
        product0, product1 = _M0 * c0, _M1 * c2
        c0 = (product1 >> _HALF) ^ c1 ^ k0
        c1 = product1 & _WORD
        c2 = (product0 >> _HALF) ^ c3 ^ k1
        c3 = product0 & _WORD
        k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    return c0, c1, c2, c3


@numba.njit(cache=True)
def philox_uniform_pair(key0, key1, c0, c1, c2, c3):  # type: ignore[no-untyped-def]  # numba infers
    """Return two float64 in [0, 1): from the first two words and from the last two."""
    a, b, c, d = philox_words(key0, key1, c0, c1, c2, c3)
    first = np.float64(((a >> _FIVE) << _SHIFT) + (b >> _SIX)) * 2.0**-53
    second = np.float64(((c >> _FIVE) << _SHIFT) + (d >> _SIX)) * 2.0**-53
    return first, second


@numba.njit(cache=True)
def philox_uniform(key0, key1, c0, c1, c2, c3):  # type: ignore[no-untyped-def]  # numba infers
    """Return one float64 in [0, 1), that of :func:`theory.streams.uniforms`."""
    return philox_uniform_pair(key0, key1, c0, c1, c2, c3)[0]
