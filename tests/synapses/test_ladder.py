"""The engines against each other: one step, the same numbers, other numbers.

Rung 1, one step from a table, is in test_rule.py (numpy, torch) and test_brian_rule.py; here are
rung 2, injected numbers, and rung 3, distributions.
"""

import dataclasses

import numpy as np
import pytest
import torch
from brian_run import QUIET, quiet_import
from scipy import stats
from torch import nn

from sandbox.claims.schug2021presynaptic import _engines, _engines_release, _engines_spiking
from synapses import PresynapticRule, ReleaseModel
from synapses.bridge import inject_uniforms
from synapses.consolidation import PresynapticOptimizer
from synapses.events import release_uniforms
from synapses.layers import StochasticLinear
from theory.streams import Streams

pytestmark = QUIET

ALPHA = 1e-5
"""Level of every test of rung 3, two-sided; the seeds are fixed."""

Z = stats.norm.isf(ALPHA / 2)

LEARN = {
    "torch": _engines.learn_in_torch,
    "brian2": _engines.learn_in_brian,
    "compiled": _engines.learn_compiled,
}

RULES = {
    "program": PresynapticRule(0.065, 0.045, 0.02, p_freeze=0.8, variant="program"),
    "printed": PresynapticRule(0.06, 0.05, 0.02, p_freeze=0.8),
    "unmodulated": PresynapticRule(
        0.08, 0.045, 0.02, 0.8, p_max=0.9, variant="program", rate_modulation=False
    ),
}


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    quiet_import()


@pytest.fixture(scope="module")
def lessons():
    return _engines.Lessons.draw(Streams(5), release_uniforms(5, 200, 120), 40, 3)


@pytest.fixture(scope="module", params=RULES)
def exact(request, lessons):
    """A rule, and what the definition in numpy learns by it."""
    rule = RULES[request.param]
    found = _engines.learn_in_numpy(rule, lessons)
    frozen = rule.is_frozen(found.p[-1])
    assert 10 < frozen.sum() < 110  # every branch of the rule is met
    assert (found.p[-1] == rule.p_min).sum() > 10
    assert 0.25 < found.released.mean() < 0.75
    return rule, found


@pytest.mark.parametrize("engine", LEARN)
def test_the_same_numbers_teach_the_same(engine, exact, lessons):
    rule, wanted = exact
    found = LEARN[engine](rule, lessons)
    np.testing.assert_array_equal(found.released, wanted.released)
    np.testing.assert_allclose(found.strength, wanted.strength, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.p, wanted.p, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.energy, wanted.energy, rtol=1e-12)


@pytest.mark.parametrize("engine", LEARN)
def test_numbers_in_another_order_do_not(engine, exact, lessons):
    # columns output by output instead of input by input
    rule, wanted = exact
    order = np.arange(120).reshape(40, 3).T.ravel()
    turned = dataclasses.replace(
        lessons,
        patterns=lessons.patterns[:5],
        labels=lessons.labels[:5],
        uniforms=lessons.uniforms[:5, order],
    )
    assert (LEARN[engine](rule, turned).released != wanted.released[:5]).sum() > 100


@pytest.fixture(scope="module")
def trained():
    """A network of two layers, a little trained on two classes, and its input rates."""
    torch.manual_seed(2)
    layers = StochasticLinear(20, 15, bias=False), StochasticLinear(15, 4, bias=False)
    net = nn.Sequential(layers[0], nn.ReLU(), layers[1])
    rule = PresynapticRule(0.09, 0.05, 0.002, variant="program")
    optimizer = PresynapticOptimizer(net, rule, lr=0.2)
    inputs = torch.rand(64, 20)
    labels = (inputs[:, :10].sum(1) > inputs[:, 10:].sum(1)).long()
    with (
        inject_uniforms(layers[0], release_uniforms(3, 60, 20 * 15)),
        inject_uniforms(layers[1], release_uniforms(4, 60, 15 * 4)),
    ):
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs), labels).backward()
            optimizer.step()
    assert layers[0].release_probability.max() > 0.6
    net.double()
    return layers, 200 * inputs[0].double().numpy()


