"""Operation counts against torch's own counter and the counts of the spiking engine."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from synapses.energy import Operations, count_operations
from synapses.events import Network, Neurons, simulate
from synapses.layers import (
    StochasticConv2d,
    StochasticLinear,
    mean_weights,
    stochastic_layers,
)

NETWORKS = {
    "plain": lambda: nn.Sequential(nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 3)),
    "one mask": lambda: nn.Sequential(
        StochasticLinear(12, 7),
        nn.ReLU(),
        StochasticLinear(7, 5),
        nn.ReLU(),
        StochasticLinear(5, 3),
    ),
    "a mask an example": lambda: nn.Sequential(
        StochasticLinear(12, 7, mask="example"), nn.ReLU(), StochasticLinear(7, 3, mask="example")
    ),
    "convolutions": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 2, 3)),
        StochasticConv2d(2, 4, 2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 2, 3, stride=2),
        nn.Flatten(),
        StochasticLinear(2, 3),
    ),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_multiply_adds_by_torchs_counter(name, training):
    network, inputs = NETWORKS[name](), torch.randn(6, 12)
    with FlopCounterMode(display=False) as counter:
        outputs = network(inputs)
        if training:
            outputs.square().sum().backward()
    found = count_operations(network, inputs, training=training)
    assert 2 * found.synaptic == counter.get_total_flops()  # a multiply-add is two
    assert found.visits == found.synaptic
    assert all(p.grad is None or training for p in network.parameters())


@pytest.mark.parametrize("name", list(NETWORKS))
def test_draws_by_the_sizes_of_the_masks(name, monkeypatch):
    network, drawn = NETWORKS[name](), []
    for layer in stochastic_layers(network).values():

        def counted(*leading, draw=layer.draw):
            mask = draw(*leading)
            drawn.append(mask.numel())
            return mask

        monkeypatch.setattr(layer, "draw", counted)
    network(torch.ones(6, 12))
    once = sum(drawn)
    assert count_operations(network, torch.ones(6, 12)).draws == once
    if name != "plain":
        assert once > 0
    with mean_weights(network):
        assert count_operations(network, torch.ones(6, 12)).draws == 0


def test_numbers_by_hand():
    network = NETWORKS["one mask"]()
    # 84 + 35 + 15 synapses, 15 units; the first layer needs no gradient of the data
    assert count_operations(network, torch.ones(10, 12)) == Operations(1340, 1340, 134, 150)
    found = count_operations(network, torch.ones(10, 12), training=True)
    assert found.synaptic == 10 * (2 * 84 + 3 * 35 + 3 * 15)
    network[0].weight.requires_grad_(False)
    network[0].bias.requires_grad_(False)
    found = count_operations(network, torch.ones(10, 12), training=True)
    assert found.synaptic == 10 * (84 + 2 * 35 + 3 * 15)  # nothing to go back for


def test_a_convolution_in_groups():
    # 5 channels of 2 x 2 places in each of 3 samples; a weight meets every place of a sample once
    layer = nn.Conv2d(10, 5, 2, groups=5)
    with FlopCounterMode(display=False) as counter:
        layer(torch.ones(3, 10, 3, 3))
    found = count_operations(layer, torch.ones(3, 10, 3, 3))
    assert 2 * found.synaptic == counter.get_total_flops()
    # torch's counter forgets the groups in the gradient of the weights
    found = count_operations(layer, torch.ones(3, 10, 3, 3), training=True)
    assert found.synaptic == 2 * layer.weight.numel() * 3 * 4


def test_no_gradients_are_left():
    network = NETWORKS["plain"]()
    count_operations(network, torch.ones(2, 12), training=True)
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("sampler", ["per-synapse", "skip"])
def test_a_recording_in_the_same_words(sampler):
    network = Network.from_pairs(
        Neurons(3, 0.02, -0.06, -0.06, -0.05),
        source=np.repeat([3, 4], 6),
        target=np.tile([0, 1, 2], 4),
        amplitude_volt=0.0001,
        release_probability=0.25,
        delay_s=0.001,
        source_rate_hz=np.array([100.0, 50.0]),
    )
    run = simulate(network, 1.0, 0.001, 1, sampler=sampler, record_events=True)
    found = count_operations(run)
    assert run.events is not None
    assert found.synaptic == run.events.released.sum()
    assert found.state_updates == 3 * 1000
    if sampler == "per-synapse":
        assert found.visits == run.events.synapse.size
    # a number for each synapse a spike reached, and one an interval between spikes of a source
    assert found.draws == run.operations.draws + run.operations.external_draws
    assert found.draws > run.operations.draws > 0


@pytest.mark.bad_input
def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="subject = 3"):
        count_operations(3)
    with pytest.raises(ValueError, match="inputs = None"):
        count_operations(nn.Linear(2, 2))
    neurons = Neurons(1, 0.02, -0.06, -0.06, -0.05)
    empty = np.zeros(0, dtype=int)
    network = Network.from_pairs(
        neurons, source=empty, target=empty, amplitude_volt=0.0, release_probability=0.5,
        delay_s=0.001,
    )  # fmt: skip
    with pytest.raises(ValueError, match="must be left out for a recording"):
        count_operations(simulate(network, 0.01, 0.001, 0), training=True)
