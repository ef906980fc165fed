"""K-FAC's factors against naive sums, and what its extra passes leave alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, unfold

from sandbox.network import output_gradients
from sandbox.optim.foof import FOOF
from sandbox.optim.kfac import KFAC
from tests.sandbox.optim.kfac_problems import (
    DOUBLE,
    TRUE,
    X,
    exactly,
    fixed_net,
    random,
    seeded,
    stepped,
    worst,
)


def test_the_mean_of_sampled_factors_is_the_exact_one():
    repeats = 5000
    found = {}
    for fisher in ("sampled", "exact"):
        net = fixed_net()
        optimizer = KFAC(net, 1.0, 0.1, fisher=fisher, seed=3)
        optimizer.observe(exactly(X).repeat(repeats, 1))
        found[fisher] = optimizer.averages["2"]["output"].value()
    chances = net(exactly(X)).softmax(1).detach()
    errors = chances[:, None] - torch.eye(3, dtype=DOUBLE)  # (sample, label, output)
    products = errors[..., :, None] * errors[..., None, :]
    means = torch.einsum("nc,ncij->nij", chances, products)
    variances = torch.einsum("nc,ncij->nij", chances, products**2) - means**2
    z = (found["sampled"] - found["exact"]) / (variances.mean(0) / (len(X) * repeats)).sqrt()
    # 6 different entries at 1e-5 each: false alarms below 1e-4
    assert 0 < float(z.abs().max()) < 4.42


@pytest.mark.parametrize("fisher", ["sampled", "exact", "empirical"])
def test_passes_without_a_backward_one_leave_no_trace(fisher):
    held = []
    for extra in (False, True):
        net = fixed_net()
        # sums over samples, as means forgive a batch that counts twice
        optimizer = KFAC(net, 0.1, 0.1, fisher=fisher, likelihood="gaussian", scaling="paper")
        if extra:
            net(exactly(X[:2]))
        if fisher == "sampled":  # the stream of labels moves on with every pass
            optimizer._seed()
        loss = cross_entropy(net(exactly(X)), torch.tensor(TRUE))
        loss.backward(retain_graph=True)
        if extra:
            net.zero_grad()
            loss.backward()  # nor does a second one of the same pass count
        optimizer.step()
        held.append([optimizer.averages["0"][factor].value() for factor in ("input", "output")])
    for found, wanted in zip(*held, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("sharing", ["expand", "reduce"])
@pytest.mark.parametrize("scaling", ["mean", "paper"])
def test_factors_of_convolutions_are_naive_sums(sharing, scaling):
    def build():
        return seeded(nn.Conv2d(2, 3, 2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3))

    net, images, labels = build(), random(5, 2, 3, 3), torch.tensor([0, 2, 1, 1, 0])
    optimizer = KFAC(net, 1.0, 0.1, fisher="empirical", sharing=sharing, scaling=scaling)
    cross_entropy(net(images), labels).backward()
    optimizer.step()

    other = build()
    samples, positions = 5, 16
    a = unfold(images, 2, padding=1)  # (sample, in, position)
    a = torch.cat([a, torch.ones(samples, 1, positions, dtype=DOUBLE)], dim=1)
    inputs, outputs = torch.zeros(9, 9, dtype=DOUBLE), torch.zeros(3, 3, dtype=DOUBLE)
    for n in range(samples):
        out = other[0](images[n : n + 1])
        loss = cross_entropy(other[3](out.tanh().flatten(1)), labels[n : n + 1])
        (e,) = torch.autograd.grad(loss, out)
        e = e[0].flatten(1)  # (out, position)
        if sharing == "reduce":
            mean, total = a[n].mean(dim=1), e.sum(dim=1)
            inputs += torch.outer(mean, mean) / samples
            outputs += torch.outer(total, total) / samples
        else:
            share = positions if scaling == "mean" else 1
            for t in range(positions):
                inputs += torch.outer(a[n, :, t], a[n, :, t]) / samples
                outputs += torch.outer(e[:, t], e[:, t]) / samples / share
    held = optimizer.averages["0"]
    assert worst(held["input"].value(), inputs) < 1e-12
    assert worst(held["output"].value(), outputs) < 1e-12


def test_empirical_factors_do_not_depend_on_how_a_batch_is_accumulated():
    inputs, labels = exactly(X), torch.tensor(TRUE)
    held = []
    for parts in ([slice(0, 4)], [slice(0, 1), slice(1, 4)]):
        net = fixed_net()
        optimizer = KFAC(net, 1.0, 0.1, fisher="empirical")
        for part in parts:
            loss = cross_entropy(net(inputs[part]), labels[part], reduction="sum") / 4
            loss.backward()
        optimizer.step()
        held.append(optimizer.averages["0"]["output"].value())
    assert worst(*held) < 1e-13


def test_a_subset_of_samples_stands_for_the_batch():
    inputs, labels = exactly(X), torch.tensor(TRUE)
    held = []
    for count in (None, 2):
        net = fixed_net()
        optimizer = KFAC(net, 1.0, 0.1, fisher="empirical", factor_samples=count)
        part = slice(0, 2) if count is None else slice(0, 4)
        cross_entropy(net(inputs[part]), labels[part]).backward()
        optimizer.step()
        held.append([optimizer.averages["2"][factor].value() for factor in ("input", "output")])
    for found, wanted in zip(*held, strict=True):
        assert worst(found, wanted) < 1e-13


@given(st.integers(0, 1000), st.sampled_from(["sampled", "exact"]), st.booleans())
def test_extra_passes_leave_gradients_and_outputs_alone(seed, fisher, inplace):
    def build():
        torch.manual_seed(seed)
        layers = nn.Linear(4, 5), nn.ReLU(inplace=inplace), nn.Linear(5, 3)
        return nn.Sequential(*layers).double()

    inputs, labels = random(6, 4, seed=seed), torch.arange(6) % 3
    plain, watched = build(), build()
    optimizer = KFAC(watched, 0.1, 0.1, fisher=fisher)
    outputs = [net(inputs) for net in (plain, watched)]
    for out in outputs:
        cross_entropy(out, labels).backward()
    assert torch.equal(*outputs)
    for mine, theirs in zip(watched.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)
    before = [p.grad.clone() for p in watched.parameters()]
    optimizer.step()
    for kept, p in zip(before, watched.parameters(), strict=True):
        assert torch.equal(kept, p.grad)


def test_chosen_outputs_alone_make_the_factors():
    found = []
    for narrow in (False, True):
        net = seeded(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6))
        if narrow:
            last = nn.Linear(5, 3, dtype=DOUBLE)
            last.weight.data, last.bias.data = net[2].weight.data[2:5], net[2].bias.data[2:5]
            net[2] = last
        optimizer = KFAC(net, 1.0, 0.1, fisher="exact")
        optimizer.columns = None if narrow else slice(2, 5)
        optimizer.observe(random(6, 4))
        found.append(optimizer.averages["0"]["output"].value())
    assert worst(*found) < 1e-13


@pytest.mark.parametrize("first", [True, False])
def test_two_optimisers_of_one_model_do_not_see_each_other_s_passes(first):
    """The sampled labels' backward pass must not count as one of true labels, nor of FOOF's."""
    found = []
    for others in (0, 1):
        net, kept = fixed_net(), []
        if others and first:
            kept.append(KFAC(net, 0.0, 0.1))
        optimizer = KFAC(net, 0.0, 0.1, fisher="empirical")
        inputs_alone = FOOF(net, 0.0, 0.1, side="activation")
        if others and not first:
            kept.append(KFAC(net, 0.0, 0.1))
        outputs = net(exactly(X))
        assert not optimizer.averages
        assert not inputs_alone.averages
        cross_entropy(outputs, torch.tensor(TRUE)).backward()
        for each in (optimizer, inputs_alone, *kept):
            each.step()
        found.append([optimizer.averages["0"][name].value() for name in ("input", "output")])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_labels_in_several_passes_count_their_samples_once(monkeypatch):
    found = []
    for entries in (2**25, 1):
        monkeypatch.setattr(output_gradients, "ENTRIES_AT_ONCE", entries)
        _, optimizer = stepped(fixed_net(), fisher="exact")
        found.append(optimizer.averages["0"]["output"].value())
    assert worst(*found) < 1e-14


def test_a_layer_that_is_fed_no_sample_adds_nothing():
    class Routed(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, inputs, some=0):
            return torch.cat([self.idle(inputs[:some]), self.used(inputs[some:])])

    net = Routed().double()
    optimizer = KFAC(net, 0.1, 0.1, T=1)
    for some in (2, 0):
        optimizer.zero_grad()
        cross_entropy(net(exactly(X), some), torch.tensor([0, 1, 1, 0])).backward()
        kept = net.idle.weight.detach().clone()
        optimizer.step()
    # one value of weight 1 - decay, and no gradient to move by
    assert {average.weight for average in optimizer.averages["idle"].values()} == {1 - 0.95}
    assert torch.equal(net.idle.weight, kept)
