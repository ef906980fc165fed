"""Many modes at once: as accurate as promised, whatever the rule, and honest about failures."""

import numpy as np
import pytest

from deeplinear import BlowUpError, CurvatureCorrection, mode_sweep, mode_trajectory

RULES = [
    CurvatureCorrection(power, blocks, damping)
    for power in (0.0, 0.3, 0.5, 1.0)
    for blocks in ("full", "layer")
    for damping in (0.0, 0.01)
]


def sets(depth, count=24):
    """Return starts and targets whose time scales spread over three decades."""
    generator = np.random.default_rng(depth)
    return generator.uniform(0.01, 0.8, (count, depth)), 10 ** generator.uniform(-1.5, 1.5, count)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_error_stays_below_the_tolerance(rule, depth):
    weights, target = sets(depth)
    times = np.linspace(0.0, 8.0, 9)
    for rtol in (1e-6, 1e-8, 1e-11):
        found = mode_sweep(rule, weights, target, times, rtol=rtol)
        for path, start, strength in zip(found, weights, target, strict=True):
            exact = mode_trajectory(rule, start, strength, times)
            error = np.abs(path - exact).max() / np.abs(exact).max()
            # steps of the damped layer rule add up; curves do not
            assert error <= (rtol if depth < 3 else 30 * rtol)


def test_a_looser_tolerance_is_used():
    # if it were not, nothing above would measure the tolerance
    weights, target = sets(3)
    times = np.linspace(0.0, 8.0, 9)
    rule = CurvatureCorrection(0.3)
    tight, loose = (mode_sweep(rule, weights, target, times, rtol=r) for r in (1e-12, 1e-4))
    assert 1e-12 < np.abs(tight - loose).max() < 1e-4


def test_the_first_row_at_time_zero_is_the_start():
    weights, target = sets(2)
    found = mode_sweep(CurvatureCorrection(0.3), weights, target, np.array([0.0, 0.0, 1.0]))
    np.testing.assert_array_equal(found[:, 0], weights)
    np.testing.assert_array_equal(found[:, 1], weights)


def test_a_failure_names_its_set():
    weights, target = sets(2)
    weights[[7, 9], 0] *= -1
    rule = CurvatureCorrection(1.0, "layer")
    with pytest.raises(BlowUpError, match=r"weights\[7\] = .* diverges at t = ") as problem:
        mode_sweep(rule, weights, target, np.array([9.0]))
    u = np.abs(weights[7].prod())
    assert problem.value.time == pytest.approx(np.log1p(u / target[7]), rel=1e-13)
    weights[7, 0], weights[9, 0] = 0.1, 0.0
    with pytest.raises(ValueError, match=r"weights\[9\] = .*inverts a curvature that is zero"):
        mode_sweep(rule, weights, target, np.array([9.0]))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": np.ones(3)}, r"weights has shape \(3,\)"),
        ({"weights": np.array([[1.0, np.inf]])}, r"weights\[0, 1\] = inf"),
        ({"target": np.ones(4)}, r"target has shape \(4,\): must be \(2,\)"),
        ({"times": np.array([1.0, 0.0])}, r"times\[1\] = 0.0 comes after"),
        ({"rtol": 0.0}, "rtol = 0.0"),
        ({"rtol": 0.5}, "rtol = 0.5"),
    ],
)
def test_bad_input_is_named(change, words):
    good = {"weights": np.ones((2, 2)), "target": np.ones(2), "times": np.array([1.0])}
    with pytest.raises(ValueError, match=words):
        mode_sweep(CurvatureCorrection(), **(good | change))
