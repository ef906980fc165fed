"""Layers without a part of the model: their means, their masks, and the rule that moves them."""

import numpy as np
import pytest
import torch

from synapses import PresynapticRule
from synapses.ablations import AblatedLinear
from synapses.consolidation import PresynapticOptimizer
from synapses.layers import StochasticLinear, mean_weights

F64 = torch.float64
CHANCES = torch.tensor([[0.25, 0.5, 0.9353]], dtype=F64)
KINDS = ["ghost", "clean ghost", "unnormalised"]


def layer(kind, **options):
    torch.manual_seed(2)
    built = AblatedLinear(3, 1, kind, False, dtype=F64, **options)
    with torch.no_grad():
        built.release_probability.copy_(CHANCES)
        built.weight.fill_(1.0)
    return built


# weight 1: q/p with q = 1/2, 1, and p
MEANS = {
    "ghost": [[2.0, 1.0, 0.5 / 0.9353]],
    "clean ghost": [[1.0, 1.0, 1.0]],
    "unnormalised": [[0.25, 0.5, 0.9353]],
}


@pytest.mark.parametrize("kind", KINDS)
def test_mean_weights_and_masks(kind):
    built = layer(kind)
    np.testing.assert_allclose(built.expected_strength().detach(), MEANS[kind], rtol=1e-15)
    with mean_weights(built):
        assert abs(built(torch.ones(1, 3, dtype=F64)).item() - sum(MEANS[kind][0])) < 1e-14
    draws = 20_000
    masks = built.draw(draws)[:, 0].mean(dim=0)
    wanted = CHANCES[0] if kind == "unnormalised" else torch.full((3,), 0.5, dtype=F64)
    # 4.5 standard errors of a share: false alarm 7e-6 a synapse
    assert ((masks - wanted).abs() < 4.5 * (0.25 / draws) ** 0.5).all()
    # released synapses together give mean / chance
    for _ in range(20):
        output = built(torch.ones(1, 3, dtype=F64)).item()
        gain = torch.tensor(MEANS[kind], dtype=F64) / wanted
        assert abs(output - (gain * built.last_mask).sum().item()) < 1e-14


@pytest.mark.parametrize("kind", KINDS)
def test_they_start_with_the_mean_weights_of_a_plain_layer(kind):
    torch.manual_seed(0)
    plain = torch.nn.Linear(4, 3)
    for options in ({}, {"release_probability": 0.8}):
        torch.manual_seed(0)
        torch.testing.assert_close(
            AblatedLinear(4, 3, kind, **options).expected_strength(), plain.weight
        )
    start = 0.25 if kind == "unnormalised" else 0.5  # as in the program
    assert (AblatedLinear(4, 3, kind).release_probability == start).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_rule_moves_weight_and_ghost(kind):
    rule = PresynapticRule(0.06, 0.05, 0.1, p_freeze=0.93, variant="program")
    built = layer(kind)
    optimizer = PresynapticOptimizer(built, rule, lr=0.3)
    x = torch.tensor([[1.0, 1e-3, 2.0]], dtype=F64)
    for seed in range(8):
        torch.manual_seed(seed)
        built.zero_grad()
        built(x).square().sum().backward()
        parts = [t.detach().numpy().copy() for t in (built.weight, built.release_probability)]
        strength, p = rule.step(*parts, built.weight.grad.numpy(), 0.3)
        optimizer.step()
        np.testing.assert_allclose(built.weight.detach(), strength, atol=1e-15)
        np.testing.assert_array_equal(built.release_probability, p)
    assert built.release_probability[0, 2] == 0.9353  # frozen
    assert built.release_probability[0, 1] < 0.5  # small gradients only


def test_masks_by_example_and_generators():
    built = layer("ghost", mask="example", generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    outputs = built(torch.ones(500, 3, dtype=F64))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(outputs.unique()) == 8  # every mask of three synapses


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ablation": "phantom"}, "ablation = 'phantom': must be one of"),
        ({"mask_probability": 0.0}, "mask_probability = 0.0"),
        ({"mask_probability": 1.5}, "mask_probability = 1.5"),
        ({"release_probability": 1.2}, "release_probability = 1.2"),
    ],
)
def test_layers_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        AblatedLinear(3, 2, **{"ablation": "ghost", **change})


def test_they_are_stochastic_layers_and_say_what_they_are():
    built = layer("ghost")
    assert isinstance(built, StochasticLinear)
    assert "ablation=ghost, q=0.5" in repr(built)
