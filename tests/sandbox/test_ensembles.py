"""Ensembles: every member goes the way that the loop gives the same network alone."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sandbox.training.data import load
from sandbox.training.ensembles import Descent, fit_ensemble
from sandbox.training.history import COLUMNS
from sandbox.training.loop import fit
from sandbox.training.models import autoencoder, cnn, mlp
from sandbox.training.plan import Plan
from sandbox.training.samples import Dataset, Samples
from sandbox.training.tasks import permuted_tasks, single_task, split_tasks
from theory.streams import Streams

MEMBERS = 3


def small(outputs=4, features=16, *, values=False):
    """41 samples to train on, a number that no batch size divides, and 23 to test on."""
    generator = np.random.default_rng(5)
    labels = np.arange(64) % outputs
    inputs = generator.normal(size=(64, features))
    inputs += 2 * generator.normal(size=(outputs, features))[labels]
    targets = np.sin(inputs[:, :outputs]) if values else labels
    parts = (Samples(inputs[rows], targets[rows]) for rows in (slice(41), slice(41, None)))
    classes = () if values else tuple("abcdefgh"[:outputs])
    return Dataset("small", *parts, classes, (4, features // 4))


DATA = small()
STREAMS = {
    "single": single_task(DATA),
    "split, own heads": split_tasks(DATA, scenario="task"),
    "split, all classes": split_tasks(small(6), scenario="class"),
    "permuted": permuted_tasks(DATA, 3, streams=Streams(1)),
    "values": single_task(small(values=True)),
}
BATCHES = Plan(epochs=3, batch_size=8)
SPREAD = {"lr": [0.05, 0.2, 0.4], "momentum": [0.0, 0.5, 0.9], "weight_decay": [0.1, 0.0, 0.01]}
CASES = {
    "sgd": ("single", Descent(lr=0.2), BATCHES),
    "whole batch": ("single", Descent(lr=0.2), Plan(epochs=5, batch_size=None)),
    "whole batch, split": (
        "split, own heads",
        Descent(lr=0.2, momentum=0.5),
        Plan(epochs=2, batch_size=None),
    ),
    "a smaller last batch": ("single", Descent(lr=0.2), Plan(3, 12, drop_last=False)),
    "momentum": ("permuted", Descent(lr=0.1, momentum=0.9), BATCHES),
    "momentum forgotten": (
        "permuted",
        Descent(lr=0.1, momentum=0.9),
        Plan(2, 8, reset_optimizer=True),
    ),
    "weight decay": ("single", Descent(lr=0.2, weight_decay=0.05), BATCHES),
    "adam": ("split, own heads", Descent("adam", lr=0.01), Plan(3, 4)),
    "adam forgotten": (
        "split, own heads",
        Descent("adam", lr=0.01),
        Plan(3, 4, reset_optimizer=True),
    ),
    "adam, its own numbers": (
        "single",
        Descent("adam", lr=[0.03, 0.01, 0.02], weight_decay=0.1, betas=(0.5, 0.8), eps=0.1),
        BATCHES,
    ),
    "numbers a member": ("split, own heads", Descent(**SPREAD), Plan(2, 4)),
    "all classes": ("split, all classes", Descent(lr=0.2), Plan(2, 5, evaluate="all")),
    "cosine": ("permuted", Descent(lr=0.2), Plan(2, 8, schedule="cosine", warmup=0.3)),
    "linear, each second epoch": (
        "permuted",
        Descent(lr=[0.1, 0.2, 0.3]),
        Plan(3, 12, schedule="linear", evaluate="seen", evaluate_every=2),
    ),
    "steps of adam": ("single", Descent("adam", lr=0.02), Plan(4, 8, schedule="step")),
    "squared": ("split, own heads", Descent(lr=0.05), Plan(2, 4, loss="squared")),
    "squared, values": ("values", Descent(lr=0.02, momentum=0.9), Plan(3, 8, loss="squared")),
}  # fmt: skip


def networks(stream, dtype=torch.float64, members=MEMBERS, activation="tanh"):
    widths = [stream.features, 7, stream.outputs]
    options = {"streams": Streams(0), "dtype": dtype, "activation": activation}
    return [mlp(widths, index=i, **options) for i in range(members)]


def alone(model, stream, rule, plan, streams, member):
    """Train one network by the loop, with torch's own optimiser and the member's numbers."""
    lr, momentum, decay = (
        float(np.broadcast_to(getattr(rule, name), MEMBERS)[member])
        for name in ("lr", "momentum", "weight_decay")
    )
    if rule.kind == "adam":
        numbers = {"betas": rule.betas, "eps": rule.eps, "weight_decay": decay}
        optimizer = torch.optim.Adam(model.parameters(), lr, **numbers)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=decay)
    return fit(model, stream, optimizer, plan, streams=streams)


def assert_same(together, apart, histories, expected, bound):
    for model, reference in zip(together, apart, strict=True):
        for mine, theirs in zip(model.parameters(), reference.parameters(), strict=True):
            assert mine.dtype == theirs.dtype
            torch.testing.assert_close(mine, theirs, rtol=0, atol=bound)
    for found, wanted in zip(histories, expected, strict=True):
        assert (found.names, found.stopped) == (wanted.names, wanted.stopped)
        assert len(found) == len(wanted)
        for name in [name for name in COLUMNS if name != "seconds"]:
            np.testing.assert_allclose(
                found.column(name), wanted.column(name), rtol=0, atol=bound, err_msg=name
            )


def compare(models, stream, rule, plan, own_orders, bound):
    apart = copy.deepcopy(models)
    roots = [Streams(9 + own_orders * i) for i in range(len(models))]
    histories = fit_ensemble(models, stream, rule, plan, streams=roots if own_orders else roots[0])
    expected = [alone(model, stream, rule, plan, roots[i], i) for i, model in enumerate(apart)]
    assert_same(models, apart, histories, expected, bound)
    return histories


@pytest.mark.parametrize("own_orders", [True, False], ids=["own orders", "one order"])
@pytest.mark.parametrize("case", CASES)
def test_every_member_goes_its_way_alone(case, own_orders):
    # parameters are of order one and a member takes at most 45 steps: rounding is far below
    name, rule, plan = CASES[case]
    models = networks(STREAMS[name])
    before = copy.deepcopy(models)
    histories = compare(models, STREAMS[name], rule, plan, own_orders, 1e-10)
    assert all(np.diff(history.column("seconds")).min() >= 0 for history in histories)
    moved = [
        float((new[0].weight - old[0].weight).detach().abs().max())
        for new, old in zip(models, before, strict=True)
    ]
    assert min(moved) > 1e-3  # what stands still is equal without merit


def test_orders_are_the_members_own_or_one_for_all():
    stream = STREAMS["single"]
    start = networks(stream, members=1)[0]
    for streams, differ in (
        ([Streams(1), Streams(2)], True),
        ([Streams(1), Streams(1)], False),
        (Streams(1), False),
    ):
        models = [copy.deepcopy(start), copy.deepcopy(start)]
        fit_ensemble(models, stream, Descent(lr=0.2), BATCHES, streams=streams)
        assert (not torch.equal(models[0][0].weight, models[1][0].weight)) is differ


def test_reconstruction():
    stream = STREAMS["permuted"]
    models = [
        autoencoder([16, 6, 3], streams=Streams(0), index=i, dtype=torch.float64)
        for i in range(MEMBERS)
    ]
    plan = Plan(2, 8, loss="reconstruction")
    histories = compare(models, stream, Descent(lr=0.01, momentum=0.5), plan, True, 1e-10)
    for history in histories:
        assert np.isnan(history.column("test_accuracy")).all()
        assert history.final["test_loss"] < history.rows[2]["test_loss"]


def test_a_convolutional_network_without_dropout():
    shape = {"blocks": ((3,), (4,)), "hidden": (6,), "dropout": (), "dtype": torch.float64}
    models = [cnn((4, 4), 4, streams=Streams(0), index=i, **shape) for i in range(MEMBERS)]
    compare(models, STREAMS["single"], Descent(lr=0.1, momentum=0.5), BATCHES, True, 1e-10)


def test_float32_differs_by_its_rounding():
    # 15 steps, each rounded by up to 6e-8 of numbers of order one: together below 2e-6;
    # orders of another root make a difference of 0.2
    stream = STREAMS["single"]
    models = networks(stream, torch.float32)
    histories = compare(models, stream, Descent(lr=0.2, momentum=0.5), BATCHES, True, 2e-6)
    assert {row["learning_rate"] for row in histories[0].rows} == {0.2}  # not rounded


def test_dropout_draws_for_every_member_and_touches_nobody_elses_generator():
    def network():
        layers = mlp([16, 32, 4], streams=Streams(0), dtype=torch.float64)
        return nn.Sequential(layers[0], nn.Dropout(0.5), layers[2])

    before = torch.get_rng_state()
    trained = []
    for root in (1, 1, 2):
        models = [network(), network()]
        fit_ensemble(models, DATA, Descent(lr=0.1), Plan(1, 8), streams=Streams(root))
        trained.append(models)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [[model[0].weight for model in models] for models in trained]
    assert not torch.equal(weights[0][0], weights[0][1])  # same start, same order: masks differ
    assert torch.equal(weights[0][0], weights[1][0])
    assert torch.equal(weights[0][1], weights[1][1])
    assert not torch.equal(weights[0][0], weights[2][0])


def test_only_the_parameters_of_a_model_change():
    stream = STREAMS["single"]
    models = networks(stream)
    models[0].eval()
    models[1].train()
    models[1][1].eval()
    for model in models:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 7.0)
    held = [[id(p) for p in model.parameters()] for model in models]
    modes = [[module.training for module in model.modules()] for model in models]
    random = torch.get_rng_state()
    fit_ensemble(models, stream, Descent(), BATCHES, streams=Streams(0))
    assert [[module.training for module in model.modules()] for model in models] == modes
    for model, ids in zip(models, held, strict=True):
        assert [id(p) for p in model.parameters()] == ids  # an optimiser's references stay good
        for parameter in model.parameters():
            assert parameter.requires_grad
            assert parameter.is_leaf
            assert torch.equal(parameter.grad, torch.full_like(parameter, 7.0))
    assert torch.equal(torch.get_rng_state(), random)


def test_a_member_that_diverges_stops_as_it_would_alone_and_the_others_go_on():
    # half the squared error of a linear network: a step of 1e6 overshoots and squares each time
    stream = STREAMS["permuted"]
    rule = Descent(lr=[0.02, 1e6, 0.05])
    plan = Plan(4, 8, loss="squared", evaluate_every=3)
    for own_orders in (True, False):
        models = networks(stream, activation="linear")
        apart = copy.deepcopy(models)
        roots = [Streams(9 + own_orders * i) for i in range(MEMBERS)]
        streams = roots if own_orders else roots[0]
        histories = fit_ensemble(models, stream, rule, plan, streams=streams)
        expected = [
            alone(model, stream, rule, plan, root, i)
            for i, (model, root) in enumerate(zip(apart, roots, strict=True))
        ]
        for i in (0, 2):
            assert_same([models[i]], [apart[i]], [histories[i]], [expected[i]], 1e-10)
        lost, reference = histories[1], expected[1]
        assert lost.stopped == reference.stopped
        assert "not finite" in lost.stopped
        for name in ("step", "learned", "task", "epoch", "evaluated", "learning_rate"):
            assert lost.column(name).tolist() == reference.column(name).tolist()
        assert not any(p.isfinite().all() for p in models[1].parameters())
    one = networks(stream, members=1, activation="linear")
    (history,) = fit_ensemble(one, stream, Descent(lr=1e6), plan, streams=Streams(9))
    assert history.column("epoch").max() < plan.epochs  # nobody left to train: it ends


def test_members_share_the_samples():
    """Orders of their own do not cost a copy of the data each."""
    from sandbox.training import _batches

    moved = []
    original = _batches.Batches._moved
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            _batches.Batches, "_moved", lambda self, s: moved.append(len(s)) or original(self, s)
        )
        stream = STREAMS["single"]
        roots = [Streams(i) for i in range(MEMBERS)]
        fit_ensemble(networks(stream), stream, Descent(), BATCHES, streams=roots)
    assert sorted(moved) == [23, 41]


def widened(models):
    return [*models[:2], mlp([16, 8, 4], streams=Streams(0), dtype=torch.float64)]


def with_statistics(models):
    return [nn.Sequential(nn.Linear(16, 4), nn.BatchNorm1d(4)).double() for _ in models]


def frozen(models):
    models[2][0].weight.requires_grad_(False)
    return models


REFUSED = {
    "none": (lambda models: [], {}, r"models = \[\]: must hold at least one network"),
    "shapes": (widened, {}, r"models\[2\]: must have the parameters of models\[0\]"),
    "types": (
        lambda models: [models[0], models[1].float()],
        {},
        r"models\[1\]: must have the parameters of models\[0\]",
    ),
    "activations": (
        lambda models: [models[0], *networks(STREAMS["single"], members=2, activation="relu")],
        {},
        r"models\[1\]: must have the layers of models\[0\]",
    ),
    "twice": (lambda models: [models[0], models[1], models[0]], {}, r"models\[2\]: .* twice"),
    "frozen": (frozen, {}, r"models\[2\]: has parameters that are not to be trained"),
    "buffers": (with_statistics, {}, r"models\[0\]: keeps running statistics.*loop\.fit"),
    "validation": (None, {"plan": Plan(validation=0.2)}, r"validation = 0\.2: .*loop\.fit"),
    "blend": (
        None,
        {"data": permuted_tasks(DATA, 2, streams=Streams(0), blend=0.125)},
        r"blend = 0\.125: .*loop\.fit",
    ),
    "streams": (
        None,
        {"streams": [Streams(0)] * 2},
        "streams has 2 members: must be one for all, or 3",
    ),
    "no streams": (None, {"streams": []}, "streams has 0 members"),
    "rates": (None, {"rule": Descent(lr=[0.1, 0.2])}, "lr has 2 values: must be one, or 3"),
    "momenta": (None, {"rule": Descent(momentum=[0.1] * 4)}, "momentum has 4 values"),
    "decays": (None, {"rule": Descent(weight_decay=[0.1] * 2)}, "weight_decay has 2 values"),
    "batch": (None, {"plan": Plan(batch_size=42)}, r"batch_size = 42: the task has 41 samples"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_an_ensemble_cannot_do_is_refused_with_what_can(what):
    change, given, message = REFUSED[what]
    models = networks(STREAMS["single"])
    asked = {"data": DATA, "rule": Descent(), "plan": BATCHES, "streams": Streams(0)} | given
    before = copy.deepcopy(models)
    with pytest.raises(ValueError, match=message):
        fit_ensemble(
            change(models) if change else models,
            asked["data"],
            asked["rule"],
            asked["plan"],
            streams=asked["streams"],
        )
    if what != "types":
        for model, old in zip(models, before, strict=True):
            for p, q in zip(model.parameters(), old.parameters(), strict=True):
                assert torch.equal(p, q)


@pytest.mark.bad_input
def test_wrong_kinds_and_too_few_outputs_are_refused():
    digits, streams = load("digits"), Streams(0)
    few = [mlp([64, 4], streams=streams)]
    with pytest.raises(ValueError, match="its largest class number is 9"):
        fit_ensemble(few, digits, Descent(), Plan(loss="squared"), streams=streams)
    model = [mlp([64, 10], streams=streams)]
    for change, message in (
        ({"rule": "sgd"}, "rule = 'sgd': must be of type Descent"),
        ({"plan": {}}, "plan = {}: must be of type Plan or NoneType"),
        ({"data": "digits"}, "data = 'digits': must be of type TaskStream or Dataset"),
        ({"streams": 0}, "streams = 0: must be Streams, or a list of them"),
    ):
        given = {"data": digits, "rule": Descent(), "plan": None, "streams": streams} | change
        with pytest.raises(ValueError, match=message):
            fit_ensemble(
                model, given["data"], given["rule"], given["plan"], streams=given["streams"]
            )