def test_a_trained_network_releases_alike_everywhere(trained):
    layers, rates = trained
    numbers = release_uniforms(8, 300, 20 * 15 + 15 * 4)
    compiled, sent = _engines_spiking.spike_compiled(layers, rates, 0.02, numbers, seed=1)
    inside = _engines_spiking.spike_in_torch(layers, sent, 0.02, numbers)
    brian = _engines_spiking.spike_in_brian(layers, sent, 0.02, numbers)
    assert _engines_spiking.differences(compiled, inside) == (0, 0)
    assert _engines_spiking.differences(brian, inside) == (0, 0)
    # there is something to agree on
    assert all(spikes.sum() > 20 for spikes in inside.spikes)
    shares = [events[:, 2].mean() for events in inside.events]
    assert all(0.2 < share < 0.8 for share in shares)
    # and a small change of the strengths is noticed
    with torch.no_grad():
        layers[0].weight.mul_(1.02)
    arrivals, spikes = _engines_spiking.differences(
        _engines_spiking.spike_in_torch(layers, sent, 0.02, numbers), inside
    )
    assert arrivals > 0
    assert spikes > 0


CHANCES = np.repeat([0.02, 0.1, 0.25, 0.4, 0.6, 0.9], 40)
SPIKES = 400

DRAWN = {
    "torch": lambda: _engines_release.releases_in_torch(CHANCES, SPIKES, 1),
    "brian2": lambda: _engines_release.releases_in_brian(CHANCES, SPIKES, 2),
    "per-synapse": lambda: _engines_release.releases_compiled(CHANCES, SPIKES, 3, "per-synapse"),
    "skip": lambda: _engines_release.releases_compiled(CHANCES, SPIKES, 4, "skip"),
}


@pytest.mark.parametrize("engine", DRAWN)
def test_release_counts_are_binomial_and_independent(engine):
    released = DRAWN[engine]()
    assert released.shape == (SPIKES, CHANCES.size)
    variance = CHANCES * (1 - CHANCES)
    counts = released.sum(axis=0)
    for chance in np.unique(CHANCES):
        drawn = int(counts[chance == CHANCES].sum())
        assert stats.binomtest(drawn, SPIKES * 40, chance).pvalue > ALPHA
    # neither wider nor narrower than binomial: mean and variance of chi2 terms by the fourth moment
    terms = (counts - SPIKES * CHANCES) ** 2 / (SPIKES * variance)
    error = np.sqrt(np.sum(2 + (1 - 6 * variance) / (SPIKES * variance))) / CHANCES.size
    assert abs(terms.mean() - 1) < Z * error
    # spikes do not share draws, nor do synapses
    standard = (released - CHANCES) / np.sqrt(variance)
    for one, two in ((standard[1:], standard[:-1]), (standard[:, 1:], standard[:, :-1])):
        assert abs((one * two).mean()) < Z / np.sqrt(one.size)


MODEL = ReleaseModel(sites=5, release_probability=0.3, quantal_size=0.5)
TARGETS = 20_000

SUMMED = {
    "definition": lambda: MODEL.sample(Streams(0).generator("release"), TARGETS),
    "torch": lambda: _engines_release.inputs_in_torch(MODEL, TARGETS, 1),
    "brian2": lambda: _engines_release.inputs_in_brian(MODEL, TARGETS, 2),
    "per-synapse": lambda: _engines_release.inputs_compiled(MODEL, TARGETS, 3, "per-synapse"),
    "skip": lambda: _engines_release.inputs_compiled(MODEL, TARGETS, 4, "skip"),
}


@pytest.mark.parametrize("engine", SUMMED)
def test_what_a_spike_adds_has_the_quantal_moments(engine):
    # N = 5, p = 0.3, q = 0.5: mean 0.75, variance 0.2625, failures 0.16807 (exact decimals);
    # third central moment N q^3 p (1 - p) (1 - 2 p) = 0.0525
    amounts = SUMMED[engine]()
    quanta = np.rint(amounts / 0.5).astype(int)
    np.testing.assert_array_equal(quanta * 0.5, amounts)
    law = stats.binom(5, 0.3)
    away = np.arange(6) - 1.5
    for measured, wanted, moves in (
        (amounts.mean(), 0.75, 0.5 * away),
        (amounts.var(), 0.2625, 0.25 * away**2),
        (((amounts - amounts.mean()) ** 3).mean(), 0.0525, 0.125 * (away**3 - 3 * 1.05 * away)),
        ((amounts == 0).mean(), 0.16807, away == -1.5),
    ):
        weights = law.pmf(np.arange(6))
        error = np.sqrt(weights @ np.square(moves) - (weights @ moves) ** 2) / np.sqrt(TARGETS)
        assert abs(measured - wanted) < Z * error
    expected = TARGETS * law.pmf(np.arange(6))
    assert stats.chisquare(np.bincount(quanta, minlength=6), expected).pvalue > ALPHA
