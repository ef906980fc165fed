"""Data sets by name, checked against their checksums every time they are read."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from theory.checks import as_integer, as_matrix, as_number, shown
from theory.streams import Streams

__all__ = ["Dataset", "load", "one_hot", "split"]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Labelled samples, immutable, together with where they come from.

    **Shapes and units.** ``inputs`` (sample, feature) and ``labels`` (sample,); a
    sample reshaped to ``shape`` is what it was before it was flattened.

    Parameters
    ----------
    name : str
        As given to :func:`load`.
    inputs : ndarray of float64
        The features, normalised as ``normalisation`` says; made read-only.
    labels : ndarray of int64
        Class numbers, from 0; made read-only.
    classes : tuple of str
        Names of the classes.
    shape : tuple of int
        Shape of one sample.
    normalisation : str
        What was done to the raw features, in words.
    source : str
        Who made the data and where they are published.

    Raises
    ------
    ValueError
        If the arrays, the class names and the shape do not fit each other.
    """

    name: str
    inputs: Float64[ndarray, "sample feature"]
    labels: Int64[ndarray, " sample"]
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    normalisation: str
    source: str

    def __post_init__(self) -> None:
        if self.inputs.dtype != np.float64 or self.inputs.ndim != 2:
            raise ValueError(
                f"inputs of shape {self.inputs.shape} and type {self.inputs.dtype}: must be"
                " float64 (sample, feature)"
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.inputs.shape[:1]:
            raise ValueError(
                f"labels of shape {self.labels.shape} and type {self.labels.dtype}: must be"
                f" {len(self.inputs)} int64 class numbers"
            )
        if np.prod(self.shape) != self.inputs.shape[1]:
            raise ValueError(f"shape = {self.shape}: must hold {self.inputs.shape[1]} features")
        _check_labels(self.labels, len(self.classes))
        as_matrix("inputs", self.inputs)
        for field in ("inputs", "labels"):
            frozen = getattr(self, field).copy()
            frozen.flags.writeable = False
            object.__setattr__(self, field, frozen)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    @property
    def checksum(self) -> str:
        """SHA-256 of the inputs and labels, as little-endian bytes in row-major order."""
        digest = hashlib.sha256()
        digest.update(self.inputs.astype("<f8").tobytes())
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()


def _check_labels(labels: Int64[ndarray, " sample"], classes: int) -> None:
    """Refuse class numbers outside [0, classes)."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        i = int(wrong[0])
        raise ValueError(f"labels[{i}] = {labels[i]}: must be a class number in [0, {classes})")


def _digits() -> Dataset:
    """Return the handwritten digits that come with scikit-learn."""
    # scikit-learn takes a second to import, and only this data set needs it
    from sklearn.datasets import load_digits

    raw = load_digits()
    return Dataset(
        name="digits",
        inputs=np.asarray(raw.data, dtype=np.float64) / 16.0,
        labels=np.asarray(raw.target, dtype=np.int64),
        classes=tuple(str(digit) for digit in range(10)),
        shape=(8, 8),
        normalisation="pixel counts 0 to 16 divided by 16, so that every feature is in [0, 1]",
        source=(
            "Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits (its test set),"
            " UCI Machine Learning Repository, doi:10.24432/C50P49; as shipped by scikit-learn"
        ),
    )


_KNOWN: dict[str, tuple[Callable[[], Dataset], str]] = {
    "digits": (_digits, "5889d26819cf830d070975af3c711419825fa0a078137b3d80b8e7d06bd58da0"),
}


def load(name: str) -> Dataset:
    """Return a data set by name.

    **Shapes and units.** digits: 1797 samples of 64 features in [0, 1], 10 classes.

    Parameters
    ----------
    name : {"digits"}
        Which one.

    Returns
    -------
    Dataset
        Its arrays have been compared with the checksum on record.

    Raises
    ------
    ValueError
        If there is no data set of this name.
    RuntimeError
        If the data are not those on record.

    References
    ----------
    digits: Alpaydin & Kaynak (1998), doi:10.24432/C50P49.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.inputs.shape, digits.shape, len(digits.classes)
    ((1797, 64), (8, 8), 10)
    """
    if name not in _KNOWN:
        near = difflib.get_close_matches(str(name), _KNOWN, n=1, cutoff=0.0)[0]
        listed = ", ".join(repr(known) for known in _KNOWN)
        raise ValueError(f"name = {shown(name)}: must be one of {listed}; the nearest is {near!r}")
    read, recorded = _KNOWN[name]
    dataset = read()
    if dataset.checksum != recorded:
        raise RuntimeError(
            f"data set {name!r} has SHA-256 {dataset.checksum}, on record is {recorded}: the copy"
            " is damaged or its maintainers changed it"
        )
    return dataset


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
    _check_labels(numbers, classes)
    rows: Float64[ndarray, "sample class"] = np.eye(classes)[numbers]
    return rows


def split(
    dataset: Dataset, streams: Streams, *, test_fraction: float = 0.2, index: int = 0
) -> tuple[Dataset, Dataset]:
    """Training and test sets, chosen by a random permutation under a named seed.

    **Equation.** The test set is the first round(fraction x samples) entries of the
    permutation drawn from the stream ("split/" + name, index); each set keeps the
    data's own order.

    Parameters
    ----------
    dataset : Dataset
        What to split.
    streams : Streams
        The run's streams; the same root gives the same split.
    test_fraction : float
        Share of the test set, in (0, 1).
    index : int
        Which split.

    Returns
    -------
    train, test : Dataset
        Disjoint, together the whole.

    Raises
    ------
    ValueError
        If the fraction leaves one of the two empty.

    Examples
    --------
    >>> train, test = split(load("digits"), Streams(0))
    >>> len(train), len(test)
    (1438, 359)
    """
    fraction = as_number(
        "test_fraction", test_fraction, low=0.0, high=1.0, open_low=True, open_high=True
    )
    held_out = round(fraction * len(dataset))
    if not 0 < held_out < len(dataset):
        raise ValueError(
            f"test_fraction = {fraction}: leaves {held_out} of {len(dataset)} samples for the"
            " test; both sets must hold at least one"
        )
    order = streams.generator(f"split/{dataset.name}", index).permutation(len(dataset))
    test, train = np.sort(order[:held_out]), np.sort(order[held_out:])
    return _part(dataset, train), _part(dataset, test)


def _part(dataset: Dataset, rows: Int64[ndarray, " row"]) -> Dataset:
    """Return some samples of a data set."""
    return dataclasses.replace(dataset, inputs=dataset.inputs[rows], labels=dataset.labels[rows])
