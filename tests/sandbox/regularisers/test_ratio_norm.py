"""The ratio norm of networks: numpy's second route, critical points, scopes, steps."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from sandbox.regularisers.ratio_norm import RatioNorm
from theory.sparsity import (
    hoyer_sparsity,
    inertia,
    norm_after_step,
    ratio_norm,
    ratio_norm_gradient,
)

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
DTYPES = {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 2e-2}


def held(values, dtype=torch.float64, device="cpu"):
    """Return a model whose only weight has one row of these values."""
    layer = nn.Linear(len(values), 1, bias=False, dtype=dtype, device=device)
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(np.asarray(values))[None])
    return layer


def network(dtype=torch.float64, device="cpu", seed=0):
    """Return a network with a convolution, two matrices, biases, and a gain."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(27, 4), nn.LayerNorm(4), nn.Linear(4, 2)]
    return nn.Sequential(*layers).to(device, dtype)


def flat(model):
    """Return the weights with two dimensions or more, as vectors of numpy."""
    return [p.detach().double().cpu().numpy().ravel() for p in model.parameters() if p.ndim > 1]


vectors = arrays(
    np.float64,
    st.integers(1, 12),
    elements=st.one_of(st.just(0.0), st.floats(-1e3, 1e3).filter(lambda v: abs(v) > 1e-3)),
).filter(np.any)


# ---- value and gradient


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scope", ["tensor", "global"])
def test_value_and_gradient_are_those_of_numpy(scope, dtype, device):
    model = network(dtype, device)
    parts = flat(model)
    value = RatioNorm(0.3, scope).penalty(model)
    value.backward()
    if scope == "global":
        whole = np.concatenate(parts)
        cuts = np.cumsum([len(p) for p in parts])[:-1]
        expected, slopes = ratio_norm(whole), np.split(ratio_norm_gradient(whole), cuts)
    else:
        expected = sum(ratio_norm(p) for p in parts)
        slopes = [ratio_norm_gradient(p) for p in parts]
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert value.item() == pytest.approx(0.3 * expected, rel=DTYPES[dtype])
    grads = [p.grad.double().cpu().numpy().ravel() for p in model.parameters() if p.ndim > 1]
    for got, wanted in zip(grads, slopes, strict=True):
        np.testing.assert_allclose(got, 0.3 * wanted, atol=DTYPES[dtype], rtol=DTYPES[dtype])
    assert all(p.grad is None for p in model.parameters() if p.ndim < 2)


@given(vectors)
def test_gradients_of_any_weights_are_those_of_numpy(w):
    layer = held(w)
    value = RatioNorm(1.0)(layer)
    value.backward()
    assert value.item() == pytest.approx(ratio_norm(w), rel=1e-13)
    # in units of the kink's slope, the scale of every entry
    scale = np.linalg.norm(w)
    got = layer.weight.grad.numpy()[0] * scale
    np.testing.assert_allclose(got, ratio_norm_gradient(w) * scale, atol=1e-13 * len(w))
    assert (got[w == 0] == 0).all()


@given(vectors, st.floats(-60, 60))
def test_the_value_does_not_see_scale_even_where_squares_overflow(w, power):
    scaled = w * 10.0**power
    narrow = held(w / np.abs(w).max() * 1e30, torch.float32)
    assert RatioNorm(1.0)(held(scaled)).item() == pytest.approx(ratio_norm(w), rel=1e-12)
    assert RatioNorm(1.0)(narrow).item() == pytest.approx(ratio_norm(w), rel=1e-5)


@given(vectors.filter(lambda w: len(w) > 1))
def test_the_value_lies_between_one_and_the_root_of_the_number_of_weights(w):
    value = RatioNorm(1.0)(held(w)).item()
    n = len(w)
    assert 1 - 1e-12 <= value <= math.sqrt(np.count_nonzero(w)) + 1e-12
    assert (math.sqrt(n) - value) / (math.sqrt(n) - 1) == pytest.approx(hoyer_sparsity(w), abs=1e-9)


# ---- critical points and inertia, through torch


