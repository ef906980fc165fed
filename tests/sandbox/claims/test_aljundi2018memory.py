"""The experiments of the claims on memory aware synapses, and that they can fail."""

import dataclasses

import numpy as np
import pytest
import torch

from sandbox import regularisers
from sandbox.bench import Comparison, judge
from sandbox.claims import _protected
from sandbox.claims.aljundi2018memory import batches, forgetting, sensitivity
from sandbox.claims.aljundi2018memory._derivations import hebbian_importance
from sandbox.claims.aljundi2018memory._networks import activities, by_hand, flat, trained
from theory.derivation import DerivationError


def verdicts(comparisons):
    if isinstance(comparisons, Comparison):
        comparisons = [comparisons]
    return [judge(each).verdict.value for each in comparisons]


@pytest.fixture(scope="module")
def network():
    return trained(3, hidden=8, epochs=1)


# ---- the network, by hand


def test_the_network_has_learned(network):
    model, inputs, targets = trained(3)
    assert (model(inputs).argmax(1) == targets).double().mean() > 0.9
    again, *_ = trained(3)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_activities_are_those_of_the_network(network):
    model, inputs, _ = network
    found = activities(model, inputs)
    assert [part.shape[1] for part in found] == [64, 8, 8, 10]
    np.testing.assert_allclose(found[-1], model(inputs).detach().numpy(), atol=1e-12)
    assert found[1].min() == found[2].min() == 0


def test_gradients_by_hand_are_those_of_autograd(network):
    model, inputs, _ = network
    found = by_hand(model, inputs[:7])
    for row, sample in zip(found, inputs, strict=False):
        value = model(sample[None]).square().sum()
        parts = torch.autograd.grad(value, list(model.parameters()))
        expected = torch.cat([part.reshape(-1) for part in parts]).numpy()
        np.testing.assert_allclose(row, expected, atol=1e-11)


def test_importance_is_the_mean_modulus_of_these(network):
    model, inputs, _ = network
    found = flat(regularisers.memory_aware(model, inputs, output="logit"))
    expected = np.abs(by_hand(model, inputs)).mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


# ---- claims


def test_the_derivation_can_be_checked_and_can_fail():
    found = hebbian_importance()
    assert found.check() == 5
    for step in found.steps:
        spoiled = dataclasses.replace(step, residuals=(step.residuals[-1] + 1,))
        with pytest.raises(DerivationError):
            dataclasses.replace(found, steps=(spoiled,)).check()


@pytest.mark.parametrize(
    ("claim", "count"),
    [
        (sensitivity.sensitivity_of_the_squared_norm, 1),
        (sensitivity.needs_no_labels, 2),
        (sensitivity.local_version_is_hebbian, 2),
        (batches.modulus_before_the_mean, 3),
    ],
)
def test_claims_hold_for_another_seed(claim, count, other_run):
    assert verdicts(claim(other_run)) == ["holds"] * count


def mean_first(model, data, output="logit"):
    """Importance with the modulus outside the mean."""
    inputs = data if isinstance(data, torch.Tensor) else data[0]
    return regularisers.batched_memory_aware(model, inputs, output, batch_size=len(inputs))


def test_the_modulus_of_the_mean_is_found(run, monkeypatch):
    monkeypatch.setattr(regularisers, "memory_aware", mean_first, raising=False)
    assert verdicts(sensitivity.sensitivity_of_the_squared_norm(run)) == ["fails"]


def test_probabilities_instead_of_activities_are_found(run, monkeypatch):
    measure = regularisers.memory_aware
    monkeypatch.setattr(
        regularisers,
        "memory_aware",
        lambda model, data, output: measure(model, data, output="probability"),
        raising=False,
    )
    assert verdicts(sensitivity.local_version_is_hebbian(run)) == ["fails"] * 2


def test_an_importance_that_looks_at_labels_is_found(run, monkeypatch):
    def with_labels(model, data, output):
        if isinstance(data, torch.Tensor):
            return measure(model, data, output=output)
        return regularisers.fisher_diagonal(model, data, "empirical")

    measure = regularisers.memory_aware
    monkeypatch.setattr(regularisers, "memory_aware", with_labels, raising=False)
    assert verdicts(sensitivity.needs_no_labels(run)) == ["fails", "holds"]


def test_batches_that_change_nothing_are_found(run, monkeypatch):
    measure = regularisers.batched_memory_aware

    def alike(model, data, output, n, batch_size):
        return measure(model, data, output, n=n, batch_size=1)

    monkeypatch.setattr(regularisers, "batched_memory_aware", alike, raising=False)
    found = verdicts(batches.modulus_before_the_mean(run))
    # equal totals are no smaller ones
    assert found[:2] == ["holds", "holds"]
    assert found[2] != "holds"


@pytest.mark.parametrize(("sign", "verdict"), [(0.1, "holds"), (-0.1, "fails")])
@pytest.mark.parametrize("scale", ["quick", "full"])
@pytest.mark.parametrize("claim", [forgetting.protects, forgetting.accumulates])
def test_settings_of_all_scales(claim, scale, sign, verdict, run, monkeypatch):
    asked = []

    def recorded(run, setting, arms, seeds, name):
        asked.append((setting, arms))
        values = np.arange(2.0 * seeds).reshape(seeds, 2) / 40
        return {name: values + (sign if name in ("mas", "sum") else 0) for name in arms}

    monkeypatch.setattr(_protected, "accuracies", recorded)
    # the claimed arm is the better one of the comparison
    assert verdicts(claim(dataclasses.replace(run, scale=scale))) == [verdict]
    ((setting, arms),) = asked
    assert setting.data == {"quick": "digits", "full": "fashion-mnist"}[scale]
    methods = {name: arm.method for name, arm in arms.items()}
    if claim is forgetting.protects:
        assert methods == {"none": "none", "mas": "mas-logit"}
    else:
        assert methods == {"newest": "mas-logit", "sum": "mas-logit"}
        assert arms["newest"].strength == arms["sum"].strength
