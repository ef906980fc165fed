"""Networks: multilayer perceptron, autoencoder, deep linear network; convolutional ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from sandbox.training import _building
from sandbox.training._building import (
    activation_module,
    bias_start,
    layer_widths,
    placed,
    undrawn,
)
from sandbox.training._convolutional import cnn, vgg11
from sandbox.training._residual import wide_resnet18
from sandbox.training.names import Activation, Initialisation
from theory._types import Matrix
from theory.checks import as_matrices
from theory.streams import Streams

__all__ = [
    "ACTIVATIONS",
    "autoencoder",
    "cnn",
    "deep_linear",
    "mlp",
    "vgg11",
    "wide_resnet18",
]

ACTIVATIONS: dict[str, type[nn.Module]] = _building.ACTIVATIONS
"""Activation functions by name."""


@undrawn
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
    sizes = layer_widths("widths", widths, 2)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [
            nn.Linear(before, after, bias=bias is not False),
            activation_module(activation),
        ]
    start = bias_start(bias)
    options = {"init": init, "streams": streams, "index": index, "gain": gain, "bias": start}
    return placed(layers[:-1], dtype, device, **options)


@undrawn
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
    sizes = layer_widths("widths", widths, 2)
    start = bias_start(bias)
    halves = []
    for order in (sizes, sizes[::-1]):
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(order):
            layers += [
                nn.Linear(before, after, bias=bias is not False),
                activation_module(activation),
            ]
        halves.append(nn.Sequential(*layers[:-1]))
    options = {"init": init, "streams": streams, "index": index, "gain": gain, "bias": start}
    return placed([*halves], dtype, device, **options)


@undrawn
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
