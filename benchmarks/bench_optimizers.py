"""Whole training steps of the optimisers with preconditioners, against SGD's, beside their floors.

A step is forward pass, backward pass, optimiser; contenders take turns, ten steps each, so
that what else the machine does hits them alike. A contender's step is averaged over a whole
period T of its preconditioner. Its *floor* is SGD's step and the matrix products and inverses
that the algorithm cannot do without, timed alone in the same turns; beside it stands what
counting multiplications says. The summary names the goals that a figure meets or misses.

    python benchmarks/bench_optimizers.py [--quick] [--device cuda]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from paired import write
from torch import Tensor, nn

from sandbox.optim.foof import FOOF
from sandbox.optim.kfac import KFAC
from sandbox.optim.natural import NaturalGradient
from sandbox.training.models import mlp
from theory.preconditioning import step_cost
from theory.streams import Streams

NETWORKS = {"784-512-512-10": 256, "784-1000-1000-1000-10": 100}
STEPS, CYCLE = 10, 10  # steps a turn, turns a cycle: 100 steps, the longest period
MUON_TURNS = 3  # of one step: its iteration, in bfloat16, takes longest by far
DRAWS = 100  # samples of the Fisher matrix
GOALS = {
    "FOOF, T=10": 2.5,
    "FOOF, T=10, activation": 2.1,
    "KFAC, T=10": 3.5,
    "natural gradient, 100 samples": 4.0,
}
FLOOR_GOAL = 1.2
"""At T = 100 FOOF's step is to be within 20 % of its floor."""

Step = Callable[[], Any]


def optimisers(model: nn.Module) -> dict[str, tuple[Callable[[], Any], str, int]]:
    """Return what makes each optimiser, its rule in the cost model, and its period."""
    weights = [p for p in model.parameters() if p.ndim == 2]
    return {
        "SGD": (lambda: torch.optim.SGD(model.parameters(), 1e-3), "sgd", 1),
        "Adam": (lambda: torch.optim.Adam(model.parameters(), 1e-5), "sgd", 1),
        "Muon, weights only": (lambda: torch.optim.Muon(weights, 1e-4), "sgd", 1),
        **{
            f"FOOF, T={T}{', activation' * (side == 'activation')}": (
                lambda T=T, side=side: FOOF(model, 1e-3, 1.0, T=T, S=1, side=side),
                "foof-activation" if side == "activation" else "foof",
                T,
            )
            for T in (10, 100)
            for side in ("gradient", "activation")
        },
        "KFAC, T=10": (lambda: KFAC(model, 1e-4, 1.0, T=10, S=1), "kfac", 10),
        "KFAC, T=10, activation": (
            lambda: KFAC(model, 1e-4, 1.0, T=10, S=1, side="activation"),
            "kfac-activation",
            10,
        ),
        "natural gradient, 100 samples": (
            lambda: NaturalGradient(model, 1e-3, 1.0, fisher_samples=DRAWS),
            "natural",
            1,
        ),
    }


def stepper(widths: list[int], name: str, batch: tuple[Tensor, Tensor]) -> tuple[Step, str, int]:
    """Return a function that does one step of the named optimiser on a network of its own."""
    model = mlp(widths, streams=Streams(0)).to(batch[0].device)
    make, rule, period = optimisers(model)[name]
    optimiser = make()

    def step() -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
        optimiser.step()

    return step, rule, period


def inverse(matrix: Tensor) -> Tensor:
    """Return an inverse by Cholesky's factorisation."""
    return torch.cholesky_inverse(torch.linalg.cholesky_ex(matrix)[0])


