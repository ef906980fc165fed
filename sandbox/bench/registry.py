"""Where claims are found: the shipped papers, and files that users write."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from sandbox.bench.claim import Claim, Paper

__all__ = ["UnknownClaimError", "load_file", "select", "shipped"]


class UnknownClaimError(ValueError):
    """A claim, paper or file that does not exist; the message names the nearest."""


def shipped() -> list[Paper]:
    """Return the papers of ``sandbox.claims``, in alphabetical order of their keys.

    Returns
    -------
    list of Paper
        Papers with their claims.
    """
    import sandbox.claims as package

    papers: dict[str, Paper] = {}
    for folder in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        inner = importlib.import_module(folder.name)
        for file in pkgutil.iter_modules(getattr(inner, "__path__", []), f"{folder.name}."):
            for paper in _papers(importlib.import_module(file.name)):
                papers[paper.key] = paper
    return [papers[key] for key in sorted(papers)]


def load_file(path: Path) -> list[Paper]:
    """Import a user's file and return the papers whose claims it states.

    Parameters
    ----------
    path : pathlib.Path
        A Python file that creates a :class:`Paper` and decorates functions.

    Returns
    -------
    list of Paper
        Papers with at least one claim.

    Raises
    ------
    UnknownClaimError
        If there is no such file or it states no claim.
    """
    path = path.resolve()
    if not path.is_file():
        raise UnknownClaimError(f"{path}: no such file")
    name = f"claims_in_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UnknownClaimError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    # a process pool finds the file's functions through the module table and the path
    sys.modules[name] = module
    spec.loader.exec_module(module)
    papers = [paper for paper in _papers(module) if paper.claims]
    if not papers:
        raise UnknownClaimError(f"{path}: states no claim; decorate a function with @PAPER.claim")
    return papers


def _papers(module: ModuleType) -> list[Paper]:
    """Return the papers among a module's global names."""
    return [value for value in vars(module).values() if isinstance(value, Paper)]


def select(names: Iterable[str], paper: str | None, everything: bool) -> list[Claim]:
    """Return the claims that a command line names, without repeats, in order.

    Parameters
    ----------
    names : iterable of str
        Claim ids, or paths of files ending in ``.py``.
    paper : str or None
        Key of a paper, for all of its claims.
    everything : bool
        Whether to add every shipped claim.

    Returns
    -------
    list of Claim
        At least one claim.

    Raises
    ------
    UnknownClaimError
        If a name is unknown, or nothing was named.
    """
    papers = shipped()
    known = {claim.id: claim for each in papers for claim in each.claims.values()}
    chosen: dict[str, Claim] = {}
    for name in names:
        if name.endswith(".py"):
            found = [claim for each in load_file(Path(name)) for claim in each.claims.values()]
        elif name in known:
            found = [known[name]]
        else:
            raise UnknownClaimError(f"unknown claim {name!r}{_nearest(name, known)}")
        chosen.update((claim.id, claim) for claim in found)
    if paper is not None:
        by_key = {each.key: each for each in papers}
        if paper not in by_key:
            raise UnknownClaimError(f"unknown paper {paper!r}{_nearest(paper, by_key)}")
        chosen.update((claim.id, claim) for claim in by_key[paper].claims.values())
    if everything:
        chosen.update(known)
    if not chosen:
        raise UnknownClaimError("no claim named: give claim ids, a FILE.py, --paper P or --all")
    return list(chosen.values())


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint with the names most like the one given."""
    known = list(known)
    tails = {full.split("/")[-1]: full for full in known}
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    close += [tails[t] for t in difflib.get_close_matches(name.split("/")[-1], tails, n=2)]
    if not close:
        return "; `sandbox list` shows them all"
    return "; did you mean " + " or ".join(dict.fromkeys(close)) + "?"
