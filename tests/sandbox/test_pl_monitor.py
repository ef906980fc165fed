"""The PL* monitor records what the theorems speak of, and says why where they do not hold."""

import functools
import itertools
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_training import bits, tiny
from torch import nn
from torch.optim import SGD, Adam

from sandbox.landscape import PLMonitor, dense_tangent_kernel, loss_scale, tangent_kernel
from sandbox.landscape.monitor import COLUMNS
from sandbox.training.checkpoint import Checkpoints
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from sandbox.training.samples import Dataset, Samples
from theory.streams import Streams

A = torch.tensor([[1, 2, 0, 1, 0], [0, 1, 1, 0, 2], [2, 0, 1, 1, 1]], dtype=torch.float64)
Y = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
LARGEST = 11.772001872658765584  # eigenvalues of A A', to 20 digits by mpmath
LEAST = 3.2279981273412344161


def system():
    """F(w) = A w, started at 0."""
    model = nn.Linear(5, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    return model


def network(widths=(4, 40, 2), activation=nn.Tanh, seed=0, bias=True):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [
            layer
            for before, after in itertools.pairwise(widths)
            for layer in (nn.Linear(before, after, bias=bias), activation())
        ]
        return nn.Sequential(*layers[:-1]).double()


def samples(count=6, features=4, outputs=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, features + outputs, generator=generator, dtype=torch.float64)
    return drawn[:, :features], drawn[:, features:]


def half_sum(outputs, targets):
    return (outputs - targets).square().sum() / 2


def watch(model, inputs, targets, optimizer, steps, *, loss=half_sum, scale=1.0, **options):
    """Train by hand under a monitor."""
    monitor = PLMonitor(inputs, targets, loss_scale=scale, **options)
    now = SimpleNamespace(model=model, optimizer=optimizer, step=0)
    monitor.start(now)
    for now.step in range(1, steps + 1):
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        optimizer.step()
        monitor.after_step(now)
    monitor.end(now)
    return monitor


def descend(model, inputs, targets, rate, steps, **options):
    return watch(model, inputs, targets, SGD(model.parameters(), rate), steps, **options)


def test_a_linear_system_to_all_digits():
    monitor = descend(system(), A, Y, 1 / LARGEST, 50)
    found = {name: monitor.trace.column(name) for name in COLUMNS}
    assert found["step"].tolist() == list(range(51))
    np.testing.assert_allclose(found["lambda_min"], LEAST, rtol=1e-13)
    np.testing.assert_allclose(found["lambda_max"], LARGEST, rtol=1e-13)
    # 50-digit arithmetic; the loss's own rounding is 1e-16 of its residuals
    np.testing.assert_allclose(found["loss"][10], 0.00063205143027173514308, rtol=1e-11)
    np.testing.assert_allclose(found["loss"][50], 4.1774738982043749015e-15, rtol=1e-6)
    np.testing.assert_allclose(found["bound"], 7 * 0.72579021289161799366 ** found["step"])
    np.testing.assert_allclose(found["distance"][50], 1.1948353773417359026, rtol=1e-7)
    assert monitor.radii() == pytest.approx(
        {
            "least distance": 1.090533111816336921,
            "flow": math.sqrt(14 / LEAST),
            "descent": 2 * math.sqrt(14 / LEAST),
            "theorem": 7.9540057509712545028,
        },
        rel=1e-12,
    )
    verdict = monitor.verdict()
    assert (verdict.word, verdict.reasons, verdict.notes) == ("held", (), ())
    assert verdict.mu == pytest.approx(LEAST, rel=1e-13)
    assert verdict.lipschitz == pytest.approx(math.sqrt(LARGEST), rel=1e-13)
    radii = monitor.radii()
    assert (
        radii["least distance"]
        <= found["distance"][50]
        <= found["path"][50]
        <= radii["flow"]
        <= radii["descent"]
        <= radii["theorem"]
    )


def test_the_path_is_that_of_the_flow_for_small_steps():
    # f = w1 w2 from (1.5, 0.5) to y = 1.2: length and end by quadrature with mpmath
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    nn.init.constant_(model[0].weight, 1.5)
    nn.init.constant_(model[1].weight, 0.5)
    one = torch.ones(1, 1, dtype=torch.float64)
    monitor = descend(model, one, 1.2 * one, 2e-3, 2500, every=1000)
    assert monitor.trace.column("step").tolist() == [0, 1000, 2000, 2500]
    assert monitor.trace.column("lambda_min")[0] == pytest.approx(2.5, rel=1e-14)
    # the step's error is of first order in 2e-3
    assert monitor.trace.column("path")[-1] == pytest.approx(0.26937006105989240892, rel=1e-3)
    assert model[0].weight.item() == pytest.approx(1.6006404765534735405, rel=1e-3)
    assert monitor.verdict().word == "held"


def test_the_loops_learning_rate_is_that_of_the_summed_loss_times_the_samples():
    inputs, targets = samples()
    rate = 0.02
    by_hand = descend(network(), inputs, targets, rate, 12)
    count = len(inputs)
    data = Samples(inputs.numpy(), targets.numpy())
    model, monitor = network(), PLMonitor(inputs, targets)
    plan = Plan(epochs=12, batch_size=None, loss="squared")
    fit(
        model, Dataset("six", data, data, (), (4,)), SGD(model.parameters(), count * rate), plan,
        streams=Streams(0), hooks=monitor.hooks(),
    )  # fmt: skip
    mse = watch(
        (other := network()), inputs, targets, SGD(other.parameters(), rate * count * 2 / 2), 12,
        loss=nn.MSELoss(), scale=loss_scale(count, 2, "mse"),
    )  # fmt: skip
    summed = watch(
        (other := network()), inputs, targets, SGD(other.parameters(), rate / 2), 12,
        loss=nn.MSELoss(reduction="sum"), scale=loss_scale(count, 2, "mse-sum"),
    )  # fmt: skip
    for found in (monitor, mse, summed):
        for name in COLUMNS:
            np.testing.assert_allclose(
                found.trace.column(name), by_hand.trace.column(name), rtol=1e-9, atol=1e-12
            )
        assert found.verdict().notes == ()


@given(
    seed=st.integers(0, 50),
    width=st.integers(12, 60),
    activation=st.sampled_from([nn.Tanh, nn.Sigmoid, nn.ReLU, nn.GELU]),
)
def test_the_records_are_those_of_the_jacobian(seed, width, activation):
    inputs, targets = samples(4, seed=seed)
    model = network((4, width, 2), activation, seed)
    monitor = descend(model, inputs, targets, 1e-3, 2, every=2)
    kernel = dense_tangent_kernel(model, inputs).reshape(8, 8)
    error = (model(inputs) - targets).detach().reshape(-1)
    spectrum = torch.linalg.eigvalsh(kernel)
    row = monitor.trace.rows[-1]
    size = float(spectrum[-1])
    assert row["lambda_min"] == pytest.approx(float(spectrum[0]), abs=1e-11 * size)
    assert row["lambda_max"] == pytest.approx(size, rel=1e-11)
    assert row["loss"] == pytest.approx(float(error @ error) / 2, rel=1e-12)
    # |grad L|^2 = r' K r: backpropagation on one side, the Jacobian on the other
    ratio = float(error @ kernel @ error / (error @ error))
    assert row["pl_ratio"] == pytest.approx(ratio, rel=1e-10)
    assert row["lambda_min"] * (1 - 1e-9) <= row["pl_ratio"] <= row["lambda_max"] * (1 + 1e-9)
    assert row["distance"] <= row["path"] * (1 + 1e-12)


def test_the_bound_is_the_product_over_the_steps():
    inputs, targets = samples()
    model = network()
    rates = 0.01 * 0.8 ** np.arange(9)
    monitor = PLMonitor(inputs, targets, loss_scale=1.0)
    optimizer = SGD(model.parameters(), 1.0)
    now = SimpleNamespace(model=model, optimizer=optimizer, step=0)
    monitor.start(now)
    for now.step, rate in enumerate(rates, 1):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        half_sum(model(inputs), targets).backward()
        optimizer.step()
        monitor.after_step(now)
    least, loss = monitor.trace.column("lambda_min"), monitor.trace.column("loss")
    assert np.ptp(least) > 1e-4
    smaller = np.minimum(least[1:], least[:-1])
    expected = loss[0] * np.concatenate([[1.0], np.cumprod(1 - rates * smaller)])
    np.testing.assert_allclose(monitor.trace.column("bound"), expected, rtol=1e-12)
    assert (loss <= expected).all()


def test_recording_less_often_changes_neither_path_nor_end():
    inputs, targets = samples()
    each, few = (descend(network(), inputs, targets, 0.01, 20, every=k) for k in (1, 7))
    assert few.trace.column("step").tolist() == [0, 7, 14, 20]
    for name in ("loss", "path", "distance", "lambda_min", "pl_ratio"):
        chosen = each.trace.column(name)[[0, 7, 14, 20]]
        np.testing.assert_allclose(few.trace.column(name), chosen, rtol=1e-12)
    least = each.trace.column("lambda_min")[[0, 7, 14, 20]]
    factors = [(1 - 0.01 * min(least[k : k + 2])) ** n for k, n in enumerate((7, 7, 6))]
    np.testing.assert_allclose(
        few.trace.column("bound")[1:] / few.trace.column("loss")[0], np.cumprod(factors), rtol=1e-12
    )


def test_watching_changes_nothing():
    data = tiny()

    def run(hooks):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(6, 80), nn.Dropout(0.3), nn.ReLU(), nn.Linear(80, 4))
        optimizer = Adam(model.parameters())
        plan = Plan(epochs=2, batch_size=20, loss="squared")
        fit(model, data, optimizer, plan, streams=Streams(0), hooks=hooks)
        return bits(dict(model.state_dict()))

    monitor = PLMonitor(torch.tensor(data.train.inputs), torch.tensor(data.train.targets))
    assert run(monitor.hooks()) == run({})
    assert len(monitor.trace) == 5


