"""Torch layers as a network of the compiled engine."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Real
from numpy import ndarray
from torch import nn

from synapses._bridge_layers import by_source, chain
from synapses.events import Network, Neurons
from theory.checks import as_number, shown

__all__ = ["to_events"]


def to_events(
    module: nn.Module,
    neurons: Neurons,
    *,
    unit_volt: float,
    delay_s: float,
    source_rate_hz: float | Real[ndarray, " in"] = 0.0,
) -> Network:
    r"""Build a network of the compiled engine with the synapses of a torch module.

    **Equation.** The inputs of the first layer are Poisson sources; the outputs of layer after
    layer are the neurons, in this order, and take the place of whatever function stands
    between the layers. A release of synapse :math:`i \to j` has the amplitude
    :math:`\bar w_{ji} / p_{ji}` units.

    **Shapes and units.** Amplitudes are rounded to float32; release probabilities keep their
    type, so that the same numbers lead to the same releases. Rows of neurons come before
    rows of sources: the synapses are those of the second layer, then of the third and so
    on, and of the first layer at the end.

    Parameters
    ----------
    module : torch.nn.Module
        ``StochasticLinear`` layers without biases, in the order in which they are registered.
    neurons : Neurons
        As many as all layers have outputs.
    unit_volt : float
        What a weight of 1 is, in volt.
    delay_s : float
        Transmission delay, at least one time step.
    source_rate_hz : float or Real[ndarray, " in"]
        Rates of the sources, one for all or one an input.

    Returns
    -------
    Network
        For :func:`synapses.events.simulate`.

    Raises
    ------
    ValueError
        If the module has other parameters or biases, layers do not fit each other, or the
        neurons do not fit the layers.

    Examples
    --------
    >>> from synapses.layers import StochasticLinear
    >>> net = nn.Sequential(StochasticLinear(4, 3, bias=False), StochasticLinear(3, 2, bias=False))
    >>> neurons = Neurons(5, 0.02, 0.0, 0.0, 0.01)
    >>> network = to_events(net, neurons, unit_volt=0.001, delay_s=0.001, source_rate_hz=100.0)
    >>> np.diff(network.indptr).tolist()
    [2, 2, 2, 0, 0, 3, 3, 3, 3]
    """
    layers = chain(module)
    unit = as_number("unit_volt", unit_volt)
    if not isinstance(neurons, Neurons):
        raise ValueError(f"neurons = {shown(neurons)}: must be a Neurons")
    outputs = [layer.out_features for layer in layers]
    if neurons.count != sum(outputs):
        raise ValueError(
            f"neurons.count = {neurons.count}: must be {sum(outputs)}, one for each output of the"
            f" layers ({' + '.join(map(str, outputs))})"
        )
    rates = np.asarray(source_rate_hz)
    if rates.shape not in {(), (layers[0].in_features,)}:
        raise ValueError(
            f"source_rate_hz has shape {rates.shape}: must be one rate, or"
            f" {layers[0].in_features}, one an input"
        )
    first = np.cumsum([0, *outputs])
    senders, receivers, amplitudes, chances = [], [], [], []
    for number, layer in enumerate(layers):
        start = first[number - 1] if number else neurons.count
        inputs, count = layer.in_features, layer.out_features
        senders.append(np.repeat(start + np.arange(inputs), count))
        receivers.append(np.tile(first[number] + np.arange(count), inputs))
        p, weight = by_source(layer.release_probability), by_source(layer.weight)
        m = weight if layer.variable == "quantal" else weight / p
        amplitudes.append(unit * m)
        double = layer.release_probability.dtype == torch.float64
        chances.append(p if double else p.astype(np.float32))
    return Network.from_pairs(
        neurons,
        source=np.concatenate(senders),
        target=np.concatenate(receivers),
        amplitude_volt=np.concatenate(amplitudes),
        release_probability=np.concatenate(chances),
        delay_s=delay_s,
        source_rate_hz=np.broadcast_to(rates, (layers[0].in_features,)),
    )
