"""Quantal analysis against golden values, a second route, and the law of large numbers."""

import math

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from synapses import ReleaseModel
from synapses._estimator_derivations import mean_variance_parabola
from synapses.quantal import (
    Interval,
    content_from_failures,
    fit_mean_variance,
    fit_one_condition,
    quantal_from_moments,
)
from synapses.traces import QuantalDepression, regular_train, release_train
from theory.streams import Streams

CHANCES = (0.1, 0.3, 0.5, 0.7, 0.9)
Z = 1.959963984540054


def amplitudes(name, trials, cv=0.3, chances=CHANCES, sites=5, size=0.5):
    generator = Streams(1).generator(name)
    return [ReleaseModel(sites, p, size, cv).sample(generator, trials) for p in chances]


def test_golden_values_of_the_estimators_at_one_release_probability():
    # N = 5, p = 0.3, q = 0.5: mean 0.75, variance 0.2625, with c = 0.3 0.29625 (exact fractions);
    # ignoring c gives q = 0.545 and p = 0.3/1.09
    assert quantal_from_moments(0.75, 0.2625, 5) == pytest.approx((0.5, 0.3), rel=1e-14)
    naive = quantal_from_moments(0.75, 0.29625, 5)
    assert naive == pytest.approx((0.545, 0.3 / 1.09), rel=1e-14)
    assert round(naive[1], 4) == 0.2752
    known = quantal_from_moments(0.75, 0.29625, 5, quantal_cv=0.3)
    assert known == pytest.approx((0.5, 0.3), rel=1e-14)


@pytest.mark.parametrize("sites", [1, 3, 12])
@pytest.mark.parametrize("p", [0.05, 0.4, 1.0])
def test_moments_of_a_model_give_the_model_back(sites, p):
    model = ReleaseModel(sites, p, 2.5, 0.4)
    found = quantal_from_moments(model.mean(), model.variance(), sites, 0.4)
    assert found == pytest.approx((2.5, p), rel=1e-12)


def test_two_conditions_are_interpolated():
    # two unknowns, two equations: weights cannot matter; solved here by Cramer's rule
    first, second = amplitudes("two", 40, chances=(0.2, 0.8))
    rows = []
    for x in (first, second):
        variance = x.var(ddof=1)
        rows.append((x.mean(), x.mean() ** 2 - variance / len(x), variance))
    (m1, s1, v1), (m2, s2, v2) = rows
    determinant = -m1 * s2 + m2 * s1
    slope = (-v1 * s2 + v2 * s1) / determinant
    bend = (m1 * v2 - m2 * v1) / determinant
    fit = fit_mean_variance([first, second], quantal_cv=0.3)
    assert fit.quantal_size.value == pytest.approx(slope / 1.09, rel=1e-9)
    assert fit.sites.value == pytest.approx(1 / bend, rel=1e-9)
    assert fit.means == pytest.approx((m1, m2), rel=1e-14)
    assert fit.variances == pytest.approx((v1, v2), rel=1e-12)
    p = [m / (fit.sites.value * fit.quantal_size.value) for m in (m1, m2)]
    assert [found.value for found in fit.release_probability] == pytest.approx(p, rel=1e-9)
    np.testing.assert_allclose(
        fit.parabola(np.array([m1])), slope * m1 - m1**2 / fit.sites.value, rtol=1e-9
    )


def spread_of(fits, truths):
    """Return z of the mean estimates, ratio of claimed to real s.d., and coverage."""
    values = np.array([[one.value for one in fit] for fit in fits])
    widths = np.array([[(one.high - one.low) / (2 * Z) for one in fit] for fit in fits])
    held = np.array([[t in one for one, t in zip(fit, truths, strict=True)] for fit in fits])
    error = values.std(axis=0, ddof=1)
    z = (values.mean(axis=0) - truths) / error * math.sqrt(len(fits))
    return z, widths.mean(axis=0) / error, held.mean(axis=0)


def bends(fit):
    """Return the interval of 1/N, which is symmetric, and those of q and p."""
    n = fit.sites
    return [
        Interval(1 / n.value, 1 / n.high, 1 / n.low),
        fit.quantal_size,
        *fit.release_probability,
    ]