# what is no gradient descent on L is noted, and ends the bound


class KeepsSteps(SGD):
    """Momentum that its groups do not name."""

    def step(self, closure=None):
        before = [p.detach().clone() for p in self.param_groups[0]["params"]]
        found = super().step(closure)
        for p, was in zip(self.param_groups[0]["params"], before, strict=True):
            kept = self.state[p].get("kept", torch.zeros_like(p))
            self.state[p]["kept"] = p.detach() - was + 0.9 * kept
            p.data = was + self.state[p]["kept"]
        return found


DIFFERENT = {
    "momentum": (
        {"optimizer": functools.partial(SGD, lr=0.01, momentum=0.9)},
        r"step 1 has momentum",
    ),
    "memory": ({"optimizer": functools.partial(KeepsSteps, lr=0.01)}, r"step 3 is not"),
    "decay": ({"optimizer": functools.partial(SGD, lr=0.01, weight_decay=0.1)}, r"step 1 is not"),
    "adam": ({"optimizer": functools.partial(Adam, lr=0.01)}, r"step 1 is not -eta grad L, but"),
    "another scale": ({"scale": 2.0}, r"another loss_scale"),
    "another loss": ({"loss": nn.functional.l1_loss}, r"step 1 is not"),
    "a batch": ({"loss": lambda f, y: half_sum(f[:3], y[:3])}, r"a mini-batch"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_other_methods_get_no_bound(case):
    options, words = DIFFERENT[case]
    make = options.get("optimizer", functools.partial(SGD, lr=0.01))
    rest = {name: value for name, value in options.items() if name != "optimizer"}
    model, (inputs, targets) = network(), samples()
    monitor = watch(model, inputs, targets, make(model.parameters()), 6, every=2, **rest)
    (note,) = monitor.verdict().notes
    assert re.search(words, note)
    bound = monitor.trace.column("bound")
    assert np.isnan(bound[-1])
    assert not np.isnan(bound[0])
    assert not np.isnan(monitor.trace.column("lambda_min")).any()


def test_momentum_is_noted_where_only_its_first_step_is_measured():
    # 50 steps between two records; the first is the one of gradient descent
    model, (inputs, targets) = network(), samples()
    optimizer = SGD(model.parameters(), lr=0.002, momentum=0.9)
    monitor = watch(model, inputs, targets, optimizer, 50, every=50)
    assert "momentum" in monitor.verdict().notes[0]
    assert np.isnan(monitor.trace.column("bound")[-1])


def test_two_learning_rates_get_no_bound():
    model, (inputs, targets) = network(), samples()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.02}]
    monitor = watch(model, inputs, targets, SGD(groups, lr=0.01), 2)
    assert "different learning rates" in monitor.verdict().notes[0]


