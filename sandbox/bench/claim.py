"""Papers, claims and runs: what is stated, and what an experiment is handed.

A file of claims needs only this::

    from sandbox.bench import Comparison, Paper, Run

    PAPER = Paper("me2026idea", bibtex="@article{...}")

    @PAPER.claim("two-is-two", says="One and one make two.", tag="derived")
    def two(run: Run) -> Comparison:
        return Comparison("sum", 2.0, 1.0 + 1.0, tolerance=0.0, reason="exact in binary")
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from sandbox.bench.comparison import Comparison
from sandbox.bench.needs import NEEDS

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from matplotlib.figure import Figure

    from theory.derivation import Derivation
    from theory.streams import Streams

__all__ = ["Claim", "Paper", "Run", "Scale", "Tag", "lazy"]

Scale = Literal["quick", "full", "paper"]
Tag = Literal["paper", "derived", "standard"]
Experiment: TypeAlias = Callable[["Run"], "Comparison | list[Comparison]"]
Plot: TypeAlias = Callable[["Figure", "list[Comparison]"], None]
T = TypeVar("T")

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, eq=False)
class Claim:
    """One statement, the experiment that tests it, and where it comes from.

    Parameters
    ----------
    paper : Paper
        The source it belongs to.
    name : str
        Short name in kebab-case; the claim's id is ``paper.key/name``.
    says : str
        The statement, one or two sentences.
    tag : {"paper", "derived", "standard"}
        Stated by the paper, derived in this project, or standard knowledge.
    experiment : callable
        ``f(run) -> Comparison | list[Comparison]``.
    derivation : callable or None
        Returns the :class:`theory.derivation.Derivation` behind the prediction.
    plot : callable or None
        ``plot(figure, comparisons)`` draws the figure instead of the bench.
    needs : tuple of str
        What must be at hand, e.g. ``("gpu",)``; otherwise the claim is skipped.
    """

    paper: Paper
    name: str
    says: str
    tag: Tag
    experiment: Experiment
    derivation: Callable[[], Derivation] | None = None
    plot: Plot | None = None
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The claim's full name, ``paper/claim``."""
        return f"{self.paper.key}/{self.name}"

    @property
    def file(self) -> Path:
        """The source file that states the claim."""
        return Path(inspect.unwrap(self.experiment).__code__.co_filename)


