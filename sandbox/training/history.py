"""What a training run measured, one row an evaluation, kept as Parquet."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from sandbox.bench.files import write_whole
from sandbox.training.measures import AccuracyMatrix
from theory.checks import one_of, shown

__all__ = ["COLUMNS", "History"]

COLUMNS: dict[str, tuple[str, str]] = {
    "step": ("int64", "optimiser steps done"),
    "learned": ("int64", "tasks learned to the end before this row"),
    "task": ("int64", "task in training, from 0; -1 before training"),
    "epoch": ("int64", "epochs done in that task"),
    "evaluated": ("int64", "task that this row measures, from 0"),
    "train_loss": ("float64", "loss of a batch, mean over the steps since the last evaluation"),
    "penalty": ("float64", "mean penalty over the same steps"),
    "learning_rate": ("float64", "of the first parameter group, at the last step"),
    "validation_loss": ("float64", "on the samples set aside; NaN if there are none"),
    "validation_accuracy": ("float64", "on the samples set aside, in [0, 1]"),
    "test_loss": ("float64", "on the test samples"),
    "test_accuracy": ("float64", "on the test samples, in [0, 1]"),
    "averaged_loss": ("float64", "of the averaged weights on the test samples; NaN without"),
    "averaged_accuracy": ("float64", "of the averaged weights on the test samples, in [0, 1]"),
    "seconds": ("float64", "spent in training so far, evaluation left out"),
}
"""Type and meaning of every column."""

ADDED = {"averaged_loss", "averaged_accuracy"}
"""Columns that the first files did not have."""


@dataclass
class History:
    """Rows of measurements, and why the run ended.

    Parameters
    ----------
    names : tuple of str
        Names of the tasks.
    rows : list of dict
        One an evaluation of one task, keys as :data:`COLUMNS`.
    stopped : str
        Why training ended before its last epoch; empty if it did not.
    """

    names: tuple[str, ...]
    rows: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def column(self, name: str, *, task: int | None = None) -> ndarray:
        """Return one column.

        Parameters
        ----------
        name : str
            A key of :data:`COLUMNS`.
        task : int or None
            Only rows that measure this task.

        Returns
        -------
        ndarray
            (row,).

        Raises
        ------
        ValueError
            If there is no such column.
        """
        one_of("name", name, tuple(COLUMNS))
        rows = [row for row in self.rows if task is None or row["evaluated"] == task]
        return np.array([row[name] for row in rows], dtype=COLUMNS[name][0])

    @property
    def final(self) -> dict[str, float]:
        """The last row that measures the task trained last."""
        if not self.rows:
            raise ValueError("history holds no rows: nothing has been measured yet")
        last = max(self.rows[-1]["task"], 0)
        return next(row for row in reversed(self.rows) if row["evaluated"] == last)

    def accuracy_matrix(self) -> AccuracyMatrix:
        """Return test accuracies before learning and after each task.

        Returns
        -------
        AccuracyMatrix
            (1 + task, task).

        Raises
        ------
        ValueError
            If the run ended before all tasks were learned, or targets are values.
        """
        tasks = len(self.names)
        values = np.full((tasks + 1, tasks), np.nan)
        # the last row wins: after a task's last epoch every task is measured
        for row in self.rows:
            if row["task"] == row["learned"] - 1:
                values[int(row["learned"]), int(row["evaluated"])] = row["test_accuracy"]
        if np.isnan(values).any():
            done = int(max((row["learned"] for row in self.rows), default=0))
            raise ValueError(
                f"history holds accuracies after {done} of {tasks} tasks: the matrix needs all of"
                " them, and targets that are classes"
            )
        return AccuracyMatrix(values)

    def save(self, path: Path | str) -> None:
        """Write the rows as Parquet, whole or not at all.

        Parameters
        ----------
        path : pathlib.Path or str
            The file.
        """
        import pyarrow as pa
        from pyarrow import parquet

        fields = [
            pa.field(name, kind, metadata={"meaning": words})
            for name, (kind, words) in COLUMNS.items()
        ]
        marks: dict[bytes | str, bytes | str] = {
            "tasks": json.dumps(self.names),
            "stopped": self.stopped,
        }
        arrays = [pa.array(self.column(name)) for name in COLUMNS]
        table = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=marks))
        buffer = io.BytesIO()
        parquet.write_table(table, buffer)
        write_whole(Path(path), buffer.getvalue())

    @classmethod
    def load(cls, path: Path | str) -> History:
        """Read what :meth:`save` wrote.

        Parameters
        ----------
        path : pathlib.Path or str
            The file.

        Returns
        -------
        History
            With the same rows.

        Raises
        ------
        ValueError
            If the file is another Parquet file.
        """
        from pyarrow import parquet

        table = parquet.read_table(path)
        marks = table.schema.metadata or {}
        absent = set(COLUMNS) - set(table.column_names)
        known = [name for name in COLUMNS if name not in absent]
        if b"tasks" not in marks or table.column_names != known or not absent <= ADDED:
            raise ValueError(f"{path}: not a history; its columns are {shown(table.column_names)}")
        names = tuple(json.loads(marks[b"tasks"]))
        without = dict.fromkeys(COLUMNS, math.nan)
        rows = [without | row for row in table.to_pylist()]
        return cls(names, rows, marks[b"stopped"].decode())

    def state_dict(self) -> dict[str, Any]:
        """Return the rows as a tree for a checkpoint.

        Returns
        -------
        dict
            Columns as arrays.
        """
        columns = {name: self.column(name) for name in COLUMNS}
        return {"columns": columns, "stopped": self.stopped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the rows of a checkpoint.

        Parameters
        ----------
        state : dict
            What :meth:`state_dict` gave.
        """
        columns = {name: state["columns"][name].tolist() for name in COLUMNS}
        self.rows = [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]
        self.stopped = state["stopped"]
