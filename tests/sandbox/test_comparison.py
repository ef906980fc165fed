"""Comparisons: right answers hold, answers wrong by one per cent fail, nonsense is refused."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.bench import Axis, Comparison, Verdict, judge
from sandbox.bench.judgement import worst

INF = float("inf")
HOLDS, UNSURE, FAILS = Verdict.HOLDS, Verdict.INCONCLUSIVE, Verdict.FAILS


def compare(predicted, measured, tolerance=0.0, **rest):
    """Build a comparison with an axis of indices for every dimension."""
    shape = np.shape(predicted)
    axes = rest.pop("axes", tuple(Axis(f"axis {n}", tuple(range(k))) for n, k in enumerate(shape)))
    if "uncertainty" in rest:
        rest.setdefault("confidence", "95 % interval")
    return Comparison("test", predicted, measured, tolerance, "test", axes=axes, **rest)


def verdict(*arguments, **rest):
    return judge(compare(*arguments, **rest)).verdict


TRUTH = np.array([0.25, 1.0, 3.0, 1e6])


@pytest.mark.parametrize(
    ("relation", "right", "wrong"),
    [
        ("equals", TRUTH, TRUTH * 1.01),
        ("equals", TRUTH * (1 + 5e-7), TRUTH * 0.99),
        ("at_most", TRUTH, TRUTH * 1.01),
        ("at_most", TRUTH * 0.5, TRUTH * 1.01),
        ("at_least", TRUTH, TRUTH * 0.99),
        ("at_least", TRUTH * 2, TRUTH * 0.99),
        ("inside", TRUTH * (1 + 5e-7), TRUTH * 1.01),
        ("inside", TRUTH * (1 - 5e-7), TRUTH * 0.99),
    ],
)
def test_one_per_cent_off_fails(relation, right, wrong):
    uncertainty = {"uncertainty": 1e-6 * TRUTH} if relation == "inside" else {}
    asked = {"relation": relation, "relative": True, **uncertainty}
    tolerance = 2e-6 if relation == "inside" else 1e-6
    assert verdict(TRUTH, right, tolerance, **asked) is HOLDS
    assert verdict(TRUTH, wrong, tolerance, **asked) is FAILS
    for i in range(4):  # one wrong element is enough, wherever it is
        mixed = np.where(np.arange(4) == i, wrong, right)
        found = judge(compare(TRUTH, mixed, tolerance, **asked))
        assert (found.verdict, found.index) == (FAILS, (i,))
        assert (found.predicted, found.measured) == (TRUTH[i], wrong[i])
        assert found.error == pytest.approx(0.01, rel=1e-9)


@pytest.mark.parametrize("relation", ["equals", "at_most", "at_least"])
def test_the_tolerance_itself_is_allowed(relation):
    # 1/4 and 1/8 are exact in binary: the deviation is the tolerance, not a bit more
    sign = -1 if relation == "at_least" else 1
    assert verdict([1.0], [1.0 + sign * 0.25], 0.25, relation=relation) is HOLDS
    over = np.nextafter(1.0 + sign * 0.25, sign * INF)
    assert verdict([1.0], [over], 0.25, relation=relation) is FAILS


def test_bounds_look_at_one_side_only():
    assert verdict([1.0], [-1e9], 0.0, relation="at_most") is HOLDS
    assert verdict([1.0], [1e9], 0.0, relation="at_least") is HOLDS
    margin = judge(compare([1.0, 5.0], [0.5, 1.0], 0.0, relation="at_most"))
    assert (margin.error, margin.index) == (-0.5, (0,))  # the narrowest margin, with its sign


def test_relative_and_absolute_tolerances_differ():
    assert verdict([1000.0], [1001.0], 0.01) is FAILS
    assert verdict([1000.0], [1001.0], 0.01, relative=True) is HOLDS
    assert verdict([-1000.0], [-1001.0], 0.01, relative=True) is HOLDS
    assert verdict([-1000.0], [-1020.0], 0.01, relative=True) is FAILS


def test_ordered_demands_every_pair():
    assert verdict([1, 2, 3], [10, 20, 30], relation="ordered") is HOLDS
    assert verdict([3, 1, 2], [30, 10, 20], relation="ordered") is HOLDS
    assert verdict([1, 2, 3], [10, 30, 20], relation="ordered") is FAILS
    assert verdict([1, 2, 3], [20, 10, 30], relation="ordered") is FAILS
    found = judge(compare([1, 2, 3, 4], [10, 40, 20, 50], relation="ordered"))
    assert (found.error, found.index, found.predicted, found.measured) == (20, (2,), 3, 20)


def test_ordered_is_strict_at_tolerance_zero_only():
    assert verdict([1, 2], [5, 5], relation="ordered") is FAILS
    assert verdict([1, 2], [5, 4.9], 0.2, relation="ordered") is HOLDS
    assert verdict([1, 2], [5, 4.7], 0.2, relation="ordered") is FAILS
    # small steps back do not add up to a large one unnoticed
    assert verdict([1, 2, 3], [5, 4.9, 4.75], 0.2, relation="ordered") is FAILS


def test_ordered_demands_nothing_of_ties():
    for measured in itertools.permutations([1.0, 2.0]):
        assert verdict([7, 7, 8], [*measured, 3.0], relation="ordered") is HOLDS
        assert verdict([7, 7, 8], [*measured, 1.5], relation="ordered") is FAILS


def test_ordered_runs_along_the_last_axis():
    predicted = [[1, 2, 3], [3, 2, 1]]
    assert verdict(predicted, [[1, 2, 3], [9, 8, 7]], relation="ordered") is HOLDS
    found = judge(compare(predicted, [[1, 2, 3], [7, 8, 6]], relation="ordered"))
    assert (found.verdict, found.index) == (FAILS, (1, 0))


@pytest.mark.parametrize(
    ("relation", "measured", "expected"),
    [
        ("equals", 1.0, HOLDS),
        ("equals", 1.15, UNSURE),
        ("equals", 1.35, FAILS),
        ("equals", 0.85, UNSURE),
        ("equals", 0.65, FAILS),
        ("at_most", 1.05, HOLDS),
        ("at_most", 1.25, UNSURE),
        ("at_most", 1.35, FAILS),
        ("at_least", 0.95, HOLDS),
        ("at_least", 0.75, UNSURE),
        ("at_least", 0.65, FAILS),
        ("inside", 1.05, HOLDS),
        ("inside", 1.35, FAILS),
    ],
)
def test_an_interval_makes_three_verdicts(relation, measured, expected):
    # tolerance 0.2 around 1, half-width 0.1: sure below 0.1 and beyond 0.3
    asked = {"relation": relation, "uncertainty": 0.1}
    assert verdict([1.0], [measured], 0.2, **asked) is expected


def test_ordered_with_intervals():
    def found(second, width):
        return verdict([1, 2], [1.0, second], relation="ordered", uncertainty=width)

    assert found(1.5, 0.2) is HOLDS
    assert found(1.5, 0.3) is UNSURE
    assert found(0.5, 0.3) is UNSURE
    assert found(0.5, 0.2) is FAILS
    # a wide interval elsewhere does not hide a sure failure
    measured, width = [10, 5, 1], [10, 0, 0]
    assert verdict([1, 2, 3], measured, relation="ordered", uncertainty=width) is FAILS


def test_an_interval_too_wide_is_no_evidence():
    asked = {"relation": "inside", "uncertainty": [0.1, 3.0]}
    found = judge(compare([1.0, 1.0], [1.05, 1.0], 0.2, **asked))
    assert (found.verdict, found.index) == (UNSURE, (1,))
    assert verdict([1.0], [1.0], 1e9, uncertainty=INF) is UNSURE
    assert verdict([1.0], [2.0], 0.0, uncertainty=INF, relation="inside") is UNSURE
    assert verdict([INF], [2.0], 0.0, uncertainty=INF) is UNSURE


def test_the_verdict_is_told_at_an_element_that_has_it():
    # the second deviates more, but only the first is sure to be wrong
    found = judge(compare([0.0, 0.0], [1.0, 5.0], 0.1, uncertainty=[0.0, 100.0]))
    assert (found.verdict, found.index, found.error) == (FAILS, (0,), 1.0)


@pytest.mark.parametrize("relative", [False, True])
def test_infinities_equal_only_themselves(relative):
    asked = {"relative": relative}
    assert verdict([INF, -INF], [INF, -INF], 0.0, **asked) is HOLDS
    for wrong in (-INF, 0.0, 1e308):
        found = judge(compare([INF], [wrong], 1e300, **asked))
        assert (found.verdict, found.error) == (FAILS, INF)
    assert verdict([1.0], [INF], 1e300, **asked) is FAILS
    assert verdict([INF], [3.0], 0.0, relation="at_most", **asked) is HOLDS
    assert verdict([3.0], [INF], 0.0, relation="at_least", **asked) is HOLDS
    assert verdict([INF], [3.0], 0.0, relation="at_least", **asked) is FAILS
    assert verdict([3.0], [INF], 0.0, relation="at_most", **asked) is FAILS
    assert verdict([INF], [3.0], 1e9, relation="inside", uncertainty=1e9, **asked) is FAILS


def test_ordered_infinities():
    assert verdict([1, 2, 3], [-INF, 0, INF], relation="ordered") is HOLDS
    assert verdict([1, INF, INF], [2, INF, INF], relation="ordered") is HOLDS
    assert verdict([1, 2], [INF, INF], relation="ordered") is FAILS
    assert verdict([1, 2], [INF, INF], 1e-300, relation="ordered") is HOLDS


def test_numbers_at_the_end_of_the_range_do_not_overflow_into_nonsense():
    assert judge(compare([1e308], [-1e308], 1.0)).error == INF
    assert verdict([1e308], [-1e308], 1.0) is FAILS
    assert verdict([5e-324], [1e10], 1.0, relative=True) is FAILS


finite = st.floats(-1e6, 1e6)
relations = st.sampled_from(["equals", "at_most", "at_least", "ordered", "inside"])


@st.composite
def comparisons(draw):
    size = draw(st.integers(2, 6))
    rows = st.lists(st.one_of(finite, st.sampled_from([INF, -INF])), min_size=size, max_size=size)
    predicted = draw(rows.filter(lambda row: len(set(row)) > 1))
    relation = draw(relations)
    widths = draw(st.lists(st.floats(0, 1e3), min_size=size, max_size=size))
    use = relation == "inside" or draw(st.booleans())
    rest = {"uncertainty": widths} if use else {}
    return predicted, draw(rows), {"relation": relation, **rest}


@given(comparisons(), st.floats(0, 1e7), st.floats(0, 1e7))
def test_more_tolerance_never_makes_it_worse(case, one, other):
    predicted, measured, rest = case
    tight, loose = (verdict(predicted, measured, t, **rest) for t in sorted((one, other)))
    assert worst([tight, loose]) is tight


@given(comparisons(), st.floats(0, 10), st.randoms(use_true_random=False))
def test_the_order_of_the_elements_does_not_matter(case, tolerance, random):
    predicted, measured, rest = case
    order = random.sample(range(len(predicted)), len(predicted))
    shuffled = dict(rest)
    if "uncertainty" in rest:
        shuffled["uncertainty"] = np.take(rest["uncertainty"], order)
    before = judge(compare(predicted, measured, tolerance, **rest))
    after = judge(
        compare(np.take(predicted, order), np.take(measured, order), tolerance, **shuffled)
    )
    assert before.verdict is after.verdict
    if "uncertainty" not in rest:  # with intervals, two elements may tie for the worst
        assert before.error == after.error


@given(comparisons(), st.floats(0, 10))
def test_judgements_are_numbers_that_belong_together(case, tolerance):
    predicted, measured, rest = case
    found = judge(compare(predicted, measured, tolerance, **rest))
    assert not np.isnan(found.error)
    assert found.predicted == predicted[found.index[0]]
    assert found.measured == measured[found.index[0]]
    if found.verdict is HOLDS:
        assert found.error <= (rest["uncertainty"][found.index[0]] if rest["relation"] == "inside"
                               else tolerance)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measured": [1.0, np.nan]}, r"measured is NaN at index \(1,\)"),
        ({"predicted": [np.nan, 1.0]}, "predicted is NaN"),
        ({"measured": [1.0]}, r"measured has shape \(1,\): must equal predicted's \(2,\)"),
        ({"measured": [1.0, 1j]}, "measured is complex"),
        ({"axes": ()}, r"axes have lengths \(\): must be \(2,\)"),
        ({"axes": (Axis("x", (1, 2, 3)),)}, r"axes have lengths \(3,\)"),
        ({"relation": "same"}, "relation = 'same': must be one of"),
        ({"tolerance": -1e-9}, "tolerance = -1e-09: must be finite and >= 0"),
        ({"tolerance": INF}, "tolerance = inf"),
        ({"tolerance": np.nan}, "tolerance = nan"),
        ({"reason": ""}, "reason is empty"),
        ({"relation": "inside"}, "'inside' needs an uncertainty"),
        ({"uncertainty": -1.0}, "uncertainty must be >= 0"),
        ({"uncertainty": np.nan}, "uncertainty is NaN"),
        ({"uncertainty": 1.0, "confidence": ""}, "confidence is empty"),
        ({"relation": "ordered", "relative": True}, "absolute tolerance"),
        ({"relation": "ordered", "predicted": [2.0, 2.0]}, "predictions that differ"),
        ({"relative": True, "predicted": [0.0, 1.0]}, "a predicted value is 0"),
        ({"relative": True, "predicted": [-0.0, 1.0]}, "a predicted value is 0"),
        ({"curve": ([1.0, 2.0], [1.0])}, r"curve has shapes \(2,\), \(1,\)"),
        ({"curve": ([], [])}, "curve has shapes"),
        ({"curve": ([1.0], [[1.0, 2.0]])}, r"must be \(x,\), \(x, 1\)"),
        ({"curve": ([1.0], [np.nan])}, "curve is NaN"),
        ({"curve": ([1.0], [1.0]), "axes": (Axis("rule", ("a", "b")),)}, "first axis of numbers"),
    ],
)
def test_nonsense_is_refused(changes, message):
    good = {
        "name": "test", "predicted": [1.0, 2.0], "measured": [1.0, 2.0], "tolerance": 0.1,
        "reason": "test", "axes": (Axis("x", (1, 2)),), "confidence": "95 %",
    }  # fmt: skip
    Comparison(**good)
    with pytest.raises(ValueError, match=message):
        Comparison(**good | changes)


def test_empty_and_single_comparisons_are_refused_where_they_say_nothing():
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(np.ones((0,)), np.ones((0,)))
    for values in (1.0, [1.0]):
        with pytest.raises(ValueError, match="needs two values"):
            compare(values, values, relation="ordered")


def test_axes_need_places():
    with pytest.raises(ValueError, match="axis 'time': values contain NaN"):
        Axis("time", (0.0, np.nan))
    assert Axis("time", (0, 1), "s").label == "time (s)"
    assert Axis("rule", ("a", "b")).label == "rule"
    assert not Axis("rule", ("a", 1)).numeric


def test_both_sides_are_copied_and_locked():
    mine = np.ones(2)
    c = compare(mine, mine)
    mine[0] = 7
    assert c.predicted.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        c.measured[0] = 2.0


def test_the_worst_of_several_verdicts():
    order = [HOLDS, Verdict.SKIPPED, UNSURE, FAILS, Verdict.ERROR]
    for i, j in itertools.product(range(5), repeat=2):
        assert worst([order[i], order[j]]) is order[max(i, j)]
    assert worst([]) is Verdict.ERROR
