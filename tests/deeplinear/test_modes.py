"""Mode trajectories where an ordinary integrator is no referee: saddles, zeros, ties, far times."""

import mpmath as mp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from deeplinear import BlowUpError, CurvatureCorrection, invariants, learning_time, mode_trajectory

GD, SQRT, NGD = (CurvatureCorrection(q) for q in (0.0, 0.5, 1.0))


def riccati_pair(start, target, time):
    """Return gradient descent's state at depth 2 from its Riccati equation, at 60 digits."""
    with mp.workdps(60):
        w = mp.matrix([mp.mpf(x) for x in start])
        s, t = mp.mpf(target), mp.mpf(time)
        c = w[0] ** 2 - w[1] ** 2
        generator = mp.matrix([[c / 2, s], [s, -c / 2]])
        rate = mp.sqrt(c**2 + 4 * s**2)
        identity = mp.eye(2)
        # exp(t F) and the integral of exp(2 x F) over [0, t]; F^2 = (rate / 2)^2
        moved, gathered = identity, t * identity
        if rate:
            moved = mp.cosh(rate * t / 2) * identity
            moved += 2 / rate * mp.sinh(rate * t / 2) * generator
            gathered = mp.sinh(rate * t) / rate * identity
            gathered += 2 / rate**2 * (mp.cosh(rate * t) - 1) * generator
        grown = (w.T * gathered * w)[0]
        return [float(x) for x in moved * w / mp.sqrt(1 + grown)]


@pytest.mark.parametrize(
    ("start", "target", "time"),
    [
        ((0.5, 0.1), 2.0, 0.7),
        ((3.0, 2.5), 2.0, 0.3),  # from above
        ((0.5, 0.4999), -2.0, 3.0),  # past the saddle, near a tie
        ((0.5, -0.5), 2.0, 2.0),  # into the saddle
        ((1e-8, 2.0), -0.3, 1.0),
        ((0.0, 0.3), 1.0, 1.5),
        ((0.7, 0.2), 0.0, 2.0),
        ((0.7, 0.7), 0.0, 2.0),
        ((0.7, 0.7), 1e-9, 2.0),
    ],
)
def test_gradient_descent_at_depth_two_solves_its_riccati_equation(start, target, time):
    found = mode_trajectory(GD, np.array(start), target, np.array([time]))[0]
    np.testing.assert_allclose(found, riccati_pair(start, target, time), rtol=2e-13)


@pytest.mark.parametrize("start", [(0.5, 0.1), (5.0, -0.1), (0.0, 1.0), (1e-3, 1e-3)])
def test_late_times_neither_overflow_nor_drift(start):
    found = mode_trajectory(GD, np.array(start), 2.0, np.array([1e3, 1e300]))
    c = start[0] ** 2 - start[1] ** 2
    end = np.sqrt((np.hypot(c, 4.0) + np.array([c, -c])) / 2)
    np.testing.assert_allclose(np.abs(found), [end, end], rtol=4e-15)


# w_k through the saddle by quadrature of dz / (dz/dt) in mpmath, the other weights from the
# conserved differences: (power, blocks, damping, weights); the target is 1, and w_k is followed to
# -0.9 times its start
CROSSINGS = [
    (0.25, "full", 0.0, (0.01, -0.0101, 0.03)),
    (0.5, "full", 0.0, (0.3, -0.3000003)),
    (0.75, "full", 1e-3, (0.3, -0.30003, 0.5)),
    (1.0, "full", 0.0, (0.3, -0.30003, 0.5)),
    (0.0, "full", 0.0, (0.2, -0.2000002, 0.4, 0.5)),
    (0.25, "layer", 0.0, (0.3, -0.3003, 0.5)),
    (0.5, "layer", 0.0, (0.3, -0.3003, 0.5)),
    (0.3, "layer", 0.1, (0.3, -0.30003)),
    (1.0, "layer", 0.1, (0.3, -0.30003)),
]


