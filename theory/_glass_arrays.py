"""Numbers and arrays of any shape, checked alike by the modules on glass."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory.checks import shown

__all__ = ["Real", "as_real", "matched", "place", "plain", "within_range"]

Real: TypeAlias = Float[ndarray, " ..."] | float


def as_real(name: str, value: Any, *, low: float | None = None) -> Float[ndarray, " ..."]:
    """Return finite float64 numbers of any shape, none of them below ``low``."""
    wanted = "must be finite" if low is None else f"must be finite and >= {low:g}"
    try:
        raw = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} = {shown(value)}: {wanted}; it is ragged") from None
    if raw.dtype.kind not in "iuf" or raw.size == 0:
        raise ValueError(f"{name} = {shown(value)}: {wanted}, a real number or an array of them")
    array = np.array(raw, dtype=np.float64)
    wrong = ~np.isfinite(array) if low is None else ~(np.isfinite(array) & (array >= low))
    if wrong.any():
        where, number = place(wrong, array)
        raise ValueError(f"{name}{where} = {number:g}: {wanted}")
    return array


def matched(**arrays: Float[ndarray, " ..."]) -> tuple[Float[ndarray, " ..."], ...]:
    """Return arrays broadcast to one shape."""
    try:
        return np.broadcast_arrays(*arrays.values())
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"shapes {shapes} do not fit: must broadcast together") from None


def place(wrong: Any, *arrays: Real) -> tuple[Any, ...]:
    """Return the first marked index as text, and the arrays' values there."""
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        str(list(index)) if index else "",
        *(float(np.asarray(array)[index]) for array in arrays),
    )


def plain(array: Any) -> Real:
    """Return an array as it is, and one without axes as a number."""
    value: Real = np.asarray(array)[()]
    return value


def within_range(name: str, argument: Any, value: Any) -> Real:
    """Return what was computed from an argument, if none of it overflowed."""
    wrong = ~np.isfinite(value)
    if wrong.any():
        where, number = place(wrong, np.broadcast_to(argument, np.shape(value)))
        raise ValueError(
            f"{name}{where} = {number:g}: the result overflows; rescale loss or parameter"
        )
    return plain(value)
