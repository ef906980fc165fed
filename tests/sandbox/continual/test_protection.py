"""Protection against loops written out, and against everything that must not matter."""

import pytest
import torch
from small_training import bits, normalised, pair
from torch.optim import SGD, Adam

from sandbox.continual import METHODS, Method, Protection, learn
from sandbox.continual._independent import without_average
from sandbox.training.plan import Plan
from synapses.layers import stochastic_layers
from synapses.networks import Averaged, stochastic_mlp
from tests.sandbox.continual.protecting import PLAN, ROOT, model_of, protected, three
from tests.sandbox.continual.written_out import RATE, learned
from theory.streams import Streams

STRENGTHS = {"ewc": 2.0, "si": 3.0, "siu": 4.0, "sib": 2.5, "sos": 1.5, "sos-large-batch": 1.2}


@pytest.mark.parametrize("stream", [three, pair], ids=["one head", "heads"])
@pytest.mark.parametrize("method", STRENGTHS)
def test_protection_is_the_loop_written_out(method, stream):
    mine, theirs = model_of(), model_of()
    samples = 10 if method == "ewc" else None
    protection, _ = protected(mine, stream(), method, STRENGTHS[method], samples=samples, xi=0.05)
    told = {"epochs": 2, "size": 8, "xi": 0.05, "samples": samples}
    omega = learned(theirs, stream(), method, STRENGTHS[method], ROOT, **told)
    for (name, p), q, total in zip(
        mine.named_parameters(), theirs.parameters(), omega, strict=True
    ):
        # sums of some hundred products: rounding of 1e-16 each, with room for their order
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(protection.importance[name], total, rtol=1e-11, atol=1e-12)
    assert max(float(total.max()) for total in omega) > 1e-3


def test_a_ceiling_bounds_what_pulls():
    free, bound = model_of(), model_of()
    one, _ = protected(free, pair(), "ewc", 2.0)
    middle = max(float(omega.max()) for omega in one.importance.values()) / 100
    two, _ = protected(bound, pair(), "ewc", 2.0, ceiling=middle)
    assert max(float(omega.max()) for omega in two.importance.values()) == middle
    assert not torch.allclose(free[0].weight, bound[0].weight, rtol=1e-3)
    alike, _ = protected(model_of(), pair(), "ewc", 2.0, ceiling=1e9)
    for name, omega in alike.importance.items():
        assert torch.equal(omega, one.importance[name])


@pytest.mark.parametrize("method", ["si", "ewc"])
def test_weights_drawn_anew_are_pulled_to_the_old_ones(method):
    def fresh(task):
        return model_of(seed=100 + task)

    mine, theirs = model_of(), model_of()
    protected(mine, three(), method, STRENGTHS[method], re_init=fresh)
    learned(theirs, three(), method, STRENGTHS[method], ROOT, epochs=2, size=8, xi=0.1, fresh=fresh)
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


def test_outputs_of_other_tasks_are_not_drawn_anew():
    stream, model, kept = pair(), model_of(), []

    def note(now):
        kept.append([p.detach().clone() for p in now.model[3].parameters()])

    hooks = {"task-start": note, "task-end": note}
    fresh = model_of(seed=77)
    protected(model, stream, "ewc", 1.0, re_init=lambda task: fresh, hooks=hooks)
    (_, end, begin, _) = kept  # of the first task, then of the second
    for before, after, new in zip(end, begin, fresh[3].parameters(), strict=True):
        assert bits(before[:2]) == bits(after[:2])
        assert bits(after[2:]) == bits(new[2:].detach())


def test_a_head_is_important_to_its_own_task_alone():
    found = []
    stream, model = pair(), model_of()
    optimizer = SGD(model.parameters(), RATE)
    protection = Protection(model, optimizer, "mas", 1.0, streams=Streams(ROOT))
    keep = {"task-end": lambda now: found.append(protection.importance["3.weight"].clone())}
    learn(model, stream, optimizer, PLAN, protection, streams=Streams(ROOT), hooks=keep)
    first, both = found
    assert (first[2:] == 0).all()
    assert (first[:2] > 0).any()
    assert bits(first[:2]) == bits(both[:2])


