"""Importance measures: against recorded numbers and against one backward pass at a time."""

import math

import pytest
import torch
from torch import nn

from sandbox.regularisers import _sums, importance
from sandbox.regularisers._trained import Trained
from sandbox.regularisers.importance import (
    absolute_fisher,
    batched_memory_aware,
    fisher_diagonal,
    memory_aware,
    root_fisher,
)
from tests.sandbox.regularisers.importance_loops import (
    MEMORY,
    NETWORKS,
    by_loop,
    gradient,
    mean,
    multilayer,
    network,
    normal,
)
from tests.sandbox.regularisers.tiny_net import (
    CONFIDENCE,
    DEVICES,
    DRAWN,
    F64,
    IMPORTANCE,
    INPUTS,
    LABELS,
    PEARSON,
    TWO_CLASSES,
    flat,
    tiny_net,
    vector,
)

TIGHT = {"rtol": 0, "atol": 1e-12}


def measured(name, model, inputs, labels=None, **rest):
    """Return a measure by its short name."""
    if name in MEMORY:
        return memory_aware(model, inputs, *MEMORY[name], **rest)
    if name == "absolute":
        return absolute_fisher(model, inputs, **rest)
    if name == "root":
        return root_fisher(model, inputs, **rest)
    if name == "batched-mas":
        return batched_memory_aware(model, inputs, **rest)
    return fisher_diagonal(model, (inputs, labels), name, **rest)


# ------------------------------------------------------------------ recorded numbers


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", IMPORTANCE)
def test_measures_match_recorded_numbers(name, device):
    found = measured(name, tiny_net(device), INPUTS.to(device), LABELS.to(device))
    # recorded with 17 digits
    torch.testing.assert_close(flat(found), vector(IMPORTANCE[name]), **TIGHT)
    assert all(part.dtype == F64 and not part.requires_grad for part in found.values())


def test_correlations_match_recorded_numbers():
    model = tiny_net()
    for pair, wanted in PEARSON.items():
        rows = torch.stack([flat(measured(n, model, INPUTS, LABELS)) for n in pair.split()])
        assert float(torch.corrcoef(rows)[0, 1]) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("row", CONFIDENCE, ids=lambda row: f"x{row[0]:g}")
def test_confident_networks_match_recorded_numbers(row):
    model = tiny_net(scale=row[0])
    mas, masx, absolute, root, exact = (
        flat(measured(name, model, INPUTS)) for name in ("mas", "masx", "absolute", "root", "exact")
    )
    assert float(model(INPUTS).detach().softmax(1).amax(1).mean()) == pytest.approx(
        row[1], abs=1e-12
    )
    pairs = [(mas, absolute), (masx, absolute), (mas, root), (mas, exact)]
    found = [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs]
    assert found == pytest.approx(row[2:6], abs=1e-12)
    assert float(mas.sum() / absolute.sum()) == pytest.approx(row[6], abs=1e-12)


