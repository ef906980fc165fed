"""Named seeds and counter-based random numbers, beneath everything that draws.

A run owns one :class:`Streams`; whatever needs randomness asks it for a child by
name and index, so that neither the order of the calls nor a new consumer changes
anybody's numbers. Inside kernels, where a draw must depend on *which* draw it is
and not on what was drawn before, :func:`uniforms` maps (key, counter) to a number.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Streams", "philox", "uniforms"]

WORD = 0xFFFFFFFF
"""The largest 32-bit word."""

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
"""Round multipliers of Philox-4x32."""

WEYL = (0x9E3779B9, 0xBB67AE85)
"""Key increments of Philox-4x32: the golden ratio and the square root of 3, less 1."""

ROUNDS = 10
"""Rounds of Philox-4x32-10."""


@dataclass(frozen=True, slots=True)
class Streams:
    r"""Random streams addressed by name and index under one root seed.

    **Equation.** The child (name, index) is numpy's seed sequence with entropy
    ``root`` and, as spawn key, the eight 32-bit words of SHA-256(name) followed by
    the two words of the index: a pure function of (root, name, index).

    **Shapes and units.** Integers throughout. One name serves one purpose: a
    generator, an integer and a key of the same name are drawn from different words
    of the same child, so they differ, but they change together.

    Parameters
    ----------
    root : int
        Seed of the whole run, in [0, 2**128).

    Raises
    ------
    ValueError
        If the root is not a whole number in range.

    References
    ----------
    O'Neill (2015), "Developing a seed_seq alternative", pcg-random.org: the design
    of ``numpy.random.SeedSequence``. Addressing by a hash of the name: derived here.

    Examples
    --------
    >>> streams = Streams(7)
    >>> first = streams.generator("weights", 3).normal()
    >>> _ = streams.generator("inputs").normal(size=1000)
    >>> bool(first == Streams(7).generator("weights", 3).normal())
    True
    """

    root: int

    def __post_init__(self) -> None:
        # theory.checks brings jaxtyping, a tenth of a second that not every importer needs
        from theory.checks import as_integer

        object.__setattr__(self, "root", as_integer("root", self.root, low=0, high=2**128 - 1))

    def sequence(self, name: str, index: int = 0) -> np.random.SeedSequence:
        """Return the seed sequence of a child.

        Parameters
        ----------
        name : str
            What the numbers are for, not empty.
        index : int
            Which of them, in [0, 2**64).

        Returns
        -------
        numpy.random.SeedSequence
            A fresh object, equal for equal arguments.

        Raises
        ------
        ValueError
            If the name is not a non-empty string or the index is out of range.

        Examples
        --------
        >>> Streams(7).sequence("weights").generate_state(1).tolist()
        [1003602233]
        """
        from theory.checks import as_integer, shown

        if not isinstance(name, str) or not name:
            raise ValueError(f"name = {shown(name)}: must be a non-empty string")
        index = as_integer("index", index, low=0, high=2**64 - 1)
        digest = hashlib.sha256(name.encode()).digest()
        words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]
        # every part has a fixed number of words, so no two addresses share a spawn key
        return np.random.SeedSequence(self.root, spawn_key=(*words, index & WORD, index >> 32))

    __call__ = sequence

    def generator(self, name: str, index: int = 0) -> np.random.Generator:
        """Return numpy's default generator on a child.

        Parameters
        ----------
        name : str
            What the numbers are for.
        index : int
            Which of them.

        Returns
        -------
        numpy.random.Generator
            At its beginning.

        Examples
        --------
        >>> Streams(7).generator("order").permutation(4).tolist()
        [3, 1, 0, 2]
        """
        return np.random.default_rng(self.sequence(name, index))

    def _spare_words(self, name: str, index: int) -> list[int]:
        """Return four 32-bit words of a child beyond the eight that seed numpy's generator."""
        return [int(word) for word in self.sequence(name, index).generate_state(12)[8:]]

    def integer(self, name: str, index: int = 0) -> int:
        """Return a 63-bit seed, for ``torch.Generator().manual_seed`` and its like.

        Parameters
        ----------
        name : str
            What the seed is for.
        index : int
            Which of them.

        Returns
        -------
        int
            In [0, 2**63).

        Examples
        --------
        >>> 0 <= Streams(7).integer("dropout") < 2**63
        True
        """
        low, high, _, _ = self._spare_words(name, index)
        return (high << 32 | low) >> 1

    def key(self, name: str, index: int = 0) -> tuple[int, int]:
        """Return a key for :func:`philox` and :func:`uniforms`.

        Parameters
        ----------
        name : str
            What the key is for.
        index : int
            Which of them.

        Returns
        -------
        tuple of int
            Two 32-bit words.

        Examples
        --------
        >>> key = Streams(7).key("release")
        >>> [0 <= word < 2**32 for word in key]
        [True, True]
        """
        _, _, first, second = self._spare_words(name, index)
        return first, second


