"""Importance by its definition: one input, one label, one backward pass at a time; and networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from synapses.layers import StochasticConv2d, StochasticLinear, mean_weights
from tests.sandbox.regularisers.tiny_net import F64

LABELLED = ("exact", "sampled", "empirical", "weighted", "batched", "root", "absolute")
MEMORY = {
    "mas": ("probability", "norm"),
    "masx": ("probability", "max"),
    "mas-logit": ("logit", "norm"),
    "masx-logit": ("logit", "max"),
}


def gradient(model: nn.Module, value: Tensor) -> dict[str, Tensor]:
    """Return the gradient of a number in all trained parameters."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    slopes = torch.autograd.grad(value, list(named.values()), allow_unused=True, retain_graph=True)
    return {
        name: torch.zeros_like(p) if slope is None else slope
        for (name, p), slope in zip(named.items(), slopes, strict=True)
    }


def mean(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of mappings, by name."""
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}


def changed(part: dict[str, Tensor], change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Return a mapping with all its values changed."""
    return {name: change(value) for name, value in part.items()}


def mixed(parts: list[dict[str, Tensor]], weights: Tensor) -> dict[str, Tensor]:
    """Return a weighted sum of mappings."""
    return {
        name: sum(w * part[name] for w, part in zip(weights, parts, strict=True))
        for name in parts[0]
    }


def by_loop(
    model: nn.Module,
    inputs: Tensor,
    name: str,
    targets: Tensor | None = None,
    columns: slice | list[int] | None = None,
) -> dict[str, Tensor]:
    """Return a measure by its definition, in the model's mode as it is."""
    found = []
    with mean_weights(model):
        for n, one in enumerate(inputs):
            outputs = model(one[None])[0]
            outputs = outputs if columns is None else outputs[columns]
            if name.endswith("logit"):
                value = outputs.max() ** 2 if name == "masx-logit" else (outputs**2).sum()
                found.append(changed(gradient(model, value), torch.abs))
                continue
            chances = outputs.softmax(0)
            if name in MEMORY:
                value = chances.max() ** 2 if name == "masx" else (chances**2).sum()
                found.append(changed(gradient(model, value), torch.abs))
                continue
            scores = [gradient(model, -outputs.log_softmax(0)[y]) for y in range(len(outputs))]
            chances = chances.detach()
            if name == "absolute":
                found.append(mixed([changed(g, torch.abs) for g in scores], chances))
            elif name in {"exact", "root"}:
                found.append(mixed([changed(g, torch.square) for g in scores], chances))
            else:
                y = int(targets[n])
                weight = float(chances[y]) if name == "weighted" else 1.0
                found.append(changed(scores[y], lambda g, w=weight: w * g**2))
    whole = mean(found)
    return changed(whole, torch.sqrt) if name == "root" else whole


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def multilayer() -> nn.Module:
    """A perceptron whose activation overwrites its input."""
    return nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)
    )


def convolutional() -> nn.Module:
    """Convolutions with strides, padding, dilation and groups."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Conv2d(4, 4, 2, groups=2),
        nn.Tanh(),
        nn.Conv2d(4, 3, 2, dilation=(1, 2), bias=False),
        nn.Flatten(),
        nn.Linear(3, 3),
    )


class Steps(nn.Module):
    """Linear layers that see every place of a sequence; time may come first inside."""

    def __init__(self, time_first: bool = False) -> None:
        super().__init__()
        self.time_first = time_first
        self.each, self.head = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.time_first:
            return self.head(torch.tanh(self.each(inputs.transpose(0, 1))).mean(dim=0))
        return self.head(torch.tanh(self.each(inputs)).mean(dim=1))


class Words(nn.Module):
    """An embedding, norms and layers; the last may share the embedding's weights."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(5, 4), nn.LayerNorm(4)
        self.inner, self.head = nn.Linear(4, 4), nn.Linear(4, 5, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, words: Tensor) -> Tensor:
        return self.head(gelu(self.inner(self.norm(self.embedding(words)).sum(dim=1))))


class Attending(nn.Module):
    """Attention, norms and layers that see every place."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.head = (
            nn.TransformerEncoderLayer(4, 2, 6, batch_first=True),
            nn.Linear(4, 3),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.block(inputs).mean(dim=1))


class Hidden(nn.Module):
    """A layer whose weights serve once more where no module is called, and one never called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)
        self.aside, self.spare = nn.Linear(4, 4), nn.Linear(2, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        inner = torch.tanh(linear(self.first(inputs), self.first.weight.T))
        return self.last(torch.tanh(linear(inner, self.aside.weight, self.aside.bias)))


class Twice(nn.Module):
    """One layer called twice, and one whose weight is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.head.weight.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.tanh(self.layer(torch.tanh(self.layer(inputs)))))


class Unmapped(torch.autograd.Function):
    """Twice its input, without a batching rule."""

    @staticmethod
    def forward(ctx, values):
        return 2 * values

    @staticmethod
    def backward(ctx, slope):
        return 2 * slope


class Odd(nn.Module):
    """An operation that cannot be mapped, behind a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(Unmapped.apply(self.norm(inputs)))


def normalised() -> nn.Module:
    """Batch normalisation with statistics of its own."""
    norm = nn.BatchNorm1d(5)
    norm.running_mean.copy_(normal(5, seed=3))
    norm.running_var.copy_(normal(5, seed=4).square() + 0.1)
    return nn.Sequential(nn.Linear(4, 5), norm, nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))


def releasing() -> nn.Module:
    """Stochastic synapses of both kinds and of both parametrisations, and plain ones."""
    return nn.Sequential(
        StochasticConv2d(1, 2, 2, release_probability=0.5),
        nn.Flatten(),
        nn.Tanh(),
        StochasticLinear(8, 4, release_probability=0.3, variable="quantal"),
        nn.Tanh(),
        nn.Linear(4, 3),
    )


def tokens() -> Tensor:
    """Return sequences of words."""
    return torch.randint(5, (6, 3), generator=torch.Generator().manual_seed(2))


NETWORKS = {
    "dense": (multilayer, lambda: normal(6, 4), 0),
    "conv": (convolutional, lambda: normal(6, 2, 6, 7), 2),
    "sequence": (Steps, lambda: normal(6, 5, 3), 0),
    "time first": (lambda: Steps(True), lambda: normal(6, 6, 3), 2),
    "words": (Words, tokens, 3),
    "tied": (lambda: Words(True), tokens, 3),
    "attention": (Attending, lambda: normal(6, 5, 4), 8),
    "hidden use": (Hidden, lambda: normal(6, 4), 4),
    "called twice": (Twice, lambda: normal(6, 4), 3),
    "unmapped": (Odd, lambda: normal(6, 4), 2),
    "batch norm": (normalised, lambda: normal(6, 4), 2),
    "stochastic": (releasing, lambda: normal(6, 1, 3, 3), 4),
}
"""How to build each, its inputs, and how many parameters have no factors."""


def network(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a network, its inputs and labels."""
    build, inputs, _ = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = build().to(F64)
    return model, inputs(), torch.tensor([0, 2, 1, 1, 2, 0])
