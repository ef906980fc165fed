"""Networks trained at once by the claims, against the training loop, one by one."""

import numpy as np
import pytest
import torch
from torch import nn

from sandbox.claims.schug2021presynaptic._together import Together, train_together
from sandbox.training.data import load
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from sandbox.training.tasks import permuted_tasks
from synapses import PresynapticRule
from synapses.consolidation import PresynapticOptimizer
from synapses.networks import stochastic_mlp
from theory.streams import Streams

# p from 1 down to 1: every synapse always releases, so that both draw no differing mask
CERTAIN = PresynapticRule(0.0, 0.0, 0.001, p_max=1.0, rate_modulation=False)
SEEDS = [Streams(3), Streams(4)]


def stochastic(model):
    return PresynapticOptimizer(model, CERTAIN, 0.2, 0.01)


def plain(model):
    return torch.optim.SGD(model.parameters(), 0.2)


@pytest.mark.parametrize(("release", "optimizer"), [(1.0, stochastic), (None, plain)])
def test_each_member_goes_the_way_it_goes_alone(release, optimizer):
    data = load("digits", scaling="standard")
    plan = Plan(epochs=2, batch_size=128)

    def build():
        return [
            stochastic_mlp((64, 12, 10), streams=own, release_probability=release) for own in SEEDS
        ]

    tasks = [permuted_tasks(data, 2, streams=own) for own in SEEDS]
    together = build()
    found = train_together(together, tasks, optimizer, plan, SEEDS)
    alone = build()
    for i, (network, stream, own) in enumerate(zip(alone, tasks, SEEDS, strict=True)):
        history = fit(network, stream, optimizer(network), plan, streams=own)
        # float32 sums in another order: a few samples of 359 may change sides
        np.testing.assert_allclose(found[i], history.accuracy_matrix().values[-1], atol=0.01)
        for a, b in zip(network.parameters(), together[i].parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)
    assert not torch.allclose(together[0][0].weight, together[1][0].weight, atol=0.01)


def test_members_draw_masks_of_their_own_and_keep_their_probabilities():
    networks = [stochastic_mlp((6, 5, 3), streams=own) for own in SEEDS]
    networks[1][0].release_probability.fill_(1.0)
    model = Together(networks)
    rule = PresynapticRule(0.1, 0.1, 1e-3, variant="program")
    optimizer = PresynapticOptimizer(model, rule, 0.1)
    torch.manual_seed(0)
    x = torch.randn(1, 4, 6).expand(2, 4, 6)
    outputs = model(x)
    assert outputs.shape == (2, 4, 3)
    outputs.square().sum().backward()
    optimizer.step()
    model.write_back()
    first, second = (network[0].release_probability for network in networks)
    assert first.unique().tolist() == pytest.approx([0.25, 0.325])
    assert (second == 1).all()
    assert isinstance(networks[0][1], nn.ReLU)