@pytest.mark.parametrize("method", ["ewc", "siu", "sos-large-batch", "mas-logit"])
def test_what_is_measured_beside_changes_nothing(method):
    """Orders of hooks, further evaluations and random numbers drawn in between do not matter."""

    def noise(now):
        with torch.random.fork_rng(devices=[]):
            torch.randn(5)

    once, again = model_of(), model_of()
    protected(once, three(), method, STRENGTHS.get(method))
    more = Plan(2, 8, reset_optimizer=True, evaluate="all")
    told = {"hooks": {"batch": noise, "task-end": [noise], "step": noise}}
    protected(again, three(), method, STRENGTHS.get(method), plan=more, **told)
    assert bits(dict(once.state_dict())) == bits(dict(again.state_dict()))


def test_dropout_and_running_statistics_are_left_alone_by_independent_batches():
    """si and siu of strength 0 train alike: the second batch leaves no trace."""
    models = {}
    for method in ("none", "si", "siu"):
        model = models[method] = normalised()
        strength = None if method == "none" else 0.0
        protected(model, pair(), method, strength)
        assert model.training
    wanted = bits(dict(models["none"].state_dict()))
    assert all(bits(dict(model.state_dict())) == wanted for model in models.values())


def test_masks_of_independent_batches_are_not_the_training_s():
    """A layer's own generator goes on as if there were no second batch."""
    found = []
    for method in ("si", "siu"):
        model = Averaged(stochastic_mlp([6, 8, 2], streams=Streams(1)), samples=2)
        own = torch.Generator().manual_seed(3)
        for layer in stochastic_layers(model).values():
            layer.generator = own
        protected(model, pair("domain"), method, 0.0)
        assert all(layer.generator is own for layer in stochastic_layers(model).values())
        found.append(bits(dict(model.state_dict())))
    assert found[0] == found[1]


def test_a_protection_that_learns_another_stream_draws_other_orders(monkeypatch):
    model, orders = model_of(), []
    optimizer = SGD(model.parameters(), RATE)
    protection = Protection(model, optimizer, "siu", streams=Streams(ROOT))
    source = protection._independent
    found = type(source).loss

    def loss(self, now):
        value = found(self, now)
        orders.append((len(self._order[1]), now.stream.tasks[now.task].size("train")))
        return value

    monkeypatch.setattr(type(source), "loss", loss)
    for stream in (pair(), three()):
        learn(model, stream, optimizer, Plan(1, 8), protection, streams=Streams(ROOT))
    assert {size for size, _ in orders} == {22, 24, 46}
    assert all(drawn == there for drawn, there in orders)


def test_independent_batches_are_other_samples_of_the_same_task(monkeypatch):
    seen = []
    model, stream = model_of(), three()
    optimizer = SGD(model.parameters(), RATE)
    streams = Streams(ROOT)
    protection = Protection(model, optimizer, "siu", streams=streams)
    source = protection._independent
    found = type(source).loss

    def loss(self, now):
        value = found(self, now)
        order = self._order[1]
        size = len(now.samples.inputs)
        rows = order[now.batch * size : (now.batch + 1) * size]
        own = self._batches.train(now.task).inputs
        seen.append((now.samples.inputs, own[rows], own))
        return value

    monkeypatch.setattr(type(source), "loss", loss)
    learn(model, stream, optimizer, PLAN, protection, streams=streams)
    assert len(seen) == 3 * 2 * 5
    for mine, other, whole in seen:
        assert mine.shape == other.shape
        assert not torch.equal(mine, other)
        assert all(any(torch.equal(row, one) for one in whole) for row in other)