@dataclass(eq=False)
class Paper:
    """A publication, its claims, and what of it was not attempted.

    Parameters
    ----------
    key : str
        authorYEARtopic, e.g. ``"huh2020curvature"``.
    bibtex : str
        The BibTeX entry.
    not_attempted : list of (statement, reason)
        Statements of the paper that no claim tests, each with the reason.
    claims : dict
        Filled by the decorator, in order of definition.

    Examples
    --------
    >>> Paper("someone2026idea", "@article{x, title={An {I}dea}, year={2026}}").title
    'An Idea'
    """

    key: str
    bibtex: str
    not_attempted: list[tuple[str, str]] = field(default_factory=list)
    claims: dict[str, Claim] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.key):
            raise ValueError(f"key = {self.key!r}: must be lower-case letters, digits and hyphens")

    def bib(self, name: str) -> str:
        """Return a field of the BibTeX entry without its braces, or an empty string.

        Parameters
        ----------
        name : str
            The field, e.g. ``"title"``.

        Returns
        -------
        str
            Its value.
        """
        start = re.search(rf"\b{name}\s*=\s*([{{\"]|\w+)", self.bibtex, re.IGNORECASE)
        if start is None:
            return ""
        if start[1] not in {"{", '"'}:
            return start[1]
        depth, value = 1, ""
        for letter in self.bibtex[start.end() :]:
            depth += {"{": 1, "}": -1}.get(letter, 0)
            if depth == 0 or (letter == '"' == start[1] and depth == 1):
                break
            value += letter
        return " ".join(re.sub(r"[{}]|\\(?=[&%$#_])", "", value).split())

    @property
    def title(self) -> str:
        """The publication's title, from its BibTeX entry."""
        return self.bib("title") or self.key

    def claim(
        self,
        name: str,
        *,
        says: str,
        tag: Tag,
        derivation: Callable[[], Derivation] | None = None,
        plot: Plot | None = None,
        needs: Iterable[str] = (),
    ) -> Callable[[Experiment], Experiment]:
        """Return a decorator that registers ``f(run) -> Comparison | list[Comparison]``.

        Parameters
        ----------
        name : str
            Short name in kebab-case, unique within the paper.
        says : str
            The statement.
        tag : {"paper", "derived", "standard"}
            Where the statement comes from.
        derivation : callable or None
            Returns the derivation behind the prediction.
        plot : callable or None
            Draws the figure instead of the bench's own plot.
        needs : iterable of str
            What must be at hand.

        Returns
        -------
        callable
            The decorator; it returns the function unchanged.

        Raises
        ------
        ValueError
            If the name is taken or malformed, or tag or need is unknown.
        TypeError
            If what is decorated is not a Python function.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"name = {name!r}: must be kebab-case, e.g. 'same-path'")
        if name in self.claims:
            raise ValueError(f"name = {name!r}: {self.key} already has a claim of that name")
        if tag not in get_args(Tag):
            raise ValueError(f"tag = {tag!r}: must be one of {get_args(Tag)}")
        needs = tuple(needs)
        for need in needs:
            if need not in NEEDS:
                raise ValueError(f"needs: {need!r} is unknown; known: {', '.join(NEEDS)}")

        def register(experiment: Experiment) -> Experiment:
            if not inspect.isfunction(inspect.unwrap(experiment)):
                raise TypeError(f"{self.key}/{name}: {experiment!r} must be a function f(run)")
            self.claims[name] = Claim(self, name, says, tag, experiment, derivation, plot, needs)
            return experiment

        return register


@dataclass(frozen=True, eq=False)
class Run:
    """What an experiment is handed: its scale, seeds, device, workers and folder.

    Parameters
    ----------
    scale : {"quick", "full", "paper"}
        How much to compute.
    seeds : theory.streams.Streams
        Named random streams; children by name and index, never by call order.
    device : str
        Where torch experiments run, ``"cpu"`` or ``"cuda"``.
    executor : concurrent.futures.Executor
        Runs independent pieces of work; see :meth:`sweep`.
    folder : pathlib.Path
        A folder that survives a kill; what an experiment leaves here it finds
        again when it is run again, until it has finished.
    show_progress : bool
        Whether :meth:`progress` draws a bar.
    swept : set of str
        Names of the sweeps made so far.
    """

    scale: Scale
    seeds: Streams
    device: str
    executor: Executor
    folder: Path
    show_progress: bool = False
    swept: set[str] = field(default_factory=set)

    def pick(self, *, quick: T, full: T, paper: T | None = None) -> T:
        """Return the value that belongs to the run's scale.

        Parameters
        ----------
        quick, full, paper : object
            One value a scale; ``paper`` defaults to ``full``.

        Returns
        -------
        object
            The value for this scale.
        """
        if self.scale == "quick":
            return quick
        return full if self.scale == "full" or paper is None else paper

    def progress(self, items: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
        """Yield the items under a progress bar, silent when not a terminal.

        Parameters
        ----------
        items : iterable
            What is worked through.
        label : str
            Shown beside the bar.
        total : int or None
            Number of items, if ``items`` has no length.

        Yields
        ------
        object
            The items.
        """
        from tqdm import tqdm

        yield from tqdm(items, desc=label, total=total, leave=False, disable=not self.show_progress)

    def sweep(
        self, function: Callable[[Any], dict[str, Any]], items: list[Any], *, name: str
    ) -> list[dict[str, Any]]:
        """Apply a function to every item through the executor, keeping finished pieces.

        Each result is written as it arrives, so that a killed sweep resumes.

        Parameters
        ----------
        function : callable
            A module-level function of one picklable item; returns a dict of
            numbers, strings and numeric arrays.
        items : list
            The items; their order names the pieces.
        name : str
            Name of the sweep within the claim.

        Returns
        -------
        list of dict
            One result an item, in order.

        Raises
        ------
        ValueError
            If the claim has swept under that name before, or it is no file name.
        """
        from sandbox.bench.sweep import resumable_map

        if name in self.swept:
            raise ValueError(f"name = {name!r}: each sweep of a claim needs a name of its own")
        if not name or name.startswith(".") or Path(name).name != name:
            raise ValueError(f"name = {name!r}: must be a file name, without slashes")
        self.swept.add(name)
        return resumable_map(self, function, items, name)


def lazy(path: str) -> Callable[[], Any]:
    """Return a function that imports ``module:function`` when called and calls it.

    Lets a claim file name its derivation without importing sympy.

    Parameters
    ----------
    path : str
        ``"package.module:function"``.

    Returns
    -------
    callable
        Takes no argument.

    Examples
    --------
    >>> lazy("platform:python_implementation")()
    'CPython'
    """
    module, _, name = path.partition(":")

    def call() -> Any:
        return getattr(importlib.import_module(module), name)()

    return call
