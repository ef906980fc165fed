"""K-FAC against dense Gauss-Newton blocks, where it is exact."""

import pytest
import torch
from torch import nn

from sandbox.optim.kfac import KFAC
from tests.sandbox.optim.kfac_problems import (
    DOUBLE,
    random,
    seeded,
    worst,
)


def blocks(net, inputs, per_sample):
    """Gauss-Newton blocks by the definition, with ``per_sample`` the loss's output Hessian."""
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def outputs(values):
        return torch.func.functional_call(net, values, (inputs,)).flatten(1)

    jacobian = torch.func.jacrev(outputs)(parameters)
    made = outputs(parameters)
    hessians = torch.stack([per_sample(row) for row in made])
    found = {}
    for name, layer in net.named_modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        parts = [jacobian[f"{name}.weight"].flatten(3)]
        if layer.bias is not None:
            parts.append(jacobian[f"{name}.bias"][..., None])
        # entries in the order of the rows of the augmented matrix
        j = torch.cat(parts, dim=-1).flatten(2)
        found[name] = torch.einsum("nai,nab,nbj->ij", j, hessians, j) / len(made)
    return found


def kronecker(optimizer):
    """The curvature that the optimiser's factors stand for."""
    return {
        name: torch.kron(own["output"].value(), own["input"].value())
        for name, own in optimizer.averages.items()
    }


def identity(row):
    return torch.eye(len(row), dtype=row.dtype)


def fisher_of_classes(row):
    chances = row.softmax(0)
    return torch.diag(chances) - torch.outer(chances, chances)


class MeanOverPositions(nn.Module):
    def forward(self, values):
        return values.mean(dim=1)


EXACT = {
    "deep linear": (
        lambda: seeded(nn.Linear(4, 5, bias=False), nn.Linear(5, 3, bias=False)),
        (6, 4),
        {},
    ),
    "deep linear with biases": (
        lambda: seeded(nn.Linear(4, 5), nn.Linear(5, 2), nn.Linear(2, 3)),
        (6, 4),
        {},
    ),
    "a loss at every position": (
        lambda: seeded(nn.Linear(4, 5), nn.Linear(5, 3)),
        (6, 7, 4),
        {},
    ),
    "a convolution with a loss at every pixel": (
        lambda: seeded(nn.Conv2d(2, 3, 2, stride=2, padding=1), nn.Conv2d(3, 2, 1)),
        (6, 2, 4, 4),
        {},
    ),
    "a mean over positions": (
        lambda: seeded(nn.Linear(4, 5), MeanOverPositions(), nn.Linear(5, 3)),
        (6, 7, 4),
        {"sharing": "reduce"},
    ),
}


@pytest.mark.parametrize("case", EXACT)
def test_it_is_the_gauss_newton_block_of_deep_linear_networks(case):
    build, shape, settings = EXACT[case]
    net, inputs = build(), random(*shape)
    optimizer = KFAC(net, 1.0, 0.1, fisher="exact", likelihood="gaussian", **settings)
    net(inputs).square().sum().div(2 * len(inputs)).backward()
    optimizer.step()
    wanted = blocks(build(), inputs, identity)
    for name, block in kronecker(optimizer).items():
        assert worst(block, wanted[name]) < 1e-10


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_it_is_the_gauss_newton_block_of_one_datum(likelihood):
    def build():
        return seeded(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 3))

    net, inputs = build(), random(1, 4)
    optimizer = KFAC(net, 1.0, 0.1, fisher="exact", likelihood=likelihood)
    net(inputs).square().sum().backward()
    optimizer.step()
    hessian = fisher_of_classes if likelihood == "categorical" else identity
    wanted = blocks(build(), inputs, hessian)
    for name, block in kronecker(optimizer).items():
        assert worst(block, wanted[name]) < 1e-10


def test_its_step_is_the_damped_gauss_newton_step_of_a_deep_linear_network():
    def build():
        return seeded(nn.Linear(4, 5), nn.Linear(5, 3))

    net, inputs, targets = build(), random(6, 4), random(6, 3, seed=1)
    optimizer = KFAC(net, 1.0, 0.1, rule="standard", fisher="exact", likelihood="gaussian")
    (net(inputs) - targets).square().sum().div(2 * len(inputs)).backward()
    optimizer.step()
    wanted = blocks(build(), inputs, identity)
    for name, before in build().named_modules():
        if not isinstance(before, nn.Linear):
            continue
        after = net.get_submodule(name)
        gradient = torch.cat([after.weight.grad, after.bias.grad[:, None]], dim=1)
        matrix = wanted[name] + 0.1 * torch.eye(gradient.numel(), dtype=DOUBLE)
        direction = torch.linalg.solve(matrix, gradient.reshape(-1)).view_as(gradient)
        moved = torch.cat(
            [before.weight - after.weight, (before.bias - after.bias)[:, None]], dim=1
        )
        assert worst(moved.detach(), direction) < 1e-10