@pytest.mark.parametrize("name", ["absolute", "masx", "mas"])
def test_two_classes_match_recorded_numbers(name):
    class Scores(nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = nn.Parameter(vector(TWO_CLASSES["logits"]))

        def forward(self, inputs):
            return inputs * self.scores

    found = measured(name, Scores(), torch.ones(1, 2, dtype=F64))["scores"]
    torch.testing.assert_close(found, vector(TWO_CLASSES[name]), **TIGHT)


# ------------------------------------------------------------------ one backward pass at a time


@pytest.mark.parametrize("name", ["exact", "root", "absolute", "empirical", "weighted", *MEMORY])
@pytest.mark.parametrize("kind", NETWORKS)
def test_measures_agree_with_a_loop_over_inputs_and_labels(kind, name):
    model, inputs, labels = network(kind)
    found = measured(name, model.train(), inputs, labels)
    wanted = by_loop(model.eval(), inputs, name, labels)
    assert list(found) == list(wanted)
    assert not any(part.requires_grad for part in found.values())
    for key, part in wanted.items():
        torch.testing.assert_close(found[key], part, **TIGHT)


@pytest.mark.parametrize("kind", NETWORKS)
def test_layers_with_factors_are_told_from_the_rest(kind):
    model, inputs, _ = network(kind)
    trained = Trained.of(model, inputs[:2], "categorical", None, "")
    assert len(trained.rest) == NETWORKS[kind][2]
    owned = [p for layer in trained.layers for p in layer.parameters]
    assert len(owned) + len(trained.rest) == len(trained.parameters)


@pytest.mark.parametrize("numbers", [1, 400, 5000])
@pytest.mark.parametrize("kind", ["conv", "words", "unmapped"])
def test_pieces_do_not_change_the_mean(kind, numbers, monkeypatch):
    model, inputs, labels = network(kind)
    wanted = {n: measured(n, model, inputs, labels) for n in ("exact", "absolute", "mas")}
    monkeypatch.setattr(_sums, "NUMBERS", numbers)
    for name, whole in wanted.items():
        for key, part in measured(name, model, inputs, labels).items():
            torch.testing.assert_close(part, whole[key], **TIGHT)


def test_what_is_held_at_once_is_bounded(monkeypatch):
    model, inputs = multilayer().to(F64), normal(40, 4)
    sizes = []
    model.register_forward_hook(lambda _, args, out: sizes.append(len(args[0])))
    absolute_fisher(model, inputs)
    assert sizes[-1] == 40
    # outputs of five modules, 25 entries, in 3 labels, and 18 fed: 93 an input
    monkeypatch.setattr(_sums, "NUMBERS", 930)
    absolute_fisher(model, inputs)
    assert sizes[-4:] == [10] * 4
    # one label is less
    memory_aware(model, inputs)
    assert sizes[-2:] == [21, 19]


def test_gradients_of_single_inputs_are_bounded(monkeypatch):
    model, inputs = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3)).to(F64), normal(12, 4)
    sizes = []
    works = _sums.per_input_sums

    def watched(model, names, outputs, inputs, columns, power, at_once):
        sizes.append((len(inputs), at_once))
        return works(model, names, outputs, inputs, columns, power, at_once)

    monkeypatch.setattr(_sums, "per_input_sums", watched)
    # 3 labels of 4 + 3 outputs, and 5 fed: 26 an input; 8 + 7 a gradient
    monkeypatch.setattr(_sums, "NUMBERS", 26 * 5)
    absolute_fisher(model, inputs)
    assert sizes == [(5, 8), (5, 8), (2, 8)]


# ------------------------------------------------------------------ labels


def gaussian_loop(model, inputs, targets):
    found = []
    for n, one in enumerate(inputs):
        outputs = model(one[None])[0].flatten()
        if targets is None:
            each = [gradient(model, value) for value in outputs]
            found.append({k: sum(g[k] ** 2 for g in each) for k in each[0]})
        else:
            loss = (outputs - targets[n].flatten()).square().sum() / 2
            found.append({k: g**2 for k, g in gradient(model, loss).items()})
    return mean(found)


@pytest.mark.parametrize("labels", ["exact", "empirical"])
def test_values_have_a_fisher_matrix_too(labels):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Unflatten(1, (2, 3)))
    model, inputs, targets = model.to(F64), normal(5, 4), normal(5, 2, 3, seed=1)
    found = fisher_diagonal(model, (inputs, targets), labels, likelihood="gaussian")
    wanted = gaussian_loop(model, inputs, targets if labels == "empirical" else None)
    for key, part in wanted.items():
        torch.testing.assert_close(found[key], part, **TIGHT)


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
@pytest.mark.parametrize("kind", ["dense", "batch norm"])
def test_drawn_labels_give_the_exact_diagonal_on_average(kind, likelihood):
    # the trace, 20 times over 20 copies of each input; the seed is fixed
    model, inputs, _ = network(kind)
    rest = {"likelihood": likelihood}
    generator = torch.Generator().manual_seed(8)
    exact = fisher_diagonal(model, inputs, **rest)
    draws = []
    for _ in range(20):
        many = inputs.repeat(20, 1)
        found = fisher_diagonal(model, many, "sampled", generator=generator, **rest)
        draws.append(torch.stack([part.sum() for part in found.values()]).sum())
    draws = torch.stack(draws)
    total = sum(float(part.sum()) for part in exact.values())
    z = (float(draws.mean()) - total) / (float(draws.std()) / math.sqrt(20))
    # Student's t with 19 degrees of freedom: its two-sided 1e-4 quantile
    assert abs(z) < 4.90


