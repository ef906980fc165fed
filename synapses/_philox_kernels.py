"""Compiled random numbers for loops over many of them, and the compiler of this folder's kernels.

The bits of :func:`theory.streams.philox` and :func:`theory.streams.uniforms`. The rounds
are written out one by one: the compiler then draws for several counters at once, which
it does not do around a loop over rounds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from theory import streams
from theory.streams import MULTIPLIERS, WEYL

Function = TypeVar("Function", bound=Callable[..., Any])
Words = tuple[np.uint64, np.uint64, np.uint64, np.uint64]


def _sources_digest() -> str:
    """Return a digest of every file whose code or constants end up in this folder's kernels."""
    digest = hashlib.sha256()
    for path in [*sorted(Path(__file__).parent.glob("*_kernels.py")), Path(streams.__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


_DIGEST = _sources_digest()


def compiled(function: Function) -> Function:
    """Compile a kernel that lets go of the interpreter's lock; keep it until a kernel changes."""
    kernel: Any = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    # numba looks at the function's own file alone, and would go on using a caller that was
    # compiled with an older callee from another file
    stored: Any = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
    if stored is not None and hasattr(stored, "_source_stamp"):
        stored._source_stamp = _DIGEST
        try:
            stored._load_index()
        except (AttributeError, ImportError):
            # written by a version whose types are gone, which numba would trip over
            stored.flush()
    return cast("Function", kernel)


def inlined(function: Function) -> Function:
    """Make a function part of whichever kernel calls it, where loops over it become vector code."""
    return cast("Function", numba.njit(inline="always")(function))


# uint64 by name: numba would make a float of an int64 and a uint64
_WORD, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
_W0, _W1 = np.uint64(WEYL[0]), np.uint64(WEYL[1])
_FIVE, _SIX, _SHIFT = np.uint64(5), np.uint64(6), np.uint64(26)


@inlined
def _round(
    c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, k0: np.uint64, k1: np.uint64
) -> Words:
    """Return the counter after one round."""
    low, high = _M0 * c0, _M1 * c2
    return (high >> _HALF) ^ c1 ^ k0, high & _WORD, (low >> _HALF) ^ c3 ^ k1, low & _WORD


@inlined
def words(key0: int, key1: int, first: int, second: int, third: int, fourth: int) -> Words:
    """Return the four 32-bit words of a counter under a key."""
    k0, k1 = np.uint64(key0) & _WORD, np.uint64(key1) & _WORD
    c0, c1 = np.uint64(first) & _WORD, np.uint64(second) & _WORD
    c2, c3 = np.uint64(third) & _WORD, np.uint64(fourth) & _WORD
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    return _round(c0, c1, c2, c3, k0, k1)


@inlined
def unit(high: np.uint64, low: np.uint64) -> float:
    """Return the float64 in [0, 1) that two words make."""
    return np.float64(np.int64(((high >> _FIVE) << _SHIFT) + (low >> _SIX))) * 2.0**-53


@inlined
def uniform(key0: int, key1: int, first: int, second: int, third: int, fourth: int) -> float:
    """Return the float64 in [0, 1) of :func:`theory.streams.uniforms`."""
    high, low, _, _ = words(key0, key1, first, second, third, fourth)
    return unit(high, low)


@inlined
def uniform_pair(
    key0: int, key1: int, first: int, second: int, third: int, fourth: int
) -> tuple[float, float]:
    """Return two float64 in [0, 1): from the first two words and from the last two."""
    a, b, c, d = words(key0, key1, first, second, third, fourth)
    return unit(a, b), unit(c, d)


def _reinterpreted(to: Any) -> Any:
    """Return a function that takes 64 bits for another type."""

    @intrinsic  # type: ignore[untyped-decorator]  # numba is untyped
    def cast_bits(_: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = context.get_value_type(signature.return_type)
            return builder.bitcast(arguments[0], kind)

        return to(value), generate

    return cast_bits


_bits_of = _reinterpreted(types.int64)
_float_of = _reinterpreted(types.float64)
_MANTISSA, _ONE = (1 << 52) - 1, 1023 << 52
_ROOT_2, _LOG_2 = np.sqrt(2.0), np.log(2.0)


@inlined
def log_unit(x: float) -> float:
    """Return the natural logarithm of a normal number in (0, 1], to 4e-16 of its size."""
    # written out: the library's logarithm keeps a loop from becoming vector code, and its last
    # digit differs between machines
    bits = _bits_of(x)
    exponent = (bits >> 52) - 1023
    mantissa = _float_of((bits & _MANTISSA) | _ONE)
    large = mantissa > _ROOT_2
    mantissa = 0.5 * mantissa if large else mantissa
    exponent = exponent + 1 if large else exponent
    # ln m = 2 artanh s, and s^2 < 0.0295: the first term left out is below 1e-17 of the sum
    s = (mantissa - 1.0) / (mantissa + 1.0)
    z = s * s
    series = 1 / 19 + z * (1 / 21)
    series = 1 / 15 + z * (1 / 17 + z * series)
    series = 1 / 11 + z * (1 / 13 + z * series)
    series = 1 / 7 + z * (1 / 9 + z * series)
    series = 1 / 3 + z * (1 / 5 + z * series)
    return float(exponent * _LOG_2 + (2.0 * s + 2.0 * s * z * series))
