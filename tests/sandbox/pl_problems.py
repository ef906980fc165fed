"""Linear systems and small networks under the PL* monitor."""

import itertools
from types import SimpleNamespace

import torch
from torch import nn
from torch.optim import SGD

from sandbox.landscape import PLMonitor

A = torch.tensor([[1, 2, 0, 1, 0], [0, 1, 1, 0, 2], [2, 0, 1, 1, 1]], dtype=torch.float64)
Y = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
LARGEST = 11.772001872658765584  # eigenvalues of A A', to 20 digits by mpmath


def system():
    """F(w) = A w, started at 0."""
    model = nn.Linear(5, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    return model


def network(widths=(4, 40, 2), activation=nn.Tanh, seed=0, bias=True):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [
            layer
            for before, after in itertools.pairwise(widths)
            for layer in (nn.Linear(before, after, bias=bias), activation())
        ]
        return nn.Sequential(*layers[:-1]).double()


def samples(count=6, features=4, outputs=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, features + outputs, generator=generator, dtype=torch.float64)
    return drawn[:, :features], drawn[:, features:]


def half_sum(outputs, targets):
    return (outputs - targets).square().sum() / 2


def watch(model, inputs, targets, optimizer, steps, *, loss=half_sum, scale=1.0, **options):
    """Train by hand under a monitor."""
    monitor = PLMonitor(inputs, targets, loss_scale=scale, **options)
    now = SimpleNamespace(model=model, optimizer=optimizer, step=0)
    monitor.start(now)
    for now.step in range(1, steps + 1):
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        optimizer.step()
        monitor.after_step(now)
    monitor.end(now)
    return monitor


def descend(model, inputs, targets, rate, steps, **options):
    return watch(model, inputs, targets, SGD(model.parameters(), rate), steps, **options)
