"""Losses against hand formulas; evaluation that changes nothing and depends on no chunk."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from sandbox.training import objective
from sandbox.training.models import cnn, mlp
from sandbox.training.names import LossName
from sandbox.training.objective import LOSSES, Batch, evaluate, evaluating, loss_function
from sandbox.training.samples import Samples
from theory.streams import Streams

GENERATOR = np.random.default_rng(2)
OUTPUTS = GENERATOR.normal(size=(23, 5)) * 3
CLASSES = GENERATOR.integers(5, size=23)
VALUES = GENERATOR.normal(size=(23, 5))


def naive(name, outputs, targets):
    """Sample by sample, output by output."""
    total = 0.0
    for row, target in zip(outputs, targets, strict=True):
        if name == "cross-entropy":
            total -= math.log(math.exp(row[target]) / math.fsum(math.exp(v) for v in row))
        else:
            wanted = [float(c == target) for c in range(5)] if np.ndim(target) == 0 else target
            total += 0.5 * math.fsum((f - y) ** 2 for f, y in zip(row, wanted, strict=True))
    return total / len(outputs)


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("cross-entropy", CLASSES),
        ("squared", CLASSES),
        ("squared", VALUES),
        ("reconstruction", VALUES),
    ],
    ids=["cross-entropy", "squared, classes", "squared, values", "reconstruction"],
)
@pytest.mark.parametrize("count", [1, 23])
def test_losses_are_their_formulas(name, targets, count):
    loss = loss_function(name)
    found = loss(torch.tensor(OUTPUTS[:count]), torch.tensor(targets[:count]))
    assert found.ndim == 0
    assert found.item() == pytest.approx(naive(name, OUTPUTS[:count], targets[:count]), rel=1e-14)


def test_gradients_are_those_of_the_formulas():
    # cross-entropy: (softmax - one-hot) / N; squared: (output - one-hot) / N
    one_hot = np.eye(5)[CLASSES]
    softmax = np.exp(OUTPUTS) / np.exp(OUTPUTS).sum(axis=1, keepdims=True)
    for name, expected in (("cross-entropy", softmax - one_hot), ("squared", OUTPUTS - one_hot)):
        outputs = torch.tensor(OUTPUTS, requires_grad=True)
        loss_function(name)(outputs, torch.tensor(CLASSES)).backward()
        np.testing.assert_allclose(outputs.grad.numpy(), expected / 23, atol=1e-15)


def test_the_squared_error_is_torchs_times_half_the_outputs():
    outputs, values = torch.tensor(OUTPUTS), torch.tensor(VALUES)
    found = loss_function("squared")(outputs, values).item()
    assert found == pytest.approx(nn.MSELoss()(outputs, values).item() * 5 / 2, rel=1e-14)


def test_every_loss_has_its_words():
    assert set(LOSSES) == set(LossName.__args__)


@pytest.mark.bad_input
def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match=r"loss = 'mse': must be one of 'cross-entropy'"):
        loss_function("mse")


def classifier(dtype=torch.float64):
    return mlp([4, 6, 5], streams=Streams(1), dtype=dtype)


def batch_of(count, targets=None, dtype=torch.float64):
    inputs = torch.tensor(np.random.default_rng(7).normal(size=(count, 4)), dtype=dtype)
    return Batch(inputs, torch.arange(count) * 3 % 5 if targets is None else targets)


@pytest.mark.parametrize("chunk", [1, 7, 22, 23, 24])
@pytest.mark.parametrize("name", ["cross-entropy", "squared"])
def test_evaluation_does_not_depend_on_the_chunks(monkeypatch, chunk, name):
    model, batch, loss = classifier(), batch_of(23), loss_function(name)
    outputs = model(batch.inputs)
    monkeypatch.setattr(objective, "CHUNK", chunk)
    found = evaluate(model, batch, loss)
    assert found.loss == pytest.approx(loss(outputs, batch.targets).item(), rel=1e-14)
    assert found.accuracy == sum(outputs.argmax(1) == batch.targets).item() / 23
    assert 0 < found.accuracy < 1


def test_sums_over_chunks_are_float64():
    # 100 chunks of loss 1 + 2^-20 (a float32): summed in float32, the mean is off by 2e-8
    value = torch.tensor(1 + 2**-20)
    batch = Batch(torch.zeros(200_000, 1), torch.zeros(200_000, 1))
    found = evaluate(nn.Identity(), batch, lambda outputs, targets: value)
    assert found.loss == pytest.approx(1 + 2**-20, rel=1e-14)


def test_some_of_the_outputs():
    model, loss = classifier(), loss_function("cross-entropy")
    batch = batch_of(23, torch.arange(23) % 2)
    found = evaluate(model, batch, loss, outputs=(3, 1))
    columns = model(batch.inputs)[:, [3, 1]]
    assert found.loss == pytest.approx(loss(columns, batch.targets).item(), rel=1e-14)
    assert found.accuracy == (columns.argmax(1) == batch.targets).sum().item() / 23
    assert found != evaluate(model, batch, loss)


def test_values_have_no_accuracy():
    model = classifier()
    batch = batch_of(6, torch.zeros(6, 5, dtype=torch.float64))
    found = evaluate(model, batch, loss_function("squared"))
    assert math.isnan(found.accuracy)
    assert found.loss == pytest.approx((model(batch.inputs) ** 2).sum().item() / 12, rel=1e-14)


class Refusing(nn.Module):
    def forward(self, inputs):
        raise ArithmeticError("no")


@pytest.mark.parametrize("fails", [False, True])
def test_every_module_keeps_its_own_mode(fails):
    tail = Refusing() if fails else nn.Identity()
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5)), tail)
    model.train()
    model[0].eval()
    model[1][0].eval()
    modes = [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    with pytest.raises(ArithmeticError) if fails else nullcontext():
        evaluate(model.double(), batch_of(3), loss_function("cross-entropy"))
    assert [module.training for module in model.modules()] == modes


def test_evaluation_is_in_evaluation_mode_and_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 5), nn.Dropout(0.9)).double().train()
    model[1].weight.grad = torch.ones(5, 4, dtype=torch.float64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch, loss = batch_of(12), loss_function("cross-entropy")
    first, second = (evaluate(model, batch, loss) for _ in range(2))
    assert first == second  # no dropout
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert (model[1].weight.grad == 1).all()
    model.eval()
    assert first.loss == pytest.approx(loss(model(batch.inputs), batch.targets).item(), rel=1e-14)


def test_no_graph_is_kept():
    model = classifier()
    with evaluating(model):
        assert not model(batch_of(2).inputs).requires_grad
    assert model(batch_of(2).inputs).requires_grad


def test_a_network_with_dropout_is_measured_without():
    model = cnn((4, 4), 3, streams=Streams(0), blocks=((2,),), hidden=(8,), dropout=(0.5, 0.5))
    batch = Batch(torch.ones(6, 16), torch.arange(6) % 3)
    rows = {evaluate(model.train(), batch, loss_function("cross-entropy")).loss for _ in range(3)}
    assert len(rows) == 1


def test_nothing_cannot_be_measured():
    with pytest.raises(ValueError, match="batch holds no samples"):
        evaluate(classifier(), batch_of(0), loss_function("squared"))


def test_samples_become_tensors_of_their_own():
    samples = Samples(np.ones((3, 2)), np.array([0, 1, 1]))
    options = {"dtype": torch.float32, "device": torch.device("cpu")}
    batch = Batch.of(samples, "cross-entropy", **options)
    assert (batch.inputs.dtype, batch.targets.dtype) == (torch.float32, torch.int64)
    double = Batch.of(samples, "squared", dtype=torch.float64, device=torch.device("cpu"))
    double.inputs.zero_()
    double.targets.zero_()
    assert samples.inputs.all()
    assert samples.targets.tolist() == [0, 1, 1]
    values = Samples(np.ones((3, 2)), np.ones((3, 1)))
    assert Batch.of(values, "squared", **options).targets.dtype == torch.float32
    copied = Batch.of(samples, "reconstruction", **options)
    assert torch.equal(copied.targets, copied.inputs)


def test_targets_that_do_not_fit_the_outputs_are_refused():
    # stretched over the outputs, one column of values would give some number or other
    with pytest.raises(ValueError, match=r"targets of shape \(6, 1\): must have the shape"):
        loss_function("squared")(torch.zeros(6, 3), torch.ones(6, 1))
    # the one-hot vector of a class without an output would be all zeros
    batch = Batch(torch.zeros(3, 4), torch.tensor([0, 4, 1]))
    with pytest.raises(ValueError, match="model has 4 outputs for this task: .* number is 4"):
        evaluate(nn.Identity(), batch, loss_function("squared"))
    with pytest.raises(ValueError, match="model has 2 outputs for this task: .* number is 4"):
        evaluate(nn.Identity(), batch, loss_function("squared"), outputs=(2, 3))
    with pytest.raises(ValueError, match=r"model has 4 outputs: .* uses the outputs \(3, 4\)"):
        evaluate(nn.Identity(), batch, loss_function("squared"), outputs=(3, 4))
    with pytest.raises(ValueError, match=r"outputs of shape \(3, 2, 2\)"):
        evaluate(nn.Unflatten(1, (2, 2)), batch, loss_function("squared"))


def test_the_cross_entropy_of_values_is_refused():
    # torch would take them for probabilities: with one output the loss would be 0
    values = Samples(np.ones((3, 2)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="needs targets that are classes"):
        Batch.of(values, "cross-entropy", dtype=torch.float32, device=torch.device("cpu"))
