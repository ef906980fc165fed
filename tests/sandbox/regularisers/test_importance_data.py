"""Importance measures: forms of data, heads, types, what is left alone, and what is refused."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sandbox.regularisers.importance import (
    absolute_fisher,
    batched_memory_aware,
    fisher_diagonal,
    memory_aware,
    root_fisher,
)
from sandbox.training.samples import Samples
from synapses.layers import StochasticLinear
from synapses.networks import Averaged, stochastic_mlp
from tests.sandbox.regularisers.importance_loops import by_loop, network, normal
from tests.sandbox.regularisers.tiny_net import DEVICES, F64, INPUTS, LABELS, flat, tiny_net
from theory.streams import Streams

TIGHT = {"rtol": 0, "atol": 1e-12}
ARRAYS = Samples(INPUTS.numpy(), LABELS.numpy())

FORMS = {
    "pair": lambda: (INPUTS, LABELS),
    "list": lambda: [INPUTS, LABELS],
    "arrays": lambda: (INPUTS.numpy(), LABELS.numpy()),
    "samples": lambda: ARRAYS,
    "batch": lambda: SimpleNamespace(inputs=INPUTS, targets=LABELS),
    "loader": lambda: DataLoader(TensorDataset(INPUTS, LABELS), batch_size=3),
    "single inputs": lambda: DataLoader(TensorDataset(INPUTS, LABELS), batch_size=1),
    "iterator": lambda: iter([(INPUTS[:1], LABELS[:1]), (INPUTS[1:], LABELS[1:])]),
    "list of batches": lambda: [ARRAYS[:2], ARRAYS[2:]],
}

# ------------------------------------------------------------------ forms of data


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_gives_the_same(form):
    wanted = fisher_diagonal(tiny_net(), (INPUTS, LABELS), "empirical")
    found = fisher_diagonal(tiny_net(), FORMS[form](), "empirical")
    torch.testing.assert_close(flat(found), flat(wanted), **TIGHT)
    batched = fisher_diagonal(tiny_net(), FORMS[form](), "batched", batch_size=2)
    wanted = fisher_diagonal(tiny_net(), (INPUTS, LABELS), "batched", batch_size=2)
    torch.testing.assert_close(flat(batched), flat(wanted), **TIGHT)


@pytest.mark.parametrize("form", [*FORMS, "inputs", "inputs only", "no targets"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_first_inputs_are_taken(form, n):
    extra = {
        "inputs": lambda: INPUTS,
        "inputs only": lambda: [INPUTS[:1], INPUTS[1:3], INPUTS[3:]],
        "no targets": lambda: (INPUTS, None),
    }
    data = (FORMS | extra)[form]()
    wanted = absolute_fisher(tiny_net(), INPUTS[:n])
    torch.testing.assert_close(flat(absolute_fisher(tiny_net(), data, n)), flat(wanted), **TIGHT)


def test_no_more_is_read_than_asked_for():
    def endless():
        while True:
            yield INPUTS, LABELS

    found = memory_aware(tiny_net(), endless(), n=10)
    wanted = memory_aware(tiny_net(), INPUTS.repeat(3, 1)[:10])
    torch.testing.assert_close(flat(found), flat(wanted), **TIGHT)


def test_inputs_take_the_model_s_type():
    model = tiny_net().float()
    wanted = fisher_diagonal(tiny_net(), INPUTS)
    found = fisher_diagonal(model, INPUTS)
    for name, part in found.items():
        assert part.dtype == torch.float32
        # float32's 6e-8, times a few dozen operations
        torch.testing.assert_close(part.double(), wanted[name], rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_types_are_close(dtype):
    found = absolute_fisher(tiny_net().to(dtype), INPUTS)
    for name, part in absolute_fisher(tiny_net(), INPUTS).items():
        assert found[name].dtype == dtype
        # eight bits at least, in the parameters too
        assert float((found[name].double() - part).abs().max()) < 0.05 * float(part.max())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["dense", "conv", "words", "stochastic", "unmapped"])
def test_data_go_where_the_model_is(kind, device):
    model, inputs, labels = network(kind)
    model.to(device)
    generator = torch.Generator(device).manual_seed(0)
    for measure in (
        lambda data: fisher_diagonal(model, data),
        lambda data: absolute_fisher(model, data),
        lambda data: memory_aware(model, data),
        lambda data: fisher_diagonal(model, data, "batched"),
    ):
        for name, part in measure((inputs, labels)).items():
            assert part.device.type == torch.device(device).type, name
    fisher_diagonal(model, inputs, "sampled", generator=generator)
    fisher_diagonal(model, inputs, "sampled")
    for name, part in by_loop(model.cpu().eval(), inputs, "absolute").items():
        found = absolute_fisher(model.to(device), inputs)[name].cpu()
        torch.testing.assert_close(found, part, **TIGHT)


# ------------------------------------------------------------------ heads


@pytest.mark.parametrize("columns", [slice(1, 3), [0, 2], torch.tensor([2, 0])])
@pytest.mark.parametrize("kind", ["dense", "words"])
def test_outputs_that_count_can_be_chosen(kind, columns):
    model, inputs, _ = network(kind)
    labels = torch.tensor([0, 1, 1, 0, 1, 0])
    for name, call in {
        "exact": lambda: fisher_diagonal(model, inputs, columns=columns),
        "empirical": lambda: fisher_diagonal(model, (inputs, labels), "empirical", columns=columns),
        "root": lambda: root_fisher(model, inputs, columns=columns),
        "absolute": lambda: absolute_fisher(model, inputs, columns=columns),
        "mas": lambda: memory_aware(model, inputs, columns=columns),
        "mas-logit": lambda: memory_aware(model, inputs, "logit", columns=columns),
    }.items():
        found, wanted = call(), by_loop(model, inputs, name, labels, columns)
        for key, part in wanted.items():
            torch.testing.assert_close(found[key], part, **TIGHT)
    one = batched_memory_aware(model, inputs, columns=columns, batch_size=1)
    for key, part in memory_aware(model, inputs, columns=columns).items():
        torch.testing.assert_close(one[key], part, **TIGHT)


def test_rows_of_other_heads_have_no_importance():
    model, inputs, _ = network("dense")
    found = fisher_diagonal(model, inputs, columns=slice(1, 3))
    assert not found["4.weight"][0].any()
    assert found["4.weight"][1:].all()


def test_raw_outputs_may_be_one_value():
    model = nn.Linear(3, 1, bias=False, dtype=F64)
    found = memory_aware(model, (INPUTS, normal(4, 1)), "logit")["weight"]
    wanted = (2 * model(INPUTS).detach() * INPUTS).abs().mean(dim=0, keepdim=True)
    torch.testing.assert_close(found, wanted, **TIGHT)


# ------------------------------------------------------------------ what is left alone


class Restless(nn.Module):
    """Counts its passes, and draws random numbers for nothing."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 3, dtype=F64), nn.BatchNorm1d(3, dtype=F64)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, inputs):
        self.passes += 1
        torch.rand(3)
        return self.drop(self.norm(self.layer(inputs)))


