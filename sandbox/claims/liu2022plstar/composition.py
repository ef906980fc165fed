"""Composition: maps of outputs and parameters, and networks with a bottleneck."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.liu2022plstar.paper import PAPER

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from sandbox.claims.liu2022plstar._experiments import System

__all__: list[str] = []

COMPOSITION = lazy("theory.conditioning:composition_conditioning")


def bent(z: np.ndarray) -> np.ndarray:
    """Return z + sin(z)/2, whose slope is between 1/2 and 3/2."""
    import numpy as np

    return np.asarray(z + np.sin(z) / 2)


def bent_slope(z: np.ndarray) -> np.ndarray:
    """Return the slope of ``bent``."""
    import numpy as np

    return np.asarray(1 + np.cos(z) / 2)


def at_outputs(mapped: System, inverse: np.ndarray, z: np.ndarray) -> float:
    """Return the least eigenvalue of mapped equations where the unmapped outputs are z."""
    from sandbox.claims.liu2022plstar._experiments import kernel_minimum

    return kernel_minimum(mapped, inverse @ z)


def at_weights(matrix: np.ndarray, w: np.ndarray) -> float:
    """Return the least eigenvalue of linear equations in parameters that are bent at w."""
    from sandbox.claims.liu2022plstar._experiments import LinearSystem, kernel_minimum

    return kernel_minimum(LinearSystem(matrix * bent_slope(w)), w)


def least_found(function: Callable[[np.ndarray], float], starts: np.ndarray) -> float:
    """Return the least value that simplices from some starts find."""
    from scipy.optimize import minimize

    ends = [
        minimize(
            function,
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-7, "fatol": 1e-14, "maxfev": 4000},
        )
        for start in starts
    ]
    return min(float(end.fun) for end in ends)


@PAPER.claim(
    "composition",
    says="A map whose inverse has a Jacobian of norm at most 1/ρ, applied to the outputs or to the"
    " parameters, leaves at least ρ² of the kernel's least eigenvalue: z + sin(z)/2 leaves a"
    " quarter, and for linear equations the worst point is as bad as that.",
    tag="paper",
    derivation=COMPOSITION,
)
def composition(run: Run) -> list[Comparison]:
    """Search random linear systems, bent at either end, for the worst point."""
    import numpy as np

    from sandbox.claims.liu2022plstar._experiments import Composed, LinearSystem

    equations, parameters = 3, 5
    count, draws, starts = run.pick(quick=(6, 300, 3), full=(24, 5000, 8))
    bounds, worst, typical = [], [], []
    for number in run.progress(range(count), label="systems"):
        generator = run.seeds.generator("systems", number)
        matrix = generator.standard_normal((equations, parameters))
        bounds.append(np.linalg.eigvalsh(matrix @ matrix.T)[0] / 4)
        mapped = Composed(LinearSystem(matrix), bent, bent_slope)
        inverse = np.linalg.pinv(matrix)

        # by the linear outputs, and by the parameters before they are bent
        of_outputs = partial(at_outputs, mapped, inverse)
        of_weights = partial(at_weights, matrix)
        found, random = [], []
        for function, size in ((of_outputs, equations), (of_weights, parameters)):
            random.append(min(function(generator.uniform(-9, 9, size)) for _ in range(draws)))
            found.append(least_found(function, generator.uniform(1, 5, (starts, size))))
        worst.append(found)
        typical.append(random)
    kinds = ("bent outputs", "bent parameters")
    order = np.argsort(bounds)
    least = np.array(bounds)[order]
    predicted = np.repeat(least[:, None], 2, axis=1)
    axes = (Axis("λ_min(K) of the linear system", tuple(4 * least), log=True), Axis("map", kinds))
    return [
        Comparison(
            f"least of {draws} random points",
            predicted,
            np.array(typical)[order],
            tolerance=1e-12,
            reason="rounding",
            relation="at_least",
            quantity="λ_min(K)",
            axes=axes,
            log=True,
        ),
        Comparison(
            "worst point found by search",
            predicted,
            np.array(worst)[order],
            tolerance=1e-6,
            reason="the search ends 1e-7 from the minimum, where the kernel is stationary",
            relative=True,
            quantity="λ_min(K)",
            axes=axes,
            log=True,
        ),
    ]


def rows_of_jacobian(module: Any, inputs: Any) -> np.ndarray:
    """Return the Jacobian of a module's outputs by its parameters, row by row."""
    import numpy as np
    import torch

    weights = list(module.parameters())
    rows = []
    for value in module(inputs).reshape(-1):
        parts = torch.autograd.grad(value, weights, retain_graph=True)
        rows.append(torch.cat([part.reshape(-1) for part in parts]).numpy())
    return np.array(rows)


