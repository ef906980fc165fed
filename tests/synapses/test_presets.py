"""Published settings, the networks they make, and answers averaged over sampled networks."""

import dataclasses

import pytest
import torch
from torch import nn

from sandbox.training.models import mlp
from sandbox.training.objective import Batch, evaluate, loss_function
from synapses.ablations import AblatedLinear
from synapses.consolidation import PresynapticOptimizer
from synapses.layers import StochasticLinear, mean_weights, stochastic_layers
from synapses.networks import Averaged, MaskGenerators, stochastic_mlp
from synapses.presets import PRESETS, preset
from theory.streams import Streams

# p_up, p_down, p_freeze, rate modulation, eta, epochs, tasks, outputs: the configurations and
# scripts of github.com/smonsays/presynaptic-stochasticity; for "paper" Schug et al. (2021)
PUBLISHED = {
    "energy/program": (0.07, 0.07, 1.0, False, 0.05, 50, 1, 10),
    "energy/paper": (0.07, 0.07, 1.0, False, 0.05, 50, 1, 10),
    "permuted/program": (0.0520, 0.0516, 0.9353, True, 0.01, 10, 10, 10),
    "permuted/paper": (0.0516, 0.0520, 0.9353, True, 0.01, 10, 10, 10),
    "split/program": (0.0520, 0.0516, 0.9353, True, 0.001, 10, 5, 2),
    "split/paper": (0.0516, 0.0520, 0.9353, True, 0.001, 10, 5, 2),
    "permuted/ablation, full": (0.04460148, 0.04021639, 0.94791622, True, 0.01, 10, 10, 10),
    "permuted/ablation, no freezing": (0.04522727, 0.04378614, 1.0, True, 0.01, 10, 10, 10),
    "permuted/ablation, no rate modulation": (
        0.08535058, 0.03559312, 0.92272659, False, 0.01, 10, 10, 10,
    ),
    "permuted/ablation, ghost": (0.0571483, 0.05188978, 0.92943784, True, 0.01, 10, 10, 10),
    "split/ablation, full": (0.05835393, 0.0624703, 0.94452875, True, 0.001, 10, 5, 2),
    "split/ablation, no freezing, no rate modulation": (
        0.01798108, 0.09587958, 1.0, False, 0.001, 10, 5, 2,
    ),
    "split/ablation, unnormalised": (0.09717001, 0.02838338, 0.9499824, True, 0.001, 10, 5, 2),
    "split/ablation, clean ghost": (0.09764242, 0.09833934, 0.9466155, True, 0.001, 10, 5, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_are_those_published(name):
    found = preset(name)
    rule = found.rule
    assert PUBLISHED[name] == (
        rule.p_up, rule.p_down, rule.p_freeze, rule.rate_modulation,
        found.learning_rate, found.epochs, found.tasks, found.widths[-1],
    )  # fmt: skip
    assert (rule.g_lim, rule.p_min, rule.p_max) == (0.001, 0.25, 1.0)
    assert rule.variant == ("printed" if name.endswith("/paper") else "program")
    assert found.source == ("paper" if name.endswith("/paper") else "program")
    assert found.widths[:-1] == (784, 200, 200)
    assert (found.batch_size, found.samples) == (100, 10)


def test_controls_are_those_published():
    rates = {name: (p.method, p.learning_rate) for name, p in PRESETS.items() if p.rule is None}
    assert rates == {
        "energy/deterministic": ("sgd", 0.08),
        "energy/fixed release": ("sgd", 0.05),
        "permuted/plain, mnist": ("sgd", 1e-3),
        "permuted/plain, fashion-mnist": ("adam", 1e-6),
        "permuted/joint": ("adam", 1e-3),
        "split/plain, mnist": ("adam", 1e-6),
        "split/plain, fashion-mnist": ("sgd", 1e-4),
        "split/joint": ("adam", 1e-3),
    }
    fixed = preset("energy/fixed release")
    assert fixed.release_probability == 0.4
    assert fixed.weight_decays == (0.0, 0.001, 0.005, 0.01, 0.05, 0.1)
    perceptron = preset("perceptron").rule
    assert (perceptron.p_up, perceptron.g_lim, perceptron.p_freeze) == (0.2, 0.1, 0.9)


@pytest.mark.parametrize(
    "name", ["permuted/program", "split/ablation, unnormalised", "split/plain, mnist"]
)
def test_networks_start_from_the_weights_of_the_plain_network(name):
    small = dataclasses.replace(preset(name), widths=(20, 7, 3))
    before = torch.get_rng_state()
    network = small.network(streams=Streams(3), index=2, dtype=torch.float64)
    assert torch.equal(torch.get_rng_state(), before)
    plain = mlp([20, 7, 3], streams=Streams(3), index=2, dtype=torch.float64)
    x = torch.randn(5, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with mean_weights(network.train()):
        torch.testing.assert_close(network(x), plain(x), atol=1e-14, rtol=0)


def test_kinds_of_networks_and_optimisers():
    build = {"streams": Streams(0)}
    full = dataclasses.replace(preset("split/program"), widths=(6, 5, 2))
    network = full.network(**build)
    assert isinstance(network, Averaged)
    assert network.samples == 10
    layers = list(stochastic_layers(network).values())
    assert [type(layer) for layer in layers] == [StochasticLinear] * 2
    assert all((layer.release_probability == 0.25).all() for layer in layers)
    rule = full.optimizer(network, 0.01)
    assert isinstance(rule, PresynapticOptimizer)
    assert rule.param_groups[0]["lr"] == 0.001
    assert rule.param_groups[0]["weight_decay"] == 0.01
    ghost = dataclasses.replace(preset("split/ablation, ghost"), widths=(6, 5, 2)).network(**build)
    for layer in stochastic_layers(ghost).values():
        assert isinstance(layer, AblatedLinear)
        assert (layer.release_probability == 0.5).all()  # as the program starts it
    plain = dataclasses.replace(preset("split/plain, mnist"), widths=(6, 5, 2))
    network = plain.network(**build)
    assert [type(layer) for layer in network] == [nn.Linear, nn.ReLU, nn.Linear]
    assert type(plain.optimizer(network)) is torch.optim.Adam


def test_averaged_answers_are_mean_probabilities():
    network = stochastic_mlp((4, 6, 3), streams=Streams(1), dtype=torch.float64)
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.manual_seed(5)
    wanted = torch.stack([network(x).softmax(dim=1) for _ in range(7)]).mean(dim=0)
    averaged = Averaged(network, samples=7)
    torch.manual_seed(5)
    torch.testing.assert_close(averaged.eval()(x).exp(), wanted)
    torch.manual_seed(5)
    labels = wanted.argmin(dim=1)
    found = evaluate(averaged, Batch(x, labels), loss_function("cross-entropy"))
    assert found.accuracy == 0.0
    chosen = wanted.gather(1, labels[:, None])
    assert abs(found.loss + chosen.log().mean().item()) < 1e-12
    torch.manual_seed(5)
    once = network(x)
    torch.manual_seed(5)
    assert torch.equal(averaged.train()(x), once)


@pytest.mark.bad_input
def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="the nearest is 'permuted/program'"):
        preset("permuted/programme")
    with pytest.raises(ValueError, match="experiment = 'perceptron': has one layer and a sign"):
        preset("perceptron").network(streams=Streams(0))
    with pytest.raises(ValueError, match="must be two or more layer widths"):
        stochastic_mlp((3,), streams=Streams(0))
    with pytest.raises(ValueError, match="a network without release has nothing to lack"):
        stochastic_mlp((3, 2), streams=Streams(0), release_probability=None, ablation="ghost")
    with pytest.raises(ValueError, match=r"widths\[1\] = 0"):
        stochastic_mlp((3, 0), streams=Streams(0))
    with pytest.raises(ValueError, match="samples = 0"):
        Averaged(nn.Linear(2, 2), samples=0)
    with pytest.raises(ValueError, match="no stochastic layer with a generator of its own"):
        MaskGenerators(stochastic_mlp((3, 2), streams=Streams(0)))
