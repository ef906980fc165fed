"""Rates, steps and radii: golden numbers, enumeration, flows, and their derivations."""

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from theory import descent_rates as rates
from theory.derivation import DerivationError

A = np.array([[1.0, 2, 0, 1, 0], [0, 1, 1, 0, 2], [2, 0, 1, 1, 1]])
MU, TOP, R0 = 3.2279981273412344161, math.sqrt(11.772001872658765584), math.sqrt(14)


def test_radii_of_the_golden_system():
    # 3 x 5 integer system, target (1, 2, 3), in 30 digits (mpmath)
    assert rates.theorem_radius(TOP, R0, MU) == pytest.approx(7.9540057509712545028, rel=1e-14)
    assert rates.path_radius_descent(R0, MU) == pytest.approx(4.1651186400897926906, rel=1e-14)
    assert rates.path_radius_flow(R0, MU) == pytest.approx(2.0825593200448963453, rel=1e-14)
    assert rates.least_distance(TOP, R0) == pytest.approx(1.090533111816336921, rel=1e-14)
    kappa = rates.condition_number_bound(TOP, 0.0, R0, MU)
    assert kappa == pytest.approx(3.6468428444705653621, rel=1e-14)
    factor = rates.descent_rate(rates.gradient_descent_step(TOP, 0.0, R0), MU)
    assert factor == pytest.approx(0.72579021289161799366, rel=1e-14)
    # the true asymptotic factor is its square
    assert factor**2 == pytest.approx(0.52677143312926017008, rel=1e-14)


def test_distance_of_the_golden_system_is_between_the_radii():
    distance = np.linalg.norm(np.linalg.pinv(A) @ [1.0, 2, 3])
    assert distance == pytest.approx(1.1948353773417359026, rel=1e-13)
    ordered = [
        rates.least_distance(TOP, R0),
        distance,
        rates.path_radius_flow(R0, MU),
        rates.path_radius_descent(R0, MU),
        rates.theorem_radius(TOP, R0, MU),
    ]
    assert ordered == sorted(ordered)


def test_limits_of_the_product_model():
    # |w0|² = 2.5; 30 digits (mpmath)
    N = math.sqrt(2.5)
    limit = rates.product_model_limit(N, "theorem")
    assert limit == pytest.approx(0.14175068195308916454, rel=1e-13)
    assert rates.product_model_limit(N, "descent") == pytest.approx(0.3125, rel=1e-14)
    assert rates.product_model_limit(N, "flow") == pytest.approx(0.625, rel=1e-14)
    # second route: the largest |r0| for which some ball holds, by search over radii
    R = np.linspace(1e-4, N - 1e-4, 200001)
    by_theorem = (R * (N - R) ** 2 / (2 * (N + R))).max()
    assert limit == pytest.approx(by_theorem, rel=1e-8)
    assert R[(R * (N - R) ** 2 / (N + R)).argmax()] / N == pytest.approx(0.280776406404, rel=1e-4)