def test_dropout_gets_no_bound():
    model, (inputs, targets) = network(), samples()
    model.insert(2, nn.Dropout(0.5))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        monitor = descend(model, inputs, targets, 0.01, 2)
    assert "dropout" in monitor.verdict().notes[0]


@pytest.mark.parametrize(
    ("factor", "word", "end"), [(1.0, "held", "falls"), (1.9, "held", "falls"),
                                (2.0, "held", "stalls"), (2.05, "broken", "rises")],
)  # fmt: skip
def test_steps_too_large(factor, word, end):
    # along the stiffest direction the error is multiplied by 1 - factor
    monitor = descend(system(), A, Y, factor / LARGEST, 60)
    verdict, loss = monitor.verdict(), monitor.trace.column("loss")
    assert verdict.word == word
    ratio = loss[-1] / loss[-2]
    # a flat loss repeats its digits, the others move by 19 % and 10 % a step in the end
    assert end == ("falls" if ratio < 0.9 else "rises" if ratio > 1.05 else "stalls")
    if factor > 1:
        assert "steps too large for the bound" in verdict.notes[0]
        assert np.isnan(monitor.trace.column("bound")[1:]).all()
    if word == "broken":
        assert "L rises from" in verdict.reasons[0]


def test_a_step_too_large_for_the_curvature_breaks_the_bound():
    # f = w1 w2 from near the singular point: K is small there, the loss's curvature is not
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    nn.init.constant_(model[0].weight, 0.6)
    nn.init.constant_(model[1].weight, -0.6)
    one = torch.ones(1, 1, dtype=torch.float64)
    monitor = descend(model, one, 3 * one, 0.6, 1)
    # by hand: r = -3.36, w -> 0.6 (1 + 0.6 r) in size, L from 3.36^2/2 to (3 + w^2)^2/2
    loss = monitor.trace.column("loss")
    np.testing.assert_allclose(loss, [5.6448, (3 + (0.6 * (1 - 0.6 * 3.36)) ** 2) ** 2 / 2])
    assert monitor.trace.column("lambda_max").max() * 0.6 < 1
    verdict = monitor.verdict()
    assert verdict.notes == ()
    assert "at step 1 is above its bound" in verdict.reasons[0]
    assert "L rises from 5.6448" in verdict.reasons[1]


