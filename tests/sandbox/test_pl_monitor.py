"""The PL* monitor records what the theorems speak of."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_training import bits, tiny
from torch import nn
from torch.optim import SGD, Adam

from sandbox.landscape import PLMonitor, dense_tangent_kernel, loss_scale
from sandbox.landscape.monitor import COLUMNS
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from sandbox.training.samples import Dataset, Samples
from tests.sandbox.pl_problems import (
    LARGEST,
    A,
    Y,
    descend,
    half_sum,
    network,
    samples,
    system,
    watch,
)
from theory.streams import Streams

LEAST = 3.2279981273412344161


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
