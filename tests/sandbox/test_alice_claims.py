"""The claims about Alice: presets, the derivation of its bounds, and that experiments can fail."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sympy as sp
import torch

from sandbox.bench.claim import Run
from sandbox.bench.judgement import judge
from sandbox.claims.duersch2024glass import _presets, optimiser
from sandbox.claims.duersch2024glass._derivations import bounds_of_adam
from sandbox.optim import alice
from sandbox.optim.alice import Alice
from theory.derivation import DerivationError
from theory.glass import exact_move
from theory.streams import Streams


@pytest.fixture
def run(tmp_path):
    with ThreadPoolExecutor(1) as executor:
        yield Run("quick", Streams(0), "cpu", executor, tmp_path)


def test_presets_are_options_of_alice():
    weight = torch.nn.Parameter(torch.ones(2))
    for options in (*_presets.METHODS.values(), *_presets.LOOKAHEAD.values(), _presets.POWER_LAW):
        group = Alice([weight], **options).param_groups[0]
        assert {key: group[key] for key in options} == options
    assert len(_presets.METHODS) + len(_presets.BASELINES) == 7
    assert len(_presets.LOOKAHEAD) == 8
    # the default is the exact one of the two
    assert _presets.LOOKAHEAD["glass, φ = 0.1"]["phi"] == pytest.approx(exact_move(0.9))
    assert _presets.POWER_LAW["phi"] == pytest.approx(exact_move(0.9))


def test_the_bounds_condition_is_that_of_the_effective_curvature():
    found = bounds_of_adam()
    assert found.check() == 5
    generator = np.random.default_rng(0)
    h, alpha, room = generator.exponential(size=(3, 1000))
    effective = alpha + h + np.sqrt(alpha * (alpha + 2 * h))
    glass = found.results["glass"]
    limit = sp.lambdify(sorted(glass.free_symbols, key=str), glass)(h, room)
    assert np.array_equal(effective <= room, (h <= room) & (alpha <= limit))
    for step in found.steps:
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(found, steps=(spoiled,)).check()


def verdicts(comparisons):
    return [judge(each).verdict for each in comparisons]


@pytest.mark.parametrize("claim", [optimiser.optimiser_lookahead, optimiser.bounds_are_adams])
def test_look_ahead_and_bounds_hold_for_another_seed(run, claim):
    other = dataclasses.replace(run, seeds=Streams(1))
    assert set(verdicts(claim(other))) == {"holds"}


def test_a_wrong_move_would_be_noticed(run, monkeypatch):
    monkeypatch.setattr("theory.glass.exact_move", lambda beta, omega=1.0: 1.001 * 0.1 * omega)
    first, second = optimiser.optimiser_lookahead(run)
    assert "fails" in verdicts([first])
    assert "fails" in verdicts([second])


def test_a_step_that_is_not_adams_would_be_noticed(run, monkeypatch):
    real = alice.signed_step
    monkeypatch.setattr(alice, "signed_step", lambda state, group: 1.00001 * real(state, group))
    assert verdicts(optimiser.bounds_are_adams(run))[0] == "fails"


def test_networks_are_trained_before_they_are_diagnosed(run):
    network, optimizer, on, everything = optimiser.trained(run, "relu", 0, (16,), 0.5)
    assert on(everything)().item() < 0.8
    assert next(network.parameters()).dtype == torch.float64
    assert optimizer.diagnose(on(everything[:50]), directions=1).names == ("0", "2")
