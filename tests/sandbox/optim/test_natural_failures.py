"""Natural gradient descent: what is not finite, does not fit or cannot be factorised."""

import logging
import math

import pytest
import torch
from torch import nn

from sandbox.optim.natural import NaturalGradient
from tests.sandbox.optim.dense_fisher import multilayer, normal
from tests.sandbox.optim.natural_problems import batches, go, near, parameters


def test_gradients_that_are_not_finite(caplog):
    model, quiet = multilayer(), multilayer()
    one = NaturalGradient(model, 0.1, 0.2, momentum=0.9)
    two = NaturalGradient(quiet, 0.1, 0.2, momentum=0.9, nonfinite="skip")
    data = batches(3)
    for net, optimizer in ((model, one), (quiet, two)):
        go(net, optimizer, *data[0])
    before = parameters(model)
    with pytest.raises(RuntimeError, match=r"gradient of 0.weight.* is not finite"):
        go(model, one, math.inf * data[1][0], data[1][1])
    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        go(quiet, two, math.inf * data[1][0], data[1][1])
    assert "left out" in caplog.text
    near(model.parameters(), before, atol=0)
    near(quiet.parameters(), before, atol=0)
    # both go on with the inputs of the last good step
    wanted = go(model, one, *data[2])
    near(go(quiet, two, *data[2]), wanted, atol=0)


@pytest.mark.parametrize("nonfinite", ["raise", "skip"])
def test_fisher_matrices_that_are_not_finite(nonfinite, caplog):
    model = multilayer().float()
    optimizer = NaturalGradient(model, 0.1, 0.2, nonfinite=nonfinite)
    (inputs, targets), (second, _) = batches(2)
    inputs, second = inputs.float(), second.float()
    optimizer.observe(3e38 * torch.ones(2, 4))  # finite, but the outputs are not
    before = parameters(model)
    if nonfinite == "raise":
        with pytest.raises(RuntimeError, match="the Fisher matrix of .* is not finite"):
            go(model, optimizer, inputs, targets)
    else:
        go(model, optimizer, inputs, targets)
        assert "is not finite" in caplog.text
    near(model.parameters(), before, atol=0)
    assert all(part.any() for part in go(model, optimizer, second, targets))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"damping": 0.0}, r"damping = 0.0: must be a finite number in \(0, inf\)"),
        ({"damping": -1.0}, "damping = -1.0"),
        ({"damping": math.nan}, "damping = nan"),
        ({"lr": -0.1}, "lr = -0.1"),
        ({"momentum": 1.0}, "momentum = 1.0"),
        ({"weight_decay": -1.0}, "weight_decay = -1.0"),
        ({"fisher": "empirical"}, "fisher = 'empirical': must be one of 'sampled', 'full'"),
        ({"blocks": "diagonal"}, "blocks = 'diagonal'"),
        ({"likelihood": "poisson"}, "likelihood = 'poisson'"),
        ({"fisher_samples": 0}, "fisher_samples = 0"),
        ({"nonfinite": "ignore"}, "nonfinite = 'ignore'"),
        ({"seed": -1}, "seed = -1"),
        ({"model": nn.ReLU()}, "has no trained Linear"),
        ({"model": nn.LayerNorm(3)}, "has no trained Linear"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    given = {"model": multilayer(), "lr": 0.1, "damping": 0.1} | settings
    with pytest.raises(ValueError, match=message):
        NaturalGradient(**given)


@pytest.mark.bad_input
def test_bad_observations_are_refused():
    model = multilayer()
    optimizer = NaturalGradient(model, 0.1, 0.1)
    with pytest.raises(ValueError, match=r"inputs of shape \(5, 3\) and type torch.float64"):
        optimizer.observe(normal(5, 3))
    with pytest.raises(ValueError, match="type torch.float32: the model does not take them"):
        optimizer.observe(normal(5, 4).float())
    with pytest.raises(ValueError, match=r"inputs\[1\] is not finite"):
        optimizer.observe(normal(2, 4) / torch.tensor([[1.0], [0.0]]))
    with pytest.raises(ValueError, match="must be a non-empty tensor"):
        optimizer.observe([1.0])
    assert optimizer.memory_usage()["total"] == 0
    assert model.training


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs, shift):
        return self.layer(inputs + shift)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs):
        return self.head(self.layer(self.layer(inputs)))


@pytest.mark.bad_input
def test_models_that_do_not_fit_are_refused():
    two = TwoInputs()
    optimizer = NaturalGradient(two, 0.1, 0.1)
    with pytest.raises(ValueError, match=r"model\(Tensor, Tensor\): must be called with one"):
        two(torch.ones(2, 4), torch.ones(2, 4))
    with torch.no_grad():
        two(torch.ones(2, 4), torch.ones(2, 4))
    del optimizer
    twice = Twice()
    optimizer = NaturalGradient(twice, 0.1, 0.1)
    before = parameters(twice)
    with pytest.raises(ValueError, match=r"layer 'layer' \(Linear\) is used twice"):
        go(twice, optimizer, torch.ones(2, 4), torch.tensor([0, 1]))
    near(twice.parameters(), before, atol=0)
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match="shares a parameter"):
        NaturalGradient(tied, 0.1, 0.1)
    alone = nn.Linear(4, 1)
    optimizer = NaturalGradient(alone, 0.1, 0.1)
    alone(torch.ones(2, 4)).sum().backward()
    with pytest.raises(ValueError, match="at least two classes"):
        optimizer.step()


def test_a_failing_factorisation_names_the_layers(monkeypatch):
    monkeypatch.setattr("sandbox.optim._gram._cholesky", lambda *_: None)
    model = multilayer()
    optimizer = NaturalGradient(model, 0.1, 0.1, blocks="layer")
    before = parameters(model)
    with pytest.raises(RuntimeError, match=r"layer '0' \(Linear\) has no Cholesky factor"):
        go(model, optimizer, *batches(1)[0])
    near(model.parameters(), before, atol=0)
