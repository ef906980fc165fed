"""Networks: multilayer perceptron, convolutional network, autoencoder, deep linear network."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from sandbox.training.initial import initialise
from sandbox.training.names import Activation, Initialisation
from theory._types import Matrix
from theory.checks import as_integer, as_matrices, as_number, one_of, shown
from theory.streams import Streams

__all__ = ["ACTIVATIONS", "autoencoder", "cnn", "deep_linear", "mlp"]

P = ParamSpec("P")
T = TypeVar("T")

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "linear": nn.Identity,
}
"""Activation functions by name."""


def _activation(name: str) -> nn.Module:
    return ACTIVATIONS[one_of("activation", name, tuple(ACTIVATIONS))]()


def _widths(name: str, widths: Sequence[int], least: int) -> list[int]:
    """Return layer widths after checking them."""
    if isinstance(widths, str) or len(widths) < least:
        raise ValueError(f"{name} = {shown(widths)}: must be {least} or more layer widths")
    return [as_integer(f"{name}[{i}]", width, low=1) for i, width in enumerate(widths)]


def _placed(
    layers: list[nn.Module],
    dtype: torch.dtype,
    device: torch.device | str,
    **options: Any,
) -> nn.Sequential:
    """Return a network on its device, its weights drawn anew by name."""
    model = nn.Sequential(*layers).to(device=device, dtype=dtype)
    initialise(model, **options)
    return model


def _undrawn(build: Callable[P, T]) -> Callable[P, T]:
    """Leave torch's own generator as it was: layers draw weights when they are made."""

    @functools.wraps(build)
    def quietly(*args: P.args, **options: P.kwargs) -> T:
        with torch.random.fork_rng(devices=[]):
            return build(*args, **options)

    return quietly


