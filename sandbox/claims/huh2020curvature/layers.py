"""Layer-block rules: the matrix root solution, lasting imbalance, finite-time blow-up."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.huh2020curvature.networks import (
    RULES,
    forward,
    pattern,
    rule_named,
    unaligned,
)
from sandbox.claims.huh2020curvature.paper import PAPER

if TYPE_CHECKING:
    from sandbox.claims.huh2020curvature.networks import Array

__all__: list[str] = []

ROOT = lazy("deeplinear.derivations:layer_natural_gradient_root")


@PAPER.claim(
    "kfac-root",
    says="A torch network trained by undamped layer-block natural gradient (the K-FAC structure)"
    " follows the exact matrix root solution W₁(t) = W₁(0) X(t)^(1/d), X = W(0)⁻¹W(t), where the"
    " map W(t) goes straight to the target, with an error of first order in the step.",
    tag="derived",
    derivation=ROOT,
)
def kfac_root(run: Run) -> list[Comparison]:
    """Train with four step sizes; compare the order of the error and the extrapolated weights."""
    import numpy as np
    import torch

    from deeplinear.matrices import layer_natural_gradient_weights
    from sandbox.optim import CurvatureCorrected
    from sandbox.training.models import deep_linear

    weights, target = unaligned()
    end = 1.5
    exact = [w[-1] for w in layer_natural_gradient_weights(weights, target, np.array([end]))]
    # orthogonal inputs of unit mean square are exactly whitened
    inputs = torch.eye(3, dtype=torch.float64) * 3**0.5
    outputs = inputs @ torch.from_numpy(target).T
    steps = np.array(run.pick(quick=(25, 50, 100, 200), full=(100, 200, 400, 800, 1600)))
    found = []
    for count in steps:
        net = deep_linear(weights)
        rule = rule_named("natural gradient", "layer")
        optimiser = CurvatureCorrected(net.parameters(), rule, lr=end / count)
        for _ in range(count):
            optimiser.step(partial(forward, net, inputs, outputs))
        found.append([p.detach().numpy().copy() for p in net.parameters()])
    errors = np.array([
        [np.linalg.norm(f - e) for f, e in zip(w, exact, strict=True)] for w in found
    ])
    slopes = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    extrapolated = np.array([2 * b - a for a, b in zip(found[-2], found[-1], strict=True)])
    step = end / steps[-1]
    return [
        Comparison(
            "order of the error in the step",
            np.ones(3),
            slopes,
            tolerance=0.1,
            reason="A first-order scheme has slope 1 up to its second-order term.",
            quantity="slope",
            axes=(Axis("layer", (1, 2, 3)),),
        ),
        Comparison(
            "weights at t = 1.5, extrapolated to zero step",
            np.array(exact).reshape(3, -1).T,
            extrapolated.reshape(3, -1).T,
            tolerance=2 * step**2,
            reason=f"The remainder is of second order in the step {step:g}; twice its square.",
            quantity="weight",
            axes=(
                Axis("entry", tuple(f"{i},{j}" for i in (1, 2, 3) for j in (1, 2, 3))),
                Axis("layer", (1, 2, 3)),
            ),
        ),
    ]


@PAPER.claim(
    "end-imbalance",
    says="From an unbalanced two-layer start of scale σ the relative imbalance at the end"
    " goes as σ² under every full rule, as σ under the layer-block square root, and does"
    " not shrink at all under layer-block natural gradient.",
    tag="derived",
    derivation=ROOT,
)
def end_imbalance(run: Run) -> list[Comparison]:
    """Fit the exponent on integrated networks whose modes are coupled."""
    import numpy as np

    from deeplinear import matrix_flow

    scales = np.array(run.pick(quick=(0.03, 0.02, 0.01), full=(0.03, 0.02, 0.01, 0.005)))
    _, target = unaligned()
    first, second = np.eye(3) + 0.3 * pattern(1, 3, 3), 0.7 * np.eye(3) + 0.3 * pattern(2, 3, 3)
    cases = [("full", name, 2.0) for name in RULES]
    cases += [("layer", "square root", 1.0), ("layer", "natural gradient", 0.0)]
    imbalance = np.empty((len(scales), len(cases)))
    for j, (blocks, name, _) in enumerate(cases):
        rule = rule_named(name, blocks)
        for i, sigma in enumerate(scales):
            one, two = matrix_flow(rule, [sigma * first, sigma * second], target, np.array([40.0]))
            balance = two[-1].T @ two[-1] - one[-1] @ one[-1].T
            imbalance[i, j] = np.linalg.norm(balance) / np.linalg.norm(one[-1] @ one[-1].T)
    slopes = np.polyfit(np.log(scales), np.log(imbalance), 1)[0]
    names = tuple(f"{name}, {blocks}" for blocks, name, _ in cases)
    exponents = np.array([exponent for *_, exponent in cases])
    lines = imbalance[-1] * (scales[:, None] / scales[-1]) ** exponents
    return [
        Comparison(
            "exponent of the start's scale",
            exponents,
            slopes,
            tolerance=0.01,
            reason="The next term, of relative order sigma <= 0.03, moves a fitted slope by a third"
            " of that.",
            quantity="exponent",
            axes=(Axis("rule", names),),
        ),
        Comparison(
            "imbalance at the end (slopes 2, 1, 0 through the smallest scale)",
            lines[:-1],
            imbalance[:-1],
            tolerance=0.02,
            reason="The next term of the expansion is of relative order sigma, 0.03 - 0.01 here.",
            relative=True,
            quantity="relative imbalance",
            log=True,
            axes=(Axis("scale of the start", tuple(scales[:-1]), log=True), Axis("rule", names)),
        ),
    ]


@PAPER.claim(
    "blow-up-time",
    says="Undamped layer-block natural gradient in a square network blows up at the finite time"
    " ln(1 + 1/|μ|) / (scale · d) if W(0)⁻¹W* has a negative real eigenvalue μ.",
    tag="derived",
    derivation=ROOT,
)
def blow_up(run: Run) -> Comparison:
    """Extrapolate the smallest singular value of integrated layers to zero."""
    import numpy as np
    from scipy.integrate import solve_ivp

    from deeplinear import blow_up_time
    from deeplinear.rules import CurvatureCorrection, matrix_velocity

    cases = run.pick(quick=((2, 2), (3, 2), (2, 3)), full=((2, 2), (3, 2), (2, 3), (4, 2), (3, 3)))
    predicted, measured = [], []
    for number, (size, depth) in enumerate(cases):
        rule = CurvatureCorrection(1.0, "layer")
        generator = run.seeds.generator("start", number)
        time = np.inf
        while not 0.05 < time < 3.0:
            weights = [generator.normal(size=(size, size)) for _ in range(depth)]
            target = generator.normal(size=(size, size))
            time = blow_up_time(weights, target)

        def velocity(_: float, flat: Array, rule: Any = rule, target: Array = target) -> Array:
            layers = list(flat.reshape(-1, len(target), len(target)))
            return np.ravel(matrix_velocity(rule, layers, target))

        def stop(_: float, flat: Array, size: int = size) -> float:
            return _smallest(flat, size) - 1e-3

        stop.terminal = True  # type: ignore[attr-defined]  # scipy's protocol
        flow = solve_ivp(
            velocity, (0, 10), np.ravel(weights), "DOP853", rtol=1e-10, atol=1e-12, events=stop
        )
        tail = np.array([_smallest(state, size) for state in flow.y.T])
        near = slice(-4, None)
        intercept = np.polyfit(tail[near], flow.t[near], 1)[1]
        predicted.append(time)
        measured.append(intercept)
    return Comparison(
        "time of the blow-up",
        np.array(predicted),
        np.array(measured),
        tolerance=2e-3,
        reason="A straight line through the last four steps, where the vanishing singular value"
        " is below a few percent, leaves a remainder of its square.",
        quantity="time",
        unit="1/learning rate",
        axes=(Axis("network", tuple(f"{n} × {n}, depth {d}" for n, d in cases)),),
    )


def _smallest(flat: Array, size: int) -> float:
    """Return the product of the layers' smallest singular values, which vanishes linearly."""
    import numpy as np

    return float(np.prod(np.linalg.svd(flat.reshape(-1, size, size))[1][:, -1]))


