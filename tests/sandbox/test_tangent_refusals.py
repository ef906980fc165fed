"""Networks and inputs whose tangent kernel is refused, and what the dense one takes of them."""

import numpy as np
import pytest
import torch
from torch import nn

from sandbox.landscape import dense_tangent_kernel, kernel_matrix, tangent_kernel
from synapses.networks import stochastic_mlp
from tests.sandbox.tangent_problems import agree, brute, samples
from theory.streams import Streams


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
