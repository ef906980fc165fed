"""Compiled noisy descent in a rugged bowl: blocks of replicas, each draw addressed by its use.

Time runs outside, replicas inside: loops over a block have a fixed length and no branches, so
that the compiler makes vector instructions of them, random numbers and sine included. No loop
has a remainder, hence every replica meets the same instructions whatever their number.
"""

from __future__ import annotations

import numba
import numpy as np

from theory.streams import MULTIPLIERS, ROUNDS, WEYL

__all__ = ["BLOCK", "integrate", "normal_pairs", "sine"]

BLOCK = 256
"""Replicas that advance together; their state stays in the nearest cache."""

_WORD, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
_W0, _W1 = np.uint64(WEYL[0]), np.uint64(WEYL[1])
_ROUNDS = ROUNDS
# the bits of 1.0, of sqrt(1/2) and of 2**52: what follows them in the mantissa is a number
_ONE, _ROOT = np.uint64(0x3FF0000000000000), np.uint64(0x3FE6A09E667F3BCD)
_INTEGER = np.uint64(0x4330000000000000)
_BIT, _BIT2, _LOW12 = np.uint64(1), np.uint64(2), np.uint64(0xFFF)
_SIGN12 = np.uint64(0x800)
_S12, _S20, _S52, _S62, _S63 = (np.uint64(n) for n in (12, 20, 52, 62, 63))
# added to a number below 2**50, it leaves the nearest whole number in the last bits
_TO_INTEGER = 1.5 * 2.0**52
# pi in parts of 27, 27 and 53 bits: products with whole numbers below 2**26 are exact
_PI0, _PI1, _PI2 = 3.141592651605606, 1.984187036896401e-09, 1.2246467991473532e-16
_PER_PI, _QUARTER_TURN, _TURN = 1 / np.pi, np.pi / 2, 2 * np.pi
_LN2 = np.log(2.0)

# error_model="numpy": a check for division by zero is a branch; "contract": fused products
_inlined = numba.njit(forceinline=True, error_model="numpy")
_looped = numba.njit(cache=True, fastmath={"contract"}, error_model="numpy")


@_inlined
def _bits(number):  # type: ignore[no-untyped-def]  # numba infers
    """Return the bits of a float64."""
    return np.float64(number).view(np.uint64)


@_inlined
def _real(bits):  # type: ignore[no-untyped-def]  # numba infers
    """Return the float64 of some bits."""
    return np.uint64(bits).view(np.float64)


@_inlined
def sine(x):  # type: ignore[no-untyped-def]  # numba infers
    """Return the sine, to 4e-16 where |x| < 2e8: Chebyshev interpolation on half a turn."""
    shifted = x * _PER_PI + _TO_INTEGER
    n = shifted - _TO_INTEGER
    r = ((x - n * _PI0) - n * _PI1) - n * _PI2
    y = r * r
    p = 2.7314368769379893e-15
    p = p * y - 7.643969663988074e-13
    p = p * y + 1.6058977292642743e-10
    p = p * y - 2.505210761669045e-08
    p = p * y + 2.7557319219160833e-06
    p = p * y - 0.00019841269841254966
    p = p * y + 0.008333333333333316
    p = p * y - 0.16666666666666666
    return _real(_bits(r + r * y * p) ^ (_bits(shifted) << _S63))


@_inlined
def _round(number, key0, key1, c0, c1, c2, c3):  # type: ignore[no-untyped-def]  # numba infers
    """Return the words after one round of Philox-4x32, whose key grows with its number."""
    k0 = (key0 + np.uint64(number) * _W0) & _WORD
    k1 = (key1 + np.uint64(number) * _W1) & _WORD
    product0, product1 = _M0 * c0, _M1 * c2
    return (
        (product1 >> _HALF) ^ c1 ^ k0,
        product1 & _WORD,
        (product0 >> _HALF) ^ c3 ^ k1,
        product0 & _WORD,
    )


@_inlined
def _words(k0, k1, c0, c1):  # type: ignore[no-untyped-def]  # numba infers
    """Return the words of counter (c0, c1, 0, 0), those of :func:`theory.streams.philox`."""
    # written out: a loop inside the loop over replicas would stay scalar
    a, b, c, d = _round(0, k0, k1, c0, c1, np.uint64(0), np.uint64(0))
    a, b, c, d = _round(1, k0, k1, a, b, c, d)
    a, b, c, d = _round(2, k0, k1, a, b, c, d)
    a, b, c, d = _round(3, k0, k1, a, b, c, d)
    a, b, c, d = _round(4, k0, k1, a, b, c, d)
    a, b, c, d = _round(5, k0, k1, a, b, c, d)
    a, b, c, d = _round(6, k0, k1, a, b, c, d)
    a, b, c, d = _round(7, k0, k1, a, b, c, d)
    a, b, c, d = _round(8, k0, k1, a, b, c, d)
    return _round(9, k0, k1, a, b, c, d)


