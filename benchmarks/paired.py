"""Paired timing: every contender in one run, in turns, so that ratios mean something.

Each benchmark writes ``<name>.json``: the figures, the ratios, and the environment
they were measured in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sandbox.bench.record import Settings
from sandbox.bench.runner import environment

__all__ = ["in_turns", "write"]


def in_turns(
    contenders: dict[str, Callable[[], Any]], *, rounds: int = 5
) -> tuple[dict[str, float], dict[str, Any]]:
    """Time contenders in turns; return the median seconds and the last results.

    Parameters
    ----------
    contenders : dict
        Functions without arguments, by name. Each is called once beforehand, so
        that compilation and first-touch costs stay out; say them separately.
    rounds : int
        How often each is timed.

    Returns
    -------
    seconds : dict
        Median wall-clock time by name.
    results : dict
        What each returned.
    """
    results = {name: call() for name, call in contenders.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            samples[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in samples.items()}, results


def write(script: str, figures: dict[str, Any]) -> None:
    """Write the figures with their environment beside the script, and print them.

    Parameters
    ----------
    script : str
        ``__file__`` of the benchmark.
    figures : dict
        Numbers and text.
    """
    path = Path(script).with_suffix(".json")
    text = json.dumps({"environment": environment(Settings()), **figures}, indent=1)
    path.write_text(text + "\n")
    print(json.dumps(figures, indent=1))
