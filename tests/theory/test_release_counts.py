"""Release counts against enumeration of spikes and releases."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from theory.derivation import DerivationError
from theory.release_counts import release_correlation, release_counts, release_fano

TRAINS = {
    "poisson": stats.poisson.pmf(np.arange(80), 5.0),
    "regular": np.eye(80)[5],
    "bursts": np.eye(80)[0] / 2 + np.eye(80)[12] / 2,
}


@pytest.mark.parametrize("sites", [1, 3])
@pytest.mark.parametrize("p", [0.1, 0.3, 0.9])
@pytest.mark.parametrize("train", TRAINS)
def test_fano_and_correlation_by_enumeration(train, p, sites):
    law = TRAINS[train]
    n = np.arange(80)
    k = np.arange(80 * sites)
    given = stats.binom.pmf(k[None, :], sites * n[:, None], p)
    mean = law @ (given @ k)
    square = law @ (given @ k**2)
    product = law @ (given @ k) ** 2  # of two synapses, independent given n
    variance = square - mean**2
    fano = (law @ n**2 - (law @ n) ** 2) / (law @ n)
    assert release_fano(fano, p, sites) == pytest.approx(variance / mean, abs=1e-9)
    wanted = (product - mean**2) / variance
    assert release_correlation(fano, p, sites) == pytest.approx(wanted, abs=1e-9)


def test_a_shared_train_correlates_by_the_release_probability():
    assert release_correlation(1.0, 0.3) == pytest.approx(0.3, rel=1e-15)
    assert release_correlation(0.0, 0.3) == 0.0
    assert release_correlation(1.0, 1.0) == 1.0


def test_the_derivation_checks_and_can_fail():
    derivation = release_counts()
    assert derivation.check() == 5
    for number, step in enumerate(derivation.steps):
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        steps = (*derivation.steps[:number], spoiled)
        with pytest.raises(DerivationError):
            dataclasses.replace(derivation, steps=steps).check()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: release_fano(-1.0, 0.3), "train_fano = -1"),
        (lambda: release_fano(1.0, 1.3), "release_probability = 1.3"),
        (lambda: release_fano(1.0, 0.3, 0), "sites = 0"),
        (lambda: release_correlation(1.0, 0.0), "release_probability = 0"),
        (lambda: release_correlation(0.0, 1.0), "do not vary"),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
