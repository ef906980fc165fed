"""Columns of labels: their moments, their roots, and the way back to a layer's outputs."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sandbox.network import output_gradients
from sandbox.network.output_gradients import (
    exact_columns,
    model_outputs,
    place_gradients,
    sampled_columns,
)

LOGITS = torch.tensor([2.0, 0.0, -1.0, 0.5], dtype=torch.float64)
CHI_SQUARE_3 = 21.11
"""The 1 - 1e-4 quantile of the chi-square distribution with 3 degrees of freedom."""
NORMAL = 3.89
"""The two-sided 1e-4 quantile of the normal distribution."""


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def hessian(chances):
    return torch.diag_embed(chances) - chances[:, :, None] * chances[:, None, :]


def gram(columns):
    return torch.einsum("rni,rnj->nij", columns, columns)


def test_sampled_labels_follow_the_probabilities():
    draws = 40_000
    found = sampled_columns(LOGITS.expand(draws, 4), "categorical", seeded())[0]
    chances = LOGITS.softmax(0)
    labels = (chances - found).argmax(dim=1)
    torch.testing.assert_close(found, chances - nn.functional.one_hot(labels, 4), atol=0, rtol=0)
    expected = draws * chances
    counts = torch.bincount(labels, minlength=4)
    # Pearson's statistic, false alarms 1e-4 for a fixed seed
    assert float(((counts - expected) ** 2 / expected).sum()) < CHI_SQUARE_3


def test_sampled_noise_is_standard_normal():
    draws = 40_000
    found = sampled_columns(torch.zeros(draws, 1, dtype=torch.float64), "gaussian", seeded())
    assert abs(float(found.mean())) * math.sqrt(draws) < NORMAL
    # the square of a standard normal number has variance 2
    assert abs(float(found.square().mean()) - 1) * math.sqrt(draws / 2) < NORMAL


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_the_second_moment_of_samples_is_the_exact_one(likelihood):
    draws = 40_000
    columns = sampled_columns(LOGITS.expand(draws, 4), likelihood, seeded(3))[0]
    products = columns[:, :, None] * columns[:, None, :]
    wanted = gram(exact_columns(LOGITS[None], likelihood))[0]
    error = (products.mean(0) - wanted) / (products.std(0) / math.sqrt(draws))
    # 10 different entries, each with false alarms 1e-5: 1e-4 in all
    assert float(error.abs().max()) < 4.42


def test_samples_repeat_with_the_generator_s_state():
    generator = seeded(1)
    state = generator.get_state()
    first = sampled_columns(LOGITS.expand(9, 4), "categorical", generator)
    again = sampled_columns(LOGITS.expand(9, 4), "categorical", generator)
    generator.set_state(state)
    assert torch.equal(first, sampled_columns(LOGITS.expand(9, 4), "categorical", generator))
    assert not torch.equal(first, again)


def test_samples_of_outputs_that_are_not_finite_are_not_finite():
    assert not sampled_columns(torch.tensor([[math.nan, 0.0]]), "categorical").isfinite().any()


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=6), st.booleans())
def test_exact_columns_are_a_root_of_the_hessian(logits, single):
    outputs = torch.tensor([logits], dtype=torch.float32 if single else torch.float64)
    columns = exact_columns(outputs, "categorical")
    assert columns.shape == (len(logits) - 1, 1, len(logits))
    wanted = hessian(outputs.double().softmax(1))
    # probabilities, hence everything made of them, are known to a few roundings; those of
    # single precision include that of the exponent, which is the size of the logits
    rounding = torch.finfo(outputs.dtype).eps
    bound = 20 * rounding * (1 + 2e-3 * max(map(abs, logits)))
    assert float((gram(columns.double()) - wanted).abs().max()) < bound


def test_exact_columns_keep_the_digits_of_small_probabilities():
    logits = torch.tensor([[0.0, -40.0, -41.0]], dtype=torch.float64)
    found = gram(exact_columns(logits, "categorical"))[0].diagonal()
    chances = logits.softmax(1)[0]
    rest = torch.stack([chances[1:].sum(), *(1 - chances[1:])])
    assert float((found / (chances * rest) - 1).abs().max()) < 1e-14


def test_exact_columns_do_what_all_weighted_labels_do():
    outputs = torch.randn(5, 4, dtype=torch.float64, generator=seeded())
    chances = outputs.softmax(1)
    every = torch.stack([
        chances[:, c, None].sqrt() * (chances - nn.functional.one_hot(torch.tensor(c), 4))
        for c in range(4)
    ])
    assert float((gram(exact_columns(outputs, "categorical")) - gram(every)).abs().max()) < 1e-15


def test_exact_columns_of_a_gaussian_are_the_identity():
    found = exact_columns(torch.zeros(3, 2), "gaussian")
    assert torch.equal(gram(found), torch.eye(2).expand(3, 2, 2))


class Doubled(torch.autograd.Function):
    """Twice its input, without a batching rule."""

    @staticmethod
    def forward(ctx, values):
        return 2 * values

    @staticmethod
    def backward(ctx, slope):
        return 2 * slope


class Net(nn.Module):
    def __init__(self, middle=torch.tanh):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(2, 3, 2, dtype=torch.float64)
        self.second = nn.Linear(12, 4, dtype=torch.float64)
        self.middle = middle

    def forward(self, inputs):
        self.before = self.first(inputs)
        self.after = self.second(self.middle(self.before).flatten(1))
        return self.after


IMAGES = torch.randn(5, 2, 3, 3, dtype=torch.float64, generator=seeded(5))


def one_by_one(net, columns):
    """The same from the definition: a backward pass a sample and a column."""
    net(IMAGES)
    places = net.before, net.after
    slopes = [torch.zeros(len(columns), *place.shape, dtype=torch.float64) for place in places]
    for c, column in enumerate(columns):
        for n in range(len(IMAGES)):
            loss = (net.after[n] * column[n]).sum()
            found = torch.autograd.grad(loss, places, retain_graph=True)
            for slope, value in zip(slopes, found, strict=True):
                slope[c, n] = value[n]
    return slopes


@pytest.mark.parametrize("middle", [torch.tanh, Doubled.apply])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("entries", [2**25, 100])
def test_columns_go_back_to_every_place(monkeypatch, middle, count, entries):
    monkeypatch.setattr(output_gradients, "ENTRIES_AT_ONCE", entries)
    net = Net(middle)
    columns = torch.randn(count, 5, 4, dtype=torch.float64, generator=seeded(6))
    wanted = one_by_one(net, columns)
    outputs = net(IMAGES)
    parts = list(place_gradients(outputs, [net.before, net.after], columns))
    assert len(parts) == (1 if entries > 100 else count)
    for found, value in zip(zip(*parts, strict=True), wanted, strict=True):
        torch.testing.assert_close(torch.cat(found), value, rtol=1e-13, atol=1e-15)
    outputs.sum().backward()  # the graph is still there
    assert net.first.weight.grad is not None


def test_places_that_the_outputs_do_not_depend_on_get_zeros():
    net = Net()
    outputs = net(IMAGES)
    aside = net.first(IMAGES)
    for count in (1, 2):
        ((found, _),) = place_gradients(
            outputs, [aside, net.after], torch.ones(count, 5, 4, dtype=torch.float64)
        )
        assert torch.equal(found, torch.zeros(count, *aside.shape, dtype=torch.float64))


def test_outputs_of_half_precision_are_seen_in_single():
    outputs = torch.zeros(3, 2, dtype=torch.float16, requires_grad=True)
    seen = model_outputs(outputs, "categorical")
    assert seen.dtype == torch.float32
    ((found,),) = place_gradients(seen, [outputs], torch.ones(1, 3, 2))
    assert found.dtype == torch.float16


def test_outputs_can_be_chosen():
    outputs = torch.arange(8.0).view(2, 4).requires_grad_()
    assert model_outputs(outputs, "categorical", slice(1, 3)).tolist() == [[1, 2], [5, 6]]
    assert model_outputs(outputs, "gaussian", [3]).tolist() == [[3], [7]]
    assert model_outputs(outputs.view(2, 2, 2), "gaussian").shape == (2, 4)


GRAPH = torch.ones(3, 4, requires_grad=True)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("made", "likelihood", "columns", "says"),
    [
        ((GRAPH, GRAPH), "gaussian", None, "returns one tensor of real numbers"),
        (torch.ones(3, 4, dtype=torch.int64), "gaussian", None, "one tensor of real numbers"),
        (torch.ones(3), "gaussian", None, r"shape \(3,\): must be \(sample, output\)"),
        (torch.ones(0, 4), "gaussian", None, r"shape \(0, 4\)"),
        (GRAPH.view(3, 2, 2), "categorical", None, r"wants \(sample, class\)"),
        (GRAPH, "categorical", [1], "at least two classes"),
        (torch.ones(3, 4), "categorical", None, "carry no graph"),
    ],
)
def test_outputs_without_labels_to_draw_are_refused(made, likelihood, columns, says):
    with pytest.raises(ValueError, match=says):
        model_outputs(made, likelihood, columns)
