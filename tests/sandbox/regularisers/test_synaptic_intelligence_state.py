"""State, copies and refusals of synaptic intelligence."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from sandbox.optim import FOOF
from sandbox.regularisers import SynapticIntelligence
from synapses.layers import StochasticLinear
from tests.sandbox.regularisers.test_synaptic_intelligence import FAMILY, adam, loss_of, train
from tests.sandbox.regularisers.tiny_net import BATCHES, tiny_net

OPTIONS = [*({"variant": v} for v in FAMILY), {"variant": "sos"}, {"variant": "sos", "alpha": 0.5}]


def together(options):
    model = tiny_net()
    optimizer = adam(model)
    return model, optimizer, SynapticIntelligence(model, optimizer, **options)


def same(first: dict, second: dict) -> None:
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_resumed_task_goes_on_bit_for_bit(options):
    model, optimizer, tracker = together(options)
    train(model, optimizer, tracker)
    if tracker.needs_independent:  # what was observed before the break belongs to the state
        tracker.observe(loss_of(model, [0, 3]))
        tracker.observe(0.5 * loss_of(model, [1]))
    buffer = io.BytesIO()
    parts = (model.state_dict(), optimizer.state_dict(), tracker.state_dict())
    torch.save(parts, buffer)
    buffer.seek(0)
    kept = torch.load(buffer, weights_only=True)

    again, resumed, theirs = together(options)
    train(again, resumed, theirs)  # any history of its own
    theirs.begin()
    for mine, state in zip((again, resumed, theirs), kept, strict=True):
        mine.load_state_dict(state)
    same(theirs.importance(), tracker.importance())
    for m, o, t in ((model, optimizer, tracker), (again, resumed, theirs)):
        o.zero_grad()
        loss_of(m, [0, 2]).backward()
        o.step()
        train(m, o, t)
    same(theirs.importance(), tracker.importance())
    if options["variant"] != "sos":
        same(theirs.path(), tracker.path())


def test_a_state_is_a_copy():
    model, optimizer, tracker = together({"variant": "sib"})
    train(model, optimizer, tracker)
    tracker.observe(loss_of(model, [0]))
    state = tracker.state_dict()
    kept = copy.deepcopy(state)
    optimizer.step()
    train(model, optimizer, tracker)
    for part in ("sums", "start", "independent"):
        same(state[part], kept[part])
    tracker.load_state_dict(state)
    train(*(model, optimizer, tracker), BATCHES[:0])
    optimizer.step()
    same(state["sums"], kept["sums"])


@pytest.mark.parametrize("way", [copy.deepcopy, lambda trio: pickle.loads(pickle.dumps(trio))])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_copies_watch_their_own_optimiser(way, options):
    trio = together(options)
    train(*trio)
    other = way(trio)
    same(other[2].importance(), trio[2].importance())
    train(*other)
    before = trio[2].importance(clamp=False)
    assert any(
        not torch.equal(value, before[name])
        for name, value in other[2].importance(clamp=False).items()
    )
    train(*trio)
    same(other[2].importance(clamp=False), trio[2].importance(clamp=False))


def test_models_and_optimisers_are_copied_without_it():
    model, optimizer, tracker = together({"variant": "siu"})
    same(copy.deepcopy(model).state_dict(), model.state_dict())
    alone = pickle.loads(pickle.dumps(optimizer))
    for parameter in alone.param_groups[0]["params"]:
        parameter.grad = torch.ones_like(parameter)
    alone.step()  # asks for no independent batch
    with pytest.raises(RuntimeError, match=r"no step since begin\(\)"):
        tracker.importance()


def test_a_forgotten_tracker_costs_nothing():
    model, optimizer, tracker = together({})
    del tracker
    assert not optimizer._optimizer_step_pre_hooks
    loss_of(model, [0]).backward()
    optimizer.step()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "ssi"}, "variant = 'ssi': must be one of 'si', 'siu', 'sib', 'sos'"),
        ({"variant": 3}, "variant = 3"),
        ({"xi": 0.0}, r"xi = 0\.0: must be a finite number in \(0, inf\)"),
        ({"xi": float("nan")}, "xi = nan"),
        ({"variant": "sos", "alpha": -1.0}, r"alpha = -1\.0"),
        ({"variant": "sos", "alpha": "1"}, "alpha = '1'"),
        ({"alpha": 1.0}, r"alpha = 1\.0 with variant = 'si': only 'sos' has an alpha"),
        ({"variant": "sos", "beta2": 1.0}, r"beta2 = 1\.0"),
        ({"beta2": -0.1}, r"beta2 = -0\.1"),
        ({"gradient": "both"}, "gradient = 'both': must be one of 'task', 'total'"),
    ],
)
def test_options_out_of_range(options, message):
    model = tiny_net()
    optimizer = adam(model)
    with pytest.raises(ValueError, match=message):
        SynapticIntelligence(model, optimizer, **options)
    assert not optimizer._optimizer_step_pre_hooks


@pytest.mark.bad_input
def test_models_and_optimisers_that_do_not_fit():
    model = tiny_net()
    with pytest.raises(ValueError, match=r"model = 3: must be a torch.nn.Module"):
        SynapticIntelligence(3, adam(model))
    with pytest.raises(ValueError, match=r"optimizer = 'adam': must be a torch.optim.Optimizer"):
        SynapticIntelligence(model, "adam")
    with pytest.raises(ValueError, match="Adam: has none of the model's trained parameters"):
        SynapticIntelligence(model, adam(tiny_net()))
    linear = nn.Linear(3, 3)
    with pytest.raises(ValueError, match=r"FOOF with side = 'activation'"):
        SynapticIntelligence(linear, FOOF(linear, 0.1, 1.0, side="activation"))
    optimizer = adam(model)
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="has none of the model's trained parameters"):
        SynapticIntelligence(model, optimizer)


def test_amplitudes_that_move_with_the_release_probability_are_refused():
    model = nn.Sequential(StochasticLinear(3, 2), StochasticLinear(2, 2, variable="quantal"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="layer '1' has variable = 'quantal'"):
        SynapticIntelligence(model, optimizer)


@pytest.mark.bad_input
def test_losses_that_cannot_be_observed():
    model, optimizer, tracker = together({"variant": "siu"})
    loss = loss_of(model, [0])
    for bad in (1.0, None, loss.detach(), model[0].weight):
        with pytest.raises(ValueError, match="loss = .*must be a scalar tensor with its graph"):
            tracker.observe(bad)
    with pytest.raises(ValueError, match="loss depends on none of the parameters"):
        tracker.observe(loss_of(tiny_net(), [0]))
    loss.backward()
    with pytest.raises(RuntimeError, match=r"call observe\(loss\).* before each optimizer.step"):
        optimizer.step()
    for options in ({}, {"variant": "sos"}):
        _, _, other = together(options)
        with pytest.raises(ValueError, match="uses no independent batch; leave observe out"):
            other.observe(loss)


def test_what_there_is_nothing_to_tell_from():
    model, optimizer, tracker = together({"variant": "sos"})
    with pytest.raises(RuntimeError, match=r"no step since begin\(\)"):
        tracker.importance()
    with pytest.raises(ValueError, match="variant = 'sos': has second moments and no path"):
        tracker.path()


@pytest.mark.bad_input
def test_states_of_other_trackers():
    model, optimizer, tracker = together({"variant": "sos", "alpha": 1.0})
    before = tracker.state_dict()
    for options, message in (
        ({"variant": "si"}, "state_dict is of variant = 'si': this one has 'sos'"),
        ({"variant": "sos"}, r"alpha = 0\.0: this one has 1\.0"),
        ({"variant": "sos", "alpha": 1.0, "beta2": 0.9}, r"beta2 = 0\.9"),
        ({"variant": "sos", "alpha": 1.0, "gradient": "total"}, "gradient = 'total'"),
    ):
        with pytest.raises(ValueError, match=message):
            tracker.load_state_dict(together(options)[2].state_dict())
    with pytest.raises(ValueError, match="state_dict has no 'independent', 'sums'"):
        tracker.load_state_dict({k: before[k] for k in ("settings", "steps", "start")})
    for change in ({"0.weight": torch.zeros(4, 2)}, {"3.weight": torch.zeros(1)}):
        with pytest.raises(ValueError, match=r"state_dict\['start'\] is of the parameters"):
            tracker.load_state_dict(before | {"start": before["start"] | change})
    same(tracker.state_dict()["start"], before["start"])
