"""What public programs compute under the names EWC and MAS, and our options that equal it.

Each program is told again in a few lines, from what it does: aimagelab/mammoth,
GMvandeVen/continual-learning, ContinualAI/avalanche and rahafaljundi/MAS-Memory-Aware-Synapses.
Where there is no option of ours for a quirk, the remedy is a line of the user's, and stands in
the test.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from sandbox.regularisers import (
    QuadraticPenalty,
    batched_memory_aware,
    fisher_diagonal,
    memory_aware,
)
from tests.sandbox.regularisers.tiny_net import (
    ANCHOR,
    F64,
    INPUTS,
    NAMES,
    START,
    named,
    tiny_net,
)
from tests.sandbox.regularisers.tiny_tasks import TASKS, loss_slope, outputs, slope

N = len(INPUTS)
END = START + 0.2 * START.sin()


def two_tasks(estimate, quadratic, at=END):
    """Consolidate two tasks and return the penalty's value."""
    model = tiny_net()
    for weights, task in zip((START, ANCHOR), TASKS, strict=False):
        model.load_state_dict(named(weights))
        quadratic.consolidate(estimate(model, task), model)
    model.load_state_dict(named(at))
    return quadratic.penalty(model).item()


def value_of(rows):
    """Return the sum of strength x importance x squared distance, written out."""
    return sum(c * float((omega * (END - anchor) ** 2).sum()) for c, omega, anchor in rows)


def squared_batches(theta, task, size):
    """Return the mean over batches of the squared gradient of the batch's mean loss."""
    inputs, labels = task
    parts = zip(inputs.split(size), labels.split(size), strict=True)
    return torch.stack([loss_slope(theta, x, y) ** 2 for x, y in parts]).mean(0)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("mode", ["separate", "online"])
def test_elastic_weight_consolidation_of_avalanche(mode, size):
    """Batch means are squared, and lambda is not halved."""
    strength, decay = 3.0, 0.9
    first, second = (
        squared_batches(at, task, size) for at, task in zip((START, ANCHOR), TASKS, strict=False)
    )
    rows = [(strength, first, START), (strength, second, ANCHOR)]
    if mode == "online":
        rows = [(strength, decay * first + second, ANCHOR)]

    def estimate(model, task):
        return fisher_diagonal(model, task, labels="batched", batch_size=size)

    quadratic = QuadraticPenalty(strength, mode, decay if mode == "online" else 1.0)
    assert two_tasks(estimate, quadratic) == pytest.approx(value_of(rows), rel=1e-12)
    by_default = QuadraticPenalty(strength, mode, decay if mode == "online" else 1.0)
    assert two_tasks(fisher_diagonal, by_default) > 1.2 * value_of(rows)


def squared_by_label(theta, task):
    """Return squared gradients (sample, label, weight) of the surprise, with probabilities."""
    inputs, _ = task
    found = torch.stack([
        torch.stack([loss_slope(theta, x[None], torch.tensor([y])) for y in range(3)])
        for x in inputs
    ])
    return found**2, outputs(theta, inputs).softmax(1)


def test_online_elastic_weight_consolidation_of_mammoth():
    """The given label alone counts, by its probability; lambda is not halved."""
    strength, decay = 3.0, 0.8
    parts = []
    for at, task in zip((START, ANCHOR), TASKS, strict=False):
        squares, p = squared_by_label(at, task)
        given = torch.arange(N), task[1]
        parts.append((p[given][:, None] * squares[given]).mean(0))
    wanted = value_of([(strength, decay * parts[0] + parts[1], ANCHOR)])

    def estimate(model, task):
        return fisher_diagonal(model, task, labels="weighted")

    quadratic = QuadraticPenalty(strength, "online", decay)
    assert two_tasks(estimate, quadratic) == pytest.approx(wanted, rel=1e-12)
    by_default = two_tasks(fisher_diagonal, QuadraticPenalty(strength, "online", decay))
    assert by_default > 1.2 * wanted


OPTIONS = {"all": "exact", "true": "empirical", "pred": "empirical", "sample": "sampled"}