def test_every_parameter_sees_the_same_drawn_labels():
    # one affine map, as a layer, and as a bare weight before a layer that adds the bias
    model = nn.Sequential(nn.Linear(4, 3, dtype=F64))
    found = fisher_diagonal(
        model, normal(7, 4), "sampled", generator=torch.Generator().manual_seed(1)
    )

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(model[0].weight.detach().clone())
            self.head = nn.Linear(3, 3, dtype=F64)
            with torch.no_grad():
                self.head.weight.copy_(torch.eye(3))
                self.head.bias.copy_(model[0].bias)

        def forward(self, inputs):
            return self.head(inputs @ self.weight.T)

    again = fisher_diagonal(
        Plain(), normal(7, 4), "sampled", generator=torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(again["weight"], found["0.weight"], **TIGHT)
    torch.testing.assert_close(again["head.bias"], found["0.bias"], **TIGHT)


def test_labels_follow_the_generator_or_torch_s_own():
    model, inputs, _ = network("dense")

    def found(seed=None):
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return fisher_diagonal(model, inputs, "sampled", generator=generator)["0.weight"]

    assert torch.equal(found(1), found(1))
    assert not torch.equal(found(1), found(2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        first, second = found(), found()
        torch.manual_seed(3)
        assert torch.equal(found(), first)
    assert not torch.equal(first, second)


def test_pieces_draw_labels_of_their_own(monkeypatch):
    # one input many times: were every piece to draw the same, all would be alike
    model, inputs = tiny_net(), INPUTS[:1].repeat(64, 1)
    monkeypatch.setattr(_sums, "NUMBERS", 1)
    drawn = []
    works = importance.squared

    def watched(*args):
        measure = works(*args)
        real = measure.columns

        def columns(made, targets):
            drawn.append(real(made, targets))
            return drawn[-1]

        object.__setattr__(measure, "columns", columns)
        return measure

    monkeypatch.setattr(importance, "squared", watched)
    fisher_diagonal(model, inputs, "sampled")
    assert len(drawn) == 64
    assert len({tuple(part.flatten().tolist()) for part in drawn}) == 3


# ------------------------------------------------------------------ batches


def batch_loop(model, inputs, size, value, power):
    found = []
    for first in range(0, len(inputs), size):
        part = slice(first, first + size)
        slopes = gradient(model, value(model(inputs[part]), part))
        found.append({name: g.abs() ** power for name, g in slopes.items()})
    return mean(found)


@pytest.mark.parametrize("size", [1, 4, 6, 100])
@pytest.mark.parametrize("kind", ["dense", "tied", "batch norm"])
def test_batched_measures_are_those_of_batch_means(kind, size):
    model, inputs, labels = network(kind)
    found = fisher_diagonal(model, (inputs, labels), "batched", batch_size=size)
    memory = batched_memory_aware(model, inputs, batch_size=size)
    model.eval()
    wanted = batch_loop(
        model, inputs, size, lambda f, part: nn.functional.cross_entropy(f, labels[part]), 2
    )
    mas = batch_loop(model, inputs, size, lambda f, _: f.softmax(1).square().sum(1).mean(), 1)
    for key, part in wanted.items():
        torch.testing.assert_close(found[key], part, **TIGHT)
        torch.testing.assert_close(memory[key], mas[key], **TIGHT)


@pytest.mark.parametrize("kind", ["dense", "conv", "words"])
def test_batches_of_one_input_are_no_mistake(kind):
    model, inputs, labels = network(kind)
    one = fisher_diagonal(model, (inputs, labels), "batched", batch_size=1)
    for name, part in fisher_diagonal(model, (inputs, labels), "empirical").items():
        torch.testing.assert_close(one[name], part, **TIGHT)
    for output, reduce in MEMORY.values():
        one = batched_memory_aware(model, inputs, output, reduce, batch_size=1)
        for name, part in memory_aware(model, inputs, output, reduce).items():
            torch.testing.assert_close(one[name], part, **TIGHT)


def test_given_labels_may_be_any_that_the_model_has():
    wanted = by_loop(tiny_net(), INPUTS, "empirical", DRAWN)
    found = fisher_diagonal(tiny_net(), (INPUTS, DRAWN), "empirical")
    for name, part in wanted.items():
        torch.testing.assert_close(found[name], part, **TIGHT)