def test_flow_of_the_product_model():
    # start (1.5, 0.5), target 1.2: end point and path length in 20 digits (mpmath)
    def velocity(_, state):
        v, w, _ = state
        r = v * w - 1.2
        return [-r * w, -r * v, abs(r) * math.hypot(v, w)]

    end = solve_ivp(velocity, (0, 30), [1.5, 0.5, 0.0], "DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    formula = rates.product_model_certificate().results["end"]
    v = float(formula.subs({sp.Symbol("c", real=True): 2, sp.Symbol("y", positive=True): 1.2}))
    assert v == pytest.approx(1.6006404765534735405, rel=1e-14)
    assert end[0] == pytest.approx(v, rel=1e-10)
    assert end[1] == pytest.approx(0.74969989674624530978, rel=1e-10)
    assert end[2] == pytest.approx(0.26937006105989240892, rel=1e-10)
    # shorter than certified with the least constant on the path: |w| only grows
    assert rates.least_distance(2.1, 0.45) < end[2] < rates.path_radius_flow(0.45, 2.5)


def test_flow_into_the_singular_point():
    # start (1, 1), target -1: both weights are 1/sqrt(2 e^(2t) - 1), the loss falls to 1/2 only
    def velocity(_, state):
        v, w = state
        return [-(v * w + 1) * w, -(v * w + 1) * v]

    at_one = solve_ivp(velocity, (0, 1), [1.0, 1.0], "DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    assert at_one == pytest.approx([0.26940468350745839447] * 2, rel=1e-10)
    assert (at_one[0] ** 2 + 1) ** 2 / 2 == pytest.approx(0.57521273066049892854, rel=1e-10)


def enumerated(step, w, batch):
    """Return the mean loss over all batches after a step, in fractions."""
    rows, targets = [[1, 1, 0], [0, 1, 1]], [1, -1]
    total = Fraction(0)
    for chosen in itertools.product(range(2), repeat=batch):
        after = list(w)
        for i in chosen:
            error = sum(a * b for a, b in zip(rows[i], w, strict=True)) - targets[i]
            after = [x - step * error * a for x, a in zip(after, rows[i], strict=True)]
        errors = [
            sum(a * b for a, b in zip(rows[i], after, strict=True)) - targets[i] for i in (0, 1)
        ]
        total += sum(e * e for e in errors) / 2
    return total / 2**batch


def test_stochastic_steps_by_enumeration():
    # K = [[2, 1], [1, 2]]: mu = 1; |a_i|² = 2: beta = 2
    published = rates.sgd_step_size(1.0, 2.0, 2, 2, proof="published")
    sharp = rates.sgd_step_size(1.0, 2.0, 2, 2, proof="sharp")
    assert published == pytest.approx(1 / 18, rel=1e-15)
    assert sharp == pytest.approx(1 / 10, rel=1e-15)
    start = [Fraction(0)] * 3
    assert enumerated(Fraction(1, 18), start, 2) == Fraction(587, 648)
    assert enumerated(Fraction(1, 10), start, 2) == Fraction(171, 200)
    assert rates.sgd_factor(published, 1.0, 2, 2) == pytest.approx(17 / 18, rel=1e-15)
    assert rates.sgd_factor(sharp, 1.0, 2, 2) == pytest.approx(9 / 10, rel=1e-15)


@given(
    w=st.lists(st.fractions(-3, 3, max_denominator=8), min_size=3, max_size=3),
    batch=st.integers(1, 3),
    proof=st.sampled_from(["published", "sharp"]),
)
def test_the_stochastic_rate_holds_from_anywhere(w, batch, proof):
    step = Fraction(rates.sgd_step_size(1.0, 2.0, 2, batch, proof=proof)).limit_denominator(1000)
    before = (Fraction(w[0] + w[1] - 1) ** 2 + Fraction(w[1] + w[2] + 1) ** 2) / 2
    assert enumerated(step, w, batch) <= (1 - step * batch / 2) * before


def test_the_sharp_step_is_close_to_all_there_is():
    # one weight, n equal samples of slope 1: mu = n, beta = 1; batches of 1 are exact descent with
    # factor (1 - eta)²; the sharp step is 1 there and reaches the solution, the published one 1/n
    assert rates.sgd_step_size(5.0, 1.0, 5, 1, proof="sharp") == 1.0
    assert rates.sgd_step_size(5.0, 1.0, 5, 1, proof="published") == pytest.approx(0.2)


def test_published_radii():
    assert rates.general_theorem_radius(2.0, 9.0, 3.0) == pytest.approx(4.0)
    assert rates.sgd_theorem_radius(2.0, 9.0, 3.0, 7, 0.5) == pytest.approx(2 * 7 * 6 / 1.5)


B3, Y3 = np.array([[1.0, 0], [1, 1], [0, 2]]), np.array([1.0, 0, 1])


def test_constant_above_a_level():
    # 3 x 2 inconsistent system, least loss 1/2, sigma_min² = 1.69722... in 20 digits (mpmath)
    found = rates.pl_epsilon_constant(B3, Y3, 1.0)
    assert found == pytest.approx(0.84861218113400267672, rel=1e-14)
    assert rates.pl_epsilon_constant(B3, Y3, 1e12) == pytest.approx(1.6972243622680053534)
    assert rates.pl_epsilon_constant(B3, Y3, 0.5) == pytest.approx(0.0, abs=1e-15)
    assert rates.pl_epsilon_constant(B3, Y3, 0.3) == 0.0
    # reached in the least direction, at the level
    u, s, v = np.linalg.svd(B3, full_matrices=False)
    w = np.linalg.lstsq(B3, Y3)[0] + math.sqrt(2 * 0.5) / s[1] * v[1]
    r = B3 @ w - Y3
    assert r @ r / 2 == pytest.approx(1.0, rel=1e-13)
    assert np.sum((B3.T @ r) ** 2) / (r @ r) == pytest.approx(found, rel=1e-13)


@given(seed=st.integers(0, 10**6), level=st.floats(0.6, 20.0))
def test_no_point_above_the_level_breaks_the_constant(seed, level):
    w = np.random.default_rng(seed).normal(scale=3, size=2)
    r = B3 @ w - Y3
    if r @ r / 2 >= level:
        ratio = np.sum((B3.T @ r) ** 2) / (r @ r)
        assert ratio >= rates.pl_epsilon_constant(B3, Y3, level) * (1 - 1e-12)


def test_a_rank_deficient_system_has_a_constant_too():
    # the direction that does nothing does not count: sigma = 5, a quarter of L out of reach
    matrix = np.array([[3.0, 4.0], [0.0, 0.0]])
    assert rates.pl_epsilon_constant(matrix, [0.0, 1.0], 2.0) == pytest.approx(25 * 0.75)


def test_steps_that_suffice():
    # descent on the inconsistent system above its level takes no more steps than said
    eta = 1 / np.linalg.eigvalsh(B3.T @ B3)[-1]
    w, level = np.array([6.0, -5.0]), 0.7
    r = B3 @ w - Y3
    most = rates.steps_to_reach(r @ r / 2, level, eta, rates.pl_epsilon_constant(B3, Y3, level))
    steps = 0
    while r @ r / 2 >= level:
        w = w - eta * (B3.T @ r)
        r, steps = B3 @ w - Y3, steps + 1
    assert 0 < steps <= most
    assert rates.steps_to_reach(1.0, 2.0, 0.1, 1.0) == 0
    assert rates.steps_to_reach(math.e**3, 1.0, 0.5, 0.5) == 12


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("pl_linear_rate", 6),
        ("path_length_radius", 7),
        ("product_model_certificate", 11),
        ("sgd_step", 8),
        ("pl_epsilon", 4),
    ],
)
def test_derivations_check_and_can_fail(name, count):
    derivation = getattr(rates, name)()
    assert derivation.page == f"derivations/{name}"
    assert derivation.check() == count
    for number, step in enumerate(derivation.steps):
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        steps = (*derivation.steps[:number], spoiled)
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=steps).check()


