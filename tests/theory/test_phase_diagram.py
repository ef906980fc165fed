"""The phase diagram against the number of wells, a Bessel series and its own boundaries."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import iv

from theory.phase_diagram import UNIMODAL_LIMIT, log_slowing, phase, trapping_boundary


def minima(rho):
    """Return the number of minima of u²/2 - rho cos u by sign changes on a fine grid."""
    u = np.linspace(-rho - 2, rho + 2, 200_001)
    slope = u + rho * np.sin(u)
    return np.count_nonzero((slope[:-1] < 0) & (slope[1:] >= 0))


def test_the_unimodal_limit_is_where_a_second_minimum_appears():
    # first root of tan u = u: sqrt(1 + u²), 20 digits from mpmath
    assert pytest.approx(4.6033388487517003526, rel=1e-15) == UNIMODAL_LIMIT
    assert minima(UNIMODAL_LIMIT - 1e-3) == 1
    assert minima(UNIMODAL_LIMIT + 1e-3) == 3


def test_log_slowing_is_twice_the_logarithm_of_a_bessel_function():
    for ratio in (0.1, 1.0, 7.0, 100.0):
        assert log_slowing(3 * ratio, 3.0) == pytest.approx(2 * math.log(iv(0, ratio)), rel=1e-13)
    z = 1e5  # beyond overflow: leading terms of the asymptotic series
    series = 2 * (z - math.log(2 * math.pi * z) / 2 + math.log1p(1 / (8 * z)))
    assert log_slowing(z, 1.0) == pytest.approx(series, rel=1e-13)
    assert log_slowing(0.0, 1.0) == 0.0
    assert log_slowing(1e300, 1e-300) == math.inf


@pytest.mark.parametrize(
    ("rho", "t", "time", "region"),
    [
        (0.0, 1e-6, 1.0, "convex"),
        # no barriers: never frozen, though I0(rho/t) is huge
        (0.9, 1e-3, 10.0, "convex"),
        (4.6, 1e-3, 10.0, "unimodal"),
        (4.7, 1e-3, 10.0, "frozen"),
        # rho exp(-t/2) is 0.674, but I0(10)² = 8e6: the width is reached only in a long training
        (100.0, 10.0, 1e4, "frozen"),
        (100.0, 10.0, 1e8, "convex"),
        # I0(1.2)² = 1.94
        (12.0, 10.0, 1.9, "frozen"),
        (12.0, 10.0, 2.0, "convex"),
        (20.0, 2.0, 1e8, "ergodic"),
        (20.0, 4.0, 1e8, "unimodal"),
    ],
)
def test_regions(rho, t, time, region):
    assert phase(rho, t, time).region == region


def test_the_numbers_that_decided_are_reported():
    regime = phase(20.0, 2.0, 1e4)
    assert regime.effective_ruggedness == pytest.approx(20 / math.e, rel=1e-15)
    assert regime.log_slowing == pytest.approx(2 * math.log(iv(0, 10.0)), rel=1e-13)
    assert (regime.thermal_excess, regime.loss_tolerance) == (1.0, 0.5)


def test_hot_and_cold_are_read_apart_from_the_region():
    cases = {(12.0, 3.0): "I", (12.0, 0.5): "III", (2.0, 3.0): "II", (2.0, 0.5): "IV"}
    for (rho, t), analogue in cases.items():
        regime = phase(rho, t, 10.0)
        assert regime.analogue == analogue
        assert regime.connected == (analogue in ("II", "IV"))
    assert phase(2.0, 3.0, 10.0, loss_tolerance=1.5).analogue == "IV"  # the tie is cold


def test_a_smoothing_takes_the_place_of_the_thermal_width():
    regime = phase(20.0, 0.1, 10.0, smoothing=2.0)
    left = 20 * math.exp(-2.0)
    assert (regime.ruggedness, regime.effective_ruggedness) == (left, left)
    assert regime.region == "unimodal"
    # wells left by the smoothing, 5.413, trap with what is left of them: I0(3.609)² = 65.4
    assert phase(40.0, 1.5, 65.0, smoothing=2.0).region == "frozen"
    assert phase(40.0, 1.5, 66.0, smoothing=2.0).region == "ergodic"


def test_the_ergodic_region_begins_at_one_point():
    # least time at which I0(rho/t)² allows rho exp(-t/2) > 4.6033: rho/t is least at t = 2
    ratio = UNIMODAL_LIMIT * math.e / 2
    assert iv(0, ratio) ** 2 == pytest.approx(7226.9, abs=0.1)
    rho = 2 * ratio * (1 + 1e-9)
    assert phase(rho, 2.0, 7226.0).region == "frozen"
    assert phase(rho, 2.0, 7228.0).region == "ergodic"
    for t in (1.0, 1.9, 2.1, 4.0):
        edge = UNIMODAL_LIMIT * math.exp(t / 2) * (1 + 1e-9)
        assert phase(edge, t, 7228.0).region == "frozen"


def test_ties_belong_to_the_smoother_side():
    assert phase(1.0, 1.0, 1.0, smoothing=0.0).region == "convex"
    assert phase(UNIMODAL_LIMIT, 1e-3, 1.0, smoothing=0.0).region == "unimodal"
    assert phase(math.nextafter(1.0, 2), 1.0, 1.0, smoothing=0.0).region == "unimodal"


@given(
    rho=st.floats(0, 1e3),
    t=st.floats(1e-3, 1e3),
    time=st.floats(1e-3, 1e9),
    more=st.floats(1.0, 1e6),
)
def test_longer_training_only_thaws_and_a_smoother_loss_is_no_rougher(rho, t, time, more):
    regime = phase(rho, t, time)
    longer = phase(rho, t, time * more)
    assert longer.region == regime.region or regime.region == "frozen"
    order = ("convex", "unimodal", "ergodic", "frozen")
    smoother = phase(rho / 2, t, time)
    assert order.index(smoother.region) <= order.index(regime.region)


@given(time=st.floats(1.0, 1e12), t=st.floats(0.01, 1e4))
def test_the_trapping_boundary_separates_frozen_from_the_rest(time, t):
    edge = trapping_boundary(time, np.array([t]))[0]
    assert edge >= UNIMODAL_LIMIT
    assert phase(edge * (1 + 1e-9) + 1e-9, t, time).region == "frozen"
    assert phase(edge * (1 - 1e-9), t, time).region != "frozen"


def test_the_trapping_boundary_is_a_straight_line_through_the_bessel_function():
    t = np.array([2.0, 8.0, 40.0])
    edges = trapping_boundary(iv(0, 5.0) ** 2, t)
    assert edges == pytest.approx(5 * t, rel=1e-12)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: phase(-1.0, 1.0, 1.0), "ruggedness = -1"),
        (lambda: phase(1.0, 0.0, 1.0), "reduced_temperature = 0"),
        (lambda: phase(1.0, -2.0, 1.0), "reduced_temperature = -2"),
        (lambda: phase(1.0, 1.0, 0.0), "reduced_time = 0"),
        (lambda: phase(1.0, 1.0, math.inf), "reduced_time = inf"),
        (lambda: phase(math.nan, 1.0, 1.0), "ruggedness = nan"),
        (lambda: phase(1.0, 1.0, 1.0, smoothing=-0.1), "smoothing = -0.1"),
        (lambda: phase(1.0, 1.0, 1.0, loss_tolerance=-1.0), "loss_tolerance = -1"),
        (lambda: log_slowing(1.0, 0.0), "reduced_temperature = 0"),
        (lambda: trapping_boundary(0.5, np.ones(2)), "reduced_time = 0.5"),
        (lambda: trapping_boundary(2.0, np.array([1.0, 0.0])), "reduced_temperature"),
        (lambda: trapping_boundary(2.0, np.array([1.0, 1e301])), r"max\(reduced_temperature\)"),
    ],
)
def test_numbers_outside_the_domain_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
