"""Published file formats: bytes in, pixels and class numbers out."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from numpy import ndarray

__all__ = ["Raw", "cifar", "idx", "table"]


@dataclass(frozen=True, slots=True)
class Raw:
    """A data set as published.

    Parameters
    ----------
    pixels : ndarray of uint8
        (sample, feature).
    labels : ndarray of int64
        (sample,).
    train : int or None
        How many of them, from the first, are the published training set; None where
        the publisher made no such division.
    """

    pixels: UInt8[ndarray, "sample feature"]
    labels: Int64[ndarray, " sample"]
    train: int | None


def _array(data: bytes) -> ndarray:
    """Return the array of an IDX file: magic number, sizes (big-endian), bytes."""
    dimensions = data[3]
    shape = np.frombuffer(data, ">u4", count=dimensions, offset=4)
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions)
    return values.reshape(tuple(int(n) for n in shape))


def idx(files: list[bytes]) -> Raw:
    """Return data from four IDX files: training images, their labels, and both for the test."""
    images, marks, test_images, test_marks = (_array(data) for data in files)
    pixels = np.concatenate([images, test_images])
    labels = np.concatenate([marks, test_marks]).astype(np.int64)
    return Raw(pixels.reshape(len(pixels), -1), labels, len(images))


def cifar(files: list[bytes]) -> Raw:
    """Return CIFAR-10 from its binary archive: records of one label and 3072 pixels."""
    batches = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(files[0]), mode="r:gz") as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is not None:
                found[Path(member.name).name] = stream.read()
    records = [np.frombuffer(found[name], np.uint8).reshape(-1, 3073) for name in batches]
    train = sum(len(batch) for batch in records[:-1])
    together = np.concatenate(records)
    return Raw(together[:, 1:], together[:, 0].astype(np.int64), train)


def table(files: list[bytes]) -> Raw:
    """Return samples from comma-separated lines of whole numbers: the pixels, then the label."""
    lines = files[0].strip()
    values = np.fromstring(lines.replace(b"\n", b",").decode(), dtype=np.int64, sep=",")
    rows = values.reshape(lines.count(b"\n") + 1, -1)
    return Raw(rows[:, :-1].astype(np.uint8), rows[:, -1].copy(), None)