@PAPER.claim(
    "bottleneck",
    says="The kernel of g∘f is the kernel of g at the outputs of f plus J_g K_f J_gᵀ: a bottleneck"
    " of any width leaves it at least as well conditioned as g alone, and random Fourier features"
    " behind a bottleneck of one unit have λ_min ≥ 1 − (n−1)exp(−n²d²/2) where its values are d"
    " apart.",
    tag="paper",
    derivation=COMPOSITION,
)
def bottleneck(run: Run) -> list[Comparison]:
    """Differentiate whole networks and their halves; draw Fourier features."""
    import numpy as np
    import torch

    from sandbox.landscape import kernel_matrix, tangent_kernel

    generator = run.seeds.generator("bottleneck")
    samples, widths = 4, (1, 2, 4, 8)
    inputs = torch.from_numpy(generator.standard_normal((samples, 2)))
    whole, halves, least = [], [], []
    nn = torch.nn
    for width in widths:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seeds.integer("modules", width))
            f = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, width)).double()
            g = nn.Sequential(nn.Linear(width, 30), nn.Tanh(), nn.Linear(30, 1)).double()
        rows = rows_of_jacobian(nn.Sequential(f, g), inputs)
        kernel = rows @ rows.T
        middle = f(inputs).detach().requires_grad_(True)
        (slopes,) = torch.autograd.grad(g(middle).sum(), middle)
        by_input = np.zeros((samples, samples * width))
        for i in range(samples):
            by_input[i, i * width : (i + 1) * width] = slopes[i]
        above = kernel_matrix(tangent_kernel(g, middle.detach())).numpy()
        inner = kernel_matrix(tangent_kernel(f, inputs)).numpy()
        below = by_input @ inner @ by_input.T
        whole.append(kernel[np.triu_indices(samples)])
        halves.append((above + below)[np.triu_indices(samples)])
        least.append([np.linalg.eigvalsh(k)[0] for k in (above, kernel)])
    entries = tuple(f"{i},{j}" for i, j in zip(*np.triu_indices(samples), strict=True))
    return [
        Comparison(
            "kernel of the whole network",
            np.array(halves).T,
            np.array(whole).T,
            tolerance=1e-10,
            reason="rounding: sums of some hundred products in double precision",
            quantity="K",
            axes=(Axis("entry", entries), Axis("bottleneck", widths)),
        ),
        Comparison(
            "least eigenvalue, against that of the upper half",
            np.array(least)[:, 0],
            np.array(least)[:, 1],
            tolerance=1e-10,
            reason="rounding",
            relation="at_least",
            quantity="λ_min(K)",
            axes=(Axis("width of the bottleneck", widths, log=True),),
            log=True,
        ),
        fourier(run),
    ]


def fourier(run: Run) -> Comparison:
    """Return the least eigenvalue of Fourier features of equally spaced values."""
    import numpy as np

    points, features = 6, run.pick(quick=60_000, full=1_000_000)
    generator = run.seeds.generator("frequencies")
    frequencies = points * generator.standard_normal(features)
    needed = np.sqrt(2 * np.log(2 * points - 2)) / points
    apart = needed * np.array([0.9, 1.0, 1.1, 1.2, 1.3])
    measured, width = [], []
    for distance in apart:
        phases = np.multiply.outer(distance * np.arange(points), frequencies)
        waves = np.exp(1j * phases)
        kernel = (waves @ waves.conj().T).real / features
        values, vectors = np.linalg.eigh(kernel)
        # the sample mean of |sum of v_i exp(i phase_i)|^2 is that eigenvalue
        each = np.abs(vectors[:, 0] @ waves) ** 2
        measured.append(values[0])
        width.append(4 * each.std(ddof=1) / np.sqrt(features))

    def bound(d: np.ndarray) -> np.ndarray:
        """Return the paper's bound at values d apart."""
        return 1 - (points - 1) * np.exp(-(points**2) * d**2 / 2)

    grid = np.linspace(apart[0], apart[-1], 81)
    return Comparison(
        f"Fourier features, {points} values",
        bound(apart),
        np.array(measured),
        tolerance=0.0,
        reason="a bound, held against four standard errors",
        relation="at_least",
        uncertainty=np.array(width),
        confidence="4 standard errors over frequencies (false alarm 3e-5 a point)",
        quantity="λ_min(K_g)",
        axes=(Axis("distance d of neighbouring values", tuple(apart)),),
        curve=(grid, bound(grid)),
    )
