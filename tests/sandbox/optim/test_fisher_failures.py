"""Fisher matrices: arguments, vectors and outputs that are refused."""

import math

import pytest
import torch
from torch import nn

from sandbox.optim.fisher import SampledFisher
from tests.sandbox.optim.dense_fisher import F64, X, by_name, normal, tiny


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4).to(F64)

    def forward(self, inputs):
        return self.layer(self.layer(inputs))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("model", "inputs", "settings", "message"),
    [
        ("net", X, {}, r"model = 'net': must be a torch.nn.Module"),
        (nn.ReLU(), X, {}, "there is none"),
        (nn.LayerNorm(3).to(F64), X, {}, "weight, bias.*freeze these"),
        (Twice(), normal(5, 4), {}, r"layer 'layer' \(Linear\) is used twice"),
        (tiny(), [1.0], {}, r"inputs = \[1.0\]: must be a non-empty tensor"),
        (tiny(), X[:0], {}, "must be a non-empty tensor"),
        (tiny(), X / torch.tensor([1.0, 0.0, 1.0]), {}, r"inputs\[0\] is not finite"),
        (tiny(), X, {"labels": "all"}, "labels = 'all': must be one of 'sampled', 'full'"),
        (tiny(), X, {"likelihood": "poisson"}, "likelihood = 'poisson'"),
        (tiny(), X, {"labels": torch.zeros(3, dtype=torch.long)}, "must be 4 class numbers"),
        (tiny(), X, {"labels": torch.zeros(4)}, "must be 4 class numbers"),
        (tiny(), X, {"labels": torch.tensor([0, 1, 3, 0])}, r"labels\[2\] = 3: .*\[0, 3\)"),
        (tiny(), X, {"labels": X[:, :2], "likelihood": "gaussian"}, "must match the outputs"),
    ],
)
def test_bad_arguments_are_refused(model, inputs, settings, message):
    with pytest.raises(ValueError, match=message):
        SampledFisher.of(model, inputs, **settings)


@pytest.mark.bad_input
def test_bad_vectors_and_numbers_are_refused():
    fisher = SampledFisher.of(tiny(), X)
    vector = by_name(tiny())
    with pytest.raises(ValueError, match=r"vector has \['0.weight'\]: must have a tensor for each"):
        fisher.multiply({"0.weight": vector["0.weight"]})
    with pytest.raises(ValueError, match=r"vector\['0.weight'\] = \(3, 4\): .* shape \(4, 3\)"):
        fisher.quadratic(vector | {"0.weight": vector["0.weight"].T})
    for damping in (0.0, -1.0, math.nan, "much"):
        with pytest.raises(ValueError, match="damping"):
            fisher.solve(vector, damping)
    with pytest.raises(ValueError, match="blocks = 'diagonal'"):
        fisher.solve(vector, 1.0, blocks="diagonal")
    for bad in ({"prior_precision": 0.0}, {"data_count": -1.0}, {"samples": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            fisher.laplace_samples(**({"prior_precision": 1.0, "data_count": 1.0} | bad))


def test_diverged_outputs_are_refused():
    network = tiny()
    with torch.no_grad():
        network[2].weight[0, 0] = math.nan
    fisher = SampledFisher.of(network, X)
    with pytest.raises(RuntimeError, match=r"layer '0'.*is not finite"):
        fisher.solve(by_name(network), 1.0)
    with pytest.raises(RuntimeError, match="is not finite"):
        fisher.laplace_samples(1.0, 1.0)
