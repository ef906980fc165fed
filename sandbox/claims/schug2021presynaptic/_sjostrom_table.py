"""The table of release probabilities before and after plasticity, as a user supplies it."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy import ndarray

__all__ = ["FILES", "FOLDER_VARIABLE", "Table", "at_hand", "read"]

FOLDER_VARIABLE = "SANDBOX_DATA"
NAME = "sjostrom2001"
FILES = {"LTP": "Sjostrom2001_LTP_schug.csv", "LTD": "Sjostrom2001_LTD_schug.csv"}
COLUMNS = ("Pr (before)", "Pr (after)", "q (mV, before)", "q (mV, after)")


class Table(NamedTuple):
    """Release probability and quantal amplitude (in mV) of every connection, and its kind."""

    p_before: ndarray
    p_after: ndarray
    q_before: ndarray
    q_after: ndarray
    kind: ndarray

    def relative_change(self) -> ndarray:
        """Return the size of the change of strength pq over the strength before."""
        before, after = self.p_before * self.q_before, self.p_after * self.q_after
        return np.asarray(np.abs(after - before) / before)


def at_hand() -> Path | None:
    """Return the folder with both files, or None; nothing is read."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if not chosen:
        return None
    folder = Path(chosen) / NAME
    return folder if all((folder / name).is_file() for name in FILES.values()) else None


def read(folder: Path) -> Table:
    """Read both files; the strengths they also hold are worked out anew."""
    rows: list[list[float]] = []
    kinds: list[str] = []
    for kind, name in FILES.items():
        path = folder / name
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, skipinitialspace=True)
            header = [word.strip() for word in next(reader, [])]
            absent = [word for word in COLUMNS if word not in header]
            if absent:
                raise ValueError(f"{path} has no column {absent[0]!r}: must have {COLUMNS}")
            # two columns have one name, further right: the first of a name is meant
            places = [header.index(word) for word in COLUMNS]
            for number, line in enumerate(reader, start=2):
                if not any(cell.strip() for cell in line):
                    continue
                rows.append(_numbers(path, number, line, places))
                kinds.append(kind)
    if not rows:
        raise ValueError(f"{folder}: the files hold no rows")
    p_before, p_after, q_before, q_after = np.array(rows).T
    return Table(p_before, p_after, q_before, q_after, np.array(kinds))


def _numbers(path: Path, number: int, line: list[str], places: list[int]) -> list[float]:
    """Return one row's four numbers."""
    try:
        values = [float(line[place]) for place in places]
    except (IndexError, ValueError):
        raise ValueError(f"{path}, line {number}: must have numbers under {COLUMNS}") from None
    if not (0 < values[0] <= 1 and 0 <= values[1] <= 1 and values[2] > 0 and values[3] >= 0):
        raise ValueError(
            f"{path}, line {number}: release probabilities must be in (0, 1], amplitudes > 0, and"
            f" are {values}"
        )
    return values