@pytest.mark.parametrize(("power", "blocks", "damping", "weights"), CROSSINGS)
def test_near_ties_cross_the_saddle_on_time(power, blocks, damping, weights):
    rule = CurvatureCorrection(power, blocks, damping)
    with mp.workdps(30):
        q, scale = mp.mpf(power), mp.mpf(rule.prefactor(len(weights)))
        eps = mp.mpf(damping)
        size = [abs(mp.mpf(x)) for x in weights]
        if blocks == "layer" and damping > 0:
            up = (lambda x: mp.log(x * x + eps)) if power == 1 else (
                lambda x: (x * x + eps) ** (1 - q)
            )  # fmt: skip
            down = (lambda y: mp.sqrt(mp.exp(y) - eps)) if power == 1 else (
                lambda y: mp.sqrt(y ** (1 / (1 - q)) - eps)
            )  # fmt: skip
        else:
            p = 2 if blocks == "full" else 2 - 2 * q
            up, down = lambda x: abs(x) ** p, lambda y: y ** (1 / p)
        gaps = [up(x) - up(size[0]) for x in size[1:]]

        def slowness(z):
            others = [down(up(z) + gap) for gap in gaps]
            rest = mp.fprod(others)
            curvature = rest**2
            if blocks == "full":
                curvature *= 1 + sum((z / x) ** 2 for x in others)
            return -1 / (scale * rest * (curvature + eps) ** -q * (1 + z * rest))

        stop_z = -size[0] * mp.mpf("0.9")
        width = down(up(mp.mpf(0)) + gaps[0])
        marks = [width * x for x in (-1000, -100, -10, -1, 0, 1, 10, 100, 1000)]
        inside = sorted([x for x in marks if stop_z < x < size[0]], reverse=True)
        time = mp.quad(slowness, [size[0], *inside, stop_z])
        stop = float(-stop_z * mp.fprod(down(up(stop_z) + gap) for gap in gaps))
        expected = float(time)
    weights = np.array(weights)
    assert learning_time(rule, weights, 1.0, stop) == pytest.approx(expected, rel=1e-13)
    there = mode_trajectory(rule, weights, 1.0, np.array([expected]))[0]
    assert there[0] == pytest.approx(float(stop_z), rel=1e-11)
    assert there[0] != pytest.approx(1.01 * float(stop_z), rel=1e-11)


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_one_zero_is_no_saddle_for_full_rules(power):
    # S > 0 there: the weight leaves 0 towards the target's sign at speed p (p^2)^-q s
    rule, start = CurvatureCorrection(power), np.array([0.4, 0.0, -0.5])
    path = mode_trajectory(rule, start, 1.5, np.array([0.0, 1e-7, 60.0]))
    np.testing.assert_array_equal(path[0], start)
    speed = -0.2 * 0.04**-power * 1.5
    assert path[1, 1] == pytest.approx(speed * 1e-7, rel=1e-5)
    assert path[2].prod() == pytest.approx(1.5, rel=1e-12)


@pytest.mark.parametrize("rule", [GD, SQRT, NGD, CurvatureCorrection(0.5, "layer"),
                                  CurvatureCorrection(1.0, "layer", damping=0.1)])  # fmt: skip
def test_two_zeros_rest(rule):
    start = np.array([0.0, 0.7, 0.0])
    path = mode_trajectory(rule, start, 1.5, np.array([0.0, 5.0, 1e6]))
    np.testing.assert_array_equal(path, [start] * 3)


def test_ties_reach_the_saddle_and_stay_where_the_speed_stays_finite():
    # full square root, balanced at depth 2: da/dt = (-s - a^2)/sqrt(2), at zero in finite time
    start, arrival = 0.6, np.sqrt(2) * np.arctan(0.6)
    times = np.array([0.5 * arrival, arrival * (1 - 1e-9), arrival * 1.01, 1e4])
    path = mode_trajectory(SQRT, np.array([start, -start]), 1.0, times)
    half = np.tan(np.arctan(0.6) / 2)
    np.testing.assert_allclose(path[0], [half, -half], rtol=1e-13)
    assert 0 < path[1, 0] < 1e-8
    np.testing.assert_array_equal(path[2:], 0.0)
    assert learning_time(SQRT, np.array([start, -start]), 1.0, 0.0) == pytest.approx(
        arrival, rel=1e-13
    )
    assert learning_time(SQRT, np.array([start, -start]), 1.0, 0.1) == np.inf


