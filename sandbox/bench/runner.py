"""Running a claim: needs, cache, experiment, figures, result."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.bench.claim import Claim, Run
from sandbox.bench.comparison import Comparison
from sandbox.bench.judgement import Verdict
from sandbox.bench.needs import missing
from sandbox.bench.record import Record, Settings
from sandbox.bench.registry import select
from sandbox.bench.sources import ROOT
from sandbox.bench.store import CACHED, Store
from sandbox.bench.sweep import open_executor

__all__ = ["WorkerLostError", "environment", "run_claim", "run_claims"]

RECORDED = ("numpy", "scipy", "numba", "sympy", "torch", "matplotlib", "scikit-learn")


class WorkerLostError(RuntimeError):
    """A process that ran claims was killed."""


def run_claim(
    claim: Claim,
    store: Store,
    settings: Settings | None = None,
    *,
    workers: int = 1,
    show_progress: bool = False,
) -> Record:
    """Return a claim's result, from the store if it is there, else by running it.

    A claim that raises gets the verdict ``error`` with its traceback; one whose
    needs are not met is ``skipped``. Both are tried again the next time. If another
    process is running the claim into the same store, this one waits for its result.

    Parameters
    ----------
    claim : Claim
        What to run.
    store : Store
        Where results are kept.
    settings : Settings or None
        Scale, seed and device; None for ``quick``, 0 and ``cpu``.
    workers : int
        Processes for the claim's sweeps.
    show_progress : bool
        Whether to draw progress bars.

    Returns
    -------
    Record
        The result, written to the store.
    """
    settings = settings or Settings()
    if (known := _judged(store, claim, settings)) is not None:
        return known
    lacking = missing(claim.needs, settings.device)
    if lacking:
        about = environment(settings)
        record = Record(
            claim.id, [], 0.0, settings, about, Verdict.SKIPPED, "needs " + "; ".join(lacking)
        )
        return store.save(claim, record)
    with store.alone(claim, settings):
        # another process may have finished it while this one waited
        if (known := _judged(store, claim, settings)) is not None:
            return known
        return _compute(claim, store, settings, workers, show_progress)


def run_claims(
    claims: Sequence[Claim],
    store: Store,
    settings: Settings | None = None,
    *,
    workers: int = 1,
    show_progress: bool = False,
) -> Generator[Record]:
    """Run claims and yield their results in order.

    Several claims share the workers, one claim a process, and their sweeps run within it; a
    single claim has all workers for its own sweeps.

    Parameters
    ----------
    claims : sequence of Claim
        What to run.
    store : Store
        Where results are kept.
    settings : Settings or None
        Scale, seed and device; None for ``quick``, 0 and ``cpu``.
    workers : int
        Processes.
    show_progress : bool
        Whether to draw progress bars; claims side by side draw none.

    Yields
    ------
    Record
        The result of the next claim, written to the store.

    Raises
    ------
    WorkerLostError
        If a worker was killed; what was finished is kept.
    """
    settings = settings or Settings()
    if workers == 1 or len(claims) == 1:
        for claim in claims:
            yield run_claim(claim, store, settings, workers=workers, show_progress=show_progress)
        return
    with open_executor(workers) as executor:
        waiting = [
            executor.submit(_run_apart, claim.id, str(claim.file), store.root, settings)
            for claim in claims
        ]
        for claim, future in zip(claims, waiting, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:
                raise WorkerLostError(
                    f"a worker was killed, running {claim.id} or beside it (out of memory?): what"
                    " was finished is kept; run again with fewer workers"
                ) from None


def _run_apart(claim_id: str, file: str, store: Path, settings: Settings) -> Record:
    """Find a claim by its id, or in a user's file, and run it in this process."""
    name = claim_id if Path(file).is_relative_to(ROOT / "sandbox") else file
    (claim,) = (one for one in select((name,), None, everything=False) if one.id == claim_id)
    try:
        return run_claim(claim, Store(store), settings)
    finally:
        ctypes.CDLL(None).fflush(None)  # a worker leaves what compiled code has printed unwritten


def _judged(store: Store, claim: Claim, settings: Settings) -> Record | None:
    """Return the current result if there is one that needs no second run."""
    record = store.load(claim, settings)
    return record if record is not None and record.verdict in CACHED else None


def _compute(
    claim: Claim, store: Store, settings: Settings, workers: int, show_progress: bool
) -> Record:
    """Run the experiment and store what it found, or how it failed."""
    from theory.streams import Streams

    working = store.working_folder(claim, settings)
    start = time.perf_counter()
    try:
        with open_executor(workers, claim.file) as executor:
            run = Run(
                settings.scale,
                Streams(settings.seed),
                settings.device,
                executor,
                working,
                show_progress,
            )
            comparisons = _as_list(claim, claim.experiment(run))
        seconds = time.perf_counter() - start
        record = Record(claim.id, comparisons, seconds, settings, environment(settings))
        return store.save(claim, record, lambda folder: _draw(claim, comparisons, folder))
    except (Exception, SystemExit):  # a script's sys.exit() does not stop the other claims
        seconds = time.perf_counter() - start
        about = environment(settings)
        record = Record(
            claim.id, [], seconds, settings, about, Verdict.ERROR, traceback.format_exc()
        )
        return store.save(claim, record, keep_unfinished=True)


def _as_list(claim: Claim, result: Any) -> list[Comparison]:
    """Check what an experiment returned."""
    comparisons = result if isinstance(result, list) else [result]
    if not comparisons or not all(isinstance(c, Comparison) for c in comparisons):
        raise TypeError(f"{claim.id} returned {result!r}: must be a Comparison or a list of them")
    return comparisons


def _draw(claim: Claim, comparisons: list[Comparison], folder: Path) -> None:
    """Write the claim's figure as SVG and PNG."""
    from sandbox.bench.figures import save_figure

    save_figure(comparisons, folder / "figure", claim.plot)


def environment(settings: Settings) -> dict[str, Any]:
    """Return what else a result may depend on: commit, versions, processor, threads.

    Parameters
    ----------
    settings : Settings
        The run's configuration; its seed is repeated here.

    Returns
    -------
    dict
        Ready for JSON.
    """
    versions = {}
    for package in RECORDED:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": versions,
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": _threads(),
        "device": settings.device,
        "seed": settings.seed,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _commit() -> str:
    """Return the commit of the source tree, with a plus sign if it was changed since."""
    try:
        git = ["git", "-C", str(ROOT)]
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"
    return head + ("+" if changed else "")


def _processor() -> str:
    """Return the processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _threads() -> dict[str, int]:
    """Return the thread counts of the numerical libraries that are loaded."""
    counts = {}
    if (torch := sys.modules.get("torch")) is not None:
        counts["torch"] = int(torch.get_num_threads())
    if (numba := sys.modules.get("numba")) is not None:
        # numba.get_num_threads() would start numba's threads and set torch's count with OpenMP's
        counts["numba"] = int(numba.config.NUMBA_NUM_THREADS)
    return counts
