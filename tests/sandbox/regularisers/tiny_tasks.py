"""Three tasks for the fixed tiny network, and its gradients without the package."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.sandbox.regularisers.tiny_net import INPUTS, LABELS

TASKS = [(INPUTS.roll(k, 1), LABELS.roll(k)) for k in range(3)]


def outputs(theta, inputs):
    """Return the tiny network's outputs from its weights as a vector."""
    first, second = theta[:12].view(4, 3), theta[12:].view(3, 4)
    return torch.tanh(inputs @ first.T) @ second.T


def slope(value: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """Return the gradient of a function of the weights."""
    theta = theta.detach().clone().requires_grad_()
    return torch.autograd.grad(value(theta), theta)[0]


def loss_slope(theta, inputs, labels):
    """Return the gradient of a batch's mean loss."""
    return slope(lambda w: cross_entropy(outputs(w, inputs), labels), theta)
