"""What hooks report, when they stay silent, and that they leave nothing behind."""

import copy
import gc
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sandbox.network.layers import factor_layers
from sandbox.optim import FOOF, KFAC
from sandbox.optim._capture import Capture


class Ledger:
    """Keeps what a capture reports."""

    def __init__(self, model, *, places=False, reroute=False):
        self.arrivals, self.passes, self.wants = [], [], True
        self.layers, _ = factor_layers(model)
        self.capture = Capture(
            model,
            self.layers,
            self.wanted,
            arrived=None if places else self.arrived,
            passed=self.passed if places else None,
            reroute=self.reroute if reroute else None,
        )

    def wanted(self, layer):
        return self.wants

    def arrived(self, layer, inputs, gradient):
        assert not torch.is_grad_enabled()
        assert not inputs.requires_grad
        self.arrivals.append((layer.name, inputs, gradient))

    def passed(self, places, outputs):
        cotangent = torch.ones_like(outputs)
        slopes = torch.autograd.grad(
            outputs, [out for *_, out in places], cotangent, retain_graph=True
        )
        self.passes.append([
            (layer.name, inputs, slope)
            for (layer, inputs, _), slope in zip(places, slopes, strict=True)
        ])

    def reroute(self, layer, inputs, gradient):
        rows = layer.rows(inputs).flatten(0, 1)
        return layer.split(10 * layer.slopes(gradient).flatten(0, 1).T @ rows)


def small(inplace=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 4), nn.ReLU(inplace=inplace), nn.Linear(4, 2), nn.ReLU(inplace=inplace)
    )


INPUTS = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.7, -1.0]])


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_inputs_and_gradients_arrive_in_the_backward_pass():
    model = small()
    ledger = Ledger(model)
    outputs = model(INPUTS)
    assert not ledger.arrivals
    outputs.sum().backward()
    assert [name for name, *_ in ledger.arrivals] == ["2", "0"]
    plain = small(inplace=False)
    hidden = plain[0](INPUTS)
    middle = plain[2](plain[1](hidden))
    wanted = torch.autograd.grad(plain[3](middle).sum(), [middle, hidden])
    for (_, inputs, gradient), slope, fed in zip(
        ledger.arrivals, wanted, [plain[1](hidden), INPUTS], strict=True
    ):
        torch.testing.assert_close(gradient, slope)
        torch.testing.assert_close(inputs, fed)


def test_a_graph_walked_twice_is_one_batch():
    model = small()
    ledger = Ledger(model)
    outputs = model(INPUTS)
    outputs.sum().backward(retain_graph=True)
    outputs.sum().backward()
    assert len(ledger.arrivals) == 2


def test_passes_that_do_not_train_are_silent():
    model = small()
    ledger = Ledger(model)
    model(INPUTS)
    with torch.no_grad():
        model(INPUTS)
    model.eval()
    model(INPUTS).sum().backward()
    model.train()
    ledger.wants = False
    model(INPUTS).sum().backward()
    assert not ledger.arrivals


def test_places_are_reported_while_the_graph_is_there():
    model = small()
    ledger = Ledger(model, places=True)
    loss = model(INPUTS).sum()
    loss.backward()
    ((first, second),) = ledger.passes
    grads = [p.grad.clone() for p in model.parameters()]
    torch.testing.assert_close(first[2].T @ first[1], grads[0])
    torch.testing.assert_close(second[2].T @ second[1], grads[2])
    wanted = small(inplace=False)
    wanted(INPUTS).sum().backward()
    for one, other in zip(grads, wanted.parameters(), strict=True):
        assert torch.equal(one, other.grad)


@pytest.mark.parametrize("places", [True, False])
def test_observing_counts_in_any_mode(places):
    model = small().eval()
    ledger = Ledger(model, places=places)
    with torch.set_grad_enabled(places), ledger.capture.observing():
        model(INPUTS)
    seen = ledger.passes[0] if places else ledger.arrivals
    assert [name for name, *_ in seen] == ["0", "2"]
    assert torch.equal(seen[0][1], INPUTS)


@pytest.mark.parametrize("inplace", [True, False])
def test_parameters_take_rerouted_gradients_and_inputs_their_own(inplace):
    model, plain = small(inplace), small(inplace)
    ledger = Ledger(model, reroute=True)
    found, wanted = INPUTS.clone().requires_grad_(), INPUTS.clone().requires_grad_()
    model(found * 1).square().sum().backward()
    plain(wanted * 1).square().sum().backward()
    assert torch.equal(found.grad, wanted.grad)
    assert len(ledger.arrivals) == 2
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, 10 * other.grad)