def test_fits_are_unbiased_and_their_intervals_mean_what_they_say():
    # 400 experiments: the mean within 4 standard errors; a standard deviation is known to
    # 1/sqrt(800) = 3.5 %, so 15 % is 4 of these; coverage 0.95 +- 4 sqrt(.95 .05/400) - 0.01
    experiments, trials = 400, 300
    draws = [x.reshape(experiments, trials) for x in amplitudes("many", experiments * trials)]
    fits = [bends(fit_mean_variance([x[k] for x in draws], 0.3)) for k in range(experiments)]
    z, ratio, held = spread_of(fits, np.array([1 / 5, 0.5, *CHANCES]))
    assert (abs(z) < 4).all()
    assert (abs(ratio - 1) < 0.15).all()
    assert (held > 0.95 - 0.0436 - 0.01).all()
    assert (held < 0.995).all()


def test_trials_that_belong_together_are_not_taken_for_independent():
    # one uniform number a trial decides the releases of all conditions: as correlated as can be
    experiments, trials, chances = 300, 200, (0.2, 0.4, 0.6, 0.8)
    uniform = Streams(2).generator("paired").random((experiments, 1, trials))
    parts = 0.5 * stats.binom.ppf(uniform, 5, np.array(chances)[:, None])
    truths = np.array([1 / 5, 0.5, *chances])
    z, ratio, _ = spread_of([bends(fit_mean_variance(x, paired=True)) for x in parts], truths)
    assert (abs(z) < 4).all()
    assert (abs(ratio - 1) < 0.17).all()  # 4/sqrt(600)
    apart = spread_of([bends(fit_mean_variance(x)) for x in parts], truths)[1]
    assert (abs(apart - 1) > 0.17).any()


def test_spikes_of_a_depressing_train_are_conditions():
    # exact law at every spike: Bin(5, u x); 4000 trials, 99.99 % intervals
    synapse = QuantalDepression(5, 0.8, 0.3, quantal_cv=0.2)
    spikes = regular_train(20.0, 0.3)
    found = release_train(synapse, spikes, 4000, Streams(2).generator("train"))
    fit = fit_mean_variance(found.amplitudes.T, 0.2, paired=True, confidence=0.9999)
    u, x = synapse.at_spikes(spikes)
    assert 5 in fit.sites
    assert 1.0 in fit.quantal_size
    assert all(p in one for p, one in zip(u * x, fit.release_probability, strict=True))


def test_one_condition_is_unbiased_with_honest_intervals():
    experiments, trials = 400, 400
    draws = amplitudes("one", experiments * trials, chances=(0.4,))[0]
    fits = []
    for part in draws.reshape(experiments, trials):
        fit = fit_one_condition(part, 5, 0.3)
        fits.append([fit.quantal_size, fit.release_probability[0]])
        assert fit.sites == Interval(5, 5, 5)
    z, ratio, held = spread_of(fits, np.array([0.5, 0.4]))
    assert (abs(z) < 4).all()
    assert (abs(ratio - 1) < 0.15).all()
    assert (abs(held - 0.95) < 0.054).all()


def test_recording_noise_is_subtracted():
    trials, noise = 20_000, 0.2
    generator = Streams(3).generator("noise")
    draws = [x + generator.normal(0, noise, trials) for x in amplitudes("noisy", trials)]
    clean = fit_mean_variance(draws, 0.3, noise_variance=noise**2)
    assert 5 in clean.sites
    assert 0.5 in clean.quantal_size
    assert 0.5 not in fit_mean_variance(draws, 0.3).quantal_size
    for x, variance in zip(draws, clean.variances, strict=True):
        assert variance == pytest.approx(x.var(ddof=1) - noise**2, rel=1e-12)
    one = fit_one_condition(draws[1], 5, 0.3, noise_variance=noise**2)
    assert 0.5 in one.quantal_size
    assert 0.5 not in fit_one_condition(draws[1], 5, 0.3).quantal_size


def test_more_confidence_is_a_wider_interval_of_the_same_estimate():
    draws = amplitudes("level", 200)
    fits = {level: fit_mean_variance(draws, 0.3, confidence=level) for level in (0.68, 0.95)}
    half = {level: f.quantal_size.high - f.quantal_size.value for level, f in fits.items()}
    # quantiles of the normal law from a table
    assert half[0.95] / half[0.68] == pytest.approx(1.959964 / 0.994458, rel=1e-5)
    assert fits[0.95].sites.value == fits[0.68].sites.value


def test_an_interval_of_sites_may_be_open_above():
    draws = amplitudes("open", 60, chances=(0.1, 0.2), sites=20)
    fit = fit_mean_variance(draws, 0.3, confidence=0.999999)
    assert fit.sites.high == math.inf
    assert 0 < fit.sites.low < 20


