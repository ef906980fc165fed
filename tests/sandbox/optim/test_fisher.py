"""Fisher matrices: against recorded numbers, dense matrices and per-sample gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sandbox.network.columns import LayerColumns, fisher_columns
from sandbox.network.layers import factor_layers
from sandbox.optim import _gram
from sandbox.optim._gram import gram
from sandbox.optim.fisher import SampledFisher
from tests.sandbox.optim.dense_fisher import (
    DEVICES,
    DRAWN,
    F64,
    NETWORKS,
    RECORDED,
    TRACES,
    TRUE,
    X,
    by_name,
    dense,
    flat,
    multilayer,
    normal,
    reference,
    scores,
    tiny,
)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("blocks", ["full", "layer"])
@pytest.mark.parametrize("kind", ["full", "sampled"])
def test_solutions_match_recorded_numbers(kind, blocks, device):
    network = tiny(device)
    loss = nn.functional.cross_entropy(network(X.to(device)), TRUE.to(device))
    gradient = torch.autograd.grad(loss, list(network.parameters()))
    vector = dict(zip(("0.weight", "2.weight"), gradient, strict=True))
    labels = "full" if kind == "full" else DRAWN.to(device)
    fisher = SampledFisher.of(network, X.to(device), labels=labels)
    found = fisher.solve(vector, 0.05, blocks=blocks)
    for part, wanted in zip(found.values(), RECORDED[kind, blocks], strict=True):
        # recorded with 17 digits
        torch.testing.assert_close(part.cpu(), torch.tensor(wanted, dtype=F64), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "wanted"), [("full", "full"), (DRAWN, "drawn"), (TRUE, "empirical")]
)
def test_traces_match_recorded_numbers(labels, wanted):
    fisher = SampledFisher.of(tiny(), X, labels=labels)
    assert fisher.trace() == pytest.approx(TRACES[wanted], rel=1e-13)
    if wanted == "full":
        assert dense(fisher).norm().item() == pytest.approx(TRACES["norm"], rel=1e-13)


@pytest.mark.parametrize("blocks", ["full", "layer"])
@pytest.mark.parametrize("labels", ["full", "given"])
@pytest.mark.parametrize("name", NETWORKS)
def test_everything_agrees_with_per_sample_gradients(name, labels, blocks):
    build, shape = NETWORKS[name]
    model, inputs = build(), normal(6, *shape)
    given_labels = torch.tensor([0, 2, 1, 1, 2, 0])
    fisher = SampledFisher.of(model, inputs, labels="full" if labels == "full" else given_labels)
    matrix = reference(model, inputs, fisher.names, None if labels == "full" else given_labels)
    if blocks == "layer":
        # weight and bias of a layer belong together
        owner = [
            n.rsplit(".", 1)[0] for n in fisher.names for _ in range(by_name(model)[n].numel())
        ]
        same = torch.tensor([[a == b for b in owner] for a in owner])
        matrix = torch.where(same, matrix, 0.0)
    vector = by_name(model)
    long = flat(vector, fisher.names)
    tight = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(
        flat(fisher.multiply(vector, blocks=blocks), fisher.names), matrix @ long, **tight
    )
    torch.testing.assert_close(
        fisher.quadratic(vector, blocks=blocks), long @ matrix @ long, **tight
    )
    torch.testing.assert_close(flat(fisher.diagonal(), fisher.names), matrix.diagonal(), **tight)
    damped = matrix + 0.1 * torch.eye(len(matrix), dtype=F64)
    found = flat(fisher.solve(vector, 0.1, blocks=blocks), fisher.names)
    torch.testing.assert_close(damped @ found, long, rtol=0, atol=1e-11)


@pytest.mark.parametrize("formed", [True, False])
@pytest.mark.parametrize("labels", ["full", "sampled"])
@pytest.mark.parametrize("name", ["conv", "sequence"])
def test_both_ways_to_the_gram_matrix_agree(name, labels, formed, monkeypatch):
    build, shape = NETWORKS[name]
    model, inputs = build(), normal(4, *shape)
    layers, _ = factor_layers(model)
    columns = fisher_columns(
        model, layers, inputs, labels, "categorical", torch.Generator().manual_seed(1)
    )
    monkeypatch.setattr(LayerColumns, "_forming_is_cheaper", lambda self: formed)
    monkeypatch.setattr(_gram, "PIECE", 50)  # so that several pieces are needed
    rows = torch.cat([layer.rows(0, layer.columns) for layer in columns], dim=1)
    torch.testing.assert_close(gram(columns), rows @ rows.T, rtol=0, atol=1e-13)
    squares = torch.cat([layer.squares().reshape(-1) for layer in columns])
    torch.testing.assert_close(squares, rows.square().sum(dim=0), rtol=0, atol=1e-13)


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_all_labels_give_the_gauss_newton_matrix(likelihood):
    model, inputs = multilayer(), normal(7, 4)
    fisher = SampledFisher.of(model, inputs, labels="full", likelihood=likelihood)
    values = {name: p.detach() for name, p in model.named_parameters()}
    jacobian = torch.func.jacrev(lambda v: torch.func.functional_call(model, v, inputs))(values)
    rows = torch.cat([jacobian[name].flatten(2) for name in fisher.names], dim=2)
    p = model(inputs).detach().softmax(1)
    hessian = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    if likelihood == "gaussian":
        hessian = torch.eye(3, dtype=F64).expand(7, 3, 3)
    matrix = torch.einsum("nip,nij,njq->pq", rows, hessian, rows) / 7
    torch.testing.assert_close(dense(fisher), matrix, rtol=0, atol=1e-13)
    assert fisher.columns == 7 * (2 if likelihood == "categorical" else 3)


def test_scores_average_to_zero_under_the_model():
    model, inputs = multilayer(), normal(7, 4)
    chances, layers = model(inputs).detach().softmax(1), factor_layers(model)[0]
    total = 0
    for label in range(3):
        labels = torch.full((7,), label)
        columns = fisher_columns(model, layers, inputs, labels, "categorical", None)
        rows = torch.cat([layer.rows(0, 7) for layer in columns], dim=1)
        total = total + chances[:, label, None] * rows
    assert total.abs().max() < 1e-15


def test_drawn_labels_give_the_matrix_on_average():
    # v'Fv is a mean over samples of (g.v)^2: its variance is known by counting labels.
    # |z| < 4.06 fails a right program once in 20,000 runs, and the seeds are fixed
    model, inputs, draws = multilayer(), normal(10, 4), 400
    vector = by_name(model)
    generator = torch.Generator().manual_seed(7)
    names = SampledFisher.of(model, inputs, generator=generator).names
    found = [
        SampledFisher.of(model, inputs, generator=generator).quadratic(vector).item()
        for _ in range(draws)
    ]
    along = (scores(model, inputs, names) @ flat(vector, names)).square()
    chances = model(inputs).detach().softmax(1)
    mean = (chances * along).sum(1)
    variance = ((chances * along.square()).sum(1) - mean.square()).sum() / 10**2
    z = (np.mean(found) - mean.mean().item()) / math.sqrt(variance.item() / draws)
    assert abs(z) < 4.06
    assert np.var(found) == pytest.approx(variance.item(), rel=0.4)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), labels=st.sampled_from(["full", "sampled"]))
def test_products_are_symmetric_positive_and_inverse_to_solves(seed, labels):
    model, inputs = multilayer(), normal(5, 4, seed=seed)
    fisher = SampledFisher.of(
        model, inputs, labels=labels, generator=torch.Generator().manual_seed(seed)
    )
    left, right = by_name(model, seed + 1), by_name(model, seed + 20)

    def inner(a, b):
        return (flat(a, fisher.names) @ flat(b, fisher.names)).item()

    there, back = inner(left, fisher.multiply(right)), inner(right, fisher.multiply(left))
    assert there == pytest.approx(back, rel=1e-9, abs=1e-11)
    assert fisher.quadratic(left) >= 0
    assert fisher.quadratic(left, blocks="layer") >= 0
    solved = fisher.solve(left, 0.3)
    again = fisher.multiply(solved)
    for name, part in left.items():
        torch.testing.assert_close(again[name] + 0.3 * solved[name], part, rtol=0, atol=1e-11)


def test_copies_and_order_of_samples_do_not_matter():
    model, inputs = multilayer(), normal(5, 4)
    vector = by_name(model)
    once = SampledFisher.of(model, inputs, labels="full").multiply(vector)
    more = torch.cat([inputs.flip(0), inputs])
    twice = SampledFisher.of(model, more, labels="full").multiply(vector)
    for name, part in once.items():
        torch.testing.assert_close(twice[name], part, rtol=0, atol=1e-13)


def test_a_penalty_can_be_differentiated():
    model, inputs = multilayer(), normal(5, 4)
    fisher = SampledFisher.of(model, inputs, labels="full")
    vector = {name: part.requires_grad_() for name, part in by_name(model).items()}
    fisher.quadratic(vector).backward()
    for name, part in fisher.multiply(vector).items():
        torch.testing.assert_close(vector[name].grad, 2 * part, rtol=0, atol=1e-12)
