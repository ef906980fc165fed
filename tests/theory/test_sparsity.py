"""The ratio norm: golden values, finite differences, and the kinds of its ternary points."""

import dataclasses
import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from theory.derivation import DerivationError
from theory.sparsity import (
    critical_threshold,
    hoyer_sparsity,
    inertia,
    is_critical,
    norm_after_step,
    ratio_norm,
    ratio_norm_critical_points,
    ratio_norm_gradient,
    ternary_entropy,
)

W = np.array([3.0, -1.0, 2.0, 0.5, 0.0])
TERNARY = 0.7 * np.array([1.0, -1.0, 0.0, 1.0, 0.0])


def plain(w):
    """Return the ratio of numpy's norms, with no scaling."""
    return np.linalg.norm(w, 1) / np.linalg.norm(w)


def vectors(size=6):
    """Return a strategy of weights some of which are 0, at several scales."""
    entry = st.one_of(st.just(0.0), st.floats(0.01, 10.0), st.floats(-10.0, -0.01))
    return st.lists(entry, min_size=1, max_size=size).map(np.array).filter(np.any)


def test_values_in_forty_digits():
    # by mpmath with 40 digits
    assert ratio_norm(W) == pytest.approx(1.7218920641845569, rel=2e-16)
    gradient = [-0.097597121046897965, -0.14407194059303985, 0.023237409773070944]
    gradient += [0.20448920600302431, 0.0]
    assert ratio_norm_gradient(W) == pytest.approx(np.array(gradient), rel=1e-15)
    assert critical_threshold(W) == pytest.approx(2.1923076923076923, rel=4e-16)
    assert hoyer_sparsity(W) == pytest.approx(0.41597705197028311, rel=1e-15)
    for side in (-1.0, 0.25, 1.0):
        edge = ratio_norm_gradient(W, at_zero=side)[-1]
        assert edge == pytest.approx(side * 0.26490647141300876, rel=1e-15)


@given(vectors(), st.floats(1e-140, 1e140))
def test_scale_is_nothing_and_bounds_hold(w, scale):
    ratio = ratio_norm(w)
    assert ratio == pytest.approx(plain(w), rel=1e-14)
    assert ratio_norm(-scale * w) == pytest.approx(ratio, rel=1e-14)
    assert 1 - 1e-15 <= ratio <= math.sqrt(np.count_nonzero(w)) * (1 + 1e-15)
    assert critical_threshold(scale * w) == pytest.approx(scale * (w @ w) / np.abs(w).sum())


@given(vectors())
def test_gradient_by_central_differences(w):
    gradient = ratio_norm_gradient(w)
    step = 1e-6
    for i in np.flatnonzero(w):
        shift = step * abs(w[i]) * np.eye(len(w))[i]
        slope = (plain(w + shift) - plain(w - shift)) / (2 * step * abs(w[i]))
        # the difference of numbers of order 1, rounded, over the step
        assert gradient[i] == pytest.approx(slope, abs=1e-9 / abs(w[i]))
    assert gradient @ w == pytest.approx(0.0, abs=1e-14)
    # one above the threshold grows under descent, one below it shrinks
    size, c = np.abs(w), critical_threshold(w)
    clear = (np.abs(size / c - 1) > 1e-9) & (size > 0)
    assert (np.sign(-gradient * w)[clear] == np.sign(size - c)[clear]).all()


@given(vectors(), st.floats(0.0, 3.0))
def test_a_step_makes_the_norm_grow(w, rate):
    stepped = np.linalg.norm(w - rate * ratio_norm_gradient(w))
    assert norm_after_step(w, rate) == pytest.approx(stepped, rel=1e-13)
    assert norm_after_step(w, rate) >= np.linalg.norm(w) * (1 - 1e-15)


def test_a_ternary_point_has_the_exact_inertia():
    point = inertia(TERNARY)
    assert ratio_norm(TERNARY) == pytest.approx(math.sqrt(3), rel=1e-15)
    assert (point.nonzeros, point.zeros, point.flat, point.negative) == (3, 2, 1, 2)
    assert point.eigenvalue == pytest.approx(-100 * math.sqrt(3) / 147, rel=1e-15)
    assert point.kink_slope == pytest.approx(0.82478609884232252, rel=1e-15)
    assert point.kind == "saddle"


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_kinds_against_eigenvalues_and_neighbours(count, size):
    if count > size:
        with pytest.raises(ValueError, match="w is 0"):
            inertia(np.zeros(size))
        return
    w = np.zeros(size)
    w[:count] = 1.3 * (-1.0) ** np.arange(count)
    point = inertia(w)
    h = 1e-4 * np.eye(size)[:count]
    hessian = np.array([
        [plain(w + a + b) - plain(w + a - b) - plain(w - a + b) + plain(w - a - b) for b in h]
        for a in h
    ]) / 4e-8  # fmt: skip
    values = np.linalg.eigvalsh(hessian)
    wanted = [point.eigenvalue] * point.negative + [0.0] * point.flat
    assert values == pytest.approx(np.array(wanted), abs=1e-6)
    rng = np.random.default_rng(count)
    around = rng.standard_normal((4000, size)) * 10.0 ** rng.uniform(-4, 0, (4000, 1))
    # directions along single axes too, for the kinks
    around = np.concatenate([around, 1e-3 * np.eye(size), -1e-3 * np.eye(size)])
    change = np.array([plain(w + d) for d in 0.1 * around]) - plain(w)
    seen = (change < -1e-12).any(), (change > 1e-12).any()
    expected = {"local minimum": (False, size > 1), "local maximum": (True, False)}
    assert seen == expected.get(point.kind, (True, True))
    for i in np.flatnonzero(w == 0):
        for side in (-1e-7, 1e-7):
            rise = (plain(w + side * np.eye(size)[i]) - plain(w)) / 1e-7
            assert point.kink_slope == pytest.approx(rise, rel=1e-5)


