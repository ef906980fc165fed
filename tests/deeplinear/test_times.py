"""Learning times against independent integrals, identities, and all the ways not to arrive."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deeplinear import BlowUpError, CurvatureCorrection, learning_time, mode_trajectory

GD, SQRT, NGD = (CurvatureCorrection(q) for q in (0.0, 0.5, 1.0))


def balanced_time(power, depth, target, start, stop):
    """Integrate dt/da = d^q a^(-(d-1)(1-2q)) / (s - a^d) in ln a, at 30 digits."""
    with mp.workdps(30):
        q, s = mp.mpf(power), mp.mpf(target)
        low, high = mp.log(mp.mpf(start)), mp.log(mp.mpf(stop)) / depth

        def integrand(x):
            return mp.exp(x * (1 - (depth - 1) * (1 - 2 * q))) / (s - mp.exp(depth * x))

        return float(mp.mpf(depth) ** q * mp.quad(integrand, mp.linspace(low, high, 13)))


@pytest.mark.parametrize(
    ("power", "depth"),
    [
        (0.0, 4),  # k = -1/2, the power of the hypergeometric form is negative
        (0.25, 3),  # k = 0, the logarithm
        (1 / 3, 4),  # k = 0 again
        (0.26, 3),  # so close to 0 that its two ends would cancel
        (0.2501, 3),
        (0.25 + 1e-12, 3),
        (0.5, 6),
        (0.9, 2),
    ],
)
@pytest.mark.parametrize(
    ("start", "stop"),
    [(0.05, 1.2), (1e-4, 1.9), (0.4, 1.9999), (1e-3, 2 * (1 - 1e-9)), (2.0, 2.5), (1.5, 2.00001)],
)
def test_balanced_modes_from_below_and_above(power, depth, start, stop):
    found = learning_time(CurvatureCorrection(power), np.full(depth, start), 2.0, stop)
    expected = balanced_time(power, depth, 2.0, start, stop)
    assert found == pytest.approx(expected, rel=5e-13)
    assert found != pytest.approx(1.01 * expected, rel=5e-13)


@pytest.mark.parametrize("weights", [(0.5, 0.1), (0.6, 0.3, 0.2), (0.9, -0.2), (0.1, 0.2, -0.2)])
@pytest.mark.parametrize("damping", [1e-5, 0.1, 10.0])
def test_damping_brings_back_its_share_of_the_plateau(weights, damping):
    # 1 / (S (S + e)^-1) = 1 + e / S under the integral, whatever the depth and imbalance
    weights = np.array(weights)
    target = 2.0 if weights.prod() > 0 else -2.0
    stop = 0.95 * target
    damped = learning_time(CurvatureCorrection(1.0, damping=damping), weights, target, stop)
    natural, gradient = (learning_time(rule, weights, target, stop) for rule in (NGD, GD))
    assert damped == pytest.approx(natural + damping * gradient, rel=1e-13)


@given(
    st.sampled_from([0.0, 0.2, 0.5]),
    st.sampled_from(["full", "layer"]),
    st.lists(st.floats(1e-3, 1.2), min_size=2, max_size=5, unique=True),
    st.floats(0.02, 0.98),
)
def test_there_and_back_through_a_change_of_sign(power, blocks, weights, share):
    rule, weights = CurvatureCorrection(power, blocks), np.array(weights)
    small, next_small = np.sort(weights)[:2]
    assume(next_small > 1.001 * small)
    weights[0] *= -1
    start, target = weights.prod(), 1.5
    stop = start + share * (target - start)
    time = learning_time(rule, weights, target, stop)
    assume(time < 1e5)
    product = mode_trajectory(rule, weights, target, np.array([time]))[0].prod()
    # a rounding of the time counts with the speed there
    assert product == pytest.approx(stop, abs=1e-12 * (1 + 30 * time))


def test_a_plateau_of_a_hundred_million_keeps_its_digits():
    # unbalanced start of 1e-4 at depth 4: dy/dt = 2 u (s - u) with w_i^2 = y + c_i, by mpmath
    weights = np.array([2e-4, 1e-4, 1.5e-4, 3e-4])
    with mp.workdps(30):
        squares = [mp.mpf(w) ** 2 for w in weights]
        offsets = [x - squares[1] for x in squares]

        def product(y):
            return mp.sqrt(mp.fprod(y + c for c in offsets))

        end = mp.findroot(lambda y: product(y) - mp.mpf("0.9"), mp.sqrt(mp.mpf("0.9")))
        marks = [mp.exp(x) for x in mp.linspace(mp.log(squares[1]), mp.log(end), 25)]
        expected = mp.quad(lambda y: 1 / (2 * product(y) * (1 - product(y))), marks)
    assert learning_time(GD, weights, 1.0, 0.9) == pytest.approx(float(expected), rel=1e-13)


@pytest.mark.parametrize(
    ("rule", "weights", "target", "stop", "expected"),
    [
        # an exact start: no time, although the product rounds
        (SQRT, (0.1, 0.3, 0.7), 1.0, 0.1 * 0.3 * 0.7, 0.0),
        (SQRT, (0.7, 0.3, 0.1), 1.0, 0.1 * 0.3 * 0.7, 0.0),
        # the target itself, beyond it, and behind the start
        (SQRT, (0.5, 0.1), 2.0, 2.0, np.inf),
        (SQRT, (0.5, 0.1), 2.0, 2.1, np.inf),
        (SQRT, (0.5, 0.1), 2.0, 0.01, np.inf),
        (SQRT, (0.5, 0.1), -2.0, 0.06, np.inf),
        # at rest from the start
        (GD, (0.0, 0.0), 1.0, 0.5, np.inf),
        (GD, (0.5, 2.0), 1.0, 0.5, np.inf),
        (GD, (0.0, 0.0), 1.0, 0.0, 0.0),
        (GD, (0.5, 0.1), 0.0, 0.0, np.inf),
        # exact ties: gradient descent nears the saddle for ever, the square root arrives
        (GD, (0.5, -0.5), 1.0, 0.0, np.inf),
        (GD, (0.5, -0.5, 0.9), 1.0, 0.1, np.inf),
        (CurvatureCorrection(0.5, damping=0.1), (0.5, -0.5), 1.0, 0.1, np.inf),
        (CurvatureCorrection(0.5, "layer", 0.1), (0.5, -0.5), 1.0, 0.1, np.inf),
        (CurvatureCorrection(0.5, "layer", 0.1), (0.5, -0.5, 0.9), 1.0, 0.1, np.inf),
        (SQRT, (0.5, -0.5, 0.9), 1.0, 0.1, np.inf),
        # no tie between the smallest: it passes zero (chord of the natural gradient)
        (NGD, (0.4, -0.5, 0.5), 1.0, 0.0, np.log(1.1)),
        (NGD, (0.4, -0.5, 0.5), 1.0, 0.5, np.log(2.2)),
        # the blow-up itself is still reached
        (CurvatureCorrection(1.0, "layer"), (0.5, 0.4, -0.5), 1.0, 0.0, np.log(1.1)),
        (NGD, (0.5, 0.4, -0.4), 1.0, 0.0, np.log(1.08)),
        # one layer: exponential, with the damped curvature 1
        (CurvatureCorrection(0.5, damping=3.0), (-0.5,), 1.0, 0.25, 2 * np.log(2.0)),
    ],
)
def test_at_once_or_never(rule, weights, target, stop, expected):
    found = learning_time(rule, np.array(weights), target, stop)
    assert found == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("rule", "weights", "moment"),
    [
        (CurvatureCorrection(1.0, "layer"), (0.5, 0.4, -0.5), np.log(1.1)),
        (CurvatureCorrection(1.0, "layer", scale=1.0), (0.5, 0.4, -0.5), np.log(1.1) / 3),
        (NGD, (0.5, 0.4, -0.4), np.log(1.08)),
    ],
)
def test_a_blow_up_on_the_way_is_raised(rule, weights, moment):
    with pytest.raises(BlowUpError, match="speed diverges") as problem:
        learning_time(rule, np.array(weights), 1.0, 0.5)
    assert problem.value.time == pytest.approx(moment, rel=1e-14)


def test_the_start_scale_costs_powers_of_itself_below_the_critical_power():
    # from a0 -> a0 / 10: x 10^(d-2) for gradient descent, + ln(10) at depth 2, nothing above q_c
    times = [learning_time(GD, np.full(4, a), 1.0, 0.95) for a in (1e-3, 1e-4)]
    assert times[1] / times[0] == pytest.approx(100.0, rel=1e-4)
    times = [learning_time(GD, np.full(2, a), 1.0, 0.95) for a in (1e-3, 1e-4)]
    assert times[1] - times[0] == pytest.approx(np.log(10.0), rel=1e-5)
    critical = (4 - 2) / (2 * (4 - 1))
    above = CurvatureCorrection(critical + 0.1)
    times = [learning_time(above, np.full(4, a), 1.0, 0.95) for a in (1e-20, 1e-30)]
    assert times[1] == pytest.approx(times[0], rel=1e-9)
    below = CurvatureCorrection(critical - 0.1)
    times = [learning_time(below, np.full(4, a), 1.0, 0.95) for a in (1e-20, 1e-30)]
    assert times[1] > 1e5 * times[0]


@pytest.mark.bad_input
def test_errors_name_the_argument():
    good = (np.array([0.1, 0.2]), 1.0)
    for stop in (np.inf, np.nan, "soon"):
        with pytest.raises(ValueError, match="stop = "):
            learning_time(SQRT, *good, stop)
    with pytest.raises(ValueError, match="target = nan"):
        learning_time(SQRT, good[0], np.nan, 0.5)
    with pytest.raises(ValueError, match=r"weights\[0\] = inf"):
        learning_time(SQRT, np.array([np.inf, 1.0]), 1.0, 0.5)
    with pytest.raises(ValueError, match="inverts a curvature that is zero"):
        learning_time(CurvatureCorrection(0.75, "layer"), np.array([0.0, 1.0]), 1.0, 0.5)
    with pytest.raises(ValueError, match="1e-290"):
        learning_time(GD, np.array([1e-90, 2e-90, 1e-90]), 1.0, 0.5)
