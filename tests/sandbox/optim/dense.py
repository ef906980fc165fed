"""Small networks, and curvatures of theirs written densely from the definition."""

from __future__ import annotations

import copy
import itertools

import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.func import functional_call, jacrev
from torch.nn.functional import cross_entropy

from theory.streams import Streams

STREAMS = Streams(20220128)
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4}
NOW = {"T": 1, "S": 1, "decay": 0.0}
"""Factors of the batch at hand alone, inverted in every step."""


def draws(name, *shape, dtype=torch.float64):
    return torch.from_numpy(STREAMS.generator(name).normal(size=shape)).to(dtype)


def eye(matrix):
    return torch.eye(len(matrix), dtype=torch.float64)


def network(widths, bias, activation=None, dtype=torch.float64):
    """A network with random weights, linear unless it has an activation."""
    layers = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        layers.append(nn.Linear(a, b, bias=bias, dtype=torch.float64))
        for j, p in enumerate(layers[-1].parameters()):
            p.data = draws(f"weights/{i}/{j}", *p.shape) / p.shape[-1] ** 0.5
        if activation is not None and i < len(widths) - 2:
            layers.append(activation())
    return nn.Sequential(*layers).to(dtype)


def linear_layers(model):
    return {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}


def matrix_of(layer, attribute=None):
    """A layer's parameters, or their gradients, as (out, in [+ 1])."""
    parts = [layer.weight] if layer.bias is None else [layer.weight, layer.bias[:, None]]
    if attribute == "grad":
        parts = [layer.weight.grad]
        parts += [] if layer.bias is None else [layer.bias.grad[:, None]]
    return torch.cat([part.detach() for part in parts], dim=1).double()


def outputs_of(model, matrices, inputs):
    """The network as a function of its layers' matrices."""
    parameters = {}
    for name, layer in linear_layers(model).items():
        columns = layer.weight.shape[1]
        parameters[f"{name}.weight"] = matrices[name][:, :columns]
        if layer.bias is not None:
            parameters[f"{name}.bias"] = matrices[name][:, columns]
    return functional_call(model, parameters, inputs)


def dense_jacobians(model, inputs, order="C"):
    """d f / d vec(W_i) of every sample, (sample, output, entries); columns first if order is F."""
    double = copy.deepcopy(model).double()  # without the hooks
    matrices = {name: matrix_of(layer) for name, layer in linear_layers(double).items()}
    found = jacrev(lambda m: outputs_of(double, m, inputs.double()))(matrices)
    return {
        name: (block if order == "C" else block.transpose(2, 3)).flatten(2)
        for name, block in found.items()
    }


def output_hessians(likelihood, model, inputs):
    """Hessian of every sample's loss in the outputs."""
    outputs = copy.deepcopy(model)(inputs)
    count = outputs.shape[1]
    if likelihood == "gaussian":
        return torch.eye(count, dtype=torch.float64).expand(len(outputs), count, count)
    p = torch.softmax(outputs.detach().double(), dim=1)
    return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]


def gauss_newton(jacobians, hessians):
    """Mean over samples of J'HJ."""
    return torch.einsum("nci,ncd,ndj->ij", jacobians, hessians, jacobians) / len(jacobians)


def loss_of(likelihood, outputs, targets):
    if likelihood == "gaussian":
        return (outputs - targets).square().sum() / (2 * len(outputs))
    return cross_entropy(outputs, targets)


def fed(model, optimizer, inputs, likelihood="gaussian"):
    """Show a batch to an optimiser, then replace the gradients by random ones; return those."""
    targets = draws("targets", len(inputs), 3, dtype=inputs.dtype)
    chosen = targets if likelihood == "gaussian" else targets.argmax(dim=1)
    optimizer.zero_grad()
    loss_of(likelihood, model(inputs), chosen).backward()
    for i, p in enumerate(model.parameters()):
        p.grad = draws(f"probe/{i}", *p.shape).to(p)
    return {name: matrix_of(layer, "grad") for name, layer in linear_layers(model).items()}


def stepped(model, optimizer):
    """Do a step; return what it added to every layer's matrix."""
    before = {name: matrix_of(layer) for name, layer in linear_layers(model).items()}
    optimizer.step()
    return {name: matrix_of(layer) - before[name] for name, layer in linear_layers(model).items()}


def close(found, wanted, tolerance):
    """Compare by the largest difference over the largest entry."""
    size = float(wanted.abs().max())
    assert_allclose(found.double().numpy(), wanted.numpy(), rtol=0, atol=tolerance * size)


def factor(optimizer, layer, name):
    held = optimizer.state_dict()["factors"]["averages"][layer][name]
    return held["total"] / held["weight"]
