"""Settings of the whole test run: shapes enforced, warnings are errors, no luck involved."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import settings
from jaxtyping import config, install_import_hook

# Kernels compiled by numba live in _*kernels modules; annotating wrappers would break them.
# theory.checks is left out: its work is to be handed what does not fit.
_HOOKED = [
    "theory.streams",
    "deeplinear.rules",
    "deeplinear.modes",
    "deeplinear.times",
    "deeplinear.invariants",
    "deeplinear.sweep",
    "deeplinear.matrices",
    "deeplinear.balanced",
    "deeplinear._riccati",
    "deeplinear.flow",
    "deeplinear.teacher",
    "sandbox.training._formats",
    "sandbox.training.data",
    "sandbox.training.ensembles",
    "sandbox.training.measures",
    "sandbox.training.objective",
    "sandbox.training.samples",
    "sandbox.training.tasks",
    "synapses._short_term",
    "synapses._trains",
    "synapses.probability_gradients",
    "synapses.quantal",
    "synapses.traces",
]
install_import_hook(_HOOKED, "house_typecheck.typechecked")

settings.register_profile("house", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace):
    doctest_namespace["np"] = np
    doctest_namespace["sp"] = sp


@pytest.fixture(autouse=True)
def _annotations_where_input_is_meant_to_fit(request):
    if request.node.get_closest_marker("bad_input") is None:
        yield
        return
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
