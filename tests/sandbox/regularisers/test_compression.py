"""Weights as bytes: pruning, quantising, exact restoring, honest numbers of bits."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import nn

from sandbox.regularisers.compression import Compressed, compress, prune
from theory.sparsity import ternary_entropy

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
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
WORD = 64
"""Bits beyond the information in a range coder's stream, at most: its last words."""


class Held(nn.Module):
    """Holds weights under names."""

    def __init__(self, **weights):
        super().__init__()
        for name, weight in weights.items():
            self.register_parameter(name, nn.Parameter(torch.as_tensor(weight)))


def quantised(weight, share, levels):
    """Return a weight pruned and rounded in float64, in its own type."""
    w = weight.detach().double().cpu().numpy()
    size = weight.detach().abs()
    left = (size >= share * size.max()).cpu().numpy() if w.size else np.zeros(w.shape, bool)
    peak = np.abs(w).max(initial=0.0)
    step = peak / ((levels - 1) // 2) if peak else 1.0
    values = np.rint(np.where(left, w, 0.0) / step) * step
    return torch.from_numpy(values).to(weight.dtype)


def bound(model, share, levels):
    """Return the most bits that coding may take: entropies, gamma codes of counts, header."""
    bits = 8 * (4 + 1 + 4) + WORD
    for name, weight in model.named_parameters():
        peak = max(weight.detach().abs().double().max().item(), 1e-300) if weight.numel() else 1.0
        values = quantised(weight, share, levels).double().numpy().ravel()
        symbols = np.rint(values / (peak / ((levels - 1) // 2))).astype(int)
        # sizes, shape, type, step, ends and kind
        bits += 8 * (1 + len(name) + 1 + 1 + 3 * weight.ndim + 8 + 3 + 3 + 1)
        if len(set(symbols)) < 2:
            continue
        counts = np.bincount(symbols - symbols.min())
        shares = counts[counts > 0] / len(symbols)
        counted = -len(symbols) * (shares * np.log2(shares)).sum()
        numbers = np.concatenate([counts[counts > 0], np.diff(np.flatnonzero(counts))])
        counted += 8 * math.ceil((2 * np.floor(np.log2(numbers)) + 1).sum() / 8)
        bits += min(counted, len(symbols) * np.log2(len(counts)))
        bits += 1e-5 * len(symbols)  # probabilities of 24 bits
    return bits


weights = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=7),
    elements=st.one_of(
        st.just(0.0), st.floats(-1e4, 1e4, width=32), st.sampled_from([1.0, -1.0, 0.5])
    ),
)


# ---- round trips


@given(
    weights, weights, st.sampled_from([3, 5, 31, 255, 65_535]), st.sampled_from([0.0, 0.01, 0.5])
)
def test_any_weights_come_back_as_they_were_quantised(first, second, levels, share):
    model = Held(first=first, second=second)
    before = copy.deepcopy(model)
    found = compress(model, share, levels=levels)
    assert all(map(torch.equal, model.parameters(), before.parameters()))
    again = Compressed(found.data)
    assert again == found
    again.restore(model)
    for name, weight in model.named_parameters():
        expected = quantised(getattr(before, name), share, levels)
        torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=0)
    assert found.weights == first.size + second.size
    if found.weights:
        bits = 8 * len(found.data)
        assert found.bits_per_weight == bits / found.weights
        assert found.entropy * found.weights <= bits <= bound(before, share, levels)
    else:
        assert math.isnan(found.bits_per_weight)
        assert math.isnan(found.entropy)
        assert math.isnan(found.kept)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_of_weight_comes_back(dtype, device):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(20, 30)).to(device, dtype)
    original = copy.deepcopy(model)
    compress(model, 0.05).restore(model)
    for old, new in zip(original.parameters(), model.parameters(), strict=True):
        if old.ndim < 2:
            assert torch.equal(old, new)
        else:
            assert torch.equal(quantised(old, 0.05, 255), new.detach().cpu())


@pytest.mark.parametrize(
    "weight",
    [
        np.zeros((3, 4)),
        np.full((5, 5), -0.3),
        np.array([[2.5]]),
        np.zeros((0, 3)),
        np.zeros((1, 1)),
    ],
    ids=["zeros", "constant", "one", "empty", "one zero"],
)
def test_weights_without_information_take_a_header_only(weight):
    model = Held(weight=weight)
    found = compress(model)
    assert len(found.data) <= 4 + 1 + 7 + 1 + 3 + 8 + 4 + 4
    torch.testing.assert_close(
        found.tensors()["weight"], torch.from_numpy(weight), rtol=1e-15, atol=0
    )
    if weight.size:
        assert found.entropy == 0
        assert found.kept == float(np.any(weight))


@pytest.mark.parametrize("peak", [1e-280, 1e280])
def test_extreme_scales_come_back(peak):
    weight = peak * np.array([[1.0, -0.5, 0.25]])
    model = Held(weight=weight)
    got = compress(model, levels=9).tensors()["weight"].numpy()
    np.testing.assert_allclose(got, weight, rtol=1e-15)


