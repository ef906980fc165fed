"""Hooks are called at the events that are promised, see the run as it stands and may change it."""

import numpy as np
import pytest
import torch
from small_training import bits, network, pair, tiny
from torch.optim import SGD

from sandbox.training.hooks import EVENTS, by_event
from sandbox.training.loop import fit
from sandbox.training.objective import Batch
from sandbox.training.plan import Plan
from theory.streams import Streams

PLAN = Plan(epochs=2, batch_size=12)  # tasks of 24 and 22 samples: two steps an epoch, and one


def run(hooks, *, plan=PLAN, model=None, stream=None, penalty=None):
    model = model or network()
    optimizer = SGD(model.parameters(), 0.1)
    data = stream or pair("class")
    return fit(model, data, optimizer, plan, streams=Streams(0), hooks=hooks, penalty=penalty)


def every(hook):
    """Return the hook at every event, told which it is."""
    return {event: (lambda now, event=event: hook(event, now)) for event in EVENTS}


def test_events_come_in_the_order_of_the_work():
    seen = []
    run(every(lambda event, _: seen.append(event)))
    step = ["batch", "gradient", "step"]
    first = ["task-start", *step * 2, "epoch", "evaluation", *step * 2, "epoch", "evaluation"]
    second = ["task-start", *step, "epoch", "evaluation", *step, "epoch", "evaluation"]
    assert seen == [
        "start", "evaluation", *first, "task-end", *second, "task-end", "end"
    ]  # fmt: skip
    assert set(seen) | {"resume"} == set(EVENTS)


def test_an_epoch_that_is_not_measured_is_an_epoch_all_the_same():
    seen = []
    plan = Plan(epochs=3, batch_size=12, evaluate_every=2)
    run(every(lambda event, _: seen.append(event)), plan=plan)
    after_start = seen[2:]
    assert after_start.count("epoch") == 6
    assert after_start.count("evaluation") == 4


def test_the_moment_says_where_the_run_stands():
    seen = []
    run(every(lambda event, now: seen.append((event, now.task, now.epoch, now.batch, now.step))))
    assert seen == [
        ("start", 0, 0, 0, 0), ("evaluation", 0, 0, 0, 0), ("task-start", 0, 0, 0, 0),
        ("batch", 0, 0, 0, 0), ("gradient", 0, 0, 0, 0), ("step", 0, 0, 1, 1),
        ("batch", 0, 0, 1, 1), ("gradient", 0, 0, 1, 1), ("step", 0, 0, 2, 2),
        ("epoch", 0, 1, 0, 2), ("evaluation", 0, 1, 0, 2),
        ("batch", 0, 1, 0, 2), ("gradient", 0, 1, 0, 2), ("step", 0, 1, 1, 3),
        ("batch", 0, 1, 1, 3), ("gradient", 0, 1, 1, 3), ("step", 0, 1, 2, 4),
        ("epoch", 0, 2, 0, 4), ("evaluation", 0, 2, 0, 4), ("task-end", 0, 2, 0, 4),
        ("task-start", 1, 0, 0, 4),
        ("batch", 1, 0, 0, 4), ("gradient", 1, 0, 0, 4), ("step", 1, 0, 1, 5),
        ("epoch", 1, 1, 0, 5), ("evaluation", 1, 1, 0, 5),
        ("batch", 1, 1, 0, 5), ("gradient", 1, 1, 0, 5), ("step", 1, 1, 1, 6),
        ("epoch", 1, 2, 0, 6), ("evaluation", 1, 2, 0, 6), ("task-end", 1, 2, 0, 6),
        ("end", 2, 0, 0, 6),
    ]  # fmt: skip


@pytest.mark.parametrize("alone", [None, "gradient", "step"])
def test_samples_loss_and_penalty_are_those_of_the_step_at_hand(alone):
    model, seen, weights = network(), [], {}

    def penalty(model):
        return 0.1 * model[0].weight.square().sum()

    def look(event, now):
        inside = event in {"batch", "gradient", "step"}
        assert (now.samples is not None) == inside
        assert (
            (now.loss is not None) == (now.penalty is not None) == (event in {"gradient", "step"})
        )
        if event in {"batch", "task-start"}:
            weights.update({k: v.clone() for k, v in now.model.state_dict().items()})
        if event in {"gradient", "step"}:
            twin = network()
            twin.load_state_dict(weights or now.model.state_dict())
            loss = torch.nn.functional.cross_entropy(twin(now.samples.inputs), now.samples.targets)
            if weights:
                assert bits(now.loss) == bits(loss.detach())
                assert bits(now.penalty) == bits(penalty(twin).detach())
            assert not now.loss.requires_grad
            assert not now.penalty.requires_grad
            seen.append(event)
        if event == "gradient":
            assert all(p.grad is not None for p in now.model.parameters())
            if weights:
                assert bits(dict(now.model.state_dict())) == bits(weights)  # not stepped yet
        if event == "step" and weights:
            assert bits(dict(now.model.state_dict())) != bits(weights)

    hooks = every(look)
    run({alone: hooks[alone]} if alone else hooks, model=model, penalty=penalty)
    assert len(seen) == (6 if alone else 12)


