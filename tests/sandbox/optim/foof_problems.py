"""Networks, batches and training for the tests of FOOF."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

DOUBLE = torch.float64
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]
INPUTS = torch.tensor(
    [[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.8, 1.2, 0.4], [0.1, -0.6, -1.1]], dtype=DOUBLE
)
LABELS = torch.tensor([0, 2, 1, 2])
FIRST = [[0.2, -0.4, 0.6], [-0.5, 0.3, 0.1], [0.7, 0.2, -0.3], [-0.1, -0.6, 0.4]]
SECOND = [[0.3, -0.2, 0.5, 0.1], [-0.4, 0.6, 0.2, -0.3], [0.1, 0.4, -0.5, 0.7]]


def tiny():
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False))
    model[0].weight.data = torch.tensor(FIRST, dtype=DOUBLE)
    model[2].weight.data = torch.tensor(SECOND, dtype=DOUBLE)
    return model


def network(device="cpu", dtype=DOUBLE, bias=True, inplace=True):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1, bias=bias),
        nn.ReLU(inplace=inplace),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(27, 8, bias=bias),
        nn.ReLU(inplace=inplace),
        nn.Linear(8, 4, bias=bias),
    ).to(device, dtype)


def images(seed=0, count=6, device="cpu", dtype=DOUBLE):
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(count, 1, 6, 6, generator=generator, dtype=DOUBLE)
    return made.to(device, dtype), (torch.arange(count) % 4).to(device)


def descend(model, optimizer, steps, **how):
    for i in range(steps):
        inputs, labels = images(seed=i, **how)
        optimizer.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        optimizer.step()


def flat(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def close(found, wanted, tolerance=1e-12):
    wanted = torch.as_tensor(wanted, dtype=found.dtype)
    torch.testing.assert_close(found.detach().cpu(), wanted, rtol=tolerance, atol=tolerance)
