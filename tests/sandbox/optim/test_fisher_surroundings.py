"""What a Fisher matrix leaves alone, and the types it can be computed in."""

import copy

import pytest
import torch
from torch import nn

from sandbox.optim.fisher import SampledFisher
from tests.sandbox.optim.dense_fisher import F64, by_name, multilayer, normal


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5, affine=False), nn.Dropout(0.5), nn.Linear(5, 3)
    ).to(F64)
    model[2].eval()
    kept = torch.full_like(model[0].weight, 7.0)
    model[0].weight.grad = kept
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(0)
    random = torch.get_rng_state()
    # a model that draws numbers even in evaluation mode
    handle = model.register_forward_pre_hook(lambda *_: torch.manual_seed(5) and None)
    SampledFisher.of(model, normal(6, 4), generator=torch.Generator())
    handle.remove()
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [part.training for part in model] == [True, True, False, True]
    assert model[0].weight.grad is kept
    assert (kept == 7).all()
    assert model[0].bias.grad is None
    assert not any(part._forward_hooks for part in model.modules())


def test_labels_follow_the_generator():
    model, inputs, vector = multilayer(), normal(30, 4), by_name(multilayer())

    def found(seed):
        generator = torch.Generator().manual_seed(seed)
        return SampledFisher.of(model, inputs, generator=generator).quadratic(vector).item()

    assert found(1) == found(1)
    assert found(1) != found(2)
    # without one they follow torch's own, and move it on
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        drawn = [SampledFisher.of(model, inputs).quadratic(vector).item() for _ in range(2)]
        torch.manual_seed(3)
        assert SampledFisher.of(model, inputs).quadratic(vector).item() == drawn[0]
    assert drawn[0] != drawn[1]


def test_outputs_can_be_chosen():
    model, inputs = multilayer(), normal(5, 4)
    part = copy.deepcopy(model)
    part[4] = nn.Linear(5, 2).to(F64)
    with torch.no_grad():
        part[4].weight.copy_(model[4].weight[1:])
        part[4].bias.copy_(model[4].bias[1:])
    chosen = SampledFisher.of(model, inputs, labels="full", columns=slice(1, 3))
    small = SampledFisher.of(part, inputs, labels="full")
    assert chosen.trace() == pytest.approx(small.trace(), rel=1e-13)
    assert not chosen.diagonal()["4.weight"][0].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_types_are_close(dtype):
    # float32's 1e-7, times a few hundred operations; bfloat16 has 8 bits
    model, inputs = multilayer().to(dtype), normal(6, 4).to(dtype)
    fisher = SampledFisher.of(model, inputs, labels="full")
    wide = SampledFisher.of(copy.deepcopy(model).double(), inputs.double(), labels="full")
    vector = by_name(model)
    found = fisher.solve(vector, 0.1)
    for name, part in wide.solve(vector, 0.1).items():
        bound = 1e-5 if dtype == torch.float32 else 0.2
        assert (found[name] - part).abs().max() < bound * part.abs().max()


def test_autocast_does_not_reach_the_matrix():
    model, inputs = multilayer().float(), normal(6, 4, dtype=torch.float32)
    plain = SampledFisher.of(model, inputs, labels="full").trace()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert SampledFisher.of(model, inputs, labels="full").trace() == plain


def test_layers_that_the_outputs_do_not_reach_have_no_part():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(4, 3).to(F64), nn.Linear(2, 2).to(F64)

        def forward(self, inputs):
            return self.used(inputs)

    model, inputs = Branch(), normal(5, 4)
    for labels in ("full", "sampled"):
        fisher = SampledFisher.of(model, inputs, labels=labels)
        vector = by_name(model)
        for blocks in ("full", "layer"):
            found = fisher.solve(vector, 0.5, blocks=blocks)
            torch.testing.assert_close(found["unused.weight"], 2 * vector["unused.weight"])
        assert not fisher.diagonal()["unused.bias"].any()
