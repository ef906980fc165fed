"""A tiny image data set that can be published anywhere: in IDX files, gzipped or not."""

import gzip
import hashlib
import struct

import numpy as np

from sandbox.training import _formats
from sandbox.training._catalog import Entry, Published

URL = "https://example.org/toy/"
PIXELS = (np.arange(7 * 6).reshape(7, 2, 3) * 37 % 256).astype(np.uint8)
LABELS = np.array([2, 0, 1, 2, 1, 0, 2], np.uint8)
TRAIN = 5
NAMES = ("train-images.gz", "train-labels.gz", "test-images.gz", "test-labels.gz")


def idx_bytes(array):
    """An IDX file as its description has it: two zeros, 8 = unsigned byte, sizes, values."""
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    return head + b"".join(struct.pack(">I", n) for n in array.shape) + array.tobytes()


CONTENTS = [
    idx_bytes(part) for part in (PIXELS[:TRAIN], LABELS[:TRAIN], PIXELS[TRAIN:], LABELS[TRAIN:])
]
PACKED = [gzip.compress(data, mtime=0) for data in CONTENTS]


def toy_entry(debian):
    """A catalog entry with a Debian package in a folder of the test's own."""
    published = (
        Published(name, hashlib.sha256(data).hexdigest(), f"sha256:{digest}")
        for name, data, digest in zip(
            NAMES, CONTENTS, (hashlib.sha256(data).hexdigest() for data in PACKED), strict=True
        )
    )
    return Entry(
        classes=("a", "b", "c"),
        shape=(2, 3),
        brightest=255,
        mean=(0.25,),
        deviation=(0.5,),
        source="made up",
        decode=_formats.idx,
        files=tuple(published),
        url=URL,
        megabytes=1,
        debian=("dataset-toy", str(debian)),
    )


def put(folder, *, packed=True):
    """Write the files into a folder, as published or gunzipped."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data, small in zip(NAMES, CONTENTS, PACKED, strict=True):
        if packed:
            (folder / name).write_bytes(small)
        else:
            (folder / name.removesuffix(".gz")).write_bytes(data)
    return folder