def products(widths: list[int], size: int, device: torch.device) -> dict[str, Step]:
    """Return the products and inverses of all layers, by part of the algorithm."""
    generator = torch.Generator(device).manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        """Return standard normal numbers."""
        return torch.randn(*shape, generator=generator, device=device)

    sizes = [(before + 1, after) for before, after in itertools.pairwise(widths)]
    G, W = [drawn(n, m) for m, n in sizes], [drawn(n, m) for m, n in sizes]
    rows = [(drawn(size, m), drawn(size, n)) for m, n in sizes]
    few = [(a[:DRAWS], e[:DRAWS]) for a, e in rows]
    A = [
        torch.eye(m, device=device) + a.T @ a / size
        for (m, _), (a, _) in zip(sizes, rows, strict=True)
    ]
    E = [
        torch.eye(n, device=device) + e.T @ e / size
        for (_, n), (_, e) in zip(sizes, rows, strict=True)
    ]
    gram = torch.eye(DRAWS, dtype=torch.float64, device=device) * 2
    right = drawn(DRAWS, 1).double()
    weights = drawn(DRAWS, 1)

    def layerwise(product: Callable[[int], Any], first: int = 0) -> Step:
        """Return the product of every layer, one after the other."""
        return lambda: [product(i) for i in range(first, len(sizes))]

    def rerouted(i: int) -> Tensor:
        """Return one layer's inputs times the inverse, or the gradient where that is less."""
        return rows[i][0] @ A[i] if size <= sizes[i][1] else G[i] @ A[i]

    return {
        "input factors": layerwise(lambda i: rows[i][0].T @ rows[i][0]),
        "output factors": layerwise(lambda i: rows[i][1].T @ rows[i][1]),
        "second backward pass": layerwise(lambda i: rows[i][1] @ W[i], first=1),
        "input inverses": layerwise(lambda i: inverse(A[i])),
        "output inverses": layerwise(lambda i: inverse(E[i])),
        "apply input factor": layerwise(lambda i: G[i] @ A[i]),
        "apply to activations": layerwise(rerouted),
        "apply output factor": layerwise(lambda i: E[i] @ G[i]),
        "apply to slopes": layerwise(
            lambda i: rows[i][1] @ E[i] if size <= sizes[i][0] else E[i] @ G[i]
        ),
        "pass of the draws": lambda: (
            [few[i][0] @ W[i].T for i in range(len(sizes))],
            [few[i][1] @ W[i] for i in range(1, len(sizes))],
        ),
        "Gram matrix": layerwise(lambda i: (few[i][0] @ few[i][0].T) * (few[i][1] @ few[i][1].T)),
        "its solution": lambda: torch.cholesky_solve(right, torch.linalg.cholesky_ex(gram)[0]),
        "apply the draws": layerwise(
            lambda i: ((few[i][1] @ G[i] * few[i][0]).sum(1), (few[i][1] * weights).T @ few[i][0])
        ),
    }


def floor_parts(rule: str, period: int) -> dict[str, float]:
    """Return how often a step does each product."""
    once = 1 / period
    inputs = {"input factors": once, "input inverses": once}
    outputs = {"output factors": once, "output inverses": once, "second backward pass": once}
    return {
        "sgd": {},
        "foof": inputs | {"apply input factor": 1.0},
        "foof-activation": inputs | {"apply to activations": 1.0},
        "kfac": inputs | outputs | {"apply input factor": 1.0, "apply output factor": 1.0},
        "kfac-activation": inputs | outputs | {"apply to activations": 1.0, "apply to slopes": 1.0},
        "natural": dict.fromkeys(
            ("pass of the draws", "Gram matrix", "its solution", "apply the draws"), 1.0
        ),
    }[rule]


def multiplications(widths: list[int], size: int, rule: str, period: int) -> float:
    """Return the multiplications of a step over those of SGD's, by the cost model."""
    mine = DRAWS**3 / 6 if rule == "natural" else 0.0
    plain = 0.0
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        sizes = (before + 1, after, size)
        mine += step_cost(*sizes, rule=rule, T=period, samples=DRAWS, first=i == 0).total
        plain += step_cost(*sizes, rule="sgd", first=i == 0).total
    return mine / plain


def clocked(call: Step, times: int, sync: Callable[[], None]) -> float:
    """Return the seconds of one call, on average."""
    sync()
    start = time.perf_counter()
    for _ in range(times):
        call()
    sync()
    return (time.perf_counter() - start) / times


def over_cycle(values: list[float], period: int) -> float:
    """Return the mean over a period of the medians of turns with and without a refresh."""
    if period <= STEPS:
        return statistics.median(values)
    with_one = values[CYCLE - 1 :: CYCLE]  # a period of a whole cycle ends with its last turn
    without = [value for i, value in enumerate(values) if i % CYCLE != CYCLE - 1]
    return ((CYCLE - 1) * statistics.median(without) + statistics.median(with_one)) / CYCLE


