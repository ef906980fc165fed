"""What the quadratic penalty refuses, and that nothing is changed then."""

from __future__ import annotations

import copy

import pytest
import torch
from small_training import bits
from torch import nn

from deeplinear.rules import CurvatureCorrection
from sandbox.optim import CurvatureCorrected
from sandbox.optim.foof import FOOF
from sandbox.regularisers.quadratic import QuadraticPenalty
from synapses.consolidation import PresynapticOptimizer
from synapses.layers import StochasticLinear
from synapses.rule import PresynapticRule

pytestmark = pytest.mark.bad_input


def network():
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))


def ones(model):
    return {name: torch.ones_like(p) for name, p in model.named_parameters() if p.requires_grad}


def refuses(pattern, action, *arguments, error=ValueError, **options):
    with pytest.raises(error, match=pattern):
        action(*arguments, **options)


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"strength": -1.0}, r"strength = -1\.0: must be a finite number in \[0, inf\)"),
        ({"strength": float("nan")}, "strength = nan"),
        ({"strength": float("inf")}, "strength = inf"),
        ({"strength": "1"}, "strength = '1'"),
        ({"strength": True}, "strength = True"),
        ({"strength": torch.ones(2)}, "strength = tensor"),
        ({"accumulate": "offline"}, "accumulate = 'offline': must be one of 'sum', 'online'"),
        ({"clamp": "task"}, "clamp = 'task': must be one of"),
        ({"decay": 1.5}, r"decay = 1\.5: must be a finite number in \[0, 1\]"),
        ({"decay": -0.1, "accumulate": "online"}, r"decay = -0\.1"),
        ({"decay": 0.9}, r"decay = 0\.9: accumulate = 'sum' forgets nothing; use 'online'"),
        ({"decay": 0.9, "accumulate": "separate"}, r"accumulate = 'separate' forgets nothing"),
        ({"accumulate": "average"}, r"decay = 1: an average that never takes anything new"),
        ({"ceiling": 0.0}, r"ceiling = 0\.0: must be a finite number in \(0, inf\)"),
        ({"ceiling": float("nan")}, "ceiling = nan"),
        ({"clamp": "running", "accumulate": "separate"}, "separate anchors have no running sum"),
        ({"clamp": "signed", "accumulate": "separate"}, "clamp = 'signed'"),
        ({"ceiling": 1.0, "accumulate": "separate"}, r"ceiling = 1\.0"),
    ],
)
def test_settings_out_of_range_are_refused(options, pattern):
    refuses(pattern, QuadraticPenalty, **({"strength": 1.0} | options))


def spoilt(name, value):
    def spoil(model):
        given = ones(model)
        given[name] = given[name].clone()
        given[name].view(-1)[1] = value
        return given

    return spoil


IMPORTANCES = {
    "nan": (spoilt("2.weight", float("nan")), r"importance\['2.weight'\] has entries that are not"),
    "infinite": (
        spoilt("0.bias", float("inf")),
        r"importance\['0.bias'\] has entries that are not",
    ),
    "negative": (spoilt("0.weight", -2.0), r"importance\['0.weight'\] has negative .* down to -2"),
    "missing": (lambda m: {k: v for k, v in ones(m).items() if k != "2.bias"}, "lacks 2.bias"),
    "foreign": (lambda m: ones(m) | {"4.weight": torch.ones(2)}, "has 4.weight: the model has no"),
    "transposed": (
        lambda m: ones(m) | {"0.weight": torch.ones(2, 3)},
        r"importance\['0.weight'\] has shape \(2, 3\): must be a tensor of shape \(3, 2\)",
    ),
    "number": (lambda m: ones(m) | {"0.weight": 1.0}, r"importance\['0.weight'\] has shape 1\.0"),
    "empty": (lambda _: {}, r"importance = \{\}: must be a dict of tensors"),
    "list": (lambda m: list(ones(m).values()), r"importance = \[.*must be a dict of tensors"),
    "nothing": (lambda _: None, r"importance = None: must be a dict"),
}


@pytest.mark.parametrize("name", IMPORTANCES)
@pytest.mark.parametrize("accumulate", ["sum", "separate"])
def test_importances_that_do_not_fit_are_refused(name, accumulate):
    spoil, pattern = IMPORTANCES[name]
    model, penalty = network(), QuadraticPenalty(1.0, accumulate)
    refuses(pattern, penalty.consolidate, spoil(model), model)
    penalty.consolidate(ones(model), model)
    before = bits(penalty.state_dict())
    refuses(pattern, penalty.consolidate, spoil(model), model)
    assert bits(penalty.state_dict()) == before


@pytest.mark.parametrize("clamp", ["running", "signed"])
def test_what_is_not_finite_is_refused_whatever_is_clamped(clamp):
    model, penalty = network(), QuadraticPenalty(1.0, clamp=clamp)
    for value in (float("nan"), -float("inf")):
        refuses("not finite", penalty.consolidate, spoilt("0.weight", value)(model), model)


def test_what_overflows_in_the_parameters_type_is_refused():
    model, penalty = network().half(), QuadraticPenalty(1.0)
    importance = {name: torch.full(p.shape, 1e6) for name, p in model.named_parameters()}
    refuses("not finite in the parameter's float16", penalty.consolidate, importance, model)
    assert penalty.importance is None


