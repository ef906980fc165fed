"""Accuracy matrices by the loops of the papers in exact fractions; intervals by simulation."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sandbox.training.measures import AccuracyMatrix, interval

GRID = 8
"""Accuracies of the tests are multiples of 1/8: sums of them are exact in float64."""


@st.composite
def matrices(draw):
    tasks = draw(st.integers(2, 6))
    entries = st.lists(st.integers(0, GRID), min_size=tasks, max_size=tasks)
    rows = draw(st.lists(entries, min_size=tasks + 1, max_size=tasks + 1))
    return [[Fraction(entry, GRID) for entry in row] for row in rows]


def measured(rows):
    return AccuracyMatrix(np.array(rows, dtype=np.float64))


def naive(R):
    """Lopez-Paz & Ranzato (2017), eqs. 2-4, and Chaudhry et al. (2018), eqs. 2-3; tasks from 1."""
    T = len(R) - 1

    def a(i, j):
        return R[i][j - 1]

    average = sum(a(T, j) for j in range(1, T + 1)) / T
    learning = sum(a(j, j) for j in range(1, T + 1)) / T
    backward = sum(a(T, j) - a(j, j) for j in range(1, T)) / (T - 1)
    forward = sum(a(j - 1, j) - a(0, j) for j in range(2, T + 1)) / (T - 1)
    forgetting = Fraction(0)
    for j in range(1, T):
        forgetting += max(a(i, j) - a(T, j) for i in range(1, T)) / (T - 1)
    return {
        "average": average,
        "learning": learning,
        "backward": backward,
        "forward": forward,
        "forgetting": forgetting,
    }


@given(matrices())
def test_measures_are_the_formulas_of_the_papers(rows):
    found = measured(rows)
    assert found.tasks == len(rows) - 1
    for name, exact in naive(rows).items():
        # sums are exact and the division is rounded once, like the fraction itself
        assert getattr(found, name) == float(exact), name


@given(matrices())
def test_average_is_learning_plus_its_share_of_backward_transfer(rows):
    T = len(rows) - 1
    exact = naive(rows)
    assert exact["average"] == exact["learning"] + Fraction(T - 1, T) * exact["backward"]
    found = measured(rows)
    assert found.average == pytest.approx(found.learning + (T - 1) / T * found.backward, abs=1e-15)


@given(matrices())
def test_forgetting_bounds_the_loss_that_backward_transfer_shows(rows):
    T = len(rows) - 1
    found = measured(rows)
    best_at_once = all(rows[j + 1][j] == max(rows[i][j] for i in range(1, T)) for j in range(T - 1))
    gap = found.forgetting + found.backward
    if best_at_once:
        assert gap == pytest.approx(0, abs=1e-15)
    else:
        assert gap > 0.5 / GRID / (T - 1)  # one task, one step of the grid


def test_a_matrix_worked_by_hand():
    matrix = AccuracyMatrix(
        np.array([[0.5, 0.4, 0.6], [0.9, 0.5, 0.5], [0.95, 0.8, 0.7], [0.7, 0.85, 0.9]])
    )
    assert matrix.average == pytest.approx((0.7 + 0.85 + 0.9) / 3)
    assert matrix.learning == pytest.approx((0.9 + 0.8 + 0.9) / 3)
    assert matrix.backward == pytest.approx((-0.2 + 0.05) / 2)
    assert matrix.forward == pytest.approx((0.1 + 0.1) / 2)
    assert matrix.forgetting == pytest.approx((0.25 - 0.05) / 2)


def test_one_task_has_no_transfer():
    matrix = AccuracyMatrix(np.array([[0.1], [0.9]]))
    assert matrix.average == matrix.learning == 0.9
    for name, words in (
        ("backward", "backward transfer"),
        ("forward", "forward transfer"),
        ("forgetting", "forgetting"),
    ):
        with pytest.raises(ValueError, match=f"values have one task: {words} is defined for two"):
            getattr(matrix, name)


def test_the_matrix_is_a_copy_that_nobody_can_change():
    values = np.full((3, 2), 0.5)
    matrix = AccuracyMatrix(values)
    values[2] = 1.0
    assert matrix.average == 0.5
    with pytest.raises(ValueError, match="read-only"):
        matrix.values[0, 0] = 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((2, 2), 0.5), r"values of shape \(2, 2\): must have one row more than columns"),
        (np.full((4, 2), 0.5), r"values of shape \(4, 2\)"),
        (np.array([[0.5], [1.5]]), r"values\[1, 0\] = 1.5: must be an accuracy in \[0, 1\]"),
        (np.array([[-0.5], [0.5]]), r"values\[0, 0\] = -0.5"),
        (np.array([[0.5], [np.nan]]), r"values\[1, 0\] = nan"),
    ],
)
def test_matrices_that_are_none_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        AccuracyMatrix(values)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("count", [2, 3, 10, 100])
def test_intervals_are_those_of_scipy(count, level):
    values = np.random.default_rng(count).normal(3.0, 2.0, count)
    found = interval(values, level=level)
    low, high = stats.t.interval(level, count - 1, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)
    assert found.mean == values.mean()
    assert found.level == level
    assert interval(list(values), level=level) == found


def test_intervals_cover_the_mean_as_often_as_they_say():
    alpha, trials, level = 1e-3, 2000, 0.9
    samples = np.random.default_rng(11).normal(1.0, 5.0, (trials, 4))
    found = [interval(sample, level=level) for sample in samples]
    covered = sum(one.low <= 1.0 <= one.high for one in found)
    assert stats.binomtest(covered, trials, level).pvalue > alpha
    # normal quantiles in place of Student's would be found out
    half = stats.norm.ppf((1 + level) / 2) * stats.sem(samples, axis=1)
    wrong = (np.abs(samples.mean(axis=1) - 1.0) <= half).sum()
    assert stats.binomtest(int(wrong), trials, level).pvalue < alpha


def test_equal_values_have_an_interval_without_width():
    found = interval([0.25, 0.25, 0.25])
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("values", "level", "message"),
    [
        ([0.5], 0.95, r"values = \[0.5\]: must be two or more, one a seed"),
        ([], 0.95, r"values"),
        ([0.5, np.nan], 0.95, r"values\[1\] = nan"),
        ([0.5, 1.0], 1.0, r"level = 1.0: must be a finite number in \(0, 1\)"),
        ([0.5, 1.0], 0.0, r"level = 0.0"),
        ([0.5, 1.0], 95, r"level = 95"),
    ],
)
def test_values_that_have_no_interval_are_refused(values, level, message):
    with pytest.raises(ValueError, match=message):
        interval(values, level=level)