def test_the_smallest_float32_comes_back():
    model = Held(weight=torch.tensor([[1e-45, 0.0, -1e-45]]))
    assert torch.equal(compress(model).tensors()["weight"], model.weight.detach())


# ---- quantiser


@given(st.integers(0, 2**32), st.sampled_from([3, 15, 255]))
def test_kept_weights_move_by_half_a_step_at_most(seed, levels):
    w = np.random.default_rng(seed).standard_normal((9, 7))
    found = compress(Held(weight=w), 0.0, levels=levels)
    step = found.steps["weight"]
    got = found.tensors()["weight"].numpy()
    assert step == pytest.approx(2 * np.abs(w).max() / (levels - 1))
    assert np.abs(got - w).max() <= step / 2 * (1 + 1e-12)
    assert len(np.unique(got)) <= levels
    # a second time nothing moves
    again = compress(Held(weight=got), 0.0, levels=levels).tensors()["weight"].numpy()
    np.testing.assert_allclose(again, got, rtol=1e-12, atol=0)


def test_one_step_may_serve_all_tensors():
    model = Held(a=np.array([[0.26, -0.1]]), b=np.array([[7.0, 0.13]]))
    found = compress(model, 0.0, step=0.25)
    assert found.tensors()["a"].tolist() == [[0.25, 0.0]]
    assert found.tensors()["b"].tolist() == [[7.0, 0.25]]
    assert found.steps == {"a": 0.25, "b": 0.25}


# ---- bits


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_ternary_weights_take_their_entropy(share):
    generator = np.random.default_rng(3)
    n = 200_000
    signs = generator.choice([-1.0, 1.0], n) * (generator.random(n) < share)
    found = compress(Held(weight=signs.reshape(100, -1)))
    assert found.kept == pytest.approx(share, rel=0.1)
    # four standard errors of a draw, from the slope of the entropy and the spread of the share
    slope = abs(math.log2((1 - share) / share)) + 1
    error = 4 * slope * math.sqrt(share / n)
    assert found.entropy == pytest.approx(ternary_entropy(share), abs=error)
    assert found.entropy <= found.bits_per_weight <= found.entropy + 600 / n


def test_a_large_normal_tensor_is_within_a_percent_of_its_entropy():
    w = np.random.default_rng(0).standard_normal((500, 400))
    found = compress(Held(weight=w), 0.0)
    counts = np.unique(np.rint(w / (np.abs(w).max() / 127)), return_counts=True)[1] / w.size
    expected = -(counts * np.log2(counts)).sum()
    assert found.entropy == pytest.approx(expected, rel=1e-12)
    assert expected < found.bits_per_weight < 1.01 * expected


def test_few_weights_with_many_levels_are_not_charged_a_table_of_frequencies():
    w = np.random.default_rng(0).standard_normal((5, 10))
    found = compress(Held(weight=w), 0.0, levels=4095)
    assert 8 * len(found.data) <= 50 * 12 + 8 * 60


def test_nothing_is_left_out_of_the_bits():
    model = nn.Linear(30, 20)
    plain, everything = compress(model), compress(model, biases=True)
    assert plain.weights == 600
    assert everything.weights == 620
    assert set(everything.tensors()) == {"weight", "bias"}
    assert everything.bits_per_weight == 8 * len(everything.data) / 620


# ---- pruning


@given(weights, st.floats(0, 1))
def test_pruning_zeroes_what_lies_below_the_share(w, share):
    model = Held(weight=w)
    left = prune(model, share)["weight"].numpy()
    size = np.abs(w)
    # in float32, as the weights are
    limit = np.float32(share) * size.max(initial=0.0)
    np.testing.assert_array_equal(model.weight.detach().numpy(), np.where(left, w, 0))
    assert (model.weight != 0).numpy().tolist() == left.tolist()
    assert (size[left] >= limit * (1 - 1e-6)).all()
    assert ((size[~left] <= limit * (1 + 1e-6)) | (size[~left] == 0)).all()


def test_pruning_leaves_vectors_and_prunes_frozen_weights():
    model = nn.Linear(2, 2)
    model.weight.requires_grad_(False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.2], [-0.3, 0.25]]))
        model.bias.copy_(torch.tensor([1.0, 0.001]))
    assert prune(model, 0.25)["weight"].tolist() == [[True, False], [True, True]]
    assert model.bias.tolist() == pytest.approx([1.0, 0.001])
    assert prune(model, 0.25, biases=True)["bias"].tolist() == [True, False]


@pytest.mark.parametrize("device", DEVICES)
def test_compressing_prunes_as_pruning_does(device):
    torch.manual_seed(1)
    model = nn.Linear(40, 30).to(device)
    found = compress(model, 0.3)
    left = prune(model, 0.3)["weight"]
    assert torch.equal(found.tensors()["weight"] != 0, left.cpu())
    assert found.kept == pytest.approx(left.double().mean().item())
