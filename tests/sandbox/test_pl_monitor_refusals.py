"""What the PL* monitor refuses."""

from types import SimpleNamespace

import pytest
import torch
from torch.optim import SGD

from sandbox.landscape import PLMonitor, loss_scale
from tests.sandbox.pl_problems import descend, network, samples


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
