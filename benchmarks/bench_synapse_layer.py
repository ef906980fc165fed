"""A training step of a stochastic layer, 1000 x 1000 on a batch of 100, against a plain layer.

One thread, float32, a mask a batch: forward, mean square, backward, a step of SGD, all in
turns in one process. ``rand`` is the stochastic layer with its mask from ``torch.rand``, a
number of 24 bits for every synapse. Ratios are of the medians of processor time, and the
extremes are those of five blocks of rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from paired import write
from torch import Tensor, nn

from synapses.layers import StochasticLinear

SIZE, BATCH, ROUNDS, BLOCKS = 1000, 100, 100, 5
GOALS = {"exact": 2.6, "16-bit": 2.0}


class Plainly(StochasticLinear):
    """Draw a whole uniform number for every synapse."""

    def draw(self, *leading: int) -> Tensor:
        """Return 1 where a number is below p."""
        p = self.release_probability
        return (torch.rand((*leading, *p.shape)) < p).to(p.dtype)


def step(layer: nn.Module, inputs: Tensor) -> Callable[[], None]:
    """Return a training step."""
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)

    def call() -> None:
        optimizer.zero_grad()
        layer(inputs).square().mean().backward()
        optimizer.step()

    return call


def main() -> None:
    """Measure and write the figures."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs = torch.randn(BATCH, SIZE)
    p = 0.25 + 0.75 * torch.rand(SIZE, SIZE)
    steps = {
        "plain": step(nn.Linear(SIZE, SIZE), inputs),
        "exact": step(StochasticLinear(SIZE, SIZE, release_probability=p), inputs),
        "16-bit": step(StochasticLinear(SIZE, SIZE, release_probability=p, draws="16-bit"), inputs),
        "rand": step(Plainly(SIZE, SIZE, release_probability=p), inputs),
    }
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(ROUNDS + 5):
        for name, call in steps.items():
            start = time.thread_time()
            call()
            if i >= 5:  # warm by then
                samples[name].append(time.thread_time() - start)
    blocks = {name: np.array(times).reshape(BLOCKS, -1) for name, times in samples.items()}
    median = {name: float(np.median(times)) for name, times in samples.items()}
    figures: dict[str, Any] = {
        "size": SIZE,
        "batch": BATCH,
        "milliseconds": {name: 1e3 * value for name, value in median.items()},
        "ratio_to_plain": {name: value / median["plain"] for name, value in median.items()},
        "extremes": {
            name: np.percentile(
                np.median(rows, axis=1) / np.median(blocks["plain"], axis=1), [0, 100]
            ).tolist()
            for name, rows in blocks.items()
        },
        "goals": GOALS,
    }
    figures["met"] = {name: figures["ratio_to_plain"][name] <= goal for name, goal in GOALS.items()}
    write(__file__, figures)


if __name__ == "__main__":
    main()
