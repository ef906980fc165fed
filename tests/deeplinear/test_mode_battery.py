"""Every rule's mode trajectory against an adaptive integrator on the defining equation.

The right-hand side is written out here from the definition. Starts reach from ordinary to
near-singular: weights down to 1e-4, equal weights, wrong signs, overshoots.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from deeplinear import (
    BlowUpError,
    CurvatureCorrection,
    learning_time,
    mode_sweep,
    mode_trajectory,
)


def velocity(rule, weights, target):
    """Return dw/dt from the definition, one weight at a time."""
    depth = len(weights)
    others = np.array([np.prod(np.delete(weights, i)) for i in range(depth)])
    scale = rule.scale
    if scale is None:
        scale = depth**-rule.power if rule.blocks == "layer" else 1.0
    square = others**2 if rule.blocks == "layer" else np.sum(others**2)
    return scale * others * (square + rule.damping) ** -rule.power * (target - np.prod(weights))


rules = st.builds(
    CurvatureCorrection,
    power=st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]),
    blocks=st.sampled_from(["full", "layer"]),
    damping=st.sampled_from([0.0, 0.0, 1e-3, 0.3]),
    scale=st.sampled_from([None, 0.5, 2.0]),
)
sizes = st.one_of(st.floats(0.05, 1.5), st.sampled_from([1e-4, 1e-2, 0.3, 0.3]))


@st.composite
def starts(draw):
    depth = draw(st.integers(1, 4))
    weights = [draw(sizes) * draw(st.sampled_from([1, 1, 1, -1])) for _ in range(depth)]
    return np.array(weights)


@settings(max_examples=200)
@given(rules, starts(), st.sampled_from([1.5, 0.4, -0.8]), st.floats(0.1, 3.0))
def test_agrees_with_an_integrator(rule, weights, target, end):
    # a wrong sign with the curvature undamped and inverted by more than 1/2 runs at diverging
    # or discontinuous speed through zero, where no integrator is a referee
    wrong_sign = np.prod(np.sign(weights)) * target < 0
    assume(not (wrong_sign and len(weights) > 1 and rule.damping == 0 and rule.power > 0))
    times = np.array([0.0, 0.4 * end, end])
    found = mode_trajectory(rule, weights, target, times)
    flow = solve_ivp(
        lambda _, w: velocity(rule, w, target), (0, end), weights, "DOP853",
        t_eval=times, rtol=1e-11, atol=1e-13,
    )  # fmt: skip
    assert flow.success
    scale = np.abs(flow.y).max()
    assert np.abs(found - flow.y.T).max() <= 1e-9 * scale
    # and the comparison would notice one per cent
    assert np.abs(1.01 * found - flow.y.T).max() > 1e-9 * scale


@given(rules, starts(), st.floats(0.1, 0.95))
def test_learning_time_inverts_the_trajectory(rule, weights, share):
    weights = np.abs(weights)
    target = 1.5
    start = np.prod(weights)
    stop = start + share * (target - start)
    time = learning_time(rule, weights, target, stop)
    assume(time < 1e6)
    product = mode_trajectory(rule, weights, target, np.array([time]))[0].prod()
    # a relative error of the time, after a long plateau, counts with speed x time
    assert product == pytest.approx(stop, rel=1e-9 + 1e-12 * time)


@given(rules, st.floats(0.05, 0.9), st.integers(2, 5))
def test_sweep_equals_single_modes(rule, start, depth):
    weights = np.array([np.full(depth, start), np.linspace(0.2, start + 0.3, depth)])
    targets, times = np.array([1.2, 0.5]), np.linspace(0.0, 2.0, 5)
    found = mode_sweep(rule, weights, targets, times)
    for i in range(2):
        single = mode_trajectory(rule, weights[i], targets[i], times)
        np.testing.assert_allclose(found[i], single, rtol=0, atol=1e-9)


def test_sweep_does_not_depend_on_the_number_of_threads():
    import numba

    generator = np.random.default_rng(4)
    weights, targets = generator.uniform(0.05, 1.0, (300, 3)), generator.uniform(0.2, 2.0, 300)
    rule, times = CurvatureCorrection(0.4), np.linspace(0, 5, 11)
    before = numba.get_num_threads()
    try:
        found = []
        for threads in {1, numba.config.NUMBA_NUM_THREADS}:
            numba.set_num_threads(threads)
            found.append(mode_sweep(rule, weights, targets, times))
    finally:
        numba.set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize(
    ("rule", "weights", "target", "stop", "expected"),
    [
        (CurvatureCorrection(0.0), [0.5, 0.5], 1.0, 0.25, 0.0),
        (CurvatureCorrection(0.0), [0.5, 0.5], 1.0, 1.0, np.inf),
        (CurvatureCorrection(0.0), [0.5, 0.5], 1.0, 1.2, np.inf),
        (CurvatureCorrection(0.0), [0.5, 0.5], 1.0, 0.1, np.inf),
        (CurvatureCorrection(0.0), [0.5, -0.5], 1.0, 0.1, np.inf),  # stuck at the saddle
        (CurvatureCorrection(1.0), [0.0, 0.0], 1.0, 0.1, np.inf),
        (CurvatureCorrection(1.0), [2.0, 1.0], 1.0, 1.5, np.log(2.0)),  # from above
    ],
)
def test_when_it_is_there_already_or_never(rule, weights, target, stop, expected):
    assert learning_time(rule, np.array(weights), target, stop) == pytest.approx(expected)


@pytest.mark.bad_input
def test_errors_name_the_argument():
    rule = CurvatureCorrection()
    good = (np.array([0.1, 0.2]), 1.0, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"weights\[1\] = nan"):
        mode_trajectory(rule, np.array([0.1, np.nan]), *good[1:])
    with pytest.raises(ValueError, match="target = inf"):
        mode_trajectory(rule, good[0], np.inf, good[2])
    with pytest.raises(ValueError, match=r"times\[1\] = 0.5"):
        mode_trajectory(rule, *good[:2], np.array([1.0, 0.5]))
    with pytest.raises(ValueError, match=r"times\[0\] = -1.0"):
        mode_trajectory(rule, *good[:2], np.array([-1.0, 0.5]))
    with pytest.raises(ValueError, match="stop = nan"):
        learning_time(rule, *good[:2], np.nan)
    with pytest.raises(ValueError, match="inverts a curvature that is zero"):
        mode_trajectory(CurvatureCorrection(1.0, "layer"), np.array([0.0, 1.0]), *good[1:])
    with pytest.raises(ValueError, match="target has shape"):
        mode_sweep(rule, np.ones((3, 2)), np.ones(2), good[2])
    with pytest.raises(BlowUpError, match=r"weights\[1\]"):
        mode_sweep(
            CurvatureCorrection(1.0, "layer"),
            np.array([[0.5, 0.5], [0.5, -0.5]]),
            np.array([1.0, 1.0]),
            good[2],
        )
    for wrong in ({"power": 1.1}, {"power": -0.1}, {"damping": -1.0}, {"scale": 0.0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} = "):
            CurvatureCorrection(**wrong)
    with pytest.raises(ValueError, match="blocks = 'diagonal'"):
        CurvatureCorrection(blocks="diagonal")
