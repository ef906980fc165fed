"""Importance of a perceptron's parameters, against a loop over inputs and mapped gradients.

The exact Fisher diagonal, the absolute Fisher and memory aware synapses of a 784-1000-1000-10
network over 1,000 inputs, in float64 and float32. The loop takes one input at a time, a backward
pass a label; it and the mapped gradients (``torch.func``, in pieces) are timed on fewer inputs,
and scaled to all: each takes a time proportional to their number. All take turns. Before that,
the three are compared on inputs that all of them see.

    python benchmarks/bench_importance.py [--quick] [--device cuda]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from paired import in_turns, write
from torch import Tensor, nn

from sandbox.regularisers.importance import absolute_fisher, fisher_diagonal, memory_aware
from sandbox.training.models import mlp
from theory.streams import Streams

WIDTHS, INPUTS = [784, 1000, 1000, 10], 1000
LOOPED, MAPPED = 5, 20
"""Inputs that the loop and the mapped gradients are timed on."""
PIECE = 4
"""Inputs whose gradients, in every label, are mapped at once: 2 GB in half of them in float64."""
GOALS = {"loop": 20.0, "mapped": 3.0}
AGREEMENT = 1e-12
"""Largest difference in float64, over the largest entry of the parameter."""

Measure = Callable[[nn.Module, Tensor], dict[str, Tensor]]
OURS: dict[str, Measure] = {
    "exact Fisher": fisher_diagonal,
    "absolute Fisher": absolute_fisher,
    "memory aware": memory_aware,
}


def loop(name: str, model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Return a measure from a backward pass an input and a label."""
    names, every = zip(*model.named_parameters(), strict=True)
    sums = [torch.zeros_like(p) for p in every]
    for one in inputs:
        outputs = model(one[None])[0]
        if name == "memory aware":
            slopes = torch.autograd.grad(outputs.softmax(0).square().sum(), every)
            for total, slope in zip(sums, slopes, strict=True):
                total += slope.abs()
            continue
        scores, chances = outputs.log_softmax(0), outputs.detach().softmax(0)
        for score, chance in zip(scores, chances, strict=True):
            slopes = torch.autograd.grad(score, every, retain_graph=True)
            for total, slope in zip(sums, slopes, strict=True):
                if name == "exact Fisher":
                    total.addcmul_(slope, slope * chance)
                else:
                    total.add_(slope.abs_() * chance)
    return {key: (total / len(inputs)).detach() for key, total in zip(names, sums, strict=True)}


def mapped(name: str, model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Return a measure from mapped gradients of single inputs, in pieces."""
    values = {key: p.detach() for key, p in model.named_parameters()}

    def flat(at: dict[str, Tensor], one: Tensor) -> Tensor:
        outputs: Tensor = torch.func.functional_call(model, at, (one[None],))[0]
        return outputs

    def length(at: dict[str, Tensor], one: Tensor) -> Tensor:
        return flat(at, one).softmax(0).square().sum()

    def scores(at: dict[str, Tensor], one: Tensor) -> tuple[Tensor, Tensor]:
        outputs = flat(at, one)
        return outputs.log_softmax(0), outputs.softmax(0)

    sums = {key: torch.zeros_like(value) for key, value in values.items()}
    labelled = name != "memory aware"
    slopes_of = torch.func.jacrev(scores, has_aux=True) if labelled else torch.func.grad(length)
    for part in torch.split(inputs, PIECE if labelled else 10 * PIECE):
        found = torch.func.vmap(slopes_of, (None, 0))(values, part)
        if not labelled:
            for key, slope in found.items():
                sums[key] += slope.abs_().sum(dim=0)
            continue
        slopes, chances = found
        for key, slope in slopes.items():
            each = slope.square_() if name == "exact Fisher" else slope.abs_()
            sums[key] += torch.einsum("nc,nc...->...", chances, each)
    return {key: total / len(inputs) for key, total in sums.items()}


def difference(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    """Return the largest difference over the largest entry of its parameter."""
    return max(
        float((left[key] - part).abs().max() / part.abs().max()) for key, part in right.items()
    )


def compare(
    widths: list[int], count: int, rounds: int, dtype: torch.dtype, device: torch.device
) -> list[dict[str, Any]]:
    """Return a row a measure."""
    model = mlp(widths, streams=Streams(0)).to(device, dtype)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(count, widths[0], generator=generator, dtype=dtype).to(device)
    sync = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    few, some = inputs[:LOOPED], inputs[:MAPPED]

    def finished(call: Callable[[], Any]) -> Callable[[], Any]:
        """Return the call, waiting for the device."""

        def run() -> Any:
            made = call()
            sync()
            return made

        return run

    rows = []
    for name, ours in OURS.items():
        wanted = ours(model, few)
        seconds, found = in_turns({
            "ours": finished(lambda ours=ours: ours(model, inputs)),
            "loop": finished(lambda name=name: loop(name, model, few)),
            "mapped": finished(lambda name=name: mapped(name, model, some)),
        }, rounds=rounds)  # fmt: skip
        scaled = {
            "ours": seconds["ours"],
            "loop": seconds["loop"] * count / LOOPED,
            "mapped": seconds["mapped"] * count / MAPPED,
        }
        ratios = {other: scaled[other] / scaled["ours"] for other in GOALS}
        apart = {
            "loop": difference(wanted, found["loop"]),
            "mapped": difference(ours(model, some), found["mapped"]),
        }
        agree = dtype != torch.float64 or max(apart.values()) <= AGREEMENT
        rows.append({
            "measure": name, "dtype": str(dtype).removeprefix("torch."), "seconds": scaled,
            "times_faster_than": ratios, "goals": GOALS, "relative_difference": apart,
            "met": agree and all(ratios[other] >= goal for other, goal in GOALS.items()),
        })  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows for reading."""
    lines = [f"{'':26}{'seconds':>9}{'x loop':>9}{'x mapped':>10}{'difference':>12}"]
    for row in rows:
        ratio, apart = row["times_faster_than"], max(row["relative_difference"].values())
        lines.append(
            f"{row['measure'] + ', ' + row['dtype']:26}{row['seconds']['ours']:9.3f}"
            f"{ratio['loop']:9.1f}{ratio['mapped']:10.1f}{apart:12.1e}"
            f"{'  goals met' if row['met'] else '  goals missed'}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="where to run (default: cpu)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: 2)")
    parser.add_argument(
        "--quick", action="store_true", help="a small network, one round, nothing written"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    widths, count = ([100, 200, 200, 10], 200) if options.quick else (WIDTHS, INPUTS)
    rows: list[dict[str, Any]] = []
    for dtype in (torch.float64, torch.float32):
        rows += compare(widths, count, 1 if options.quick else 5, dtype, device)
    print(table(rows))
    if options.quick:
        return
    script = Path(__file__)
    if device.type != "cpu":
        script = script.with_stem(f"{script.stem}_{device.type}")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    write(str(script), {
        "device": where, "torch_threads": options.threads, "widths": widths, "inputs": count,
        "inputs_of_the_loop": LOOPED, "inputs_of_mapped_gradients": MAPPED,
        "scaled": "seconds of the loop and of mapped gradients, times all inputs over theirs",
        "rows": rows,
    })  # fmt: skip


if __name__ == "__main__":
    main()
