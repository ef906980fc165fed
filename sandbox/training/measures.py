"""What a learner of many tasks keeps: the accuracy matrix, its measures, intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from theory.checks import as_matrix, as_number, as_vector

__all__ = ["AccuracyMatrix", "Interval", "interval"]


@dataclass(frozen=True, slots=True, eq=False)
class AccuracyMatrix:
    r"""Test accuracy on every task before learning and after learning each task.

    **Equation.** R_ij is the accuracy on task j = 1 ... T after learning tasks 1 ... i;
    row 0 is the network as it started. Then

    .. math::

        \mathrm{average} &= \tfrac1T \sum_j R_{Tj}, \qquad
        \mathrm{learning} = \tfrac1T \sum_j R_{jj}, \\
        \mathrm{backward} &= \tfrac1{T-1} \sum_{j<T} (R_{Tj} - R_{jj}), \qquad
        \mathrm{forward} = \tfrac1{T-1} \sum_{j>1} (R_{j-1,j} - R_{0j}), \\
        \mathrm{forgetting} &= \tfrac1{T-1} \sum_{j<T} (\max_{1 \le i<T} R_{ij} - R_{Tj}).

    Always average = learning + (T-1)/T backward, and forgetting >= -backward with
    equality if and only if every task is known best right after it was learned.

    **Shapes and units.** ``values`` (1 + learned, task), accuracies in [0, 1].

    Parameters
    ----------
    values : ndarray of float64
        R; made read-only.

    Raises
    ------
    ValueError
        If there is not one more row than columns, or an entry is not in [0, 1].

    References
    ----------
    Lopez-Paz & Ranzato (2017), arXiv:1706.08840 (average accuracy, backward and forward
    transfer); Chaudhry et al. (2018), arXiv:1801.10112 (forgetting); the learning
    accuracy: Riemer et al. (2019), arXiv:1810.11910.

    Examples
    --------
    >>> matrix = AccuracyMatrix(np.array([[0.5, 0.5], [1.0, 0.5], [0.75, 1.0]]))
    >>> matrix.average, matrix.learning, matrix.backward, matrix.forgetting
    (0.875, 1.0, -0.25, 0.25)
    """

    values: Float64[ndarray, "learned task"]

    def __post_init__(self) -> None:
        values = as_matrix("values", self.values).copy()
        if values.shape[0] != values.shape[1] + 1:
            raise ValueError(
                f"values of shape {values.shape}: must have one row more than columns, the first"
                " for the network before learning"
            )
        if values.min() < 0 or values.max() > 1:
            i, j = np.argwhere((values < 0) | (values > 1))[0]
            raise ValueError(f"values[{i}, {j}] = {values[i, j]}: must be an accuracy in [0, 1]")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    @property
    def tasks(self) -> int:
        """T, the number of tasks."""
        return int(self.values.shape[1])

    @property
    def average(self) -> float:
        """Average accuracy: the mean over tasks at the end."""
        return float(self.values[-1].mean())

    @property
    def learning(self) -> float:
        """Learning accuracy: the mean over tasks, each right after it was learned."""
        return float(self.values[1:].diagonal().mean())

    @property
    def backward(self) -> float:
        """Backward transfer: what later tasks did to earlier ones; negative is loss."""
        self._need_two("backward transfer")
        return float((self.values[-1] - self.values[1:].diagonal())[:-1].mean())

    @property
    def forward(self) -> float:
        """Forward transfer: what earlier tasks do to later ones before these are learned."""
        self._need_two("forward transfer")
        return float((self.values[1:].diagonal(1) - self.values[0, 1:]).mean())

    @property
    def forgetting(self) -> float:
        """Forgetting: the best accuracy ever less that at the end, over all tasks but the last."""
        self._need_two("forgetting")
        return float((self.values[1:-1, :-1].max(axis=0) - self.values[-1, :-1]).mean())

    def _need_two(self, measure: str) -> None:
        if self.tasks < 2:
            raise ValueError(f"values have one task: {measure} is defined for two or more")


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval.

    Parameters
    ----------
    mean : float
        Sample mean.
    low, high : float
        Ends of the interval.
    level : float
        Its coverage.
    """

    mean: float
    low: float
    high: float
    level: float


def interval(values: Sequence[float] | ndarray, *, level: float = 0.95) -> Interval:
    r"""Return the mean over seeds with Student's confidence interval.

    **Equation.** :math:`\bar x \pm t_{n-1,(1+\gamma)/2}\, s/\sqrt n` with the sample's
    standard deviation s (divisor n - 1) and the level gamma.

    **Shapes and units.** Those of the values.

    Parameters
    ----------
    values : sequence of float
        One a seed, two or more.
    level : float
        Coverage, in (0, 1).

    Returns
    -------
    Interval
        Exact for normal values.

    Raises
    ------
    ValueError
        If there are fewer than two values or the level is out of range.

    References
    ----------
    Student (1908), doi:10.1093/biomet/6.1.1.

    Examples
    --------
    >>> found = interval([1.0, 2.0, 3.0])
    >>> round(found.mean, 3), round(found.high, 3)
    (2.0, 4.484)
    """
    from scipy.special import stdtrit

    sample = as_vector("values", np.asarray(values, dtype=np.float64))
    level = as_number("level", level, low=0.0, high=1.0, open_low=True, open_high=True)
    if len(sample) < 2:
        raise ValueError(f"values = {sample.tolist()}: must be two or more, one a seed")
    mean = float(sample.mean())
    reach = float(stdtrit(len(sample) - 1, (1 + level) / 2))
    half = reach * float(sample.std(ddof=1)) / len(sample) ** 0.5
    return Interval(mean, mean - half, mean + half, level)