@pytest.mark.parametrize(
    ("sites", "content"),
    [(None, -math.log(0.16807)), (5, 1.5), (10, 10 * (1 - 0.16807**0.1))],
)
def test_content_from_failures(sites, content):
    # F = 0.7^5 = 0.16807 exactly; -ln F = 1.783 overestimates 1.5
    found = content_from_failures(16_807, 100_000, sites)
    assert found.value == pytest.approx(content, rel=1e-12)
    # Clopper and Pearson's interval by its beta quantiles
    low = stats.beta.ppf(0.025, 16_807, 100_000 - 16_807 + 1)
    high = stats.beta.ppf(0.975, 16_807 + 1, 100_000 - 16_807)

    def carried(share):
        return -math.log(share) if sites is None else sites * (1 - share ** (1 / sites))

    assert found.low == pytest.approx(carried(high), rel=1e-9)
    assert found.high == pytest.approx(carried(low), rel=1e-9)


def test_content_at_the_ends():
    assert content_from_failures(20, 20).value == 0
    assert content_from_failures(20, 20).low == 0
    none = content_from_failures(0, 20, sites=3)
    assert (none.value, none.high) == (3, 3)
    assert none.low < 3


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_mean_variance([np.ones(9)]), "must be 2 or more vectors"),
        (lambda: fit_mean_variance("abc"), "must be 2 or more vectors"),
        (lambda: fit_mean_variance([np.ones(9), np.ones(2)]), r"amplitudes\[1\] has 2 trials"),
        (lambda: fit_mean_variance([np.ones(9), -np.ones(9)]), r"amplitudes\[1\] has mean -1"),
        (lambda: fit_mean_variance([np.ones(9), np.full(9, np.nan)]), r"amplitudes\[1\]\[0\]"),
        (lambda: fit_mean_variance([np.arange(9), np.arange(9)]), "have one mean"),
        (
            lambda: fit_mean_variance([np.arange(9), np.arange(9) ** 2]),
            r"does not rise and bend down, so N is unknown",
        ),
        (
            lambda: fit_mean_variance([np.arange(5), np.arange(9)], paired=True),
            "paired = True: every condition must have the same number",
        ),
        (lambda: fit_mean_variance([np.arange(9)] * 2, confidence=1.0), "confidence = 1.0"),
        (lambda: fit_mean_variance([np.arange(9)] * 2, quantal_cv=-1), "quantal_cv = -1"),
        (lambda: fit_one_condition(np.arange(9), 0), "sites = 0"),
        (lambda: fit_one_condition(np.zeros(9), 2), "amplitudes has mean 0"),
        (lambda: fit_one_condition(np.ones(9), 2), "variance 0: must exceed noise_variance = 0"),
        (lambda: quantal_from_moments(0.0, 1.0, 2), "mean = 0.0"),
        (lambda: quantal_from_moments(1.0, -1.0, 2), "variance = -1.0"),
        (lambda: content_from_failures(3, 2), "failures = 3"),
        (lambda: content_from_failures(0, 20), "failures = 0 of 20 trials"),
        (lambda: content_from_failures(1, 2, sites=0), "sites = 0"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_derivation_holds():
    derivation = mean_variance_parabola()
    assert derivation.check() == 7
    N, p, q, c, mu = sp.symbols("N p q c mu", positive=True)
    model = ReleaseModel(5, 0.3, 0.5, 0.3)
    at = {N: 5, p: 0.3, q: 0.5, c: 0.3, mu: model.mean()}
    assert float(derivation.results["parabola"].subs(at)) == pytest.approx(model.variance())
    assert float(derivation.results["quantal_size"].subs(at)) == pytest.approx(0.545)


@pytest.mark.parametrize("size", [1.0, 0.1])  # a mean of 0.1 is rounded, so the variance is not 0
def test_amplitudes_that_never_vary_have_no_parabola(size):
    with pytest.raises(ValueError, match="do not vary in any condition"):
        fit_mean_variance([np.full(7, size), np.full(7, 2 * size)])


def test_content_of_many_sites_is_that_of_unknown_ones():
    # -N (F^(1/N) - 1) = ln 2 - (ln 2)^2/(2 N); 1 - F^(1/N) is 0 in float64 at N = 1e18
    found = content_from_failures(5, 10, sites=10**18)
    assert found.value == pytest.approx(math.log(2), rel=1e-14)
    assert found.low > 0.2
    for sites in (None, 10**18):
        assert math.copysign(1, content_from_failures(10, 10, sites).value) == 1  # no -0.0
