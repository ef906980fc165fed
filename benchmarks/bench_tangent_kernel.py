"""Tangent kernel of a 784-512-512-10 ReLU network in float64: layer by layer, and dense.

Contenders at 32 inputs: ``structured`` (``tangent_kernel``) and ``dense``, the Jacobian of all
outputs in all 669,706 parameters and then its product with itself. The Jacobian comes from
``torch.func`` (``vmap`` of ``jacrev``, one Jacobian a sample) or from one backward pass batched
over all rows (``is_grads_batched``), whichever is the faster of the two here; it stays in one
block a parameter tensor, and the products of the blocks are added. Both parts are reported.
Forming and contracting the Jacobian is what ``ratio`` compares with; the product alone, as if
the Jacobian were there already, stands beside it. One thread; ratios of processor time, which
a busy machine disturbs least, and of the medians of the time elapsed.

At 1000 inputs in blocks of 100 the kernel has 10^8 entries, 800 MB. ``beyond_kernel_bytes`` is
the rise of the process's peak resident memory over what it held before, less the kernel.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from paired import write
from torch import Tensor, nn

from sandbox.landscape import kernel_matrix, tangent_kernel
from sandbox.training.models import mlp
from theory.streams import Streams

WIDTHS = (784, 512, 512, 10)
FEW, MANY, BLOCK = 32, 1000, 100
ROUNDS = 5


def case(count: int) -> tuple[nn.Module, Tensor]:
    """Return the network and its inputs."""
    net = mlp(WIDTHS, streams=Streams(0), dtype=torch.float64)
    return net, torch.from_numpy(Streams(0).generator("inputs").normal(size=(count, WIDTHS[0])))


def by_functions(net: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Return Jacobian blocks by torch.func, one Jacobian a sample."""
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def outputs(chosen: dict[str, Tensor], sample: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(net, chosen, (sample[None],))
        return found[0]

    slopes = torch.func.vmap(torch.func.jacrev(outputs), (None, 0))(parameters, inputs)
    return [slope.flatten(0, 1).flatten(1) for slope in slopes.values()]


def by_rows(net: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Return Jacobian blocks by one backward pass batched over the rows."""
    outputs = net(inputs).reshape(-1)
    probes = torch.eye(len(outputs), dtype=outputs.dtype)
    slopes = torch.autograd.grad(outputs, list(net.parameters()), probes, is_grads_batched=True)
    return [slope.flatten(1) for slope in slopes]


def product(blocks: list[Tensor]) -> Tensor:
    """Return J J'."""
    found = blocks[0] @ blocks[0].T
    for block in blocks[1:]:
        found.addmm_(block, block.T)
    return found


def timed(contenders: dict[str, Callable[[], Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Time contenders in turns; return the medians and the last results."""
    results = {name: call() for name, call in contenders.items()}
    elapsed: dict[str, list[float]] = {name: [] for name in contenders}
    worked: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, call in contenders.items():
            start, begun = time.perf_counter(), time.process_time()
            call()
            elapsed[name].append(time.perf_counter() - start)
            worked[name].append(time.process_time() - begun)
    figures = {
        name: {
            "median_seconds": float(np.median(elapsed[name])),
            "fastest_seconds": min(elapsed[name]),
            "processor_seconds": min(worked[name]),
        }
        for name in contenders
    }
    return figures, results


def few() -> dict[str, Any]:
    """Compare the two ways on a few inputs."""
    net, inputs = case(FEW)
    ways = {"jacobian_by_functions": by_functions, "jacobian_by_rows": by_rows}
    seconds = {}
    for name, way in ways.items():
        way(net, inputs)
        start = time.process_time()
        way(net, inputs)
        seconds[name] = time.process_time() - start
    best = min(seconds, key=lambda name: seconds[name])
    blocks = ways[best](net, inputs)
    figures, results = timed({
        "structured": lambda: kernel_matrix(tangent_kernel(net, inputs)),
        "dense_jacobian": lambda: ways[best](net, inputs),
        "dense_product": lambda: product(blocks),
    })
    wanted = results["dense_product"]
    return {
        **figures,
        "dense_jacobian_way": {"chosen": best, **seconds},
        **{
            f"ratio_{kind}": {
                "dense": (figures["dense_jacobian"][kind] + figures["dense_product"][kind])
                / figures["structured"][kind],
                "dense_product_alone": figures["dense_product"][kind] / figures["structured"][kind],
            }
            for kind in ("processor_seconds", "median_seconds")
        },
        "largest_relative_difference": float(
            (results["structured"] - wanted).abs().max() / wanted.abs().max()
        ),
    }


def many() -> dict[str, Any]:
    """Measure many inputs, in blocks; to be run in a process of its own."""
    net, inputs = case(MANY)
    tangent_kernel(net, inputs[:2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start, begun = time.perf_counter(), time.process_time()
    kernel = tangent_kernel(net, inputs, blocks=BLOCK)
    figures = {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - begun,
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = kernel.numel() * kernel.element_size()
    return {
        "blocks": BLOCK,
        **figures,
        "kernel_bytes": size,
        "peak_resident_bytes": peak,
        "beyond_kernel_bytes": peak - before - size,
    }


def main() -> None:
    """Measure and write the figures."""
    torch.set_num_threads(1)
    if sys.argv[1:] == ["many"]:
        print(json.dumps(many()))
        return
    apart = subprocess.run(
        [sys.executable, __file__, "many"], capture_output=True, text=True, check=True
    )
    figures = {
        "widths": WIDTHS,
        "threads": 1,
        f"{FEW} inputs": few(),
        f"{MANY} inputs": json.loads(apart.stdout),
        "load_average": os.getloadavg(),
    }
    write(__file__, figures)


if __name__ == "__main__":
    main()
