"""What Alice owes its user: same randomness, nothing changed by failures, states that go on."""

import copy
import io
import math

import pytest
import torch
from small_training import bits
from torch import nn

from sandbox.optim._alice_points import SignStream
from sandbox.optim.alice import Alice
from sandbox.training.checkpoint import read_state, restore_optimizer, write_state

OPTIONS = {"lr": 0.01, "betas": (0.8, 0.99), "quick_steps": 2}


def task(*extra, dtype=torch.float32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), *extra, nn.ReLU(), nn.Linear(8, 3)).to(dtype)
        inputs, targets = torch.randn(16, 4, dtype=dtype), torch.arange(16) % 3
    return model, inputs, targets


def closure_of(optimizer, model, inputs, targets):
    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    return closure


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


def train(steps, *, file=None, copies=None, kind=(), dtype=torch.float32):
    model, inputs, targets = task(*kind, dtype=dtype)
    groups = [
        {"params": model[0].parameters()},
        {"params": model[-1].parameters(), "lr": 0.02, "hessian": "rms"},
    ]
    optimizer = Alice(groups, **OPTIONS)
    for number in range(steps):
        if file is not None and number == 8:
            write_state(file, {"model": dict(model.state_dict()), "opt": optimizer.state_dict()})
            model, *_ = task(*kind, dtype=dtype)
            groups = [{"params": model[0].parameters()}, {"params": model[-1].parameters()}]
            optimizer = Alice(groups, seed=7)
            state = read_state(file)
            model.load_state_dict(state["model"])
            restore_optimizer(optimizer, state["opt"])
        if copies is not None and number == 8:
            model, optimizer = copies((model, optimizer))
        optimizer.step(closure_of(optimizer, model, inputs, targets))
    return bits([dict(model.state_dict()), optimizer.state_dict()])


