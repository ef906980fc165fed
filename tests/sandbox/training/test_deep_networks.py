"""VGG11, Wide-ResNet18 and the deep autoencoder: what they compute, hold and refuse."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sandbox.training.models import autoencoder, vgg11, wide_resnet18
from theory.streams import Streams

STREAMS = Streams(6)
BUILDERS = {"vgg11": vgg11, "wrn18": wide_resnet18}
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]


def count_of(model):
    return sum(parameter.numel() for parameter in model.parameters())


def layers_of(model, *kinds):
    return [layer for layer in model.modules() if isinstance(layer, kinds)]


def test_vgg11_holds_the_layers_of_configuration_a():
    model = vgg11((3, 32, 32), 10, streams=STREAMS)
    channels = [64, 128, 256, 256, 512, 512, 512, 512]
    found = layers_of(model, nn.Conv2d, nn.Linear)
    assert [tuple(layer.weight.shape) for layer in found[:-1]] == [
        (after, before, 3, 3) for before, after in zip([3, *channels], channels, strict=False)
    ]
    assert tuple(found[-1].weight.shape) == (10, 512)
    kinds = [type(layer).__name__ for layer in model if not isinstance(layer, nn.ReLU)]
    single, double = ["Conv2d", "MaxPool2d"], ["Conv2d", "Conv2d", "MaxPool2d"]
    blocks = [*single, *single, *double, *double, *double]
    assert kinds == ["Unflatten", *blocks, "Flatten", "Linear"]
    # the same network with batch normalisation and all biases has 9,231,114 in common use:
    # 2 numbers for each of 2752 channels more
    assert count_of(model) == 9_231_114 - 2 * 2752 == 9_225_610
    assert count_of(vgg11((3, 32, 32), 10, streams=STREAMS, batch_norm=True)) == 9_231_114 - 2752


def test_wide_resnet18_holds_the_layers_of_resnet18():
    model = wide_resnet18((3, 32, 32), 10, streams=STREAMS, batch_norm=True)
    assert count_of(model) == 11_173_962  # as in common use for 32 x 32 images
    found = [layer for layer in layers_of(model, nn.Conv2d) if layer.kernel_size == (3, 3)]
    assert [layer.out_channels for layer in found] == [64] * 5 + [128] * 4 + [256] * 4 + [512] * 4
    assert [layer.stride[0] for layer in found] == [1] * 5 + [2, 1, 1, 1] * 3
    short = [layer for layer in layers_of(model, nn.Conv2d) if layer.kernel_size == (1, 1)]
    assert [tuple(layer.weight.shape[:2]) for layer in short] == [(128, 64), (256, 128), (512, 256)]
    assert [layer.stride for layer in short] == [(2, 2)] * 3
    assert len(layers_of(model, nn.BatchNorm2d)) == len(found) + len(short)
    plain = wide_resnet18((3, 32, 32), 10, streams=STREAMS)
    biases = 64 * 5 + (128 + 256 + 512) * 5
    assert count_of(plain) == 11_173_962 - biases  # a bias in the place of two numbers a channel
    assert not layers_of(plain, nn.BatchNorm2d)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_wide_resnet18_is_its_formula(activation, batch_norm):
    model = wide_resnet18(
        (2, 9, 6), 3, streams=STREAMS, width=1 / 32, activation=activation,
        batch_norm=batch_norm, dtype=torch.float64,
    )  # fmt: skip
    phi = getattr(torch, activation)
    weights = {name: value for name, value in model.state_dict().items() if value.ndim}
    inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 108)))
    generator = torch.Generator().manual_seed(0)
    for name in weights:  # nothing is left at 0 or 1, so that nothing can be forgotten
        if name.endswith(("running_var", "running_mean", "bias")):
            weights[name].copy_(torch.rand(weights[name].shape, generator=generator) + 0.5)
    parts = iter(list(weights.values()))

    def convolved(x, stride, padding):
        weight = next(parts)
        if not batch_norm:
            return functional.conv2d(x, weight, next(parts), stride, padding)
        x = functional.conv2d(x, weight, None, stride, padding)
        scale, shift, mean, variance = (next(parts)[:, None, None] for _ in range(4))
        return (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift

    x = phi(convolved(inputs.reshape(5, 2, 9, 6), 1, 1))
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage and not block else 1
            residual = convolved(phi(convolved(x, stride, 1)), 1, 1)
            x = phi(residual + (convolved(x, stride, 0) if stride == 2 else x))
    assert x.shape == (5, 16, 2, 1)  # 9 -> 5 -> 3 -> 2, 6 -> 3 -> 2 -> 1
    expected = x.mean(dim=(2, 3)) @ next(parts).T + next(parts)
    assert next(parts, None) is None
    with torch.no_grad():
        np.testing.assert_allclose(model.eval()(inputs).numpy(), expected.numpy(), rtol=1e-10)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("shape", [(28, 28), (3, 32, 32), (8, 8), (1, 1), (3, 7, 50), (1, 33, 65)])
@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_images_of_any_size_will_do(build, shape, batch_norm, device):
    options = {"width": 1 / 32, "batch_norm": batch_norm, "device": device}
    model = build(shape, 7, streams=STREAMS, **options)
    inputs = torch.ones(4, int(np.prod(shape)), device=device)
    outputs = model(inputs)
    assert outputs.shape == (4, 7)
    outputs.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_small_images_end_as_one_pixel_and_larger_ones_as_more():
    heads = {shape: vgg11(shape, 10, streams=STREAMS, width=1 / 32)[-1].in_features
             for shape in ((8, 8), (28, 28), (32, 32), (33, 32), (64, 64))}  # fmt: skip
    assert heads == {(8, 8): 16, (28, 28): 16, (32, 32): 16, (33, 32): 32, (64, 64): 64}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_a_network_follows_from_root_and_index_alone(build):
    def weights(root=0, **options):
        model = build((4, 4), 3, streams=Streams(root), width=1 / 32, **options)
        return torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()

    alone = weights(index=3)
    before = torch.get_rng_state()
    assert weights(index=1) != alone != weights(1, index=3)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        assert weights(index=3) == alone
    assert weights(index=3, gain=2.0) != alone


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_options_reach_the_network(build):
    options = {"streams": STREAMS, "width": 1 / 16}
    normalised = build((4, 4), 3, batch_norm=True, **options)
    assert all(layer.bias is None for layer in layers_of(normalised, nn.Conv2d))
    assert layers_of(normalised, nn.Linear)[0].bias is not None
    for layer in layers_of(normalised, nn.BatchNorm2d):
        assert (layer.weight == 1).all()
        assert not layer.bias.any()
    bare = build((4, 4), 3, bias=False, **options)
    assert not any(name.endswith("bias") for name in bare.state_dict())
    started = build((4, 4), 3, bias=0.25, dtype=torch.float64, **options)
    found = [p for name, p in started.named_parameters() if name.endswith("bias")]
    assert all((p == 0.25).all() for p in found)
    assert {p.dtype for p in started.parameters()} == {torch.float64}
    assert len(layers_of(build((4, 4), 3, activation="tanh", **options), nn.Tanh)) > 5
    # Kaiming's normal law: variance 2 / fan-in, over 128 x 128 x 9 numbers
    weight = layers_of(build((4, 4), 3, streams=STREAMS, width=1 / 4), nn.Conv2d)[-1].weight
    assert weight.square().mean().item() == pytest.approx(2 / weight[0].numel(), rel=0.05)


@pytest.mark.bad_input
@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8,), {}, r"shape = \(8,\): must be 2 or more"),
        ((1, 3, 8, 8), {}, r"must be \(height, width\)"),
        ((0, 8), {}, r"shape\[0\] = 0"),
        ((8, 8), {"width": 0.0}, "width = 0.0: must be"),
        ((8, 8), {"width": float("nan")}, "width = nan"),
        ((8, 8), {"activation": "selu"}, "activation = 'selu'"),
        ((8, 8), {"init": "he"}, "init = 'he'"),
        ((8, 8), {"gain": 0.0}, "gain = 0.0"),
        ((8, 8), {"bias": float("inf")}, "bias = inf"),
    ],
)
def test_what_makes_no_network_is_refused(build, shape, options, message):
    with pytest.raises(ValueError, match=message):
        build(shape, 3, streams=STREAMS, **({"width": 1 / 32} | options))
    with pytest.raises(ValueError, match="outputs = 0"):
        build((8, 8), 0, streams=STREAMS, width=1 / 32)


def test_the_deep_autoencoder_of_the_papers_can_be_built():
    """d-1000-500-250-30-250-500-1000-d, tanh everywhere but in code and output."""
    model = autoencoder([784, 1000, 500, 250, 30], streams=STREAMS)
    widths = [784, 1000, 500, 250, 30, 250, 500, 1000, 784]
    found = layers_of(model, nn.Linear)
    assert [(layer.in_features, layer.out_features) for layer in found] == list(
        zip(widths, widths[1:], strict=False)
    )
    kinds = [[type(layer).__name__ for layer in half] for half in model]
    assert kinds == [["Linear", "Tanh", "Linear", "Tanh", "Linear", "Tanh", "Linear"]] * 2


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_depth_without_normalisation_keeps_signals_alive(build):
    """With Kaiming's law outputs of unit inputs neither vanish nor overflow."""
    model = build((3, 32, 32), 10, streams=STREAMS, width=1 / 4)
    inputs = torch.from_numpy(np.random.default_rng(1).normal(size=(8, 3072))).float()
    with torch.no_grad():
        size = model(inputs).square().mean().sqrt().item()
    assert 0.1 < size < 100
