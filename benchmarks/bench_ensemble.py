"""256 networks of 16-32-4 at once against a Python loop over 256 torch optimisers, one thread.

Both train every network on batches of its own order, to the same parameters within 1e-10
in float64, which is asserted. Times are of training alone.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from paired import write
from torch import Tensor, nn

from sandbox.training.ensembles import Descent, fit_ensemble
from sandbox.training.models import mlp
from sandbox.training.plan import Plan
from sandbox.training.samples import Dataset, Samples
from theory.streams import Streams

MEMBERS, WIDTHS, BATCH, ROUNDS = 256, (16, 32, 4), 32, 3
RULES = {
    "sgd": Descent("sgd", lr=0.1),
    "momentum": Descent("sgd", lr=0.1, momentum=0.9),
    "adam": Descent("adam", lr=0.01),
}


def data(steps: int) -> Dataset:
    """Return Gaussian inputs with the classes of a random linear teacher."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(BATCH * steps + 256, WIDTHS[0]))
    classes = (inputs @ generator.normal(size=(WIDTHS[0], WIDTHS[-1]))).argmax(1)
    parts = (Samples(inputs[part], classes[part]) for part in (slice(256, None), slice(256)))
    return Dataset("teacher", *parts, tuple("abcd"), (WIDTHS[0],))


def networks() -> list[nn.Module]:
    """Return the networks, the same at every call."""
    return [mlp(WIDTHS, streams=Streams(0), index=i, dtype=torch.float64) for i in range(MEMBERS)]


def together(
    dataset: Dataset, rule: Descent, orders: list[Streams]
) -> tuple[float, list[nn.Module]]:
    """Train an epoch of all; return seconds and networks."""
    models = networks()
    plan = Plan(epochs=1, batch_size=BATCH)
    histories = fit_ensemble(models, dataset, rule, plan, streams=orders)
    return histories[0].final["seconds"], models


def one_by_one(
    dataset: Dataset, rule: Descent, orders: list[Streams]
) -> tuple[float, list[nn.Module]]:
    """Train an epoch of each by torch's own optimiser; return seconds and networks."""
    models = networks()
    kind = torch.optim.Adam if rule.kind == "adam" else torch.optim.SGD
    more = {} if rule.kind == "adam" else {"momentum": rule.momentum}
    optimizers = [kind(model.parameters(), rule.lr, **more) for model in models]
    inputs, targets = torch.tensor(dataset.train.inputs), torch.tensor(dataset.train.targets)
    start = time.perf_counter()
    rows: list[Tensor] = [
        torch.from_numpy(streams.generator("order/0", 0).permutation(len(inputs)))
        for streams in orders
    ]
    for first in range(0, len(inputs), BATCH):
        for i, (model, optimizer) in enumerate(zip(models, optimizers, strict=True)):
            batch = rows[i % len(rows)][first : first + BATCH]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[batch]), targets[batch]).backward()
            optimizer.step()
    return time.perf_counter() - start, models


def main() -> None:
    """Measure and write the figures."""
    torch.set_num_threads(1)
    steps = 10
    dataset = data(steps)
    figures = {"members": MEMBERS, "widths": WIDTHS, "batch": BATCH, "steps": steps, "rules": {}}
    for name, rule in RULES.items():
        for kind, count in (("orders of their own", MEMBERS), ("one order", 1)):
            orders = [Streams(i) for i in range(count)]
            times: dict[str, list[float]] = {"ensemble": [], "loop": []}
            for _ in range(ROUNDS + 1):
                seconds, mine = together(dataset, rule, orders)
                times["ensemble"].append(seconds)
                seconds, theirs = one_by_one(dataset, rule, orders)
                times["loop"].append(seconds)
            worst = max(
                float((p - q).detach().abs().max())
                for model, other in zip(mine, theirs, strict=True)
                for p, q in zip(model.parameters(), other.parameters(), strict=True)
            )
            assert worst < 1e-10, f"{name}: parameters differ by {worst}"
            # the first round: warm-up
            median = {key: float(np.median(values[1:])) for key, values in times.items()}
            ratios = np.array(times["loop"][1:]) / np.array(times["ensemble"][1:])
            figures["rules"][f"{name}, {kind}"] = {
                "milliseconds_a_step_ensemble": 1e3 * median["ensemble"] / steps,
                "milliseconds_a_step_loop": 1e3 * median["loop"] / steps,
                "ratio": float(np.median(ratios)),
                "ratio_extremes": [float(ratios.min()), float(ratios.max())],
                "largest_difference": worst,
            }
    figures["smallest_ratio"] = min(row["ratio"] for row in figures["rules"].values())
    write(__file__, figures)


if __name__ == "__main__":
    main()
