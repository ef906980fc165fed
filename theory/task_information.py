"""How much the outputs of a classifier tell about the labels, in bits."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Integer
from numpy import ndarray

from theory.checks import as_integer, as_number
from theory.information import binary_entropy

__all__ = ["label_entropy", "symmetric_information", "task_information"]

SUM = 1e-5
"""How far the probabilities of a sample may be from summing to 1: rounding of float32."""


def task_information(
    probabilities: Float[ndarray, "sample output"], labels: Integer[ndarray, " sample"]
) -> float:
    r"""Return the mutual information of label and sampled output.

    **Equation.** :math:`I(Y; Z) = \sum_{yz} P(y) P(z|y) \log_2 [P(z|y) / P(z)]`, where P(y)
    is the share of label y and P(z|y) the mean over its samples of the probability of
    output z, e.g. the softmax: the answer is drawn from it, not its largest entry.

    **Shapes and units.** Bits. Summed in float64.

    Parameters
    ----------
    probabilities : Float[ndarray, "sample output"]
        Of each output, summing to 1 for every sample.
    labels : Integer[ndarray, " sample"]
        Classes, >= 0; they need not have the numbers of the outputs.

    Returns
    -------
    float
        At most the entropy of the labels.

    Raises
    ------
    ValueError
        If shapes disagree, there is no sample, or a row is no probability distribution.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884; this form is that of their program
    (github.com/smonsays/presynaptic-stochasticity).

    Examples
    --------
    >>> task_information(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))
    1.0
    """
    chances = np.asarray(probabilities, dtype=np.float64)
    classes, shares = _shares(labels)
    if chances.ndim != 2 or len(chances) != classes.size:
        raise ValueError(
            f"probabilities has shape {chances.shape}: must be (sample, output) for"
            f" {classes.size} labels"
        )
    sums = chances.sum(axis=1)
    wrong = ~((chances >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM))  # NaN fails as well
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(
            f"probabilities[{i}] sums to {sums[i]:.6g}, smallest {chances[i].min():.6g}: every row"
            " must be >= 0 and sum to 1; take the softmax"
        )
    given = np.stack([chances[classes == k].mean(axis=0) for k in range(shares.size)])
    overall = shares @ given
    ratio = np.divide(given, overall, out=np.ones_like(given), where=given > 0)
    return float(max((shares[:, None] * given * np.log2(ratio)).sum(), 0.0))


def label_entropy(labels: Integer[ndarray, " sample"]) -> float:
    r"""Return the entropy of labels, the most that a classifier can tell about them.

    **Equation.** :math:`H = -\sum_y P(y) \log_2 P(y)`.

    **Shapes and units.** Bits.

    Parameters
    ----------
    labels : Integer[ndarray, " sample"]
        Classes, >= 0.

    Returns
    -------
    float
        At most log2 of the number of classes.

    Raises
    ------
    ValueError
        If there is no label, or one is no class.

    References
    ----------
    Shannon (1948), doi:10.1002/j.1538-7305.1948.tb01338.x.

    Examples
    --------
    >>> label_entropy(np.array([0, 0, 1, 1]))
    1.0
    """
    _, shares = _shares(labels)
    return float(-(shares * np.log2(shares)).sum())


def symmetric_information(accuracy: float, classes: int) -> float:
    r"""Return the information of answers that are right equally often for every class.

    **Equation.** :math:`I = \log_2 K - h(a) - (1-a) \log_2 (K-1)`: K classes of the same
    frequency, wrong answers spread evenly over the others.

    **Shapes and units.** Bits.

    Parameters
    ----------
    accuracy : float
        a, in [0, 1].
    classes : int
        K, >= 2.

    Returns
    -------
    float
        0 at chance, log2 K at 1.

    References
    ----------
    Standard; the capacity of the symmetric channel of K letters.

    Examples
    --------
    >>> round(symmetric_information(0.9, 10), 12)
    2.535940001154
    """
    a = as_number("accuracy", accuracy, low=0.0, high=1.0)
    count = as_integer("classes", classes, low=2)
    bits = math.log2(count) - binary_entropy(a) - (1 - a) * math.log2(count - 1)
    return max(bits, 0.0)  # rounding at chance


def _shares(labels: ndarray) -> tuple[ndarray, ndarray]:
    """Return labels as consecutive numbers, and how often each occurs."""
    array = np.asarray(labels)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu" or array.min() < 0:
        raise ValueError(
            f"labels has shape {array.shape} and type {array.dtype}: must be a non-empty vector of"
            " whole numbers >= 0"
        )
    _, classes, counts = np.unique(array, return_inverse=True, return_counts=True)
    return classes, counts / array.size
