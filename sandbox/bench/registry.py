"""Where claims are found: the shipped papers, and files that users write."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from sandbox.bench.claim import Claim, Paper

__all__ = ["UnknownClaimError", "load_file", "select", "shipped"]


class UnknownClaimError(ValueError):
    """A claim, paper or file that does not exist; the message names the nearest."""


def shipped() -> list[Paper]:
    """Return the papers of ``sandbox.claims``, in alphabetical order of their keys.

    Within a paper, claims come in the order of its files (alphabetical, or as the
    folder's ``READING_ORDER`` says) and of their definition.

    Returns
    -------
    list of Paper
        Papers with their claims.

    Raises
    ------
    ValueError
        If two papers have one key.
    """
    # found by name: the bench does not depend on the claims that happen to be shipped
    package = importlib.import_module("sandbox.claims")
    papers: dict[str, Paper] = {}
    for folder in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        inner = importlib.import_module(folder.name)
        found = pkgutil.iter_modules(getattr(inner, "__path__", []))
        names = [file.name for file in found if not file.name.startswith("_")]
        first = getattr(inner, "READING_ORDER", ())
        names.sort(key=lambda name: first.index(name) if name in first else len(first))
        files = (importlib.import_module(f"{folder.name}.{name}") for name in names)
        for module in (inner, *files):
            for paper in _papers(module):
                if papers.setdefault(paper.key, paper) is not paper:
                    raise ValueError(f"{module.__name__}: a second paper {paper.key!r}")
    return [papers[key] for key in sorted(papers)]


def load_file(path: Path) -> list[Claim]:
    """Import a user's file and return the claims that it states.

    Its folder joins the end of the module search path, so that it can import what
    lies beside it.

    Parameters
    ----------
    path : pathlib.Path
        A Python file that creates a :class:`Paper` and decorates functions.

    Returns
    -------
    list of Claim
        At least one claim, without those of papers that the file merely imports.

    Raises
    ------
    UnknownClaimError
        If there is no such file, it cannot be imported, or it states no claim.
    """
    path = path.resolve()
    if not path.is_file():
        raise UnknownClaimError(f"{path}: no such file")
    # files of one name in two folders are two modules
    name = f"claims_in_{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UnknownClaimError(f"{path}: not a Python file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = importlib.util.module_from_spec(spec)
    # a process pool finds the file's functions through the module table and the path
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as problem:
        del sys.modules[name]
        where = "".join(traceback.format_exception(problem))
        raise UnknownClaimError(f"{path}: cannot be imported\n{where.rstrip()}") from problem
    claims = [claim for paper in _papers(module) for claim in paper.claims.values()]
    mine = [claim for claim in claims if claim.file == path]
    if not mine:
        raise UnknownClaimError(f"{path}: states no claim; decorate a function with @PAPER.claim")
    return mine


def _papers(module: ModuleType) -> list[Paper]:
    """Return the papers among a module's global names, each once."""
    return list(dict.fromkeys(v for v in vars(module).values() if isinstance(v, Paper)))


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
    papers = {each.key: each for each in shipped()}
    known = {claim.id: claim for each in papers.values() for claim in each.claims.values()}
    found: list[Claim] = []
    for name in names:
        if name.endswith(".py"):
            found += load_file(Path(name))
        elif name in known:
            found.append(known[name])
        elif name in papers:
            raise UnknownClaimError(
                f"{name!r} is a paper: use --paper {name}, or one of its claims"
            )
        else:
            raise UnknownClaimError(f"unknown claim {name!r}{_nearest(name, known)}")
    if paper is not None:
        if paper not in papers:
            raise UnknownClaimError(f"unknown paper {paper!r}{_nearest(paper, papers)}")
        found += papers[paper].claims.values()
    if everything:
        found += known.values()
    chosen: dict[str, Claim] = {}
    for claim in found:
        if chosen.setdefault(claim.id, claim).file != claim.file:
            files = f"{chosen[claim.id].file} and {claim.file}"
            raise UnknownClaimError(f"{claim.id} is stated twice, by {files}: choose one of them")
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
