"""Starting weights under the names that papers use, drawn from named streams."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sandbox.training.names import Initialisation
from theory.checks import as_number, one_of, shown
from theory.streams import Streams

__all__ = ["INITIALISATIONS", "initialise"]

INITIALISATIONS: dict[str, str] = {
    "torch": "weights and biases uniform within ±1/√fan-in (torch's default; Schug et al. 2021)",
    "kaiming-normal": "weights N(0, 2/fan-in), biases 0 (He et al. 2015; Benzing 2022)",
    "kaiming-uniform": "weights uniform within ±√(6/fan-in), biases 0 (He et al. 2015)",
    "glorot-normal": "weights N(0, 2/(fan-in + fan-out)), biases 0 (Glorot & Bengio 2010)",
    "glorot-uniform": "weights uniform within ±√(6/(fan-in + fan-out)), biases 0"
    " (Glorot & Bengio 2010; with biases 0.1 in Benzing 2022b)",
    "orthogonal": "weights with orthonormal rows or columns, biases 0 (Saxe et al. 2014)",
}
"""What each initialisation draws, in words."""


@torch.no_grad()
def initialise(
    model: nn.Module,
    init: Initialisation = "torch",
    *,
    streams: Streams,
    index: int = 0,
    gain: float = 1.0,
    bias: float | None = None,
) -> nn.Module:
    r"""Draw the weights of every linear and convolutional layer, in order.

    **Equation.** With the fans n_in and n_out of a layer (of a convolution: channels
    times kernel area), :math:`W = g\,D` with D as :data:`INITIALISATIONS` says.

    **Shapes and units.** Drawn in float64 on the CPU, then rounded to the parameter's
    type and moved to its device: one seed gives the same network everywhere.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place. Layers of other kinds with parameters are reset to their own
        defaults, which must not be random.
    init : str
        A key of :data:`INITIALISATIONS`.
    streams : Streams
        The run's streams.
    index : int
        Which network.
    gain : float
        Factor g on all weights, > 0; biases are not multiplied.
    bias : float or None
        What all biases start from; None for the initialisation's own choice.

    Returns
    -------
    torch.nn.Module
        The model itself.

    Raises
    ------
    ValueError
        If the initialisation is unknown, the gain is not positive, or a layer has
        parameters that neither the initialisation nor the layer itself can start.

    References
    ----------
    Glorot & Bengio (2010), AISTATS; He et al. (2015), arXiv:1502.01852; Saxe, McClelland
    & Ganguli (2014), arXiv:1312.6120.

    Examples
    --------
    >>> net = initialise(nn.Linear(4, 2), "kaiming-normal", streams=Streams(0))
    >>> net.bias.tolist()
    [0.0, 0.0]
    """
    one_of("init", init, tuple(INITIALISATIONS))
    gain = as_number("gain", gain, low=0.0, open_low=True)
    if not isinstance(streams, Streams):
        raise ValueError(f"streams = {shown(streams)}: must be Streams, e.g. Streams(0)")
    generator = torch.Generator().manual_seed(streams.integer("weights", index))
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            weight = layer.weight
            layer.weight.copy_(gain * _drawn(weight, init, generator))
            if layer.bias is not None:
                edge = 1 / math.sqrt(weight[0].numel())
                if bias is not None:
                    layer.bias.fill_(bias)
                elif init == "torch":
                    drawn = torch.rand(layer.bias.shape, generator=generator, dtype=torch.float64)
                    layer.bias.copy_((2 * drawn - 1) * edge)
                else:
                    layer.bias.zero_()
        elif next(layer.parameters(recurse=False), None) is not None:
            if not isinstance(layer, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm):
                raise ValueError(
                    f"model has a layer {name or 'model'!r} of type {type(layer).__name__}: only"
                    " linear, convolutional and normalisation layers can be initialised by name"
                )
            layer.reset_parameters()
    return model


def _drawn(weight: Tensor, init: str, generator: torch.Generator) -> Tensor:
    """Return float64 weights of the same shape, drawn on the CPU."""
    fan_in = weight[0].numel()
    fan_out = weight.numel() // weight.shape[1]
    if init == "orthogonal":
        rows, columns = len(weight), fan_in
        normal = torch.randn(
            max(rows, columns), min(rows, columns), generator=generator, dtype=torch.float64
        )
        basis, upper = torch.linalg.qr(normal)
        basis = basis * upper.diagonal().sign()  # makes the law uniform over orthogonal matrices
        square: Tensor = basis if rows >= columns else basis.T
        return square.reshape(weight.shape)
    power = {
        "torch": 1 / (3 * fan_in),
        "kaiming-normal": 2 / fan_in,
        "kaiming-uniform": 2 / fan_in,
        "glorot-normal": 2 / (fan_in + fan_out),
        "glorot-uniform": 2 / (fan_in + fan_out),
    }[init]
    if init.endswith("-normal"):
        normal = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        return normal * math.sqrt(power)
    uniform = torch.rand(weight.shape, generator=generator, dtype=torch.float64)
    return (2 * uniform - 1) * math.sqrt(3 * power)
