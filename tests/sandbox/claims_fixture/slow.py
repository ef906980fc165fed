"""A claim with a sweep whose pieces leave a trace, for tests that stop it half-way."""

import os
import time
from pathlib import Path
from typing import Any

from sandbox.bench import Axis, Comparison, Paper, Run

PAPER = Paper("slow2026sweep", bibtex="@misc{slow, title={Slow}}")
PIECES = 16


def piece(i: int) -> dict[str, Any]:
    """Leave a trace, return a square; from some item on, take longer than anyone waits."""
    with Path(os.environ["SWEEP_TRACE"]).open("a") as trace:
        trace.write(f"{i} {os.getpid()}\n")
    if i >= int(os.environ.get("SWEEP_STUCK_FROM", PIECES)):
        time.sleep(60)
    return {"square": i * i}


@PAPER.claim("squares", says="Squares, one after another.", tag="standard")
def squares(run: Run) -> Comparison:
    found = [out["square"] for out in run.sweep(piece, list(range(PIECES)), name="squares")]
    expected = [i**2 for i in range(PIECES)]
    return Comparison(
        "squares", expected, found, 0.0, "integers", axes=(Axis("i", tuple(range(PIECES))),)
    )