@pytest.mark.parametrize(
    "call",
    [
        lambda model: fisher_diagonal(model, (INPUTS, LABELS)),
        lambda model: fisher_diagonal(model, (INPUTS, LABELS), "batched", batch_size=2),
        lambda model: fisher_diagonal(model, INPUTS, "sampled", generator=torch.Generator()),
        lambda model: absolute_fisher(model, INPUTS),
        lambda model: batched_memory_aware(model, INPUTS, batch_size=3),
    ],
)
@pytest.mark.parametrize("faulty", [False, True])
def test_the_model_is_left_as_it_was(call, faulty, monkeypatch):
    model = Restless()
    model.norm.eval()
    model.layer.weight.grad = torch.full_like(model.layer.weight, 7.0)
    if faulty:
        with torch.no_grad():
            model.layer.weight[0, 0] = math.nan
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    if faulty:
        with pytest.raises(ValueError, match="is not finite"):
            call(model)
    else:
        call(model)
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)
    assert [part.training for part in model.modules()] == [True, True, False, True]
    assert bool((model.layer.weight.grad == 7).all())
    assert model.layer.bias.grad is None
    assert not any(part._forward_hooks for part in model.modules())


@pytest.mark.parametrize("labels", ["exact", "batched"])
def test_data_are_read_with_the_model_as_it_is(labels):
    model, drawn = tiny_net().train(), []

    def batches():
        for _ in range(3):
            assert model.training
            drawn.append(torch.rand(()).item())
            yield INPUTS, LABELS

    torch.manual_seed(0)
    fisher_diagonal(model, batches(), labels, batch_size=2)
    after = torch.rand(()).item()
    torch.manual_seed(0)
    assert [*drawn, after] == [torch.rand(()).item() for _ in range(4)]


def test_gradients_need_not_be_enabled():
    model, inputs, labels = network("words")
    wanted = fisher_diagonal(model, inputs), fisher_diagonal(model, (inputs, labels), "batched")
    with torch.no_grad():
        found = fisher_diagonal(model, inputs), fisher_diagonal(model, (inputs, labels), "batched")
    for left, right in zip(found, wanted, strict=True):
        assert all(torch.equal(left[name], part) for name, part in right.items())


def test_autocast_does_not_reach_the_measures():
    model, inputs, _ = network("dense")
    model.float()
    plain = absolute_fisher(model, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = absolute_fisher(model, inputs)
    for name, part in plain.items():
        # a few roundings of float32, where bfloat16 would leave two digits
        torch.testing.assert_close(found[name], part, rtol=1e-5, atol=1e-7)


def test_stochastic_synapses_stand_at_their_means():
    model = stochastic_mlp([3, 4, 3], streams=Streams(0)).to(F64)
    wanted = by_loop(model, INPUTS, "exact")
    drawn = [layer.last_mask for layer in model.modules() if isinstance(layer, StochasticLinear)]
    found = fisher_diagonal(model, INPUTS)
    assert all(
        layer.last_mask is mask
        for layer, mask in zip(
            [part for part in model.modules() if isinstance(part, StochasticLinear)],
            drawn,
            strict=True,
        )
    )
    averaged = fisher_diagonal(Averaged(model, 3), INPUTS)
    for name, part in wanted.items():
        torch.testing.assert_close(found[name], part, **TIGHT)
        torch.testing.assert_close(averaged[f"network.{name}"], part, **TIGHT)


def test_frozen_parameters_are_left_out():
    model = tiny_net()
    model[0].weight.requires_grad_(False)
    found = absolute_fisher(model, INPUTS)
    assert list(found) == ["2.weight"]
    torch.testing.assert_close(
        found["2.weight"], absolute_fisher(tiny_net(), INPUTS)["2.weight"], **TIGHT
    )