def test_ties_blow_up_where_the_speed_diverges():
    # the chord u = s + (u0 - s) exp(-t) of natural gradient descent reaches zero at ln(1 + u0/s)
    start = np.array([0.5, -0.5, 0.7])
    moment = np.log1p(0.175 / 2.0)
    with pytest.raises(BlowUpError) as problem:
        mode_trajectory(NGD, start, 2.0, np.array([1.0]))
    assert problem.value.time == pytest.approx(moment, rel=1e-14)
    before = mode_trajectory(NGD, start, 2.0, np.array([0.999 * moment]))[0]
    assert before.prod() == pytest.approx(2 - 2.175 * np.exp(-0.999 * moment), rel=1e-9)
    # power 3/4, balanced at depth 2: da/dt = -(2 a^2)^(-3/4) a (s + a^2), by mpmath
    expected = mp.quad(lambda a: 2**0.75 * mp.sqrt(a) / (1 + a * a), [0, 0.25, 0.5])
    for rule in (CurvatureCorrection(0.75), CurvatureCorrection(0.75, "layer")):
        with pytest.raises(BlowUpError) as problem:
            mode_trajectory(rule, np.array([0.5, -0.5]), 1.0, np.array([1.0]))
        assert problem.value.time == pytest.approx(float(expected), rel=1e-13)


def test_powers_close_to_one_blow_up_without_underflow():
    rule = CurvatureCorrection(0.99, "layer", scale=1.0)
    # balanced at depth 3: dz/dt = -z^(2 - 4 q) (s + z^3)
    expected = mp.quad(lambda z: z ** mp.mpf("1.96") / (1 + z**3), [0, mp.mpf("0.3")])
    with pytest.raises(BlowUpError) as problem:
        mode_trajectory(rule, np.array([0.3, 0.3, -0.3]), 1.0, np.array([1.0]))
    assert problem.value.time == pytest.approx(float(expected), rel=1e-12)


def test_layer_rules_beyond_the_square_root_blow_up_at_any_change_of_sign():
    # dw_2/dt diverges as w_1 -> 0: |w|^(1/2) differences kept, dy/dt = -(1/2) k u^(-1/2) (s + u)
    scale = 2.0**-0.75
    gap = mp.sqrt(mp.mpf("0.7")) - mp.sqrt(mp.mpf("0.3"))

    def slowness(y):
        u = y**2 * (y + gap) ** 2
        return 2 * mp.sqrt(u) / (scale * (1 + u))

    expected = float(mp.quad(slowness, [0, mp.sqrt(mp.mpf("0.3"))]))
    rule = CurvatureCorrection(0.75, "layer")
    with pytest.raises(BlowUpError) as problem:
        mode_trajectory(rule, np.array([0.3, -0.7]), 1.0, np.array([3.0]))
    assert problem.value.time == pytest.approx(expected, rel=1e-13)
    # damping or power <= 1/2 let it pass
    for gentle in (CurvatureCorrection(0.75, "layer", 1e-3), CurvatureCorrection(0.5, "layer")):
        end = mode_trajectory(gentle, np.array([0.3, -0.7]), 1.0, np.array([60.0]))[0]
        assert end.prod() == pytest.approx(1.0, rel=1e-12)


def test_a_zero_target_is_approached_as_its_power_law():
    # balanced gradient descent at depth 3: da/dt = -a^5, and power 1 decays as exp(-t)
    start, times = np.full(3, 0.8), np.array([1.0, 1e3, 1e12])
    path = mode_trajectory(GD, start, 0.0, times)
    expected = (0.8**-4 + 4 * times) ** -0.25
    np.testing.assert_allclose(path, np.repeat(expected[:, None], 3, axis=1), rtol=1e-12)
    path = mode_trajectory(NGD, start, 0.0, np.array([3.0]))[0]
    assert path.prod() == pytest.approx(0.512 * np.exp(-3.0), rel=1e-12)


