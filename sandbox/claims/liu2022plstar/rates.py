"""Gradient descent under PL*: its rate, its step and its path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.liu2022plstar.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

    from sandbox.claims.liu2022plstar._instances import Instance

__all__: list[str] = []

RATE = lazy("theory.descent_rates:pl_linear_rate")
PATH = lazy("theory.descent_rates:path_length_radius")
SOLVED = 1e-18
"""Loss below which descent stops."""
FLOOR = 1e-20
"""Share of the loss below which rounding is seen in its factor."""


@PAPER.claim(
    "linear-rate",
    says="Where the tangent kernel's least eigenvalue is at least μ, gradient descent with a step"
    " up to η = 1/(L_F² + β_F|r₀|) multiplies the loss by at most 1 − ημ, every step.",
    tag="paper",
    derivation=RATE,
)
def linear_rate(run: Run) -> list[Comparison]:
    """Descend from certified starts: two linear systems, a product, a tanh network."""
    import numpy as np

    from sandbox.claims.liu2022plstar._experiments import descend
    from sandbox.claims.liu2022plstar._instances import (
        MATRIX,
        TARGETS,
        chain,
        features,
        linear,
        tanh_network,
    )

    width = run.pick(quick=400, full=8000)
    chosen = [
        linear("3 × 5 linear", MATRIX, TARGETS),
        features("random features", run, 2, 60),
        chain("product w₁w₂", (1.5, 0.5), 1.0),
        tanh_network("tanh network", run, width, 1.0),
    ]
    steps = np.arange(0, 15)
    promised, losses, rates, worst = [], [], [], []
    for instance in run.progress(chosen, label="systems"):
        known = instance.certificate
        if known.status != "certified":
            raise ArithmeticError(f"{instance.name}: {known.reason}")
        run_of = descend(instance.system, instance.start, instance.targets, known.step_size, 200)
        shares = run_of.losses / run_of.losses[0]
        kept = shares[shares > FLOOR]
        promised.append(known.rate**steps)
        losses.append(np.maximum(shares, FLOOR)[steps])
        rates.append(known.rate)
        worst.append((kept[1:] / kept[:-1]).max())
    kinds = Axis("system", tuple(instance.name for instance in chosen))
    return [
        Comparison(
            "worst factor of a step",
            np.array(rates),
            np.array(worst),
            tolerance=1e-9,
            reason="rounding of losses down to 1e-20 of the first",
            relation="at_most",
            quantity="loss, share of the step before",
            axes=(kinds,),
        ),
        Comparison(
            "loss after t steps",
            np.array(promised).T,
            np.array(losses).T,
            tolerance=1e-12,
            reason="rounding",
            relation="at_most",
            quantity="loss, share of the first",
            axes=(Axis("step t", tuple(steps)), kinds),
            log=True,
        ),
    ]


def late_factor(matrix: np.ndarray, step: float, error: np.ndarray, steps: int) -> float:
    """Return by what a step multiplies the loss in the end, scaling the error back every step."""
    import numpy as np

    factor = np.nan
    for _ in range(steps):
        error = error / np.linalg.norm(error)
        # a step on the parameters, seen from the errors it makes
        error = error - matrix @ (step * (error @ matrix))
        factor = float(error @ error)
    return factor


@PAPER.claim(
    "step-edge",
    says="On linear equations a step η multiplies the loss by the largest (1 − ηλ)² in the end: 1.9"
    " over the largest eigenvalue still converges, 2.0 stalls and 2.05 diverges, and one over it"
    " gives (1 − 1/κ)², where the theorem promises 1 − 1/κ.",
    tag="standard",
    derivation=RATE,
)
def step_edge(run: Run) -> list[Comparison]:
    """Iterate linear systems; read the factor of the loss off late steps."""
    import numpy as np

    from sandbox.claims.liu2022plstar._instances import MATRIX

    steps = run.pick(quick=3000, full=20_000)
    spectrum = np.linalg.eigvalsh(MATRIX @ MATRIX.T)
    places = np.array([0.25, 0.5, 0.75, 1.0, 1.25, 1.75, 1.9, 2.0, 2.05])
    start = run.seeds.generator("start").standard_normal(3)
    found = [late_factor(MATRIX, x / spectrum[-1], start, steps) for x in places]

    def law(x: np.ndarray) -> np.ndarray:
        """Return the largest factor at steps x, in units of one over the largest eigenvalue."""
        return np.asarray(((1 - np.multiply.outer(x, spectrum / spectrum[-1])) ** 2).max(axis=-1))

    grid = np.linspace(places[0], places[-1], 121)
    conditions = (1.5, 2.0, 4.0, 10.0, 30.0, 100.0)
    late = []
    for number, condition in enumerate(conditions):
        generator = run.seeds.generator("systems", number)
        left, right = (np.linalg.qr(generator.standard_normal((n, n)))[0] for n in (3, 5))
        singular = np.sqrt(np.array([condition, (1 + condition) / 2, 1.0]))
        matrix = (left * singular) @ right[:3]
        late.append(late_factor(matrix, 1 / condition, generator.standard_normal(3), steps))
    kappa = np.array(conditions)
    smooth = np.geomspace(kappa[0], kappa[-1], 81)
    return [
        Comparison(
            "factor of the loss in the end",
            law(places),
            np.array(found),
            tolerance=1e-9,
            reason=f"rounding; other modes have died out after {steps} steps",
            quantity="loss, share of the step before",
            axes=(Axis("step times the largest eigenvalue", tuple(places)),),
            curve=(grid, law(grid)),
        ),
        Comparison(
            "factor at the step 1/λ_max",
            (1 - 1 / kappa) ** 2,
            np.array(late),
            tolerance=1e-9,
            reason=f"rounding; other modes have died out after {steps} steps",
            quantity="loss, share of the step before",
            axes=(Axis("condition number κ", conditions, log=True),),
            curve=(smooth, (1 - 1 / smooth) ** 2),
        ),
        Comparison(
            "the same, against the theorem's promise",
            1 - 1 / kappa,
            np.array(late),
            tolerance=1e-9,
            reason="rounding",
            relation="at_most",
            quantity="loss, share of the step before",
            axes=(Axis("condition number κ", conditions, log=True),),
            curve=(smooth, 1 - 1 / smooth),
        ),
    ]


def random_instances(run: Run, share: float) -> list[Instance]:
    """Return linear systems, products and networks, to a share of what can be certified."""
    import numpy as np

    from sandbox.claims.liu2022plstar._instances import chain, linear, tanh_network

    chosen = []
    for number in range(run.pick(quick=8, full=40)):
        generator = run.seeds.generator("linear systems", number)
        rows = 1 if number == 0 else int(generator.integers(2, 7))
        matrix = generator.standard_normal((rows, rows + int(generator.integers(1, 30))))
        chosen.append(linear("linear", matrix, generator.standard_normal(rows)))
    for number in range(run.pick(quick=4, full=20)):
        generator = run.seeds.generator("products", number)
        start = generator.standard_normal(2)
        residual = share * float(start @ start) * generator.uniform(-1, 1)
        chosen.append(chain("product", tuple(start), float(np.prod(start)) + residual))
    count = run.pick(quick=4, full=20)
    residuals = 4 * share * np.arange(1, count + 1) / count
    networks = [tanh_network("tanh network", run, 400, r, i) for i, r in enumerate(residuals)]
    return chosen + networks


@PAPER.claim(
    "solution-in-ball",
    says="Under PL* on the ball of radius 2 L_F|r₀|/μ gradient descent converges to a solution in"
    " it and stays there on the way; no solution is nearer to the start than |r₀|/L_F.",
    tag="paper",
    derivation=PATH,
)
def solution_in_ball(run: Run) -> list[Comparison]:
    """Descend from random starts whose own radius of the theorem is certified."""
    import numpy as np

    from sandbox.claims.liu2022plstar._experiments import descend
    from sandbox.claims.liu2022plstar._instances import theorem_ball
    from theory.descent_rates import least_distance

    conditions, radii, nearest, distances, paths, left = [], [], [], [], [], []
    for instance in run.progress(random_instances(run, 0.05), label="starts"):
        known = theorem_ball(instance)
        conditions.append(1 / (known.step_size * known.mu))
        radii.append(known.radius)
        nearest.append(least_distance(known.lipschitz, known.residual))
        end = descend(
            instance.system, instance.start, instance.targets, known.step_size, 4000, below=SOLVED
        )
        distances.append(end.distance)
        paths.append(end.path)
        left.append(end.losses[-1])
    order = np.argsort(conditions)
    kappa = np.array(conditions)[order]
    axes = (Axis("certified condition number 1/(ημ)", tuple(kappa), log=True),)
    unit = np.array(nearest)[order]
    return [
        Comparison(
            "distance of the solution, at least |r₀|/L_F",
            np.ones(len(order)),
            np.array(distances)[order] / unit,
            tolerance=1e-6,
            reason="descent stops within 1e-9/σ_min of a solution",
            relation="at_least",
            quantity="distance over |r₀|/L_F",
            axes=axes,
            log=True,
        ),
        Comparison(
            "path, within the ball of the theorem",
            np.array(radii)[order] / unit,
            np.array(paths)[order] / unit,
            tolerance=1e-9,
            reason="rounding",
            relation="at_most",
            quantity="length over |r₀|/L_F",
            axes=axes,
            log=True,
        ),
        Comparison(
            "loss in the end",
            np.ones(len(order)),
            np.array(left)[order] / SOLVED,
            tolerance=0.0,
            reason="where descent was told to stop, within 4000 steps",
            relation="at_most",
            quantity="L over 1e-18",
            axes=axes,
            log=True,
        ),
    ]


@PAPER.claim(
    "path-length",
    says="The path of gradient descent with a step up to one over the largest curvature is at most"
    " 2|r₀|/√μ long and that of gradient flow at most |r₀|/√μ: balls whose radii are √(L_F²/μ)"
    " smaller than the published one are enough, and one equation fills the flow's.",
    tag="derived",
    derivation=PATH,
)
def path_length(run: Run) -> list[Comparison]:
    """Descend and flow from random certified starts; measure the paths."""
    import numpy as np

    from sandbox.claims.liu2022plstar._experiments import descend, flow
    from theory.descent_rates import path_radius_descent, path_radius_flow, theorem_radius

    conditions, bounds, lengths = [], [], []
    for instance in run.progress(random_instances(run, 0.125), label="starts"):
        known = instance.certificate
        if known.status != "certified":
            raise ArithmeticError(f"{instance.name}: {known.reason}")
        end = descend(
            instance.system, instance.start, instance.targets, known.step_size, 4000, below=SOLVED
        )
        conditions.append(1 / (known.step_size * known.mu))
        unit = known.residual / np.sqrt(known.mu)
        bounds.append([
            path_radius_flow(known.residual, known.mu) / unit,
            path_radius_descent(known.residual, known.mu) / unit,
            theorem_radius(known.lipschitz, known.residual, known.mu) / unit,
        ])  # fmt: skip
        # the error is down by e^-20 at the least
        times = np.array([0.0, 20 / known.mu])
        along = flow(instance.system, instance.start, instance.targets, times)[-1, -1]
        lengths.append([along / unit, end.path / unit, end.path / unit])
    order = np.argsort(conditions)
    kappa = np.array(conditions)[order]
    kinds = ("flow", "descent", "descent, ball of theorem 6")
    return [
        Comparison(
            "length of the path",
            np.array(bounds)[order],
            np.array(lengths)[order],
            tolerance=1e-6,
            reason="what is left after 20 time constants, and the solver's 1e-11 a step",
            relation="at_most",
            quantity="length over |r₀|/√μ",
            axes=(
                Axis("certified condition number 1/(ημ)", tuple(kappa), log=True),
                Axis("path", kinds),
            ),
            log=True,
        ),
        Comparison(
            "one linear equation, flow",
            np.array(1.0),
            np.array(lengths[0][0]),
            tolerance=1e-6,
            reason="what is left after 20 time constants",
            quantity="length over |r₀|/√μ",
        ),
    ]
