"""Whole numbers as bytes: tables of frequencies, and a range coder that uses them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Int32
from numpy import ndarray

__all__ = ["Reader", "Table", "decoded", "encoded", "entropy", "table", "varint", "zigzag"]

LARGEST = 2**15 - 1
"""Largest magnitude of a symbol: twice that many fit the coder's probabilities of 24 bits."""

PIECE = 2**20
"""Symbols decoded at a time."""


class Table(NamedTuple):
    """Model of the symbols of a tensor: from where to where they lie, and how often each occurs.

    Parameters
    ----------
    low, high : int
        The smallest and the largest symbol.
    counts : ndarray of int or None
        How often each from low to high occurs; None if all are taken to be equally likely.
    """

    low: int
    high: int
    counts: Int[ndarray, " symbol"] | None

    @property
    def constant(self) -> bool:
        """Whether there is one symbol only, which takes no bits."""
        return self.low == self.high

    def written(self) -> bytes:
        """Return the table as bytes."""
        ends = varint(zigzag(self.low)) + varint(self.high - self.low)
        if self.constant:
            return ends
        if self.counts is None:
            return ends + b"\x00"
        return ends + b"\x01" + _listed(self.counts)


def table(symbols: Int32[ndarray, " weight"]) -> Table:
    """Return the model with which symbols, and the model itself, take the fewest bits.

    Parameters
    ----------
    symbols : ndarray of int32
        Of one tensor; may be empty.

    Returns
    -------
    Table
        Counted frequencies, or equal ones where counting does not pay: few weights, many levels.
    """
    if not symbols.size:
        return Table(0, 0, None)
    low, high = int(symbols.min()), int(symbols.max())
    if low == high:
        return Table(low, high, None)
    counts = np.bincount(symbols - low)
    counted = 8 * len(_listed(counts)) + len(symbols) * entropy(counts)
    flat = len(symbols) * np.log2(high - low + 1)
    return Table(low, high, counts if counted < flat else None)


def entropy(counts: Int[ndarray, " symbol"]) -> float:
    """Return the entropy of relative frequencies in bits; 0 of none."""
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(shares * np.log2(shares)).sum()) if len(shares) > 1 else 0.0


def encoded(parts: list[tuple[Int32[ndarray, " _"], Table]]) -> bytes:
    """Return the symbols of all tensors as one stream of a range coder.

    Parameters
    ----------
    parts : list of (ndarray of int32, Table)
        Symbols and their model, a pair a tensor.

    Returns
    -------
    bytes
        Whole words of 32 bits, the least significant byte first.
    """
    import constriction

    coder = constriction.stream.queue.RangeEncoder()
    for symbols, own in parts:
        if symbols.size and not own.constant:
            places, model = _model(own)
            coder.encode(places[symbols - own.low], model)
    return np.asarray(coder.get_compressed()).astype("<u4").tobytes()


def decoded(data: bytes, sizes: list[tuple[int, Table]]) -> list[Int32[ndarray, " _"]]:
    """Return the symbols of all tensors.

    Parameters
    ----------
    data : bytes
        What :func:`encoded` gave.
    sizes : list of (int, Table)
        Number of symbols and their model, a pair a tensor.

    Returns
    -------
    list of ndarray of int32
        The symbols, an array a tensor.

    Raises
    ------
    ValueError
        If the stream does not belong to these models.
    MemoryError
        If there is no place for as many symbols: frequent ones take hardly any bits.
    """
    import constriction

    # probabilities of 24 bits are at most twice what they stand for
    if sum(size * _information(own) for size, own in sizes) > 2 * (8 * len(data) + 64):
        raise ValueError("data: its stream of symbols is too short for as many weights")
    coder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
    found = []
    for size, own in sizes:
        symbols = np.full(size, own.low, dtype=np.int32)
        found.append(symbols)
        if own.constant or not size:
            continue
        places, model = _model(own)
        occurring = (np.flatnonzero(places >= 0) + own.low).astype(np.int32)
        # in pieces: the coder cannot be left where it finds no memory
        for start in range(0, size, PIECE):
            piece = symbols[start : start + PIECE]
            try:
                piece[:] = occurring[coder.decode(model, len(piece))]
            except AssertionError:
                raise ValueError("data: its stream of symbols belongs to other weights") from None
    return found


