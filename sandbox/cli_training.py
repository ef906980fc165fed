"""The commands ``sandbox train`` and ``sandbox data``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Dict

from sandbox.training._telling import briefly, told_by_optimizer
from sandbox.training.config import TrainConfig, read_toml

if TYPE_CHECKING:
    from sandbox.training.history import History

__all__ = ["UsageError", "data", "settings_from_file", "train"]

_files = Group("Files", sort_key=20)
File = Annotated[Path | None, Parameter(group=_files, show_default=False)]
Flag = Annotated[bool, Parameter(group=_files, negative=(), show_default=False)]


class UsageError(ValueError):
    """A mistake on the command line that the parser cannot see."""


def settings_from_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Let ``--config FILE`` stand in for options that were not given.

    Parameters
    ----------
    app : cyclopts.App
        The application.
    commands : tuple of str
        What was called.
    arguments : cyclopts.ArgumentCollection
        Its arguments so far; those of the file are added.
    """
    named = next((a for a in arguments if "--config" in a.names and a.tokens), None)
    if named is None:
        return
    path = named.tokens[0].value
    options: dict[str, Any] = {
        key.replace("_", "-"): value for key, value in read_toml(path).items()
    }
    for command in reversed(commands):  # in a flat file `data` would pass for the command data
        options = {command: options}
    Dict(options, source=path)(app, commands, arguments)


def train(
    *,
    settings: Annotated[TrainConfig | None, Parameter(name="*")] = None,
    config: File = None,
    out: File = None,
    checkpoint: File = None,
    resume: Flag = False,
    overwrite: Flag = False,
) -> int:
    """Train a network on a data set or a stream of tasks, and keep the results.

    Prints a table of what was measured; the folder of results receives the history as
    Parquet, the curve as a figure, the weights, the settings and the environment. A run
    that was killed goes on with --resume, to the same bits.

    Parameters
    ----------
    config
        TOML file with any of these settings; options given here come first.
    out
        Folder of results; trained/DATA-MODEL-OPTIMIZER-SEED if not given.
    checkpoint
        Folder of checkpoints; OUT/checkpoint if not given.
    resume
        Go on with a run that was cut short.
    overwrite
        Remove what an earlier run left in the folder of results.
    """
    del config  # its values have arrived in the settings
    settings = settings or TrainConfig()
    from sandbox.training.command import train as run
    from sandbox.training.data import DataDamagedError

    if settings.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageError("--device cuda: torch sees no CUDA device; use --device cpu")
    parts = [settings.data, settings.model, settings.optimizer, str(settings.seed)]
    if settings.stream != "single":
        parts.insert(1, settings.stream)
    folder = out or Path("trained") / "-".join(parts)
    try:
        with briefly():
            history = run(
                settings,
                folder,
                checkpoint=checkpoint,
                resume=resume,
                overwrite=overwrite,
                progress=sys.stderr.isatty(),
            )
    except (ValueError, OSError, DataDamagedError) as problem:  # settings, missing data, full disk
        raise UsageError(str(problem)) from problem
    except RuntimeError as problem:
        if not told_by_optimizer(problem):
            raise
        print(f"sandbox: {problem}", file=sys.stderr)
        return 1
    _print_history(history)
    print(f"\n{folder}: history.parquet, curve.png, curve.svg, model.safetensors, config.toml")
    return 0


def _print_history(history: History) -> None:
    """Print the rows that matter: the task in training after every evaluation, then the matrix."""
    shown = [row for row in history.rows if row["evaluated"] == max(row["task"], 0)]
    several = len(history.names) > 1
    columns = ["step", "epoch", "train_loss", "test_loss", "test_accuracy", "seconds"]
    if any(row["validation_loss"] == row["validation_loss"] for row in shown):
        columns[3:3] = ["validation_loss"]
    if any(row["averaged_loss"] == row["averaged_loss"] for row in shown):
        columns[-1:-1] = ["averaged_loss", "averaged_accuracy"]
    head = [f"{name:>{max(13, len(name))}}" for name in columns]
    width = max(len(name) for name in history.names)
    print((f"{'task':{width}}  " if several else "") + "  ".join(head))
    for row in shown:
        cells = "  ".join(
            f"{_cell(row[c]):>{len(name)}}" for c, name in zip(columns, head, strict=True)
        )
        print((f"{history.names[int(row['evaluated'])]:{width}}  " if several else "") + cells)
    if history.stopped:
        print(f"\nstopped early: {history.stopped}")
    elif several and shown[-1]["test_accuracy"] == shown[-1]["test_accuracy"]:
        matrix = history.accuracy_matrix()
        print(
            f"\naverage accuracy {matrix.average:.4f}, learning accuracy {matrix.learning:.4f},"
            f" forgetting {matrix.forgetting:.4f}, backward transfer {matrix.backward:+.4f},"
            f" forward transfer {matrix.forward:+.4f}"
        )


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return str(value)
    return "-" if value != value else f"{value:.4g}"


def data(name: str | None = None, /, *, fetch: Flag = False) -> int:
    """List the data sets, and where each would be read from.

    Parameters
    ----------
    name
        Tell about this one at length.
    fetch
        Download what is named and not at hand.
    """
    from sandbox.training.data import DataDamagedError

    try:
        return _list_data() if name is None and not fetch else _tell_data(name, fetch=fetch)
    except (ValueError, OSError, DataDamagedError) as problem:  # unknown, missing, damaged
        raise UsageError(str(problem)) from problem


def _list_data() -> int:
    from sandbox.training._catalog import CATALOG
    from sandbox.training.data import at_hand

    for name, entry in CATALOG.items():
        shape = " x ".join(map(str, entry.shape))
        where = at_hand(name) or f"not at hand; {entry.ways(name)[-1]}"
        print(f"{name:14} {shape:12} {len(entry.classes):3} classes  {where}")
    return 0


def _tell_data(name: str | None, *, fetch: bool) -> int:
    from sandbox.training._catalog import CATALOG
    from sandbox.training.data import at_hand, load

    if name is None:
        raise UsageError("--fetch: name the data set to download, e.g. sandbox data mnist --fetch")
    where = at_hand(name)
    entry = CATALOG[name]
    print(f"{name}: {entry.source}")
    if where is None and not fetch:
        print("not at hand. Ways to get it:")
        for way in entry.ways(name):
            print(f"  - {way}")
        return 0
    dataset = load(name)
    print(f"read from      {at_hand(name)}")
    print(f"samples        {len(dataset.train)} for training, {len(dataset.test)} for the test")
    print(f"sample         {' x '.join(map(str, dataset.shape))}")
    print(f"classes        {', '.join(dataset.classes)}")
    print(f"normalisation  {dataset.normalisation}")
    print(f"SHA-256        {dataset.checksum.replace('+', chr(10) + ' ' * 15)}")
    return 0
