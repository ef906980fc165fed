"""Small networks, and the tangent kernel of a network by torch.func."""

import itertools

import torch
from torch import nn


def samples(count, width, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64).to(dtype)


def built(widths, activation=nn.Tanh, biases=True, seed=0, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = []
        for i, (before, after) in enumerate(itertools.pairwise(widths)):
            bias = biases if isinstance(biases, bool) else biases[i]
            layers += [nn.Linear(before, after, bias=bias), activation()]
        return nn.Sequential(*layers[:-1]).to(dtype)


def brute(module, inputs):
    """J J' with one backward pass for every output of every sample."""
    trained = [p for p in module.parameters() if p.requires_grad]
    rows = []
    for sample in inputs:
        outputs = module(sample[None]).reshape(-1)
        for output in outputs:
            slopes = torch.autograd.grad(
                output, trained, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            rows.append(torch.cat([slope.reshape(-1) for slope in slopes]))
    jacobian = torch.stack(rows)
    return (jacobian @ jacobian.T).view(len(inputs), -1, len(inputs), len(rows) // len(inputs))


def agree(found, wanted, share=1e-12):
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= share * float(wanted.abs().max())
