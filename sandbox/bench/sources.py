"""Which project modules a claim's code rests on, and a hash of their sources.

The imports are read from the syntax tree, inside functions too, and followed
through the project's own packages. A name imported from a package's
``__init__`` is followed to the module that defines it, so that a change
elsewhere in the package does not invalidate the claim.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["ROOMS", "code_hash", "source_files"]

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("theory", "deeplinear", "synapses", "sandbox")
# every run passes through these, though no claim imports them
ALWAYS = ("sandbox.bench.comparison", "sandbox.bench.figures", "sandbox.bench.sweep")


def source_files(start: Path) -> list[Path]:
    """Return the claim's file and every project file that it rests on, sorted.

    Parameters
    ----------
    start : pathlib.Path
        The file that states the claim.

    Returns
    -------
    list of pathlib.Path
        Absolute paths.

    Examples
    --------
    >>> any(path.name == "sources.py" for path in source_files(Path(__file__)))
    True
    """
    found = {start.resolve()}
    waiting = [start.resolve(), *(path for name in ALWAYS if (path := _module(name)))]
    found.update(waiting)
    while waiting:
        for path in _imports(waiting.pop()):
            if path not in found:
                found.add(path)
                waiting.append(path)
    return sorted(found)


def code_hash(start: Path) -> str:
    """Return a SHA-256 over the sources that the claim rests on.

    Parameters
    ----------
    start : pathlib.Path
        The file that states the claim.

    Returns
    -------
    str
        Hexadecimal digest.
    """
    digest = hashlib.sha256()
    for path in source_files(start):
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
        digest.update(f"{name}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _module(name: str, near: Path | None = None) -> Path | None:
    """Return the file of a project module, or of one lying beside ``near``."""
    roots = [ROOT] if name.split(".")[0] in ROOMS else [near.parent] if near else []
    for root in roots:
        base = root.joinpath(*name.split("."))
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


@functools.cache
def _imports(path: Path) -> tuple[Path, ...]:
    """Return the project files that one file imports directly."""
    return tuple(dict.fromkeys(_each_import(path)))


def _each_import(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if (found := _module(alias.name, path)) is not None:
                    yield found
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                yield from _definition(node.module, alias.name, path)


def _definition(module: str, name: str, near: Path) -> Iterator[Path]:
    """Yield the file that defines ``name`` as imported from ``module``."""
    if (submodule := _module(f"{module}.{name}", near)) is not None:
        yield submodule
        return
    path = _module(module, near)
    if path is None:
        return
    if path.name == "__init__.py":
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        yield from _definition(node.module, alias.name, path)
                        return
    yield path
