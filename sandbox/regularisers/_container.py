"""The file of compressed weights: header, stream of symbols, checksum."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass

import torch

from sandbox.regularisers._coding import Reader, Table, varint
from theory.checks import shown

__all__ = ["DTYPES", "Entry", "packed", "parsed"]

MAGIC = b"NSW1"
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Types of weights, by their numbers in the file."""

AXES = 64
"""Dimensions of a tensor, at most; torch has no more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the header says of a tensor."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    step: float
    table: Table

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


def packed(entries: list[Entry], stream: bytes) -> bytes:
    """Return a file's bytes from what its header says, and the coder's stream."""
    written = b"".join([MAGIC, varint(len(entries)), *map(_header, entries), stream])
    return written + struct.pack("<I", zlib.crc32(written))


def parsed(data: bytes) -> tuple[tuple[Entry, ...], bytes]:
    """Return the header of all tensors, and the coder's stream."""
    if not isinstance(data, bytes) or data[:4] != MAGIC:
        raise ValueError(f"data = {shown(data)}: must be bytes that compress() made")
    written, told = data[:-4], data[-4:]
    if len(data) < 9 or struct.unpack("<I", told)[0] != zlib.crc32(written):
        raise ValueError(
            f"data of {len(data)} bytes: damaged or cut short, the checksum does not fit"
        )
    reader = Reader(written, len(MAGIC))
    entries, names = [], set[str]()
    for _ in range(reader.varint()):
        try:
            name = reader.take(reader.varint()).decode()
        except UnicodeDecodeError:
            raise ValueError("data: holds a name that is not in UTF-8") from None
        kind = reader.take(1)[0]
        if kind >= len(DTYPES):
            raise ValueError(f"data: holds a type of number {kind}, which is unknown")
        shape = tuple(reader.varint() for _ in range(reader.varint()))
        # an empty tensor has no weights, but strides all the same
        if len(shape) > AXES or math.prod(max(length, 1) for length in shape) >= 2**63:
            raise ValueError(f"data: holds a tensor of {len(shape)} dimensions, {shown(shape)}")
        (step,) = struct.unpack("<d", reader.take(8))
        own = reader.table(math.prod(shape))
        if not (step >= 0 and max(-own.low, own.high, 1) * step < math.inf):
            raise ValueError(f"data: holds a step of {step:g}")
        if name in names:
            raise ValueError(f"data: holds {shown(name)} twice")
        names.add(name)
        entries.append(Entry(name, DTYPES[kind], shape, step, own))
    stream = written[reader.at :]
    if len(stream) % 4:
        raise ValueError(f"data: its stream has {len(stream)} bytes, no whole words of 4")
    return tuple(entries), stream


def _header(entry: Entry) -> bytes:
    """Return what the header says of a tensor, as bytes."""
    name = entry.name.encode()
    return b"".join([
        varint(len(name)),
        name,
        bytes([DTYPES.index(entry.dtype)]),
        varint(len(entry.shape)),
        *map(varint, entry.shape),
        struct.pack("<d", entry.step),
        entry.table.written(),
    ])