def _words(name: str, value: Any, count: int) -> list[Any]:
    """Return the words of a counter or key, each an int or an int64 array, reduced to 32 bits."""
    from theory.checks import shown

    wanted = f"must be {count} words in [0, 2**32), ints or int64 arrays"
    if not isinstance(value, tuple | list) or len(value) != count:
        raise ValueError(f"{name} = {shown(value)}: {wanted}")
    words: list[Any] = []
    for i, word in enumerate(value):
        kind = str(getattr(word, "dtype", type(word).__name__)).removeprefix("torch.")
        if kind not in {"int", "int64"}:
            raise ValueError(f"{name}[{i}] has type {kind}: {wanted}")
        # asking a device's tensor for its range would wait for the device: it wraps instead
        here = isinstance(word, int | np.integer | np.ndarray)
        if here and np.any((np.asarray(word) < 0) | (np.asarray(word) > WORD)):
            raise ValueError(f"{name}[{i}] = {shown(word)}: {wanted}")
        words.append(word & WORD)
    return words


def _multiply(multiplier: int, word: Any) -> tuple[Any, Any]:
    """Return the high and low words of a product, by halves so that int64 never overflows."""
    small = (word & 0xFFFF) * multiplier
    large = (word >> 16) * multiplier + (small >> 16)
    return large >> 16, (large & 0xFFFF) * 0x10000 + (small & 0xFFFF)


def philox(counter: Any, key: Any) -> tuple[Any, Any, Any, Any]:
    r"""Philox-4x32-10: four random words for every counter under a key.

    **Equation.** Ten rounds of
    :math:`(c_0, c_1, c_2, c_3) \to (\mathrm{hi}(M_1 c_2) \oplus c_1 \oplus k_0,\,
    \mathrm{lo}(M_1 c_2),\, \mathrm{hi}(M_0 c_0) \oplus c_3 \oplus k_1,\,
    \mathrm{lo}(M_0 c_0))`, the key growing by a constant between rounds. It uses
    operators alone, so numpy arrays, torch tensors and ints give the same bits.

    **Shapes and units.** Words are ints or int64 arrays in [0, 2**32) whose shapes
    broadcast; the result has the broadcast shape. Words of torch tensors are taken
    modulo 2**32 without a check, which would wait for the device.

    Parameters
    ----------
    counter : tuple of four words
        Which draw: for example (step, unit, trial, purpose).
    key : tuple of two words
        Which stream, from :meth:`Streams.key`.

    Returns
    -------
    tuple of four words
        Uniform on [0, 2**32), independent for different counters.

    Raises
    ------
    ValueError
        If a word is missing, is not int64, or lies out of range.

    References
    ----------
    Salmon, Moraes, Dror & Shaw (2011), doi:10.1145/2063384.2063405.

    Examples
    --------
    >>> [f"{word:08x}" for word in philox((0, 0, 0, 0), (0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    c0, c1, c2, c3 = _words("counter", counter, 4)
    k0, k1 = _words("key", key, 2)
    for number in range(ROUNDS):
        if number:
            k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
        high0, low0 = _multiply(MULTIPLIERS[0], c0)
        high1, low1 = _multiply(MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
    return c0, c1, c2, c3


def uniforms(key: Any, counter: Any) -> Any:
    r"""Uniform random numbers addressed by key and counter.

    **Equation.** With the first two words a, b of :func:`philox`,
    :math:`u = (2^{26} \lfloor a / 2^5 \rfloor + \lfloor b / 2^6 \rfloor) / 2^{53}`.

    **Shapes and units.** The broadcast shape of the words; float64 in [0, 1), a
    multiple of 2**-53. numpy arrays (or ints) give numpy, torch tensors give torch,
    bit for bit the same and the same as the compiled kernel.

    Parameters
    ----------
    key : tuple of two words
        Which stream, from :meth:`Streams.key`.
    counter : tuple of four words
        Which draw.

    Returns
    -------
    array of float64
        The numbers.

    Raises
    ------
    ValueError
        If a word is missing, is not int64, or lies out of range.

    References
    ----------
    Salmon, Moraes, Dror & Shaw (2011), doi:10.1145/2063384.2063405.

    Examples
    --------
    >>> draws = uniforms(Streams(7).key("release"), (np.arange(3), 0, 0, 0))
    >>> draws.dtype, draws.shape, bool((draws < 1).all())
    (dtype('float64'), (3,), True)
    """
    first, second, _, _ = philox(counter, key)
    bits = (first >> 5) * 0x4000000 + (second >> 6)
    # torch turns an integer times a float into its default type, float32 as a rule
    wide = bits.double() if hasattr(bits, "double") else np.asarray(bits, dtype=np.float64)
    return wide * 2.0**-53
