"""The training loop against a bare torch loop: 784-200-200-10, batches of 100, one thread.

Both make the same updates on the same samples in the same order, to the same bits, which
is asserted. The loop's time is what it says in its history, so that evaluation is left
out; the bare loop keeps nothing, not even the loss. Rounds alternate in which of the two
goes first; the figure is the median over rounds of the ratio within a round.
"""

from __future__ import annotations

import string
import time

import numpy as np
import torch
from paired import write
from torch import Tensor, nn

from sandbox.training.data import at_hand, load
from sandbox.training.loop import fit
from sandbox.training.models import mlp
from sandbox.training.plan import Plan
from sandbox.training.samples import Dataset, Samples
from theory.streams import Streams

WIDTHS, BATCH, ROUNDS, RATE = (784, 200, 200, 10), 100, 15, 0.1
STREAMS = Streams(0)


def data() -> Dataset:
    """Return Fashion-MNIST, or noise of its shape where it is not at hand."""
    if at_hand("fashion-mnist"):
        return load("fashion-mnist")
    generator = np.random.default_rng(0)
    parts = [
        Samples(generator.random((n, 784), np.float32), generator.integers(10, size=n))
        for n in (60_000, 10_000)
    ]
    return Dataset("noise", *parts, tuple(string.digits), (28, 28))


def prepared(momentum: float) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a network and its optimiser, the same at every call."""
    model = mlp(WIDTHS, streams=STREAMS)
    return model, torch.optim.SGD(model.parameters(), RATE, momentum=momentum)


def ours(dataset: Dataset, momentum: float) -> tuple[float, list[Tensor]]:
    """Train an epoch by the loop; return seconds and parameters."""
    model, optimizer = prepared(momentum)
    history = fit(model, dataset, optimizer, Plan(epochs=1, batch_size=BATCH), streams=STREAMS)
    return history.final["seconds"], list(model.parameters())


def bare(inputs: Tensor, targets: Tensor, momentum: float) -> tuple[float, list[Tensor]]:
    """Train an epoch by a loop of torch's own; return seconds and parameters."""
    model, optimizer = prepared(momentum)
    start = time.perf_counter()
    order = torch.from_numpy(STREAMS.generator("order/0", 0).permutation(len(inputs)))
    for first in range(0, len(inputs) - BATCH + 1, BATCH):
        rows = order[first : first + BATCH]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[rows]), targets[rows])
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start, list(model.parameters())


def main() -> None:
    """Measure and write the figures."""
    torch.set_num_threads(1)
    dataset = data()
    inputs = torch.tensor(dataset.train.inputs)
    targets = torch.tensor(dataset.train.targets)
    steps = len(inputs) // BATCH
    figures = {"data": dataset.name, "widths": WIDTHS, "batch": BATCH, "steps": steps}
    for name, momentum in (("sgd", 0.0), ("momentum", 0.9)):
        contenders = {
            "loop": lambda m=momentum: ours(dataset, m),
            "bare": lambda m=momentum: bare(inputs, targets, m),
        }
        found: dict[str, list[float]] = {key: [] for key in contenders}
        for number in range(ROUNDS + 1):
            ends = {}
            for key in list(contenders)[:: 1 if number % 2 else -1]:
                seconds, ends[key] = contenders[key]()
                found[key].append(seconds)
            assert all(map(torch.equal, ends["loop"], ends["bare"])), "results differ"
        times = {key: np.array(values[1:]) for key, values in found.items()}  # the first: warm-up
        ratios = times["loop"] / times["bare"] - 1
        figures[name] = {
            "milliseconds_a_step_loop": 1e3 * float(np.median(times["loop"])) / steps,
            "milliseconds_a_step_bare": 1e3 * float(np.median(times["bare"])) / steps,
            "overhead": float(np.median(ratios)),
            "overhead_quartiles": np.quantile(ratios, [0.25, 0.75]).tolist(),
            "rounds": ROUNDS,
        }
    write(__file__, figures)


if __name__ == "__main__":
    main()