def test_the_moment_holds_what_was_given():
    model, stream = network(), pair("class")
    optimizer, moments = SGD(model.parameters(), 0.1), []
    history = fit(model, stream, optimizer, PLAN, streams=Streams(0), hooks={"end": moments.append})
    (now,) = moments
    assert now.model is model
    assert now.optimizer is optimizer
    assert now.stream is stream
    assert now.plan is PLAN
    assert now.history is history


def test_a_hook_may_replace_the_batch():
    model, sizes = network(), []
    untouched = bits(dict(network().state_dict()))

    def nothing_to_learn(now):
        now.samples = Batch(now.samples.inputs[:5] * 0, now.samples.targets[:5])
        sizes.append(len(now.samples.inputs))

    def look(now):
        assert len(now.samples.inputs) == 5
        assert now.samples.inputs.abs().max() == 0

    run({"batch": nothing_to_learn, "gradient": look, "step": look}, model=model)
    assert sizes == [5] * 6
    # inputs of zeros leave no gradient in the first weights alone
    assert bits(model[0].weight) == bits(network()[0].weight)
    assert bits(dict(model.state_dict())) != untouched


def test_a_hook_may_change_gradients_and_weights():
    model = network()

    def freeze(now):
        for parameter in now.model.parameters():
            parameter.grad.zero_()

    run({"gradient": freeze}, model=model)
    assert bits(dict(model.state_dict())) == bits(dict(network().state_dict()))

    def clear(now):
        with torch.no_grad():
            now.model[3].bias.fill_(7.0)

    run({"step": clear}, model=model)
    assert model[3].bias.tolist() == [7.0] * 4


def test_a_hook_may_change_a_constant_learning_rate():
    def slower(now):
        now.optimizer.param_groups[0]["lr"] *= 0.5

    history = run({"epoch": slower}, stream=tiny(), plan=Plan(epochs=3, batch_size=46))
    assert history.column("learning_rate").tolist() == [0.1, 0.05, 0.025, 0.0125]


@pytest.mark.parametrize(
    ("event", "steps"),
    [
        ("start", 0), ("task-start", 0), ("batch", 1), ("gradient", 1), ("step", 1),
        ("epoch", 2), ("evaluation", 0), ("task-end", 4),
    ],
)  # fmt: skip
def test_a_hook_may_end_the_run_after_this_step(event, steps):
    events = []
    hooks = {
        event: [lambda now: now.stop("enough"), lambda _: events.append("called")],
        "end": lambda now: events.append("end"),
    }
    history = run(hooks)
    assert history.stopped == "enough"
    assert history.rows[-1]["step"] == steps
    assert events == ["called", "end"]
    if event in {"batch", "epoch"}:  # then everything is measured, and nothing is learned
        assert history.column("evaluated").tolist() == [0, 1, 0, 1]
        assert history.column("learned").tolist() == [0] * 4
        # an epoch of two steps that was cut short is not counted
        assert history.rows[-1]["epoch"] == (1 if event == "epoch" else 0)


def test_hooks_of_an_event_are_called_in_turn():
    seen = []
    run({"end": [lambda _: seen.append(1), lambda _: seen.append(2)], "start": ()})
    assert seen == [1, 2]
    found = by_event({"step": print, "end": (len, repr)})
    assert list(found) == list(EVENTS)
    assert found["step"] == [print]
    assert found["end"] == [len, repr]
    assert by_event(None) == {event: [] for event in EVENTS}


@pytest.mark.parametrize(
    ("hooks", "words"),
    [
        ({"steps": print}, r"event 'steps': must be one of start, .*; the nearest is 'step'"),
        ({"task_end": print}, "the nearest is 'task-end'"),
        ({"Evaluate": print}, "the nearest is 'evaluation'"),
        ({3: print}, "hooks has the event 3"),
        ({"end": 3}, r"hooks\['end'\] = 3: must be a function"),
        ({"end": [print, None]}, r"hooks\['end'\] = None: must be a function"),
    ],
)
def test_hooks_that_would_never_be_called_are_refused(hooks, words):
    model = network()
    with pytest.raises(ValueError, match=words):
        run(hooks, model=model)
    assert bits(dict(model.state_dict())) == bits(dict(network().state_dict()))


def test_rows_are_there_when_an_evaluation_is_announced():
    lengths = []
    run({"evaluation": lambda now: lengths.append(len(now.history))})
    assert np.diff([0, *lengths]).tolist() == [2, 1, 2, 1, 2]