@pytest.mark.parametrize("nonzeros", [1, 2, 3, 5])
def test_ternary_points_are_critical_and_have_the_derived_inertia(nonzeros):
    w = np.zeros(5)
    w[:nonzeros] = 0.7 * (-1.0) ** np.arange(nonzeros)
    exact = inertia(w)
    layer = held(w)

    def value(support):
        moved = torch.cat([support, torch.zeros(5 - nonzeros, dtype=torch.float64)])
        return torch.func.functional_call(_Asked(layer), {"layer.weight": moved[None]}, ())

    support = torch.tensor(w[:nonzeros])
    assert value(support).item() == pytest.approx(math.sqrt(nonzeros), rel=1e-14)
    assert torch.func.grad(value)(support).abs().max() < 1e-14
    hessian = torch.func.jacrev(torch.func.grad(value))(support)
    values = torch.linalg.eigvalsh(hessian).numpy()
    expected = [exact.eigenvalue] * exact.negative + [0.0] * exact.flat
    np.testing.assert_allclose(values, expected, atol=1e-13)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_zero_rises_to_both_sides_at_the_slope_of_the_kink(side):
    w = np.array([0.7, -0.7, 0.0])
    moved = w + np.array([0.0, 0.0, 1e-9 * side])
    layer = held(moved)
    RatioNorm(1.0)(layer).backward()
    assert layer.weight.grad[0, 2].item() == pytest.approx(side * inertia(w).kink_slope, rel=1e-8)


