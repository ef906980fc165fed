"""The experiments of the claims on elastic weight consolidation: by hand, and able to fail."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from sandbox.bench.claim import Run
from sandbox.bench.judgement import judge
from sandbox.claims.kirkpatrick2017elastic import estimators, forgetting, penalties
from sandbox.claims.kirkpatrick2017elastic._networks import (
    by_hand,
    flat,
    t_interval,
    trained_network,
)
from sandbox.claims.kirkpatrick2017elastic.paper import PAPER
from theory.streams import Streams


@pytest.fixture
def run(tmp_path):
    with ThreadPoolExecutor(1) as executor:
        yield Run("quick", Streams(3), "cpu", executor, tmp_path)


def verdicts(comparisons):
    return {each.name: judge(each).verdict.value for each in comparisons}


def test_gradients_by_hand_are_those_of_autograd():
    model, inputs, targets = trained_network(Streams(1), 9, steps=3)
    p, scores = by_hand(model, inputs)
    assert p == pytest.approx(model(inputs).softmax(1).detach().numpy(), rel=1e-12)
    for n in range(9):
        loss = cross_entropy(model(inputs[n : n + 1]), targets[n : n + 1])
        found = torch.autograd.grad(loss, list(model.parameters()))
        wanted = flat(dict(enumerate(found)))
        assert scores[n, targets[n]] == pytest.approx(wanted, abs=1e-13)


def test_training_lowers_the_loss():
    before, inputs, targets = trained_network(Streams(1), 64, steps=0)
    after, again, _ = trained_network(Streams(1), 64)
    assert torch.equal(inputs, again)
    low, high = (cross_entropy(m(inputs), targets).item() for m in (after, before))
    assert low < high / 3


def test_intervals_cover():
    samples = np.random.default_rng(0).normal(size=(6, 4000))
    centre, half = t_interval(samples, 0.9)
    # 4000 intervals: a standard error of half a per cent
    assert (np.abs(centre) <= half).mean() == pytest.approx(0.9, abs=0.025)


QUICK = [
    penalties.separate_penalties_are_one,
    penalties.quadratic_losses_are_kept,
    penalties.separate_anchors_count_twice,
    estimators.exact_fisher_is_curvature,
]


@pytest.mark.parametrize("claim", QUICK, ids=lambda claim: claim.__name__)
def test_claims_hold_for_another_seed(run, claim):
    assert set(verdicts(claim(run)).values()) == {"holds"}


def spoiled(monkeypatch, change):
    """Let the Fisher diagonal be another one."""
    import sandbox.regularisers as rooms

    true = rooms.fisher_diagonal

    def other(*given, **named):
        return {name: change(part) for name, part in true(*given, **named).items()}

    monkeypatch.setattr(rooms, "fisher_diagonal", other, raising=False)


def test_a_fisher_diagonal_twice_as_large_fails(run, monkeypatch):
    spoiled(monkeypatch, lambda part: 2 * part)
    found = verdicts(estimators.exact_fisher_is_curvature(run))
    assert found["over all labels"] == "fails"
    kept = verdicts(penalties.quadratic_losses_are_kept(run))
    assert kept["distance from the joint solution"] == "fails"
    assert verdicts(penalties.separate_anchors_count_twice(run)) == {
        "centres of the penalties": "fails"
    }


def test_a_batched_estimate_without_its_square_mean_fails(run, monkeypatch):
    spoiled(monkeypatch, lambda part: 1.4 * part)
    found = verdicts(estimators.batched_fisher_falls(run))
    assert found["mean over orders of the samples"] == "fails"
    assert found["batches of one, and one of all samples"] == "fails"


def test_accuracies_are_those_of_all_tasks_in_the_end():
    found = forgetting.accuracies("no penalty", 5)
    assert found.shape == (forgetting.TASKS,)
    assert found[0] < found[-1]
    assert np.array_equal(found, forgetting.accuracies("Fisher", 5, 0.0))
    held = forgetting.accuracies("uniform", 5, 1000.0)
    assert held[0] > found[0]
    assert held[-1] < found[-1]


def test_the_paper_names_what_is_not_tested():
    assert len(PAPER.not_attempted) == 6
    assert all(says.endswith(".") and why.endswith(".") for says, why in PAPER.not_attempted)
    for claim in PAPER.claims.values():
        assert claim.says.endswith(".")
        derivation = claim.derivation()
        assert dataclasses.is_dataclass(derivation)
        assert derivation.steps
