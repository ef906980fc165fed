"""Files written whole or not at all, and folders that belong to one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["flush", "only_process", "write_whole"]

CHUNK = 1 << 22
"""Bytes handed to the operating system at once."""


def flush(path: Path) -> None:
    """Ask the operating system to put a file or folder on the disk.

    Parameters
    ----------
    path : pathlib.Path
        What to flush.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, flush it, rename it, flush its folder.

    Whatever happens in between, the path holds its old contents or the new.

    Parameters
    ----------
    path : pathlib.Path
        The file; its folder must exist.
    data : bytes
        All of its contents.
    """
    # one fixed name, so that what a killed process left is overwritten by the next
    temporary = path.with_name(f".{path.name}.writing")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest[:CHUNK]) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    temporary.replace(path)
    flush(path.parent)


@contextmanager
def only_process(folder: Path) -> Generator[None]:
    """Hold a folder for this process; the lock of a killed process is gone with it.

    Parameters
    ----------
    folder : pathlib.Path
        Made if need be.

    Yields
    ------
    None
        While the folder is held.

    Raises
    ------
    BlockingIOError
        If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"{folder}: another process is writing here") from None
        yield
