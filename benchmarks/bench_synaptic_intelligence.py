"""What watching Adam's steps costs: whole training steps with a tracker over those without.

A step is forward pass, backward pass, optimiser, and for the variants that want an independent
batch a second forward pass and gradient; those are compared with Adam that computes the second
gradient for nothing. Contenders take turns of a few steps each, so that what else the machine
does hits them alike; a ratio is the median over turns.

    python benchmarks/bench_synaptic_intelligence.py [--quick] [--device cuda]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from paired import write
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sandbox.regularisers.synaptic_intelligence import SynapticIntelligence
from sandbox.training.models import mlp
from theory.streams import Streams

NETWORK = "784-1000-1000-10"
GOALS = {256: 1.3, 1000: 1.15}
"""Batch sizes, and what a step may cost over Adam's, or over Adam's with a second gradient."""
CONTENDERS: dict[str, tuple[dict[str, Any] | None, bool]] = {
    "Adam": (None, False),
    "SI": ({"variant": "si"}, False),
    "SI, total gradient": ({"variant": "si", "gradient": "total"}, False),
    "SOS, alpha = 0": ({"variant": "sos"}, False),
    "Adam, second gradient": (None, True),
    "SIU": ({"variant": "siu"}, True),
    "SIB": ({"variant": "sib"}, True),
    "SOS, alpha = 1": ({"variant": "sos", "alpha": 1.0}, True),
}
"""What is watched, and whether a second gradient is computed."""
STEPS = 5  # a turn

Batch = tuple[Tensor, Tensor]


def stepper(
    widths: list[int], options: dict[str, Any] | None, second: bool, batches: tuple[Batch, Batch]
) -> Callable[[], Any]:
    """Return what does one step of a contender, on a network of its own."""
    model: nn.Module = mlp(widths, streams=Streams(0)).to(batches[0][0].device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-5)
    tracker = None if options is None else SynapticIntelligence(model, optimizer, **options)
    trained = [p for p in model.parameters() if p.requires_grad]
    (inputs, labels), (others, their_labels) = batches

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        if second:
            loss = cross_entropy(model(others), their_labels)
            if tracker is None:
                torch.autograd.grad(loss, trained)
            else:
                tracker.observe(loss)
        optimizer.step()

    return step


def measure(size: int, device: torch.device, turns: int) -> list[dict[str, Any]]:
    """Return a row a contender, for one batch size."""
    widths = [int(width) for width in NETWORK.split("-")]
    sync = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    generator = torch.Generator().manual_seed(0)
    batches = tuple(
        (
            torch.rand(size, widths[0], generator=generator).to(device),
            torch.randint(widths[-1], (size,), generator=generator).to(device),
        )
        for _ in range(2)
    )
    steps = {
        name: stepper(widths, options, second, batches)
        for name, (options, second) in CONTENDERS.items()
    }
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, step in steps.items():
            sync()
            start = time.perf_counter()
            for _ in range(STEPS):
                step()
            sync()
            seconds[name].append((time.perf_counter() - start) / STEPS)
    rows = []
    for name, (options, second) in CONTENDERS.items():
        plain = "Adam, second gradient" if second and options is not None else "Adam"
        pairs = zip(seconds[name], seconds[plain], strict=True)
        ratio = statistics.median(mine / theirs for mine, theirs in pairs)
        row = {
            "batch": size,
            "contender": name,
            "milliseconds_a_step": 1e3 * statistics.median(seconds[name]),
            "over": plain,
            "ratio": ratio,
        }
        goal = GOALS.get(size)
        if options is not None and goal is not None:
            row |= {"goal": goal, "met": ratio <= goal}
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows for reading."""
    lines = [f"{'batch':>6}  {'':24}{'ms':>8}{'ratio':>8}  over"]
    for row in rows:
        goal = {True: ", goal met", False: ", goal missed"}.get(row.get("met"), "")
        figures = f"{row['milliseconds_a_step']:8.2f}{row['ratio']:8.3f}"
        lines.append(f"{row['batch']:6}  {row['contender']:24}{figures}  {row['over']}{goal}")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="where to run (default: cpu)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: 2)")
    parser.add_argument(
        "--quick", action="store_true", help="three turns at the smaller batch, nothing written"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    rows: list[dict[str, Any]] = []
    for size in list(GOALS)[: 1 if options.quick else None]:
        rows += measure(size, device, 3 if options.quick else 15)
    print(table(rows), flush=True)
    if options.quick:
        return
    script = Path(__file__)
    if device.type != "cpu":
        script = script.with_stem(f"{script.stem}_{device.type}")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    write(str(script), {
        "network": NETWORK, "device": where, "torch_threads": options.threads,
        "steps_a_turn": STEPS, "turns": 15, "rows": rows,
    })  # fmt: skip


if __name__ == "__main__":
    main()
