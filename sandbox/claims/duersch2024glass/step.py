"""The step that is best where glass counts, and what that rests on."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.duersch2024glass.paper import PAPER

__all__: list[str] = []

CASES = ((1.0, 0.0, 3.0), (1.0, 1.0, 1.0), (1.0, 4.0, 0.5))
"""Gradient, curvature and glass density: from glass alone to a little of it."""


@PAPER.claim(
    "optimal-step",
    says="If the size of the change that jumps make counts as a loss, no step does better than"
    " |g|/(α + h + √(α(α + 2h))) with α = 3ρ/(4π|g|). That its size counts is an assumption: the"
    " change itself has mean zero, and taken with its sign Newton's step is better.",
    tag="derived",
    derivation=lazy("theory._glass_derivations:optimal_glass_step"),
)
def optimal_step(run: Run) -> list[Comparison]:
    """Average drawn losses, folded and not, along steps of several lengths."""
    import math

    import numpy as np

    from sandbox.claims.duersch2024glass._simulate import CONFIDENCE, draw_jumps, four_errors, signs
    from theory.glass import expected_change, glass_step

    paths = run.pick(quick=30_000, full=300_000)
    crossings = 40.0  # expected on the optimal step
    scales = np.array([0.25, 0.5, 0.7, 1.0, 1.4, 2.0])
    names = tuple(f"h {h:g}, ρ {rho:g}" for _, h, rho in CASES)
    shape = (len(scales), len(CASES))
    found, widths, wanted, worse, margin = (np.empty(shape) for _ in range(5))
    curve = np.empty((61, len(CASES)))
    grid = np.geomspace(scales[0], scales[-1], len(curve))
    signed, error = np.empty(2), np.empty(2)
    for column, (g, h, rho) in enumerate(CASES):
        best = -float(glass_step(g, h, rho))
        rate = crossings / best
        reach = max(2 * best, g / h if h else 0.0)
        generator = run.seeds.generator("paths", column)
        jump = math.sqrt(rho / rate)
        glass = draw_jumps(rate, reach, paths, generator, signs(jump, generator))

        d = best * scales
        smooth = -g * d + h * d**2 / 2
        folded = smooth[:, None] + np.abs([glass.change(each) for each in d])
        found[:, column], widths[:, column] = folded.mean(axis=1), four_errors(folded)
        wanted[:, column] = expected_change(g, h, rho, -d)
        # with m crossings expected a share 3/(40 m) of the jumps' part is missing
        widths[:, column] += 3 / (40 * crossings * scales) * (wanted[:, column] - smooth)
        curve[:, column] = expected_change(g, h, rho, -best * grid)
        apart = folded - folded[scales == 1.0]
        worse[:, column], margin[:, column] = apart.mean(axis=1), four_errors(apart)
        if h:
            newton = g / h
            with_sign = glass.change(best) - glass.change(newton)
            with_sign += -g * (best - newton) + h * (best**2 - newton**2) / 2
            signed[column - 1], error[column - 1] = with_sign.mean(), four_errors(with_sign)
    others = scales != 1.0
    axis = Axis("step over the optimal one", tuple(scales), log=True)
    return [
        Comparison(
            "expected loss change, size of the jumps' part",
            wanted,
            found,
            tolerance=0.03,
            reason="four standard errors, a tenth of the smallest optimum's gain",
            relation="inside",
            uncertainty=widths,
            confidence=CONFIDENCE + ", and what few crossings take",
            quantity="loss change",
            axes=(axis, Axis("landscape", names)),
            curve=(grid, curve),
        ),
        Comparison(
            "loss more than with the optimal step",
            np.zeros((int(others.sum()), len(CASES))),
            worse[others],
            tolerance=0.0,
            reason="no step may do better; same paths for all steps",
            relation="at_least",
            uncertainty=margin[others],
            confidence=CONFIDENCE,
            quantity="loss more",
            axes=(
                Axis("step over the optimal one", tuple(scales[others]), log=True),
                Axis("landscape", names),
            ),
        ),
        Comparison(
            "taken with its sign: loss more than with Newton's step",
            np.zeros(2),
            signed,
            tolerance=0.0,
            reason="the jumps' part has mean zero: Newton's step is the best",
            relation="at_least",
            uncertainty=error,
            confidence=CONFIDENCE,
            quantity="loss more",
            axes=(Axis("landscape", names[1:]),),
        ),
    ]