@pytest.mark.parametrize("option", OPTIONS)
def test_labels_of_gmvandeven(option):
    """Their four label options are our names; ``pred`` is handed over as if it were given.

    One less than the number of samples is divided by, and the online decay also multiplies what
    was decayed already; both are factors of the strength.
    """
    strength, decay = 3.0, 0.8
    every = []
    for at, task in zip((START, ANCHOR), TASKS, strict=False):
        squares, p = squared_by_label(at, task)
        rows = torch.arange(N)
        drawn = [torch.tensor(labels) for labels in itertools.product(range(3), repeat=N)]
        chosen = {"true": [task[1]], "pred": [p.argmax(1)], "sample": drawn}
        if option == "all":
            every.append([(p[..., None] * squares).sum((0, 1)) / (N - 1)])
        else:
            every.append([squares[rows, y].sum(0) / (N - 1) for y in chosen[option]])

    def estimate(model, task):
        inputs, labels = task
        if option == "pred":
            labels = model(inputs).argmax(1)
        generator = torch.Generator().manual_seed(4)
        return fisher_diagonal(model, (inputs, labels), OPTIONS[option], generator=generator)

    quadratic = QuadraticPenalty(decay * strength / 2 * N / (N - 1), "online", decay)
    found = two_tasks(estimate, quadratic)
    # of sampled labels, one of all that might have been drawn; 81 x 81 of them
    values = torch.tensor([
        value_of([(decay * strength / 2, decay * first + second, ANCHOR)])
        for first, second in itertools.product(*every)
    ])
    assert (values / found - 1).abs().min() < 1e-12
    if option != "all":
        by_default = two_tasks(
            fisher_diagonal, QuadraticPenalty(decay * strength / 2 * N / (N - 1), "online", decay)
        )
        assert abs(by_default / found - 1) > 1e-3


class Length(nn.Module):
    """Two outputs whose squared norm is the length of a network's outputs."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        length = self.network(inputs).norm(dim=1, keepdim=True)
        return torch.cat([length.sqrt(), torch.zeros_like(length)], 1)


def absolute_batches(theta, task, size, measure):
    """Return the mean over batches of the absolute gradient of a batch's mean."""
    parts = [
        slope(lambda w, x=x: measure(outputs(w, x)).mean(), theta) for x in task[0].split(size)
    ]
    return torch.stack(parts).abs().mean(0)


def test_memory_aware_synapses_of_avalanche():
    """Absolute gradients of the batch mean of the outputs' length, not of its square.

    They are multiplied by the number of tensors in a batch (inputs, labels, task numbers), averaged
    over tasks by halves from 0 on, and lambda is halved. The pass is in training mode, for which
    there is no option: the network here is the same in both.
    """
    strength, size, tensors = 3.0, 2, 3
    omega = torch.zeros(24, dtype=F64)
    for at, task in zip((START, ANCHOR), TASKS, strict=False):
        mean = absolute_batches(at, task, size, lambda z: z.norm(dim=1))
        omega = 0.5 * omega + 0.5 * tensors * mean

    def estimate(model, task):
        found = batched_memory_aware(Length(model), task, "logit", batch_size=size)
        return {name: found[f"network.{name}"] for name in NAMES}

    quadratic = QuadraticPenalty(strength / 2 * tensors, "average", 0.5)
    quadratic.consolidate(named(torch.zeros(24, dtype=F64)), tiny_net())
    found = two_tasks(estimate, quadratic)
    assert found == pytest.approx(value_of([(strength / 2, omega, ANCHOR)]), rel=1e-12)
    by_default = QuadraticPenalty(strength / 2 * tensors, "average", 0.5)
    assert abs(two_tasks(memory_aware, by_default) / found - 1) > 0.1


@pytest.mark.parametrize("size", [1, 2, 4])
def test_memory_aware_synapses_of_its_authors(size):
    """A running mean over batches of the absolute gradient of the outputs' squared length.

    It is the measure of the paper for batches of one sample; lambda is not halved.
    """
    strength, total = 3.0, torch.zeros(24, dtype=F64)
    for at, task in zip((START, ANCHOR), TASKS, strict=False):
        omega = torch.zeros(24, dtype=F64)
        for k, x in enumerate(task[0].split(size)):
            batch = slope(lambda w, x=x: outputs(w, x).square().sum(), at).abs()
            omega = (omega * k * size + batch) / ((k + 1) * size)
        total = total + omega
    wanted = value_of([(strength, total, ANCHOR)])

    def batched(model, task):
        return batched_memory_aware(model, task, "logit", batch_size=size)

    def by_sample(model, task):
        return memory_aware(model, task, "logit")

    assert two_tasks(batched, QuadraticPenalty(strength)) == pytest.approx(wanted, rel=1e-12)
    alone = two_tasks(by_sample, QuadraticPenalty(strength))
    if size == 1:
        assert alone == pytest.approx(wanted, rel=1e-12)
    else:
        assert alone > 1.1 * wanted
    assert abs(two_tasks(memory_aware, QuadraticPenalty(strength)) / wanted - 1) > 0.1
