"""The rugged bowl: smoothing, minima, passage times and the PL constant against second routes."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import cumulative_simpson, quad, simpson

from theory._rugged_derivations import (
    gibbs_identities,
    noise_convolved_loss,
    rugged_pl_constant,
    well_energies,
)
from theory.derivation import DerivationError
from theory.rugged import RuggedBowl

# nodes of a Gaussian average, exact for the cosines here to 1e-15
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()

bowls = st.builds(
    RuggedBowl,
    curvature=st.floats(0.2, 5.0),
    roughness=st.floats(0.0, 2.0),
    wavenumber=st.floats(0.5, 6.0),
    phase=st.floats(-10.0, 10.0),
)


def test_the_smoothed_landscape_to_twenty_digits():
    # mpmath, agreed with quadrature
    bowl = RuggedBowl(1.0, 0.3, 5.0)
    assert bowl.smoothed(0.7, 0.3) == pytest.approx(0.38120689223095507349, rel=1e-15)
    assert bowl.smoothed_grad(0.7, 0.3) == pytest.approx(0.52917603943395869673, rel=1e-15)
    assert bowl.convexity_scale() == pytest.approx(0.40148753609966671109, rel=1e-15)
    # the second derivative of the smoothed loss is the curvature of the bowl it is
    left = RuggedBowl(1.0, 0.3 * math.exp(-(1.5**2) / 2), 5.0).hess(0.7)
    assert left == pytest.approx(-1.2801723057738768371, rel=1e-14)


@given(bowl=bowls, x=st.floats(-3.0, 3.0), s=st.floats(0.0, 1.0))
def test_smoothing_is_a_gaussian_average(bowl, x, s):
    places = x + s * NODES
    assert bowl.smoothed(x, s) == pytest.approx(WEIGHTS @ bowl.loss(places), abs=1e-12)
    assert bowl.smoothed_grad(x, s) == pytest.approx(WEIGHTS @ bowl.grad(places), abs=1e-12)
    assert bowl.hess(x) == pytest.approx(
        (bowl.grad(x + 1e-5) - bowl.grad(x - 1e-5)) / 2e-5, abs=1e-5
    )


def test_one_noisy_step_is_a_step_on_the_smoothed_loss():
    # E[y_1 | y_0 = 0.7] at step 0.1, gradient noise 4, batch 4: mpmath, by quadrature
    bowl, step = RuggedBowl(1.0, 0.3, 5.0), 0.1
    s = step * 4 / math.sqrt(4)
    wanted = 0.66191411737600680396
    assert 0.7 - step * bowl.smoothed_grad(0.7, s) == pytest.approx(wanted, rel=1e-15)
    places = 0.7 - s * NODES
    assert WEIGHTS @ (places - step * bowl.grad(places)) == pytest.approx(wanted, rel=1e-14)


def test_the_smoothed_loss_is_convex_from_its_scale_on():
    bowl = RuggedBowl(2.0, 0.7, 3.0, phase=1.2)
    scale = bowl.convexity_scale()
    x = np.linspace(-4, 4, 4001)
    for s, convex in ((1.001 * scale, True), (0.999 * scale, False)):
        slope = np.diff(bowl.smoothed_grad(x, s))
        assert (slope > 0).all() == convex
    assert bowl.effective_ruggedness(scale) == pytest.approx(1.0, rel=1e-14)
    assert RuggedBowl(1.0, 0.04, 5.0).convexity_scale() == 0.0


def test_positions_are_answered_in_kind():
    bowl = RuggedBowl()
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    for method in (bowl.loss, bowl.grad, bowl.hess):
        values = method(x)
        assert values.shape == (2, 3)
        assert type(method(0.5)) is float
        assert method(float(x[1, 2])) == values[1, 2]
    assert bowl.smoothed(x, 0.1).shape == bowl.coarse_grained(x, 0.1).shape == (2, 3)
    assert bowl.effective_ruggedness(np.array([0.0, 0.1])).tolist() == [
        bowl.effective_ruggedness(0.0),
        bowl.effective_ruggedness(0.1),
    ]
    assert bowl.effective_ruggedness(0.0) == bowl.ruggedness == 2.5


def test_coarse_graining_averages_the_weight_over_the_phase():
    T, eps, x = 0.07, 0.2, 0.4
    weights = [
        quad(
            lambda phi: math.exp(-RuggedBowl(1.5, eps, 4.0, phi).loss(x) / T),
            0,
            2 * math.pi,
            epsabs=0,
            epsrel=1e-12,
        )[0]
        / (2 * math.pi)
    ]
    found = RuggedBowl(1.5, eps, 4.0).coarse_grained(x, T)
    assert found == pytest.approx(-T * math.log(weights[0]), rel=1e-12)


@pytest.mark.parametrize("T", [1e3, 1e10, 1e100])
def test_hot_ripples_lower_the_coarse_landscape_by_their_second_order(T):
    # T ln I0(ε/T) = ε²/4T (1 - (ε/T)²/16 + ...)
    found = RuggedBowl(1.0, 1.0, 1.0).coarse_grained(0.0, T)
    assert found == pytest.approx(-0.25 / T, rel=1e-7)


def minima_by_scan(bowl, s):
    """Sign changes of the gradient on a fine grid: right where no two roots share a cell."""
    reach = (bowl.effective_ruggedness(s) + 4) / bowl.wavenumber
    x = np.linspace(-reach, reach, 100_001)
    slope = bowl.smoothed_grad(x, s)
    return x[1:][(slope[:-1] < 0) & (slope[1:] >= 0)], x[1] - x[0]


@settings(max_examples=60)
@given(bowl=bowls, s=st.floats(0.0, 0.5))
@example(bowl=RuggedBowl(1.0, 12.0, 1.0), s=0.0)
@example(bowl=RuggedBowl(1.0, 2.0, 1.0, np.pi), s=0.0)
@example(bowl=RuggedBowl(1.0, 2.0, 1.0, -np.pi), s=0.0)
@example(bowl=RuggedBowl(1.0, 40.0, 1.0, 3.0), s=0.0)
def test_every_minimum_is_found_once(bowl, s):
    found = bowl.minima(s)
    scanned, cell = minima_by_scan(bowl, s)
    assert found.shape == scanned.shape
    assert np.abs(found - scanned).max() <= cell
    assert (np.diff(found) > 0).all()
    assert np.abs(bowl.smoothed_grad(found, s)).max() < 1e-13 * (
        1 + bowl.roughness * bowl.wavenumber + bowl.curvature * np.abs(found).max()
    )


@pytest.mark.parametrize(
    ("phase", "threshold", "before", "off_centre", "after"),
    [
        (0.0, 4.6033388487517003526, 1, 2, 3),
        (0.0, 10.949879869826265088, 3, 4, 5),
        (0.0, 17.249765567558631746, 5, 6, 7),
        (np.pi, 1.0, 1, 1, 2),
        (np.pi, 7.78970576749, 2, 3, 4),  # q - arctan q = 2π by bisection
    ],
)
def test_minima_at_a_fold(phase, threshold, before, off_centre, after):
    for factor in (1e-11, 1e-6):
        below, above = (RuggedBowl(1.0, threshold * (1 + e), 1.0, phase) for e in (-factor, factor))
        assert below.minima().size == before
        assert above.minima().size == after
    # off centre a pair of new minima comes one after the other
    off = RuggedBowl(1.0, threshold * (1 + 1e-6), 1.0, phase + 0.01)
    assert off.minima().size == off_centre


def test_minima_of_a_bowl_with_a_million_ripples_a_unit():
    minima = RuggedBowl(1.0, 1e-6, 1e6).minima()  # ρ = 1e6
    assert minima.size == 318309 or minima.size == 318311  # 2n + 1 next to 1e6/π = 318309.9
    assert (minima == -minima[::-1]).all()


def passage_by_simpson(bowl, x0, low, high, temperature):
    """Mean passage time by cumulative integrals on a uniform grid, one end reflecting if inf."""
    lower = low if math.isfinite(low) else x0 - 6.0
    upper = high if math.isfinite(high) else x0 + 6.0
    x = np.linspace(lower, upper, 40_001)
    f = bowl.loss(x) / temperature
    f -= f.min()
    up = np.exp(f)
    inner = cumulative_simpson(np.exp(-f), x=x, initial=0)
    if math.isinf(high):
        inner -= inner[-1]
    times = cumulative_simpson(up * inner, x=x, initial=0) / temperature
    if math.isinf(low):
        times = times[-1] - times
    elif math.isinf(high):
        times = -times
    else:
        scale = cumulative_simpson(up, x=x, initial=0)
        times = scale * times[-1] / scale[-1] - times
    return np.interp(x0, x, times)


@pytest.mark.parametrize("x0", [0.1, -0.3, 1.15, 1.9, -1.0])
@pytest.mark.parametrize("phase", [0.0, 0.5])
def test_escape_to_the_neighbouring_wells(phase, x0):
    bowl, T = RuggedBowl(1.0, 0.3, 5.0, phase), 0.2
    minima = bowl.minima()
    own = int(np.argmin(np.abs(minima - x0)))
    bottoms = [-math.inf, *minima, math.inf]
    wanted = passage_by_simpson(bowl, x0, bottoms[own], bottoms[own + 2], T)
    assert bowl.escape_time(x0, T) == pytest.approx(wanted, rel=1e-6)  # interpolation, Simpson


def test_escape_over_level_ripples_takes_the_lifson_jackson_time():
    # from bottom to bottom over a cosine: (2π/k)²/(2 D), with T/I0(2)² = D
    bowl = RuggedBowl(1e-9, 2.0, 1.0)
    assert bowl.escape_time(0.0, 1.0) == pytest.approx(102.5749791666512115, rel=1e-6)
    diffusion = bowl.effective_diffusion(1.0)
    assert diffusion == pytest.approx(0.19243687849167269437, rel=1e-13)
    assert bowl.relaxation_rate(1.0) == pytest.approx(1e-9 * diffusion, rel=1e-13)
    assert (2 * math.pi) ** 2 / (2 * diffusion) == pytest.approx(
        bowl.escape_time(0.0, 1.0), rel=1e-6
    )


@pytest.mark.parametrize(
    ("rho", "ratio"),
    [(0.5, 0.740581761761505), (2.0, 0.252579446439992), (4.0, 0.0115168309379583)],
)
def test_the_pl_constant_to_fifteen_digits(rho, ratio):
    # mpmath: root of the derivative of the ratio
    assert RuggedBowl(3.0, 3.0 * rho / 4, 2.0).pl_constant() == pytest.approx(3 * ratio, rel=1e-12)
    # half a period on the same bowl is reached by smoothing a rougher one
    rough = RuggedBowl(1.0, rho * math.exp(0.5), 1.0)
    assert rough.pl_constant(s=1.0) == pytest.approx(ratio, rel=1e-11)


def test_the_pl_constant_closes_at_the_first_threshold():
    assert RuggedBowl(1.0, 4.60333884875, 1.0).pl_constant() == pytest.approx(0, abs=1e-20)
    assert RuggedBowl(1.0, 4.60333884875, 1.0).pl_constant() > 0
    for rho in (4.60333884876, 6.0, 50.0):
        assert RuggedBowl(1.0, rho, 1.0).pl_constant() == 0.0
    # two equal minima: the maximum between them ends PL, though both are global
    assert RuggedBowl(1.0, 1.0, 1.0, np.pi).pl_constant() == 0.0
    assert RuggedBowl(1.0, 1.001, 1.0, np.pi).pl_constant() == 0.0
    # at a maximum of the cosine the curvature at the bottom, 1 - ρ, is the least ratio
    assert RuggedBowl(1.0, 0.9, 1.0, np.pi).pl_constant() == pytest.approx(0.1, rel=1e-12)
    assert RuggedBowl(2.0, 0.0, 1.0).pl_constant() == 2.0


@settings(max_examples=60)
@given(rho=st.floats(0.0, 4.6), phase=st.floats(-4.0, 4.0))
def test_the_pl_constant_bounds_every_ratio_and_is_met(rho, phase):
    bowl = RuggedBowl(1.0, rho, 1.0, phase)
    constant = bowl.pl_constant()
    u = np.linspace(-40, 40, 50_001)
    height = bowl.loss(u) - bowl.loss(bowl.minima()).min()
    away = height > 1e-6
    ratio = bowl.grad(u)[away] ** 2 / (2 * height[away])
    assert constant <= ratio.min() + 1e-9
    if bowl.minima().size > 1:
        assert constant == 0.0
    else:
        # the grid misses the least ratio by its second derivative, at most of order 1/height
        assert ratio.min() <= constant + 2e-3 * (1 + constant)


@given(rho=st.floats(0.0, 4.5))
def test_gradient_descent_keeps_the_rate_of_the_pl_constant(rho):
    bowl = RuggedBowl(1.0, rho, 1.0)
    step = 1 / (1 + rho)
    x = np.linspace(-25, 25, 2001)
    after = bowl.loss(x - step * bowl.grad(x)) + rho
    bound = (1 - step * bowl.pl_constant()) * (bowl.loss(x) + rho)
    assert (after <= bound + 1e-12).all()


def test_the_regime_is_that_of_the_phase_diagram():
    bowl = RuggedBowl(2.0, 0.8, 5.0)  # ρ = 10
    frozen = bowl.regime(0.08, 50.0)
    assert (frozen.ruggedness, frozen.reduced_temperature) == pytest.approx((10.0, 1.0))
    assert frozen.reduced_time == 100.0
    assert frozen.region == "frozen"  # I0(10)² = 7.9e6 > 100
    assert bowl.regime(0.08, 1e7).region != "frozen"
    assert RuggedBowl(1.0, 0.02, 5.0).regime(0.1, 10.0).region == "convex"
    # 22π is rounded: its remainder modulo 2π is -7e-15
    turned = RuggedBowl(2.0, 0.8, 5.0, 22 * math.pi).regime(0.08, 50.0)
    assert turned == frozen


DERIVATIONS = [
    (noise_convolved_loss, 11),
    (gibbs_identities, 10),
    (well_energies, 4),
    (rugged_pl_constant, 5),
]


@pytest.mark.parametrize(("derive", "count"), DERIVATIONS)
def test_the_derivations_check_and_can_fail(derive, count):
    derivation = derive()
    assert derivation.check() == count
    for number, step in enumerate(derivation.steps):
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=(*derivation.steps[:number], spoiled)).check()


def test_the_methods_compute_what_is_derived():
    results = noise_convolved_loss().results
    bowl, x, s = RuggedBowl(1.3, 0.4, 3.0, 0.6), 0.7, 0.2
    at = dict(zip(["a", "epsilon", "k", "s", "x", "phi"], (1.3, 0.4, 3.0, s, x, 0.6), strict=True))

    def value(name):
        expression = results[name]
        return float(expression.subs({v: at[v.name] for v in expression.free_symbols}))

    assert bowl.smoothed(x, s) == pytest.approx(value("smoothed"), rel=1e-14)
    assert bowl.smoothed_grad(x, s) == pytest.approx(value("gradient"), rel=1e-14)
    assert bowl.effective_ruggedness(s) == pytest.approx(value("effective_ruggedness"), rel=1e-14)
    assert bowl.convexity_scale() == pytest.approx(value("convexity_scale"), rel=1e-14)


def test_mean_curvature_is_mean_squared_gradient_over_temperature():
    bowl, T = RuggedBowl(1.0, 0.3, 5.0, 0.8), 0.15
    x = np.linspace(-5, 5, 20_001)
    weight = np.exp(-bowl.loss(x) / T)
    squared = simpson(bowl.grad(x) ** 2 * weight, x=x) / simpson(weight, x=x)
    assert bowl.gibbs(T).mean_curvature == pytest.approx(squared / T, rel=1e-11)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RuggedBowl(curvature=0.0), "curvature = 0"),
        (lambda: RuggedBowl(curvature=-1.0), "curvature = -1"),
        (lambda: RuggedBowl(roughness=-0.1), "shift the phase by pi"),
        (lambda: RuggedBowl(wavenumber=0.0), "wavenumber = 0"),
        (lambda: RuggedBowl(wavenumber=1e200), "nearer to 1"),
        (lambda: RuggedBowl(phase=float("nan")), "phase = nan"),
        (lambda: RuggedBowl().loss("here"), "x = 'here'"),
        (lambda: RuggedBowl().grad(np.array([0.0, np.nan])), "x = array"),
        (lambda: RuggedBowl().loss(1e200), "beyond the largest float"),
        (lambda: RuggedBowl().smoothed(0.0, -0.1), "s = -0.1"),
        (lambda: RuggedBowl().effective_ruggedness(-0.1), "s = -0.1"),
        (lambda: RuggedBowl().effective_ruggedness("wide"), "s = 'wide'"),
        (lambda: RuggedBowl().coarse_grained(0.0, "hot"), "temperature = 'hot'"),
        (lambda: RuggedBowl().minima(-0.1), "s = -0.1"),
        (lambda: RuggedBowl(1e-9, 1.0, 1.0).minima(), "minima, more than"),
        (lambda: RuggedBowl().pl_constant(-1.0), "s = -1"),
        (lambda: RuggedBowl().coarse_grained(0.0, 0.0), "temperature = 0"),
        (lambda: RuggedBowl().effective_diffusion(0.0), "temperature = 0"),
        (lambda: RuggedBowl().relaxation_rate(-1.0), "temperature = -1"),
        (lambda: RuggedBowl(roughness=0.1).escape_time(0.0, 0.1), "single minimum"),
        (lambda: RuggedBowl(roughness=0.3).escape_time(math.inf, 0.1), "x0 = inf"),
        (lambda: RuggedBowl(roughness=0.3).escape_time(0.0, 1e-4), "beyond the largest float"),
        (lambda: RuggedBowl(1.0, 5.0, 1.0, np.pi).escape_time(0.0, 1.0), "on a barrier"),
        (lambda: RuggedBowl(phase=0.5).regime(0.1, 1.0), "take phase = 0"),
        (lambda: RuggedBowl().regime(0.1, 0.0), "training_time = 0"),
        (lambda: RuggedBowl().regime(0.0, 1.0), "temperature = 0"),
    ],
)
def test_what_makes_no_bowl_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
