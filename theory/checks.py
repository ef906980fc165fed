"""Argument checks: bad input raises ``ValueError`` naming argument, value and remedy.

Every public function of the project checks what it is given through these
helpers, so that the same mistake reads the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from theory._types import Matrix, Vector

__all__ = [
    "as_integer",
    "as_matrices",
    "as_matrix",
    "as_number",
    "as_times",
    "as_vector",
    "one_of",
    "shown",
]


def shown(value: Any, limit: int = 80) -> str:
    """Return ``repr(value)`` on one line, shortened to ``limit`` characters.

    Parameters
    ----------
    value : Any
        The offending value.
    limit : int
        Longest text returned, in characters.

    Returns
    -------
    str
        The shortened representation.

    Examples
    --------
    >>> shown(list(range(100)), limit=12)
    '[0, 1, 2, 3…'
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def as_number(
    name: str,
    value: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return ``value`` as a finite float inside an interval.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : float
        What the caller passed.
    low, high : float
        The interval's ends.
    open_low, open_high : bool
        Whether the end itself is excluded.

    Returns
    -------
    float
        The checked number.

    Raises
    ------
    ValueError
        If the value is not a finite real number inside the interval.

    Examples
    --------
    >>> as_number("damping", -1, low=0.0)
    Traceback (most recent call last):
    ...
    ValueError: damping = -1: must be a finite number in [0, inf)
    """
    left = "(" if open_low or low == -math.inf else "["
    right = ")" if open_high or high == math.inf else "]"
    wanted = f"must be a finite number in {left}{low:g}, {high:g}{right}"
    if isinstance(value, str | bytes | bool | np.bool_):
        raise ValueError(f"{name} = {shown(value)}: {wanted}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {shown(value)}: {wanted}") from None
    inside = (number > low if open_low else number >= low) and (
        number < high if open_high else number <= high
    )
    if not math.isfinite(number) or not inside:
        raise ValueError(f"{name} = {shown(value)}: {wanted}")
    return number


def as_integer(name: str, value: int, *, low: int, high: int | None = None) -> int:
    """Return ``value`` as an int inside ``[low, high]``.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : int
        What the caller passed; a float is refused unless it is whole.
    low : int
        Smallest value allowed.
    high : int or None
        Largest value allowed; None for no limit.

    Returns
    -------
    int
        The checked integer.

    Raises
    ------
    ValueError
        If the value is not a whole number inside the interval.

    Examples
    --------
    >>> as_integer("depth", 3, low=1)
    3
    """
    wanted = f"must be a whole number >= {low}" + ("" if high is None else f" and <= {high}")
    try:
        number = int(value)
        whole = number == value and not isinstance(value, str | bytes | bool | np.bool_)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} = {shown(value)}: {wanted}") from None
    if not whole or number < low or (high is not None and number > high):
        raise ValueError(f"{name} = {shown(value)}: {wanted}")
    return number


def _finite_array(name: str, value: Any, dimensions: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    words = {1: "a vector", 2: "a matrix", 3: "a stack of matrices"}[dimensions]
    wanted = f"must be {words} of real numbers"
    try:
        raw = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} = {shown(value)}: {wanted}; it is ragged") from None
    if raw.dtype.kind not in "iuf":
        raise ValueError(f"{name} = {shown(value)}: {wanted}, not of type {raw.dtype}")
    array = np.array(raw, dtype=np.float64)
    if array.ndim != dimensions or array.size == 0:
        raise ValueError(
            f"{name} has shape {array.shape}: must be {words}"
            f" ({dimensions} dimension{'s' * (dimensions > 1)}, none of them empty)"
        )
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name}{list(where)} = {array[where]}: every entry must be finite")
    return array


def as_vector(name: str, value: Any) -> Vector:
    """Return ``value`` as a new finite float64 vector.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like
        What the caller passed.

    Returns
    -------
    Vector
        A float64 copy, shape (n,), n >= 1.

    Raises
    ------
    ValueError
        If it is not a non-empty, one-dimensional, finite, real array.

    Examples
    --------
    >>> as_vector("weights", [1, float("nan")])
    Traceback (most recent call last):
    ...
    ValueError: weights[1] = nan: every entry must be finite
    """
    return _finite_array(name, value, 1)


def as_matrix(name: str, value: Any) -> Matrix:
    """Return ``value`` as a new finite float64 matrix.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like
        What the caller passed.

    Returns
    -------
    Matrix
        A float64 copy, shape (rows, columns), both >= 1.

    Raises
    ------
    ValueError
        If it is not a non-empty, two-dimensional, finite, real array.

    Examples
    --------
    >>> as_matrix("target", [1.0, 2.0])
    Traceback (most recent call last):
    ...
    ValueError: target has shape (2,): must be a matrix (2 dimensions, none of them empty)
    """
    return _finite_array(name, value, 2)


def as_matrices(name: str, value: Sequence[Any]) -> list[Matrix]:
    """Return a chain of weight matrices, input side first, whose widths agree.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : sequence of array_like
        ``W_1 ... W_d``; ``W_i`` has shape (n_i, n_{i-1}).

    Returns
    -------
    list of Matrix
        float64 copies.

    Raises
    ------
    ValueError
        If the sequence is empty, an entry is not a finite matrix, or two
        neighbours cannot be multiplied.

    Examples
    --------
    >>> as_matrices("weights", [np.ones((3, 2)), np.ones((4, 5))])
    Traceback (most recent call last):
    ...
    ValueError: weights[1] has shape (4, 5): must have 3 columns, the rows of weights[0]
    """
    if isinstance(value, str) or not hasattr(value, "__len__") or len(value) == 0:
        raise ValueError(
            f"{name} = {shown(value)}: must be a non-empty list of matrices, input side first"
        )
    chain = [as_matrix(f"{name}[{i}]", item) for i, item in enumerate(value)]
    for i in range(1, len(chain)):
        if chain[i].shape[1] != chain[i - 1].shape[0]:
            raise ValueError(
                f"{name}[{i}] has shape {chain[i].shape}: must have"
                f" {chain[i - 1].shape[0]} columns, the rows of {name}[{i - 1}]"
            )
    return chain


def as_times(name: str, value: Any) -> Vector:
    """Return ``value`` as a vector of times: finite, not negative, not decreasing.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like
        What the caller passed.

    Returns
    -------
    Vector
        A float64 copy, shape (time,).

    Raises
    ------
    ValueError
        If a time is negative or earlier than the one before it.

    Examples
    --------
    >>> as_times("times", [0.0, 2.0, 1.0])
    Traceback (most recent call last):
    ...
    ValueError: times[2] = 1.0 comes after times[1] = 2.0: must be sorted
    """
    times = as_vector(name, value)
    if times[0] < 0:
        raise ValueError(f"{name}[0] = {times[0]}: must be >= 0")
    backward = np.flatnonzero(np.diff(times) < 0)
    if backward.size:
        i = int(backward[0])
        raise ValueError(
            f"{name}[{i + 1}] = {times[i + 1]} comes after {name}[{i}] = {times[i]}: must be sorted"
        )
    return times


def one_of(name: str, value: str, choices: Sequence[str]) -> str:
    """Return ``value`` if it is one of the choices.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : str
        What the caller passed.
    choices : sequence of str
        The allowed values.

    Returns
    -------
    str
        The value itself.

    Raises
    ------
    ValueError
        If it is none of them.

    Examples
    --------
    >>> one_of("blocks", "diagonal", ("full", "layer"))
    Traceback (most recent call last):
    ...
    ValueError: blocks = 'diagonal': must be one of 'full', 'layer'
    """
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} = {shown(value)}: must be one of {listed}")
    return value
