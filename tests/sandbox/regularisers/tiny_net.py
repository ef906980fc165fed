"""The fixed tiny network that recorded numbers belong to: tanh, 3-4-3, four inputs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from tests.sandbox.regularisers.tiny_net_numbers import (
    ADAM_BIAS,
    CLAMPS,
    CONFIDENCE,
    IMPORTANCE,
    MOMENTS,
    OFFLINE,
    ONLINE,
    PAIRS,
    PATHS,
    PEARSON,
    PENALISED_PATHS,
    TWO_CLASSES,
)

__all__ = [
    "ADAM_BIAS",
    "ANCHOR",
    "BATCHES",
    "CLAMPS",
    "CONFIDENCE",
    "DEVICES",
    "DRAWN",
    "F64",
    "IMPORTANCE",
    "INPUTS",
    "LABELS",
    "LEARNING_RATE",
    "MOMENTS",
    "NAMES",
    "OFFLINE",
    "OLD_IMPORTANCE",
    "ONLINE",
    "PAIRS",
    "PATHS",
    "PEARSON",
    "PENALISED_PATHS",
    "START",
    "STRENGTH",
    "TWO_CLASSES",
    "XI",
    "flat",
    "named",
    "tiny_net",
    "vector",
]

F64 = torch.float64
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]
NAMES = ("0.weight", "2.weight")
"""Of the parameters, in the order of vectors."""
SHAPES = ((4, 3), (3, 4))

INPUTS = torch.tensor(
    [[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.8, 1.2, 0.4], [0.1, -0.6, -1.1]], dtype=F64
)
LABELS = torch.tensor([0, 2, 1, 2])
DRAWN = torch.tensor([1, 2, 0, 0])
"""Labels as if they had been drawn from the model."""
FIRST = [[0.2, -0.4, 0.6], [-0.5, 0.3, 0.1], [0.7, 0.2, -0.3], [-0.1, -0.6, 0.4]]
SECOND = [[0.3, -0.2, 0.5, 0.1], [-0.4, 0.6, 0.2, -0.3], [0.1, 0.4, -0.5, 0.7]]
START = torch.tensor([x for row in FIRST + SECOND for x in row], dtype=F64)
"""The parameters as a vector."""

BATCHES = (([0, 1], [2, 3]), ([2, 3], [0, 2]), ([1, 3], [1, 2]))
"""Rows of the training batch and of the independent batch of each of three steps."""
LEARNING_RATE = 0.05
"""Of Adam with betas (0.9, 0.999) and eps 1e-8."""
XI = 0.1
ANCHOR = START + 0.1 * START.sign()
OLD_IMPORTANCE = torch.linspace(0.0, 1.0, 24, dtype=F64)
STRENGTH = 0.5


def tiny_net(device: torch.device | str = "cpu", scale: float = 1.0) -> nn.Sequential:
    """Return the network, without biases, its second matrix times a factor."""
    model = nn.Sequential(
        nn.Linear(3, 4, bias=False, dtype=F64),
        nn.Tanh(),
        nn.Linear(4, 3, bias=False, dtype=F64),
    )
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(FIRST, dtype=F64))
        model[2].weight.copy_(scale * torch.tensor(SECOND, dtype=F64))
    return model.to(device)


def flat(parts: Mapping[str, Tensor]) -> Tensor:
    """Return tensors by the parameters' names as one vector, on the CPU."""
    assert tuple(parts) == NAMES
    return torch.cat([parts[name].detach().reshape(-1) for name in NAMES]).cpu()


def named(whole: Tensor, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return a vector as tensors by the parameters' names."""
    parts = whole.detach().clone().to(device).split([12, 12])
    pairs = zip(NAMES, zip(parts, SHAPES, strict=True), strict=True)
    return {name: part.view(shape) for name, (part, shape) in pairs}


def vector(numbers: list[float]) -> Tensor:
    """Return recorded numbers as a tensor."""
    return torch.tensor(numbers, dtype=F64)
