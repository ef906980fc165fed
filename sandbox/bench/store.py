"""Results on disk: one folder a run, written whole or not at all.

``<root>/<paper>/<claim>/<key>/`` holds ``config.toml``, ``environment.json``,
``result.parquet`` and the figures. The key is a hash of the configuration and of
the sources that the claim rests on, so that nothing is computed twice and a
mended kernel is computed again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import sys
import tomllib
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandbox.bench.claim import Claim
from sandbox.bench.files import flush
from sandbox.bench.judgement import Verdict
from sandbox.bench.record import Record, Settings
from sandbox.bench.sources import code_hash
from sandbox.bench.table import read_table, write_table

__all__ = ["CACHED", "Store"]

FORMAT = 1
CACHED = (Verdict.HOLDS, Verdict.INCONCLUSIVE, Verdict.FAILS)
"""Verdicts that need no second run."""


class Store:
    """A folder of results.

    A claim's code is hashed once a store, when its key is first asked for, so that
    sources edited during a long run do not pass for those that ran.

    Parameters
    ----------
    root : pathlib.Path
        The folder; it is made when first needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._codes: dict[Claim, str] = {}

    def key(self, claim: Claim, settings: Settings) -> str:
        """Return the name of the run folder: a hash of configuration and code.

        Parameters
        ----------
        claim : Claim
            The claim.
        settings : Settings
            Its configuration.

        Returns
        -------
        str
            16 hexadecimal digits.
        """
        parts = [FORMAT, claim.id, settings.scale, settings.seed, settings.device]
        text = json.dumps([*parts, self._code(claim)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def folder(self, claim: Claim, settings: Settings) -> Path:
        """Return where the claim's result lies or would lie.

        Parameters
        ----------
        claim : Claim
            The claim.
        settings : Settings
            Its configuration.

        Returns
        -------
        pathlib.Path
            The run folder.
        """
        return self.root / claim.id / self.key(claim, settings)

    def _code(self, claim: Claim) -> str:
        if claim not in self._codes:
            self._codes[claim] = code_hash(claim.file)
        return self._codes[claim]

    def working_folder(self, claim: Claim, settings: Settings) -> Path:
        """Return a folder that survives a kill, for pieces of an unfinished run.

        Parameters
        ----------
        claim : Claim
            The claim.
        settings : Settings
            Its configuration.

        Returns
        -------
        pathlib.Path
            An existing folder.
        """
        folder = self.root / "unfinished" / self.key(claim, settings)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def alone(self, claim: Claim, settings: Settings) -> Generator[None]:
        """Keep other processes from running the same claim into this store meanwhile.

        Parameters
        ----------
        claim : Claim
            The claim.
        settings : Settings
            Its configuration.

        Yields
        ------
        None
            Once no other process is at it; a killed one holds nothing back.
        """
        with (self.working_folder(claim, settings) / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"sandbox: another process is running {claim.id}; waiting", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def load(self, claim: Claim, settings: Settings) -> Record | None:
        """Return the current result, whatever its verdict, or None.

        Parameters
        ----------
        claim : Claim
            The claim.
        settings : Settings
            Its configuration.

        Returns
        -------
        Record or None
            The stored record, marked as cached.
        """
        folder = self.folder(claim, settings)
        return self._read(claim.id, folder) if (folder / "result.parquet").is_file() else None

    def older(self, claim: Claim) -> list[Record]:
        """Return ``full`` and ``paper`` results of the claim computed by other code.

        Parameters
        ----------
        claim : Claim
            The claim.

        Returns
        -------
        list of Record
            Oldest first.
        """
        records = []
        for folder in (path.parent for path in (self.root / claim.id).glob("*/result.parquet")):
            config = _config(folder)
            costly = config["format"] == FORMAT and config["scale"] != "quick"
            if costly and config["code"] != self._code(claim):
                records.append(self._read(claim.id, folder))
        judged = [record for record in records if record.verdict in CACHED]
        return sorted(judged, key=lambda r: str(r.environment.get("finished", "")))

    def save(
        self,
        claim: Claim,
        record: Record,
        draw: Callable[[Path], None] | None = None,
        *,
        keep_unfinished: bool = False,
    ) -> Record:
        """Write a record under its key: all of it, or nothing.

        Parameters
        ----------
        claim : Claim
            The claim.
        record : Record
            What to write.
        draw : callable or None
            Writes the figures into the folder it is given.
        keep_unfinished : bool
            Whether finished pieces of the run stay, for another try.

        Returns
        -------
        Record
            The record, with its folder.
        """
        final = self.folder(claim, record.settings)
        final.parent.mkdir(parents=True, exist_ok=True)
        # beside the results, not among them: a killed save leaves nothing to stumble over
        temporary = self.root / "unfinished" / f"writing-{uuid.uuid4().hex}"
        temporary.mkdir(parents=True)
        try:
            config = {
                "format": FORMAT,
                "claim": claim.id,
                "scale": record.settings.scale,
                "seed": record.settings.seed,
                "device": record.settings.device,
                "code": self._code(claim),
            }
            lines = [f"{key} = {json.dumps(value)}\n" for key, value in config.items()]
            (temporary / "config.toml").write_text("".join(lines))
            environment = json.dumps(record.environment, indent=1, sort_keys=True)
            (temporary / "environment.json").write_text(environment + "\n")
            write_table(temporary / "result.parquet", record)
            if draw is not None:
                draw(temporary)
            for path in temporary.iterdir():
                flush(path)
            flush(temporary)
            if final.exists():  # an error or a skip, now replaced: whole until it is gone
                replaced = temporary.with_name(temporary.name.replace("writing", "replaced"))
                final.rename(replaced)
                shutil.rmtree(replaced, ignore_errors=True)
            temporary.rename(final)
            flush(final.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        if not keep_unfinished:
            shutil.rmtree(self.root / "unfinished" / final.name, ignore_errors=True)
        return replace(record, folder=final)

    def _read(self, claim_id: str, folder: Path) -> Record:
        config = _config(folder)
        environment = json.loads((folder / "environment.json").read_text())
        comparisons, rest = read_table(folder / "result.parquet")
        stopped = Verdict(rest["stopped"]) if rest["stopped"] else None
        settings = Settings(config["scale"], config["seed"], config["device"])
        return Record(
            claim_id,
            comparisons,
            rest["seconds"],
            settings,
            environment,
            stopped,
            rest["message"],
            folder,
            cached=True,
        )


def _config(folder: Path) -> dict[str, Any]:
    """Return what decided the result in a folder."""
    return tomllib.loads((folder / "config.toml").read_text())
