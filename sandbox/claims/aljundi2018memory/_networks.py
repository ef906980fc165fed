"""A network trained on digits, and gradients of its outputs taken by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sandbox.training.data import load
from sandbox.training.models import mlp
from theory.streams import Streams

__all__ = ["activities", "by_hand", "flat", "trained"]


def trained(seed: int, hidden: int = 24, epochs: int = 3) -> tuple[nn.Sequential, Tensor, Tensor]:
    """Return a rectifier network trained on all digits, with their inputs and labels."""
    streams = Streams(seed)
    data = load("digits", dtype="float64").train
    inputs, targets = torch.tensor(data.inputs), torch.tensor(data.targets)
    model = mlp([64, hidden, hidden, 10], streams=streams).double()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for epoch in range(epochs):
        order = torch.from_numpy(streams.generator("batches", epoch).permutation(len(inputs)))
        for rows in torch.split(order, 64):
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(model(inputs[rows]), targets[rows]))
            optimizer.step()
    optimizer.zero_grad()
    return model, inputs, targets


def _weights(model: nn.Module) -> list[tuple[ndarray, ndarray]]:
    """Return weights and biases of all linear layers."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    return [(one.weight.detach().numpy(), one.bias.detach().numpy()) for one in layers]


def activities(model: nn.Module, inputs: Tensor) -> list[ndarray]:
    """Return what every layer is fed, and the outputs, by numpy."""
    found = [inputs.numpy()]
    layers = _weights(model)
    for place, (weight, bias) in enumerate(layers):
        field = found[-1] @ weight.T + bias
        found.append(field if place == len(layers) - 1 else np.maximum(field, 0))
    return found


def by_hand(model: nn.Module, inputs: Tensor) -> ndarray:
    """Return every input's gradient of the squared norm of the outputs (sample, weight)."""
    fed = activities(model, inputs)
    slopes = 2 * fed[-1]
    parts = []
    for place, (weight, _) in reversed(list(enumerate(_weights(model)))):
        parts += [slopes, (slopes[:, :, None] * fed[place][:, None, :]).reshape(len(inputs), -1)]
        slopes = (slopes @ weight) * (fed[place] > 0)
    return np.concatenate(parts[::-1], axis=1)


def flat(importance: dict[str, Any]) -> ndarray:
    """Return an importance as one vector, in the order of the parameters."""
    return np.concatenate([part.numpy().ravel() for part in importance.values()])