def measure(name: str, device: torch.device, cycles: int) -> list[dict[str, Any]]:
    """Return a row a contender, for one network."""
    widths, size = [int(width) for width in name.split("-")], NETWORKS[name]
    sync = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(size, widths[0], generator=generator).to(device)
    labels = torch.randint(widths[-1], (size,), generator=generator).to(device)
    names = list(optimisers(mlp(widths, streams=Streams(0))))
    made = {key: stepper(widths, key, (inputs, labels)) for key in names}
    parts = products(widths, size, device)
    for step, _, _ in made.values():  # the first step builds a preconditioner
        step()
    for part in parts.values():
        part()
    # the warm-up was step 1 of a period, so the first turn is shorter by that one
    seconds: dict[str, list[float]] = {key: [] for key in made}
    floors: dict[str, list[float]] = {key: [] for key in parts}
    for turn in range(cycles * CYCLE):
        for key, (step, _, _) in made.items():
            if "Muon" in key and turn >= MUON_TURNS:
                continue
            steps = 1 if "Muon" in key else STEPS - (turn == 0)
            seconds[key].append(clocked(step, steps, sync))
        for key, part in parts.items():
            floors[key].append(clocked(part, 2, sync))
    rows = []
    for key, (_, rule, period) in made.items():
        own = floor_parts(rule, period)
        ratios = [mine / plain for mine, plain in zip(seconds[key], seconds["SGD"], strict=False)]
        least = [
            1 + sum(share * floors[part][turn] for part, share in own.items()) / plain
            for turn, plain in enumerate(seconds["SGD"])
        ]
        ratio, floor = over_cycle(ratios, period), statistics.median(least)
        row = {
            "network": name,
            "batch": size,
            "optimiser": key,
            "milliseconds_a_step": 1e3 * over_cycle(seconds[key], period),
            "over_sgd": ratio,
            "floor_over_sgd": floor if own else None,
            "over_floor": ratio / floor if own else None,
            "multiplications_over_sgd": multiplications(widths, size, rule, period)
            if own
            else None,
            "floor_parts_milliseconds": {
                part: 1e3 * share * statistics.median(floors[part]) for part, share in own.items()
            },
        }
        rows.append(row | verdict(key, period, row))
    return rows


def verdict(key: str, period: int, row: dict[str, Any]) -> dict[str, Any]:
    """Return the goal of a figure and whether it is met."""
    if period == 100:
        return {"goal_over_floor": FLOOR_GOAL, "met": row["over_floor"] <= FLOOR_GOAL}
    if key in GOALS:
        return {"goal_over_sgd": GOALS[key], "met": row["over_sgd"] <= GOALS[key]}
    return {}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows for reading."""
    lines = [f"{'':32}{'ms':>8}{'x SGD':>8}{'floor':>8}{'x floor':>9}{'count':>8}"]
    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network]
        lines.append(f"{network}, batch {own[0]['batch']}")
        for row in own:
            cells = [row["over_sgd"], row["floor_over_sgd"], row["over_floor"]]
            shown = [f"{'':>8}" if cell is None else f"{cell:8.2f}" for cell in cells]
            count = row["multiplications_over_sgd"]
            counted = "" if count is None else f"{count:8.2f}"
            goal = {True: "  goal met", False: "  goal missed"}.get(row.get("met"), "")
            ms = row["milliseconds_a_step"]
            lines.append(f"  {row['optimiser']:30}{ms:8.2f}{''.join(shown)} {counted}{goal}")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="where to run (default: cpu)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: 2)")
    parser.add_argument(
        "--quick", action="store_true", help="one cycle of the smaller network, nothing written"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    cycles = 1 if options.quick else 4
    rows: list[dict[str, Any]] = []
    for name in list(NETWORKS)[: 1 if options.quick else None]:
        rows += measure(name, device, cycles)
        print(table([row for row in rows if row["network"] == name]), flush=True)
    if options.quick:
        return
    script = Path(__file__)
    if device.type != "cpu":
        script = script.with_stem(f"{script.stem}_{device.type}")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    write(str(script), {
        "device": where, "torch_threads": options.threads, "steps_a_turn": STEPS,
        "turns": cycles * CYCLE, "fisher_samples": DRAWS,
        "floor": "SGD's step and the products of the algorithm, timed alone in the same turns",
        "rows": rows,
    })  # fmt: skip


if __name__ == "__main__":
    main()
