"""What three gradients tell of curvature and glass, and what more of them would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.duersch2024glass.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

ESTIMATORS = lazy("theory._glass_estimator_derivations:three_gradient_estimators")
CURVATURE, DENSITY = 2.0, 1.5


def stretches(
    crossings: float, places: int, paths: int, generator: np.random.Generator
) -> np.ndarray:
    """Return gradients at equal places along a unit stretch, (place, path); jumps of two signs."""
    import numpy as np

    from sandbox.claims.duersch2024glass._simulate import draw_jumps, signs

    jump = np.sqrt(DENSITY / crossings)
    glass = draw_jumps(crossings, 1.0, paths, generator, signs(jump, generator))
    return np.array([CURVATURE * t + glass.variation(t) for t in np.linspace(0, 1, places)])


@PAPER.claim(
    "three-gradients",
    says="Half the difference of the outer gradients and their second difference, squared, are"
    " unbiased for curvature and glass density, whatever the jumps; the density is known from one"
    " triple with the variance 2ρ², and more where jumps are few.",
    tag="derived",
    derivation=ESTIMATORS,
)
def three_gradients(run: Run) -> list[Comparison]:
    """Apply the two kernels to drawn gradients, from one jump a stretch to sixty."""
    import numpy as np

    from sandbox.claims.duersch2024glass._simulate import CONFIDENCE, four_errors
    from theory.glass_estimators import density_variance

    paths = run.pick(quick=60_000, full=400_000)
    crossings, sigma = np.array([1.0, 4.0, 16.0, 64.0]), 0.5
    means, widths, spread, spread_width, law = ([] for _ in range(5))
    for number, m in enumerate(crossings):
        low, mid, high = stretches(m, 3, paths, run.seeds.generator("paths", number))
        estimates = np.stack([
            (high - low) / (2 * sigma) / CURVATURE,
            2 * ((high + low) / 2 - mid) ** 2 / sigma / DENSITY,
        ])  # fmt: skip
        means.append(estimates.mean(axis=1))
        widths.append(four_errors(estimates))
        squares = (estimates[1] - estimates[1].mean()) ** 2 / 2
        spread.append(squares.mean())
        spread_width.append(four_errors(squares))
        rate = DENSITY**2 / m
        law.append(density_variance(DENSITY, fourth_rate=rate, length=1.0) / (2 * DENSITY**2))
    axis = Axis("crossings expected", tuple(crossings), log=True)
    grid = np.geomspace(1, 64, 31)
    return [
        Comparison(
            "mean estimates over truth",
            np.ones((4, 2)),
            np.array(means),
            tolerance=0.05,
            reason="four standard errors, at most a twentieth",
            relation="inside",
            uncertainty=np.array(widths),
            confidence=CONFIDENCE,
            quantity="mean / truth",
            axes=(axis, Axis("estimate of", ("curvature", "glass density"))),
        ),
        Comparison(
            "variance of the glass density",
            np.array(law),
            np.array(spread),
            tolerance=0.15,
            reason="four standard errors, a third of what few jumps add at the left",
            relation="inside",
            uncertainty=np.array(spread_width),
            confidence=CONFIDENCE,
            quantity="variance / 2ρ²",
            axes=(axis,),
            curve=(grid, 1 + 1 / (2 * grid)),
        ),
    ]


@PAPER.claim(
    "more-gradients",
    says="From n equally spaced gradients over one stretch the variance of the glass density falls"
    " as 2ρ²/(n-2), but not below λ⟨J⁴⟩ over the stretch: where few boundaries are crossed no"
    " number of gradients tells the density.",
    tag="derived",
    derivation=ESTIMATORS,
)
def more_gradients(run: Run) -> Comparison:
    """Take the sample variance of increments of drawn gradients."""
    import numpy as np

    from sandbox.claims.duersch2024glass._simulate import CONFIDENCE, four_errors
    from theory.glass_estimators import density_variance

    paths = run.pick(quick=20_000, full=200_000)
    counts, crossings = (3, 5, 9, 17, 33), (4.0, 100.0)
    found, widths, wanted = (np.empty((len(counts), len(crossings))) for _ in range(3))
    for column, m in enumerate(crossings):
        finest = stretches(m, 33, paths, run.seeds.generator("paths", column))
        for row, n in enumerate(counts):
            every = 32 // (n - 1)
            steps = np.diff(finest[::every], axis=0)
            density = steps.var(axis=0, ddof=1) * (n - 1) / DENSITY
            squares = (density - density.mean()) ** 2
            found[row, column], widths[row, column] = squares.mean(), four_errors(squares)
            variance = density_variance(DENSITY, n, fourth_rate=DENSITY**2 / m, length=1.0)
            wanted[row, column] = variance / DENSITY**2
    grid = np.geomspace(counts[0], counts[-1], 41)
    return Comparison(
        "variance of the density from n gradients",
        wanted,
        found,
        tolerance=0.15,
        reason="four standard errors, at most 0.15 of the value",
        relative=True,
        relation="inside",
        uncertainty=widths,
        confidence=CONFIDENCE,
        quantity="variance / ρ²",
        axes=(
            Axis("gradients", tuple(counts), log=True),
            Axis("crossings expected", tuple(f"{m:g} crossings" for m in crossings)),
        ),
        log=True,
        curve=(grid, 2 / (grid[:, None] - 2) + 1 / np.array(crossings)),
    )


@PAPER.claim(
    "curvature-leak",
    says="Glass leaks into measured curvature: its root mean square tends to √(h² + ρ/2σ) and its"
    " mean size to that of a folded normal number; its square less ρ̂/2σ is unbiased for h².",
    tag="derived",
    derivation=ESTIMATORS,
)
def curvature_leak(run: Run) -> list[Comparison]:
    """Measure a curvature of 2 through glass, with stretches of several lengths."""
    import numpy as np

    from sandbox.claims.duersch2024glass._simulate import CONFIDENCE, draw_jumps, four_errors, signs
    from theory.glass_estimators import absolute_curvature, rms_curvature

    paths = run.pick(quick=60_000, full=200_000)
    sigmas, crossings = np.geomspace(0.06, 3.0, 6), 48.0
    jump_at = np.sqrt(DENSITY * 2 * sigmas / crossings)
    found, widths = np.empty((len(sigmas), 2)), np.empty((len(sigmas), 2))
    fair, error = np.empty(len(sigmas)), np.empty(len(sigmas))
    for row, sigma in enumerate(sigmas):
        generator = run.seeds.generator("paths", row)
        jumps = signs(jump_at[row], generator)
        glass = draw_jumps(crossings / (2 * sigma), 2 * sigma, paths, generator, jumps)
        middle = CURVATURE * sigma + glass.variation(sigma)
        end = 2 * CURVATURE * sigma + glass.variation(2 * sigma)
        h = end / (2 * sigma)
        rho = 2 * (end / 2 - middle) ** 2 / sigma
        found[row] = np.sqrt(np.mean(h**2)), np.mean(np.abs(h))
        widths[row] = four_errors(h**2) / (2 * found[row, 0]), four_errors(np.abs(h))
        # the mean size falls short of a normal number's by 1/24 of the excess kurtosis at most
        widths[row, 1] += found[row, 1] / (24 * crossings)
        square = h**2 - rho / (2 * sigma)
        fair[row], error[row] = square.mean(), four_errors(square)
    grid = np.geomspace(sigmas[0], sigmas[-1], 41)

    def biased(sigma: np.ndarray) -> np.ndarray:
        """Return what the two readings tend to, by stretch."""
        return np.array([
            [rms_curvature(CURVATURE, DENSITY, s), absolute_curvature(CURVATURE, DENSITY, s)]
            for s in sigma
        ])  # fmt: skip

    axis = Axis("half the stretch σ", tuple(sigmas), log=True)
    return [
        Comparison(
            "readings of a curvature of 2",
            biased(sigmas),
            found,
            tolerance=0.1,
            reason="four standard errors, a tenth of the largest excess at most",
            relation="inside",
            uncertainty=widths,
            confidence=CONFIDENCE + ", and what 48 crossings take",
            quantity="curvature",
            axes=(axis, Axis("reading", ("root mean square", "mean size"))),
            curve=(grid, biased(grid)),
        ),
        Comparison(
            "squared curvature, corrected",
            np.full(len(sigmas), CURVATURE**2),
            fair,
            tolerance=0.6,
            reason="four standard errors at the shortest stretch, where glass adds 12.5",
            relation="inside",
            uncertainty=error,
            confidence=CONFIDENCE,
            quantity="curvature²",
            axes=(axis,),
        ),
    ]
