"""Argument checks: the value, the place and the remedy are named; good input passes unchanged."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.checks import (
    as_integer,
    as_matrices,
    as_matrix,
    as_number,
    as_times,
    as_vector,
    one_of,
    shown,
)


@given(st.text(max_size=40), st.integers(1, 50))
def test_shown_is_one_short_line(text, limit):
    line = shown(text, limit)
    assert len(line) <= limit
    assert "\n" not in line
    if len(repr(text)) <= limit and " " not in text:
        assert line == repr(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_pass_unchanged(value):
    assert as_number("x", value) == value


@pytest.mark.parametrize("value", [3, np.float32(3), np.int64(3), np.array(3.0)])
def test_numbers_become_floats(value):
    number = as_number("x", value)
    assert type(number) is float
    assert number == 3.0


@pytest.mark.parametrize(
    ("value", "limits", "interval"),
    [
        (-1e-300, {"low": 0.0}, r"\[0, inf\)"),
        (0.0, {"low": 0.0, "open_low": True}, r"\(0, inf\)"),
        (1.0000001, {"low": 0.0, "high": 1.0}, r"\[0, 1\]"),
        (1.0, {"high": 1.0, "open_high": True}, r"\(-inf, 1\)"),
        (math.inf, {}, r"\(-inf, inf\)"),
        (-math.inf, {"low": 0.0}, r"\[0, inf\)"),
        (math.nan, {"low": 0.0, "high": 1.0}, r"\[0, 1\]"),
    ],
)
def test_numbers_outside_are_refused_with_the_interval(value, limits, interval):
    with pytest.raises(ValueError, match=rf"^x = .*: must be a finite number in {interval}$"):
        as_number("x", value, **limits)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_closed_ends_belong_to_the_interval(value):
    assert as_number("x", value, low=0.0, high=1.0) == value


@pytest.mark.parametrize("value", [2, 2.0, np.int32(2), np.float64(2)])
def test_whole_numbers_become_ints(value):
    number = as_integer("depth", value, low=2, high=2)
    assert type(number) is int
    assert number == 2


@pytest.mark.parametrize("value", [1, 5, 2.5, True, "2", None, math.nan, math.inf, [2, 3]])
def test_other_numbers_are_not_whole(value):
    with pytest.raises(ValueError, match=r"^depth = .*: must be a whole number >= 2 and <= 4$"):
        as_integer("depth", value, low=2, high=4)


def test_without_an_upper_end_none_is_named():
    with pytest.raises(ValueError, match=r"^depth = 0: must be a whole number >= 1$"):
        as_integer("depth", 0, low=1)
    assert as_integer("depth", 10**30, low=1) == 10**30


@pytest.mark.parametrize("check", [as_vector, as_matrix])
def test_arrays_are_fresh_float64(check):
    given_array = np.ones(3, np.float64) if check is as_vector else np.ones((2, 3), np.float64)
    array = check("a", given_array)
    assert array.dtype == np.float64
    assert not np.shares_memory(array, given_array)
    np.testing.assert_array_equal(array, given_array)
    assert check("a", given_array.astype(np.int32)).dtype == np.float64


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (
            as_vector,
            1.0,
            r"^a has shape \(\): must be a vector \(1 dimension, none of them empty\)$",
        ),
        (as_vector, [], r"^a has shape \(0,\): must be a vector"),
        (as_vector, [[1.0]], r"^a has shape \(1, 1\): must be a vector"),
        (as_vector, ["one"], r"^a = \['one'\]: must be a vector of real numbers"),
        (as_vector, [1.0, 2.0, -math.inf], r"^a\[2\] = -inf: every entry must be finite$"),
        (as_matrix, [1.0], r"^a has shape \(1,\): must be a matrix \(2 dimensions"),
        (as_matrix, np.zeros((0, 3)), r"^a has shape \(0, 3\): must be a matrix"),
        (as_matrix, [[1, 2], [3]], r"^a = \[\[1, 2\], \[3\]\]: must be a matrix of real numbers"),
        (as_matrix, [[1, 2], [3, math.nan]], r"^a\[1, 1\] = nan: every entry must be finite$"),
        (as_matrix, [[1j]], r"^a = \[\[1j\]\]: must be a matrix of real numbers"),
    ],
)
def test_arrays_that_are_none_are_refused_with_the_place(check, value, message):
    with pytest.raises(ValueError, match=message):
        check("a", value)


def test_chains_of_matrices_pass():
    chain = as_matrices("weights", (np.ones((3, 2)), [[1, 2, 3]]))
    assert [matrix.shape for matrix in chain] == [(3, 2), (1, 3)]
    assert as_matrices("weights", np.ones((2, 3, 3)))[1].shape == (3, 3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"^weights = \[\]: must be a non-empty list of matrices, input side first$"),
        ("W", r"^weights = 'W': must be a non-empty list"),
        (3.0, r"^weights = 3.0: must be a non-empty list"),
        ([np.ones(3)], r"^weights\[0\] has shape \(3,\): must be a matrix"),
        # the chain in the opposite order, the likeliest mistake
        (
            [np.ones((1, 3)), np.ones((3, 2))],
            r"^weights\[1\] has shape \(3, 2\): must have 1 columns, the rows of weights\[0\]$",
        ),
        ([np.eye(2), np.full((2, 2), math.nan)], r"^weights\[1\]\[0, 0\] = nan"),
    ],
)
def test_broken_chains_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        as_matrices("weights", value)


def test_times_may_repeat_but_not_go_back():
    np.testing.assert_array_equal(as_times("times", [0, 0, 1.5]), [0, 0, 1.5])
    with pytest.raises(ValueError, match=r"^times\[0\] = -1.0: must be >= 0$"):
        as_times("times", [-1.0, 2.0])
    with pytest.raises(
        ValueError, match=r"^times\[3\] = 1.0 comes after times\[2\] = 2.0: must be"
    ):
        as_times("times", [0.0, 1.0, 2.0, 1.0, 0.5])


def test_choices():
    assert one_of("blocks", "layer", ("full", "layer")) == "layer"
    with pytest.raises(ValueError, match=r"^blocks = 'kfac': must be one of 'full', 'layer'$"):
        one_of("blocks", "kfac", ("full", "layer"))


@pytest.mark.parametrize("value", ["0.5", b"1", True, np.True_])
def test_text_and_truth_values_are_no_numbers(value):
    with pytest.raises(ValueError, match=r"^a = .*: must be a finite number"):
        as_number("a", value)
    with pytest.raises(ValueError, match=r"^a = .*: must be a whole number"):
        as_integer("a", value, low=0)


@pytest.mark.parametrize("value", [["1", "2"], [True, False], [1j, 2.0]])
def test_arrays_of_text_truth_or_complex_values_are_refused(value):
    with pytest.raises(ValueError, match=r"must be a vector of real numbers, not of type"):
        as_vector("a", value)
