"""Settings of the whole test run: shapes enforced, warnings are errors, no luck involved."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import settings
from jaxtyping import install_import_hook

# Kernels compiled by numba live in _*kernels modules; annotating wrappers would break them.
_HOOKED = [
    "theory.checks",
    "theory.streams",
    "deeplinear.rules",
    "deeplinear.modes",
    "deeplinear.times",
    "deeplinear.invariants",
    "deeplinear.matrices",
    "deeplinear.flow",
    "deeplinear.teacher",
]
install_import_hook(_HOOKED, "house_typecheck.typechecked")

settings.register_profile("house", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace):
    doctest_namespace["np"] = np
    doctest_namespace["sp"] = sp