def test_samples_set_aside_for_validation_are_measured_by_nobody():
    plan = Plan(1, 8, validation=0.25)
    model, stream = model_of(), three()
    optimizer = SGD(model.parameters(), RATE)
    protection = Protection(model, optimizer, "siu", streams=Streams(ROOT), samples=None)
    sizes = []

    def count(now):
        sizes.append(len(protection._independent.samples(now, None)[0]))

    streams = Streams(ROOT)
    learn(model, stream, optimizer, plan, protection, streams=streams, hooks={"task-end": count})
    assert sizes == [46 - round(0.25 * 46)] * 3


@pytest.mark.parametrize("method", METHODS)
def test_stochastic_networks_are_protected_under_the_names_of_the_whole(method):
    stream = pair("domain")
    model = Averaged(stochastic_mlp([6, 8, 2], streams=Streams(1)), samples=2)
    strength = {"none": None, "ratio-norm": 0.01}.get(method, 0.5)
    protection, history = protected(
        model, stream, method, strength, build=lambda m: Adam(m.parameters(), 0.01)
    )
    assert history.accuracy_matrix().tasks == 2
    if METHODS[method].kind in {"task's end", "path"}:
        assert list(protection.importance) == [name for name, _ in model.named_parameters()]
        assert all(bool((one >= 0).all()) for one in protection.importance.values())


def test_importance_of_a_stochastic_network_is_that_of_its_mean_weights():
    stream = pair("domain")
    model = Averaged(stochastic_mlp([6, 8, 2], streams=Streams(1)), samples=2)
    found = {}

    def measure(now):
        plain = stochastic_mlp([6, 8, 2], streams=Streams(1), release_probability=None)
        weights = dict(without_average(now.model)[0].named_parameters())
        plain.load_state_dict({name: p.detach() for name, p in weights.items()})
        from sandbox.regularisers import memory_aware

        inputs = torch.tensor(stream.tasks[now.task].samples("train").inputs).float()
        found[now.task] = memory_aware(plain, inputs)

    protection, _ = protected(model, stream, "mas", 1.0, hooks={"task-end": measure})
    for name, value in protection.importance.items():
        short = name.removeprefix("network.")
        torch.testing.assert_close(value, found[0][short] + found[1][short])


def test_a_method_of_ones_own():
    own = Method("task's end", "batches squared", "fisher_diagonal", {"labels": "batched"})
    model, exact = model_of(), model_of()
    protection, _ = protected(model, three(), own, 1.0)
    other, _ = protected(exact, three(), "ewc", 1.0)
    assert float(protection.importance["0.weight"].sum()) < float(
        other.importance["0.weight"].sum()
    )


def test_the_squared_loss_has_a_gaussian_fisher_matrix():
    from sandbox.regularisers import fisher_diagonal

    model, stream, found = model_of(outputs=2), pair("domain"), []
    plan = Plan(1, 8, loss="squared")

    def measure(now):
        inputs = torch.tensor(stream.tasks[now.task].samples("train").inputs)
        found.append(fisher_diagonal(now.model, inputs, likelihood="gaussian"))

    hooks = {"task-end": measure}
    protection, _ = protected(model, stream, "ewc", 0.1, plan=plan, hooks=hooks)
    total = found[0]["0.weight"] + found[1]["0.weight"]
    torch.testing.assert_close(protection.importance["0.weight"], total)


def test_a_removed_protection_leaves_the_optimiser_as_it_was():
    model = model_of()
    optimizer = SGD(model.parameters(), RATE)
    before = len(optimizer._optimizer_step_pre_hooks)
    protection = Protection(model, optimizer, "si", streams=Streams(0))
    assert len(optimizer._optimizer_step_pre_hooks) > before
    protection.remove()
    protection.remove()
    assert len(optimizer._optimizer_step_pre_hooks) == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_protection_on_a_gpu_is_that_on_a_cpu():
    for method in STRENGTHS:
        here, there = model_of(), model_of().cuda()
        protected(here, three(), method, STRENGTHS[method])
        protected(there, three(), method, STRENGTHS[method])
        for p, q in zip(here.parameters(), there.parameters(), strict=True):
            torch.testing.assert_close(p, q.cpu(), rtol=1e-9, atol=1e-9)
