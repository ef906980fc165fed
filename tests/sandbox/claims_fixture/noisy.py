"""A claim that prints on every channel there is, when imported, run and swept."""

import ctypes
import os
from typing import Any

from sandbox.bench import Comparison, Paper, Run

PAPER = Paper("noisy2026print", bibtex="@misc{noisy, title={Noisy}}")
print("noise: imported")


def piece(i: int) -> dict[str, Any]:
    """Print from wherever the sweep runs."""
    print("noise: swept", flush=True)
    return {"i": i}


@PAPER.claim("chatty", says="It chats.", tag="standard")
def chatty(run: Run) -> Comparison:
    print("noise: run")
    os.write(1, b"noise: system call\n")
    ctypes.CDLL(None).printf(b"noise: compiled code\n")
    total = sum(out["i"] for out in run.sweep(piece, [1, 2], name="pieces"))
    return Comparison("sum", 3.0, total, 0.0, "integers")


@PAPER.claim("leaves", says="It calls sys.exit.", tag="standard")
def leaves(run: Run) -> Comparison:
    raise SystemExit(0)


@PAPER.claim("last", says="It is run all the same.", tag="standard")
def last(run: Run) -> Comparison:
    print("noise: at last")
    ctypes.CDLL(None).printf(b"noise: at the very last\n")
    return Comparison("one", float("inf"), 1.0, 0.0, "far off")
