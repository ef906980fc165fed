"""Stochastic layers and the presynaptic rule on a CUDA device."""

import numpy as np
import pytest
import torch

from synapses import PresynapticRule
from synapses.consolidation import PresynapticOptimizer, presynaptic_step
from synapses.layers import StochasticConv2d, StochasticLinear
from synapses.networks import stochastic_mlp
from theory.streams import Streams

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@pytest.mark.parametrize("draws", ["exact", "16-bit"])
@pytest.mark.parametrize("mask", ["batch", "example"])
def test_synapses_release_with_their_probability(mask, draws):
    p = torch.linspace(0.05, 0.95, 10, device="cuda")[:, None].expand(10, 2000)
    generator = torch.Generator("cuda").manual_seed(0)
    layer = StochasticLinear(
        2000, 10, release_probability=p, mask=mask, draws=draws, generator=generator, device="cuda"
    )
    n = 20
    found = torch.stack([layer.draw() for _ in range(n)]).mean(dim=(0, 2)).cpu().numpy()
    chance = p[:, 0].cpu().numpy()
    # 5 standard errors for each of 10 frequencies: false alarm 6e-6
    assert (np.abs(found - chance) < 5 * np.sqrt(chance * (1 - chance) / (2000 * n))).all()
    assert layer(torch.ones(3, 2000, device="cuda")).shape == (3, 10)


def test_a_step_of_the_rule_is_that_of_the_cpu():
    rule = PresynapticRule(0.07, 0.06, 0.5, p_freeze=0.9, variant="program")
    generator = torch.Generator().manual_seed(1)
    w, g = (torch.randn(100, dtype=torch.float64, generator=generator) for _ in range(2))
    p = 0.25 + 0.75 * torch.rand(100, dtype=torch.float64, generator=generator)
    here = presynaptic_step(rule, w, p, g, 0.1, 0.01)
    there = presynaptic_step(rule, w.cuda(), p.cuda(), g.cuda(), 0.1, 0.01)
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-14, atol=1e-16)


def test_a_network_learns():
    net = stochastic_mlp((20, 30, 2), streams=Streams(0), device="cuda")
    rule = PresynapticRule(0.07, 0.07, 0.001, variant="program")
    optimizer = PresynapticOptimizer(net, rule, 0.1)
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(200, 20, generator=generator).cuda()
    labels = (inputs[:, 0] > 0).long()
    losses = []
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for _ in range(200):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(inputs), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:20])
    assert net[0].release_probability.is_cuda
    assert (net[0].release_probability != 0.25).any()


def test_a_convolution_releases():
    layer = StochasticConv2d(2, 3, 3, release_probability=0.5, device="cuda")
    assert layer(torch.ones(4, 2, 8, 8, device="cuda")).shape == (4, 3, 6, 6)