def test_layer_square_root_keeps_differences_of_magnitudes_not_of_squares():
    start, rule = np.array([0.9, -0.4, 0.2]), CurvatureCorrection(0.5, "layer")
    end = mode_trajectory(rule, start, -2.0, np.array([1.3]))[0]
    np.testing.assert_allclose(np.diff(np.abs(end)), np.diff(np.abs(start)), rtol=1e-13)
    assert np.abs(np.diff(end**2) - np.diff(start**2)).max() > 0.1
    np.testing.assert_allclose(invariants(rule, end), invariants(rule, start), atol=1e-13)


def test_full_and_layer_clocks_differ_by_the_square_root_of_the_depth():
    # on a balanced path, with the scale of the layer rule left at 1
    start, times = np.full(4, 0.3), np.array([0.2, 0.7])
    layer = mode_trajectory(CurvatureCorrection(0.5, "layer", scale=1.0), start, 1.0, times)
    full = mode_trajectory(SQRT, start, 1.0, 2.0 * times)
    np.testing.assert_allclose(layer, full, rtol=1e-12)
    # natural gradient per layer: d times as fast, and depth counts weight layers
    layer = mode_trajectory(CurvatureCorrection(1.0, "layer", scale=1.0), start, 1.0, times)
    np.testing.assert_allclose(layer, mode_trajectory(NGD, start, 1.0, 4 * times), rtol=1e-12)


def test_scale_and_single_layers():
    # d = 1: dw/dt = k (1 + damping)^-q (s - w)
    rule = CurvatureCorrection(0.5, damping=3.0, scale=4.0)
    found = mode_trajectory(rule, np.array([-0.5]), 1.5, np.array([0.3]))
    assert found[0, 0] == pytest.approx(1.5 - 2.0 * np.exp(-0.6), rel=1e-14)
    faster = CurvatureCorrection(0.3, scale=5.0)
    start = np.array([0.3, 0.8, 0.2])
    one = mode_trajectory(CurvatureCorrection(0.3), start, 1.0, np.array([1.0]))
    np.testing.assert_allclose(
        mode_trajectory(faster, start, 1.0, np.array([0.2])), one, rtol=1e-12
    )


def test_stepped_modes_settle_and_keep_their_digits():
    # the damped layer rule at depth 3; the integrator is tightened until it agrees with itself
    rule, start = CurvatureCorrection(1.0, "layer", damping=0.01), np.array([0.05, 0.3, -0.2])

    def velocity(_, w):
        others = np.array([w[1] * w[2], w[0] * w[2], w[0] * w[1]])
        return others / (others**2 + 0.01) * (1.0 - w.prod()) / 3

    times = np.array([0.5, 2.0, 6.0])
    flow = solve_ivp(velocity, (0, 6), start, "DOP853", times, rtol=3e-14, atol=1e-16)
    np.testing.assert_allclose(mode_trajectory(rule, start, 1.0, times), flow.y.T, rtol=2e-12)
    late = mode_trajectory(rule, start, 1.0, np.array([80.0, 1e12]))
    assert late[1].prod() == pytest.approx(1.0, rel=1e-14)
    np.testing.assert_allclose(late[0], late[1], rtol=1e-13)


@pytest.mark.bad_input
def test_what_cannot_be_computed_says_so():
    times = np.array([1.0])
    with pytest.raises(ValueError, match="1e-290"):
        mode_trajectory(GD, np.full(4, 1e-80), 1.0, times)
    with pytest.raises(ValueError, match="1e-290"):
        mode_trajectory(SQRT, np.array([0.1, 0.2, 0.3]), 1e150, times)
    with pytest.raises(ValueError, match="weights has shape"):
        mode_trajectory(GD, np.empty(0), 1.0, times)
    with pytest.raises(ValueError, match=r"times has shape \(0,\)"):
        mode_trajectory(GD, np.ones(2), 1.0, np.empty(0))
