"""A race on Fashion-MNIST: training loss against wall time, 784-512-512-10, batches of 256.

SGD with momentum, Adam, Muon (Adam for the biases), K-FAC and FOOF. Each is tuned on a grid
of six settings by short runs; the best setting then runs for the same number of seconds as
the others, in slices of 1.5 s that take turns, so that what else the machine does hits
all alike. The clock stands still while the loss is evaluated, on 10,000 of the training
images. Rates are constant. Writes the table, the curves and a figure.

    python benchmarks/bench_optimizer_race.py [--seconds 30] [--tuning 5] [--quick]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from paired import write
from torch import Tensor, nn

from sandbox.bench.figures import house_style
from sandbox.optim.foof import FOOF
from sandbox.optim.kfac import KFAC
from sandbox.training.data import load
from sandbox.training.models import mlp
from theory.streams import Streams

WIDTHS, BATCH, EVALUATED, SLICE = (784, 512, 512, 10), 256, 10_000, 1.5
PERIOD = 10  # steps between two preconditioners

Setting = dict[str, float]
Make = Callable[[nn.Module, Setting], list[Any]]


def rates(*values: float) -> list[Setting]:
    """Return a grid of learning rates alone."""
    return [{"lr": value} for value in values]


def damped(ratios: tuple[float, ...], dampings: tuple[float, ...]) -> list[Setting]:
    """Return a grid of dampings and of learning rates in proportion: how far a step may go."""
    return [{"lr": r * damping, "damping": damping} for damping in dampings for r in ratios]


def muon(model: nn.Module, setting: Setting) -> list[Any]:
    """Return Muon for the matrices and Adam, at the same rate, for the biases."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    # steps of Adam's size, so that one rate serves both
    first = torch.optim.Muon(matrices, weight_decay=0.0, adjust_lr_fn="match_rms_adamw", **setting)
    return [first, torch.optim.Adam(others, **setting)]


RACERS: dict[str, tuple[Make, list[Setting]]] = {
    "SGD, momentum": (
        lambda model, setting: [torch.optim.SGD(model.parameters(), momentum=0.9, **setting)],
        rates(0.005, 0.01, 0.02, 0.05, 0.1, 0.2),
    ),
    "Adam": (
        lambda model, setting: [torch.optim.Adam(model.parameters(), **setting)],
        rates(1e-4, 3e-4, 6e-4, 1e-3, 2e-3, 5e-3),
    ),
    "Muon": (muon, rates(1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2)),
    "K-FAC": (
        lambda model, setting: [
            KFAC(model, T=PERIOD, S=1, momentum=0.9, side="activation", **setting)
        ],
        damped((0.1, 0.3, 1.0), (1e-3, 1e-2)),
    ),
    "FOOF": (
        lambda model, setting: [
            FOOF(model, T=PERIOD, S=1, momentum=0.9, side="activation", **setting)
        ],
        damped((0.1, 0.3, 1.0), (0.1, 1.0)),
    ),
}