def pickled(pair):
    buffer = io.BytesIO()
    torch.save(pair, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_resumed_run_is_the_same_run(tmp_path, dtype):
    whole = train(15, dtype=dtype)
    assert train(15, dtype=dtype) == whole
    assert train(15, file=tmp_path / "state.safetensors", dtype=dtype) == whole
    assert train(15, copies=copy.deepcopy, dtype=dtype) == whole
    assert train(15, copies=pickled, dtype=dtype) == whole
    assert train(16, dtype=dtype) != whole


def test_copies_keep_what_is_no_state():
    model, *_ = task()
    optimizer = Alice(model.parameters(), model=model, nonfinite="skip")
    other, own = copy.deepcopy((optimizer, model))
    assert other.model is own
    assert other.nonfinite == "skip"
    assert other._signs is not optimizer._signs


def test_a_foreign_state_is_refused():
    model, *_ = task()
    optimizer = Alice(model.parameters())
    with pytest.raises(ValueError, match="holds no 'signs'"):
        optimizer.load_state_dict(torch.optim.SGD(model.parameters(), 0.1).state_dict())


def test_reset_forgets_all_but_the_signs():
    model, inputs, targets = task()
    optimizer = Alice(model.parameters(), **OPTIONS)
    for _ in range(8):
        optimizer.step(closure_of(optimizer, model, inputs, targets))
    at = [p.detach().clone() for p in model.parameters()]
    signs = optimizer._signs.state.clone()
    optimizer.reset()
    assert not optimizer.state
    assert torch.equal(optimizer._signs.state, signs)
    for _ in range(5):  # a burn-in again
        optimizer.step(closure_of(optimizer, model, inputs, targets))
        assert all(map(torch.equal, at, model.parameters()))
    optimizer.step(closure_of(optimizer, model, inputs, targets))
    assert not any(map(torch.equal, at, model.parameters()))


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


@pytest.mark.parametrize("steps", [0, 6, 8])  # in the burn-in, a quick step, a sample step
@pytest.mark.parametrize("fault", ["loss", "gradient", "probe", "error"])
def test_a_failure_changes_nothing(steps, fault):
    model, inputs, targets = task(nn.BatchNorm1d(8))
    optimizer = Alice(model.parameters(), **OPTIONS, model=model)
    fine = closure_of(optimizer, model, inputs, targets)
    for _ in range(steps):
        optimizer.step(fine)
    calls = []

    def closure():
        loss = fine()
        calls.append(1)
        if fault == "loss":
            return loss * math.nan
        if fault == "error" and (len(calls) == 2 or steps == 6):
            raise KeyError("broken")
        if fault == "gradient" or (fault == "probe" and (len(calls) == 1)):
            model[0].weight.grad[0, 0] = math.inf
        return loss

    def everything():
        return bits([dict(model.state_dict()), optimizer.state_dict()])

    before = everything()
    if fault == "error":
        with pytest.raises(KeyError):
            optimizer.step(closure)
    else:
        with pytest.raises(RuntimeError, match="not finite: training has diverged"):
            optimizer.step(closure)
    assert everything() == before
    if fault != "error":
        optimizer.nonfinite = "skip"
        calls.clear()
        optimizer.step(closure)
        assert everything() == before
    other = train_on(optimizer, model, fine)
    assert other != before


def train_on(optimizer, model, closure):
    optimizer.step(closure)
    return bits([dict(model.state_dict()), optimizer.state_dict()])


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


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lr": 0.0}, r"lr = 0.0: must be a finite number in \(0, inf\)"),
        ({"lr": math.nan}, r"lr = nan"),
        ({"lr": True}, r"lr = True"),
        ({"lr": "0.1"}, r"lr = '0.1'"),
        ({"lr": None}, r"lr = None"),
        ({"lr_min": -1.0}, r"lr_min = -1.0"),
        ({"lr_min": 0.1}, r"lr_min = 0.1: must not be above lr_max = 0.002"),
        ({"lr_max": math.inf}, r"lr_max = inf"),
        ({"betas": (1.0, 0.9)}, r"betas\[0\] = 1.0"),
        ({"betas": (0.9, -0.1)}, r"betas\[1\] = -0.1"),
        ({"betas": 0.9}, r"betas = 0.9: must be two numbers in \[0, 1\)"),
        ({"betas": (0.9, 0.99, 0.999)}, r"betas = \(0.9, 0.99, 0.999\): must be two"),
        ({"quick_steps": -1}, r"quick_steps = -1: must be a whole number >= 0"),
        ({"quick_steps": 1.5}, r"quick_steps = 1.5"),
        ({"quick_steps": 10, "betas": (0.9, 0.9)}, r"keep quick_steps <= 9"),
        ({"hessian": "diag"}, r"hessian = 'diag': must be one of 'abs', 'rms', 'off'"),
        ({"glass": 1}, r"glass = 1: must be True or False"),
        ({"hessian": "off", "glass": False}, r"nothing would end a step"),
        ({"bounds": "adamw"}, r"bounds = 'adamw'"),
        ({"omega": 0.0}, r"omega = 0.0"),
        ({"phi": 0.0}, r"phi = 0.0"),
        ({"phi": math.inf}, r"phi = inf"),
        ({"weight_decay": 0.1}, r"weight_decay = 0.1: must be two numbers >= 0"),
        ({"weight_decay": (0.1, -1.0)}, r"weight_decay\[1\] = -1.0"),
        ({"maximize": "yes"}, r"maximize = 'yes'"),
        ({"eps": 0.0}, r"eps = 0.0"),
        ({"burn_in": 0}, r"burn_in = 0"),
        ({"sigma": 0.0}, r"sigma = 0.0"),
        ({"scale_bounds": None}, r"scale_bounds = None"),
        ({"model": "net"}, r"model = 'net': must be a torch.nn.Module"),
        ({"nonfinite": "ignore"}, r"nonfinite = 'ignore'"),
        ({"seed": -1}, r"seed = -1"),
    ],
)
@pytest.mark.bad_input
def test_options_out_of_range_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        Alice([nn.Parameter(torch.ones(2))], **changed)
    if not changed.keys() & {"model", "nonfinite", "seed"}:
        first = {"params": [nn.Parameter(torch.ones(2))]}
        with pytest.raises(ValueError, match=message):
            Alice([first, {"params": [nn.Parameter(torch.ones(2))]} | changed])


@pytest.mark.bad_input
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_types_with_too_few_digits_are_refused(dtype):
    with pytest.raises(ValueError, match=f"{dtype}: must be float32 or float64"):
        Alice([nn.Parameter(torch.ones(2, dtype=dtype))])


@pytest.mark.bad_input
def test_groups_that_do_not_fit_are_refused():
    optimizer = Alice([nn.Parameter(torch.ones(2))])
    with pytest.raises(ValueError, match="param_group = 3: must be a dict"):
        optimizer.add_param_group(3)
    with pytest.raises(ValueError, match="quick_steps = 1: must be 3 in every group"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))], "quick_steps": 1})
    assert len(optimizer.param_groups) == 1


@pytest.mark.bad_input
def test_closures_that_do_not_fit_are_refused():
    w = nn.Parameter(torch.ones(2))
    optimizer = Alice([w])
    with pytest.raises(ValueError, match="closure = None: must be a function that zeroes"):
        optimizer.step()
    for made, message in ((None, "must return the loss"), (torch.ones(2), r"has shape \(2,\)")):
        with pytest.raises(ValueError, match=message):
            optimizer.step(lambda made=made: made)

    def sparse():
        w.grad = torch.ones(2).to_sparse()
        return torch.tensor(1.0)

    with pytest.raises(ValueError, match="sparse gradients"):
        optimizer.step(sparse)
    assert w.tolist() == [1.0, 1.0]
