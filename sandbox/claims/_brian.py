"""brian2 for an experiment: quiet, on its numpy target, left as it was found."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

__all__ = ["clockwork", "quiet_brian"]


@contextmanager
def quiet_brian(dt_s: float, seed: int = 0) -> Generator[Any]:
    """Lend brian2 with its time step and seed set; the numbers it draws are numpy's."""
    import importlib
    import logging
    import sys
    import warnings

    hook = sys.excepthook
    with warnings.catch_warnings():
        # brian2 2.9 calls sympy and pyparsing by names that these have since deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        b2 = importlib.import_module("brian2")
        # its import takes both over
        logging.captureWarnings(False)
        sys.excepthook = hook
        target, step = b2.prefs.codegen.target, b2.defaultclock.dt
        b2.prefs.codegen.target, b2.defaultclock.dt = "numpy", dt_s * b2.second
        b2.seed(seed % 2**32)
        try:
            yield b2
        finally:
            b2.prefs.codegen.target, b2.defaultclock.dt = target, step


def clockwork(b2: Any, every: list[int]) -> Any:
    """Return a group whose neuron i spikes at steps 0, every[i], 2 every[i], ..."""
    group = b2.NeuronGroup(
        len(every), "every : integer (constant)", threshold="timestep(t, dt) % every == 0", reset=""
    )
    group.every = every
    return group
