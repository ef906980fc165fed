"""The training loop equals one written out in plain torch, bit for bit, and keeps its manners."""

import copy
import math

import numpy as np
import pytest
import torch
from small_training import (
    bare_training,
    bits,
    crossed,
    drawing,
    network,
    pair,
    plain_loss,
    playing,
    shown_samples,
    tiny,
)
from torch import nn
from torch.optim import SGD, Adam

from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from theory.streams import Streams


def sgd(model):
    return SGD(model.parameters(), 0.1)


def momentum(model):
    return SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)


def adam(model):
    return Adam(model.parameters(), 0.01)


def weights_squared(model):
    return 0.01 * sum(p.square().sum() for p in model.parameters())


# 46 samples: batches of 10 leave 6 over; tasks of 24 and 22 leave 4 and 2 over batches of 5
CASES = {
    "sgd": (tiny, sgd, {}),
    "momentum": (tiny, momentum, {}),
    "adam": (tiny, adam, {}),
    "ragged": (tiny, sgd, {"drop_last": False}),
    "full": (tiny, momentum, {"batch_size": None}),
    "one-batch": (tiny, sgd, {"batch_size": 46}),
    "linear": (tiny, sgd, {"schedule": "linear", "warmup": 0.3}),
    "cosine": (tiny, adam, {"schedule": "cosine"}),
    "steps": (tiny, momentum, {"schedule": "step", "epochs": 5}),
    "warmup": (tiny, sgd, {"warmup": 1.0}),
    "squared": (tiny, sgd, {"loss": "squared"}),
    "reconstruction": (tiny, sgd, {"loss": "reconstruction"}),
    "validation": (tiny, sgd, {"validation": 0.3}),
    "domain": (lambda: pair("domain"), momentum, {"batch_size": 5}),
    "heads": (lambda: pair("task"), adam, {"batch_size": 5, "schedule": "linear"}),
    "heads-apart": (crossed, momentum, {"batch_size": 5, "drop_last": False}),
    "heads-squared": (crossed, sgd, {"batch_size": 5, "loss": "squared"}),
    "forgetful": (lambda: pair("class"), adam, {"batch_size": 5, "reset_optimizer": True}),
    "aside-twice": (lambda: pair("class"), sgd, {"batch_size": 5, "validation": 0.2}),
}


def outputs_of(settings):
    return 6 if settings.get("loss") == "reconstruction" else 4


@pytest.mark.parametrize("penalty", [None, weights_squared])
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_plain_loop_bit_for_bit(case, penalty):
    make, optimiser, settings = CASES[case]
    settings = {"epochs": 3, "batch_size": 10} | settings
    dropout = 0.3 if case in {"adam", "heads", "ragged"} else 0.0
    model = network(outputs=outputs_of(settings), dropout=dropout)
    twin = copy.deepcopy(model)
    mine, theirs = optimiser(model), optimiser(twin)
    history = fit(
        model, make(), mine, Plan(**settings, evaluate="all"), streams=Streams(3), penalty=penalty
    )
    with drawing(3):
        losses = bare_training(twin, theirs, make(), **settings, seed=3, penalty=penalty)
    assert bits(dict(model.state_dict())) == bits(dict(twin.state_dict()))
    assert bits(mine.state_dict()) == bits(theirs.state_dict())
    means = history.column("train_loss", task=0)[1:]
    # summed there in another order
    np.testing.assert_allclose(means, [np.mean(epoch) for epoch in losses], rtol=1e-14)
    assert history.column("step", task=0).tolist() == [
        0, *np.cumsum([len(epoch) for epoch in losses])
    ]  # fmt: skip


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    found = []
    for seed in (1, 1, 2):
        model = network(dropout=0.5)
        torch.rand(seed)  # what the user drew before is nobody's business
        fit(model, tiny(), sgd(model), Plan(epochs=2, batch_size=None), streams=Streams(seed))
        found.append(bits(dict(model.state_dict())))
    assert found[0] == found[1]
    assert found[0] != found[2]  # full batches: dropout alone makes the difference


def test_another_seed_is_another_order():
    models = [network(), network()]
    for seed, model in enumerate(models):
        fit(model, tiny(), sgd(model), Plan(epochs=1, batch_size=10), streams=Streams(seed))
    assert bits(dict(models[0].state_dict())) != bits(dict(models[1].state_dict()))