def test_frozen_parameters_are_refused():
    model, penalty = network(), QuadraticPenalty(1.0)
    importance = ones(model)
    model[0].weight.requires_grad_(False)
    refuses("has 0.weight: frozen parameters", penalty.consolidate, importance, model)
    model[0].weight.requires_grad_(True)
    penalty.consolidate(importance, model)
    model[0].weight.requires_grad_(False)
    refuses("lacks 0.weight: an earlier task has it", penalty.consolidate, ones(model), model)


def test_a_model_without_trained_parameters_has_nothing_to_protect():
    model, penalty = network().requires_grad_(False), QuadraticPenalty(1.0)
    refuses("must be a dict of tensors", penalty.consolidate, ones(model), model)
    refuses("frozen", penalty.consolidate, {"0.bias": torch.ones(3)}, model)


def test_other_models_are_refused():
    model, penalty = network(), QuadraticPenalty(1.0)
    penalty.consolidate(ones(model), model)
    wider = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
    deeper = nn.ModuleDict({"first": nn.Linear(2, 3)})
    for action in (penalty, penalty.penalty, lambda m: penalty.consolidate(ones(m), m)):
        refuses(r"parameter 0.weight has shape \(4, 2\): .*it had \(3, 2\)", action, wider)
        refuses("the model has no 0.bias, 0.weight", action, deeper)
    refuses("model = 3: must be a torch.nn.Module", penalty, 3)
    refuses("model = None: must be a torch.nn.Module", penalty.consolidate, {}, None)


def test_quantal_layers_are_refused_with_the_reason():
    layers = [StochasticLinear(2, 3, variable="quantal"), nn.Linear(3, 2)]
    model, penalty = nn.Sequential(*layers), QuadraticPenalty(1.0)
    pattern = r"layer 0 has variable = 'quantal': its weight is an amplitude m = w / p"
    optimizer = PresynapticOptimizer(model, PresynapticRule(0.07, 0.05, g_lim=0.05), lr=0.1)
    refuses(pattern, penalty.consolidate, ones(model), model)
    refuses(pattern, penalty, model)
    refuses(pattern, penalty.attach, optimizer, model)
    layers[0].weight.requires_grad_(False)  # an amplitude that nobody moves but the rule
    penalty.consolidate(ones(model), model)


def test_an_optimiser_that_does_not_move_what_is_protected_is_refused():
    model, penalty = network(), QuadraticPenalty(1.0)
    penalty.consolidate(ones(model), model)
    one = torch.optim.SGD([model[0].weight], lr=0.1)
    pattern = r"0.bias, 2.weight, 2.bias: 3 of 4 protected parameters are moved by no optimiser"
    refuses(pattern, penalty.attach, one)
    refuses(pattern, penalty.attach, one, model)
    other = torch.optim.SGD(network().parameters(), lr=0.1)
    refuses("4 of 4 protected parameters", penalty.attach, other)
    one.step()  # nothing was left on it
    assert model[0].weight.grad is None


def test_a_copy_of_the_model_that_is_trained_is_refused():
    model, penalty = network(), QuadraticPenalty(1.0)
    penalty.attach(torch_sgd := torch.optim.SGD(model.parameters(), lr=0.1))
    other = copy.deepcopy(model)
    refuses(
        "consolidate the model that is trained, no copy", penalty.consolidate, ones(other), other
    )
    assert penalty.importance is None
    penalty.consolidate(ones(model), model)
    torch_sgd.step()


def test_what_is_no_optimiser_or_takes_no_penalty_is_refused():
    model, penalty = network(), QuadraticPenalty(1.0)
    refuses("optimizer = 3: must be a torch.optim.Optimizer", penalty.attach, 3)
    refuses("optimizer = Sequential", penalty.attach, model)
    corrected = CurvatureCorrected(model.parameters(), CurvatureCorrection(), 0.1)
    refuses("from the network's outputs", penalty.attach, corrected)
    sideways = FOOF(model, 0.1, 0.1, side="activation")
    refuses("side='gradient'", penalty.attach, sideways)


def test_attaching_twice_is_refused_and_not_after_removing():
    model, penalty = network(), QuadraticPenalty(1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attachment = penalty.attach(optimizer)
    refuses("would count twice", penalty.attach, optimizer)
    attachment.remove()
    attachment.remove()  # does nothing
    penalty.attach(optimizer)


def test_states_of_others_are_refused():
    model, penalty = network(), QuadraticPenalty(1.0, "online", 0.9)
    penalty.consolidate(ones(model), model)
    state = penalty.state_dict()
    refuses(
        "state_dict lacks anchor, constant",
        penalty.load_state_dict,
        {"settings": {}, "importance": None},
    )
    refuses("state_dict = 3: must be what", penalty.load_state_dict, 3)
    other = QuadraticPenalty(2.0, "online", 0.5)
    refuses(r"strength = 2\.0 here, 1\.0 there; decay = 0\.5 here", other.load_state_dict, state)
    same = QuadraticPenalty(1.0, "online", 0.9)
    wider = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
    same.attach(torch.optim.SGD(wider.parameters(), lr=0.1), wider)
    refuses("parameter 0.weight has shape", same.load_state_dict, state)
    assert same.importance is None


def test_a_loaded_state_must_know_its_model():
    model, penalty = network(), QuadraticPenalty(1.0)
    penalty.consolidate(ones(model), model)
    resumed, optimizer = QuadraticPenalty(1.0), torch.optim.SGD(model.parameters(), lr=0.1)
    attachment = resumed.attach(optimizer)
    resumed.load_state_dict(penalty.state_dict())
    refuses("give attach the model too", optimizer.step, error=RuntimeError)
    attachment.remove()
    resumed.attach(optimizer, model)
    optimizer.step()
