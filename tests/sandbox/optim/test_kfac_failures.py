"""What K-FAC does with failing factorisations, numbers not finite and bad settings."""

import logging
import math
from itertools import starmap

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sandbox.optim import _kronecker_factors
from sandbox.optim.foof import FOOF
from sandbox.optim.kfac import KFAC, KFACPreconditioner
from tests.sandbox.optim.kfac_problems import (
    DAMPING,
    DOUBLE,
    RULES,
    TRUE,
    X,
    a_net,
    exactly,
    fixed_net,
    stepped,
    train,
    worst,
)


def test_eigenvalues_that_fail_get_more_damping_and_it_is_said(monkeypatch, caplog):
    genuine, calls = torch.linalg.eigh, []

    def eigh(matrix):
        calls.append(matrix)
        if len(calls) == 1:
            raise torch.linalg.LinAlgError("did not converge")
        return genuine(matrix)

    net = fixed_net()
    monkeypatch.setattr(torch.linalg, "eigh", eigh)
    with caplog.at_level(logging.WARNING, "sandbox.optim"):
        _, optimizer = stepped(net, rule="standard")
    own = optimizer.averages["0"]
    share = _kronecker_factors.factored_damping(
        own["input"].value(), own["output"].value(), DAMPING
    )[0]
    added = calls[1] - calls[0]
    assert worst(added, 10 * share * torch.eye(3, dtype=DOUBLE)) < 1e-12
    (record,) = caplog.records
    assert "layer '0' (Linear), input factor" in record.message
    assert f"damping {10 * share:g}" in record.message


def test_a_heuristic_factor_that_fails_is_tried_in_double(monkeypatch, caplog):
    genuine, wanted = torch.linalg.cholesky_ex, None
    for fails in (False, True):
        if fails:

            def cholesky_ex(matrix, **more):
                return genuine(matrix if matrix.dtype == DOUBLE else matrix.neg_(), **more)

            monkeypatch.setattr(torch.linalg, "cholesky_ex", cholesky_ex)
        net = a_net(torch.float32)
        with caplog.at_level(logging.WARNING, "sandbox.optim"):
            found = train(net, KFAC(net, 0.1, 0.1), range(1))
        wanted = wanted or found
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert len(caplog.records) == 4  # two layers, two factors
    assert "layer '0' (Conv2d), input factor" in caplog.records[0].message
    assert "float64" in caplog.records[0].message


@pytest.mark.parametrize("rule", RULES)
def test_factors_that_keep_failing_name_their_layer(monkeypatch, rule):
    def fail(*_, **__):
        raise torch.linalg.LinAlgError("did not converge")

    net = fixed_net()
    monkeypatch.setattr(torch.linalg, "eigh", fail)
    with pytest.raises(RuntimeError, match=r"layer '0' \(Linear\), input factor: .*damping"):
        stepped(net, rule=rule, power=0.5)


@pytest.mark.parametrize("nonfinite", ["raise", "skip"])
def test_outputs_that_are_not_finite_move_nothing(nonfinite):
    net = fixed_net()
    optimizer = KFAC(net, 1.0, 0.1, nonfinite=nonfinite)
    before = [p.detach().clone() for p in net.parameters()]
    cross_entropy(net(exactly(X) * math.nan), torch.tensor(TRUE)).backward()
    if nonfinite == "raise":
        with pytest.raises(RuntimeError, match="not finite"):
            optimizer.step()
    else:
        optimizer.step()
    assert all(starmap(torch.equal, zip(before, net.parameters(), strict=True)))
    optimizer.zero_grad()
    cross_entropy(net(exactly(X)), torch.tensor(TRUE)).backward()
    optimizer.step()
    assert all(p.isfinite().all() for p in net.parameters())


