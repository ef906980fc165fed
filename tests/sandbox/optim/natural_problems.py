"""What the tests of natural gradient descent share: a step, batches, comparison."""

import torch
from torch.nn.functional import cross_entropy

from tests.sandbox.optim.dense_fisher import normal


def parameters(model):
    return [p.detach().clone() for p in model.parameters()]


def go(model, optimizer, inputs, targets):
    """One step as a training loop does it; return the changes of the parameters."""
    before = parameters(model)
    optimizer.zero_grad()
    cross_entropy(model(inputs), targets).backward()
    optimizer.step()
    return [p.detach() - b for p, b in zip(model.parameters(), before, strict=True)]


def batches(count, samples=6, width=4):
    return [
        (normal(samples, width, seed=10 + i), (torch.arange(samples) + i) % 3) for i in range(count)
    ]


def near(found, wanted, atol=1e-12):
    for part, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(part.detach().cpu(), other.detach().cpu(), rtol=0, atol=atol)
