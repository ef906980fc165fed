"""The presynaptic rule as an optimiser, on the layers and in the training loop."""

import copy
from itertools import starmap

import numpy as np
import pytest
import torch
from torch import nn

from sandbox.training.checkpoint import Checkpoints, read_state
from sandbox.training.data import load
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from sandbox.training.tasks import permuted_tasks, split_tasks
from synapses import PresynapticRule
from synapses.ablations import AblatedLinear
from synapses.consolidation import PresynapticOptimizer
from synapses.layers import StochasticConv2d, StochasticLinear
from synapses.networks import Averaged, MaskGenerators
from theory.streams import Streams

RULE = PresynapticRule(0.0520, 0.0516, 0.001, p_freeze=0.9353, variant="program")
F64 = torch.float64


def small(variable="expected"):
    torch.manual_seed(3)
    return nn.Sequential(
        StochasticLinear(6, 5, variable=variable, dtype=F64),
        nn.Tanh(),
        StochasticLinear(5, 3, variable=variable, dtype=F64),
    )


def gradients(net, seed=0):
    """Compute gradients under masks drawn with one seed."""
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(1), dtype=F64)
    net.zero_grad()
    torch.manual_seed(seed)
    net(x).square().mean().backward()


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("variant", ["printed", "program"])
def test_it_is_the_reference_on_every_layer(variant, decay):
    rule = PresynapticRule(0.06, 0.05, 0.001, p_freeze=0.9, variant=variant)
    net = small()
    optimizer = PresynapticOptimizer(net, rule, lr=0.3, weight_decay=decay)
    for seed in range(20):
        gradients(net, seed)
        wanted = [
            rule.step(*(t.detach().numpy() for t in parts), 0.3, decay)
            for parts in (
                (layer.weight, layer.release_probability, layer.weight.grad)
                for layer in (net[0], net[2])
            )
        ]
        biases = net[0].bias.detach().clone()
        optimizer.step()
        for layer, (strength, p) in zip((net[0], net[2]), wanted, strict=True):
            np.testing.assert_allclose(layer.weight.detach(), strength, atol=1e-15)
            np.testing.assert_array_equal(layer.release_probability, p)
        assert torch.equal(net[0].bias, biases)  # as in the published program


def test_amplitudes_move_so_that_strengths_do_the_same():
    expected, quantal = small(), small("quantal")
    one = PresynapticOptimizer(expected, RULE, lr=0.1, weight_decay=0.01)
    other = PresynapticOptimizer(quantal, RULE, lr=0.1, weight_decay=0.01)
    for seed in range(30):
        gradients(expected, seed)
        gradients(quantal, seed)
        one.step()
        other.step()
        for a, b in ((expected[0], quantal[0]), (expected[2], quantal[2])):
            torch.testing.assert_close(a.weight, b.expected_strength(), atol=1e-13, rtol=0)
            torch.testing.assert_close(a.release_probability, b.release_probability)
    assert (quantal[0].release_probability > 0.25).any()


def test_an_inner_optimiser_sets_the_direction_and_the_gradient_sets_p():
    net, twin = small(), small()
    inner = torch.optim.Adam(net.parameters(), lr=1e-3)
    optimizer = PresynapticOptimizer(net, RULE, lr=0.02, inner=inner, others="trained")
    adam = torch.optim.Adam(twin.parameters(), lr=1e-3)
    gradients(net)
    gradients(twin)
    start = [p.detach().clone() for p in net.parameters()]
    chance = net[0].release_probability.clone()
    adam.step()
    optimizer.step()
    way = [(s - p.detach()) / 1e-3 for s, p in zip(start, twin.parameters(), strict=True)]
    wanted = start[0] - 0.02 * way[0] * (1 - chance)
    torch.testing.assert_close(net[0].weight.detach(), wanted, atol=1e-14, rtol=1e-12)
    torch.testing.assert_close(net[0].bias.detach(), start[1] - 0.02 * way[1])
    up = net[0].weight.grad.abs() >= RULE.g_lim
    moved = torch.where(up, 0.0520 * (1 - chance), -0.0516 * (1 - chance))
    torch.testing.assert_close(net[0].release_probability, (chance + moved).clamp(0.25, 1.0))