@_inlined
def _minus_twice_log(u):  # type: ignore[no-untyped-def]  # numba infers
    """Return -2 ln u for u in (0, 1]: exponent, and twice the artanh of (m - 1) / (m + 1)."""
    bits = _bits(u)
    exponent = (bits - _ROOT) >> _S52
    m = _real(bits - (exponent << _S52))
    # twelve bits, of which the first is the sign
    whole = _real(((exponent ^ _SIGN12) & _LOW12) | _INTEGER) - (2.0**52 + 2048.0)
    s = (m - 1.0) / (m + 1.0)
    y = s * s
    p = 0.14616562422104645
    p = p * y + 0.15331712479381301
    p = p * y + 0.1818288939967772
    p = p * y + 0.2222221113102852
    p = p * y + 0.2857142862599856
    p = p * y + 0.39999999999899455
    p = p * y + 0.666666666666667
    return -2.0 * (whole * _LN2 + s * (2.0 + y * p))


@_inlined
def _box_muller(a, b, c, d):  # type: ignore[no-untyped-def]  # numba infers
    """Return two normal numbers: 52 bits of radius, 52 bits of an eighth turn, sign and swap."""
    u = 2.0 - _real(((a << _S20) | (b >> _S12)) | _ONE)
    radius = np.sqrt(_minus_twice_log(u))
    r = (_real(((c << _S20) | (d >> _S12)) | _ONE) - 1.5) * 0.25
    y = r * r
    p = 3.78643334956545
    p = p * y - 15.094054182079999
    p = p * y + 42.05868918088512
    p = p * y - 76.70585973562093
    p = p * y + 81.6052492760517
    p = p * y - 41.341702240399755
    across = r * (_TURN + y * p)
    q = -1.6990343940660637
    q = q * y + 7.903206911569678
    q = q * y - 26.426253275854723
    q = q * y + 60.24464135270201
    q = q * y - 85.4568172066438
    q = q * y + 64.93939402266824
    q = q * y - 19.739208802178716
    along = 1.0 + y * q
    # d's last bits are not in the angle: half turns by sign, quarter turns by exchange
    radius = _real(_bits(radius) | ((d & _BIT2) << _S62))
    first, second = radius * along, radius * across
    if d & _BIT:
        first, second = second, first
    return first, second


@_looped
def normal_pairs(key0, key1, pair, block, first, second):  # type: ignore[no-untyped-def]  # numba infers
    """Fill two vectors with the normal numbers of a block of replicas for two steps.

    The counter of a replica is (pair of steps, replica, 0, 0).
    """
    k0, k1 = np.uint64(key0), np.uint64(key1)
    counter, replica = np.uint64(pair), np.uint64(block) * np.uint64(BLOCK)
    for i in range(BLOCK):
        a, b, c, d = _words(k0, k1, counter, replica + np.uint64(i))
        first[i], second[i] = _box_muller(a, b, c, d)


@_looped
def _advance(x, normals, rate, pull, wavenumber, phase, amplitude):  # type: ignore[no-untyped-def]  # numba infers
    """Move a block of replicas by one step."""
    for i in range(BLOCK):
        slope = rate * x[i] + pull * sine(wavenumber * x[i] + phase)
        x[i] = x[i] - slope + amplitude * normals[i]


@_looped
def _leave(x, low, high, step, left):  # type: ignore[no-untyped-def]  # numba infers
    """Note the step at which a replica is outside for the first time."""
    for i in range(BLOCK):
        outside = (x[i] <= low) | (x[i] >= high)
        left[i] = step if outside & (left[i] < 0) else left[i]


@_looped
def _observe(x, curvature, roughness, wavenumber, phase, sums):  # type: ignore[no-untyped-def]  # numba infers
    """Add x squared, loss, squared gradient and curvature to the sums of a block."""
    for i in range(BLOCK):
        place = wavenumber * x[i] + phase
        wave = roughness * sine(place + _QUARTER_TURN)
        slope = curvature * x[i] + roughness * wavenumber * sine(place)
        square = x[i] * x[i]
        sums[0, i] += square
        sums[1, i] += 0.5 * curvature * square - wave
        sums[2, i] += slope * slope
        sums[3, i] += curvature + wavenumber * wavenumber * wave


@numba.njit(cache=True, nogil=True)
def integrate(  # type: ignore[no-untyped-def]  # numba infers
    x, first, key0, key1, steps, bowl, step_size, amplitude, snapshots, kept, after, every, sums,
    low, high, left,
):  # fmt: skip
    """Run blocks of replicas, the first of them block number ``first``, through all steps.

    Arrays have a row a block, in place: state ``x``; ``kept`` (block, snapshot, replica);
    ``sums`` (block, 4, replica) over every ``every``-th step later than ``after``, if every > 0;
    ``left`` (block, replica), -1 until a replica is outside, if low < high.
    """
    curvature, roughness, wavenumber, phase = bowl
    rate, pull = step_size * curvature, step_size * roughness * wavenumber
    normals = np.empty((2, BLOCK))
    for block in range(x.shape[0]):
        own = x[block]
        shot = 0
        while shot < snapshots.size and snapshots[shot] == 0:
            kept[block, shot] = own
            shot += 1
        for step in range(1, steps + 1):
            odd = (step - 1) % 2
            if odd == 0 and amplitude != 0.0:
                normal_pairs(key0, key1, step // 2, first + block, normals[0], normals[1])
            elif odd == 0:
                normals[:] = 0.0
            _advance(own, normals[odd], rate, pull, wavenumber, phase, amplitude)
            if low < high:
                _leave(own, low, high, step, left[block])
            if every > 0 and step > after and (step - after) % every == 0:
                _observe(own, curvature, roughness, wavenumber, phase, sums[block])
            while shot < snapshots.size and snapshots[shot] == step:
                kept[block, shot] = own
                shot += 1
