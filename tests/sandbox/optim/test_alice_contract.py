"""What Alice owes its user: same randomness, own groups, signs that are fair."""

import copy

import pytest
import torch
from small_training import bits
from torch import nn

from sandbox.optim._alice_points import SignStream
from sandbox.optim.alice import Alice
from tests.sandbox.optim.alice_runs import OPTIONS, closure_of, task


@pytest.fixture(autouse=True)
def _own_randomness():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


def test_the_three_gradients_share_one_random_state():
    model, inputs, targets = task(nn.Dropout(0.5))
    optimizer = Alice(model.parameters(), **OPTIONS)
    step = closure_of(optimizer, model, inputs, targets)
    masks = []
    model[1].register_forward_hook(lambda _, seen, out: masks.append(out / seen[0] == 0))
    for steps, calls in ((5, 3), (1, 3), (2, 1)):  # burn-in, the sixth, quick ones
        for _ in range(steps):
            masks.clear()
            before = torch.get_rng_state()
            optimizer.step(step)
            assert len(masks) == calls
            assert all(torch.equal(mask, masks[0]) for mask in masks)
            after = torch.get_rng_state()
            torch.set_rng_state(before)
            model[1](torch.ones(16, 8))
            assert torch.equal(torch.get_rng_state(), after)  # moved on by one evaluation
    first = masks[0].clone()
    masks.clear()
    optimizer.step(step)
    assert not torch.equal(first, masks[0])


def test_running_statistics_move_once_a_step_if_the_model_is_known():
    for given, count in ((True, 5), (False, 15)):
        model, inputs, targets = task(nn.BatchNorm1d(8))
        plain, *_ = task(nn.BatchNorm1d(8))
        optimizer = Alice(model.parameters(), **OPTIONS, model=model if given else None)
        for _ in range(5):
            optimizer.step(closure_of(optimizer, model, inputs, targets))
            plain(inputs)
        assert model[1].num_batches_tracked == count
        same = torch.equal(plain[1].running_mean, model[1].running_mean)
        assert same == given  # in the burn-in the weights stay


def test_groups_have_options_and_a_burn_in_of_their_own():
    first, second = (nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2))
    optimizer = Alice([first], **OPTIONS)
    calls = []

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        loss = (first**2).sum() + 3 * (second**2).sum()
        loss.backward()
        return loss

    for _ in range(7):
        optimizer.step(closure)
    optimizer.add_param_group({"params": [second], "lr": 0.05, "betas": (0.5, 0.99)})
    assert optimizer.param_groups[1]["lr_max"] == 0.1
    assert optimizer.param_groups[1]["phi"] == 0.5
    counts = []
    for _ in range(5):
        calls.clear()
        optimizer.step(closure)
        counts.append((len(calls), bool((second == 1).all())))
    # it is noticed in a quick step, then sampled twice, and moves when the others do
    assert counts == [(1, True), (3, True), (3, True), (1, False), (3, False)]
    assert optimizer.state[second]["step"] == 4


def test_parameters_without_a_gradient_stay():
    used, unused, frozen = (nn.Parameter(torch.ones(2)) for _ in range(3))
    frozen.requires_grad_(False)
    optimizer = Alice([used, unused, frozen], **OPTIONS, weight_decay=(0.1, 0.1))
    counts = []
    for _ in range(12):
        calls = []

        def closure(calls=calls):
            calls.append(1)
            optimizer.zero_grad()
            loss = (used**2).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        counts.append(len(calls))
    assert counts == [3, 3, 3, 3, 3, 3, 1, 1, 3, 1, 1, 3]
    assert unused.tolist() == frozen.tolist() == [1.0, 1.0]
    assert unused not in optimizer.state
    assert frozen not in optimizer.state
    assert not used.equal(unused)


