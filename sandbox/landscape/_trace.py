"""What a PL* monitor has seen, as named columns, kept as Parquet."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from sandbox.bench.files import write_whole
from theory.checks import one_of

__all__ = ["COLUMNS", "Trace"]

COLUMNS: dict[str, tuple[str, str]] = {
    "step": ("int64", "optimiser steps done"),
    "loss": ("float64", "L = |F - y|^2 / 2, summed over samples and outputs"),
    "lambda_min": ("float64", "least eigenvalue of the tangent kernel; NaN if L is not finite"),
    "lambda_max": ("float64", "largest eigenvalue of the tangent kernel; NaN if L is not finite"),
    "pl_ratio": ("float64", "|grad L|^2 / (2 L), from backpropagation; NaN if L is 0 or infinite"),
    "bound": ("float64", "L(0) x product over the steps of 1 - eta mu; NaN once none holds"),
    "path": ("float64", "length of the path of the parameters, over all steps"),
    "distance": ("float64", "of the parameters from the start"),
}
"""Type and meaning of every column."""


@dataclass
class Trace:
    """Rows of measurements along a training run.

    Parameters
    ----------
    rows : list of dict
        One a record, keys as :data:`COLUMNS`.
    """

    rows: list[dict[str, float]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.rows)

    def column(self, name: str) -> ndarray:
        """Return one column.

        Parameters
        ----------
        name : str
            A key of :data:`COLUMNS`.

        Returns
        -------
        ndarray
            (record,).

        Raises
        ------
        ValueError
            If there is no such column.
        """
        one_of("name", name, tuple(COLUMNS))
        return np.array([row[name] for row in self.rows], dtype=COLUMNS[name][0])

    def save(self, path: Path | str) -> None:
        """Write the columns as Parquet, whole or not at all.

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
        arrays = [pa.array(self.column(name)) for name in COLUMNS]
        buffer = io.BytesIO()
        parquet.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), buffer)
        write_whole(Path(path), buffer.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """Return the columns as arrays.

        Returns
        -------
        dict
            By name.
        """
        return {name: self.column(name) for name in COLUMNS}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the columns back.

        Parameters
        ----------
        state : dict
            What :meth:`state_dict` gave.
        """
        columns = {name: state[name].tolist() for name in COLUMNS}
        self.rows = [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]
