"""Columns of a Jacobian's transpose, held against a backward pass a sample and a column."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sandbox.network import columns as columns_module
from sandbox.network.columns import LayerColumns, fisher_columns, layer_columns
from sandbox.network.layers import factor_layers

F64 = torch.float64


def normal(*shape, seed=1):
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def plain():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3, bias=False)), normal(6, 4)


def sequence():
    layers = nn.Linear(2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)
    return nn.Sequential(*layers), normal(6, 4, 2)


def convolution():
    layers = nn.Conv2d(2, 3, 2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3)
    return nn.Sequential(*layers), normal(6, 2, 3, 3)


NETS = [plain, sequence, convolution]


def built(net):
    """Return a network, its layers, its inputs, two columns at the outputs."""
    torch.manual_seed(0)
    model, inputs = net()
    model.double()
    return model, factor_layers(model)[0], inputs, normal(2, 6, 3, seed=2)


def dense(model, layers, inputs, probes):
    """Return each layer's columns (column x sample, out, in), one backward pass at a time."""
    found = [[] for _ in layers]
    for probe in probes:
        for row, weights in zip(inputs, probe, strict=True):
            value = (model(row[None])[0] * weights).sum()
            for layer, rows in zip(layers, found, strict=True):
                slopes = torch.autograd.grad(value, layer.parameters, retain_graph=True)
                rows.append(layer.matrix(*slopes))
    return [torch.stack(rows) for rows in found]


# what is left is rounding in float64, of sums of at most 72 terms of size 1
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.mark.parametrize("piece", [2**24, 7])
@pytest.mark.parametrize("forming", [None, True, False])
@pytest.mark.parametrize("net", NETS)
def test_products_are_those_of_the_columns_themselves(net, forming, piece, monkeypatch):
    monkeypatch.setattr(columns_module, "PIECE", piece)
    if forming is not None:
        monkeypatch.setattr(LayerColumns, "_forming_is_cheaper", lambda _: forming)
    model, layers, inputs, probes = built(net)
    found = layer_columns(model, layers, inputs, lambda _: probes)
    for mine, rows in zip(found, dense(model, layers, inputs, probes), strict=True):
        flat, one, weights = rows.flatten(1), normal(*rows.shape[1:]), normal(len(rows))
        assert (mine.columns, mine.entries) == flat.shape
        combined = torch.tensordot(weights, rows, 1)
        for have, want in (
            (mine.gram(), flat @ flat.T),
            (mine.transposed(one), flat @ one.reshape(-1)),
            (mine.combined(weights), combined),
            (mine.combined(weights, one, 0.5), 0.5 * (one - combined)),
            (mine.squares(), rows.square().sum(0)),
            (mine.absolutes(), rows.abs().sum(0)),
            (mine.rows(3, 9), flat[3:9]),
        ):
            torch.testing.assert_close(have, want, **CLOSE)


@pytest.mark.parametrize("net", NETS)
def test_columns_of_all_labels_make_the_fisher_matrix(net):
    """F is the mean over samples of the expectation over labels of g g'."""
    model, layers, inputs, _ = built(net)
    chances = model(inputs).detach().softmax(1)
    labels = torch.eye(3, dtype=F64)[:, None]
    slopes = dense(model, layers, inputs, (chances - labels) * chances.T[:, :, None].sqrt())
    found = fisher_columns(model, layers, inputs, "full", "categorical", None)
    for mine, rows in zip(found, slopes, strict=True):
        torch.testing.assert_close(mine.squares(), rows.square().sum(0) / 6, **CLOSE)


def test_a_layer_that_the_outputs_do_not_depend_on_has_no_positions():
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.never = nn.Linear(4, 3), nn.Linear(4, 2)

        def forward(self, inputs):
            return self.used(inputs)

    model = Aside().double()
    layers, _ = factor_layers(model)
    _, never = layer_columns(model, layers, normal(6, 4), lambda _: normal(2, 6, 3))
    assert never.inputs.shape == (6, 0, 5)
    assert torch.equal(never.squares(), torch.zeros(2, 5, dtype=F64))
    assert torch.equal(never.gram(), torch.zeros(12, 12, dtype=F64))


@pytest.mark.bad_input
def test_rows_that_belong_to_no_sample_are_refused():
    model = nn.Sequential(nn.Flatten(0, 1), nn.Linear(2, 3), nn.Unflatten(0, (6, 4)), nn.Flatten())
    model.double()
    layers, _ = factor_layers(model)
    with pytest.raises(ValueError, match=r"layer '1' \(Linear\) is fed 24 rows: .* 6 in front"):
        layer_columns(model, layers, normal(6, 4, 2), lambda f: torch.zeros_like(f)[None])
    pooled = nn.Sequential(nn.Flatten(0, 1), nn.Linear(2, 3)).double()
    with pytest.raises(ValueError, match=r"model gives \(24, 3\): must be a tensor of shape \(6,"):
        layer_columns(
            pooled, factor_layers(pooled)[0], normal(6, 4, 2), lambda f: torch.zeros_like(f)[None]
        )
