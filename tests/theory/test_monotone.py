"""Rises of sampled and polynomial losses: by hand, by all pairs, exactly, and not at all."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.interpolation import bumps, decide_monotone, largest_rise

LOSSES = np.array([2.3, 2.0, 2.1, 2.4, 2.05, 1.9, 1.95, 1.2, 1.25, 1.3])


def test_largest_rise_and_bumps():
    found = bumps(LOSSES, np.linspace(0, 1, 10))
    assert [b.height for b in found] == pytest.approx([0.4, 0.05, 0.1], abs=1e-12)
    assert [b.width for b in found] == pytest.approx([4 / 9, 2 / 9, 2 / 9], abs=1e-12)
    assert [b.start for b in found] == pytest.approx([1 / 9, 5 / 9, 7 / 9], abs=1e-12)
    assert largest_rise(LOSSES) == pytest.approx(0.4, abs=1e-12)
    # equal neighbours are no rise; the last step counts
    assert bumps(np.array([1.0, 1.0, 0.5]), np.arange(3.0)) == []
    assert bumps(np.array([1.0, 0.5, 0.75]), np.arange(3.0)) == [(1.0, 1.0, 0.25)]


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30))
def test_the_highest_bump_is_the_largest_rise(values):
    losses = np.array(values)
    heights = [b.height for b in bumps(losses, np.arange(float(len(values))))]
    pairs = [b - a for a, b in itertools.combinations(values, 2)]
    assert largest_rise(losses) == max(heights, default=0.0) == max(0.0, *pairs)


@pytest.mark.parametrize(
    ("roots", "status"),
    [
        # L' = -prod (alpha - r)^m: even multiplicities touch 0 and do not cross
        ([(Fraction(1, 2), 2)], "monotone"),
        ([(Fraction(1, 3), 2), (Fraction(2, 3), 4)], "monotone"),
        ([(Fraction(1, 3), 3)], "rises"),
        ([(Fraction(0), 1)], "monotone"),
        ([(Fraction(1), 1)], "rises"),
        ([(Fraction(1, 2), 1), (Fraction(1, 2) + Fraction(1, 10**40), 1)], "rises"),
        ([(Fraction(5, 4), 2)], "monotone"),
    ],
)
def test_exact_decisions_with_repeated_roots(roots, status):
    slope = [Fraction(-1)]
    for root, multiplicity in roots:
        for _ in range(multiplicity):
            slope = [
                (slope[k - 1] if k else 0) - (root * slope[k] if k < len(slope) else 0)
                for k in range(len(slope) + 1)
            ]
    loss = [Fraction(1), *(c / (k + 1) for k, c in enumerate(slope))]
    assert decide_monotone(loss).status == status


@pytest.mark.parametrize(
    ("coefficients", "status", "rise"),
    [
        ([7], "monotone", 0.0),
        ([7, 0, 0], "monotone", 0.0),
        ([7, -1], "monotone", 0.0),
        ([7, 2], "rises", 2.0),
        ([0, 0, Fraction(1, 3)], "rises", 1 / 3),
        ([0, Fraction(1, 10**30), -1], "rises", 2.5e-61),
        (np.array([1, -2, 1]), "monotone", 0.0),
    ],
)
def test_degenerate_degrees(coefficients, status, rise):
    decision = decide_monotone(coefficients)
    assert decision.status == status
    assert decision.rise == pytest.approx(rise, rel=1e-12)


def test_within_rounding_nothing_is_decided():
    # (1 - alpha)^2 in floats: its slope at 1 may be of either sign
    assert decide_monotone([1.0, -2.0, 1.0]).status == "undecided"
    assert decide_monotone([1.0, -2.0, 1.0], stationary_end=True).status == "monotone"
    assert decide_monotone([1.0, -2.0, 0.9]).status == "monotone"
    assert decide_monotone([1.0, -2.0, 1.1]).status == "rises"
    assert decide_monotone([1.0, -2.0, 1.1], error=0.1).status == "undecided"
    assert decide_monotone([1, -2, 1], error=1e-9).status == "undecided"
    assert decide_monotone([1.0, 0.0], stationary_end=True).status == "monotone"


@given(st.integers(0, 2**32 - 1))
def test_decisions_against_the_halfway_rule(seed):
    # one example: the loss never rises iff z'(a) and z'((1 + a)/2) keep within a right angle
    rng = np.random.default_rng(seed)
    u, v = rng.integers(-3, 4, (2, 3)).tolist()
    away = [-(a + b) for a, b in zip(u, v, strict=True)]
    square = [
        Fraction(sum(a * a for a in away), 2),
        sum(a * b for a, b in zip(away, u, strict=True)),
        Fraction(sum(a * a for a in u), 2) + sum(a * b for a, b in zip(away, v, strict=True)),
        sum(a * b for a, b in zip(u, v, strict=True)),
        Fraction(sum(a * a for a in v), 2),
    ]
    alphas = np.linspace(0, 1, 2001)[:-1, None]
    products = (np.array(u) + 2 * alphas * v) * (np.array(u) + (1 + alphas) * v)
    least = products.sum(axis=1).min()
    status = decide_monotone(square, stationary_end=True).status
    assert status == ("rises" if least < -1e-6 else "monotone") or abs(least) < 1e-4


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: largest_rise(np.array([1.0])), "losses"),
        (lambda: largest_rise(np.array([1.0, math.nan])), r"losses\[1\] = nan"),
        (lambda: bumps(np.zeros(3), np.array([0.0, 0.5, 0.5])), r"alphas\[2\] = 0.5"),
        (lambda: bumps(np.zeros(3), np.zeros(2) + [0, 1]), "length 2"),
        (lambda: decide_monotone([]), "coefficients"),
        (lambda: decide_monotone([1.0, math.inf]), r"coefficients\[1\] = inf"),
        (lambda: decide_monotone("12"), "coefficients"),
        (lambda: decide_monotone([1e308, -1e308]), r"coefficients\[0\] is beyond"),
        (lambda: decide_monotone([0, 10**400]), r"coefficients\[1\] is beyond"),
        (lambda: decide_monotone([1.0, 2.0], error=-1.0), "error = -1"),
        (lambda: decide_monotone([1.0, 2.0], stationary_end=True), "slope at 1 is 2"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
