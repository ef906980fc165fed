"""The adapter from networks to the tangent models of the theory."""

import numpy as np
import pytest
import torch
from torch import nn

from sandbox.landscape import kernel_matrix, tangent_kernel, tangent_model
from tests.sandbox.tangent_problems import built, samples
from theory.plstar import certify_pl
from theory.tangent_models import TangentModel, TwoLayer


def as_two_layer(width, train):
    """The theory's two-layer network, as a torch module with the same parameters."""
    inputs = samples(3, 4)
    theirs = TwoLayer(inputs.numpy(), width, "tanh", train)
    module = nn.Sequential(
        nn.Linear(4, width, bias=False), nn.Tanh(), nn.Linear(width, 1, bias=False), Scaled(width)
    ).double()
    if train == "inner":
        module[2].weight.requires_grad_(False)
        module[2].weight[0] = torch.from_numpy(theirs.outer)
    return theirs, module, inputs


class Scaled(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, inputs):
        return inputs / self.width**0.5


@pytest.mark.parametrize("train", ["inner", "both"])
def test_it_is_the_network_of_the_theory(train):
    theirs, module, inputs = as_two_layer(7, train)
    ours = tangent_model(module, inputs)
    assert isinstance(ours, TangentModel)
    w = np.random.default_rng(0).normal(size=ours.parameter_count)
    np.testing.assert_allclose(ours(w), theirs(w), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(ours.jacobian(w), theirs.jacobian(w), rtol=1e-12, atol=1e-14)
    assert np.abs(ours.parameters - w).max() > 0.1  # the module itself was not changed
    jacobian = theirs.jacobian(ours.parameters)
    found = kernel_matrix(tangent_kernel(module, inputs)).numpy()
    np.testing.assert_allclose(found, jacobian @ jacobian.T, rtol=1e-12, atol=1e-14)


def test_a_network_is_never_certified():
    theirs, module, inputs = as_two_layer(400, "inner")
    w = np.random.default_rng(1).normal(size=theirs.parameter_count)
    near = theirs(w) + 1e-6
    assert certify_pl(theirs, w, near).status == "certified"
    assert certify_pl(tangent_model(module, inputs), w, near).status == "uncertified"


def test_equal_inputs_refute():
    module, inputs = built([4, 9, 2]), samples(3, 4)
    inputs[2] = inputs[0]
    model = tangent_model(module, inputs)
    assert model.twins() == [(0, 4), (1, 5)]
    found = certify_pl(model, model.parameters, np.arange(6.0))
    assert found.status == "refuted"
    assert "agree for all parameters" in found.reason


@pytest.mark.bad_input
def test_parameters_must_fit():
    model = tangent_model(built([4, 3, 2]), samples(3, 4))
    with pytest.raises(ValueError, match=r"parameters has shape \(3,\): must be \(23,\)"):
        model(np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        model.jacobian(np.full(23, np.nan))
