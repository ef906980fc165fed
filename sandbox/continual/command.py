"""What ``sandbox continual`` does: every method with every seed, then table and figure."""

from __future__ import annotations

import json
from collections.abc import Generator
from concurrent.futures import CancelledError, Future, as_completed
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sandbox.bench.files import only_process, write_whole
from sandbox.bench.folder import begin_folder, refuse_foreign, refuse_other
from sandbox.bench.record import Settings
from sandbox.bench.sweep import open_executor
from sandbox.continual._run import (
    FILES,
    Result,
    build_network,
    build_protection,
    build_rule,
    read_result,
    run_name,
    run_one,
)
from sandbox.continual.config import ContinualConfig, read_toml, to_toml
from sandbox.continual.figures import save_curves
from sandbox.continual.table import MEASURES, summarise, write_runs
from sandbox.training.command import build_plan, build_stream
from sandbox.training.config import SettingError
from sandbox.training.tasks import TaskStream

__all__ = ["compare"]

RESULTS = ("runs.parquet", "forgetting.svg", "forgetting.png", "table.json")
"""What a finished comparison has in its folder, next to settings, environment and runs."""


def compare(
    config: ContinualConfig,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 1,
    progress: bool = False,
) -> dict[str, Any]:
    """Train every method with every seed and keep what comes of it.

    ``out`` receives ``config.toml`` and ``environment.json`` at the start, a folder for every
    method and seed with the history, the weights and the result, and, when all are there,
    ``runs.parquet``, the figure as SVG and PNG, and ``table.json``. What is finished is not done
    again; a run that was killed goes on at its task and step.

    Parameters
    ----------
    config : ContinualConfig
        The settings.
    out : pathlib.Path
        Folder of the results; made if need be.
    resume : bool
        Go on with a comparison that was cut short.
    overwrite : bool
        Remove what a comparison left in ``out``, whatever its settings; nothing else is removed.
    workers : int
        Processes over methods and seeds. Each has one thread.
    progress : bool
        Whether to draw progress bars on a terminal.

    Returns
    -------
    dict
        What ``table.json`` holds.

    Raises
    ------
    ValueError
        If ``out`` holds another comparison, one cut short that is not to be resumed, or files
        that are none of a comparison, or a run cannot be done.
    """
    what, whole = "comparison", (out / "table.json").exists()
    refuse_foreign(out, RESULTS, what=what, ours=_is_ours(out), overwrite=overwrite)
    if not overwrite and (out / "config.toml").exists():
        same = ContinualConfig(**read_toml(out / "config.toml")) == config
        refuse_other(out, what=what, same=same, cut_short=not whole and not resume)
        if whole:
            found: dict[str, Any] = json.loads((out / "table.json").read_text())
            return found
    stream = build_stream(config.training(config.seed))
    _refuse_misfits(config, stream)
    with only_process(out):
        if overwrite:
            _remove(out)
        begin_folder(out, to_toml(config), Settings(seed=config.seed, device=config.device))
        pairs = [
            (name, config.seed + i) for i in range(config.seeds) for name in config.regulariser
        ]
        with closing(_finished(config, pairs, out, workers, progress=progress)) as running:
            for _ in tqdm(running, total=len(pairs), desc="runs", disable=not progress):
                pass
        ordered = [
            read_result(out / run_name(name, config.seed + i))
            for name in config.regulariser
            for i in range(config.seeds)
        ]
        return _conclude(config, stream.name, ordered, out)


def _finished(
    config: ContinualConfig,
    pairs: list[tuple[str, int]],
    out: Path,
    workers: int,
    *,
    progress: bool,
) -> Generator[Result]:
    """Do every run that is not done; yield each result as it comes."""
    with open_executor(min(workers, len(pairs))) as executor:
        # one at a time unless there are processes: what was submitted is done at once
        if workers == 1:
            for name, seed in pairs:
                yield _told(
                    executor.submit(
                        run_one, config, name, seed, out / run_name(name, seed), progress
                    ),
                    (name, seed),
                )
            return
        futures = {
            executor.submit(run_one, config, name, seed, out / run_name(name, seed)): (name, seed)
            for name, seed in pairs
        }
        problem: Exception | None = None
        for future in as_completed(futures):
            try:
                yield _told(future, futures[future])
            except CancelledError:
                continue
            except Exception as caught:
                problem = problem or caught
                for other in futures:
                    other.cancel()
        if problem is not None:
            raise problem


def _told(future: Future[Result], pair: tuple[str, int]) -> Result:
    """Return a run's result; an error in it tells which run it was."""
    try:
        return future.result()
    except ValueError as problem:
        raise ValueError(f"{pair[0]}, seed {pair[1]}: {problem}") from problem


def _conclude(
    config: ContinualConfig, title: str, results: list[Result], out: Path
) -> dict[str, Any]:
    """Write rows, figure and table of all runs."""
    found = {
        "stream": title,
        "tasks": list(results[0].tasks),
        "measures": MEASURES,
        "level": 0.95,
        "strengths": config.strengths(),
        "methods": summarise(results),
    }
    write_runs(out / "runs.parquet", results, {"settings": to_toml(config)})
    save_curves(results, out / "forgetting", title)
    # last: its presence says that the comparison is whole
    write_whole(out / "table.json", (json.dumps(found, indent=1) + "\n").encode())
    # as it will be read back, whether it was made now or before
    again: dict[str, Any] = json.loads((out / "table.json").read_text())
    return again


def _refuse_misfits(config: ContinualConfig, stream: TaskStream) -> None:
    """Make every method of the first seed once, before anything is removed or written."""
    plan = build_plan(config.training(config.seed))
    for task in stream.tasks:
        plan.steps(task.size("train"))
    for name in config.regulariser:
        try:
            model = build_network(config, config.seed, stream)
            rule = build_rule(config, name, config.seed, model)
            protection = build_protection(config, name, config.seed, stream, model, rule)
            if protection is not None:
                protection.refuse_misfits(stream, plan)
        except ValueError as problem:
            raise ValueError(f"{name}: {problem}") from problem


def _is_ours(out: Path) -> bool:
    """Tell whether a folder has the settings of a comparison."""
    with suppress(SettingError):
        read_toml(out / "config.toml")
        return True
    return False


def _remove(out: Path) -> None:
    """Remove the files that a comparison writes, and no others."""
    for file in [out / name for name in ("config.toml", *RESULTS)]:
        file.unlink(missing_ok=True)
    for result in out.glob("*-*/"):
        for name in (*FILES, "checkpoint/state.safetensors", "checkpoint/.lock"):
            (result / name).unlink(missing_ok=True)
        for folder in (result / "checkpoint", result):
            with suppress(OSError):  # somebody else's files are in it
                folder.rmdir()
