"""Draws from the Laplace posterior: their covariance, exactly and as they spread."""

import math

import pytest
import torch

from sandbox.optim._gram import DampedRoot
from sandbox.optim._laplace import posterior_deviation
from sandbox.optim.fisher import SampledFisher
from tests.sandbox.optim.dense_fisher import DRAWN, F64, POSTERIOR, X, dense, tiny


def test_posterior_variances_match_recorded_numbers():
    fisher = SampledFisher.of(tiny(), X, labels=DRAWN)
    covariance = posterior_map(fisher, prior=0.7, count=4.0)
    covariance = covariance @ covariance.T
    wanted = torch.tensor(POSTERIOR, dtype=F64)
    torch.testing.assert_close(covariance.diagonal(), wanted, rtol=0, atol=1e-12)


def posterior_map(fisher, prior, count):
    """What the standard normal numbers behind a sample are multiplied with."""
    columns = fisher._columns
    root = DampedRoot(columns, prior / count, "test", dual=True)
    sizes = [layer.entries for layer in columns]
    made = []
    for unit in torch.eye(sum(sizes) + fisher.columns, dtype=F64):
        *parts, chances = unit.split([*sizes, fisher.columns])
        deviates = [
            part.view(layer.slopes.shape[3], layer.inputs.shape[2])
            for part, layer in zip(parts, columns, strict=True)
        ]
        found = posterior_deviation(columns, deviates, chances, prior, count, root.factor)
        made.append(torch.cat([part.reshape(-1) for part in found]))
    return torch.stack(made, dim=1)


@pytest.mark.parametrize("labels", ["full", "sampled"])
def test_posterior_samples_have_the_covariance_exactly(labels):
    # bias-free layers, whose parameters lie in the order of the matrices
    fisher = SampledFisher.of(tiny(), X, labels=labels, generator=torch.Generator().manual_seed(2))
    linear = posterior_map(fisher, prior=0.7, count=50.0)
    wanted = torch.linalg.inv(0.7 * torch.eye(24, dtype=F64) + 50 * dense(fisher))
    torch.testing.assert_close(linear @ linear.T, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("blocks", ["full", "layer"])
def test_posterior_samples_spread_as_they_should(blocks):
    # 24 whitened coordinates of 1000 draws: sum of squares is chi-squared with 24,000 degrees
    # of freedom, mean zero; each |z| < 4.06 fails a right program once in 20,000 runs
    fisher = SampledFisher.of(tiny(), X, labels="full")
    draws = fisher.laplace_samples(
        0.7, 50, samples=1000, generator=torch.Generator().manual_seed(11), blocks=blocks
    )
    assert draws["0.weight"].shape == (1000, 4, 3)
    long = torch.cat([draws[name].flatten(1) for name in fisher.names], dim=1)
    precision = 0.7 * torch.eye(24, dtype=F64) + 50 * dense(fisher, blocks)
    white = long @ torch.linalg.cholesky(precision)
    squares = white.square().sum().item()
    assert abs(squares - 24_000) / math.sqrt(2 * 24_000) < 4.06
    assert abs(white.sum().item()) / math.sqrt(24_000) < 4.06
    # the largest of 276 correlations of 1000 draws: Bonferroni at 1e-4 in all
    off = (white.T @ white / 1000 - torch.eye(24, dtype=F64)).abs()
    off.fill_diagonal_(0)
    assert off.max() * math.sqrt(1000) < 5.1


def test_posterior_without_data_is_the_prior():
    fisher = SampledFisher.of(tiny(), X)
    linear = posterior_map(fisher, prior=4.0, count=1e-12)
    torch.testing.assert_close(linear @ linear.T, torch.eye(24, dtype=F64) / 4, rtol=0, atol=1e-12)