def _information(own: Table) -> float:
    """Return the bits of a symbol."""
    if own.counts is None:
        return math.log2(own.high - own.low + 1)
    return entropy(own.counts)


def _model(own: Table) -> tuple[Int32[ndarray, " symbol"], Any]:
    """Return every symbol's place among those that occur, -1 for none, and the coder's model."""
    import constriction

    kinds = constriction.stream.model
    size = own.high - own.low + 1
    if own.counts is None:
        return np.arange(size, dtype=np.int32), kinds.Uniform(size)
    # the coder keeps a probability for every symbol: those that never occur get none
    occurs = own.counts > 0
    places = np.where(occurs, np.cumsum(occurs) - 1, -1).astype(np.int32)
    shares: Float64[ndarray, " symbol"] = own.counts[occurs] / own.counts.sum()
    return places, kinds.Categorical(shares, perfect=False)


def zigzag(number: int) -> int:
    """Return a whole number as one that is not negative: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return 2 * number if number >= 0 else -2 * number - 1


def varint(number: int) -> bytes:
    """Return a number that is not negative in groups of seven bits, the lowest first."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _listed(counts: Int[ndarray, " symbol"]) -> bytes:
    """Return counts as the first of them, and how far it is to every further one that is not 0."""
    places = np.flatnonzero(counts)
    numbers = np.column_stack([np.diff(places, prepend=places[0] - 1), counts[places]])
    bits = "".join(map(_gamma, numbers.ravel()[1:].tolist()))
    size = -(-len(bits) // 8)
    return int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big")


def _gamma(number: int) -> str:
    """Return a number from 1 on in Elias's gamma code: 1, 010, 011, 00100."""
    digits = f"{number:b}"
    return "0" * (len(digits) - 1) + digits


@dataclass(slots=True)
class Reader:
    """Reads numbers off bytes, from the front.

    Parameters
    ----------
    data : bytes
        What is read.
    at : int
        How many bytes have been.
    """

    data: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        """Return so many bytes."""
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise ValueError("data: ends before what it announces")
        self.at += count
        return found

    def varint(self) -> int:
        """Return a number that :func:`varint` wrote."""
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
            if shift > 63:
                raise ValueError("data: holds a number of more than 64 bits")

    def table(self, size: int) -> Table:
        """Return a table of so many symbols."""
        told = self.varint()
        low = told // 2 if told % 2 == 0 else -(told + 1) // 2
        high = low + self.varint()
        if max(-low, high) > LARGEST:
            raise ValueError(f"data: holds a symbol beyond {LARGEST}")
        if low == high:
            return Table(low, high, None)
        kind = self.take(1)[0]
        if kind > 1:
            raise ValueError(f"data: holds frequencies of kind {kind}, which is unknown")
        if kind == 0:
            return Table(low, high, None)
        counts = self._listed(high - low + 1)
        # numbers of Python: a sum of 64 bits would wrap round
        if sum(counts.tolist()) != size:
            raise ValueError("data: its frequencies are not those of as many weights")
        return Table(low, high, counts)

    def _listed(self, length: int) -> Int[ndarray, " symbol"]:
        """Return the counts of so many symbols, of which the first and the last occur."""
        # no list of counts is longer: two numbers of 64 bits a symbol, a digit beforehand for each
        bits = np.unpackbits(np.frombuffer(self.data[self.at : self.at + 32 * length], np.uint8))
        text = (bits + ord("0")).tobytes().decode()
        counts = np.zeros(length, dtype=np.int64)
        place = at = 0
        while True:
            counts[place], at = _number(text, at)
            if place == length - 1:
                break
            gap, at = _number(text, at)
            place += gap
            if place >= length:
                raise ValueError("data: has the frequency of a symbol beyond the largest")
        self.at += -(-at // 8)
        return counts


def _number(text: str, at: int) -> tuple[int, int]:
    """Return a number in the gamma code, and where it ends."""
    first = text.find("1", at)
    end = 2 * first - at + 1
    if first < 0 or end > len(text) or first - at > 62:
        raise ValueError("data: ends within its frequencies")
    return int(text[first:end], 2), end