@pytest.mark.parametrize("bias", [True, False])
def test_a_bias_outside_the_matrix_keeps_its_gradient(bias):
    model = nn.Sequential(nn.Conv2d(1, 2, 2, bias=bias), nn.Flatten(), nn.Linear(2, 2, bias=bias))
    plain = copy.deepcopy(model)
    layers, _ = factor_layers(model, bias="fallback")

    def reroute(layer, inputs, gradient):
        return [torch.zeros_like(layer.module.weight)]

    capture = Capture(model, layers, lambda _: False, reroute=reroute)
    inputs = torch.randn(3, 1, 2, 2)
    model(inputs).square().sum().backward()
    plain(inputs).square().sum().backward()
    for one, other in zip(model.modules(), plain.modules(), strict=True):
        if isinstance(one, nn.Linear | nn.Conv2d):
            assert not one.weight.grad.any()
            if bias:
                torch.testing.assert_close(one.bias.grad, other.bias.grad)
    capture.remove()


def test_a_layer_used_twice_is_refused_by_name():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, inputs):
            return self.layer(self.layer(inputs))

    model = Twice()
    ledger = Ledger(model)
    with pytest.raises(ValueError, match=r"layer 'layer' \(Linear\) is used twice in one forward"):
        model(torch.ones(1, 2))
    # the failed pass is over: the next one counts from the start
    with pytest.raises(ValueError, match="used twice"):
        model(torch.ones(1, 2))
    assert not ledger.arrivals
    model.eval()
    model(torch.ones(1, 2))


def test_two_passes_of_the_model_are_no_reuse():
    model = small()
    ledger = Ledger(model)
    (model(INPUTS).sum() + model(2 * INPUTS).sum()).backward()
    assert len(ledger.arrivals) == 4


def test_an_interrupted_pass_leaves_no_places():
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.breaks = nn.Linear(2, 2), True

        def forward(self, inputs):
            made = self.layer(inputs)
            if self.breaks:
                raise KeyError("broken")
            return made

    model = Breaks()
    ledger = Ledger(model, places=True)
    with pytest.raises(KeyError):
        model(torch.ones(1, 2))
    model.breaks = False
    model(torch.ones(1, 2))
    assert [len(places) for places in ledger.passes] == [1]


def test_inputs_by_keyword_and_layers_called_alone():
    model = nn.Linear(3, 2)
    ledger = Ledger(model)
    model(input=INPUTS).sum().backward()
    parts = small()
    other = Ledger(parts)
    for _ in range(2):
        parts[0](INPUTS).sum().backward()
    assert len(ledger.arrivals) == 1
    assert len(other.arrivals) == 2


def test_recomputed_activations_are_collected():
    model = small(inplace=False)
    ledger = Ledger(model)
    checkpoint(model, INPUTS.clone().requires_grad_(), use_reentrant=False).sum().backward()
    assert {name for name, *_ in ledger.arrivals} == {"0", "2"}


def test_removed_hooks_are_gone_and_removing_is_idempotent():
    model = small()
    ledger = Ledger(model)
    assert hooks(model) == 4
    ledger.capture.remove()
    ledger.capture.remove()
    assert hooks(model) == 0
    model(INPUTS).sum().backward()
    assert not ledger.arrivals


def test_hooks_go_with_their_owner_without_a_collector():
    model = small()
    ledger = Ledger(model)
    gc.disable()
    try:
        outputs = model(INPUTS)
        del ledger
        assert hooks(model) == 0
        outputs.sum().backward()
    finally:
        gc.enable()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_the_model_carry_inert_hooks(copied):
    model = small()
    ledger = Ledger(model)
    twin = copied(model)
    twin(INPUTS).sum().backward()
    assert not ledger.arrivals
    other = Ledger(twin)
    assert hooks(twin) == 4
    twin(INPUTS).sum().backward()
    assert (len(other.arrivals), len(ledger.arrivals)) == (2, 0)


def test_hooks_that_a_shallow_copy_shares_are_inert_in_it():
    model = small()
    ledger = Ledger(model)
    twin = copy.copy(model[0])  # as replicas for several devices are made
    twin(INPUTS).sum().backward()
    assert not ledger.arrivals


def test_a_graph_outliving_a_rerouting_owner_says_so():
    model = small()
    ledger = Ledger(model, reroute=True)
    loss = model(INPUTS).sum()
    del ledger
    gc.collect()
    with pytest.raises(RuntimeError, match="its optimiser is gone before the backward pass"):
        loss.backward()


@pytest.mark.parametrize("kind", [FOOF, KFAC])
def test_transforms_of_torch_func_are_no_training_steps(kind):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    inputs = torch.randn(5, 4, dtype=torch.float64)
    values = {name: p.detach() for name, p in model.named_parameters()}

    def slopes():
        def outputs(chosen):
            return torch.func.functional_call(model, chosen, (inputs,))

        return torch.func.jacrev(outputs)(values)

    before = slopes()
    optimizer = kind(model, 0.1, 0.1)
    after = slopes()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert optimizer.memory_usage()["total"] == 0
