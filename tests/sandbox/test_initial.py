"""Starting weights: the laws that the names promise, from the named stream, at any precision."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from sandbox.training.initial import INITIALISATIONS, initialise
from sandbox.training.models import mlp
from sandbox.training.names import Initialisation
from theory.streams import Streams

ALPHA = 1e-3
"""Chance that a right sampler fails one statistical test; the seeds are fixed."""

LAYERS = {
    "linear": (lambda: nn.Linear(180, 90), 180, 90),
    "convolution": (lambda: nn.Conv2d(12, 40, (3, 5), stride=2), 12 * 15, 40 * 15),
}
"""A layer with its fans: n_in, n_out."""


def within(edge):
    return stats.uniform(-edge, 2 * edge)


LAWS = {
    "torch": lambda n_in, n_out: within(1 / n_in**0.5),
    "kaiming-normal": lambda n_in, n_out: stats.norm(0, (2 / n_in) ** 0.5),
    "kaiming-uniform": lambda n_in, n_out: within((6 / n_in) ** 0.5),
    "glorot-normal": lambda n_in, n_out: stats.norm(0, (2 / (n_in + n_out)) ** 0.5),
    "glorot-uniform": lambda n_in, n_out: within((6 / (n_in + n_out)) ** 0.5),
}
"""The laws as the papers have them."""


def made(layer, init="torch", root=0, **options):
    return initialise(layer.double(), init, streams=Streams(root), **options)


def entries(tensor):
    return tensor.detach().numpy().ravel()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("init", LAWS)
def test_weights_follow_the_law_of_their_name(init, kind):
    build, n_in, n_out = LAYERS[kind]
    weights = entries(made(build(), init).weight)
    law = LAWS[init](n_in, n_out)
    assert stats.kstest(weights, law.cdf).pvalue > ALPHA
    # the variance by its own standard error, from the law's fourth moment
    kurtosis = float(law.stats("k")) + 3
    error = law.var() * math.sqrt((kurtosis - 1) / len(weights))
    z = stats.norm.isf(ALPHA / 2)
    assert np.mean(weights**2) == pytest.approx(law.var(), abs=z * error)
    # and so narrow that the fans of the other direction would be noticed
    other = LAWS[init](n_out, n_in).var() if "glorot" not in init else 2 / n_in
    assert abs(other - law.var()) > 3 * z * error
    if "normal" not in init:
        assert np.abs(weights).max() <= law.support()[1]


@pytest.mark.parametrize("kind", LAYERS)
def test_fans_are_those_of_torch(kind):
    build, n_in, n_out = LAYERS[kind]
    assert nn.init._calculate_fan_in_and_fan_out(build().weight) == (n_in, n_out)


def test_default_biases_are_torchs_and_the_others_zero():
    layer = made(nn.Linear(50, 4000))
    law = within(1 / 50**0.5)
    assert stats.kstest(entries(layer.bias), law.cdf).pvalue > ALPHA
    for init in INITIALISATIONS:
        if init != "torch":
            assert not made(nn.Linear(5, 4), init).bias.any()
        assert (made(nn.Linear(5, 4), init, bias=0.1).bias == 0.1).all()
        assert not made(nn.Linear(5, 4), init, bias=0.0).bias.any()


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(7, 7), nn.Linear(12, 5), nn.Linear(5, 12), nn.Conv2d(3, 40, 3), nn.Conv2d(3, 4, 2)],
    ids=["square", "wide", "tall", "tall convolution", "wide convolution"],
)
@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_orthogonal_weights_have_orthonormal_rows_or_columns(layer, gain):
    W = made(layer, "orthogonal", gain=gain).weight.detach().flatten(1).numpy()
    gram = W @ W.T if W.shape[0] <= W.shape[1] else W.T @ W
    np.testing.assert_allclose(gram, gain**2 * np.eye(len(gram)), atol=1e-14)


def test_orthogonal_weights_are_uniform_over_rotations_and_reflections():
    # without the signs of R's diagonal, Householder's Q has a negative corner every time
    trials = 400
    drawn = [
        made(nn.Linear(3, 3), "orthogonal", index=k).weight.detach().numpy() for k in range(trials)
    ]
    positive = sum(W[0, 0] > 0 for W in drawn)
    assert stats.binomtest(positive, trials, 0.5).pvalue > ALPHA / 3
    assert stats.binomtest(sum(np.linalg.det(W) > 0 for W in drawn), trials, 0.5).pvalue > ALPHA / 3
    # an entry of a uniform rotation in three dimensions is uniform on [-1, 1] (Archimedes)
    corners = [W[0, 0] for W in drawn]
    assert stats.kstest(corners, stats.uniform(-1, 2).cdf).pvalue > ALPHA / 3


@pytest.mark.parametrize("init", LAWS)
def test_the_draws_are_those_of_the_named_stream_layer_by_layer(init):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Conv2d(2, 3, 2), nn.Linear(4, 2, bias=False))
    made(net, init, root=3, index=2, gain=2.0)
    generator = torch.Generator().manual_seed(Streams(3).integer("weights", 2))

    def drawn(shape, n_in, n_out):
        law, options = LAWS[init](n_in, n_out), {"generator": generator, "dtype": torch.float64}
        if "normal" in init:
            return law.std() * torch.randn(shape, **options)
        return law.support()[1] * (2 * torch.rand(shape, **options) - 1)

    for layer, (n_in, n_out) in ((net[0], (3, 4)), (net[2], (8, 12)), (net[3], (4, 2))):
        weight = 2.0 * drawn(layer.weight.shape, n_in, n_out)
        torch.testing.assert_close(layer.weight.data, weight, rtol=1e-15, atol=0)
        if layer.bias is not None:
            bias = drawn(len(layer.bias), n_in, n_out) if init == "torch" else 0 * layer.bias.data
            torch.testing.assert_close(layer.bias.data, bias, rtol=1e-15, atol=0)


@pytest.mark.parametrize("init", INITIALISATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_is_the_rounding_of_float64(init, dtype):
    options = {"streams": Streams(4), "init": init, "gain": 1.3}
    double = mlp([20, 15, 3], dtype=torch.float64, **options)
    single = mlp([20, 15, 3], dtype=dtype, **options)
    for wide, narrow in zip(double.parameters(), single.parameters(), strict=True):
        assert narrow.dtype == dtype
        assert torch.equal(narrow, wide.to(dtype))


@pytest.mark.parametrize("init", INITIALISATIONS)
def test_the_gain_multiplies_weights_and_not_biases(init):
    plain, large = (made(nn.Linear(6, 5), init, gain=gain) for gain in (1.0, 4.0))
    assert torch.equal(large.weight, 4.0 * plain.weight)
    assert torch.equal(large.bias, plain.bias)


def test_one_address_is_one_network_whatever_was_drawn_before():
    def weights(root=0, index=0):
        return tuple(made(nn.Linear(4, 3), root=root, index=index).weight.flatten().tolist())

    alone = weights(index=5)
    shared = Streams(0)
    shared.generator("weights", 5).normal(size=7)
    torch.rand(9)
    layer = nn.Linear(4, 3).double()
    assert initialise(layer, streams=shared, index=5) is layer
    assert tuple(layer.weight.flatten().tolist()) == alone == weights(index=5)
    assert len({weights(), weights(index=1), weights(root=1), alone}) == 4


def test_normalisation_layers_start_at_their_defaults():
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.LayerNorm(6), nn.GroupNorm(2, 6))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(7.0)
        net[1].running_mean.fill_(7.0)
    made(net, "orthogonal")
    for layer in net[1:]:
        assert (layer.weight == 1).all()
        assert (layer.bias == 0).all()
    assert (net[1].running_mean == 0).all()


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Embedding(3, 4)), r"layer '1' of type Embedding: only"),
        (nn.Sequential(nn.Conv1d(2, 3, 1)), r"layer '0' of type Conv1d"),
        (Bare(), r"layer 'model' of type Bare: only linear, convolutional and normalisation"),
    ],
)
def test_layers_that_cannot_be_started_by_name_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        initialise(model, streams=Streams(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "xavier"}, r"init = 'xavier': must be one of 'torch', 'kaiming-normal'"),
        ({"gain": 0.0}, r"gain = 0.0: must be a finite number in \(0, inf\)"),
        ({"gain": float("nan")}, r"gain = nan"),
        ({"streams": 0}, r"streams = 0: must be Streams, e.g. Streams\(0\)"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        initialise(nn.Linear(2, 2), **({"streams": Streams(0)} | options))


def test_every_name_has_its_words_and_its_test():
    assert set(INITIALISATIONS) == set(get_args(Initialisation)) == {*LAWS, "orthogonal"}