@PAPER.claim(
    "blow-up-probability",
    says="For Gaussian W(0) and W* of size n the expected number of negative real eigenvalues of"
    " W(0)⁻¹W*, each a time at which layers turn singular, is (√π/2) Γ((n+1)/2) / Γ(n/2); a start"
    " is free of them with probability 1/2 for n = 1 and 3/4 − π/8 for n = 2.",
    tag="derived",
    derivation=ROOT,
)
def blow_up_probability(run: Run) -> list[Comparison]:
    """Count by Monte Carlo, on the eigenvalues and on the certificate of the flow."""
    # The count is half the number of real generalised eigenvalues of Edelman, Kostlan and
    # Shub (1994), by the symmetry of W*. For n = 2 both are real with probability pi/4 and
    # the determinant is negative with 1/2; of the real pairs of one sign half are positive:
    # 1 - pi/4 + (pi/4 - 1/2) / 2.
    import numpy as np
    from scipy.special import gammaln

    from deeplinear import blow_up_time

    sizes = (1, 2, 4, 10)
    draws = run.pick(quick=4000, full=40_000)
    counts, free = np.zeros((len(sizes), draws)), np.zeros((len(sizes), draws))
    for i, size in enumerate(sizes):
        pairs = run.seeds.generator("draws", size).normal(size=(draws, 2, size, size))
        values = np.linalg.eigvals(np.linalg.solve(pairs[:, 0], pairs[:, 1]))
        real = np.abs(values.imag) <= 1e-9 * np.abs(values)
        counts[i] = np.sum(real & (values.real < 0), axis=1)
        for j, (first, target) in enumerate(run.progress(pairs, label=f"{size} x {size}")):
            # a two-layer network whose product is the Gaussian matrix
            free[i, j] = np.isinf(blow_up_time([first, np.eye(size)], target))
    half = 3.89 / np.sqrt(draws)
    n = np.array(sizes)
    expected = np.sqrt(np.pi) / 2 * np.exp(gammaln((n + 1) / 2) - gammaln(n / 2))
    words = f"99.99 % interval over {draws} draws"
    resolution = "An interval this narrow tells the formula from one with n off by one."
    return [
        Comparison(
            "expected number of blow-ups",
            expected,
            counts.mean(1),
            tolerance=0.09,
            reason=resolution,
            relation="inside",
            uncertainty=half * counts.std(1, ddof=1),
            confidence=words,
            quantity="negative real eigenvalues",
            axes=(Axis("size n", sizes, log=True),),
        ),
        Comparison(
            "probability of a regular start",
            np.array([0.5, 0.75 - np.pi / 8]),
            free[:2].mean(1),
            tolerance=0.05,
            reason="An interval this narrow tells 0.500 from 0.357.",
            relation="inside",
            uncertainty=half * free[:2].std(1, ddof=1),
            confidence=words,
            quantity="probability",
            axes=(Axis("size n", sizes[:2]),),
        ),
        Comparison(
            "certificate of the flow against the eigenvalues themselves",
            (counts == 0).mean(1),
            free.mean(1),
            tolerance=0.0,
            reason="Both look at the same draws; every one must agree.",
            quantity="probability of a regular start",
            axes=(Axis("size n", sizes, log=True),),
        ),
    ]
