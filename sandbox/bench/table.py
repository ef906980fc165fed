"""Comparisons as one Parquet file: a row an element, the rest as JSON metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sandbox.bench.comparison import Axis, Comparison
from sandbox.bench.record import Record

__all__ = ["read_table", "write_table"]


def write_table(path: Path, record: Record) -> None:
    """Write a record's comparisons, one row an element.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    record : Record
        What to write.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {
        "comparison": [], "part": [], "index": [], "x": [],
        "predicted": [], "measured": [], "uncertainty": [],
    }  # fmt: skip

    def add(number: int, part: str, **values: Any) -> None:
        size = len(values["predicted"])
        rows: dict[str, Any] = {"comparison": [number] * size, "part": [part] * size}
        rows["index"] = range(size)
        for name, column in columns.items():
            column.extend(rows.get(name, values.get(name, [None] * size)))

    described = []
    for number, c in enumerate(record.comparisons):
        width = {} if c.uncertainty is None else {"uncertainty": c.uncertainty.ravel().tolist()}
        add(number, "compared", predicted=c.predicted.ravel().tolist(),
            measured=c.measured.ravel().tolist(), **width)  # fmt: skip
        if c.curve is not None:
            x, y = c.curve
            grid = np.repeat(x, y[0].size) if x.size else x
            add(number, "curve", x=grid.tolist(), predicted=y.ravel().tolist())
        plain = ("name", "tolerance", "reason", "relation", "relative", "confidence",
                 "quantity", "unit", "log")  # fmt: skip
        described.append(
            {name: getattr(c, name) for name in plain}
            | {"shape": c.predicted.shape, "uncertain": c.uncertainty is not None}
            | {"curve": None if c.curve is None else c.curve[1].shape}
            | {"axes": [[a.name, a.values, a.unit, a.log] for a in c.axes]}
        )
    rest = {
        "comparisons": described,
        "seconds": record.seconds,
        "stopped": record.stopped,
        "message": record.message,
        "summary": record.summary(),
    }
    types: dict[str, Any] = {"comparison": pa.int32(), "part": pa.string(), "index": pa.int64()}
    schema = pa.schema(
        [(name, types.get(name, pa.float64())) for name in columns],
        metadata={"claim": json.dumps(rest)},
    )
    pq.write_table(pa.table(columns, schema=schema), path)


def read_table(path: Path) -> tuple[list[Comparison], dict[str, Any]]:
    """Read back what :func:`write_table` wrote.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    comparisons : list of Comparison
        With their axes and curves.
    rest : dict
        ``seconds``, ``stopped`` and ``message``.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    rest = json.loads(table.schema.metadata[b"claim"])
    data = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    comparisons = []
    for number, about in enumerate(rest["comparisons"]):
        shape, uncertain, curve = about.pop("shape"), about.pop("uncertain"), about.pop("curve")
        axes = tuple(Axis(name, tuple(v), unit, log) for name, v, unit, log in about.pop("axes"))
        mine = data["comparison"] == number
        rows, grid = mine & (data["part"] == "compared"), mine & (data["part"] == "curve")
        x, y = data["x"][grid], data["predicted"][grid]
        comparisons.append(
            Comparison(
                predicted=data["predicted"][rows].reshape(shape),
                measured=data["measured"][rows].reshape(shape),
                uncertainty=data["uncertainty"][rows].reshape(shape) if uncertain else None,
                axes=axes,
                curve=None if curve is None else (x.reshape(curve[0], -1)[:, 0], y.reshape(curve)),
                **about,
            )
        )
    return comparisons, rest
