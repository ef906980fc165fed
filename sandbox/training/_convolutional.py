"""Convolutional networks without shortcuts: blocks of convolutions, each pooled; VGG11."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from sandbox.training._building import (
    activation_module,
    bias_start,
    image_shape,
    layer_widths,
    placed,
    scaled,
    undrawn,
)
from sandbox.training.names import Activation, Initialisation
from theory.checks import as_integer, as_number
from theory.streams import Streams

__all__ = ["cnn", "vgg11"]


@undrawn
def cnn(
    shape: Sequence[int],
    outputs: int,
    *,
    streams: Streams,
    index: int = 0,
    blocks: Sequence[Sequence[int]] = ((32, 32), (64, 64)),
    hidden: Sequence[int] = (512,),
    dropout: Sequence[float] = (0.25, 0.25, 0.5),
    activation: Activation = "relu",
    bias: bool | float = True,
    init: Initialisation = "torch",
    gain: float = 1.0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> nn.Sequential:
    """Convolutional network: blocks of 3 x 3 convolutions, each pooled 2 x 2, then linear layers.

    The defaults are the network of the Split CIFAR experiments of Zenke, Poole & Ganguli
    (2017) with padding in every convolution, as in Benzing (2022b).

    **Shapes and units.** Inputs (sample, feature), flat; a feature map is halved,
    rounding up, after every block; outputs (sample, output).

    Parameters
    ----------
    shape : sequence of int
        Of one sample: (height, width) or (channel, height, width).
    outputs : int
        Number of outputs.
    streams : Streams
        Where the weights are drawn from.
    index : int
        Which network.
    blocks : sequence of sequence of int
        Channels of the convolutions of every block.
    hidden : sequence of int
        Widths of the linear layers before the last.
    dropout : sequence of float
        Share of units dropped after every block, and after the hidden layers; empty for none.
    activation : {"relu", "tanh", "sigmoid", "gelu", "linear"}
        After every convolution and hidden layer.
    bias : bool or float
        Whether there are biases; a number is what they all start from.
    init : str
        A key of :data:`sandbox.training.initial.INITIALISATIONS`.
    gain : float
        Factor on the starting weights.
    dtype : torch.dtype
        Type of the parameters.
    device : torch.device or str
        Where they live.

    Returns
    -------
    torch.nn.Sequential
        The network; it unflattens its inputs itself.

    Raises
    ------
    ValueError
        If a size or share is out of range, or a name is unknown.

    References
    ----------
    Zenke, Poole & Ganguli (2017), arXiv:1703.04200; Benzing (2022), arXiv:2006.06357.

    Examples
    --------
    >>> net = cnn((8, 8), 10, streams=Streams(0), blocks=((4,),), hidden=(), dropout=())
    >>> net(torch.zeros(2, 64)).shape
    torch.Size([2, 10])
    """
    channels, height, width = image_shape(shape)
    outputs = as_integer("outputs", outputs, low=1)
    shares = [as_number(f"dropout[{i}]", p, low=0.0, high=1.0) for i, p in enumerate(dropout)]
    if shares and len(shares) != len(blocks) + 1:
        raise ValueError(
            f"dropout = {tuple(dropout)}: must be {len(blocks) + 1} shares, one a block and one for"
            " the hidden layers, or empty"
        )
    with_bias = bias is not False
    layers: list[nn.Module] = [nn.Unflatten(1, (channels, height, width))]
    for number, block in enumerate(blocks):
        after = layer_widths(f"blocks[{number}]", block, 1)
        layers += _block(channels, after, activation, bias=with_bias, batch_norm=False)
        channels, height, width = after[-1], math.ceil(height / 2), math.ceil(width / 2)
        layers += [nn.Dropout(shares[number])] if shares else []
    layers.append(nn.Flatten())
    before = channels * height * width
    for after_linear in layer_widths("hidden", hidden, 0):
        layers += [
            nn.Linear(before, after_linear, bias=with_bias),
            activation_module(activation),
        ]
        before = after_linear
    layers += [nn.Dropout(shares[-1])] if shares and hidden else []
    layers.append(nn.Linear(before, outputs, bias=with_bias))
    start = bias_start(bias)
    options = {"init": init, "streams": streams, "index": index, "gain": gain, "bias": start}
    return placed(layers, dtype, device, **options)


def _block(
    before: int, channels: Sequence[int], activation: Activation, *, bias: bool, batch_norm: bool
) -> list[nn.Module]:
    """Return 3 x 3 convolutions with their activations, and a pooling that rounds up."""
    layers: list[nn.Module] = []
    for after in channels:
        layers.append(nn.Conv2d(before, after, 3, padding=1, bias=bias and not batch_norm))
        layers += [nn.BatchNorm2d(after)] if batch_norm else []
        layers.append(activation_module(activation))
        before = after
    return [*layers, nn.MaxPool2d(2, ceil_mode=True)]


VGG11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Channels of the convolutions of every block: configuration A."""


