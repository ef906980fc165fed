"""Several small networks of one shape, trained at once on stacked weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sandbox.training.models import mlp
from theory.streams import Streams

__all__ = ["Stacked", "fresh", "loss_sum", "member", "rows_of_an_epoch", "vectors"]


class Stacked(nn.Module):
    """Multilayer perceptrons with rectifiers: inputs (member, sample, in), outputs likewise.

    What acts on every weight by itself, such as Adam, path sums and a quadratic penalty, acts
    on all members as it would on each alone.

    Parameters
    ----------
    networks : sequence of torch.nn.Sequential
        Of one shape, linear layers and rectifiers in turn; their weights are copied.
    """

    def __init__(self, networks: Sequence[nn.Sequential]) -> None:
        super().__init__()
        layers = [[one for one in own if isinstance(one, nn.Linear)] for own in networks]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for own in zip(*layers, strict=True):
            weight = torch.stack([layer.weight.detach().mT for layer in own])
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.stack([one.bias.detach()[None] for one in own])))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of every member for inputs of its own."""
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            inputs = torch.baddbmm(bias, inputs.relu() if number else inputs, weight)
        return inputs


def fresh(
    widths: Sequence[int], seeds: Sequence[int], task: int = 0, device: str = "cpu"
) -> Stacked:
    """Return networks at their start: weights Glorot-uniform, biases 0.1; one a seed."""
    made = [
        mlp(widths, streams=Streams(seed), index=task, bias=0.1, init="glorot-uniform")
        for seed in seeds
    ]
    return Stacked(made).to(device)


def loss_sum(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the members' mean losses, summed: every member has the gradient of its own."""
    outputs = model(inputs)
    total = cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="sum")
    return total / inputs.shape[1]


def member(model: Stacked, number: int) -> nn.Sequential:
    """Return a copy of one member as a network of its own."""
    modules: list[nn.Module] = []
    for weight, bias in zip(model.weights, model.biases, strict=True):
        layer = nn.Linear(weight.shape[1], weight.shape[2], device=weight.device)
        with torch.no_grad():
            layer.weight.copy_(weight[number].mT)
            layer.bias.copy_(bias[number, 0])
        modules += [layer, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def vectors(values: dict[str, Tensor]) -> ndarray:
    """Return what belongs to weights and biases of a stack as vectors (member, parameter)."""
    # weights as (out, in), layer by layer, each followed by its biases: the order of a member
    layers = [value.mT.flatten(1) for value in values.values()]
    half = len(layers) // 2
    ordered = [part for pair in zip(layers[:half], layers[half:], strict=True) for part in pair]
    return torch.cat(ordered, dim=1).cpu().numpy()


def rows_of_an_epoch(
    seeds: Sequence[int], name: str, epoch: int, images: int, batch: int, device: str = "cpu"
) -> list[Tensor]:
    """Return the rows (member, sample) of every batch; each member's order is its own."""
    orders = np.array([Streams(s).generator(name, epoch).permutation(images) for s in seeds])
    order = torch.from_numpy(orders).to(device)
    return [order[:, k : k + batch] for k in range(0, images - batch + 1, batch)]
