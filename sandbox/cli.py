"""The command line, ``sandbox``: list, show, run, report and cite claims."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.validators import Number

from sandbox.bench.claim import Claim
from sandbox.bench.record import Settings
from sandbox.bench.registry import UnknownClaimError, select, shipped
from sandbox.cli_continual import continual, settings_from_preset_and_file
from sandbox.cli_synapse import synapse
from sandbox.cli_training import UsageError, data, settings_from_file, train
from sandbox.training.config import SettingError, whole

if TYPE_CHECKING:
    from sandbox.bench.record import Record

__all__ = ["app", "main"]

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
STORE = Path("runs")


def _version() -> str:
    from importlib.metadata import version

    return version("neurotheory-sandbox")


app = App(
    name="sandbox",
    help="Run claims: a theory predicts, an experiment measures, the bench compares and draws.",
    version=_version,
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
_what = Group("What", sort_key=0)
_how = Group("How", sort_key=1)

Name = Annotated[str, Parameter(group=_what)]
PaperKey = Annotated[str | None, Parameter(group=_what, show_default=False)]
Everything = Annotated[bool, Parameter(group=_what, negative=(), show_default=False)]
ScaleName = Annotated[Literal["quick", "full", "paper"], Parameter(group=_how)]
Seed = Annotated[int, Parameter(group=_how, converter=whole, validator=Number(gte=0, lt=2**128))]
Device = Annotated[Literal["cpu", "cuda"], Parameter(group=_how)]
Folder = Annotated[Path, Parameter(group=_how)]


@app.command(name="list")
def list_claims() -> int:
    """List every paper and its claims."""
    for paper in shipped():
        print(f"{paper.key}: {paper.title}")
        width = max((len(name) for name in paper.claims), default=0)
        for claim in paper.claims.values():
            print(f"  {claim.name:{width}}  {claim.tag:8}  {claim.says}")
    return OK


@app.command
def show(claim: str, /) -> int:
    """Print a claim's statement, derivation, source and BibTeX.

    Parameters
    ----------
    claim
        Its id, paper/claim, or a FILE.py for all claims of a file.
    """
    for number, found in enumerate(select([claim], None, everything=False)):
        if number:
            print("\n" + "-" * 72 + "\n")
        _show(found)
    return OK


def _show(claim: Claim) -> None:
    print(f"{claim.id}  [{claim.tag}]\n\n{claim.says}\n")
    if claim.needs:
        print(f"Needs: {', '.join(claim.needs)}\n")
    if claim.derivation is not None:
        derivation = claim.derivation()
        print(derivation.text() + "\n")
        print("LaTeX:")
        for text, latex in derivation.latex():
            if latex is not None:
                print(f"  % {text}\n  {latex}")
        if derivation.page:
            print(f"\nTold at length in docs/{derivation.page}.md")
        print()
    print(f"Stated in {os.path.relpath(claim.file)}\n\n{claim.paper.bibtex.strip()}")


@app.command
def cite(claim: str, /) -> int:
    """Print the BibTeX entry of the paper that a claim belongs to.

    Parameters
    ----------
    claim
        Its id, paper/claim, or a FILE.py for all papers of a file.
    """
    papers = dict.fromkeys(found.paper for found in select([claim], None, everything=False))
    print("\n\n".join(paper.bibtex.strip() for paper in papers))
    return OK


@app.command
def run(
    *claims: Name,
    paper: PaperKey = None,
    all: Everything = False,  # ruff: ignore[builtin-argument-shadowing] - the flag's name
    scale: ScaleName = "quick",
    seed: Seed = 0,
    device: Device = "cpu",
    workers: Annotated[int, Parameter(group=_how, converter=whole, validator=Number(gte=1))] = 1,
    out: Folder = STORE,
    json: Annotated[
        bool, Parameter(name="--json", group=_how, negative=(), show_default=False)
    ] = False,
) -> int:
    """Run claims and keep their results; what is known already is not computed again.

    The exit status is 0 whatever the verdicts, 1 if a claim raised an error, 2 for a mistake
    on the command line, 130 after Ctrl-C (finished results stay, and a sweep goes on where it was).

    Parameters
    ----------
    claims
        Claim ids (paper/claim), or FILE.py with claims of your own.
    paper
        Run every claim of this paper.
    all
        Run every claim that is shipped.
    scale
        How much to compute: quick in seconds, full up to an hour a paper, paper at its own sizes.
    seed
        Root of all random streams.
    device
        Where torch experiments run.
    workers
        Processes: claims side by side if there are several, else the sweeps inside the one.
    out
        Folder of results.
    json
        Print one JSON object a claim, and nothing else, on standard output.
    """
    if json:
        with _stdout_for_json() as lines:
            return _run(claims, paper, all, Settings(scale, seed, device), workers, out, lines)
    return _run(claims, paper, all, Settings(scale, seed, device), workers, out, None)


@contextmanager
def _stdout_for_json() -> Generator[TextIO]:
    """Yield standard output; what claims and libraries print goes to standard error meanwhile."""
    import ctypes

    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as lines, redirect_stdout(sys.stderr):
        os.dup2(2, 1)
        try:
            yield lines
        finally:
            ctypes.CDLL(None).fflush(None)  # what compiled code has printed but not yet written
            os.dup2(lines.fileno(), 1)


def _run(
    names: tuple[str, ...],
    paper: str | None,
    everything: bool,
    settings: Settings,
    workers: int,
    out: Path,
    lines: TextIO | None,
) -> int:
    from sandbox.bench.needs import NEEDS
    from sandbox.bench.runner import WorkerLostError, run_claims
    from sandbox.bench.store import Store

    chosen = select(names, paper, everything)
    if settings.device == "cuda" and not NEEDS["gpu"].present():
        raise UsageError("--device cuda: torch sees no CUDA device; use --device cpu")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UsageError(f"--out {out}: {problem.strerror}") from problem
    store = Store(out)
    for claim in chosen:
        store.key(claim, settings)  # hashes the code that is loaded, before anybody edits it
    terminal = sys.stderr.isatty()
    errors = 0

    def announce(number: int) -> None:
        if terminal and number < len(chosen):
            line = f"[{number + 1}/{len(chosen)}] {chosen[number].id} …"
            print(line, end="", file=sys.stderr, flush=True)

    announce(0)
    running = run_claims(chosen, store, settings, workers=workers, show_progress=terminal)
    with closing(running) as records:
        try:
            for number, record in enumerate(records, start=1):
                errors += record.verdict == "error"
                if terminal:
                    print("\r\x1b[K", end="", file=sys.stderr, flush=True)
                if lines is not None:
                    print(json.dumps(record.summary(), allow_nan=False), file=lines, flush=True)
                else:
                    _print_record(record)
                announce(number)
        except WorkerLostError as problem:
            print(f"sandbox: {problem}", file=sys.stderr)
            return FAILED
    return FAILED if errors else OK


def _print_record(record: Record) -> None:
    line = f"{record.verdict.value:12}  {record.claim_id}"
    if (decisive := record.decisive()) is not None:
        comparison, judgement = decisive
        known = "known" if record.cached else f"{record.seconds:.1f} s"
        line += f"  (error {judgement.error:.2g}, tolerance {comparison.tolerance:.2g}; {known})"
    print(line, flush=True)
    if record.message:
        print("    " + record.message.strip().replace("\n", "\n    "), flush=True)


@app.command
def report(
    *claims: Name,
    store: Folder = STORE,
    out: Folder = Path("report"),
    seed: Seed = 0,
    device: Device = "cpu",
) -> int:
    """Write the report, one HTML page, from the results at hand.

    Parameters
    ----------
    claims
        Claim ids or FILE.py; none for every shipped claim.
    store
        Folder of results.
    out
        Folder to write index.html into.
    seed
        Root of the random streams of the results to show.
    device
        Device of the results to show.
    """
    from sandbox.bench.report import write_report
    from sandbox.bench.store import Store

    chosen = select(claims, None, everything=not claims)
    papers = list({claim.paper.key: claim.paper for claim in chosen}.values())
    page = write_report(papers, chosen, Store(store), out, seed=seed, device=device)
    print(page)
    return OK


app.command(App(name="continual", default_command=continual, config=settings_from_preset_and_file))
app.command(data)
app.command(synapse)
app.command(App(name="train", default_command=train, config=settings_from_file))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Parameters
    ----------
    arguments : list of str or None
        What follows the program's name; None for ``sys.argv``.
    """
    try:
        status = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError:
        status = USAGE
    except (SettingError, UnknownClaimError, UsageError) as problem:
        print(f"sandbox: {problem}", file=sys.stderr)
        status = USAGE
    except BrokenPipeError:
        # whoever read the output has gone; without this Python complains once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = FAILED
    except KeyboardInterrupt:
        print(
            "\nsandbox: stopped; finished results are kept, train and continual go on with"
            " --resume",
            file=sys.stderr,
        )
        status = INTERRUPTED
    sys.exit(status if isinstance(status, int) else OK)
