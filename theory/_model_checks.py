"""Checks that the shipped models share: lengths, radii, equal samples."""

from __future__ import annotations

import math
from typing import Any

from jaxtyping import Float
from numpy import ndarray

from theory.checks import as_matrix, as_number, as_vector

__all__ = ["ball_radius", "finite", "positive", "sized", "twin_rows", "with_columns"]


def sized(value: Any, size: int, name: str = "parameters") -> Float[ndarray, " n"]:
    """Return a finite vector of the wanted length."""
    vector = as_vector(name, value)
    if len(vector) != size:
        raise ValueError(f"{name} has {len(vector)} entries: must have {size}")
    return vector


def with_columns(name: str, value: Any, inputs: ndarray) -> Float[ndarray, "row column"]:
    """Return a finite matrix with as many columns as the inputs."""
    matrix = as_matrix(name, value)
    if matrix.shape[1] != inputs.shape[1]:
        raise ValueError(
            f"{name} has shape {matrix.shape}: must have {inputs.shape[1]} columns, those of inputs"
        )
    return matrix


def ball_radius(radius: float) -> float:
    """Return the radius of a closed ball."""
    return as_number("radius", radius, low=0.0)


def twin_rows(rows: ndarray, outputs: int) -> list[tuple[int, int]]:
    """Return the outputs that equal rows share: (first, later), each output of a row apart."""
    seen: dict[bytes, int] = {}
    pairs: list[tuple[int, int]] = []
    for number, row in enumerate(rows + 0.0):  # + 0.0 makes one zero of the two
        first = seen.setdefault(row.tobytes(), number)
        if first != number:
            pairs.extend((first * outputs + k, number * outputs + k) for k in range(outputs))
    return pairs


def positive(name: str, value: float) -> float:
    """Return a finite number above 0."""
    return as_number(name, value, low=0.0, open_low=True)


def finite(name: str, value: float) -> float:
    """Return a computed number that did not overflow."""
    if not math.isfinite(value):
        raise ValueError(f"{name} overflows: must be finite; rescale loss or parameters")
    return value
