"""A command's folder of results: whether it may write there, and what it begins with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from sandbox.bench.files import write_whole
from sandbox.bench.record import Settings
from sandbox.bench.runner import environment

__all__ = ["begin_folder", "refuse_foreign", "refuse_other"]


def refuse_foreign(
    out: Path, files: Iterable[str], *, what: str, ours: bool, overwrite: bool
) -> None:
    """Refuse folders whose files are not a command's, so that none of them is lost.

    Parameters
    ----------
    out : Path
        The folder; it need not exist.
    files : iterable of str
        Names of the results that the command writes, next to its settings.
    what : str
        What it calls them together, such as a run.
    ours : bool
        Whether the settings in the folder are of this command.
    overwrite : bool
        Whether results are to be removed.

    Raises
    ------
    ValueError
        If it is a file, or holds files of others that would be lost.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: is a file; name a folder for the results")
    if ours and (out / "environment.json").exists():
        return
    if overwrite and out.exists() and any(out.iterdir()):
        raise ValueError(
            f"--out {out}: is not empty and holds no {what} (one has config.toml and"
            " environment.json), so --overwrite leaves it alone; choose another folder"
        )
    for name in ("config.toml", *files):
        if (out / name).exists():
            raise ValueError(
                f"--out {out}: {name} is there and is not of a {what}; choose another folder"
            )


def refuse_other(out: Path, *, what: str, same: bool, cut_short: bool) -> None:
    """Refuse a folder of other settings, or one that was cut short and is not to go on.

    Parameters
    ----------
    out : Path
        A folder with settings of this command.
    what : str
        What it holds.
    same : bool
        Whether they are the settings that are wanted.
    cut_short : bool
        Whether something is missing that is not to be made up.

    Raises
    ------
    ValueError
        If it does not fit.
    """
    if not same:
        raise ValueError(
            f"--out {out}: holds a {what} of other settings (see {out / 'config.toml'}); choose"
            " another folder, or --overwrite it"
        )
    if cut_short:
        raise ValueError(
            f"--out {out}: holds a {what} that was cut short; --resume it, or --overwrite it"
        )


def begin_folder(out: Path, text: str, settings: Settings) -> None:
    """Write environment and settings.

    Parameters
    ----------
    out : Path
        The folder; made if need be.
    text : str
        The settings as TOML.
    settings : Settings
        Seed and device, for the environment.
    """
    out.mkdir(parents=True, exist_ok=True)
    known = environment(settings)
    write_whole(out / "environment.json", (json.dumps(known, indent=1) + "\n").encode())
    write_whole(out / "config.toml", text.encode())