def test_convolutions_learn_too():
    torch.manual_seed(0)
    net = nn.Sequential(StochasticConv2d(1, 2, 3), nn.Flatten(), StochasticLinear(8, 2))
    optimizer = PresynapticOptimizer(net, RULE, lr=0.1)
    before = net[0].weight.detach().clone()
    net(torch.randn(4, 1, 4, 4)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(net[0].weight, before)
    assert (net[0].release_probability > 0.25).any()


def test_a_cut_run_on_tasks_resumes_to_the_same_bits(tmp_path):
    stream = split_tasks(load("digits"), per_task=5)

    def run(name, stop=None, *, resume=False):
        torch.manual_seed(0)
        net = nn.Sequential(StochasticLinear(64, 16), nn.ReLU(), StochasticLinear(16, 5))
        inner = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.5)
        optimizer = PresynapticOptimizer(net, RULE, lr=0.02, inner=inner)

        def cut(now):
            if now.step == stop:
                raise InterruptedError

        places = Checkpoints(tmp_path / name, seconds=1e9, steps=5)
        try:
            fit(
                net,
                stream,
                optimizer,
                Plan(epochs=2, batch_size=64),
                streams=Streams(0),
                hooks={"step": cut},
                checkpoints=places,
                resume=resume,
            )
        except InterruptedError:
            return None
        return read_state(places.file)

    whole = run("whole")
    assert run("cut", 17) is None
    resumed = run("cut", resume=True)
    for part in ("model", "random"):
        for key, value in whole[part].items():
            assert torch.equal(value, resumed[part][key]), key
    chances = whole["model"]["0.release_probability"]
    assert (chances > 0.25).any()
    inner = [state["optimizer"]["inner"]["state"] for state in (whole, resumed)]
    for number, saved in inner[0].items():
        assert torch.equal(saved["momentum_buffer"], inner[1][number]["momentum_buffer"])


@pytest.mark.parametrize("cut", [8, 30, 51])
@pytest.mark.parametrize("own", [False, True])
def test_continuous_tasks_with_averaged_tests_and_own_masks_resume(tmp_path, own, cut):
    stream = permuted_tasks(load("digits"), 2, streams=Streams(0), blend=0.125)

    def run(name, stop=None, *, resume=False):
        torch.manual_seed(0)
        masks = torch.Generator().manual_seed(9) if own else None
        net = nn.Sequential(
            AblatedLinear(64, 12, "ghost", generator=masks), nn.ReLU(),
            StochasticLinear(12, 10, generator=masks),
        )  # fmt: skip
        model = Averaged(net, samples=3)

        def interrupt(now):
            if now.step == stop:
                raise InterruptedError

        places = Checkpoints(tmp_path / name, seconds=1e9, steps=7)
        try:
            history = fit(
                model, stream, PresynapticOptimizer(model, RULE, lr=0.02),
                Plan(epochs=2, batch_size=100), streams=Streams(0), hooks={"step": interrupt},
                stateful={"masks": MaskGenerators(model)} if own else None,
                checkpoints=places, resume=resume,
            )  # fmt: skip
        except InterruptedError:
            return None
        return read_state(places.file), history.accuracy_matrix().values

    whole, accuracies = run("whole")
    assert run("cut", cut) is None
    resumed, again = run("cut", resume=True)
    for key, value in whole["model"].items():
        assert torch.equal(value, resumed["model"][key]), key
    np.testing.assert_array_equal(again, accuracies)
    assert torch.equal(whole["random"]["cpu"], resumed["random"]["cpu"])
    if own:
        states = [state["stateful"]["masks"]["states"] for state in (whole, resumed)]
        assert len(states[0]) == 1  # one generator of two layers
        assert torch.equal(states[0][0], states[1][0])