class Noisy(nn.Module):
    """Draws random numbers in evaluation mode as well."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, inputs):
        return self.inner(inputs) + 0.1 * torch.randn(len(inputs), 4)


@pytest.mark.parametrize("make", [lambda: network(dropout=0.5), Noisy])
@pytest.mark.parametrize("validation", [0.0, 0.25])
def test_measuring_more_often_does_not_change_the_training(make, validation):
    found = []
    for often in ({"evaluate_every": 1, "evaluate": "all"}, {"evaluate_every": 9}):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = make()
        plan = Plan(epochs=4, batch_size=5, validation=validation, **often)
        history = fit(model, pair("class"), adam(model), plan, streams=Streams(0))
        found.append((bits(dict(model.state_dict())), len(history), history.final))
    (weights, rows, final), (others, fewer, last) = found
    assert weights == others
    assert rows > fewer
    # the same numbers drawn for a measurement, however many were made before it
    assert [final["test_loss"], final["step"]] == [last["test_loss"], last["step"]]


def world(model):
    """What a call must leave as it was."""
    return (
        bits(torch.get_rng_state()),
        bits(list(np.random.get_state()[1:3])),  # ruff: ignore[numpy-legacy-random] - it is watched
        [module.training for module in model.modules()],
        torch.is_grad_enabled(),
    )


@pytest.mark.parametrize("event", [None, "start", "batch", "step", "evaluation", "end"])
def test_the_users_generators_and_modes_are_left_alone(event):
    model = network(dropout=0.5)
    model.eval()
    model[3].train()
    torch.manual_seed(11)
    before = world(model)

    def fail(now):
        assert all(module.training for module in now.model.modules())
        torch.rand(1)
        raise KeyError("hook")

    plan = Plan(epochs=1, batch_size=10, schedule="linear", validation=0.2)
    optimizer = sgd(model)
    if event is None:
        fit(model, tiny(), optimizer, plan, streams=Streams(0))
        assert all(p.grad is None for p in model.parameters())
    else:
        with pytest.raises(KeyError, match="hook"):
            fit(model, tiny(), optimizer, plan, streams=Streams(0), hooks={event: fail})
    assert world(model) == before
    assert optimizer.param_groups[0]["lr"] == 0.1  # ready for the next schedule


def test_a_model_without_parameters_is_refused():
    optimizer = SGD([nn.Parameter(torch.zeros(1))], 0.1)
    with pytest.raises(ValueError, match="has no parameters to train"):
        fit(nn.Identity(), tiny(), optimizer, streams=Streams(0))


def test_an_optimiser_of_another_model_is_refused():
    with pytest.raises(ValueError, match="SGD: has none of the model's parameters"):
        fit(network(), tiny(), sgd(network()), streams=Streams(0))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"streams": 0}, r"streams = 0: must be Streams, e\.g\. Streams\(0\)"),
        ({"plan": {"epochs": 1}}, r"plan = \{'epochs': 1\}: must be a Plan"),
        ({"data": tiny().train}, "data = Samples.*: must be a TaskStream or a Dataset"),
        ({"optimizer": 0.1}, "optimizer = 0.1: must be a torch.optim.Optimizer"),
        ({"penalty": lambda _: 1.0}, r"penalty\(model\) = 1.0: must be a scalar tensor"),
        ({"penalty": lambda _: torch.ones(2)}, r"penalty\(model\) = tensor\(\[1., 1.\]\)"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(change, message):
    model = network()
    plan = Plan(batch_size=10)
    given = {"data": tiny(), "optimizer": sgd(model), "plan": plan, "streams": Streams(0)}
    with pytest.raises(ValueError, match=message):
        fit(model, **(given | change))


def test_patience_ends_a_task_by_its_own_validation_loss():
    script = ([5.0, 4.0, 3.0, 3.5, 3.0, 3.25, 0.5], [9.0, 8.0, 8.5, 8.0, 8.0, 0.5])
    model, play = playing(script)
    plan = Plan(epochs=7, batch_size=5, validation=0.25, patience=3)
    optimizer = SGD(model.parameters(), 1e-30)
    history = fit(model, pair("domain"), optimizer, plan, streams=Streams(0), hooks={"epoch": play})
    losses = [history.column("validation_loss", task=k)[history.column("task", task=k) == k]
              for k in range(2)]  # fmt: skip
    # the best at the third and the second; an equal loss is no better
    assert [int(np.argmin(of_one)) for of_one in losses] == [2, 1]
    assert losses[0][4] == losses[0][2]
    assert [len(of_one) for of_one in losses] == [6, 5]
    assert losses[1].min() > losses[0].max()  # the second task is judged by its own losses
    assert not history.stopped
    assert history.column("learned", task=0).tolist() == [0] * 6 + [1, 2]
    assert model[3].bias.tolist() == [8.0, -8.0]  # the last weights, not the best


def test_validation_measures_the_samples_set_aside_and_no_others():
    model = network()
    plan = Plan(epochs=1, batch_size=5, validation=0.25)
    history = fit(model, pair("domain"), sgd(model), plan, streams=Streams(1))
    inputs, targets = shown_samples(pair("domain").tasks[1], "cross-entropy", torch.float32)
    aside = Streams(1).generator("validation", 1).permutation(22)[:6]  # round(5.5)
    with torch.no_grad():
        outputs = model(inputs[np.sort(aside)])
    last = history.final
    wanted = plain_loss("cross-entropy", outputs, targets[np.sort(aside)]).item()
    assert last["validation_loss"] == pytest.approx(wanted, rel=1e-6)
    right = (outputs.argmax(1) == targets[np.sort(aside)]).float().mean().item()
    assert last["validation_accuracy"] == pytest.approx(right, rel=1e-6)
    others = history.column("validation_loss")[
        history.column("evaluated") != history.column("task")
    ]
    assert np.isnan(others).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_divergence_ends_the_run_and_says_why(dtype):
    model = network(dtype=dtype)
    optimizer = SGD(model.parameters(), 1e30)
    plan = Plan(epochs=5, batch_size=5, loss="squared")
    history = fit(model, pair("class"), optimizer, plan, streams=Streams(0))
    assert "the training loss is not finite at step 4: use a smaller lr" in history.stopped
    assert history.rows[-1]["task"] == 0
    with pytest.raises(ValueError, match="after 0 of 2 tasks"):
        history.accuracy_matrix()


@pytest.mark.parametrize(
    ("evaluate", "wanted"),
    [
        ("current", [0, 1, 0, 0, 1, 1, 0, 1]),
        ("seen", [0, 1, 0, 0, 1, 0, 1, 0, 1]),
        ("all", [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]),
    ],
)
def test_rows_are_those_asked_for(evaluate, wanted):
    model = network()
    plan = Plan(epochs=2, batch_size=5, evaluate=evaluate)
    history = fit(model, pair("class"), sgd(model), plan, streams=Streams(0))
    assert history.column("evaluated").tolist() == wanted
    seconds = history.column("seconds")
    assert (np.diff(seconds) >= 0).all()
    assert seconds[0] == 0 < seconds[-1]


def test_rows_say_where_they_were_measured():
    model = network()
    plan = Plan(epochs=5, batch_size=5, evaluate_every=2, schedule="linear")
    history = fit(model, pair("class"), sgd(model), plan, streams=Streams(0))
    rows = list(
        zip(
            *(history.column(c).tolist() for c in ("step", "learned", "task", "epoch")), strict=True
        )
    )
    assert rows == [
        *[(0, 0, -1, 0)] * 2, (8, 0, 0, 2), (16, 0, 0, 4), *[(20, 1, 0, 5)] * 2,
        (28, 1, 1, 2), (36, 1, 1, 4), *[(40, 2, 1, 5)] * 2,
    ]  # fmt: skip
    # the rate of the step before the measurement, of 20 a task
    rates = 0.1 * (1 - np.array([7, 15, 19, 19, 7, 15, 19, 19]) / 20)
    np.testing.assert_allclose(history.column("learning_rate"), [0.1, 0.1, *rates], rtol=1e-14)


def test_the_accuracy_matrix_is_measured_by_hand():
    seen = {}
    stream = pair("task")

    def look(now):
        with torch.no_grad():
            for k, task in enumerate(stream.tasks):
                test = task.samples("test")
                outputs = now.model(torch.tensor(test.inputs, dtype=torch.float32))
                guess = outputs[:, list(task.outputs)].argmax(1).numpy()
                seen[now.task + (now.epoch > 0), k] = np.mean(guess == test.targets)

    model = network()
    history = fit(
        model,
        stream,
        momentum(model),
        Plan(epochs=3, batch_size=5),
        streams=Streams(0),
        hooks={"start": look, "task-end": look},
    )
    wanted = np.array([[seen[i, k] for k in range(2)] for i in range(3)])
    assert history.accuracy_matrix().values.tolist() == wanted.tolist()
    assert len(np.unique(wanted)) > 2


def test_penalties_are_averaged_over_their_steps():
    model, seen = network(), []
    hooks = {"step": lambda now: seen.append((now.penalty.item(), now.penalty.requires_grad))}
    plan = Plan(epochs=1, batch_size=10)
    history = fit(
        model, tiny(), sgd(model), plan, streams=Streams(0), penalty=weights_squared, hooks=hooks
    )
    values, graphs = zip(*seen, strict=True)
    assert history.final["penalty"] == pytest.approx(np.mean(values), rel=1e-14)
    assert len(set(values)) == 4
    assert not any(graphs)


def test_the_mean_loss_keeps_its_digits_in_half_precision():
    # ln 4 = 1.386 summed over 460 steps in bfloat16 would stand still at 256: mean 0.56
    model = network(dtype=torch.bfloat16)
    nn.init.zeros_(model[3].weight)
    nn.init.zeros_(model[3].bias)
    optimizer = SGD(model.parameters(), 1e-30)
    plan = Plan(epochs=10, batch_size=1, evaluate_every=10)
    history = fit(model, tiny(), optimizer, plan, streams=Streams(0))
    # bfloat16 has 8 bits
    assert history.final["train_loss"] == pytest.approx(math.log(4), rel=2**-8)


def test_a_last_step_that_breaks_the_weights_is_told():
    model = network()

    def break_it(now):
        if now.step == 2:
            with torch.no_grad():
                model[0].weight.fill_(math.nan)

    plan = Plan(epochs=1, batch_size=20)
    history = fit(model, tiny(), sgd(model), plan, streams=Streams(0), hooks={"step": break_it})
    assert history.final["step"] == 2
    assert "outputs are NaN after step 2" in history.stopped
