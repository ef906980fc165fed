"""Random draws inside brian2's code, on every target, and injected numbers in their stead."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy import ndarray

from synapses._brian_units import brian
from theory.checks import as_matrix


@cache
def release_draw() -> Any:
    """Return the function that draws one number from [0, 1) for each synapse."""
    # It is rand(), and gives the same numbers, except that brian2 is told that the order in
    # which synapses are served is of no account, which spares its warning here and nowhere
    # else. That is true where each synapse keeps its draw in a local: the draws are independent
    # and equally distributed, so that exchanging them changes no probability.
    b2 = brian()

    def draw(index: Any) -> Any:
        """Draw on the numpy target."""
        return np.random.rand(*np.shape(index))  # ruff: ignore[numpy-legacy-random] - brian2.seed() seeds it

    function = b2.Function(
        lambda: float(draw(0)),
        arg_units=[],
        return_unit=1,
        stateless=True,
        auto_vectorise=True,
    )
    add = function.implementations.add_implementation
    rand = {"_rand": b2.DEFAULT_FUNCTIONS["rand"]}
    add("numpy", draw)
    add(
        "cython",
        "cdef double release_draw(int index):\n    return _rand(index)\n",
        dependencies=rand,
        name="release_draw",
    )
    code = "static inline double release_draw(const int index) { return _rand(index); }"
    add("cpp", {"support_code": code}, dependencies=rand, name="release_draw")
    return function


@cache
def synapse_number() -> Any:
    """Return the function that gives each synapse its number, which brian2's code knows."""
    function = brian().Function(
        lambda: 0,
        arg_units=[],
        return_unit=1,
        return_type="integer",
        stateless=True,
        auto_vectorise=True,
    )
    add = function.implementations.add_implementation
    add("numpy", np.asarray)
    add(
        "cython",
        "cdef int synapse_number(int index):\n    return index\n",
        name="synapse_number",
    )
    code = "static inline int synapse_number(const int index) { return index; }"
    add("cpp", {"support_code": code}, name="synapse_number")
    return function


@cache
def quantum() -> Any:
    """Return the function that draws the size of a quantum: gamma with mean 1, by its shape."""
    b2 = brian()

    def sample(shape: Any, index: Any) -> Any:
        """Draw on the numpy target."""
        # ruff: ignore[numpy-legacy-random] - brian2.seed() seeds it
        return np.random.gamma(shape, 1 / shape, np.shape(index))

    function = b2.Function(
        lambda shape: float(sample(shape, 0)),
        arg_units=[1],
        return_unit=1,
        stateless=True,
        auto_vectorise=True,
    )
    add = function.implementations.add_implementation
    random = {name: b2.DEFAULT_FUNCTIONS[name[1:]] for name in ("_rand", "_randn")}
    add("numpy", sample)
    # Marsaglia & Tsang (2000), doi:10.1145/358407.358414; shapes below 1 by their boost
    cython = """
    from libc.math cimport sqrt as quantum_sqrt, log as quantum_log, pow as quantum_pow
    cdef double release_quantum(double shape, int index):
        cdef double boost = 1.0
        cdef double d = shape - 1.0 / 3.0
        if shape < 1.0:
            boost = quantum_pow(1.0 - _rand(index), 1.0 / shape)
            d += 1.0
        cdef double c = 1.0 / quantum_sqrt(9.0 * d)
        cdef double x, v
        while True:
            x = _randn(index)
            v = (1.0 + c * x) ** 3
            if v > 0.0 and quantum_log(1.0 - _rand(index)) < (
                0.5 * x * x + d - d * v + d * quantum_log(v)
            ):
                return boost * d * v / shape
    """
    add("cython", cython, dependencies=random, name="release_quantum")
    cpp = """
    static double release_quantum(const double shape, const int index)
    {
        double boost = 1.0, d = shape - 1.0 / 3.0;
        if (shape < 1.0) { boost = pow(1.0 - _rand(index), 1.0 / shape); d += 1.0; }
        const double c = 1.0 / sqrt(9.0 * d);
        while (true) {
            const double x = _randn(index), v = pow(1.0 + c * x, 3);
            if (v > 0.0
                && log(1.0 - _rand(index)) < 0.5 * x * x + d - d * v + d * log(v))
                return boost * d * v / shape;
        }
    }
    """
    add("cpp", {"support_code": cpp}, dependencies=random, name="release_quantum")
    return function


def draws(uniforms: Any, clock: Any) -> tuple[str, dict[str, Any], ndarray | None]:
    """Return the expression that draws, what it refers to, and the checked numbers if any."""
    if uniforms is None:
        return "draw_syn()", {"draw_syn": release_draw()}, None
    numbers = as_matrix("uniforms", uniforms)
    if ((numbers < 0) | (numbers >= 1)).any():
        where = tuple(int(i) for i in np.argwhere((numbers < 0) | (numbers >= 1))[0])
        raise ValueError(f"uniforms{list(where)} = {numbers[where]}: must be in [0, 1)")
    fixed = brian().TimedArray(numbers, dt=clock.dt)
    names = {"uniforms_syn": fixed, "number_syn": synapse_number()}
    return "uniforms_syn(t, number_syn())", names, numbers


@cache
def guard_class() -> type:
    """Return a brian2 object that refuses runs for which the injected numbers do not suffice."""

    class UniformsGuard(brian().BrianObject):  # type: ignore[misc]  # brian2 has no types
        """Checks length and time step before each run; does nothing during it."""

        def __init__(self, synapses: Any, rows: int) -> None:
            clock = synapses.source.clock
            super().__init__(clock=clock, when="start", name=synapses.name + "_uniforms*")
            self.group, self.rows, self.step = synapses, rows, float(clock.dt_)

        def before_run(self, run_namespace: Any) -> None:
            """Compare the end of the run with the rows there are."""
            steps = int(self.clock._i_end)  # brian2 has no public name for the end of a run
            if steps > self.rows:
                raise ValueError(
                    f"uniforms has {self.rows} rows: must have one for each of the {steps} time"
                    " steps of the run"
                )
            if not np.isclose(self.clock.dt_, self.step, rtol=1e-12):
                raise ValueError(
                    f"uniforms: the time step is {self.clock.dt_:g} s, but was {self.step:g} s when"
                    " the synapses were built; set defaultclock.dt first"
                )
            super().before_run(run_namespace)

    return UniformsGuard
