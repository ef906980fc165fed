"""What a comparison comes to: rows as Parquet, measures of every method with intervals."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sandbox.bench.files import write_whole
from sandbox.continual._run import Result
from sandbox.training.measures import AccuracyMatrix, interval

__all__ = ["COLUMNS", "MEASURES", "read_runs", "summarise", "table_lines", "write_runs"]

COLUMNS: dict[str, tuple[str, str, str]] = {
    "method": ("string", "", "what protects the weights of learned tasks"),
    "seed": ("uint64", "1", "root of the run's random streams, modulo 2**64"),
    "learned": ("int64", "1", "tasks learned; 0 is the network as it started"),
    "task": ("int64", "1", "task whose test samples are evaluated, from 0"),
    "name": ("string", "", "its name"),
    "accuracy": ("float64", "1", "share of its test samples that are classified correctly"),
    "loss": ("float64", "nat", "mean cross-entropy of its test samples"),
    "energy": ("float64", "weight", "sum of the moduli of all expected strengths, biases apart"),
}
"""Type, unit and meaning of every column."""

MEASURES: dict[str, str] = {
    "average": "accuracy at the end, mean over tasks",
    "learning": "accuracy right after a task was learned, mean over tasks",
    "forgetting": "best accuracy ever less that at the end, mean over all tasks but the last",
    "backward": "what later tasks did to the accuracy on earlier ones",
    "forward": "what earlier tasks did to the accuracy on later ones, before these are learned",
    "energy": "sum of the moduli of all expected strengths at the end",
    "relative_energy": "that over the energy of the method none with the same seed",
}
"""What is told of every method."""

LEVEL = 0.95
"""Coverage of the intervals."""


def write_runs(path: Path, results: Sequence[Result], marks: dict[str, str]) -> None:
    """Write one row a method, seed, number of learned tasks and evaluated task.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    results : sequence of Result
        The runs; those that stopped early have no rows.
    marks : dict
        What else the file's metadata are to say.
    """
    import pyarrow as pa
    from pyarrow import parquet

    rows: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for result in results:
        for learned, task in np.ndindex(*result.accuracy.shape):
            values = (
                *(result.method, result.seed % 2**64, learned, task, result.tasks[task]),
                float(result.accuracy[learned, task]),
                float(result.loss[learned, task]),
                float(result.energy[learned]),
            )
            for name, value in zip(COLUMNS, values, strict=True):
                rows[name].append(value)
    fields = [
        pa.field(name, kind, metadata={"unit": unit, "meaning": meaning})
        for name, (kind, unit, meaning) in COLUMNS.items()
    ]
    words: dict[bytes | str, bytes | str] = dict(marks.items())
    schema = pa.schema(fields, metadata=words)
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pydict(rows, schema=schema), buffer)
    write_whole(path, buffer.getvalue())


def read_runs(path: Path | str) -> list[dict[str, Any]]:
    """Return the rows that :func:`write_runs` wrote.

    Parameters
    ----------
    path : pathlib.Path or str
        The file.

    Returns
    -------
    list of dict
        Keys are those of :data:`COLUMNS`.

    Raises
    ------
    ValueError
        If the file has other columns.
    """
    from pyarrow import parquet

    table = parquet.read_table(path)
    if table.column_names != list(COLUMNS):
        raise ValueError(f"{path}: holds no runs; its columns are {table.column_names}")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def summarise(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the measures of every method, each a mean with its interval over seeds.

    **Equation.** :class:`sandbox.training.measures.AccuracyMatrix`; Student's 95 % intervals.

    **Shapes and units.** Accuracies in [0, 1]; energy in units of the weights.

    Parameters
    ----------
    results : sequence of Result
        The runs.

    Returns
    -------
    list of dict
        One a method, in the order in which they come: ``method``, ``seeds`` that count,
        ``stopped`` (seed and reason) and for every measure ``mean``, ``low`` and ``high``; the
        ends are None with one seed alone, and the measure is None where there is none.
    """
    plain = {r.seed: r.energy[-1] for r in results if r.method == "none" and not r.stopped}
    found = []
    for name in dict.fromkeys(result.method for result in results):
        whole = [r for r in results if r.method == name and not r.stopped]
        values: dict[str, list[float]] = {measure: [] for measure in MEASURES}
        for result in whole:
            matrix = AccuracyMatrix(result.accuracy)
            for measure in ("average", "learning", "forgetting", "backward", "forward"):
                values[measure].append(getattr(matrix, measure))
            values["energy"].append(float(result.energy[-1]))
            if result.seed in plain:
                ratio = float(result.energy[-1] / plain[result.seed])
                values["relative_energy"].append(ratio)
        stopped = {r.seed: r.stopped for r in results if r.method == name and r.stopped}
        row = {measure: _estimate(sample) for measure, sample in values.items()}
        found.append({"method": name, "seeds": [r.seed for r in whole], "stopped": stopped, **row})
    return found


def _estimate(sample: Sequence[float]) -> dict[str, float | None] | None:
    """Return a mean with the ends of its interval."""
    if not sample:
        return None
    if len(sample) == 1:
        return {"mean": sample[0], "low": None, "high": None}
    known = interval(sample, level=LEVEL)
    return {"mean": known.mean, "low": known.low, "high": known.high}


HEADS = {
    "average": "accuracy",
    "learning": "when learned",
    "forgetting": "forgetting",
    "backward": "backward",
    "forward": "forward",
    "energy": "energy",
    "relative_energy": "energy/none",
}
"""What the printed table calls the measures."""


def table_lines(summary: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table as it is printed: a head, and one line a method.

    Parameters
    ----------
    summary : sequence of dict
        What :func:`summarise` returned.

    Returns
    -------
    list of str
        Columns without any value are left out.
    """
    shown = [m for m in MEASURES if any(row[m] is not None for row in summary)]
    cells = [["method", *(HEADS[m] for m in shown)]]
    cells += [[row["method"], *(_cell(m, row[m]) for m in shown)] for row in summary]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _cell(measure: str, found: dict[str, float | None] | None) -> str:
    if found is None or found["mean"] is None:
        return "-"
    sign = "+" if measure in {"backward", "forward"} else ""
    digits = ".1f" if measure == "energy" else ".4f"
    text = f"{found['mean']:{sign}{digits}}"
    if found["high"] is None:
        return text
    return f"{text} ± {found['high'] - found['mean']:{digits}}"
