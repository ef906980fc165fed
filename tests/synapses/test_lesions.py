"""Lesions, Fisher information and counts of important synapses."""

import numpy as np
import pytest
import torch
from torch import nn

from synapses.ablations import AblatedLinear
from synapses.layers import StochasticConv2d, StochasticLinear, stochastic_layers
from synapses.lesions import diagonal_fisher, important_counts, lesion
from synapses.networks import Averaged

F64 = torch.float64


def network(**options):
    torch.manual_seed(1)
    net = nn.Sequential(
        StochasticLinear(4, 5, dtype=F64, **options), nn.Tanh(),
        StochasticLinear(5, 3, dtype=F64, **options),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(2)
    for layer in stochastic_layers(net).values():
        p = 0.25 + 0.75 * torch.rand(layer.weight.shape, generator=generator, dtype=F64)
        with torch.no_grad():
            if layer.variable == "quantal":
                layer.weight.mul_(layer.release_probability / p)
            layer.release_probability.copy_(p)
    return net


def flat(net, what):
    return torch.cat([what(layer).flatten() for layer in stochastic_layers(net).values()])


@pytest.mark.parametrize(
    ("by", "key"),
    [
        ("release_probability", lambda x: x.release_probability),
        ("strength", lambda x: x.weight.detach().abs()),
        ("product", lambda x: x.release_probability * x.weight.detach().abs()),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 1.0])
def test_the_lowest_are_silenced_over_all_layers(by, key, share):
    net = network()
    before = flat(net, lambda x: x.weight.detach().clone())
    cut = lesion(net, by, share)
    silent = flat(cut, lambda x: x.weight.detach() == 0)
    wanted = torch.zeros(35, dtype=torch.bool)
    wanted[flat(net, key).argsort()[: int(35 * share)]] = True
    assert torch.equal(silent, wanted)
    assert torch.equal(flat(net, lambda x: x.weight.detach()), before)  # left as it was
    kept = flat(cut, lambda x: x.weight.detach())
    assert torch.equal(kept[~silent], before[~silent])


def test_shares_are_exact_and_ties_broken_at_random():
    net = StochasticLinear(100, 1, release_probability=0.25)
    counts = {share: (lesion(net, "random", share).weight == 0).sum() for share in (0.29, 0.57)}
    assert counts == {0.29: 29, 0.57: 57}
    for by in ("random", "release_probability"):
        small, large, other = (
            lesion(net, by, share, seed=seed).weight == 0
            for share, seed in ((0.3, 0), (0.6, 0), (0.3, 1))
        )
        assert (large | ~small).all()  # nested
        assert not torch.equal(small, other)
        assert not small[0, :30].all()


def by_hand(net, inputs, targets):
    """Return the Fisher diagonal by one backward pass a sample, every p set to 1."""
    layers = stochastic_layers(net)
    strengths = {name: layer.expected_strength().detach() for name, layer in layers.items()}
    total = {name: torch.zeros_like(value) for name, value in strengths.items()}
    for x, y in zip(inputs, targets, strict=True):
        weights = {name: value.clone().requires_grad_() for name, value in strengths.items()}
        hidden = (weights["0"] @ x + net[0].bias).tanh()
        outputs = weights["2"] @ hidden + net[2].bias
        outputs.log_softmax(0)[y].backward()
        for name, weight in weights.items():
            total[name] += weight.grad**2
    return {name: value / len(inputs) for name, value in total.items()}


@pytest.mark.parametrize("kind", ["expected", "quantal", "averaged"])
def test_fisher_information_is_that_of_single_samples(kind):
    net = network(variable="quantal" if kind == "quantal" else "expected")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(11, 4, generator=generator, dtype=F64)
    y = torch.randint(0, 3, (11,), generator=generator)
    wanted = by_hand(net, x, y)
    if kind == "averaged":
        found = diagonal_fisher(Averaged(net), x, y, chunk=4)
        found = {name.removeprefix("network."): value for name, value in found.items()}
    else:
        found = diagonal_fisher(net, x, y, chunk=4)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-15)
    assert net.training
    assert (flat(net, lambda layer: layer.release_probability) < 1).any()


