"""The layer-wise tangent kernel is the product of the Jacobian with itself, whatever the network.

The second route is torch.func: one Jacobian a sample, all of its entries, then J J'.
"""

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sandbox.landscape import (
    dense_tangent_kernel,
    kernel_matrix,
    output_jacobian,
    tangent_kernel,
    tangent_model,
)
from sandbox.training.models import autoencoder, mlp
from tests.sandbox.tangent_problems import agree, brute, built, samples
from theory.streams import Streams

ACTIVATIONS = [
    nn.ReLU, functools.partial(nn.ReLU, inplace=True), nn.Tanh, nn.Sigmoid, nn.GELU, nn.Softplus,
    nn.LeakyReLU, nn.Identity,
]  # fmt: skip


class Skipping(nn.Module):
    """A hidden layer is added to what goes around it, and the result flattened out of shape."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 4)

    def forward(self, inputs):
        hidden = torch.tanh(self.first(inputs))
        hidden = hidden + torch.relu(self.second(input=hidden))
        return self.last(hidden).view(-1, 2, 2)


@given(
    widths=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    biases=st.lists(st.booleans(), min_size=4, max_size=4),
    activation=st.sampled_from(ACTIVATIONS),
    count=st.integers(1, 6),
    blocks=st.none() | st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_it_is_the_product_of_the_jacobian_with_itself(
    widths, biases, activation, count, blocks, seed
):
    module = built(widths, activation, biases, seed)
    inputs = samples(count, widths[0], seed)
    found = tangent_kernel(module, inputs, blocks=blocks)
    agree(found, brute(module, inputs))
    agree(dense_tangent_kernel(module, inputs), found)
    matrix = kernel_matrix(found)
    agree(matrix, matrix.T)
    spectrum = torch.linalg.eigvalsh(matrix)
    assert float(spectrum[0]) >= -1e-12 * float(spectrum[-1])


def test_the_network_of_the_benchmark_in_small():
    module = mlp([784, 40, 40, 10], streams=Streams(3), dtype=torch.float64)
    inputs = samples(7, 784)
    agree(tangent_kernel(module, inputs, blocks=3), brute(module, inputs))


def test_a_single_layer_by_hand():
    # f_c = w_c x + b_c: the kernel is (x x' + 1) delta
    inputs = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64)
    found = tangent_kernel(nn.Linear(2, 2).double(), inputs)
    expected = torch.einsum("ij,cd->icjd", torch.tensor([[6.0, 2.0], [2.0, 11.0]]), torch.eye(2))
    assert (found == expected).all()


def test_rows_are_outputs_within_samples():
    module, inputs = Skipping().double(), samples(3, 3)
    jacobian = output_jacobian(module, inputs)
    by_hand = torch.autograd.functional.jacobian(
        lambda weight: torch.func.functional_call(module, {"last.weight": weight}, inputs),
        module.last.weight.detach(),
    ).reshape(12, 20)
    sizes = [p.numel() for p in module.parameters()]
    at = sum(sizes[:4])
    agree(jacobian[:, at : at + 20], by_hand)
    agree(kernel_matrix(tangent_kernel(module, inputs)), jacobian @ jacobian.T)


@pytest.mark.parametrize(
    "module",
    [
        Skipping(),
        nn.Sequential(nn.Flatten(), built([6, 4, 2])),
        nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.Tanh(), nn.Linear(5, 2, bias=False)),
        autoencoder([6, 4, 2], streams=Streams(0)),
        nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5, elementwise_affine=False), nn.Linear(5, 2)),
    ],
    ids=["skip", "flatten", "dropout", "autoencoder", "layer norm"],
)
def test_what_lies_between_layers_is_differentiated(module):
    module = module.double()
    inputs = samples(4, 3 if isinstance(module, Skipping) else 6)
    if isinstance(module[0] if isinstance(module, nn.Sequential) else module, nn.Flatten):
        inputs = inputs.view(4, 2, 3)
    found = tangent_kernel(module, inputs, blocks=2)
    module.eval()
    agree(found, brute(module, inputs))


@pytest.mark.parametrize("frozen", [["0.weight"], ["0.bias", "2.weight"], ["0.weight", "0.bias"]])
def test_frozen_parameters_are_left_out(frozen):
    module, inputs = built([3, 4, 2]), samples(3, 3)
    for name in frozen:
        module.get_parameter(name).requires_grad_(False)
    found = tangent_kernel(module, inputs)
    agree(found, brute(module, inputs))
    assert float((found - tangent_kernel(built([3, 4, 2]), inputs)).abs().max()) > 0.01


def test_frozen_layers_may_be_of_any_kind():
    front = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Flatten())
    front.requires_grad_(False)
    module = nn.Sequential(nn.Unflatten(1, (1, 6)), front, built([8, 4, 2])).double()
    inputs = samples(5, 6)
    found = tangent_kernel(module, inputs)
    module.eval()
    agree(found, brute(module, inputs))


def test_single_precision():
    inputs = samples(5, 6)
    wanted = tangent_kernel(built([6, 20, 3], nn.ReLU), inputs)
    found = tangent_kernel(built([6, 20, 3], nn.ReLU, dtype=torch.float32), inputs.float())
    assert found.dtype == torch.float32
    # 20 sums of rounding errors of 6e-8
    agree(found.double(), wanted, 1e-5)


def test_the_module_is_left_as_it_was():
    module = nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.ReLU(inplace=True), nn.Linear(5, 2))
    module[1].eval()
    called = []
    module[0].register_forward_hook(lambda *_: called.append(1))
    inputs = samples(4, 6, dtype=torch.float32)
    module(inputs).sum().backward()
    grads = [p.grad.clone() for p in module.parameters()]
    values = [p.detach().clone() for p in module.parameters()]
    chance = torch.get_rng_state()
    for kernel in (tangent_kernel, dense_tangent_kernel):
        kernel(module, inputs)
    assert (torch.get_rng_state() == chance).all()
    assert [part.training for part in module] == [True, False, True, True]
    assert module.training
    assert all((p.grad == g).all() for p, g in zip(module.parameters(), grads, strict=True))
    assert all((p == v).all() for p, v in zip(module.parameters(), values, strict=True))
    assert [len(part._forward_hooks) for part in module] == [1, 0, 0, 0]


def test_a_refusal_leaves_nothing_behind():
    module = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    module.append(module[0])
    with pytest.raises(ValueError, match="used twice"):
        tangent_kernel(module, torch.ones(3, 2))
    assert module.training
    assert not module[0]._forward_hooks


def test_it_works_without_gradients_around():
    module, inputs = built([3, 4, 2]), samples(3, 3)
    with torch.no_grad():
        found = tangent_kernel(module, inputs)
    agree(found, tangent_kernel(module, inputs))
    assert not found.requires_grad


@pytest.mark.parametrize("kernel", [tangent_kernel, dense_tangent_kernel])
def test_it_is_of_full_precision_whatever_is_around(kernel):
    module, inputs = built([3, 4, 2], dtype=torch.float32), samples(3, 3, dtype=torch.float32)
    wanted = kernel(module, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(kernel(module, inputs), wanted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gpu_finds_the_same(dtype):
    module, inputs = built([30, 40, 5], nn.ReLU, dtype=dtype), samples(20, 30, dtype=dtype)
    wanted = tangent_kernel(module, inputs)
    for kernel in (functools.partial(tangent_kernel, blocks=7), dense_tangent_kernel):
        found = kernel(module.cuda(), inputs.cuda())
        assert found.is_cuda
        agree(found.cpu(), wanted, 1e-12 if dtype == torch.float64 else 1e-5)
    model = tangent_model(module, inputs.cuda())
    assert model.jacobian(model.parameters).shape == (100, 30 * 40 + 40 + 40 * 5 + 5)
