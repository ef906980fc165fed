"""The PL* monitor in the training loop, with kernels of one's own, and on a GPU."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_training import bits, tiny
from torch import nn
from torch.optim import SGD

from sandbox.landscape import PLMonitor, dense_tangent_kernel, tangent_kernel
from sandbox.landscape.monitor import COLUMNS
from sandbox.training.checkpoint import Checkpoints
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from tests.sandbox.pl_problems import A, Y, descend, half_sum, network, samples, system
from theory.streams import Streams


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