# singular kernels carry their reason


@pytest.mark.bad_input
def test_equal_inputs_with_different_targets():
    inputs, targets = samples()
    inputs[4] = inputs[1]
    targets[1], targets[4] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    model = network((4, 60, 2))
    monitor = descend(model, inputs, targets, 0.012, 600, every=150)
    verdict = monitor.verdict()
    assert verdict.word == "broken"
    assert verdict.mu == 0.0
    assert "K is singular at step 0" in verdict.reasons[0]
    assert "inputs 1 and 4 are equal and their targets differ" in verdict.reasons[0]
    # |y_1 - y_4|^2 / 4 = 1/2, and training comes to it and no further
    assert "so that L >= 0.5 for all parameters" in verdict.reasons[0]
    assert 0.5 <= monitor.trace.column("loss")[-1] < 0.6
    assert monitor.radii()["descent"] == math.inf
    assert (monitor.trace.column("bound") == monitor.trace.column("loss")[0]).all()


@pytest.mark.bad_input
def test_equal_inputs_with_equal_targets():
    inputs, targets = samples()
    inputs[4], targets[4] = inputs[1], targets[1]
    (reason,) = descend(network(), inputs, targets, 0.01, 1).verdict().reasons
    assert "inputs 1 and 4 are equal, and so are their targets: leave one out" in reason


@pytest.mark.bad_input
def test_fewer_parameters_than_equations():
    inputs, targets = samples(20)
    (reason,) = descend(network((4, 3, 2)), inputs, targets, 0.001, 1).verdict().reasons
    assert "fewer parameters (23) than equations (40)" in reason


@pytest.mark.bad_input
@pytest.mark.parametrize("bias", [False, True])
def test_dead_units(bias):
    # inputs in the positive quadrant but two, weights positive: those two switch every unit off
    inputs, targets = samples(4, outputs=1)
    inputs = inputs.abs()
    inputs[[1, 3]] *= -1
    model = network((4, 30, 1), nn.ReLU, bias=False)
    with torch.no_grad():
        model[0].weight.abs_()
        if bias:
            model[2].bias = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    (reason,) = descend(model, inputs, targets, 1e-3, 1).verdict().reasons
    assert (
        "output 0 of sample 1 and output 0 of sample 3 have parallel gradients"
        if bias
        else "output 0 of sample 1 has no gradient in any parameter, as 1 more: its units are dead"
    ) in reason