def test_an_empty_batch_adds_nothing():
    net = fixed_net()
    optimizer = KFAC(net, 1.0, 0.1)
    net(exactly(X)[:0]).sum().backward()
    assert not optimizer.averages


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rule": "exact"}, "rule = 'exact': must be one of 'heuristic'"),
        ({"fisher": "full"}, "fisher = 'full': must be one of 'sampled'"),
        ({"likelihood": "poisson"}, "likelihood = 'poisson': must be one of"),
        ({"output_factor": 1}, "output_factor = 1: must be True or False"),
        ({"output_factor": False, "rule": "standard"}, "only rule='heuristic' has a damping"),
        ({"power": 0.0}, "power = 0.0"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 0.5}, "seed = 0.5"),
        ({"damping": 0.0}, "damping = 0.0"),
        ({"damping": math.nan}, "damping = nan"),
        ({"lr": -1.0}, "lr = -1.0"),
        ({"T": 2, "S": 3}, "S = 3 > T = 2"),
        ({"decay": 1.0}, "decay = 1.0"),
    ],
)
@pytest.mark.parametrize("make", [KFAC, KFACPreconditioner])
def test_bad_settings(make, settings, says):
    if make is KFACPreconditioner and "lr" in settings:
        return
    own = {"damping": 0.1} | ({"lr": 0.1} if make is KFAC else {}) | settings
    net = fixed_net()
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        make(net, **own)
    assert not net._forward_hooks


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("saved", "loading"),
    [
        ({"rule": "standard"}, {}),
        ({}, {"rule": "standard"}),
        ({}, {"output_factor": False}),
        ({"output_factor": False}, {}),
        (None, {}),
    ],
)
def test_states_of_other_rules_are_refused(saved, loading):
    made = FOOF(fixed_net(), 0.1, 0.1) if saved is None else KFAC(fixed_net(), 0.1, 0.1, **saved)
    cross_entropy(made.model(exactly(X)), torch.tensor(TRUE)).backward()
    made.step()
    optimizer = KFAC(fixed_net(), 0.1, 0.1, **loading)
    with pytest.raises(ValueError, match=r"\(Linear\): the state has input.*other settings"):
        optimizer.load_state_dict(made.state_dict())
    assert (optimizer.steps, optimizer.averages, optimizer.inverses) == (0, {}, {})


@pytest.mark.bad_input
def test_states_with_preconditioners_of_another_shape_are_refused():
    net = fixed_net()
    _, made = stepped(net)
    state = made.state_dict()
    state["factors"]["inverses"]["0"]["output"] = torch.eye(3, dtype=DOUBLE)
    with pytest.raises(
        ValueError, match=r"the output part .* has shape \(3, 3\): must be \(4, 4\)"
    ):
        KFAC(fixed_net(), 0.1, 0.1).load_state_dict(state)


@pytest.mark.bad_input
def test_true_labels_are_not_observed():
    optimizer = KFAC(fixed_net(), 0.1, 0.1, fisher="empirical")
    with pytest.raises(ValueError, match="no labels to observe inputs with"):
        optimizer.observe(exactly(X))


@pytest.mark.bad_input
def test_true_labels_under_a_loss_scale_are_refused():
    net = nn.Linear(3, 2)
    optimizer = KFAC(net, 0.1, 0.1, fisher="empirical")
    with torch.autocast("cpu", torch.float16):
        loss = net(torch.ones(2, 3)).float().sum()
    with pytest.raises(ValueError, match="carry the loss scale"):
        loss.backward()
    assert not optimizer.averages


@pytest.mark.bad_input
def test_models_without_one_tensor_of_outputs_are_refused():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, inputs):
            return self.layer(inputs), inputs

    net = Two()
    _optimizer = KFAC(net, 0.1, 0.1)
    with pytest.raises(ValueError, match="use fisher='empirical' otherwise"):
        net(torch.ones(4, 3))


@pytest.mark.bad_input
def test_a_model_that_returns_its_loss_is_refused():
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, inputs):
            return self.layer(inputs).sum()

    net = Whole()
    _optimizer = KFAC(net, 0.1, 0.1)
    with pytest.raises(ValueError, match=r"outputs have shape \(\): must be \(sample, output\)"):
        net(torch.ones(4, 3))
