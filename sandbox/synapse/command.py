"""What ``sandbox synapse`` does: simulate part by part, keep a table, analyse it, draw it."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy import ndarray
from tqdm import tqdm

from sandbox.bench.files import only_process, write_whole
from sandbox.bench.folder import begin_folder, refuse_foreign
from sandbox.bench.record import Settings
from sandbox.synapse._analysis import Tally, analysed
from sandbox.synapse._sheet import save_sheet
from sandbox.synapse.config import Config, to_toml
from sandbox.synapse.table import read_releases, write_releases
from synapses.traces import Releases, poisson_train, read_train, regular_train, release_train
from theory.streams import Streams

__all__ = ["read_summary", "simulate", "spike_train"]

ROWS = 1_000_000
"""Rows of a part of the table: what a killed run loses at most."""

FILES = ("conditions.parquet", "synapse.svg", "synapse.png", "summary.json")
"""What a finished run has in its folder, next to settings, environment and releases."""


def spike_train(config: Config) -> ndarray:
    """Return the spike times that the settings name.

    Parameters
    ----------
    config : Config
        The settings.

    Returns
    -------
    ndarray
        (spike,), seconds.
    """
    if config.times:
        return read_train(config.times)
    if config.train == "regular":
        return regular_train(config.rate, config.duration)
    return poisson_train(config.rate, config.duration, Streams(config.seed).generator("spikes"))


def simulate(
    config: Config, out: Path, *, overwrite: bool = False, progress: bool = False
) -> dict[str, Any]:
    """Let a spike train act on a synapse and keep what comes of it.

    ``out`` receives ``config.toml`` and ``environment.json``, the releases as Parquet in parts
    of a million rows, each written whole, then the means and variances of the conditions, the
    figure as SVG and PNG, and ``summary.json``. A run that was killed goes on after the last
    part that it wrote; a finished one is not done again.

    Parameters
    ----------
    config : Config
        The settings.
    out : pathlib.Path
        Folder of the results; made if need be.
    overwrite : bool
        Remove what a run left in ``out``, whatever its settings; nothing else is removed.
    progress : bool
        Whether to draw a progress bar on a terminal.

    Returns
    -------
    dict
        What ``summary.json`` holds.

    Raises
    ------
    ValueError
        If ``out`` holds another run or files that are no run's, or the spike times do not fit.
    """
    spikes = spike_train(config)
    settings = to_toml(config, hashlib.sha256(spikes.tobytes()).hexdigest())
    refuse_foreign(out, _results(out), what="run", ours=_is_run(out), overwrite=overwrite)
    with only_process(out):
        if overwrite:
            _remove(out)
        if not (out / "config.toml").exists():
            begin_folder(out, settings, Settings(seed=config.seed))
        elif (out / "config.toml").read_text() != settings:
            raise ValueError(
                f"--out {out}: holds a run of other settings or spikes (see"
                f" {out / 'config.toml'}); choose another folder, or --overwrite it"
            )
        elif (out / "summary.json").exists():
            return read_summary(out)
        return _run(config, spikes, out, {"settings": settings}, progress=progress)


def _run(
    config: Config, spikes: ndarray, out: Path, marks: dict[str, str], *, progress: bool
) -> dict[str, Any]:
    """Make the parts that are missing, then everything that follows from them."""
    trials = config.number_of_trials()
    size = max(1, ROWS // len(spikes))
    synapse = config.synapse()
    tally = Tally(synapse, spikes)
    first: Releases | None = None
    for number, start in enumerate(
        tqdm(range(0, trials, size), desc="releases", leave=False, disable=not progress)
    ):
        path = out / f"releases-{number:05}.parquet"
        if path.exists():
            part = read_releases(path)
        else:
            generator = Streams(config.seed).generator("releases", number)
            part = release_train(synapse, spikes, min(size, trials - start), generator)
            write_releases(path, part, start, marks)
        tally.add(part)
        first = first or part
    assert first is not None
    found = analysed(config, tally, first, out, marks)
    save_sheet(config, tally, first, found, out / "synapse")
    # last: its presence says that the run is whole
    write_whole(out / "summary.json", (json.dumps(found.summary, indent=1) + "\n").encode())
    return found.summary


def read_summary(out: Path) -> dict[str, Any]:
    """Return what a finished run found.

    Parameters
    ----------
    out : pathlib.Path
        Its folder.

    Returns
    -------
    dict
        Contents of ``summary.json``.
    """
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def _is_run(out: Path) -> bool:
    """Tell whether a folder has the settings of a run of this command."""
    with suppress(OSError, UnicodeDecodeError):
        first = (out / "config.toml").read_text().partition("\n")[0]
        return first.startswith("model = ")
    return False


def _results(out: Path) -> list[str]:
    """Return the names of files that a run may leave, settings and environment apart."""
    return [*FILES, *sorted(path.name for path in out.glob("releases-[0-9]*.parquet"))]


def _remove(out: Path) -> None:
    """Remove the files that a run writes, and no others."""
    for name in [*_results(out), "config.toml", "environment.json"]:
        (out / name).unlink(missing_ok=True)
