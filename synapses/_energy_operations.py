"""Work of a network, in one vocabulary for spiking and torch networks."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synapses._events_recording import Recording
from theory.checks import shown

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Operations", "count_operations", "is_module", "neuron_energy"]


@dataclass(frozen=True, slots=True)
class Operations:
    """How much work was done, and of which kind.

    Parameters
    ----------
    synaptic : int
        Additions of a synapse's contribution to a sum: multiply-adds of a dense network,
        which failed releases take like all others; synaptic events of a spiking one.
    visits : int
        Synapses looked at: as many in a dense network; those that spikes reached, or the
        candidates of the sampler, in a spiking one.
    draws : int
        Random numbers drawn (``skip``: pairs).
    state_updates : int
        Units whose activity was computed: outputs of layers times samples, or neurons times
        steps.
    """

    synaptic: int
    visits: int
    draws: int
    state_updates: int


def is_module(value: Any) -> bool:
    """Tell whether something is a torch module, without bringing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def count_operations(
    subject: nn.Module | Recording, inputs: Tensor | None = None, *, training: bool = False
) -> Operations:
    r"""Count the operations of a run, or of a forward pass or training step of a torch network.

    **Equation.** A linear layer takes N out in multiply-adds for N samples, a convolution
    as many at each place of its output. Training takes them again for the gradient in the
    weights, and once more for that in the inputs where these have one, which the data have
    not. A stochastic layer draws a number a synapse for each mask.

    **Shapes and units.** Counts, from shapes. What is done element by element (masks,
    activation functions, the optimiser's step) is not counted.

    Parameters
    ----------
    subject : torch.nn.Module or synapses.events.Recording
        Whose work.
    inputs : Tensor or None
        A batch for the torch network, (sample, ...).
    training : bool
        Whether gradients are computed as well.

    Returns
    -------
    Operations
        Of the whole batch, or the whole run.

    Raises
    ------
    ValueError
        If a torch network lacks inputs, or a recording has some.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> import torch
    >>> from synapses.layers import StochasticLinear
    >>> net = torch.nn.Sequential(StochasticLinear(10, 5), torch.nn.ReLU(), StochasticLinear(5, 2))
    >>> count_operations(net, torch.ones(100, 10), training=True).synaptic
    13000
    """
    if isinstance(subject, Recording):
        if inputs is not None or training:
            raise ValueError("inputs and training: must be left out for a recording")
        done = subject.operations
        return Operations(
            done.releases, done.visits, done.draws + done.external_draws, done.state_updates
        )
    if not is_module(subject):
        raise ValueError(
            f"subject = {shown(subject)}: must be a torch module or a Recording of synapses.events"
        )
    from synapses._energy_torch import draws_of, observed

    synaptic = draws = units = 0

    def see(_: str, layer: Any, given: Tensor, found: Tensor) -> None:
        nonlocal synaptic, draws, units
        once = found.numel() * layer.weight[0].numel()
        needed = 1 + (layer.weight.requires_grad + given.requires_grad if training else 0)
        synaptic += once * needed
        draws += draws_of(layer, len(given))
        units += found.numel()

    observed(subject, inputs, see, gradients=training)
    return Operations(synaptic, synaptic, draws, units)


def neuron_energy(network: nn.Module, inputs: Tensor) -> float:
    r"""Return the activity of the hidden units, summed, as a cost of neurons.

    **Equation.** The mean over samples of :math:`\sum_i |a_i|` over the units that feed all
    layers but the first.

    **Shapes and units.** Units of activity; for one sampled forward pass.

    Parameters
    ----------
    network : torch.nn.Module
        Layers in a row.
    inputs : Tensor
        Presentations, (sample, feature).

    Returns
    -------
    float
        0 for a single layer.

    Raises
    ------
    ValueError
        If it is no torch network, or there is no sample.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884.

    Examples
    --------
    >>> import torch
    >>> neuron_energy(torch.nn.Linear(3, 2), torch.ones(1, 3))
    0.0
    """
    if not is_module(network):
        raise ValueError(f"network = {shown(network)}: must be a torch module")
    from synapses._energy_torch import hidden_activity

    return hidden_activity(network, inputs)