def test_weights_moved_from_outside_stay_moved():
    w = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    optimizer = Alice([w], **OPTIONS)
    seen = []

    def closure():
        seen.append(w.detach().clone())
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss

    for _ in range(7):
        optimizer.step(closure)
    with torch.no_grad():
        at = w.add_(10.0).clone()
    ahead = optimizer.state[w]["ahead"].clone()
    optimizer.step(closure)
    # the eighth is no sample step: one look, ahead of where the weights were put
    torch.testing.assert_close(seen[-1], at + ahead, rtol=0, atol=0)
    assert (w > 10).all()


def test_what_step_returns_and_leaves():
    model, inputs, targets = task(dtype=torch.float64)
    optimizer = Alice(model.parameters(), **OPTIONS)
    closure = closure_of(optimizer, model, inputs, targets)
    for _ in range(8):
        before = [p.detach().clone() for p in model.parameters()]
        ahead = [
            b + optimizer.state[p]["ahead"] if p in optimizer.state else b
            for b, p in zip(before, model.parameters(), strict=True)
        ]
        loss = optimizer.step(closure)
        kept = [p.grad.clone() for p in model.parameters()]
        after = copy.deepcopy(model.state_dict())
        with torch.no_grad():
            for p, nu in zip(model.parameters(), ahead, strict=True):
                p.copy_(nu)
        assert closure().item() == loss.item()
        assert all(torch.equal(k, p.grad) for k, p in zip(kept, model.parameters(), strict=True))
        model.load_state_dict(after)
    assert loss.shape == ()
    assert not loss.requires_grad


def test_a_closure_may_zero_gradients_in_place_or_return_a_float():
    found = []
    _, inputs, targets = task()
    for to_none in (True, False):
        model, *_ = task()
        optimizer = Alice(model.parameters(), **OPTIONS)

        def closure(to_none=to_none, model=model, optimizer=optimizer):
            optimizer.zero_grad(set_to_none=to_none)
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            return loss.item()

        for _ in range(8):
            loss = optimizer.step(closure)
        assert isinstance(loss, torch.Tensor)
        found.append(bits(dict(model.state_dict())))
    assert found[0] == found[1]


def test_a_rate_of_zero_makes_quick_steps_that_stay():
    w = nn.Parameter(torch.ones(2))
    optimizer = Alice([w], 0.1, betas=(0.5, 0.9), quick_steps=0)
    calls = []

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss

    optimizer.param_groups[0]["lr"] = 0.0
    with pytest.raises(ValueError, match="lr = 0: the burn-in needs probes"):
        optimizer.step(closure)
    optimizer.param_groups[0]["lr"] = 0.1
    for _ in range(4):
        optimizer.step(closure)
    at = w.detach().clone()
    calls.clear()
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step(closure)
    assert len(calls) == 1
    assert torch.equal(at, w)
    optimizer.param_groups[0]["sigma"] = 0.1
    optimizer.step(closure)
    assert len(calls) == 4


def test_signs_are_fair_independent_and_the_same_for_all_types():
    stream = SignStream(3)
    fork = stream.fork()
    one, two = stream.draw([torch.zeros(3, 1001), torch.zeros(70000, dtype=torch.float64)])
    again = fork.draw([torch.zeros(3, 1001, dtype=torch.float64)])[0]
    assert torch.equal(one.double(), again)
    assert one.shape == (3, 1001)
    assert set(two.tolist()) == {-1.0, 1.0}
    # four standard errors
    assert abs(two.mean().item()) < 4 / 70000**0.5
    for lag in range(1, 17):
        assert abs((two[lag:] * two[:-lag]).mean().item()) < 4.5 / 69000**0.5
    more = stream.draw([torch.zeros(70000)])[0].double()
    assert abs((two * more).mean().item()) < 4 / 70000**0.5
    assert torch.equal(SignStream(3).draw([torch.zeros(3, 1001)])[0], one)
    assert not torch.equal(SignStream(4).draw([torch.zeros(3, 1001)])[0], one)
