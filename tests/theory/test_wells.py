"""Wells of the rugged bowl: thresholds, barriers, connectivity and quenches."""

import dataclasses
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from theory._stationary import fold_excess
from theory._well_derivations import stationary_thresholds, washboard_barrier
from theory.derivation import DerivationError
from theory.rugged import RuggedBowl
from theory.wells import (
    neighbour_barriers,
    number_of_wells,
    one_dimensional_connectivity,
    one_point_convexity,
    quench_statistics,
    tilted_barrier,
    tilted_curvature,
    well_thresholds,
)

# mpmath roots of tan u = u, 20 digits
THRESHOLDS = [4.6033388487517003526, 10.949879869826265088, 17.249765567558631746]


def test_thresholds_to_twenty_digits():
    assert well_thresholds(3) == pytest.approx(THRESHOLDS, rel=1e-15)
    with mp.workdps(30):
        u = mp.findroot(lambda u: mp.sin(u) - u * mp.cos(u), 1999 * mp.pi + mp.pi / 2)
        assert mp.sin(u) < 0
        assert well_thresholds(1000)[-1] == pytest.approx(float(mp.sqrt(1 + u * u)), rel=1e-15)


@pytest.mark.parametrize("j", [1, 2, 3, 500])
def test_wells_are_added_at_the_thresholds(j):
    threshold = float(well_thresholds(j)[-1])
    assert number_of_wells(threshold * (1 - 1e-12)) == 2 * j - 1
    assert number_of_wells(threshold * (1 + 1e-12)) == 2 * j + 1


@given(r=st.floats(0.0, 200.0), phase=st.floats(-20.0, 20.0))
def test_the_number_of_wells_is_that_of_the_minima(r, phase):
    found = number_of_wells(r, phase)
    assert found == RuggedBowl(1.0, r, 1.0, phase).minima().size
    assert abs(found - r / math.pi) <= 2


@pytest.mark.parametrize("r", [1 + 1e-12, 1.001, 1.1, 1.118, 1.119, 3.0])
def test_the_fold_excess_does_not_cancel(r):
    with mp.workdps(40):
        q = mp.sqrt(mp.mpf(r) ** 2 - 1)
        assert fold_excess(r) == pytest.approx(float(q - mp.atan(q)), rel=1e-14)


def test_one_point_convexity_is_the_least_of_its_ratio():
    ratio = minimize_scalar(lambda u: 1 + 2 * math.sin(u) / u, bounds=(3, 6), method="bounded")
    assert one_point_convexity(2.0) == pytest.approx(ratio.fun, rel=1e-10)
    # -min sin u / u, mpmath
    assert 1 - one_point_convexity(1.0) == pytest.approx(0.21723362821122165741, rel=1e-14)
    assert one_point_convexity(5.0) < 0


def test_the_tilted_barrier():
    assert tilted_barrier(0.5) == pytest.approx(0.68485325637227954737, rel=1e-15)  # mpmath
    assert tilted_curvature(0.5) == pytest.approx(math.sqrt(0.75), rel=1e-15)
    assert (tilted_barrier(0.0), tilted_curvature(0.0)) == pytest.approx((2.0, 1.0), rel=1e-15)
    assert (tilted_barrier(1.0), tilted_curvature(1.0)) == (0.0, 0.0)


@pytest.mark.parametrize("tilt", [0.1, 0.9, 1 - 1e-6, 1 - 1e-12])
def test_the_tilted_barrier_does_not_cancel(tilt):
    with mp.workdps(40):
        g = mp.mpf(tilt)
        wanted = 2 * (mp.sqrt(1 - g * g) - g * mp.acos(g))
        assert tilted_barrier(tilt) == pytest.approx(float(wanted), rel=1e-13)


def test_barriers_and_connectivity_of_three_wells():
    # ρ = 7.5, units a/k²; mpmath
    bowl = RuggedBowl(2.0, 2.0 * 7.5 / 9.0, 3.0)
    unit = 2.0 / 9.0
    out, back = 3.4061530227251962612 * unit, 20.712656805559526053 * unit
    assert neighbour_barriers(bowl) == pytest.approx(
        np.array([[out, back], [back, out]]), rel=1e-14
    )
    found = one_dimensional_connectivity(bowl, 2, 1)
    assert found == pytest.approx(-12.059404914142361157 * unit, rel=1e-14)
    assert found == one_dimensional_connectivity(bowl, 1, 2)
    assert one_dimensional_connectivity(bowl, 1, 1) == 0.0
    assert neighbour_barriers(RuggedBowl(1.0, 3.0, 1.0)).shape == (0, 2)


def test_far_out_barriers_are_those_of_the_tilted_cosine():
    rho = 4000.0
    bowl = RuggedBowl(1.0, rho, 1.0)
    minima = bowl.minima()
    own = int(np.searchsorted(minima, 0.5 * rho))
    inward = neighbour_barriers(bowl)[own - 1, 1]
    # over a barrier, less than a half period wide, the slope of the bowl is not quite constant
    missed = math.pi**2 / 2 / rho
    assert inward / rho == pytest.approx(tilted_barrier(minima[own] / rho), abs=missed)


def connectivity_by_scan(bowl, start, end):
    """The largest deviation on a fine grid between two minima."""
    x = np.linspace(start, end, 100_001)
    loss = bowl.loss(x)
    deviation = (loss[0] + loss[-1]) / 2 - loss
    return deviation[np.argmax(np.abs(deviation))]


