"""Importance measures: every bad argument is refused, with what would be right."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from sandbox.regularisers.importance import (
    absolute_fisher,
    batched_memory_aware,
    fisher_diagonal,
    memory_aware,
    root_fisher,
)
from tests.sandbox.regularisers.importance_loops import normal
from tests.sandbox.regularisers.tiny_net import F64, INPUTS, LABELS, tiny_net


class Constant(nn.Module):
    def __init__(self, made):
        super().__init__()
        self.weight, self.made = nn.Parameter(torch.ones(3, dtype=F64)), made

    def forward(self, inputs):
        return self.made(inputs * self.weight)


NAN = torch.full((4, 3), math.nan, dtype=F64)
PAIR = (INPUTS, LABELS)
MIXING = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)).to(F64)


@pytest.mark.bad_input
@pytest.mark.parametrize("measure", [fisher_diagonal, absolute_fisher, root_fisher, memory_aware])
@pytest.mark.parametrize(
    ("model", "data", "rest", "message"),
    [
        ("net", PAIR, {}, "model = 'net': must be a torch.nn.Module"),
        (nn.ReLU(), PAIR, {}, "has no trained parameter"),
        (tiny_net().requires_grad_(False), PAIR, {}, "has no trained parameter"),
        (nn.LazyLinear(3), PAIR, {}, "is not initialised yet"),
        (tiny_net(), "digits", {}, "data = 'digits': must be a tensor of inputs"),
        (tiny_net(), None, {}, "data = None: must be"),
        (tiny_net(), 3, {}, "data = 3: must be"),
        (tiny_net(), {"inputs": INPUTS}, {}, "must be a tensor of inputs"),
        (tiny_net(), INPUTS[:0], {}, "must be a non-empty tensor"),
        (tiny_net(), INPUTS[0], {}, r"data = \(3,\): must be a non-empty tensor"),
        (tiny_net(), [], {}, "data hold no batch"),
        (tiny_net(), iter(()), {}, "data hold no batch"),
        (tiny_net(), ["a"], {}, "a batch of the data is 'a'"),
        (tiny_net(), (INPUTS, LABELS[:3]), {}, "must be as many"),
        (tiny_net(), TensorDataset(INPUTS, LABELS), {}, "a DataLoader for example"),
        (tiny_net(), [(INPUTS[0], LABELS[0])], {}, "through a DataLoader"),
        (tiny_net(), [INPUTS, INPUTS], {}, "a list of two tensors, each of samples"),
        (tiny_net(), [PAIR, INPUTS], {}, "targets in some batches only"),
        (tiny_net(), [INPUTS, INPUTS[:, :2], INPUTS], {}, "inputs of several shapes"),
        (tiny_net(), SimpleNamespace(inputs=[1], targets=[2]), {}, "both must be tensors"),
        (tiny_net(), (NAN, LABELS), {}, r"inputs\[0\] is not finite"),
        (tiny_net(), PAIR, {"n": 5}, "n = 5: the data hold 4 inputs"),
        (tiny_net(), [PAIR, PAIR], {"n": 9}, "n = 9: the data hold 8 inputs"),
        (tiny_net(), PAIR, {"n": 0}, "n = 0"),
        (tiny_net(), PAIR, {"n": 1.5}, "n = 1.5"),
        (tiny_net(), PAIR, {"columns": slice(0, 1)}, "at least two classes"),
        (tiny_net(), PAIR, {"columns": slice(3, 9)}, "must leave at least one output"),
        (tiny_net(), PAIR, {"columns": [0, 7]}, "must choose from 3 outputs"),
        (tiny_net(), PAIR, {"columns": 1}, "must leave at least one output"),
        (tiny_net(), PAIR, {"columns": "head"}, "columns = 'head'"),
        (nn.Linear(3, 1, dtype=F64), PAIR, {}, "at least two classes"),
        (nn.Linear(3, 2, dtype=F64), (INPUTS, normal(4, 2)), {}, "are values: labels have"),
        (Constant(lambda f: (f, f)), PAIR, {}, "must return one tensor"),
        (Constant(lambda f: f.sum(1)), PAIR, {}, r"must be \(1, output\)"),
        (Constant(lambda f: f.mean(0, keepdim=True)), PAIR, {}, r"must be \(2, output\)"),
        (Constant(lambda f: f[:, :, None] * f[:, None]), PAIR, {}, "at least two classes"),
        (Constant(lambda f: f.detach()), PAIR, {}, "carry no graph"),
        (Constant(lambda f: f - f.mean(0)), PAIR, {}, "change with the other inputs"),
        (Constant(lambda f: f * math.inf), PAIR, {}, "importance of weight is not finite"),
        (MIXING, PAIR, {}, "more than 1 value per channel"),
    ],
)
def test_bad_arguments_are_refused(measure, model, data, rest, message):
    with pytest.raises(ValueError, match=message):
        measure(model, data, **rest)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fisher_diagonal(tiny_net(), PAIR, "all"), "labels = 'all': must be one of"),
        (
            lambda: fisher_diagonal(tiny_net(), PAIR, likelihood="poisson"),
            "likelihood = 'poisson': must be one of",
        ),
        (lambda: fisher_diagonal(tiny_net(), INPUTS, "empirical"), "needs targets"),
        (lambda: fisher_diagonal(tiny_net(), INPUTS, "weighted"), "needs targets"),
        (lambda: fisher_diagonal(tiny_net(), INPUTS, "batched"), "needs targets"),
        (
            lambda: fisher_diagonal(tiny_net(), PAIR, "weighted", likelihood="gaussian"),
            "no probabilities",
        ),
        (
            lambda: fisher_diagonal(tiny_net(), PAIR, "batched", batch_size=0),
            "batch_size = 0",
        ),
        (lambda: batched_memory_aware(tiny_net(), INPUTS, batch_size=-1), "batch_size = -1"),
        (lambda: memory_aware(tiny_net(), INPUTS, "softmax"), "output = 'softmax'"),
        (lambda: memory_aware(tiny_net(), INPUTS, reduce="sum"), "reduce = 'sum'"),
        (
            lambda: fisher_diagonal(tiny_net(), (INPUTS, LABELS + 1), "empirical"),
            r"labels\[1\] = 3: must be a class number in \[0, 3\)",
        ),
        (
            lambda: fisher_diagonal(tiny_net(), (INPUTS, LABELS[:, None]), "empirical"),
            "must be 4 class numbers",
        ),
        (
            lambda: fisher_diagonal(
                tiny_net(), (INPUTS, normal(4, 2)), "empirical", likelihood="gaussian"
            ),
            "must match the outputs",
        ),
        (
            lambda: fisher_diagonal(nn.Linear(3, 1, dtype=F64), INPUTS),
            r"take fisher_diagonal\(..., likelihood='gaussian'\)",
        ),
        (lambda: memory_aware(nn.Linear(3, 1, dtype=F64), INPUTS), "take output='logit'"),
    ],
)
def test_bad_choices_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda model: fisher_diagonal(model, PAIR, "batched"),
        lambda model: absolute_fisher(model, PAIR),
        lambda model: memory_aware(model, PAIR, "logit"),
    ],
)
def test_importance_that_is_not_finite_is_refused_by_name(call):
    model = tiny_net()
    with torch.no_grad():
        model[2].weight[1, 1] = math.inf
    with pytest.raises(ValueError, match=r"importance of 0\.weight is not finite"):
        call(model)


@pytest.mark.bad_input
def test_arrays_of_other_things_are_refused():
    with pytest.raises(ValueError, match="a batch of the data is"):
        memory_aware(tiny_net(), np.array(["a", "b"]))
