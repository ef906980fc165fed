"""Release models against enumeration, golden values and the law of large numbers."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from synapses import ReleaseModel
from theory.information import quantal_moments
from theory.streams import Streams

MODEL = ReleaseModel(sites=5, release_probability=0.3, quantal_size=0.5)


def test_published_numbers_of_five_sites():
    # exact binomial arithmetic in 40 digits (mpmath), rounded here
    assert MODEL.mean() == pytest.approx(0.75, abs=1e-15)
    assert MODEL.variance() == pytest.approx(0.2625, abs=1e-15)
    assert MODEL.failure_probability() == pytest.approx(0.16807, abs=1e-15)
    assert MODEL.third_moment() == pytest.approx(0.0525, abs=1e-15)
    noisy = ReleaseModel(5, 0.3, 0.5, quantal_cv=0.3)
    assert noisy.variance() == pytest.approx(0.29625, abs=1e-15)
    # the estimators that ignore the quanta's variability are biased by exactly this much
    size = noisy.variance() / noisy.mean() + noisy.mean() / 5
    assert size == pytest.approx(0.545, abs=1e-12)
    assert noisy.mean() / (5 * size) == pytest.approx(0.27522935779816513761, abs=1e-12)


@given(
    sites=st.integers(1, 4), p=st.floats(0, 1), q=st.floats(0.1, 10), c=st.sampled_from([0.0, 0.5])
)
def test_moments_by_enumeration_of_the_sites(sites, p, q, c):
    """Every pattern of releases; quanta enter by the raw moments of the gamma law."""
    model = ReleaseModel(sites, p, q, c)
    raw = [1.0, q, q**2 * (1 + c**2), q**3 * (1 + c**2) * (1 + 2 * c**2)]

    def sums(k):
        """Return raw moments of a sum of k independent quanta."""
        total = [1.0, 0.0, 0.0, 0.0]
        for _ in range(k):
            total = [
                sum(math.comb(n, i) * total[i] * raw[n - i] for i in range(n + 1)) for n in range(4)
            ]
        return total

    moments = np.zeros(4)
    for mask in itertools.product((0, 1), repeat=sites):
        chance = math.prod(p if r else 1 - p for r in mask)
        moments += chance * np.array(sums(sum(mask)))
    mean, second, third = moments[1:]
    scale = max(1.0, (sites * q) ** 3)
    assert model.mean() == pytest.approx(mean, rel=1e-12, abs=1e-12)
    assert model.variance() == pytest.approx(second - mean**2, abs=1e-12 * scale)
    central = third - 3 * mean * second + 2 * mean**3
    assert model.third_moment() == pytest.approx(central, abs=1e-11 * scale)
    assert model.failure_probability() == pytest.approx((1 - p) ** sites)


def test_the_derivation_gives_the_same_numbers():
    results = quantal_moments().results
    model = ReleaseModel(3, 0.4, 1.7, 0.6)
    values = {"p": 0.4, "q": 1.7, "c": 0.6, "N": 3}
    for name, number in (("variance", model.variance()), ("third_moment", model.third_moment())):
        expression = results[name]
        found = expression.subs({s: values[s.name] for s in expression.free_symbols})
        assert float(found) == pytest.approx(number, rel=1e-12)


@pytest.mark.parametrize("cv", [0.0, 0.4])
def test_samples_have_the_moments(cv):
    # alpha = 1e-4 a test: |z| < 3.89; the law has all moments, n is large
    model = ReleaseModel(4, 0.35, 2.0, cv)
    n = 200_000
    draws = model.sample(Streams(3).generator("release"), n)
    assert draws.shape == (n,)
    z = (draws.mean() - model.mean()) / math.sqrt(model.variance() / n)
    assert abs(z) < 3.89
    centred = draws - model.mean()
    for power, value in ((2, model.variance()), (3, model.third_moment())):
        sample = centred**power
        assert abs(sample.mean() - value) < 3.89 * sample.std() / math.sqrt(n)
    failures = int((draws == 0).sum())
    assert stats.binomtest(failures, n, model.failure_probability()).pvalue > 1e-4


def test_counts_follow_the_binomial_law():
    # chi-square over six classes, alpha = 1e-4
    counts = (MODEL.sample(Streams(5).generator("release"), 50_000) / 0.5).round().astype(int)
    expected = 50_000 * stats.binom.pmf(np.arange(6), 5, 0.3)
    assert stats.chisquare(np.bincount(counts, minlength=6), expected).pvalue > 1e-4


def test_certain_and_impossible_release():
    generator = Streams(0).generator("release")
    assert (ReleaseModel(3, 1.0).sample(generator, (2, 5)) == 3).all()
    assert (ReleaseModel(3, 0.0, quantal_cv=0.5).sample(generator, 9) == 0).all()
    # the square of the variation is 0 in floating point
    assert (ReleaseModel(3, 1.0, quantal_cv=1e-170).sample(generator, 9) == 3).all()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sites": 0}, "sites = 0: must be a whole number >= 1"),
        ({"release_probability": 1.5}, "release_probability = 1.5"),
        ({"release_probability": -0.1}, "release_probability = -0.1"),
        ({"quantal_size": 0.0}, "quantal_size = 0.0"),
        ({"quantal_cv": -1.0}, "quantal_cv = -1.0"),
        ({"quantal_cv": math.nan}, "quantal_cv = nan"),
    ],
)
def test_numbers_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ReleaseModel(**change)


@pytest.mark.bad_input
def test_a_seed_is_no_generator():
    with pytest.raises(ValueError, match=r"generator = 3: must be a numpy.random.Generator"):
        MODEL.sample(3, 10)
