"""brian2 in the test run: imported once, quietly, and left as it was found."""

import importlib
import logging
import sys
import warnings
from contextlib import contextmanager

import pytest

# brian2 2.9 calls pyparsing and sympy by names that these have since deprecated
QUIET = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")

# a group that a test builds and never runs is no fault of the synapses
UNUSED = "unused_brian_object"


def quiet_import():
    """Import brian2 without its hold on warnings and on uncaught errors."""
    hook = sys.excepthook
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = importlib.import_module("brian2")
    module.BrianLogger.suppress_name(UNUSED)
    logging.captureWarnings(False)
    sys.excepthook = hook
    return module


def complaints(logs):
    """Return what brian2 warned of, groups aside that were never run."""
    return [message for _, name, message in logs if not name.endswith(UNUSED)]


@contextmanager
def quiet_brian2():
    """Lend brian2 on its numpy target with time step 1 ms; a warning it logs fails the test."""
    module = quiet_import()
    target, step = module.prefs.codegen.target, module.defaultclock.dt
    module.start_scope()
    module.prefs.codegen.target = "numpy"
    module.defaultclock.dt = 1 * module.ms
    module.seed(2021)
    try:
        with importlib.import_module("brian2.utils.logger").catch_logs() as logs:
            yield module
        assert not complaints(logs), complaints(logs)
    finally:
        module.prefs.codegen.target = target
        module.defaultclock.dt = step
        module.start_scope()


def clockwork(b2, size=1, every=1, extra="", **names):
    """Return a group whose neurons all spike at steps 0, every, 2 every, ..."""
    condition = f"timestep(t, dt) % {every} == 0"
    equations = extra or "dummy : 1"
    return b2.NeuronGroup(size, equations, threshold=condition, reset="", namespace=names)
