"""Many small networks at once, plain or of stochastic layers, one seed each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from sandbox.training._batches import Batches
from sandbox.training._state import own_randomness
from sandbox.training.plan import Plan
from sandbox.training.tasks import TaskStream
from synapses.layers import StochasticLinear
from theory.streams import Streams

__all__ = ["Together", "train_together"]

DRAWS = 10
"""Sampled networks whose softmax is averaged in a test."""


class Together(nn.Module):
    """Networks of one shape, linear layers and rectifiers in turn, on stacked weights.

    Inputs (member, sample, in), outputs (member, sample, out). What acts on a weight and a
    release probability element by element, such as the presynaptic rule, acts on all members.
    """

    def __init__(self, networks: Sequence[nn.Sequential]) -> None:
        super().__init__()
        self.networks = list(networks)
        layers = [_linear(network) for network in networks]
        self.layers = [copy.deepcopy(layer) for layer in layers[0]]
        self.registered = nn.ModuleList(self.layers)
        for stacked, *own in zip(self.layers, *layers, strict=True):
            stacked.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in own]))
            stacked.bias = nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in own]))
            if isinstance(stacked, StochasticLinear):
                chances = torch.stack([torch.as_tensor(layer.release_probability) for layer in own])
                stacked.release_probability = chances
        self.stochastic = isinstance(self.layers[0], StochasticLinear)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs, every member under a mask of its own."""
        for number, layer in enumerate(self.layers):
            weight: Tensor = layer.weight
            if isinstance(layer, StochasticLinear):
                weight = layer._gain() * layer.draw()
            if number:
                inputs = inputs.relu()
            inputs = torch.baddbmm(layer.bias, inputs, weight.mT)
        return inputs

    @torch.no_grad()
    def write_back(self) -> None:
        """Give every network its weights and release probabilities."""
        for i, network in enumerate(self.networks):
            for own, stacked in zip(_linear(network), self.layers, strict=True):
                own.weight.copy_(stacked.weight[i])
                own.bias.copy_(stacked.bias[i, 0])
                if isinstance(own, StochasticLinear) and isinstance(stacked, StochasticLinear):
                    own.release_probability.copy_(stacked.release_probability[i])


def _linear(network: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in network if isinstance(layer, nn.Linear)]


def train_together(
    networks: Sequence[nn.Sequential],
    tasks: Sequence[TaskStream],
    optimizer: Callable[[nn.Module], Optimizer],
    plan: Plan,
    streams: Sequence[Streams],
) -> np.ndarray:
    """Train every network on its own stream of tasks, in the training loop's order of samples.

    The networks are trained in place.

    Parameters
    ----------
    networks : sequence of torch.nn.Sequential
        Of one shape, linear layers and rectifiers in turn.
    tasks : sequence of TaskStream
        One a network, of as many samples.
    optimizer : callable
        Makes an optimiser of the stacked model.
    plan : Plan
        Epochs and batch size.
    streams : sequence of Streams
        One a network.

    Returns
    -------
    ndarray
        Test accuracies after the last task (member, task).
    """
    model = Together(networks)
    rule = optimizer(model)
    device = torch.device("cpu")
    batches = [
        Batches(own, plan, seeds, torch.float32, device)
        for own, seeds in zip(tasks, streams, strict=True)
    ]
    count, size = len(tasks[0].tasks), plan.batch_size or 1
    with own_randomness(streams[0].integer("loop"), device):
        for k in range(count):
            inputs = torch.stack([own.train(k).inputs for own in batches])
            targets = torch.stack([own.train(k).targets for own in batches])
            for epoch in range(plan.epochs):
                orders = [own.order(k, epoch) for own in batches]
                order = torch.stack([one for one in orders if one is not None])
                for number in range(batches[0].steps(k)):
                    rows = order[:, number * size : (number + 1) * size]
                    rule.zero_grad()
                    outputs = model(torch.take_along_dim(inputs, rows[..., None], 1))
                    wanted = torch.take_along_dim(targets, rows, 1)
                    # the sum over members: each has the gradient of its own mean loss
                    loss = cross_entropy(outputs.flatten(0, 1), wanted.flatten(), reduction="sum")
                    torch.autograd.backward(loss / size)
                    rule.step()
        found = _accuracies(model, batches, count)
    model.write_back()
    return found


@torch.no_grad()
def _accuracies(model: Together, batches: list[Batches], count: int) -> np.ndarray:
    """Return test accuracies (member, task)."""
    found = []
    for k in range(count):
        inputs = torch.stack([own.test(k).inputs for own in batches])
        targets = torch.stack([own.test(k).targets for own in batches])
        draws = [model(inputs).softmax(dim=2) for _ in range(DRAWS if model.stochastic else 1)]
        answers = torch.stack(draws).mean(dim=0).argmax(dim=2)
        found.append((answers == targets).double().mean(dim=1).numpy())
    return np.array(found).T
