"""Releases as Parquet: one row a spike and trial, every column with its unit and meaning."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy import ndarray

from sandbox.bench.files import write_whole
from synapses.traces import Releases

__all__ = ["COLUMNS", "CONDITIONS", "read_releases", "write_conditions", "write_releases"]

Columns = dict[str, tuple[str, str, str]]

COLUMNS: Columns = {
    "trial": ("int64", "1", "repetition of the train, from 0"),
    "spike": ("int64", "1", "spike of the train, from 0"),
    "time": ("float64", "s", "time of the spike"),
    "use": ("float64", "1", "probability that a full site releases, or share of x released"),
    "full": ("float64", "1", "share x of full sites, or of resources, just before the spike"),
    "released": ("float64", "quanta", "quanta released; the share u x if deterministic"),
    "amplitude": ("float64", "unit of the quantal size", "postsynaptic amplitude"),
}
"""Type, unit and meaning of every column of the releases."""

CONDITIONS: Columns = {
    "condition": ("int64", "1", "condition of the mean-variance analysis, from 0"),
    "release_probability": ("float64", "1", "of a site, as simulated"),
    "trials": ("int64", "1", "amplitudes of the condition"),
    "mean": ("float64", "unit of the quantal size", "mean amplitude"),
    "variance": ("float64", "unit of the quantal size, squared", "variance of the amplitudes"),
}
"""Type, unit and meaning of every column of the conditions."""


def write_releases(path: Path, releases: Releases, first_trial: int, marks: dict[str, str]) -> None:
    """Write trials, whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    releases : Releases
        The trials.
    first_trial : int
        Number of the first of them.
    marks : dict
        What else the file's metadata are to say.
    """
    trials, spikes = releases.amplitudes.shape
    columns = {
        "trial": np.repeat(np.arange(first_trial, first_trial + trials), spikes),
        "spike": np.tile(np.arange(spikes), trials),
        "time": np.tile(releases.spikes_s, trials),
        "use": np.tile(releases.use, trials),
        "full": releases.full.ravel(),
        "released": releases.released.ravel(),
        "amplitude": releases.amplitudes.ravel(),
    }
    _write(path, columns, COLUMNS, marks)


def read_releases(path: Path) -> Releases:
    """Read back what :func:`write_releases` wrote.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    Releases
        The trials of the file.

    Raises
    ------
    ValueError
        If the file has other columns.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pa.ArrowInvalid as problem:
        raise ValueError(f"{path}: cannot be read ({problem}); --overwrite the run") from None
    if table.column_names != list(COLUMNS):
        raise ValueError(f"{path}: holds no releases; its columns are {table.column_names}")
    data = {name: table[name].to_numpy() for name in table.column_names}
    spikes = int(data["spike"].max()) + 1

    def rows(name: str) -> ndarray:
        """Return a column as (trial, spike)."""
        return np.asarray(data[name].reshape(-1, spikes))

    first = slice(0, spikes)
    return Releases(
        data["time"][first], data["use"][first], rows("full"), rows("released"), rows("amplitude")
    )


def write_conditions(path: Path, columns: dict[str, ndarray], marks: dict[str, str]) -> None:
    """Write means and variances of the conditions, whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    columns : dict
        Keys of :data:`CONDITIONS`.
    marks : dict
        What else the file's metadata are to say.
    """
    _write(path, columns, CONDITIONS, marks)


def _write(path: Path, columns: dict[str, ndarray], known: Columns, marks: dict[str, str]) -> None:
    """Write a table with units and meanings."""
    import pyarrow as pa
    from pyarrow import parquet

    fields = [
        pa.field(name, kind, metadata={"unit": unit, "meaning": meaning})
        for name, (kind, unit, meaning) in known.items()
    ]
    # what is undefined (NaN) is missing (null) in the table
    arrays = [
        pa.array(columns[name].astype(kind), from_pandas=True)
        for name, (kind, _, _) in known.items()
    ]
    words: dict[bytes | str, bytes | str] = dict(marks.items())
    schema = pa.schema(fields, metadata=words)
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer)
    write_whole(path, buffer.getvalue())