class _Asked(nn.Module):
    """Returns the penalty of a layer as its output, so that torch.func can differentiate it."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self):
        return RatioNorm(1.0)(self.layer)


# ---- zeros, and what counts


@pytest.mark.parametrize("scope", ["tensor", "global"])
def test_weights_that_are_all_zero_add_nothing_and_stay(scope):
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)).double()
    nn.init.zeros_(model[0].weight)
    value = RatioNorm(1.0, scope)(model)
    value.backward()
    assert value.item() == pytest.approx(ratio_norm(flat(model)[1]))
    assert (model[0].weight.grad == 0).all()
    nn.init.zeros_(model[1].weight)
    model.zero_grad()
    value = RatioNorm(1.0, scope)(model)
    value.backward()
    assert value.item() == 0
    assert all((layer.weight.grad == 0).all() for layer in model)
    assert set(RatioNorm(1.0, scope).norms(model).values()) == {0.0}


def test_an_empty_weight_adds_nothing():
    model = nn.Sequential(held([3.0, -4.0]), nn.Embedding(0, 3, dtype=torch.float64))
    for scope in ("tensor", "global"):
        assert RatioNorm(1.0, scope)(model).item() == pytest.approx(1.4)


def test_frozen_weights_and_vectors_do_not_count_unless_asked_for():
    model = network()
    model[2].weight.requires_grad_(False)
    names = set(RatioNorm(1.0).ratios(model))
    assert names == {"0.weight", "4.weight"}
    everything = RatioNorm(1.0, biases=True).ratios(model)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(everything) == trained
    assert everything["3.weight"] == pytest.approx(2.0)


def test_ratios_and_norms_are_told_by_name_or_as_one():
    model = network()
    parts = flat(model)
    told = RatioNorm(1.0)
    assert list(told.ratios(model).values()) == pytest.approx([ratio_norm(p) for p in parts])
    assert list(told.norms(model).values()) == pytest.approx([np.linalg.norm(p) for p in parts])
    whole = np.concatenate(parts)
    whole_ratio = pytest.approx(ratio_norm(whole))
    assert RatioNorm(1.0, "global").ratios(model) == {"all weights": whole_ratio}
    length = pytest.approx(np.linalg.norm(whole))
    assert RatioNorm(1.0, "global").norms(model) == {"all weights": length}


def test_tied_weights_count_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).double()
    model[1].weight = model[0].weight
    assert RatioNorm(1.0)(model).item() == pytest.approx(ratio_norm(flat(model)[0]))


def test_a_strength_of_zero_is_no_penalty():
    model = network()
    RatioNorm(0.0)(model).backward()
    assert all((p.grad == 0).all() for p in model.parameters() if p.grad is not None)


# ---- steps


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_a_step_of_the_penalty_alone_makes_the_norm_grow_as_derived(rate):
    w = np.array([1.0, -0.4, 0.2, 0.0])
    layer = held(w)
    optimizer = torch.optim.SGD(layer.parameters(), lr=rate)
    RatioNorm(1.0).attach(optimizer, layer)
    optimizer.step()
    after = layer.weight.detach().norm().item()
    assert after == pytest.approx(norm_after_step(w, rate), rel=1e-14)
    assert after > np.linalg.norm(w)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scope", ["tensor", "global"])
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam, torch.optim.Adagrad])
def test_attached_or_in_the_loss_makes_the_same_steps(make, scope, device):
    inside, outside = network(device=device), network(device=device)
    penalty = RatioNorm(0.1, scope)
    inputs = torch.randn(6, 1, 4, 4, dtype=torch.float64, device=device)
    steps = []
    for model in (inside, outside):
        optimizer = make(model.parameters(), lr=0.01)
        if model is outside:
            penalty.attach(optimizer, model)
        for _ in range(5):
            optimizer.zero_grad()
            loss = model(inputs).square().mean()
            (loss + penalty(model) if model is inside else loss).backward()
            optimizer.step()
        steps.append([p.detach().cpu() for p in model.parameters()])
    for a, b in zip(*steps, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_weights_frozen_or_thawed_after_attaching_go_the_same_way_as_in_the_loss():
    model = network()
    model[2].weight.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    RatioNorm(0.1).attach(optimizer, model)
    model[2].weight.requires_grad_(True)
    model[4].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    optimizer.step()
    moved = {name for name, w in model.state_dict().items() if not torch.equal(w, before[name])}
    assert moved == {"0.weight", "2.weight"}
    for name in ("0.weight", "2.weight"):
        model.get_parameter(name).requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    optimizer.zero_grad()
    optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("values", [[1e-45, 0.0, 0.0], [3e-40, 0.0, 1e-40], [6e-39, 0.0, 3e38]])
def test_attached_zeros_stay_where_slopes_overflow(values):
    inside, outside = held(values, torch.float32), held(values, torch.float32)
    RatioNorm(1.0)(inside).backward()
    optimizer = torch.optim.SGD(outside.parameters(), lr=0.0)
    RatioNorm(1.0).attach(optimizer, outside)
    optimizer.step()
    assert outside.weight.grad[0, 1] == 0
    torch.testing.assert_close(outside.weight.grad, inside.weight.grad)


def test_sparse_gradients_are_added_to():
    inside, outside = nn.Embedding(4, 2, sparse=True), nn.Embedding(4, 2, sparse=True)
    outside.load_state_dict(inside.state_dict())
    rows = torch.tensor([1, 3])
    (inside(rows).sum() + RatioNorm(0.1)(inside)).backward()
    optimizer = torch.optim.SGD(outside.parameters(), lr=0.1)
    RatioNorm(0.1).attach(optimizer, outside)
    outside(rows).sum().backward()
    optimizer.step()
    torch.testing.assert_close(outside.weight.grad, inside.weight.grad)


def test_removed_it_adds_nothing_more_and_bfloat16_keeps_its_type():
    model = network(torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    handle = RatioNorm(0.1).attach(optimizer, model)
    optimizer.step()
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.bfloat16}
    before = copy.deepcopy(model.state_dict())
    handle.remove()
    optimizer.zero_grad()
    optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


# ---- bad input


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1.0,), "strength = -1.0"),
        ((math.nan,), "strength = nan"),
        (("much",), "strength = 'much'"),
        ((1.0, "layer"), "scope = 'layer'"),
    ],
)
def test_a_bad_penalty_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        RatioNorm(*arguments)


@pytest.mark.bad_input
def test_bad_models_and_optimisers_are_refused():
    with pytest.raises(ValueError, match="biases = 1"):
        RatioNorm(1.0, biases=1)
    with pytest.raises(ValueError, match=r"must be a torch.nn.Module"):
        RatioNorm(1.0)(torch.ones(2, 2))
    with pytest.raises(ValueError, match="no trained weight of two dimensions.*biases=True"):
        RatioNorm(1.0)(nn.LayerNorm(3))
    with pytest.raises(ValueError, match="no trained parameter"):
        RatioNorm(1.0, biases=True)(nn.ReLU())
    with pytest.raises(ValueError, match="not initialised yet"):
        RatioNorm(1.0)(nn.LazyLinear(3))
    model = network()
    partial = torch.optim.SGD(model[0].parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"does not train 2\.weight"):
        RatioNorm(1.0).attach(partial, model)
    with pytest.raises(ValueError, match="optimizer = 'adam'"):
        RatioNorm(1.0).attach("adam", model)