def value(expression, **numbers):
    """Insert numbers by the names of symbols."""
    return float(expression.subs({s: numbers[s.name] for s in expression.free_symbols}))


def test_derived_results_are_what_is_computed():
    lengths = rates.path_length_radius().results
    at = {"r": 0.7, "mu": 0.3, "l": 1.9}
    assert value(lengths["flow"], **at) == pytest.approx(rates.path_radius_flow(0.7, 0.3))
    assert value(lengths["descent"], **at) == pytest.approx(rates.path_radius_descent(0.7, 0.3))
    assert value(lengths["published"], **at) == pytest.approx(rates.theorem_radius(1.9, 0.7, 0.3))
    at = {"mu": 0.4, "beta": 1.7, "n": 5, "s": 3}
    for proof in ("published", "sharp"):
        wanted = value(rates.sgd_step().results[proof], **at)
        assert rates.sgd_step_size(0.4, 1.7, 5, 3, proof=proof) == pytest.approx(wanted, rel=1e-14)
    for kind in ("theorem", "descent", "flow"):
        wanted = value(rates.product_model_certificate().results[kind], N=1.3)
        assert rates.product_model_limit(1.3, kind) == pytest.approx(wanted, rel=1e-14)
    constant = rates.pl_epsilon().results["constant"]
    at = {"sigma": math.sqrt(1.6972243622680053534), "L_*": 0.5, "epsilon": 1.0}
    assert value(constant, **at) == pytest.approx(rates.pl_epsilon_constant(B3, Y3, 1.0))
    factor = rates.pl_linear_rate().results["factor"]
    assert value(factor, eta=0.3, mu=2.0) == pytest.approx(rates.descent_rate(0.3, 2.0))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rates.gradient_descent_step(-1, 0, 0), "lipschitz = -1"),
        (lambda: rates.gradient_descent_step(1, -1, 0), "smoothness = -1"),
        (lambda: rates.gradient_descent_step(1, 1, -2), "residual = -2"),
        (lambda: rates.gradient_descent_step(0, 1, 0), "must be > 0"),
        (lambda: rates.descent_rate(0.0, 1), "step_size = 0"),
        (lambda: rates.descent_rate(2.0, 1.0), "must be at most 1 / mu = 1"),
        (lambda: rates.theorem_radius(1, 1, 0), "mu = 0"),
        (lambda: rates.theorem_radius(0, 1, 1), "lipschitz = 0"),
        (lambda: rates.general_theorem_radius(0, 1, 1), "curvature = 0"),
        (lambda: rates.general_theorem_radius(1, -1, 1), "loss = -1"),
        (lambda: rates.path_radius_flow(-1, 1), "residual = -1"),
        (lambda: rates.path_radius_descent(1, math.nan), "mu = nan"),
        (lambda: rates.least_distance(0, 1), "lipschitz = 0"),
        (lambda: rates.condition_number_bound(1, 1, 1, 0), "mu = 0"),
        (lambda: rates.sgd_step_size(1, 1, 2, 1, proof="best"), "proof = 'best'"),
        (lambda: rates.sgd_step_size(3, 1, 2, 1, proof="sharp"), "mu = 3: must be at most"),
        (lambda: rates.sgd_step_size(1, 1, 0, 1, proof="sharp"), "samples = 0"),
        (lambda: rates.sgd_step_size(1, 1, 2, 0, proof="sharp"), "batch = 0"),
        (lambda: rates.sgd_factor(3, 1, 2, 1), "step_size = 3: must be at most"),
        (lambda: rates.sgd_theorem_radius(1, 1, 1, 2, 1.0), "failure = 1"),
        (lambda: rates.steps_to_reach(0, 1, 1, 1), "loss = 0"),
        (lambda: rates.steps_to_reach(1, 0, 1, 1), "wanted = 0"),
        (lambda: rates.product_model_limit(1, "ball"), "radius_of = 'ball'"),
        (lambda: rates.pl_epsilon_constant(B3, [1.0], 1.0), "targets has 1 entries"),
        (lambda: rates.pl_epsilon_constant([[0.0]], [1.0], 1.0), "matrix is 0"),
        (lambda: rates.pl_epsilon_constant(B3, Y3, 0.0), "level = 0"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_extreme_numbers_that_have_an_answer():
    assert rates.steps_to_reach(1e300, 1e-300, 0.1, 1.0) == math.ceil(6000 * math.log(10))
    assert rates.sgd_step_size(1e-300, 1e-300, 2, 2, proof="sharp") == pytest.approx(1e300 / 3)
    assert rates.sgd_step_size(1e200, 1e200, 2, 2, proof="sharp") == pytest.approx(1e-200 / 3)
    assert rates.general_theorem_radius(1e300, 1e300, 1.0) == pytest.approx(math.sqrt(8) * 1e300)
    assert rates.pl_epsilon_constant([[1.0, 0.0], [0.0, 0.0]], [1.0, 1e200], 1.0) == 0.0
    assert rates.pl_epsilon_constant([[1e150], [0.0]], [1e150, 1.0], 1.0) == pytest.approx(5e299)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    "call",
    [
        lambda: rates.gradient_descent_step(1e200, 0.0, 0.0),
        lambda: rates.gradient_descent_step(1.0, 1e200, 1e200),
        lambda: rates.gradient_descent_step(1e-200, 0.0, 0.0),
        lambda: rates.condition_number_bound(1.0, 0.0, 0.0, 1e-320),
        lambda: rates.theorem_radius(1e300, 1e300, 1.0),
        lambda: rates.general_theorem_radius(1e300, 1e300, 1e-300),
        lambda: rates.path_radius_flow(1e300, 1e-320),
        lambda: rates.path_radius_descent(1.7e308, 1.0),
        lambda: rates.least_distance(1e-320, 1.0),
        lambda: rates.product_model_limit(1e200, "flow"),
        lambda: rates.steps_to_reach(1.0, 0.5, 1e-200, 1e-200),
        lambda: rates.sgd_theorem_radius(1e300, 1e300, 1.0, 2, 1e-9),
        lambda: rates.pl_epsilon_constant([[1e200]], [1.0], 1.0),
    ],
)
def test_results_out_of_range_are_refused(call):
    with pytest.raises(ValueError, match="overflows: must be finite; rescale"):
        call()
