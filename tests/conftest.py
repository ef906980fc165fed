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
    "theory._composition",
    "theory._descent_radii",
    "theory._gauss_length",
    "theory._gibbs",
    "theory._glass_arrays",
    "theory._linear_models",
    "theory._model_checks",
    "theory._monotone",
    "theory._network_models",
    "theory._overdamped",
    "theory._pl_ratio",
    "theory._quench",
    "theory._ratio_norm",
    "theory._rippled_bowl",
    "theory._stationary",
    "theory._stochastic_descent",
    "theory.double_descent",
    "theory.phase_diagram",
    "theory.product_valley",
    "theory.random_roughness",
    "theory.variational",
    "theory._step_costs",
    "theory.conditioning",
    "theory.descent_rates",
    "theory.glass",
    "theory.glass_estimators",
    "theory.glass_geometry",
    "theory.glass_process",
    "theory._importance_moments",
    "theory.importance",
    "theory.interpolation",
    "theory.langevin",
    "theory.plstar",
    "theory.preconditioning",
    "theory.rough_diffusion",
    "theory.rugged",
    "theory.sparsity",
    "theory.tangent_models",
    "theory.wells",
    "theory.wide_kernels",
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
    "sandbox.optim._alice_diagnosis",
    "sandbox.optim._capture",
    "sandbox.optim._factor_state",
    "sandbox.optim._inverse_root",
    "sandbox.optim._fallback",
    "sandbox.network.columns",
    "sandbox.optim._gram",
    "sandbox.optim._kronecker",
    "sandbox.optim._kronecker_factors",
    "sandbox.optim._laplace",
    "sandbox.optim._layer_averages",
    "sandbox.optim._layer_factors",
    "sandbox.network.layers",
    "sandbox.optim._layerwise",
    "sandbox.optim._moving_average",
    "sandbox.network.output_gradients",
    "sandbox.optim.fisher",
    "sandbox.optim.foof",
    "sandbox.optim.kfac",
    "sandbox.optim.natural",
    "sandbox.optim.preconditioner",
    "sandbox.regularisers._coding",
    "sandbox.regularisers._output_columns",
    "sandbox.regularisers._per_input",
    "sandbox.regularisers._step_sums",
    "sandbox.regularisers._step_watch",
    "sandbox.regularisers._weight_choice",
    "sandbox.regularisers.compression",
    "sandbox.regularisers.quadratic",
    "sandbox.regularisers.ratio_norm",
    "sandbox.regularisers.synaptic_intelligence",
    "sandbox.landscape._layers",
    "sandbox.landscape.adapter",
    "sandbox.landscape.tangent",
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
