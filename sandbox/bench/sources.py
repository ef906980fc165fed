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
    start = start.resolve()
    found = {start}
    waiting = [start, *(path for name in ALWAYS if (path := _module(name, start.parent)))]
    found.update(waiting)
    while waiting:
        for path in _imports(waiting.pop(), start.parent):
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


def _module(name: str, beside: Path) -> Path | None:
    """Return the file of a project module, or of one in the folder of the claim's file."""
    root = ROOT if name.split(".")[0] in ROOMS else beside
    base = root.joinpath(*name.split("."))
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


@functools.cache
def _import_statements(source: bytes, nested: bool) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Return the import statements of a source text, inside functions and classes too."""
    tree = ast.parse(source)
    nodes = ast.walk(tree) if nested else tree.body
    return tuple(node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))


def _imports(path: Path, beside: Path) -> Iterator[Path]:
    """Yield the project files that one file imports directly."""
    for node in _import_statements(path.read_bytes(), nested=True):
        if isinstance(node, ast.ImportFrom):
            module = _absolute(node, path, beside)
            for alias in node.names:
                yield from _definition(module, alias.name, beside)
            continue
        for alias in node.names:
            # without "as" the name bound is the package, and all of it can be reached
            top = alias.name.split(".")[0]
            for name in [alias.name] if alias.asname else [alias.name, top]:
                if (found := _module(name, beside)) is not None:
                    yield found


def _absolute(node: ast.ImportFrom, path: Path, beside: Path) -> str:
    """Return the full name of the module that an import names, a relative one too."""
    named = [node.module] if node.module else []
    if node.level == 0:
        return ".".join(named)
    in_room = path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ROOMS
    package = path.relative_to(ROOT if in_room else beside).parent.parts
    return ".".join([*package[: len(package) - node.level + 1], *named])


def _definition(module: str, name: str, beside: Path) -> Iterator[Path]:
    """Yield the file that defines ``name`` as imported from ``module``."""
    submodule, path = _module(f"{module}.{name}", beside), _module(module, beside)
    if submodule is not None:
        yield submodule
    if path is None:
        return
    if path.name == "__init__.py":
        for node in _import_statements(path.read_bytes(), nested=False):
            if not isinstance(node, ast.ImportFrom):
                continue
            source = _absolute(node, path, beside)
            for alias in node.names:
                if (alias.asname or alias.name) == name and source != module:
                    yield from _definition(source, alias.name, beside)
                    return
    if submodule is None:
        yield path
