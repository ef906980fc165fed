"""When batches enter FOOF's averages, and when its inverses are computed."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sandbox.optim import FOOF
from tests.sandbox.optim.foof_problems import (
    DOUBLE,
    INPUTS,
    LABELS,
    close,
    descend,
    flat,
    images,
    network,
    tiny,
)


class Diary(FOOF):
    """Notes when batches enter the average and when inverses are computed."""

    def __init__(self, *args, **kwargs):
        self.entered, self.inverted = [], []
        super().__init__(*args, **kwargs)

    def _fold(self, layer):
        found = super()._fold(layer)
        if found:
            self.entered.append(self.steps)
        return found

    def _refresh(self, layer):
        self.inverted.append(self.steps)
        super()._refresh(layer)


@pytest.mark.parametrize("observed", [True, False])
def test_batches_enter_and_inverses_are_computed_on_schedule(observed):
    model = tiny()[0]
    optimizer = Diary(model, 0.01, 0.3, T=10, S=3)
    if observed:
        optimizer.observe(INPUTS)
    for _ in range(30):
        model(INPUTS).square().sum().backward()
        optimizer.step()
    # at the start: once from what was observed, or from the first batch, at its step
    assert optimizer.entered == [0, 8, 9, 10, 18, 19, 20, 28, 29, 30]
    assert optimizer.inverted == [0, 10, 20, 30]


def test_the_first_batch_enters_once():
    model = tiny()[0]
    optimizer = Diary(model, 0.01, 0.3, T=1)
    for _ in range(3):
        model(INPUTS).square().sum().backward()
        optimizer.step()
    assert optimizer.entered == [0, 2, 3]
    assert optimizer.inverted == [0, 2, 3]


def test_weights_move_by_the_inverse_at_hand():
    model = nn.Linear(2, 1, bias=False).to(DOUBLE)
    optimizer = FOOF(model, 1.0, 0.5, T=2, S=1, decay=0.75)
    batches = [torch.tensor([[float(i + 1), -1.0]], dtype=DOUBLE) for i in range(6)]
    moments = [batch.T @ batch for batch in batches]
    average = moments[0]
    weights = 0.25
    held = average
    eye = torch.eye(2, dtype=DOUBLE)
    for step, batch in enumerate(batches, 1):
        before = model.weight.detach().clone()
        optimizer.zero_grad()
        model(batch).sum().backward()
        optimizer.step()
        wanted = before - torch.linalg.solve(held + 0.5 * eye, batch.T).T
        close(model.weight, wanted)
        if step % 2 == 0:
            average = (0.75 * weights * average + 0.25 * moments[step - 1]) / (
                0.75 * weights + 0.25
            )
            weights = 0.75 * weights + 0.25
            held = average


def test_a_new_damping_counts_from_the_next_inverse():
    model = tiny()[0]
    optimizer = FOOF(model, 0.01, 0.3, T=2)
    seen = []
    for step in range(4):
        if step == 2:
            optimizer.param_groups[0]["damping"] = 3.0
        model(INPUTS).square().sum().backward()
        optimizer.step()
        seen.append(optimizer.inverses[""]["input"].clone())
    assert torch.equal(seen[1], seen[2])
    covariance = optimizer.averages[""]["input"].value()
    close(seen[3] @ (covariance + 3.0 * torch.eye(3, dtype=DOUBLE)), torch.eye(3, dtype=DOUBLE))


def test_a_new_damping_counts_even_where_no_batch_has_arrived():
    model = tiny()[0]
    optimizer = FOOF(model, 0.01, 0.3, T=2)
    model(INPUTS).square().sum().backward()
    optimizer.step()
    optimizer.param_groups[0]["damping"] = 3.0
    optimizer.step()  # with the gradient of before
    covariance = optimizer.averages[""]["input"].value() + 3.0 * torch.eye(3, dtype=DOUBLE)
    close(optimizer.inverses[""]["input"] @ covariance, torch.eye(3, dtype=DOUBLE))


def test_nothing_is_collected_before_the_last_steps_of_a_period():
    model = tiny()[0]
    optimizer = FOOF(model, 0.01, 0.3, T=4, S=2)
    for waits in (True, False, True, True, False):
        model(INPUTS).sum().backward()
        average = optimizer.averages[""]["input"]
        assert (average.pending is not None) == waits
        optimizer.step()
        assert average.pending is None


def test_observing_leaves_the_model_alone_and_counts_from_the_next_step():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    model.to(DOUBLE)
    model[2].eval()
    kept = copy.deepcopy(model.state_dict())
    optimizer = FOOF(model, 0.1, 0.3, fallback={"lr": 0.0})
    for part in (INPUTS[:2], INPUTS[2:]):
        optimizer.observe(part)
    assert [m.training for m in model.modules()] == [True, True, True, False, True]
    for key, value in model.state_dict().items():
        assert torch.equal(value, kept[key])
    assert all(p.grad is None for p in model.parameters())
    rows = [torch.cat([x, torch.ones(2, 1, dtype=DOUBLE)], dim=1) for x in (INPUTS[:2], INPUTS[2:])]
    first, second = (r.T @ r / 2 for r in rows)
    average = optimizer.averages["0"]["input"]
    close(average.value(), (0.95 * first + second) / 1.95)
    before = model[0].weight.detach().clone()
    cross_entropy(model(INPUTS), LABELS % 2).backward()
    gradient = torch.cat([model[0].weight.grad, model[0].bias.grad[:, None]], dim=1)
    optimizer.step()
    eye = torch.eye(4, dtype=DOUBLE)
    update = torch.linalg.solve((0.95 * first + second) / 1.95 + 0.3 * eye, gradient.T).T
    close(before - model[0].weight, 0.1 * update[:, :3])


def test_observing_again_counts_from_the_next_step():
    model = tiny()[0]
    optimizer = FOOF(model, 0.0, 0.3, T=100)
    for step in range(2):
        model(INPUTS).sum().backward()
        optimizer.step()
        if not step:
            before = optimizer.inverses[""]["input"].clone()
            optimizer.observe(2 * INPUTS)
    assert not torch.equal(before, optimizer.inverses[""]["input"])


def test_a_failing_observation_leaves_the_model_as_it_was():
    model, plain = network(), network()
    optimizer, other = FOOF(model, 0.1, 0.3), FOOF(plain, 0.1, 0.3)
    with pytest.raises(RuntimeError):
        optimizer.observe(torch.ones(2, 1, 3, 7, dtype=DOUBLE))
    assert all(part.training for part in model.modules())
    descend(model, optimizer, 1)
    descend(plain, other, 1)
    # the layers that came before the failing one have kept nothing of it
    assert torch.equal(flat(model), flat(plain))


def test_observing_between_backward_and_step_is_a_batch_of_its_own():
    model = tiny()[0]
    optimizer = FOOF(model, 0.1, 0.3, T=1)
    optimizer.observe(INPUTS)
    model(INPUTS[:1]).sum().backward()
    optimizer.observe(INPUTS[2:])
    model(INPUTS[1:2]).sum().backward()
    optimizer.step()
    moments = [part.T @ part / len(part) for part in (INPUTS, INPUTS[2:], INPUTS[:2])]
    weights = [0.95**2, 0.95, 1.0]
    wanted = sum(w * m for w, m in zip(weights, moments, strict=True)) / sum(weights)
    close(optimizer.averages[""]["input"].value(), wanted)


def test_a_batch_outside_the_window_is_dropped_where_another_was_observed():
    model = tiny()[0]
    optimizer = FOOF(model, 0.1, 0.3, T=10)
    model(INPUTS[:1]).sum().backward()
    optimizer.observe(INPUTS)
    optimizer.step()
    assert optimizer.averages[""]["input"].pending is None
    close(optimizer.averages[""]["input"].value(), INPUTS.T @ INPUTS / 4)


def test_several_backward_passes_are_one_batch():
    whole, parts = network(), network()
    inputs, labels = images()
    ends = []
    for model, pieces in ((whole, [slice(0, 6)]), (parts, [slice(0, 2), slice(2, 6)])):
        optimizer = FOOF(model, 0.1, 0.3, T=2, S=2)
        for _ in range(3):
            optimizer.zero_grad()
            for piece in pieces:
                loss = cross_entropy(model(inputs[piece]), labels[piece], reduction="sum") / 6
                loss.backward()
            optimizer.step()
        ends.append(flat(model))
        assert optimizer.averages["0"]["input"].weight == pytest.approx(1 - 0.95**3)
    torch.testing.assert_close(*ends, rtol=1e-11, atol=1e-12)


def test_only_the_first_samples_feed_the_factor():
    model, fewer = tiny(), tiny()
    optimizer = FOOF(model, 0.1, 0.3, factor_samples=2)
    other = FOOF(fewer, 0.1, 0.3)
    for net in (model, fewer):
        cross_entropy(net(INPUTS), LABELS).backward()
    optimizer.step()
    fewer(INPUTS[:2])
    close(optimizer.averages["0"]["input"].value(), INPUTS[:2].T @ INPUTS[:2] / 2)
    assert other.factor_samples is None


def test_passes_that_do_not_train_leave_no_trace():
    model = network()
    optimizer = FOOF(model, 0.1, 0.3, T=1)
    inputs, labels = images()
    with torch.no_grad():
        model(inputs)
    model.eval()
    cross_entropy(model(inputs), labels).backward()
    model.train()
    model(inputs)  # no backward pass follows
    assert optimizer.averages == {}


@pytest.mark.parametrize("observed", [True, False])
def test_a_state_knows_what_the_next_inverse_waits_for(observed):
    ends = []
    for resumed in (False, True):
        model = tiny()[0]
        optimizer = FOOF(model, 0.0, 0.3, T=4, S=3)
        for scale in (1, 2):
            optimizer.zero_grad()
            model(scale * INPUTS).square().sum().backward()
            optimizer.step()
        before = optimizer.inverses[""]["input"].clone()
        if observed:
            optimizer.observe(3 * INPUTS)
        if resumed:
            state = optimizer.state_dict()
            optimizer = FOOF(model, 0.0, 0.3, T=4, S=3)
            optimizer.load_state_dict(state)
        # no further batch arrives: what was observed counts at once, the second batch at T
        for _ in range(1 if observed else 2):
            optimizer.step()
        assert not torch.equal(optimizer.inverses[""]["input"], before)
        ends.append(optimizer.inverses[""]["input"])
    assert torch.equal(*ends)
