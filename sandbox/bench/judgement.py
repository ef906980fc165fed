"""Whether a comparison holds: its verdict, told at its worst element."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sandbox.bench.comparison import Comparison

if TYPE_CHECKING:
    from sandbox.bench.comparison import Array

__all__ = ["Judgement", "Verdict", "deviations", "judge", "worst"]


class Verdict(StrEnum):
    """What the bench says of a claim, from best to worst."""

    HOLDS = "holds"
    SKIPPED = "skipped"
    INCONCLUSIVE = "inconclusive"
    FAILS = "fails"
    ERROR = "error"


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the worst of several verdicts; an empty list is an error.

    Parameters
    ----------
    verdicts : list of Verdict
        The verdicts of a claim's comparisons.

    Returns
    -------
    Verdict
        The last in the order holds, skipped, inconclusive, fails, error.

    Examples
    --------
    >>> worst([Verdict.HOLDS, Verdict.FAILS]).value
    'fails'
    """
    order = list(Verdict)
    return max(verdicts, key=order.index, default=Verdict.ERROR)


@dataclass(frozen=True)
class Judgement:
    """The outcome of one comparison, told at its worst element.

    Parameters
    ----------
    verdict : Verdict
        holds, inconclusive or fails.
    error : float
        Its deviation in the direction that counts, relative if so asked.
    index : tuple of int
        Where it is. Of elements with the verdict, the one furthest from its tolerance's
        good side; for ``ordered``, the higher-predicted of the two.
    predicted, measured : float
        The two values there.
    """

    verdict: Verdict
    error: float
    index: tuple[int, ...]
    predicted: float
    measured: float


def deviations(comparison: Comparison) -> tuple[Array, Array]:
    """Return every element's deviation and the half-width of its interval.

    Parameters
    ----------
    comparison : Comparison
        What to look at.

    Returns
    -------
    deviation : Array
        How far each element is on the wrong side. For ``ordered`` with one axis
        more: the backward step from i to j at (..., i, j) where predicted[i] <
        predicted[j], else -inf.
    slack : Array
        Half-width of the interval around each deviation.
    """
    import numpy as np

    p, m = comparison.predicted, comparison.measured
    slack = np.zeros(m.shape) if comparison.uncertainty is None else comparison.uncertainty
    if comparison.relation == "ordered":
        lower = p[..., :, None] < p[..., None, :]
        step = _difference(m[..., :, None], m[..., None, :])
        both = slack[..., :, None] + slack[..., None, :]
        return np.where(lower, step, -np.inf), np.where(lower, both, 0.0)
    signed = _difference(m, p)
    if comparison.relation == "at_most":
        deviation = signed
    elif comparison.relation == "at_least":
        deviation = -signed
    else:
        deviation = np.abs(signed)
    if comparison.relative:
        # an infinite deviation stays one, from an infinite prediction too
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = np.where(np.isinf(deviation), deviation, deviation / np.abs(p))
            slack = np.where(np.isinf(slack), slack, slack / np.abs(p))
    return deviation, slack


def judge(comparison: Comparison) -> Judgement:
    """Decide whether the relation holds, and how far it is from failing.

    Parameters
    ----------
    comparison : Comparison
        What to judge.

    Returns
    -------
    Judgement
        The verdict and the worst element.

    Examples
    --------
    >>> c = Comparison("wrong by 1 %", 1.0, 1.01, tolerance=1e-3, reason="example")
    >>> judge(c).verdict.value, round(judge(c).error, 12)
    ('fails', 0.01)
    """
    import numpy as np

    deviation, slack = deviations(comparison)
    tolerance = comparison.tolerance
    with np.errstate(over="ignore", invalid="ignore"):
        furthest = np.where(np.isinf(slack), np.inf, deviation + slack)
        nearest = np.where(np.isinf(slack), -np.inf, deviation - slack)
    if comparison.relation == "inside":
        good, bad = (deviation <= slack) & (slack <= tolerance), deviation > slack
    elif comparison.relation == "ordered" and tolerance == 0:
        good, bad = furthest < 0, nearest >= 0
    else:
        good, bad = furthest <= tolerance, nearest > tolerance
    verdict = Verdict.FAILS if bad.any() else Verdict.HOLDS if good.all() else Verdict.INCONCLUSIVE
    told = {Verdict.FAILS: bad, Verdict.INCONCLUSIVE: ~good, Verdict.HOLDS: good}[verdict]
    rank = furthest
    if comparison.relation == "inside":
        rank = slack if verdict is Verdict.INCONCLUSIVE else nearest
    worst_of_all = int(np.argmax(np.where(told, rank, -np.inf)))
    index = tuple(int(i) for i in np.unravel_index(worst_of_all, rank.shape))
    place = (*index[:-2], index[-1]) if comparison.relation == "ordered" else index
    return Judgement(
        verdict,
        float(deviation[index]),
        place,
        float(comparison.predicted[place]),
        float(comparison.measured[place]),
    )


def _difference(a: Array, b: Array) -> Array:
    """Return a - b, which is 0 for equal infinities."""
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        difference: Array = np.where(a == b, 0.0, a - b)
    return difference
