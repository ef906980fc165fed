"""Networks: what they compute, written out by hand; what they are made of; what they refuse."""

import itertools
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from scipy.special import erf, expit
from torch import nn

from sandbox.training.models import ACTIVATIONS, autoencoder, cnn, deep_linear, mlp
from sandbox.training.names import Activation
from theory.streams import Streams

STREAMS = Streams(6)
BY_HAND = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": expit,
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "linear": lambda x: x,
}


def inputs_of(count, features, seed=0):
    return np.random.default_rng(seed).normal(size=(count, features))


def values_of(model, inputs):
    with torch.no_grad():
        return model(torch.tensor(inputs)).numpy()


def pairs_of(model):
    """Weights and biases in the order of the layers, as numpy arrays."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers]


def count_of(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("activation", BY_HAND)
def test_a_perceptron_is_its_formula(activation):
    model = mlp([4, 5, 6, 3], activation=activation, streams=STREAMS, dtype=torch.float64)
    x = h = inputs_of(7, 4)
    for number, (W, b) in enumerate(pairs_of(model)):
        h = h @ W.T + b
        h = BY_HAND[activation](h) if number < 2 else h  # the last layer is linear
    np.testing.assert_allclose(values_of(model, x), h, atol=1e-14)


def test_every_activation_is_tested():
    assert set(BY_HAND) == set(ACTIVATIONS) == set(get_args(Activation))


def test_parameters_are_counted():
    widths = [784, 200, 200, 10]
    # 784 x 200 + 200 x 200 + 200 x 10; with biases 410 more
    assert count_of(mlp(widths, streams=STREAMS, bias=False)) == 198_800
    assert count_of(mlp(widths, streams=STREAMS)) == 199_210
    assert count_of(mlp((3, 2), streams=STREAMS)) == 8


@pytest.mark.parametrize("build", [mlp, autoencoder])
def test_biases_can_start_from_a_number(build):
    for bias in (0.1, 0.0, 0):
        model = build([5, 4, 3], streams=STREAMS, bias=bias, dtype=torch.float64)
        found = [p for name, p in model.named_parameters() if name.endswith("bias")]
        assert len(found) == (2 if build is mlp else 4)
        assert all((p == bias).all() for p in found)
    pure = build([5, 4], streams=STREAMS, bias=False)
    assert not any("bias" in name for name in pure.state_dict())


def test_a_convolutional_network_has_biases_to_choose_too():
    options = {"streams": STREAMS, "blocks": ((2,),), "hidden": (3,), "dropout": ()}
    model = cnn((4, 4), 2, bias=0.1, **options)
    found = [p for name, p in model.named_parameters() if name.endswith("bias")]
    assert len(found) == 3
    assert all((p == torch.tensor(0.1)).all() for p in found)
    assert not any("bias" in name for name in cnn((4, 4), 2, bias=False, **options).state_dict())


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_convolutional_network_is_its_formula(activation):
    shape, phi = (2, 5, 6), BY_HAND[activation]
    model = cnn(
        shape,
        3,
        blocks=((4, 3), (2,)),
        hidden=(7,),
        dropout=(),
        activation=activation,
        streams=STREAMS,
        dtype=torch.float64,
    )
    x = inputs_of(4, 60)
    parameters = iter(pairs_of(model))

    def convolved(image, W, b):
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
        maps = [correlate(padded, kernel, mode="valid")[0] for kernel in W]
        return phi(np.stack(maps) + b[:, None, None])

    def pooled(maps):
        # odd sides keep what is left over: rows and columns of -inf complete the squares
        full = np.pad(
            maps,
            ((0, 0), (0, maps.shape[1] % 2), (0, maps.shape[2] % 2)),
            constant_values=-np.inf,
        )
        corners = [full[:, i::2, j::2] for i, j in itertools.product(range(2), repeat=2)]
        return np.max(corners, axis=0)

    images = list(x.reshape(4, *shape))
    for block in (2, 1):
        for _ in range(block):
            W, b = next(parameters)
            images = [convolved(image, W, b) for image in images]
        images = [pooled(image) for image in images]
    assert images[0].shape == (2, 2, 2)  # 5 -> 3 -> 2, 6 -> 3 -> 2
    h = np.stack(images).reshape(4, -1)
    W, b = next(parameters)
    h = phi(h @ W.T + b)
    W, b = next(parameters)
    np.testing.assert_allclose(values_of(model, x), h @ W.T + b, atol=1e-13)


@pytest.mark.parametrize(
    ("shape", "flat"),
    [
        ((28, 28), 64 * 7 * 7),  # 28 -> 14 -> 7
        ((8, 8), 64 * 2 * 2),
        ((3, 32, 32), 64 * 8 * 8),
        ((1, 7, 5), 64 * 2 * 2),  # 7 -> 4 -> 2, 5 -> 3 -> 2
        ((1, 1), 64),
    ],
)
def test_feature_maps_are_halved_rounding_up(shape, flat):
    model = cnn(shape, 10, streams=STREAMS).eval()
    first = next(layer for layer in model if isinstance(layer, nn.Linear))
    assert first.in_features == flat
    features = int(np.prod(shape))
    assert model(torch.zeros(2, features)).shape == (2, 10)


def test_the_default_is_the_network_of_the_split_cifar_experiments():
    # 3 x 3 convolutions 3-32-32-64-64 with biases, 4096-512-10: Zenke et al. (2017), appendix
    convolutions = 9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 2 * (32 + 64)
    linear = 4096 * 512 + 512 + 512 * 10 + 10
    model = cnn((3, 32, 32), 10, streams=STREAMS)
    assert count_of(model) == convolutions + linear == 2_168_362
    kinds = [type(layer).__name__ for layer in model]
    block = ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d", "Dropout"]
    head = ["Flatten", "Linear", "ReLU", "Dropout", "Linear"]
    assert kinds == ["Unflatten", *block, *block, *head]
    shares = [layer.p for layer in model if isinstance(layer, nn.Dropout)]
    assert shares == [0.25, 0.25, 0.5]


def test_dropout_is_optional_and_acts_in_training_alone():
    options = {"streams": STREAMS, "blocks": ((4,),), "hidden": (6,)}
    x = torch.ones(3, 64)
    model = cnn((8, 8), 2, dropout=(0.5, 0.5), **options)
    with torch.random.fork_rng():
        assert not torch.equal(model.train()(x), model.train()(x))
    assert torch.equal(model.eval()(x), model.eval()(x))
    pure = cnn((8, 8), 2, dropout=(), **options)
    assert torch.equal(model(x), pure(x))  # the same weights, dropout or not
    assert not any(isinstance(layer, nn.Dropout) for layer in pure)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mlp([4], streams=STREAMS), r"widths = \[4\]: must be 2 or more layer widths"),
        (lambda: mlp("64", streams=STREAMS), r"widths = '64'"),
        (lambda: mlp([4, 0, 2], streams=STREAMS), r"widths\[1\] = 0: must be a whole number >= 1"),
        (lambda: mlp([4, 2.5], streams=STREAMS), r"widths\[1\] = 2.5"),
        (
            lambda: mlp([4, 2], streams=STREAMS, activation="selu"),
            r"activation = 'selu': must be one of 'relu', 'tanh'",
        ),
        (lambda: mlp([4, 2], streams=STREAMS, init="he"), r"init = 'he'"),
        (lambda: mlp([4, 2], streams=STREAMS, gain=-1), r"gain = -1"),
        (lambda: mlp([4, 2], streams=STREAMS, bias=float("inf")), r"bias = inf"),
        (lambda: autoencoder([4], streams=STREAMS), r"widths = \[4\]"),
        (lambda: cnn((8,), 10, streams=STREAMS), r"shape = \(8,\): must be 2 or more"),
        (lambda: cnn((1, 3, 8, 8), 10, streams=STREAMS), r"must be \(height, width\)"),
        (lambda: cnn((8, 8), 0, streams=STREAMS), r"outputs = 0"),
        (
            lambda: cnn((8, 8), 10, streams=STREAMS, dropout=(0.5, 0.5)),
            r"dropout = \(0.5, 0.5\): must be 3 shares, one a block and one for the hidden",
        ),
        (
            lambda: cnn((8, 8), 10, streams=STREAMS, dropout=(0.5, 1.5, 0.5)),
            r"dropout\[1\] = 1.5: must be a finite number in \[0, 1\]",
        ),
        (lambda: cnn((8, 8), 10, streams=STREAMS, blocks=((4,), ())), r"blocks\[1\] = \(\)"),
        (lambda: cnn((8, 8), 10, streams=STREAMS, hidden=(0,)), r"hidden\[0\] = 0"),
        (lambda: deep_linear([np.ones((3, 2)), np.ones((4, 5))]), r"weights\[1\] has shape"),
        (lambda: deep_linear([]), r"weights = \[\]"),
    ],
)
def test_what_makes_no_network_is_refused(call, message):
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        call()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_an_autoencoder_is_its_formula(activation):
    model = autoencoder([6, 5, 4, 2], activation=activation, streams=STREAMS, dtype=torch.float64)
    phi = BY_HAND[activation]
    x = h = inputs_of(5, 6)
    pairs = pairs_of(model)
    shapes = [W.shape for W, _ in pairs]
    assert shapes == [(5, 6), (4, 5), (2, 4), (4, 2), (5, 4), (6, 5)]
    assert shapes == [shape[::-1] for shape in shapes[::-1]]  # a mirror image
    for number, (W, b) in enumerate(pairs):
        h = h @ W.T + b
        if number == 2:
            np.testing.assert_allclose(values_of(model[0], x), h, atol=1e-14)  # a linear code
        elif number < 5:
            h = phi(h)
    np.testing.assert_allclose(values_of(model, x), h, atol=1e-14)
    # halves are drawn one after the other, not tied
    assert not np.allclose(pairs[0][0], pairs[5][0].T)


def test_autoencoders_start_as_papers_do():
    # uniform within sqrt(6 / (n_in + n_out)), biases 0
    model = autoencoder([50, 30], streams=STREAMS)
    for W, b in pairs_of(model):
        assert 0.95 * (6 / 80) ** 0.5 < np.abs(W).max() <= (6 / 80) ** 0.5
        assert not b.any()


def test_a_deep_linear_network_is_a_product():
    weights = [inputs_of(4, 3), inputs_of(5, 4, seed=1), inputs_of(2, 5, seed=2)]
    model = deep_linear(weights)
    x = inputs_of(6, 3, seed=3)
    expected = x @ (weights[2] @ weights[1] @ weights[0]).T
    np.testing.assert_allclose(values_of(model, x), expected, atol=1e-13)
    for parameter, W in zip(model.parameters(), weights, strict=True):
        np.testing.assert_array_equal(parameter.detach().numpy(), W)
        with torch.no_grad():
            parameter.zero_()
        assert W.all()  # copies
    assert deep_linear(weights, dtype=torch.float32)[1].weight.dtype == torch.float32


BUILDERS = {
    "mlp": lambda **options: mlp([4, 5, 3], **options),
    "cnn": lambda **options: cnn((5, 4), 3, blocks=((2,),), hidden=(4,), dropout=(), **options),
    "autoencoder": lambda **options: autoencoder([4, 3], **options),
}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_a_network_follows_from_root_and_index_alone(build):
    def weights(root=0, **options):
        model = build(streams=Streams(root), **options)
        return torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()

    alone = weights(index=3)
    assert weights(index=1) != alone != weights(1, index=3)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert weights(index=3) == alone
    assert weights(index=3, gain=2.0) != alone
    assert weights(index=3, init="orthogonal") != alone
    double = build(streams=STREAMS, dtype=torch.float64)
    assert {p.dtype for p in double.parameters()} == {torch.float64}


@pytest.mark.parametrize(
    "build",
    [*BUILDERS.values(), lambda streams: deep_linear([np.eye(3)])],
    ids=[*BUILDERS, "deep_linear"],
)
def test_building_a_network_leaves_torchs_generator_alone(build):
    before = torch.get_rng_state()
    build(streams=Streams(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_one_seed_gives_the_same_network_on_any_device(build):
    here, there = (build(streams=STREAMS, device=device) for device in ("cpu", "cuda"))
    before = torch.cuda.get_rng_state()
    assert deep_linear([np.eye(3)], device="cuda")[0].weight.is_cuda
    build(streams=STREAMS, device="cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)
    for one, other in zip(here.parameters(), there.parameters(), strict=True):
        assert other.is_cuda
        assert torch.equal(one, other.cpu())
