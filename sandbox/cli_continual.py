"""The command ``sandbox continual``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Dict
from cyclopts.validators import Number

from sandbox.cli_training import UsageError
from sandbox.continual.config import ContinualConfig, read_toml
from sandbox.continual.presets import PRESETS
from sandbox.training.config import whole

__all__ = ["continual", "settings_from_preset_and_file"]

_files = Group("Files", sort_key=20)
File = Annotated[Path | None, Parameter(group=_files, show_default=False)]
Flag = Annotated[bool, Parameter(group=_files, negative=(), show_default=False)]
Workers = Annotated[int, Parameter(group=_files, converter=whole, validator=Number(gte=1))]


def settings_from_preset_and_file(
    app: App, commands: tuple[str, ...], arguments: ArgumentCollection
) -> None:
    """Let ``--config FILE``, and then ``--preset NAME``, stand in for options not given.

    Parameters
    ----------
    app : cyclopts.App
        The application.
    commands : tuple of str
        What was called.
    arguments : cyclopts.ArgumentCollection
        Its arguments so far; those of file and preset are added.
    """
    given = {
        name: next((a.tokens[0].value for a in arguments if name in a.names and a.tokens), None)
        for name in ("--config", "--preset")
    }
    layers: list[tuple[str, dict[str, Any]]] = []
    if (path := given["--config"]) is not None:
        layers.append((path, read_toml(path)))
    if (name := given["--preset"]) is not None:
        if name not in PRESETS:
            raise UsageError(f"--preset {name}: must be one of {', '.join(PRESETS)}")
        layers.append((f"preset {name}", dict(PRESETS[name].settings)))
    for source, settings in layers:
        options: dict[str, Any] = {
            key.replace("_", "-"): _words(value) for key, value in settings.items()
        }
        for command in reversed(commands):
            options = {command: options}
        Dict(options, source=source)(app, commands, arguments)


def _words(value: Any) -> Any:
    """Return a list as the one word that it is on the command line."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def continual(
    *,
    settings: Annotated[ContinualConfig | None, Parameter(name="*")] = None,
    preset: Annotated[str | None, Parameter(group=_files, show_default=False)] = None,
    config: File = None,
    out: File = None,
    resume: Flag = False,
    overwrite: Flag = False,
    workers: Workers = 1,
) -> int:
    """Compare methods against forgetting on a stream of tasks.

    Every method learns the same tasks with the same seeds. Prints accuracy at the end and when
    learned, forgetting, backward and forward transfer, and the energy of the network (the sum of
    the moduli of its expected strengths), each with its 95 % interval over seeds. The folder of
    results receives them as JSON, the accuracies as Parquet, the forgetting curves as a figure
    and every run's history and weights. A comparison that was killed goes on with --resume, to
    the same bits.

    Parameters
    ----------
    preset
        Settings of a paper, at its own scale, for all options that neither the command line nor
        --config gives: benzing-permuted-mnist, benzing-permuted-mnist-large-batch,
        zenke-permuted-mnist.
    config
        TOML file with any of these settings; options given here come first.
    out
        Folder of results; continual/DATA-TASKS-MODEL-OPTIMIZER-SEED if not given.
    resume
        Go on with a comparison that was cut short.
    overwrite
        Remove what an earlier comparison left in the folder of results.
    workers
        Processes over methods and seeds, of one thread each; more of them change results by
        rounding at most.
    """
    del config, preset  # their values have arrived in the settings
    settings = settings or ContinualConfig()
    from sandbox.continual.command import compare
    from sandbox.training.data import DataDamagedError

    if settings.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageError("--device cuda: torch sees no CUDA device; use --device cpu")
    parts = (settings.data, settings.tasks, settings.model, settings.optimizer, settings.seed)
    folder = out or Path("continual") / "-".join(map(str, parts))
    try:
        found = compare(
            settings,
            folder,
            resume=resume,
            overwrite=overwrite,
            workers=workers,
            progress=sys.stderr.isatty(),
        )
    except (ValueError, OSError, DataDamagedError) as problem:  # settings, missing data, full disk
        raise UsageError(str(problem)) from problem
    _print_table(found, settings)
    print(
        f"\n{folder}: table.json, runs.parquet, forgetting.png, forgetting.svg, config.toml, and a"
        " folder for every method and seed"
    )
    return 0


def _print_table(found: dict[str, Any], settings: ContinualConfig) -> None:
    """Print the measures of every method, and what stopped early."""
    from sandbox.continual.table import table_lines

    seeds = f"{settings.seeds} seeds, mean ± half of the 95 % interval"
    if settings.seeds == 1:
        seeds = "one seed, so no intervals"
    print(f"{found['stream']}, {len(found['tasks'])} tasks; {seeds}\n")
    print("\n".join(table_lines(found["methods"])))
    for row in found["methods"]:
        for seed, reason in row["stopped"].items():
            print(f"\n{row['method']}, seed {seed}: stopped early and not counted: {reason}")
