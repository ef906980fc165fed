"""A small trained network, its gradients by hand, and intervals over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

    from theory.streams import Streams

__all__ = ["by_hand", "flat", "t_interval", "trained_network"]


def trained_network(
    seeds: Streams, samples: int, hidden: int = 12, steps: int = 60
) -> tuple[torch.nn.Sequential, Any, Any]:
    """Return a network trained for a short while on digits, and the samples it has seen."""
    import torch
    from torch.nn.functional import cross_entropy

    from sandbox.training.data import load

    images = load("digits", dtype="float64").train
    chosen = seeds.generator("samples").permutation(len(images))[:samples]
    inputs, targets = torch.tensor(images.inputs[chosen]), torch.tensor(images.targets[chosen])
    generator = seeds.generator("weights")
    model = torch.nn.Sequential(
        torch.nn.Linear(64, hidden, bias=False),
        torch.nn.Tanh(),
        torch.nn.Linear(hidden, 10, bias=False),
    ).double()
    with torch.no_grad():
        for weight in model.parameters():
            scale = weight.shape[1] ** -0.5
            weight.copy_(torch.tensor(generator.normal(scale=scale, size=tuple(weight.shape))))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(model(inputs), targets))
        optimizer.step()
    optimizer.zero_grad()
    return model, inputs, targets


def by_hand(model: torch.nn.Sequential, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and gradients of -log p by the chain rule (sample, label, weight)."""
    import numpy as np

    first, second = (weight.detach().numpy() for weight in model.parameters())
    given = inputs.numpy()
    hidden = np.tanh(given @ first.T)
    p = np.exp(hidden @ second.T)
    p /= p.sum(axis=1, keepdims=True)
    last = p[:, None] - np.eye(p.shape[1])
    below = last @ second * (1 - hidden**2)[:, None]
    pairs = ((below, given), (last, hidden))
    parts = [(e[..., None] * a[:, None, None]).reshape(*p.shape, -1) for e, a in pairs]
    return p, np.concatenate(parts, axis=2)


def flat(importance: dict[str, Any]) -> np.ndarray:
    """Return an importance as one vector."""
    import numpy as np

    return np.concatenate([part.detach().numpy().ravel() for part in importance.values()])


def t_interval(values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over the first axis and the half-width of Student's interval."""
    import numpy as np
    from scipy.stats import t

    count = len(values)
    factor = float(t.ppf((1 + confidence) / 2, count - 1)) / count**0.5
    return values.mean(axis=0), factor * np.asarray(values.std(axis=0, ddof=1))
