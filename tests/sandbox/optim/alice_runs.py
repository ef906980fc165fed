"""What the tests of Alice's contract share: tasks, closures and runs."""

import torch
from torch import nn

OPTIONS = {"lr": 0.01, "betas": (0.8, 0.99), "quick_steps": 2}


def task(*extra, dtype=torch.float32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), *extra, nn.ReLU(), nn.Linear(8, 3)).to(dtype)
        inputs, targets = torch.randn(16, 4, dtype=dtype), torch.arange(16) % 3
    return model, inputs, targets


def closure_of(optimizer, model, inputs, targets):
    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    return closure
