"""Estimators of curvature and glass against enumeration and quadrature."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.polynomial.hermite_e import hermegauss

from theory._glass_estimator_derivations import three_gradient_estimators
from theory.glass_estimators import (
    GlassEstimate,
    absolute_curvature,
    density_variance,
    equispaced_gradients,
    rms_curvature,
    squared_curvature,
    three_gradients,
)
from theory.glass_process import JumpProcess

GRADIENTS = st.floats(-100, 100)


def test_a_worked_example():
    # mean and variance of the increments .09 and .27 over .005, by hand
    found = three_gradients(0.11, 0.20, 0.47, 0.005)
    assert found == pytest.approx((36.0, 3.24), rel=1e-12)
    assert rms_curvature(36.0, 3.24, 0.005) == pytest.approx(40.249223594996215, rel=1e-15)
    assert absolute_curvature(0.0, 3.24, 0.005) == pytest.approx(14.361922094451576, rel=1e-15)
    assert squared_curvature(found, 0.005) == pytest.approx(972.0, rel=1e-12)


def test_the_derivation_gives_the_estimates():
    results = three_gradient_estimators().results
    values = {"g_-": 0.11, "g_0": 0.20, "g_+": 0.47, "sigma": 0.005}
    values |= {"rho": 3.24, "kappa": 0.7}

    def number(name):
        expression = results[name]
        return float(expression.subs({s: values[s.name] for s in expression.free_symbols}))

    found = three_gradients(0.11, 0.20, 0.47, 0.005)
    assert (number("curvature"), number("density")) == pytest.approx(found, rel=1e-12)
    wanted = density_variance(3.24, fourth_rate=0.7, length=0.01)
    assert number("density_variance") == pytest.approx(wanted, rel=1e-12)


@given(hnp.arrays(float, st.tuples(st.integers(3, 7), st.integers(1, 3)), elements=GRADIENTS))
def test_mean_and_unbiased_variance_of_increments(gradients):
    found = equispaced_gradients(gradients, 0.5)
    steps = gradients[1:] - gradients[:-1]
    assert found.curvature == pytest.approx((gradients[-1] - gradients[0]) / (0.5 * len(steps)))
    pairs = (steps[:, None] - steps[None, :]) ** 2  # variance as the mean over pairs, halved
    wanted = pairs.sum(axis=(0, 1)) / (2 * len(steps) * (len(steps) - 1)) / 0.5
    assert found.density == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    three = three_gradients(*gradients[:3], 0.5)
    same = equispaced_gradients(gradients[:3], 0.5)
    for a, b in zip(three, same, strict=True):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-9)


@given(GRADIENTS, GRADIENTS, GRADIENTS, GRADIENTS, GRADIENTS)
def test_constant_and_linear_gradients_are_no_glass(low, mid, high, offset, slope):
    plain = three_gradients(low, mid, high, 0.25)
    moved = three_gradients(low + offset - slope, mid + offset, high + offset + slope, 0.25)
    assert moved.density == pytest.approx(plain.density, rel=1e-9, abs=1e-7)
    assert moved.curvature == pytest.approx(plain.curvature + 4 * slope, abs=1e-9)
    turned = three_gradients(high, mid, low, 0.25)
    assert turned.density == plain.density
    assert turned.curvature == -plain.curvature


@pytest.mark.parametrize("n", [3, 4, 5])
def test_unbiased_and_their_variance_by_quadrature(n):
    # normal increments: Gauss-Hermite is exact on the fourth-degree polynomials here
    h, rho, spacing = 1.7, 0.6, 0.2
    node, weight = hermegauss(5)
    weight = weight / weight.sum()
    moments = np.zeros(4)
    for places in itertools.product(range(5), repeat=n - 1):
        steps = h * spacing + np.sqrt(rho * spacing) * node[list(places)]
        found = equispaced_gradients(np.concatenate([[0.0], np.cumsum(steps)]), spacing)
        square = found.curvature**2 - found.density / (spacing * (n - 1))
        row = (found.curvature, found.density, found.density**2, square)
        moments += np.prod(weight[list(places)]) * np.array(row)
    assert moments[:2] == pytest.approx([h, rho], rel=1e-12)
    assert moments[2] - rho**2 == pytest.approx(density_variance(rho, n), rel=1e-11)
    assert moments[3] == pytest.approx(h**2, rel=1e-11)


def test_rare_jumps_add_to_the_variance():
    # both increments enumerated: up to 12 jumps of either sign in each
    glass, sigma = JumpProcess(rate=1.5, jump=0.8), 0.5
    mean = glass.rate * sigma / 2  # of the jumps of one sign
    counts = np.arange(13)
    law = np.exp(-mean) * mean**counts / np.cumprod(np.maximum(counts, 1))
    jumps = 0.8 * (counts[:, None] - counts).ravel()
    chance = np.outer(law, law).ravel()
    found = three_gradients(
        -jumps[:, None] + 0 * jumps, np.zeros((169, 169)), jumps + 0 * jumps[:, None], sigma
    )
    joint = np.outer(chance, chance)
    first, second = (joint * found.density).sum(), (joint * found.density**2).sum()
    assert first == pytest.approx(glass.density, rel=1e-9)
    wanted = density_variance(glass.density, fourth_rate=glass.fourth_rate, length=2 * sigma)
    assert second - first**2 == pytest.approx(wanted, rel=1e-8)
    assert wanted == pytest.approx(2 * 0.96**2 + 1.5 * 0.8**4, rel=1e-12)


@pytest.mark.parametrize("h", [0.0, 0.3, -2.0, 30.0])
def test_bias_of_the_mean_size_by_quadrature(h):
    rho, sigma = 0.9, 0.25
    z = np.linspace(-12, 12, 400_001)
    bell = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    wanted = np.trapezoid(np.abs(h + np.sqrt(rho / (2 * sigma)) * z) * bell, z)
    assert absolute_curvature(h, rho, sigma) == pytest.approx(wanted, rel=1e-8)


def test_without_glass_there_is_no_bias():
    h = np.array([0.0, -3.0, 1e200])
    assert absolute_curvature(h, 0.0, 0.1).tolist() == [0.0, 3.0, 1e200]
    assert rms_curvature(h[:2], 0.0, 0.1).tolist() == [0.0, 3.0]


@given(st.floats(-50, 50), st.floats(0, 50), st.floats(1e-3, 10))
def test_biases_are_upward_and_ordered(h, rho, sigma):
    size, rms = absolute_curvature(h, rho, sigma), rms_curvature(h, rho, sigma)
    assert abs(h) * (1 - 1e-12) <= size <= rms * (1 + 1e-12)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: three_gradients(0.1, 0.2, 0.3, 0.0), "sigma = 0"),
        (lambda: three_gradients(0.1, 0.2, 0.3, -1.0), "sigma = -1"),
        (lambda: three_gradients(0.1, float("nan"), 0.3, 1.0), "middle = nan"),
        (lambda: three_gradients([0.1, 0.2], 0.2, 0.3, 1.0), r"have shapes \(2,\), \(\), \(\)"),
        (lambda: equispaced_gradients(np.zeros((2, 5)), 1.0), r"shape \(2, 5\).*three places"),
        (lambda: equispaced_gradients(np.zeros(5), 0.0), "spacing = 0"),
        (lambda: equispaced_gradients(np.array([1e200, 0.0, 1e200]), 1.0), "result overflows"),
        (lambda: three_gradients(1e200, 0.0, 1e200, 1.0), "the result overflows"),
        (lambda: density_variance(1e200), "density = 1e.200: the result overflows"),
        (lambda: density_variance(1.0, length="far"), "length = 'far'"),
        (lambda: squared_curvature(GlassEstimate(1e200, 1.0), 0.1), "the result overflows"),
        (lambda: rms_curvature(1.0, 1e300, 1e-300), "the result overflows"),
        (lambda: rms_curvature([1.0, 2.0], [1.0, 2.0, 3.0], 0.1), "do not fit"),
        (lambda: density_variance(-1.0), "density = -1"),
        (lambda: density_variance(1.0, 2), "gradients = 2"),
        (lambda: density_variance(1.0, length=0.0), "length = 0"),
        (lambda: density_variance(1.0, length=float("nan")), "length = nan"),
        (lambda: density_variance(1.0, fourth_rate=-1.0), "fourth_rate = -1"),
        (lambda: squared_curvature(GlassEstimate(1.0, -1.0), 0.1), "estimate.density = -1"),
        (lambda: rms_curvature(1.0, -1.0, 0.1), "density = -1"),
        (lambda: absolute_curvature(1.0, 1.0, float("nan")), "sigma = nan"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