@pytest.mark.parametrize("phase", [0.0, 1.0, np.pi])
def test_connectivity_of_every_pair_by_scan(phase):
    bowl = RuggedBowl(1.0, 19.0, 1.0, phase)
    minima = bowl.minima()
    signs = set()
    for i in range(minima.size):
        for j in range(i + 1, minima.size):
            found = one_dimensional_connectivity(bowl, i, j)
            wanted = connectivity_by_scan(bowl, minima[i], minima[j])
            assert found == pytest.approx(wanted, abs=1e-6)  # grid of 1e-4, curvature 20
            signs.add(found > 0)
    # outermost wells see the deep centre on their way: the rule then gives a positive number
    assert signs == {True, False}


def test_a_quench_of_five_wells():
    # ρ = 12, t = 10; mpmath, weights agreed with the Bessel series in sum
    quench = quench_statistics(RuggedBowl(1.0, 12.0, 1.0), 10.0)
    outer, inner, centre = 0.000463580790994362, 0.125685049074602, 0.747702740268806
    assert quench.weights == pytest.approx([outer, inner, centre, inner, outer], rel=1e-12)
    assert quench.share_a_well == pytest.approx(0.590653280741552, rel=1e-12)
    assert quench.mean_connectivity == pytest.approx(-7.09943611859827, rel=1e-12)
    # that value counts 12(1 - cos u) where the bowl counts -12 cos u
    assert quench.mean_loss + 12 == pytest.approx(4.63980425991123, rel=1e-12)
    assert quench.mean_curvature == pytest.approx(12.6194881013264, rel=1e-12)


def test_a_quench_off_centre_in_other_units():
    bowl, T = RuggedBowl(2.0, 0.9, 4.0, phase=1.1), 0.8
    quench = quench_statistics(bowl, T)
    minima = bowl.minima()
    tops = [
        minimize_scalar(
            lambda x: -bowl.loss(x), bounds=pair, method="bounded", options={"xatol": 1e-10}
        ).x
        for pair in zip(minima[:-1], minima[1:], strict=True)
    ]
    edges = [minima[0] - 8, *tops, minima[-1] + 8]
    base = bowl.loss(minima).min()
    mass = np.array([
        quad(lambda x: math.exp(-(bowl.loss(x) - base) / T), low, high, limit=200)[0]
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ])
    p = mass / mass.sum()
    assert quench.weights == pytest.approx(p, abs=1e-8)
    assert quench.mean_loss == pytest.approx(p @ bowl.loss(minima), rel=1e-7)
    assert quench.mean_curvature == pytest.approx(p @ bowl.hess(minima), rel=1e-7)
    pairs = sum(
        p[i] * p[j] * one_dimensional_connectivity(bowl, i, j)
        for i in range(p.size)
        for j in range(p.size)
    )
    assert quench.mean_connectivity == pytest.approx(pairs, rel=1e-7)


def test_quenches_from_cold_and_hot():
    bowl = RuggedBowl(1.0, 5.0, 1.0, np.pi)
    frozen = quench_statistics(bowl, 1e-300)
    assert frozen.weights.tolist() == [0.5, 0.5]
    assert frozen.mean_connectivity == pytest.approx(
        one_dimensional_connectivity(bowl, 0, 1) / 2, rel=1e-14
    )
    # so hot that ripples weigh nothing: the basins hold the normal law between the tops
    bowl, T = RuggedBowl(1.0, 6.0, 1.0), 1e5
    centre = math.erf(3.6926 / math.sqrt(2 * T))  # top at 3.69 by hand, weight 1 + O(ρ/t)
    assert quench_statistics(bowl, T).weights[1] == pytest.approx(centre, rel=0.05)
    single = quench_statistics(RuggedBowl(), 0.1)
    assert (single.weights.tolist(), single.mean_connectivity) == ([1.0], 0.0)


@pytest.mark.parametrize(("derive", "count"), [(stationary_thresholds, 8), (washboard_barrier, 6)])
def test_the_derivations_check_and_can_fail(derive, count):
    derivation = derive()
    assert derivation.check() == count
    for number, step in enumerate(derivation.steps):
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=(*derivation.steps[:number], spoiled)).check()


def test_the_functions_compute_what_is_derived():
    barrier = washboard_barrier().results
    theta = next(iter(barrier["barrier"].free_symbols))
    at = {theta: math.acos(0.3)}
    assert tilted_barrier(0.3) == pytest.approx(float(barrier["barrier"].subs(at)), rel=1e-14)
    assert tilted_curvature(0.3) == pytest.approx(float(barrier["curvature"].subs(at)), rel=1e-14)
    fold = stationary_thresholds().results["half_width"]
    r = next(iter(fold.free_symbols))
    for count, threshold in enumerate(well_thresholds(3), start=1):
        # a piece whose centre lies 2πj away is just reached
        assert float(fold.subs(r, float(threshold))) == pytest.approx(
            2 * math.pi * count, rel=1e-14
        )


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: well_thresholds(0), "count = 0"),
        (lambda: number_of_wells(-1.0), "ruggedness = -1"),
        (lambda: number_of_wells(1.0, math.inf), "phase = inf"),
        (lambda: one_point_convexity(-1.0), "ruggedness = -1"),
        (lambda: tilted_barrier(1.1), "tilt = 1.1"),
        (lambda: tilted_curvature(-0.1), "tilt = -0.1"),
        (lambda: one_dimensional_connectivity(RuggedBowl(), 0, 1), "j = 1"),
        (lambda: one_dimensional_connectivity(RuggedBowl(), -1, 0), "i = -1"),
        (lambda: quench_statistics(RuggedBowl(), 0.0), "temperature = 0"),
        (lambda: quench_statistics(RuggedBowl(), 1e9), "must be in"),
        (lambda: quench_statistics(RuggedBowl(1.0, 5000.0, 1.0), 1.0), "at most 1000"),
    ],
)
def test_what_makes_no_well_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
