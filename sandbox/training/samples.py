"""Samples and data sets: immutable arrays with their meaning."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy import ndarray

from theory.checks import as_integer, as_number, shown
from theory.streams import Streams

__all__ = ["Dataset", "Samples", "one_hot", "split"]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Inputs with their targets, immutable.

    **Shapes and units.** ``inputs`` (sample, feature); ``targets`` (sample,) for
    classes, (sample, output) for values.

    Parameters
    ----------
    inputs : ndarray of float32 or float64
        The features; made read-only.
    targets : ndarray of int64, float32 or float64
        Class numbers from 0, or the outputs wanted; made read-only.

    Raises
    ------
    ValueError
        If the arrays do not fit each other or hold anything but finite numbers.

    Examples
    --------
    >>> len(Samples(np.zeros((3, 2)), np.array([0, 1, 1])))
    3
    """

    inputs: Float[ndarray, "sample feature"]
    targets: ndarray

    def __post_init__(self) -> None:
        if self.inputs.dtype.kind != "f" or self.inputs.ndim != 2:
            raise ValueError(
                f"inputs of shape {self.inputs.shape} and type {self.inputs.dtype}: must be"
                " real numbers of shape (sample, feature)"
            )
        wanted = {"i": 1, "f": 2}.get(self.targets.dtype.kind)
        if wanted != self.targets.ndim or len(self.targets) != len(self.inputs):
            raise ValueError(
                f"targets of shape {self.targets.shape} and type {self.targets.dtype}: must be"
                f" {len(self.inputs)} class numbers (int64), or values of shape"
                f" ({len(self.inputs)}, output)"
            )
        if wanted == 1 and self.targets.size and self.targets.min() < 0:
            i = int(np.argmin(self.targets))
            raise ValueError(f"targets[{i}] = {self.targets[i]}: a class number must be >= 0")
        for name in ("inputs", "targets"):
            array = getattr(self, name)
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                row, column = np.argwhere(~np.isfinite(array))[0]
                raise ValueError(f"{name}[{row}, {column}] = {array[row, column]}: must be finite")
            object.__setattr__(self, name, _read_only(array))

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.targets)

    def __getitem__(self, rows: Int64[ndarray, " row"] | slice) -> Samples:
        """Return some of the samples."""
        return Samples(self.inputs[rows], self.targets[rows])


def _read_only(array: ndarray) -> ndarray:
    """Return the array itself if nobody can write to it, otherwise a read-only copy."""
    holder: object = array
    while isinstance(holder, ndarray) and not holder.flags.writeable:
        holder = holder.base  # a view is as safe as what it looks at
    if not isinstance(holder, ndarray):
        return array
    array = array.copy()
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A training and a test set, immutable, together with where they come from.

    **Shapes and units.** A sample reshaped to ``shape`` is what it was before it was
    flattened.

    Parameters
    ----------
    name : str
        As given to :func:`load`.
    train, test : Samples
        Disjoint.
    classes : tuple of str
        Names of the classes; empty if the targets are values.
    shape : tuple of int
        Shape of one sample.
    normalisation : str
        What was done to the raw features, in words.
    source : str
        Who made the data and where they are published.
    checksum : str
        SHA-256 of the published files' contents, joined by ``+``.

    Raises
    ------
    ValueError
        If the arrays, the class names and the shape do not fit each other.
    """

    name: str
    train: Samples
    test: Samples
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    normalisation: str = "none"
    source: str = "unknown"
    checksum: str = ""

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            samples: Samples = getattr(self, part)
            if samples.inputs.shape[1] != math.prod(self.shape):
                raise ValueError(
                    f"shape = {self.shape}: must hold {samples.inputs.shape[1]} features, as many"
                    f" as the {part} inputs"
                )
            if self.classes and samples.targets.dtype.kind == "i":
                _check_labels(f"{part}.targets", samples.targets, len(self.classes))

    @property
    def everything(self) -> Samples:
        """All samples, the training set first."""
        return Samples(
            np.concatenate([self.train.inputs, self.test.inputs]),
            np.concatenate([self.train.targets, self.test.targets]),
        )


def _check_labels(name: str, labels: Int64[ndarray, " sample"], classes: int) -> None:
    """Refuse class numbers outside [0, classes)."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        i = int(wrong[0])
        raise ValueError(f"{name}[{i}] = {labels[i]}: must be a class number in [0, {classes})")


def one_hot(labels: Int64[ndarray, " sample"], classes: int) -> Float64[ndarray, "sample class"]:
    """Return outputs with a one at the label and zeros elsewhere.

    **Equation.** y_nc = 1 if c is the label of sample n, else 0.

    **Shapes and units.** (sample,) in, (sample, class) out.

    Parameters
    ----------
    labels : ndarray of int64
        Class numbers.
    classes : int
        Number of classes.

    Returns
    -------
    ndarray of float64
        One row a sample.

    Raises
    ------
    ValueError
        If a label is not in [0, classes).

    Examples
    --------
    >>> one_hot(np.array([2, 0]), 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    classes = as_integer("classes", classes, low=1)
    numbers = np.asarray(labels)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise ValueError(f"labels = {shown(labels)}: must be a vector of whole numbers")
    _check_labels("labels", numbers, classes)
    rows: Float64[ndarray, "sample class"] = np.eye(classes)[numbers]
    return rows


def split(
    samples: Samples,
    streams: Streams,
    *,
    held_out: float = 0.2,
    name: str = "split",
    index: int = 0,
) -> tuple[Samples, Samples]:
    """Divide samples in two by a random permutation under a named seed.

    **Equation.** The second part is the first round(fraction x samples) entries of the
    permutation drawn from the stream (name, index); each part keeps the data's order.

    Parameters
    ----------
    samples : Samples
        What to divide.
    streams : Streams
        The run's streams; the same root gives the same parts.
    held_out : float
        Share of the second part, in (0, 1).
    name : str
        Name of the stream.
    index : int
        Which division.

    Returns
    -------
    kept, held_out : Samples
        Disjoint, together the whole.

    Raises
    ------
    ValueError
        If the fraction leaves one of the two empty.

    Examples
    --------
    >>> kept, rest = split(Samples(np.eye(8), np.arange(8)), Streams(0), held_out=0.25)
    >>> len(kept), len(rest)
    (6, 2)
    """
    fraction = as_number("held_out", held_out, low=0.0, high=1.0, open_low=True, open_high=True)
    count = round(fraction * len(samples))
    if not 0 < count < len(samples):
        raise ValueError(
            f"held_out = {fraction}: sets {count} of {len(samples)} samples aside; both parts must"
            " hold at least one"
        )
    order = streams.generator(name, index).permutation(len(samples))
    return samples[np.sort(order[count:])], samples[np.sort(order[:count])]
