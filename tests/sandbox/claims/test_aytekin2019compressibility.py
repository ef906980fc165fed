"""The networks behind the claims on compressibility: trained together as they would be alone."""

import numpy as np
import pytest
import torch

from sandbox.bench.registry import select
from sandbox.claims.aytekin2019compressibility._training import (
    WIDTHS,
    Setting,
    accuracy,
    matrices,
    mean_interval,
    networks,
)
from sandbox.regularisers.ratio_norm import RatioNorm
from sandbox.training.data import load
from sandbox.training.models import mlp
from theory.streams import Streams

TINY = Setting((0.0, 0.05), seeds=(3, 4), epochs=1, batch=300)


def test_networks_trained_together_are_those_trained_alone():
    together = networks(TINY)
    train = load("digits").train
    inputs, labels = torch.tensor(train.inputs), torch.tensor(train.targets)
    for strength, row in zip(TINY.strengths, together, strict=True):
        for seed, member in zip(TINY.seeds, row, strict=True):
            alone = mlp(WIDTHS, streams=Streams(seed))
            optimizer = torch.optim.Adam(alone.parameters(), lr=1e-3)
            order = torch.from_numpy(Streams(seed).generator("batches").permutation(len(inputs)))
            for start in range(0, len(inputs) - TINY.batch + 1, TINY.batch):
                rows = order[start : start + TINY.batch]
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(alone(inputs[rows]), labels[rows])
                (loss + RatioNorm(strength)(alone)).backward()
                optimizer.step()
            # a slope near 0 moves a weight by the rate in either direction
            for one, other in zip(alone.parameters(), member.parameters(), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_networks_are_made_once_and_read_right():
    assert networks(TINY) is networks(TINY)
    network = networks(TINY)[0][0]
    assert [w.size for w in matrices(network)] == [6400, 5000, 500]
    test = load("digits").test
    with torch.no_grad():
        guessed = network(torch.tensor(test.inputs)).argmax(1).numpy()
    assert accuracy(network) == pytest.approx(np.mean(guessed == test.targets))


def test_means_have_students_interval():
    mean, half, words = mean_interval(np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    np.testing.assert_allclose(mean, [2.0, 5.0])
    np.testing.assert_allclose(half, [4.302652729696 / np.sqrt(3), 0.0])
    assert "3 seeds" in words


def test_the_claims_are_registered_with_their_tags():
    claims = select([], "aytekin2019compressibility", everything=False)
    found = {claim.name: claim.tag for claim in claims}
    assert found["fewer-bits"] == found["nonzero-low-entropy"] == "paper"
    assert found["trained-not-ternary"] == found["training-grows-the-norm"] == "derived"