@pytest.mark.bad_input
def test_dependent_gradients_name_their_leaders():
    # x_2 = x_0 + x_1 and a linear network: no pair is parallel, three gradients are dependent
    inputs, targets = samples(3, outputs=1)
    inputs[2] = inputs[0] + inputs[1]
    model = network((4, 5, 1), nn.Identity, bias=False)
    (reason,) = descend(model, inputs, targets, 1e-3, 1).verdict().reasons
    assert "gradients are linearly dependent, led by output 0 of sample" in reason


def test_it_need_not_be_singular_at_the_start():
    # f = w1 w2 from (1, 1) with y = -1 runs into the singular point and stays there
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    for layer in model:
        nn.init.ones_(layer.weight)
    one = torch.ones(1, 1, dtype=torch.float64)
    monitor = descend(model, one, -one, 0.1, 300, every=10)
    (reason,) = monitor.verdict().reasons
    assert "K is singular at step" in reason
    assert "at step 0" not in reason
    assert monitor.trace.column("loss")[-1] == pytest.approx(0.5, rel=1e-12)


def test_a_run_that_diverges_is_broken():
    inputs, targets = samples()
    monitor = descend(network(activation=nn.ReLU), inputs, targets, 10.0, 30)
    verdict = monitor.verdict()
    assert verdict.word == "broken"
    assert any("the loss is not finite at step" in reason for reason in verdict.reasons)
    assert np.isnan(monitor.trace.column("lambda_min")[-1])
    assert np.isfinite([verdict.mu, verdict.lipschitz]).all()


def test_a_solution_has_no_ratio():
    model, (inputs, _) = network(), samples()
    monitor = descend(model, inputs, model(inputs).detach(), 0.01, 1)
    assert np.isnan(monitor.trace.column("pl_ratio")).all()
    assert monitor.verdict().word == "held"
    assert monitor.radii()["theorem"] == 0.0


# in the training loop


class CutShortError(Exception):
    """Stands for whatever ended a run."""


def trained(folder, cut=None, *, resume=False):
    data, monitor, model = tiny(), None, network((6, 60, 4))
    inputs, targets = torch.tensor(data.train.inputs), torch.tensor(data.train.targets)
    monitor = PLMonitor(inputs, targets, every=3)

    def perhaps(now):
        if now.step == cut:
            raise CutShortError

    hooks = monitor.hooks()
    hooks["step"] = [hooks["step"], perhaps]
    plan = Plan(epochs=10, batch_size=None, loss="squared", schedule="linear")
    optimizer = SGD(model.parameters(), 0.1)
    fit(
        model, data, optimizer, plan, streams=Streams(0), hooks=hooks, stateful={"PL*": monitor},
        checkpoints=Checkpoints(folder, steps=2), resume=resume,
    )  # fmt: skip
    return monitor


def test_a_run_cut_short_goes_on_to_the_same_records(tmp_path):
    alone = trained(tmp_path / "alone")
    assert alone.trace.column("step").tolist() == [0, 3, 6, 9, 10]
    assert alone.verdict().notes == ()
    for cut in (1, 4, 6, 9):
        folder = tmp_path / str(cut)
        with pytest.raises(CutShortError):
            trained(folder, cut)
        found = trained(folder, resume=True)
        assert bits(found.state_dict()) == bits(alone.state_dict())
        assert found.verdict() == alone.verdict()


def test_the_gradient_awaited_is_part_of_the_state():
    model, (inputs, targets) = network(), samples()
    before, after = (PLMonitor(inputs, targets, loss_scale=1.0) for _ in range(2))
    now = SimpleNamespace(model=model, optimizer=SGD(model.parameters(), 0.01), step=0)
    before.start(now)
    after.load_state_dict(before.state_dict())
    now.step = 1  # a step of length 0
    after.after_step(now)
    assert "step 1 is not -eta grad L" in after.verdict().notes[0]


@pytest.mark.bad_input
def test_a_monitor_that_was_not_saved_is_refused(tmp_path):
    data, model = tiny(), network((6, 60, 4))

    def run(hooks, resume):
        plan = Plan(epochs=3, batch_size=None, loss="squared")
        fit(
            model, data, SGD(model.parameters(), 0.1), plan, streams=Streams(0), hooks=hooks,
            checkpoints=Checkpoints(tmp_path, steps=1), resume=resume,
        )  # fmt: skip

    run({}, False)
    monitor = PLMonitor(torch.tensor(data.train.inputs), torch.tensor(data.train.targets))
    with pytest.raises(ValueError, match="monitor has no records of the 3 steps before"):
        run(monitor.hooks(), True)


