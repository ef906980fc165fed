"""What the energy models read from a torch network: weights, release probabilities, activity."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Generator as Yields
from contextlib import contextmanager
from typing import Any

import torch
from numpy import ndarray
from torch import Tensor, nn

from synapses.layers import StochasticConv2d, StochasticLinear, stochastic_layers
from theory.checks import shown

__all__ = [
    "axes_of",
    "draws_of",
    "hidden_activity",
    "moments_of",
    "observed",
    "spikes_of",
    "synaptic_layers",
]

Seen = Callable[[str, "nn.Linear | nn.Conv2d", Tensor, Tensor], None]


def synaptic_layers(model: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return the layers whose weights are synapses, stochastic or not, by name."""
    layers: dict[str, nn.Linear | nn.Conv2d] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            layers[name] = module
        elif any(p.ndim > 1 for p in module.parameters(recurse=False)):
            raise ValueError(
                f"network: {name or 'it'} is a {type(module).__name__}: energy is known for linear"
                " layers and two-dimensional convolutions, stochastic or not"
            )
    if not layers:
        raise ValueError(
            f"network = {shown(model)}: has no linear layer or convolution, so no synapses"
        )
    return layers


def axes_of(layer: nn.Linear | nn.Conv2d) -> tuple[str, ...]:
    """Name the axes of a layer's weights."""
    return ("out", "in") if isinstance(layer, nn.Linear) else ("out", "in", "y", "x")


def moments_of(layer: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return expected strength and chance of a release of every synapse, in float64."""
    if isinstance(layer, StochasticLinear | StochasticConv2d):
        strength = layer.expected_strength().detach().double().cpu()
        return strength, layer._chance().double().cpu()
    strength = layer.weight.detach().double().cpu()
    return strength, torch.ones_like(strength)


@contextmanager
def _undisturbed(model: nn.Module) -> Yields[None]:
    """Put a model into evaluation mode; leave it and the random generators as they were."""
    stochastic = list(stochastic_layers(model).values())
    modes = [(module, module.training) for module in model.modules()]
    masks = [(layer, layer.last_mask) for layer in stochastic]
    own = {id(layer.generator): layer.generator for layer in stochastic if layer.generator}
    states = [(generator, generator.get_state()) for generator in own.values()]
    places = {p.device for p in model.parameters() if p.device.type == "cuda"}
    model.eval()
    try:
        with torch.random.fork_rng(devices=list(places)):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for layer, mask in masks:
            layer.last_mask = mask
        for generator, state in states:
            generator.set_state(state)


def observed(model: nn.Module, inputs: Any, see: Seen, *, gradients: bool = False) -> int:
    """Do one forward pass, show each use of a layer to ``see``; return the number of samples."""
    if not isinstance(inputs, Tensor) or inputs.ndim < 2 or not len(inputs):
        raise ValueError(
            f"inputs = {shown(inputs)}: must be a tensor of presentations, (sample, ...)"
        )
    if not bool(inputs.isfinite().all()):
        raise ValueError("inputs: every entry must be finite")
    handles = []
    for name, layer in synaptic_layers(model).items():

        def hook(
            module: nn.Module, given: tuple[Tensor, ...], found: Tensor, name: str = name
        ) -> None:
            assert isinstance(module, nn.Linear | nn.Conv2d)
            see(name, module, given[0], found)

        handles.append(layer.register_forward_hook(hook))
    try:
        with _undisturbed(model), torch.set_grad_enabled(gradients):
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return len(inputs)


def spikes_of(model: nn.Module, inputs: Any) -> dict[str, ndarray]:
    """Return the mean number of spikes a presentation, of each unit that feeds a linear layer."""
    counts: dict[str, Tensor] = {}

    def see(name: str, layer: nn.Linear | nn.Conv2d, given: Tensor, _: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            raise ValueError(
                f"network: layer {name!r} is a convolution, whose synapses are shared by all places"
                " of an image: their releases are not defined; use kind = 'strength'"
            )
        active = (given != 0).reshape(-1, given.shape[-1]).sum(dim=0).double().cpu()
        counts[name] = counts.get(name, torch.zeros_like(active)) + active

    number = observed(model, inputs, see)
    return {name: (count / number).numpy() for name, count in counts.items()}


def hidden_activity(model: nn.Module, inputs: Any) -> float:
    """Return the activities that enter all layers but the first, summed, mean over samples."""
    sums: list[float] = []

    def see(_: str, __: nn.Linear | nn.Conv2d, given: Tensor, ___: Tensor) -> None:
        sums.append(float(given.double().abs().sum()))

    number = observed(model, inputs, see)
    return sum(sums[1:]) / number


def draws_of(layer: nn.Linear | nn.Conv2d, samples: int) -> int:
    """Return how many random numbers a layer draws for a batch."""
    if not isinstance(layer, StochasticLinear | StochasticConv2d) or not layer.sampling:
        return 0
    return layer.weight.numel() * (samples if layer.mask_kind == "example" else 1)
