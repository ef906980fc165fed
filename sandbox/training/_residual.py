"""Residual networks: blocks of two convolutions beside a shortcut; Wide-ResNet18."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sandbox.training._building import (
    activation_module,
    bias_start,
    image_shape,
    placed,
    scaled,
    undrawn,
)
from sandbox.training.names import Activation, Initialisation
from theory.checks import as_integer
from theory.streams import Streams

__all__ = ["ResidualBlock", "wide_resnet18"]

STAGES = (64, 128, 256, 512)
"""Channels of the four stages, two blocks each."""


class ResidualBlock(nn.Module):
    r"""Two 3 x 3 convolutions beside a shortcut.

    **Equation.** :math:`y = \phi(F(x) + S(x))`, where F is convolution (with the stride),
    phi, convolution, each with its batch normalisation if there are any; the shortcut S is
    the identity where the shapes agree, else a 1 x 1 convolution with the stride.

    **Shapes and units.** (sample, before, height, width) to (sample, after, height / stride,
    width / stride), rounded up.

    Parameters
    ----------
    before, after : int
        Channels.
    stride : int
        Of the first convolution and of the shortcut.
    activation : str
        The function phi.
    bias : bool
        Whether convolutions without batch normalisation have biases.
    batch_norm : bool
        Whether every convolution is followed by batch normalisation.

    References
    ----------
    He, Zhang, Ren & Sun (2016), arXiv:1512.03385.
    """

    def __init__(
        self,
        before: int,
        after: int,
        *,
        stride: int,
        activation: Activation,
        bias: bool,
        batch_norm: bool,
    ) -> None:
        super().__init__()
        shape = {"bias": bias, "batch_norm": batch_norm}
        self.residual = nn.Sequential(
            *convolution(before, after, 3, stride, **shape),
            activation_module(activation),
            *convolution(after, after, 3, 1, **shape),
        )
        same = before == after and stride == 1
        self.shortcut = nn.Sequential(
            *([] if same else convolution(before, after, 1, stride, **shape))
        )
        self.activation = activation_module(activation)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the activation of residual plus shortcut.

        Parameters
        ----------
        inputs : Tensor
            Feature maps.

        Returns
        -------
        Tensor
            Feature maps.
        """
        found: Tensor = self.activation(self.residual(inputs) + self.shortcut(inputs))
        return found


def convolution(
    before: int, after: int, kernel: int, stride: int, *, bias: bool, batch_norm: bool
) -> list[nn.Module]:
    """Return a convolution that keeps the size up to its stride, and its normalisation if any."""
    with_bias = bias and not batch_norm
    made = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=with_bias)
    return [made, nn.BatchNorm2d(after)] if batch_norm else [made]


@undrawn
def wide_resnet18(
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
    """Wide-ResNet18 for small images: a convolution, four stages of two residual blocks, a mean.

    Channels 64, 128, 256 and 512, the sides halved before every stage but the first; then the
    mean over positions and one linear layer: the ResNet18 with a single 3 x 3 convolution in
    the place of its first layers, which are made for images of 224 x 224. Wide is it beside
    the networks of 16, 32 and 64 channels that were first made for images of 32 x 32.

    **Shapes and units.** Inputs (sample, feature), flat, images of any size; outputs
    (sample, output).

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
        Whether a batch normalisation follows every convolution, those of shortcuts among
        them, whose biases it makes superfluous: they are left out.
    activation : {"relu", "tanh", "sigmoid", "gelu", "linear"}
        After the first convolution, within every block, and after its sum.
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
    He, Zhang, Ren & Sun (2016), arXiv:1512.03385 (ResNet18); Zagoruyko & Komodakis (2016),
    arXiv:1605.07146 (width); Benzing (2022), arXiv:2201.12250, appendix D (this network).

    Examples
    --------
    >>> net = wide_resnet18((3, 32, 32), 10, streams=Streams(0), batch_norm=True)
    >>> sum(p.numel() for p in net.parameters())
    11173962
    """
    channels, height, across = image_shape(shape)
    outputs = as_integer("outputs", outputs, low=1)
    with_bias = bias is not False
    stages = scaled(STAGES, width)
    common = {"bias": with_bias, "batch_norm": batch_norm}
    layers: list[nn.Module] = [
        nn.Unflatten(1, (channels, height, across)),
        *convolution(channels, stages[0], 3, 1, **common),
        activation_module(activation),
    ]
    before = stages[0]
    for number, after in enumerate(stages):
        for stride in (1 if number == 0 else 2, 1):
            layers.append(
                ResidualBlock(before, after, stride=stride, activation=activation, **common)
            )
            before = after
    head = nn.Linear(before, outputs, bias=with_bias)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), head]
    start = bias_start(bias)
    options = {"init": init, "streams": streams, "index": index, "gain": gain, "bias": start}
    return placed(layers, dtype, device, **options)
