"""Means of depression and facilitation under Poisson trains, against simulation and limits."""

import dataclasses

import numpy as np
import pytest

from theory.derivation import DerivationError
from theory.poisson_trains import (
    depression_poisson,
    facilitation_poisson,
    mean_field_release,
    poisson_trains,
)

SYNAPSES = [
    (0.03, 0.13, 0.53, 20.0),
    (0.03, 0.13, 0.53, 70.0),
    (0.5, 0.8, 0.05, 20.0),
    (0.1, 0.1, 1.0, 5.0),
]


def simulate(use, recovery, decay, rate, walkers=2000, spikes=800, seed=1):
    """Sample u after its jump and x before the release, spike by spike; walker means (3,)."""
    rng = np.random.default_rng(seed)
    u, x = np.zeros(walkers), np.ones(walkers)
    total = np.zeros((3, walkers))
    for k in range(spikes):
        gap = rng.exponential(1 / rate, walkers)
        u, x = u * np.exp(-gap / decay), 1 - (1 - x) * np.exp(-gap / recovery)
        u = u + use * (1 - u)
        if k >= spikes // 4:
            total += u, x, u * x
        x = x * (1 - u)
    return total / (spikes - spikes // 4)


@pytest.mark.parametrize("synapse", SYNAPSES)
def test_means_by_simulation(synapse):
    found = simulate(*synapse)
    error = found.std(axis=1, ddof=1) / np.sqrt(found.shape[1])
    wanted = facilitation_poisson(*synapse)
    assert (np.abs(found.mean(axis=1) - wanted) < 4.5 * error).all()
    # the simulation can tell: without the correlation of u and x the release is wrong
    apart = mean_field_release(*synapse)
    assert abs(found[2].mean() - apart) > 6 * error[2]


@pytest.mark.parametrize("synapse", SYNAPSES)
def test_exact_relations(synapse):
    use, recovery, decay, rate = synapse
    u, x, release = facilitation_poisson(*synapse)
    before = use * rate * decay / (1 + use * rate * decay)
    assert u == pytest.approx(before + use * (1 - before), rel=1e-14)
    assert rate * release == pytest.approx((1 - x) / recovery, rel=1e-12)
    assert release < u * x  # what has raised u has used up x


def test_utilisation_at_20_hz():
    # 40-digit values of u before and after the jump
    u, _, _ = facilitation_poisson(0.03, 0.13, 0.53, 20.0)
    assert u == pytest.approx(0.26403641881638846737, rel=1e-14)


def test_without_memory_of_u_it_is_depression():
    fast = facilitation_poisson(0.5, 0.8, 1e-9, 20.0)
    assert fast[0] == pytest.approx(0.5, rel=1e-7)
    assert fast[1] == pytest.approx(depression_poisson(0.5, 0.8, 20.0), rel=1e-6)
    # 40-digit value: 1 / (1 + 0.5 * 20 * 0.8)
    assert depression_poisson(0.5, 0.8, 20.0) == pytest.approx(0.11111111111111111111, rel=1e-15)


def test_releases_saturate():
    for rate in (1e3, 1e5):
        released = rate * 0.5 * depression_poisson(0.5, 0.8, rate)
        assert released == pytest.approx(1 / 0.8, rel=1.01 / (0.5 * rate * 0.8))
        assert released < 1 / 0.8
    assert depression_poisson(0.5, 0.8, 0.0) == 1.0


def test_mean_field_is_the_release_of_independent_u_and_x():
    # at use = 1 the utilisation is 1 at every spike: nothing to depend on
    u, x, release = facilitation_poisson(1.0, 0.2, 0.5, 10.0)
    assert (u, mean_field_release(1.0, 0.2, 0.5, 10.0)) == pytest.approx((1.0, release))
    assert x == pytest.approx(1 / 3, rel=1e-12)
    assert mean_field_release(0.03, 0.13, 0.53, 0.0) == 0.03


def test_a_hierarchy_that_does_not_close_is_refused():
    with pytest.raises(ValueError, match=r"rate_hz = 1e\+06: too high for use = 0.001"):
        facilitation_poisson(0.001, 0.5, 50.0, 1e6)


@pytest.mark.bad_input
def test_digits_that_cancel_are_no_result():
    # closures at 192 and 384 moments agree on x = -75
    with pytest.raises(ValueError, match="moments are not enough"):
        facilitation_poisson(1e-3, 0.1, 10.0, 100.0)


def test_the_smallest_use_is_without_depression():
    # to first order in U: u = U (1 + r tau_f), x = 1 - r tau_r u; powers of u underflow
    u, x, release = facilitation_poisson(1e-9, 0.8, 0.5, 10.0)
    assert u == pytest.approx(6e-9, rel=1e-7)
    assert 1 - x == pytest.approx(8 * 6e-9, rel=1e-6)
    assert release == pytest.approx(6e-9, rel=1e-6)


def test_the_derivation_checks_and_can_fail():
    derivation = poisson_trains()
    assert derivation.check() == 6
    for number, step in enumerate(derivation.steps):
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        steps = (*derivation.steps[:number], spoiled)
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=steps).check()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: depression_poisson(0.0, 1.0, 1.0), "use = 0"),
        (lambda: depression_poisson(0.5, 0.0, 1.0), "recovery_s = 0"),
        (lambda: depression_poisson(0.5, 1.0, -1.0), "rate_hz = -1"),
        (lambda: facilitation_poisson(0.5, 1.0, 1.0, 0.0), "rate_hz = 0"),
        (lambda: facilitation_poisson(0.5, 1.0, -1.0, 1.0), "facilitation_s = -1"),
        (lambda: mean_field_release(1.5, 1.0, 1.0, 1.0), "use = 1.5"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
