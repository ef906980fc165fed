"""The layer-wise tangent kernel is the product of the Jacobian with itself, whatever the network.

The second route is torch.func: one Jacobian a sample, all of its entries, then J J'.
"""

import functools
import itertools

import numpy as np
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
from synapses.networks import stochastic_mlp
from theory.plstar import certify_pl
from theory.streams import Streams
from theory.tangent_models import TangentModel, TwoLayer

ACTIVATIONS = [
    nn.ReLU, functools.partial(nn.ReLU, inplace=True), nn.Tanh, nn.Sigmoid, nn.GELU, nn.Softplus,
    nn.LeakyReLU, nn.Identity,
]  # fmt: skip


def samples(count, width, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64).to(dtype)


def built(widths, activation=nn.Tanh, biases=True, seed=0, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = []
        for i, (before, after) in enumerate(itertools.pairwise(widths)):
            bias = biases if isinstance(biases, bool) else biases[i]
            layers += [nn.Linear(before, after, bias=bias), activation()]
        return nn.Sequential(*layers[:-1]).to(dtype)


def brute(module, inputs):
    """J J' with one backward pass for every output of every sample."""
    trained = [p for p in module.parameters() if p.requires_grad]
    rows = []
    for sample in inputs:
        outputs = module(sample[None]).reshape(-1)
        for output in outputs:
            slopes = torch.autograd.grad(
                output, trained, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            rows.append(torch.cat([slope.reshape(-1) for slope in slopes]))
    jacobian = torch.stack(rows)
    return (jacobian @ jacobian.T).view(len(inputs), -1, len(inputs), len(rows) // len(inputs))


def agree(found, wanted, share=1e-12):
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= share * float(wanted.abs().max())


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


class Strange(nn.Module):
    """What the layers of the kernel cannot be."""

    def __init__(self, how):
        super().__init__()
        self.how, self.layer, self.other = how, nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, inputs):
        hidden = torch.tanh(self.layer(inputs))
        match self.how:
            case "mixes":
                return self.other(hidden - hidden.mean(dim=0))
            case "sums up":
                return self.other(hidden).cumsum(dim=0)
            case "chance":
                return self.other(hidden + torch.rand_like(hidden))
            case "outside":
                return hidden @ self.other.weight
            case "outside too":
                return self.other(hidden) @ self.other.weight
            case "instead":
                self.other(hidden)
                return nn.functional.linear(hidden, self.other.weight)
            case "positions":
                return self.other(hidden[:, None]).flatten(1)
            case "detached":
                return (self.other(hidden)).detach()
            case "list":
                return [hidden]
            case "infinite":
                return self.other(hidden) / 0.0


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Strange("mixes"), "depend on the other samples"),
        (Strange("sums up"), r"inputs\[3\] depend on the other samples"),
        (Strange("chance"), "or on chance"),
        (Strange("outside"), r"module\.other has parameters used outside its own call; use dense"),
        (Strange("outside too"), r"module\.other has parameters used outside"),
        (Strange("instead"), r"module\.other has parameters used outside"),
        (Strange("positions"), r"module\.other is fed \(4, 1, 3\): must be \(sample, feature\)"),
        (Strange("detached"), "depend on none of its trained parameters"),
        (Strange("list"), r"must be a tensor of shape \(4, \.\.\.\)"),
        (Strange("infinite"), r"outputs\[0\] is not finite"),
        (nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), r"module\.1 is BatchNorm1d .* freeze"),
        (nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 1, 1)), r"module\.1 is Conv1d"),
        (stochastic_mlp((3, 2, 2), streams=Streams(0)), r"module\.\d is StochasticLinear"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), "dense_tangent_kernel"),
        (nn.Linear(3, 2).requires_grad_(False), "no parameter that requires a gradient"),
        (nn.Linear(3, 2).half(), "must all be float32 or all float64"),
        (nn.Linear(3, 2).double(), "must be torch.float64 on cpu"),
        (lambda x: x, "must be a torch.nn.Module"),
    ],
)
def test_what_it_cannot_do_is_refused(module, words):
    with pytest.raises(ValueError, match=words):
        tangent_kernel(module, torch.ones(4, 3) + torch.arange(4.0)[:, None])


@pytest.mark.bad_input
def test_tied_weights_are_refused():
    module = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    module[2].weight = module[0].weight
    with pytest.raises(ValueError, match=r"module\.2\.weight is module\.0\.weight: tied"):
        tangent_kernel(module, torch.ones(4, 3))
    agree(dense_tangent_kernel(module.double(), samples(4, 3)), brute(module, samples(4, 3)))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("inputs", "blocks", "words"),
    [
        (torch.ones(3), None, r"inputs = \(3,\): must be a non-empty tensor"),
        (torch.ones(0, 3), None, "non-empty"),
        (np.ones((2, 3)), None, "non-empty tensor"),
        (torch.tensor([[1.0, 1, 1], [1, torch.inf, 1]]), None, r"inputs\[1\] is not finite"),
        (torch.ones(2, 3), 0, "blocks = 0"),
        (torch.ones(2, 3), 1.5, "blocks = 1.5"),
    ],
)
def test_bad_inputs_are_refused(inputs, blocks, words):
    with pytest.raises(ValueError, match=words):
        tangent_kernel(nn.Linear(3, 2), inputs, blocks=blocks)


@pytest.mark.bad_input
def test_a_kernel_has_four_axes():
    with pytest.raises(ValueError, match=r"kernel has shape \(4, 4\)"):
        kernel_matrix(torch.zeros(4, 4))


def test_the_dense_kernel_takes_what_the_other_refuses():
    module = nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.ReLU(), nn.Flatten(),
        nn.Linear(8, 2),
    ).double()  # fmt: skip
    inputs = samples(5, 6)
    found = dense_tangent_kernel(module, inputs)
    module.eval()
    agree(found, brute(module, inputs))
    with pytest.raises(ValueError, match="depend on the other samples"):
        dense_tangent_kernel(Strange("mixes").double(), samples(4, 3))


# the adapter to the theory's models


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