def test_records_are_kept_as_parquet(tmp_path):
    from pyarrow import parquet

    monitor = descend(system(), A, Y, 0.05, 3)
    monitor.trace.save(tmp_path / "trace.parquet")
    table = parquet.read_table(tmp_path / "trace.parquet")
    assert table.column_names == list(COLUMNS)
    assert table["loss"].to_pylist() == monitor.trace.column("loss").tolist()
    assert table.schema.field("path").metadata[b"meaning"].startswith(b"length of the path")


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (SimpleNamespace(loss="cross-entropy"), "not for 'cross-entropy'; PL.* squared errors"),
        (None, "there is no plan.loss to read"),
    ],
)
def test_other_losses_are_refused(plan, words):
    model = network()
    now = SimpleNamespace(model=model, optimizer=SGD(model.parameters(), 1.0), step=0, plan=plan)
    with pytest.raises(ValueError, match=words):
        PLMonitor(*samples()).start(now)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every": 0}, "every = 0"),
        ({"loss_scale": 0.0}, "loss_scale = 0.0"),
        ({"inputs": torch.ones(3)}, "must be .sample"),
        ({"targets": torch.ones(5, 2)}, "targets hold 5 samples, inputs 6"),
        ({"targets": torch.full((6, 2), torch.nan)}, "not finite"),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    inputs, targets = samples()
    with pytest.raises(ValueError, match=words):
        PLMonitor(**({"inputs": inputs, "targets": targets} | arguments))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (torch.ones(6, 3), "must have the shape of the model's outputs, 6 x 2"),
        (torch.tensor([0, 1, 2, 0, 1, 2]), r"class numbers must be \(sample,\), from 0 to 1"),
    ],
)
def test_targets_must_fit(targets, words):
    with pytest.raises(ValueError, match=words):
        descend(network(), samples()[0], targets, 0.1, 0)


@pytest.mark.bad_input
def test_the_order_of_calls_is_checked():
    model, monitor = network(), PLMonitor(*samples(), loss_scale=1.0)
    now = SimpleNamespace(model=model, optimizer=SGD(model.parameters(), 0.1), step=0)
    with pytest.raises(ValueError, match="not started"):
        monitor.after_step(now)
    for ask in (monitor.verdict, monitor.radii):
        with pytest.raises(ValueError, match="no records"):
            ask()
    monitor.start(now)
    with pytest.raises(ValueError, match="make a new one"):
        monitor.start(now)
    with pytest.raises(ValueError, match="name = 'mu'"):
        monitor.trace.column("mu")


@pytest.mark.bad_input
def test_loss_scales():
    assert loss_scale(20, 5, "mse") == 0.02
    for arguments in ((0, 1), (1, 0), (1, 1, "mae")):
        with pytest.raises(ValueError, match=r"samples|outputs|loss"):
            loss_scale(*arguments)


def test_a_kernel_of_ones_own():
    inputs, targets = samples()
    model = nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 9, 2), nn.Tanh(), nn.Flatten(),
                          nn.Linear(27, 2)).double()  # fmt: skip
    monitor = descend(model, inputs, targets, 0.01, 2, kernel=dense_tangent_kernel)
    assert monitor.verdict().word == "held"
    wrong = descend(
        network(), inputs, targets, 0.01, 1, kernel=lambda m, x: 1e4 * tangent_kernel(m, x)
    )
    assert "gradient and kernel are not of one function" in wrong.verdict().reasons[0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_gpu_sees_the_same():
    inputs, targets = samples()
    here = descend(network(), inputs, targets, 0.01, 5, every=2)
    monitor = PLMonitor(inputs, targets, every=2, loss_scale=1.0)
    model = network().cuda()
    optimizer = SGD(model.parameters(), 0.01)
    now = SimpleNamespace(model=model, optimizer=optimizer, step=0)
    monitor.start(now)
    for now.step in range(1, 6):
        optimizer.zero_grad()
        half_sum(model(inputs.cuda()), targets.cuda()).backward()
        optimizer.step()
        monitor.after_step(now)
    monitor.end(now)
    for name in COLUMNS:
        np.testing.assert_allclose(
            monitor.trace.column(name), here.trace.column(name), rtol=1e-9, atol=1e-12
        )