@undrawn
def vgg11(
    shape: Sequence[int],
    outputs: int,
    *,
    streams: Streams,
    index: int = 0,
    width: float = 1.0,
    batch_norm: bool = False,
    activation: Activation = "relu",
    bias: bool | float = True,
    init: Initialisation = "kaiming-normal",
    gain: float = 1.0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> nn.Sequential:
    """VGG11 for small images: eight 3 x 3 convolutions in five blocks, one linear layer.

    Channels 64 - pool - 128 - pool - 256, 256 - pool - 512, 512 - pool - 512, 512 - pool:
    configuration A. Of its three linear layers, made for images of 224 x 224, one is left, as
    is usual where five poolings leave a single pixel.

    **Shapes and units.** Inputs (sample, feature), flat; every pooling halves the feature map,
    rounding up, so that images of any size will do: 32 x 32 and smaller end as one pixel.
    Outputs (sample, output).

    Parameters
    ----------
    shape : sequence of int
        Of one sample: (height, width) or (channel, height, width).
    outputs : int
        Number of outputs.
    streams : Streams
        Where the weights are drawn from.
    index : int
        Which network.
    width : float
        Factor on the channels of every layer, > 0; rounded, at least one channel.
    batch_norm : bool
        Whether a batch normalisation follows every convolution, whose biases it makes
        superfluous: they are left out.
    activation : {"relu", "tanh", "sigmoid", "gelu", "linear"}
        After every convolution.
    bias : bool or float
        Whether there are biases; a number is what they all start from.
    init : str
        A key of :data:`sandbox.training.initial.INITIALISATIONS`.
    gain : float
        Factor on the starting weights.
    dtype : torch.dtype
        Type of the parameters.
    device : torch.device or str
        Where they live.

    Returns
    -------
    torch.nn.Sequential
        The network; it unflattens its inputs itself.

    Raises
    ------
    ValueError
        If a size or the factor is out of range, or a name is unknown.

    References
    ----------
    Simonyan & Zisserman (2015), arXiv:1409.1556.

    Examples
    --------
    >>> net = vgg11((3, 32, 32), 10, streams=Streams(0))
    >>> sum(p.numel() for p in net.parameters())
    9225610
    """
    channels, height, across = image_shape(shape)
    outputs = as_integer("outputs", outputs, low=1)
    with_bias = bias is not False
    layers: list[nn.Module] = [nn.Unflatten(1, (channels, height, across))]
    for block in VGG11:
        after = scaled(block, width)
        layers += _block(channels, after, activation, bias=with_bias, batch_norm=batch_norm)
        channels, height, across = after[-1], math.ceil(height / 2), math.ceil(across / 2)
    layers += [nn.Flatten(), nn.Linear(channels * height * across, outputs, bias=with_bias)]
    start = bias_start(bias)
    options = {"init": init, "streams": streams, "index": index, "gain": gain, "bias": start}
    return placed(layers, dtype, device, **options)
