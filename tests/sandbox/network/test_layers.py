"""Layers as matrices: rows times the matrix are the outputs, slopes' rows are its gradient."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sandbox.network.layers import FactorLayer, factor_layers
from sandbox.optim import split_params

DOUBLE = torch.float64


def joined(layer):
    weight, *bias = layer.parameters
    return layer.matrix(weight.detach(), *(b.detach() for b in bias))


def agrees_with_autograd(layer, inputs):
    """Rows through the matrix give the layer's outputs, and slopes' rows its gradients."""
    module = layer.module
    outputs = module(inputs)
    rows = layer.rows(inputs)
    made = rows @ joined(layer).T
    if not layer.augmented and module.bias is not None:
        made = made + module.bias
    torch.testing.assert_close(layer.slopes(outputs), made, rtol=1e-12, atol=1e-12)
    cotangent = torch.randn_like(outputs)
    wanted = torch.autograd.grad(outputs, layer.parameters, cotangent)
    slopes = layer.slopes(cotangent)
    assert slopes.shape == (*rows.shape[:2], layer.out)
    assert rows.shape[2] == layer.columns
    found = layer.split(slopes.flatten(0, 1).T @ rows.flatten(0, 1))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (5, 4, 3), (5, 2, 4, 3)])
@pytest.mark.parametrize("augmented", [True, False])
def test_a_linear_layer_is_its_matrix(shape, augmented):
    torch.manual_seed(0)
    layer = FactorLayer("", nn.Linear(3, 2, dtype=DOUBLE), augmented)
    agrees_with_autograd(layer, torch.randn(shape, dtype=DOUBLE))


@given(
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
)
def test_a_convolution_is_its_matrix(kernel, stride, dilation, padding, augmented, batched):
    torch.manual_seed(0)
    conv = nn.Conv2d(
        2, 3, (kernel, 2), (1, stride), padding=(padding, 1), dilation=dilation, dtype=DOUBLE
    )
    shape = (2, 2, 6, 5) if batched else (2, 6, 5)
    agrees_with_autograd(FactorLayer("", conv, augmented), torch.randn(shape, dtype=DOUBLE))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
@pytest.mark.parametrize("padding", ["same", "valid", (1, 2)])
def test_every_padding_gives_the_patches_of_the_convolution(mode, padding):
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, (2, 3), padding=padding, padding_mode=mode, dtype=DOUBLE)
    agrees_with_autograd(FactorLayer("", conv, True), torch.randn(2, 2, 5, 4, dtype=DOUBLE))


def test_rows_of_a_linear_layer_without_bias_column_are_a_view():
    inputs = torch.randn(4, 3)
    layer = FactorLayer("", nn.Linear(3, 2), False)
    assert layer.rows(inputs).data_ptr() == inputs.data_ptr()


def mixed():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 4, 3, groups=2),
        nn.Flatten(),
        nn.Linear(4, 3),
        nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)),
        nn.utils.parametrizations.orthogonal(nn.Linear(3, 2)),
    )


def test_layers_with_a_rule_and_the_rest():
    model = mixed()
    layers, others = factor_layers(model)
    assert [layer.name for layer in layers] == ["0", "4"]
    assert all(layer.augmented for layer in layers)
    names = [name for name, _ in others]
    assert names[:4] == ["1.weight", "1.bias", "2.weight", "2.bias"]
    assert len(names) == 4 + 3 + 2
    split = split_params(model)
    assert [group["covariance"] for group in split] == [True, False]
    every = {id(p) for group in split for p in group["params"]}
    assert every == {id(p) for p in model.parameters()}
    assert split[0]["names"] == ["0.weight", "0.bias", "4.weight", "4.bias"]


def test_biases_skipped_layers_and_frozen_parameters():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight.requires_grad_(False)
    model[2].bias.requires_grad_(False)
    layers, others = factor_layers(model, skip=["3"])
    assert [(layer.name, layer.augmented) for layer in layers] == [("0", True), ("2", False)]
    assert [name for name, _ in others] == ["1.bias", "3.weight", "3.bias"]
    layers, others = factor_layers(model, bias="fallback")
    assert not any(layer.augmented for layer in layers)
    assert [name for name, _ in others] == ["0.bias", "1.bias", "3.bias"]
    assert [len(group["params"]) for group in split_params(model, bias="fallback")] == [3, 3]


def test_a_skipped_module_is_skipped_with_all_that_is_in_it():
    inner = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    model = nn.ModuleDict({"a": inner, "ab": nn.Linear(2, 2)})
    layers, others = factor_layers(model, skip=["a"])
    assert [layer.name for layer in layers] == ["ab"]
    assert [name for name, _ in others] == ["a.0.weight", "a.0.bias", "a.1.0.weight", "a.1.0.bias"]
    assert factor_layers(model, skip=[""])[0] == []


def test_subclasses_may_compute_anything_and_get_no_rule():
    class Twice(nn.Linear):
        def forward(self, inputs):
            return 2 * super().forward(inputs)

    assert factor_layers(nn.Sequential(Twice(2, 2)))[0] == []


def test_messages_name_the_layer():
    model = nn.Sequential(nn.Linear(2, 2))
    assert factor_layers(model)[0][0].called == "layer '0' (Linear)"
    assert factor_layers(model[0])[0][0].called == "the model (Linear)"


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: factor_layers("net"), "must be a torch.nn.Module"),
        (lambda: factor_layers(nn.Linear(2, 2), bias="both"), "bias = 'both': must be one of"),
        (lambda: factor_layers(nn.Linear(2, 2), skip=["head"]), "no module 'head'"),
        (lambda: factor_layers(nn.Sequential(nn.LazyLinear(2))), "0.weight is not initialised yet"),
        (lambda: split_params(None), "must be a torch.nn.Module"),
    ],
)
def test_what_has_no_layers_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("whole", [True, False])
def test_tied_parameters_are_refused_with_the_reason(whole):
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
    if whole:
        model.append(model[0])
    else:
        model[2].weight = model[0].weight
    with pytest.raises(ValueError, match=r"layer '\d' \(Linear\) shares a parameter between 0"):
        factor_layers(model)


def test_a_tied_layer_may_be_left_to_the_fallback():
    model = nn.ModuleDict({"embedding": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
    model["head"].weight = model["embedding"].weight
    with pytest.raises(ValueError, match="untie"):
        factor_layers(model)
    layers, others = factor_layers(model, skip=["head"])
    assert (layers, [name for name, _ in others]) == ([], ["embedding.weight"])


def test_every_trained_parameter_is_in_one_place_only():
    for bias, skip in itertools.product(("augment", "fallback"), ((), ("4",))):
        groups = split_params(mixed(), bias, skip)
        keys = [id(p) for group in groups for p in group["params"]]
        assert len(keys) == len(set(keys))