@_undrawn
def mlp(
    widths: Sequence[int],
    *,
    streams: Streams,
    index: int = 0,
    activation: Activation = "relu",
    bias: bool | float = True,
    init: Initialisation = "torch",
    gain: float = 1.0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> nn.Sequential:
    r"""Multilayer perceptron; the last layer is linear.

    **Equation.** :math:`h_0 = x`, :math:`h_i = \phi(W_i h_{i-1} + b_i)` for i < d,
    :math:`f(x) = W_d h_{d-1} + b_d`.

    **Shapes and units.** Inputs (sample, n_0), outputs (sample, n_d).

    Parameters
    ----------
    widths : sequence of int
        n_0 ... n_d, inputs first.
    streams : Streams
        Where the weights are drawn from.
    index : int
        Which network.
    activation : {"relu", "tanh", "sigmoid", "gelu", "linear"}
        The function phi.
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
        Linear layers and activations in turn.

    Raises
    ------
    ValueError
        If there are fewer than two widths, or a name is unknown.

    Examples
    --------
    >>> net = mlp([784, 200, 200, 10], streams=Streams(0), bias=False)
    >>> sum(p.numel() for p in net.parameters())
    198800
    """
    sizes = _widths("widths", widths, 2)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [
            nn.Linear(before, after, bias=bias is not False),
            _activation(activation),
        ]
    start = None if isinstance(bias, bool) else as_number("bias", bias)
    options = {"init": init, "streams": streams, "index": index, "gain": gain, "bias": start}
    return _placed(layers[:-1], dtype, device, **options)


@_undrawn
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
    sizes = _widths("shape", shape, 2)
    outputs = as_integer("outputs", outputs, low=1)
    if len(sizes) > 3:
        raise ValueError(f"shape = {tuple(shape)}: must be (height, width), with channels or not")
    channels, height, width = sizes if len(sizes) == 3 else (1, *sizes)
    shares = [as_number(f"dropout[{i}]", p, low=0.0, high=1.0) for i, p in enumerate(dropout)]
    if shares and len(shares) != len(blocks) + 1:
        raise ValueError(
            f"dropout = {tuple(dropout)}: must be {len(blocks) + 1} shares, one a block and one for"
            " the hidden layers, or empty"
        )
    with_bias = bias is not False
    layers: list[nn.Module] = [nn.Unflatten(1, (channels, height, width))]
    for number, block in enumerate(blocks):
        for after in _widths(f"blocks[{number}]", block, 1):
            convolution = nn.Conv2d(channels, after, 3, padding=1, bias=with_bias)
            layers += [convolution, _activation(activation)]
            channels = after
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
        height, width = math.ceil(height / 2), math.ceil(width / 2)
        layers += [nn.Dropout(shares[number])] if shares else []
    layers.append(nn.Flatten())
    before = channels * height * width
    for after in _widths("hidden", hidden, 0):
        layers += [nn.Linear(before, after, bias=with_bias), _activation(activation)]
        before = after
    layers += [nn.Dropout(shares[-1])] if shares and hidden else []
    layers.append(nn.Linear(before, outputs, bias=with_bias))
    start = None if isinstance(bias, bool) else as_number("bias", bias)
    options = {"init": init, "streams": streams, "index": index, "gain": gain, "bias": start}
    return _placed(layers, dtype, device, **options)


@_undrawn
def autoencoder(
    widths: Sequence[int],
    *,
    streams: Streams,
    index: int = 0,
    activation: Activation = "tanh",
    bias: bool | float = True,
    init: Initialisation = "glorot-uniform",
    gain: float = 1.0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> nn.Sequential:
    """Autoencoder: an encoder of these widths and its mirror image; code and output are linear.

    **Shapes and units.** Inputs and outputs (sample, n_0); the code is
    ``model[0](inputs)``, (sample, n_last).

    Parameters
    ----------
    widths : sequence of int
        n_0 ... n_last from the inputs down to the code; Hinton & Salakhutdinov's is
        (784, 1000, 500, 250, 30).
    streams : Streams
        Where the weights are drawn from.
    index : int
        Which network.
    activation : {"relu", "tanh", "sigmoid", "gelu", "linear"}
        After every layer but the code and the output.
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
        Encoder and decoder.

    Raises
    ------
    ValueError
        If there are fewer than two widths, or a name is unknown.

    References
    ----------
    Hinton & Salakhutdinov (2006), doi:10.1126/science.1127647.

    Examples
    --------
    >>> net = autoencoder([64, 32, 8], streams=Streams(0))
    >>> net[0](torch.zeros(5, 64)).shape, net(torch.zeros(5, 64)).shape
    (torch.Size([5, 8]), torch.Size([5, 64]))
    """
    sizes = _widths("widths", widths, 2)
    start = None if isinstance(bias, bool) else as_number("bias", bias)
    halves = []
    for order in (sizes, sizes[::-1]):
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(order):
            layers += [
                nn.Linear(before, after, bias=bias is not False),
                _activation(activation),
            ]
        halves.append(nn.Sequential(*layers[:-1]))
    options = {"init": init, "streams": streams, "index": index, "gain": gain, "bias": start}
    return _placed([*halves], dtype, device, **options)


@_undrawn
def deep_linear(
    weights: Sequence[Matrix],
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> torch.nn.Sequential:
    r"""Deep linear network without biases, with these weights.

    **Equation.** :math:`f(x) = W_d \cdots W_1 x`, samples along the first axis.

    **Shapes and units.** W_i (n_i, n_{i-1}); inputs (sample, n_0), outputs
    (sample, n_d).

    Parameters
    ----------
    weights : sequence of Matrix
        W_1 ... W_d, input side first.
    dtype : torch.dtype
        Type of the parameters.
    device : torch.device or str
        Where they live.

    Returns
    -------
    torch.nn.Sequential
        Its parameters are copies of the weights, in the same order.

    Raises
    ------
    ValueError
        If the weights are not a chain of finite matrices.

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120.

    Examples
    --------
    >>> import numpy as np
    >>> network = deep_linear([2 * np.eye(2), 3 * np.eye(2)])
    >>> network(torch.ones(1, 2, dtype=torch.float64)).tolist()
    [[6.0, 6.0]]
    """
    layers = []
    for matrix in as_matrices("weights", weights):
        rows, columns = matrix.shape
        # made on the CPU, whose generator is put back
        layer = torch.nn.Linear(columns, rows, bias=False, dtype=dtype)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(matrix))
        layers.append(layer)
    return torch.nn.Sequential(*layers).to(device)