@given(vectors())
def test_only_ternary_points_are_critical(w):
    signs = np.sign(w)
    assert is_critical(2.7 * signs)
    assert inertia(2.7 * signs).nonzeros == round(ratio_norm(signs) ** 2)
    size = np.abs(w[w != 0])
    if size.max() > size.min() * (1 + 1e-9):
        assert not is_critical(w)
        assert np.abs(ratio_norm_gradient(w)).max() > 0
        with pytest.raises(ValueError, match="must be equal, a ternary point"):
            inertia(w)


def test_the_tolerance_of_a_critical_point():
    w = np.array([1.0, 1.001])
    assert not is_critical(w)
    assert is_critical(w, tolerance=1e-3)
    assert inertia(w, tolerance=1e-3).kind == "local maximum"


def test_an_entry_is_not_0_however_small_it_is_beside_others():
    w = np.array([1e150, -1e-200, 0.0])
    assert ratio_norm_gradient(w) == pytest.approx(np.array([0.0, -1e-150, 0.0]), rel=1e-15, abs=0)
    assert not is_critical(w)
    assert not is_critical(w[:2])


def test_entropy_of_ternary_weights():
    # by mpmath: -(0.1 log2 0.1 + 0.9 log2 0.9) + 0.1
    assert ternary_entropy(0.1) == pytest.approx(0.56899559358928122, rel=1e-15)
    assert 32 / ternary_entropy(0.1) == pytest.approx(56.239451342919535, rel=1e-15)
    assert ternary_entropy(0.0) == 0.0
    assert ternary_entropy(1.0) == 1.0
    assert ternary_entropy(2 / 3) == pytest.approx(math.log2(3), rel=1e-15)


@pytest.mark.parametrize("share", [0.03, 0.3, 0.9])
def test_entropy_by_counting_ternary_vectors(share):
    n = 20_000
    k = round(share * n)
    # log2 of the number of vectors with k nonzeros; the rest is the entropy of k itself
    bits = (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(2) + k
    assert ternary_entropy(k / n) == pytest.approx(bits / n, abs=math.log2(n) / n)


def test_the_derivation_checks_and_can_fail():
    derivation = ratio_norm_critical_points()
    assert derivation.check() == 21
    for step in derivation.steps:
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=(spoiled,)).check()


def test_inertia_follows_the_derivation():
    results = ratio_norm_critical_points().results
    c, k = sp.symbols("c k", positive=True)
    at = {c: sp.Rational(7, 10), k: 3}
    point = inertia(TERNARY)
    assert point.eigenvalue == pytest.approx(float(results["eigenvalue"].subs(at)), rel=1e-15)
    assert point.kink_slope == pytest.approx(float(results["kink_slope"].subs(at)), rel=1e-15)
    assert ratio_norm(TERNARY) == pytest.approx(float(results["value"].subs(at)), rel=1e-15)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    "function", [ratio_norm, hoyer_sparsity, critical_threshold, ratio_norm_gradient, is_critical,
                 inertia, lambda w: norm_after_step(w, 0.1)],
)  # fmt: skip
@pytest.mark.parametrize(
    ("w", "message"),
    [
        (np.zeros(3), "w is 0 everywhere"),
        (np.array([]), "w has shape"),
        (np.ones((2, 2)), "w has shape"),
        (np.array([1.0, math.nan]), r"w\[1\] = nan"),
        (np.array([1.0, math.inf]), r"w\[1\] = inf"),
        (np.array([1e-200, 0.0]), "1e-200"),
        (np.array([1e200, 1.0]), "1e\\+200"),
    ],
)
def test_bad_weights_are_refused(function, w, message):
    with pytest.raises(ValueError, match=message):
        function(w)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hoyer_sparsity(np.array([2.0])), "w has one entry"),
        (lambda: ratio_norm_gradient(W, at_zero=1.5), "at_zero = 1.5"),
        (lambda: is_critical(W, tolerance=-1.0), "tolerance = -1"),
        (lambda: is_critical(W, tolerance=1.0), "tolerance = 1"),
        (lambda: norm_after_step(W, -0.1), "rate = -0.1"),
        (lambda: norm_after_step(1e-150 * W, 1e300), "beyond the largest float"),
        (lambda: inertia([1.0, 2.0, 0.0]), "from 1 to 2: must be equal"),
        (lambda: ternary_entropy(1.1), "share = 1.1"),
        (lambda: ternary_entropy(math.nan), "share = nan"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