def test_fisher_information_of_a_ghost_is_that_of_its_mean_weights():
    torch.manual_seed(0)
    ghost = AblatedLinear(3, 2, "ghost", dtype=F64, release_probability=0.8)
    plain = StochasticLinear(3, 2, dtype=F64)
    with torch.no_grad():
        plain.weight.copy_(ghost.expected_strength())
        plain.bias.copy_(ghost.bias)
    x, y = torch.randn(6, 3, dtype=F64), torch.tensor([0, 1, 0, 0, 1, 1])
    torch.testing.assert_close(diagonal_fisher(ghost, x, y)[""], diagonal_fisher(plain, x, y)[""])


def test_convolutions_have_fisher_information_too():
    net = nn.Sequential(
        StochasticConv2d(1, 2, 3, dtype=F64), nn.Flatten(), nn.Linear(8, 2).double()
    )
    found = diagonal_fisher(net, torch.randn(3, 1, 4, 4, dtype=F64), torch.tensor([0, 1, 0]))
    assert found["0"].shape == (2, 1, 3, 3)
    assert (found["0"] > 0).all()


def test_counts_by_neuron():
    net = StochasticLinear(60, 40, release_probability=0.25)
    with torch.no_grad():
        net.release_probability[:, :6] = 0.9  # six inputs matter to every neuron
    found = important_counts(net)[""]
    assert found.share == 0.1
    assert found.inputs.tolist() == [6] * 40
    assert found.outputs.tolist() == [40] * 6 + [0] * 54
    assert found.shuffled_inputs.sum() == found.shuffled_outputs.sum() == 240
    assert found.shuffled_inputs.std() > 1  # binomial: 2.3
    # 54 of 60 inputs have none, which a shuffle leaves to 0.9**40 = 1.5 % of them
    assert found.ks_outputs[0] > 0.7
    assert found.ks_outputs[1] < 1e-10
    shuffled = StochasticLinear(60, 40, release_probability=0.25)
    with torch.no_grad():
        mixed = torch.rand(40, 60, generator=torch.Generator().manual_seed(0)) < 0.1
        shuffled.release_probability[mixed] = 0.95
    assert important_counts(shuffled)[""].ks_outputs[1] > 0.01
    assert important_counts(net, cut=0.95)[""].share == 0.0


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lesion(nn.Linear(2, 2), "random", 0.5), "has no stochastic layer"),
        (lambda: lesion(network(), "importance", 0.5), "by = 'importance': must be one of"),
        (lambda: lesion(network(), "random", 1.5), "share = 1.5"),
        (lambda: important_counts(nn.Linear(2, 2)), "has no stochastic linear layer"),
        (lambda: important_counts(network(), cut=-1.0), "cut = -1.0"),
        (
            lambda: diagonal_fisher(network(), torch.ones(2, 4), torch.zeros(3, dtype=torch.long)),
            r"have shapes \(2, 4\) and \(3,\)",
        ),
        (
            lambda: diagonal_fisher(nn.Linear(2, 2), torch.ones(1, 2), torch.tensor([0])),
            "has no stochastic layer",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_input_sparsity_needs_no_symmetry():
    p = torch.full((2, 3), 0.25)
    p[0, 2] = 0.9
    found = important_counts(StochasticLinear(3, 2, release_probability=p))[""]
    np.testing.assert_array_equal(found.inputs, [1, 0])
    np.testing.assert_array_equal(found.outputs, [0, 0, 1])


def test_frozen_layers_have_the_same_fisher_information_and_stay_frozen():
    net = network(variable="quantal")
    x, y = torch.ones(3, 4, dtype=F64), torch.tensor([0, 1, 2])
    wanted = diagonal_fisher(net, x, y)
    net.requires_grad_(False)
    found = diagonal_fisher(net, x, y)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)
        assert not found[name].requires_grad
    assert not any(p.requires_grad for p in net.parameters())


def test_no_number_has_no_fisher_information():
    x = torch.full((3, 4), torch.nan, dtype=F64)
    with pytest.raises(ValueError, match="inputs: every entry must be finite"):
        diagonal_fisher(network(), x, torch.tensor([0, 1, 2]))