def test_masks_of_their_own_are_in_no_checkpoint_unless_asked_for(tmp_path):
    def run(name, stop=None, *, resume=False):
        torch.manual_seed(0)
        net = StochasticLinear(64, 10, generator=torch.Generator().manual_seed(9))

        def interrupt(now):
            if now.step == stop:
                raise InterruptedError

        options = {"checkpoints": Checkpoints(tmp_path / name, seconds=1e9, steps=3)}
        try:
            fit(
                net, load("digits"), PresynapticOptimizer(net, RULE, lr=0.02), Plan(epochs=1),
                streams=Streams(0), hooks={"step": interrupt}, resume=resume, **options,
            )  # fmt: skip
        except InterruptedError:
            return None
        return net.weight.detach()

    assert run("cut", 7) is None
    assert not torch.equal(run("whole"), run("cut", resume=True))


def test_a_run_does_not_go_on_under_another_rule(tmp_path):
    places = Checkpoints(tmp_path)

    def run(rule, *, resume):
        torch.manual_seed(0)
        net = StochasticLinear(64, 10)
        optimizer = PresynapticOptimizer(net, rule, lr=0.02)
        plan = Plan(epochs=1)
        fit(
            net,
            load("digits"),
            optimizer,
            plan,
            streams=Streams(0),
            checkpoints=places,
            resume=resume,
        )

    run(RULE, resume=False)
    run(RULE, resume=True)
    other = PresynapticRule(0.0520, 0.0516, 0.002, p_freeze=0.9353, variant="program")
    with pytest.raises(ValueError, match=r"optimizer\.rule is .*g_lim=0\.002"):
        run(other, resume=True)


@pytest.mark.bad_input
def test_models_and_rules_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="has no stochastic layer for the rule to act on"):
        PresynapticOptimizer(nn.Linear(2, 2), RULE, lr=0.1)
    with pytest.raises(ValueError, match="must be a PresynapticRule"):
        PresynapticOptimizer(small(), "rule", lr=0.1)
    with pytest.raises(ValueError, match=r"lr = 0.0"):
        PresynapticOptimizer(small(), RULE, lr=0.0)
    with pytest.raises(ValueError, match=r"others = 'free'"):
        PresynapticOptimizer(small(), RULE, lr=0.1, others="free")


def test_inner_optimisers_without_a_direction_are_refused():
    net = small()
    with pytest.raises(ValueError, match="inner = SGD: has none of the model's stochastic weights"):
        PresynapticOptimizer(net, RULE, lr=0.1, inner=torch.optim.SGD(small().parameters(), 0.1))
    inner = torch.optim.SGD(net.parameters(), 0.1)
    optimizer = PresynapticOptimizer(net, RULE, lr=0.1, inner=inner)
    inner.param_groups[0]["lr"] = 0.0  # 0/0 would be the direction
    with pytest.raises(ValueError, match=r"inner.param_groups\[0\]\['lr'\] = 0.0"):
        optimizer.step()
    with pytest.raises(ValueError, match=r"inner.param_groups\[0\]\['lr'\] = 0.0"):
        PresynapticOptimizer(net, RULE, lr=0.1, inner=inner)


def test_copies_go_on_alone_and_a_reset_reaches_the_inner_optimiser():
    net = small()
    inner = torch.optim.Adam(net.parameters(), lr=1e-2)
    optimizer = PresynapticOptimizer(net, RULE, lr=0.1, inner=inner)
    gradients(net)
    optimizer.step()
    twin_net, twin = copy.deepcopy((net, optimizer))
    before = [p.clone() for p in net.parameters()]
    gradients(twin_net)
    twin.step()
    assert all(starmap(torch.equal, zip(before, net.parameters(), strict=True)))
    gradients(net)
    optimizer.step()
    for mine, theirs in zip(net.parameters(), twin_net.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    optimizer.reset()
    assert not optimizer.state
    assert not inner.state
