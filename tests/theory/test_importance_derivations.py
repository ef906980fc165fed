"""Derivations of importance measures: every line, their results, and Adam simulated."""

import dataclasses
import itertools

import numpy as np
import pytest
import sympy as sp

from theory import importance
from theory.derivation import DerivationError
from theory.importance import (
    batched_fisher_mean,
    merge_penalties,
    path_bias_sgd,
    path_sums_adam,
    sos_second_moment,
)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("path_integral_bias", 25),
        ("adam_path_integral", 22),
        ("squared_noise", 19),
        ("memory_and_absolute_fisher", 19),
        ("two_classes", 10),
        ("batched_fisher", 15),
        ("merged_penalties", 23),
    ],
)
def test_derivations_check_and_can_fail(name, count):
    derivation = getattr(importance, name)()
    assert derivation.page == f"derivations/{name}"
    assert derivation.check() == count
    for step in derivation.steps:
        assert step.residuals
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=(spoiled,)).check()


def at(derivation, result, **values):
    """Return a derived result as a number."""
    expression = getattr(importance, derivation)().results[result]
    named = {symbol.name: symbol for symbol in expression.free_symbols}
    return float(expression.subs({named[k]: v for k, v in values.items() if k in named}))


def test_kernels_compute_what_is_derived():
    mean, variance, size, count = 0.7, 2.5, 3, 11
    moments = {"mu": mean, "s": np.sqrt(variance), "N": count, "b": size, "beta_1": 0.8}
    sums = path_bias_sgd(mean, variance, size, count)
    for name in ("si", "siu", "sib"):
        assert at("path_integral_bias", name, **moments) == pytest.approx(getattr(sums, name))
    assert at("batched_fisher", "batched", **moments) == pytest.approx(
        batched_fisher_mean(mean, variance, size, count)
    )
    square = at("squared_noise", "square", **moments, alpha=0.4)
    assert square == pytest.approx(sos_second_moment(mean, variance, size, 0.4, count))
    adam = path_sums_adam(mean, variance, size, 0.8)
    spread = {"mu": mean, "sigma": np.sqrt(variance / size), "beta_1": 0.8}
    for name in ("si", "siu", "sib"):
        assert at("adam_path_integral", name, **spread) == pytest.approx(getattr(adam, name))
    merged = merge_penalties(np.array([[2.0], [0.5]]), np.array([[1.0], [-1.0]]))
    tasks = {"F_1": 2.0, "F_2": 0.5, "t_1": 1.0, "t_2": -1.0}
    for name, found in (("strength", merged[0][0]), ("anchor", merged[1][0])):
        assert at("merged_penalties", name, **tasks) == pytest.approx(found)
    assert at("merged_penalties", "constant", **tasks) == pytest.approx(merged[2])


def test_half_of_the_path_sum_is_noise_at_the_derived_batch():
    half = at("path_integral_bias", "half_batch", mu=0.5, s=2.0, N=17)
    assert half == pytest.approx(17 * 4 / (16 * 0.25 + 4))
    low, high = (path_bias_sgd(0.5, 4.0, size, 17) for size in (8, 9))
    assert low.sib > low.siu
    assert high.sib < high.siu


def test_batches_without_a_common_sample():
    g = np.random.default_rng(1).normal(0.3, 1.0, 5)
    pairs = [
        (g[list(a)].mean(), g[list(b)].mean())
        for a in itertools.combinations(range(5), 2)
        for b in itertools.combinations(set(range(5)) - set(a), 2)
    ]
    one, two = np.array(pairs).T
    values = {"mu": g.mean(), "s": g.std(), "N": 5, "b": 2}
    assert (one * two).mean() == pytest.approx(at("path_integral_bias", "disjoint", **values))
    wanted = at("squared_noise", "disjoint", **values)
    assert ((one - two) ** 2).mean() == pytest.approx(wanted)


def test_momentum_within_a_shuffled_pass():
    count, size, beta = 6, 1, 0.5
    g = np.random.default_rng(2).normal(0.3, 1.0, count)
    orders = g[np.array(list(itertools.permutations(range(count))))]
    # the newest gradient against all older ones of the pass, with weights that go on for ever
    older = (orders[:, -1:] * orders[:, :-1]).mean(0)
    assert older == pytest.approx(g.mean() ** 2 - g.var() / (count - 1), rel=1e-9)
    forever = (1 - beta) * (g**2).mean() + beta * older.mean()
    values = {"mu": g.mean(), "s": g.std(), "N": count, "b": size, "beta_1": beta}
    assert forever == pytest.approx(at("adam_path_integral", "shuffled", **values))


def simulate(mean, spread, beta2, seed, chains=2000, steps=400, beta1=0.9):
    """Return SI and SIU per step and learning rate: what v at its mean does not explain.

    Rows are chains. The same gradients over the root of the mean of v are subtracted, whose
    expectations are known exactly, so that little of the noise is left.
    """
    generator = np.random.default_rng(seed)
    root = np.sqrt(mean**2 + spread**2)
    m, v = np.full(chains, mean), np.full(chains, root**2)
    sums = np.zeros((2, chains))
    start = int(12 / (1 - beta2))  # v has forgotten its start but for exp(-12)
    for step in range(start + steps):
        g, other = mean + spread * generator.standard_normal((2, chains))
        m += (1 - beta1) * (g - m)
        v += (1 - beta2) * (g**2 - v)
        if step >= start:
            sums += np.array([g, other]) * m * (1 / np.sqrt(v) - 1 / root)
    return sums / steps


@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (0.02, 1.0), (0.3, 1.0), (1.0, 0.1)])
def test_the_error_of_v_at_its_mean_is_the_derived_one(mean, spread):
    beta2 = 0.99
    found = simulate(mean, spread, beta2, seed=5)
    error = found.std(axis=1, ddof=1) / np.sqrt(found.shape[1])
    values = {"mu": sp.Float(mean), "sigma": spread, "beta_1": 0.9, "beta_2": beta2}
    for k, name in enumerate(("si", "siu")):
        plain = at("adam_path_integral", name, **values)
        excess = at("adam_path_integral", f"{name}_corrected", **values) - plain
        # six standard errors: a false alarm once in 500 million; then the next order, (1 - β₂)²
        room = 6 * error[k] + 5 * (1 - beta2) ** 2 * max(plain, 0.1)
        assert abs(found[k].mean() - excess) < room
        # what is left out when v is at its mean: 2 % here, 0.2 % at β₂ = 0.999
        assert abs(excess) <= 2 * (1 - beta2) * plain + 1e-12


def test_without_the_correction_the_error_shows():
    found = simulate(0.0, 1.0, 0.99, seed=6)[0]
    error = found.std(ddof=1) / np.sqrt(len(found))
    # pure noise is overestimated by five eighths of 1 - β₂
    assert found.mean() < -6 * error
    assert found.mean() / 0.1 == pytest.approx(-0.625 * 0.01, rel=0.2)