@dataclass
class Runner:
    """A network in training, with a clock of its own."""

    name: str
    setting: Setting
    inputs: Tensor
    labels: Tensor
    seconds: float = 0.0
    steps: int = 0
    curve: list[tuple[float, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make network, optimisers and the order of the batches."""
        self.model = mlp(WIDTHS, streams=Streams(0), init="kaiming-normal").to(self.inputs.device)
        self.optimisers = RACERS[self.name][0](self.model, self.setting)
        self.batches = self._batches()
        self.cuda = self.inputs.device.type == "cuda"
        self.note()

    def _batches(self) -> Iterator[Tensor]:
        """Yield rows, every image once an epoch, the same for all runners."""
        generator = torch.Generator().manual_seed(0)
        while True:
            order = torch.randperm(len(self.inputs), generator=generator).to(self.inputs.device)
            yield from order[: len(order) // BATCH * BATCH].view(-1, BATCH)

    def step(self) -> None:
        """Do one step."""
        rows = next(self.batches)
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        nn.functional.cross_entropy(self.model(self.inputs[rows]), self.labels[rows]).backward()
        for optimiser in self.optimisers:
            optimiser.step()
        self.steps += 1

    def run(self, until: float) -> None:
        """Train until the clock says so; a run that has broken down stands still."""
        if not math.isfinite(self.loss):
            return
        start, before = time.perf_counter(), self.seconds
        try:
            while self.seconds < until:
                self.step()
                if self.cuda:
                    torch.cuda.synchronize()
                self.seconds = before + time.perf_counter() - start
        except RuntimeError as broken:  # a gradient that is not finite
            if "finite" not in str(broken):
                raise
            self.curve.append((self.seconds, self.steps, math.inf))
            return
        self.note()

    @torch.no_grad()
    def note(self) -> None:
        """Evaluate the loss."""
        made = self.model(self.inputs[:EVALUATED])
        loss = float(nn.functional.cross_entropy(made, self.labels[:EVALUATED]))
        self.curve.append((self.seconds, self.steps, loss if math.isfinite(loss) else math.inf))

    @property
    def loss(self) -> float:
        """The last loss."""
        return self.curve[-1][2]


def tuned(name: str, data: tuple[Tensor, Tensor], seconds: float) -> tuple[Setting, dict[str, Any]]:
    """Return the best setting of the grid after so many seconds, and what the others gave."""
    grid = RACERS[name][1]
    losses = []
    for setting in grid:
        runner = Runner(name, setting, *data)
        runner.run(seconds)
        losses.append(runner.loss)
    best = min(range(len(grid)), key=losses.__getitem__)
    reach = [s["lr"] / s.get("damping", 1.0) for s in grid]
    at_edge = not min(reach) < reach[best] < max(reach)
    shown = [{**s, "loss": loss} for s, loss in zip(grid, losses, strict=True)]
    return grid[best], {"grid": shown, "best_rate_at_the_edge": at_edge}


def draw(runners: list[Runner]) -> None:
    """Draw loss against seconds."""
    with house_style():
        figure = Figure(figsize=(5.6, 3.8))
        axes = figure.subplots()
        for runner, marker in zip(runners, "os^Dv", strict=True):
            seconds, _, losses = zip(*runner.curve, strict=True)
            axes.plot(seconds, losses, marker=marker, ms=3, label=runner.name)
        axes.set(yscale="log", xlabel="seconds of training", ylabel="training loss",
                 title="Fashion-MNIST, 784-512-512-10, batches of 256")  # fmt: skip
        axes.legend()
        figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


def race(
    data: tuple[Tensor, Tensor], seconds: float, tuning: float
) -> tuple[list[Runner], dict[str, Any]]:
    """Tune everybody, then let them run in turns."""
    grids = {}
    runners = []
    for name in RACERS:
        Runner(name, RACERS[name][1][0], *data).run(0.2)  # first calls, off the clock
        setting, grids[name] = tuned(name, data, tuning)
        found = ", ".join(f"{row['loss']:.4f}" for row in grids[name]["grid"])
        edge = ", at the edge" * grids[name]["best_rate_at_the_edge"]
        print(f"{name}: {setting}{edge}; the grid: {found}", flush=True)
        runners.append(Runner(name, setting, *data))
    span = min(SLICE, seconds / 5)
    for turn in range(1, round(seconds / span) + 1):
        for runner in runners:
            runner.run(turn * span)
    return runners, grids


def main() -> None:
    """Race, print, write the figures and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run (default: 30)")
    parser.add_argument("--tuning", type=float, default=5.0, help="seconds a setting (default: 5)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: 2)")
    parser.add_argument("--device", default="cpu", help="where to run (default: cpu)")
    parser.add_argument("--quick", action="store_true", help="3 s, 0.5 s; nothing written")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.tuning = 3.0, 0.5
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    train = load("fashion-mnist", scaling="standard").train
    data = (
        torch.tensor(train.inputs, device=device),
        torch.tensor(train.targets, device=device),
    )
    runners, grids = race(data, options.seconds, options.tuning)
    rows = [
        {
            "optimiser": runner.name,
            **runner.setting,
            "training_loss": runner.loss,
            "steps": runner.steps,
            "milliseconds_a_step": 1e3 * runner.seconds / max(runner.steps, 1),
        }
        for runner in sorted(runners, key=lambda runner: runner.loss)
    ]
    for row in rows:
        print(f"{row['optimiser']:14}{row['training_loss']:10.5f}{row['steps']:8} steps"
              f"{row['milliseconds_a_step']:8.2f} ms")  # fmt: skip
    if options.quick:
        return
    script = Path(__file__)
    if device.type != "cpu":
        script = script.with_stem(f"{script.stem}_{device.type}")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    write(str(script), {
        "device": where, "torch_threads": options.threads, "seconds": options.seconds,
        "tuning_seconds": options.tuning, "widths": WIDTHS, "batch": BATCH, "period": PERIOD,
        "table": rows, "tuning": grids,
        "curves": {
            runner.name: [[round(t, 3), steps, round(loss, 5)] for t, steps, loss in runner.curve]
            for runner in runners
        },
        "curve_columns": ["seconds", "steps", "training loss"],
    })  # fmt: skip
    if device.type == "cpu":
        draw(runners)


if __name__ == "__main__":
    main()
