"""Inputs for a mean over them, whatever they come in: tensors, samples, loaders."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from sandbox.network.evaluation import as_inputs
from theory.checks import as_integer, shown

__all__ = ["Piece", "Stream", "stream"]

Piece: TypeAlias = "tuple[Tensor, Tensor | None]"
"""Inputs with their targets, if there are any."""

FORMS = (
    "a tensor of inputs, a pair (inputs, targets), something with .inputs and .targets, or an"
    " iterable of such batches, a DataLoader for example"
)


class Stream:
    """The first inputs of some data, cut into pieces of any size on the way through.

    Parameters
    ----------
    batches : iterator of Piece
        At least one.
    n : int or None
        How many inputs to give; None for all.
    """

    def __init__(self, batches: Iterator[Piece], n: int | None) -> None:
        self._batches, self._n = batches, n
        self._head = list(itertools.islice(batches, 1))

    def look(self) -> Tensor:
        """Return the first two inputs, or the only one; the pieces hold them too."""
        while sum(len(inputs) for inputs, _ in self._head) < 2 and self._n != 1:
            more = next(self._batches, None)
            if more is None:
                break
            self._head.append(more)
        inputs, _ = _joined(self._head)
        return inputs[: 1 if self._n == 1 else 2]

    def pieces(self, size: int) -> Iterator[Piece]:
        """Give the inputs, so many at a time; the last piece may be smaller.

        Parameters
        ----------
        size : int
            Inputs a piece.

        Yields
        ------
        Piece
            Across the borders of the batches that the data came in.

        Raises
        ------
        ValueError
            If there are fewer inputs than were asked for, or batches do not fit each other.
        """
        kept: list[Piece] = []
        held = given = 0
        for inputs, targets in itertools.chain(self._head, self._batches):
            place = 0
            while place < len(inputs) and given + held != self._n:
                left = size - held if self._n is None else min(size - held, self._n - given - held)
                part = slice(place, place + left)
                kept.append((inputs[part], None if targets is None else targets[part]))
                held += len(kept[-1][0])
                place += left
                if held == size:
                    yield _joined(kept)
                    given, held, kept = given + held, 0, []
            if given + held == self._n:
                break
        if kept:
            yield _joined(kept)
            given += held
        if self._n is not None and given < self._n:
            raise ValueError(f"n = {self._n}: the data hold {given} inputs; n=None takes them all")


def stream(data: Any, n: int | None) -> Stream:
    """Return the first inputs of some data as a stream, after a look at the first batch.

    Parameters
    ----------
    data : Any
        A tensor or array of inputs, a pair (inputs, targets), something with both as
        attributes, or an iterable of such batches. A tuple of two tensors is a pair, and a list
        of two where they cannot both be batches of inputs.
    n : int or None
        How many inputs to take; None for all.

    Returns
    -------
    Stream
        It can be gone through once.

    Raises
    ------
    ValueError
        If the data are nothing of that kind, or of two kinds at once, or hold no input.
    """
    count = None if n is None else as_integer("n", n, low=1)
    if isinstance(data, list) and len(data) == 2 and all(map(_is_array, data)):
        one, two = data
        if one.ndim > 1 and one.shape[1:] == two.shape[1:] and one.dtype == two.dtype:
            raise ValueError(
                f"data = a list of two tensors, each of samples of shape {tuple(one.shape[1:])}:"
                " may be two batches of inputs or one with its targets; hand a pair over as a"
                " tuple (inputs, targets), and batches without targets as one tensor"
            )
    whole = _piece(data, count)
    if whole is not None:
        return Stream(iter([whole]), count)
    if isinstance(data, str | bytes | dict) or not isinstance(data, Iterable):
        raise ValueError(f"data = {shown(data)}: must be {FORMS}")
    batches = (_batch(batch) for batch in data)
    first = next(batches, None)
    if first is None:
        raise ValueError("data hold no batch: importance is a mean over at least one input")
    return Stream(itertools.chain([first], batches), count)


def _batch(batch: Any) -> Piece:
    """Return one batch of an iterable as a pair."""
    found = _piece(batch, None)
    if found is None:
        raise ValueError(
            f"a batch of the data is {shown(batch)}: must be a tensor of inputs, a pair (inputs,"
            " targets), or something with .inputs and .targets"
        )
    return found


def _piece(data: Any, n: int | None) -> Piece | None:
    """Return what is one batch as a pair, None for anything else."""
    if _is_array(data):
        return as_inputs(_tensor(data, n), "data"), None
    if isinstance(data, tuple | list) and len(data) == 2 and _is_array(data[0]):
        inputs, targets = data
        if targets is None:
            return _piece(inputs, n)
    elif hasattr(data, "inputs") and hasattr(data, "targets"):
        inputs, targets = data.inputs, data.targets
    else:
        return None
    if not _is_array(inputs) or not _is_array(targets):
        raise ValueError(
            f"data have inputs = {shown(inputs)} and targets = {shown(targets)}: both must be"
            " tensors or arrays"
        )
    if targets.ndim == 0 or len(inputs) != len(targets):
        raise ValueError(
            f"inputs of shape {tuple(inputs.shape)} with targets of shape {tuple(targets.shape)}:"
            " must be as many; hand single samples over in batches, through a DataLoader"
        )
    return as_inputs(_tensor(inputs, n), "inputs"), _tensor(targets, n)


def _is_array(value: Any) -> bool:
    """Tell whether a value is a tensor or an array of numbers."""
    return isinstance(value, Tensor) or (
        isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    )


def _tensor(array: Any, n: int | None) -> Tensor:
    """Return the first rows as a tensor; read-only arrays are copied."""
    part = array[:n] if array.ndim else array
    return part.detach() if isinstance(part, Tensor) else torch.tensor(part)


def _joined(parts: list[Piece]) -> Piece:
    """Return some parts as one."""
    if len(parts) == 1:
        return parts[0]
    inputs, targets = [part[0] for part in parts], [part[1] for part in parts]
    given = [part for part in targets if part is not None]
    if given and len(given) < len(targets):
        raise ValueError("data have targets in some batches only: give them in all, or in none")
    for name, some in (("inputs", inputs), ("targets", given)):
        shapes = sorted({tuple(part.shape[1:]) for part in some})
        if len(shapes) > 1:
            raise ValueError(f"data have {name} of several shapes a sample, {shapes}: must be one")
    return torch.cat(inputs), torch.cat(given) if given else None
