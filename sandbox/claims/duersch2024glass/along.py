"""Along one coordinate: how the gradient varies and what that adds to the loss."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.duersch2024glass.paper import PAPER

__all__: list[str] = []

CHANGE = lazy("theory._glass_derivations:glass_loss_change")


@PAPER.claim(
    "gradient-variation",
    says="Where the gradient jumps at random its squared variation grows in proportion to the"
    " distance; where it is smooth, to the square of the distance.",
    tag="derived",
    derivation=CHANGE,
)
def gradient_variation(run: Run) -> list[Comparison]:
    """Draw gradients with jumps, and smooth ones as sums of cosines."""
    import numpy as np

    from sandbox.claims.duersch2024glass._simulate import CONFIDENCE, draw_jumps, four_errors, signs
    from theory.glass_process import JumpProcess

    paths = run.pick(quick=20_000, full=400_000)
    rate, jump = 20.0, 0.1
    t = np.geomspace(0.01, 1.0, 9)
    generator = run.seeds.generator("jumps")
    glass = draw_jumps(rate, t[-1], paths, generator, signs(jump, generator))
    rough = np.array([glass.variation(each) ** 2 for each in t])
    # a stationary field of correlation length 16: its exponent is 2 - t²/512 at t
    wave = run.seeds.generator("waves")
    number, phase = wave.standard_normal(paths) / 16, 2 * np.pi * wave.random(paths)
    smooth = np.array([(np.cos(number * each + phase) - np.cos(phase)) ** 2 for each in t])
    blocks = 50
    slopes = np.array([
        [
            np.polyfit(np.log(t), np.log(part.mean(axis=1)), 1)[0]
            for part in np.array_split(squares, blocks, axis=1)
        ]
        for squares in (rough, smooth)
    ])  # fmt: skip
    law = JumpProcess(rate, jump)
    return [
        Comparison(
            "squared variation of a gradient with jumps",
            law.density * t,
            rough.mean(axis=1),
            tolerance=0.3,
            reason="four standard errors, at most 0.3 of the value where one path in five jumps",
            relative=True,
            relation="inside",
            uncertainty=four_errors(rough),
            confidence=CONFIDENCE,
            quantity="⟨W²⟩",
            unit="gradient²",
            axes=(Axis("distance", tuple(t), log=True),),
            log=True,
            curve=(t, law.density * t),
        ),
        Comparison(
            "exponent of the squared variation",
            np.array([1.0, 2.0]),
            slopes.mean(axis=1),
            tolerance=0.1,
            reason="four standard errors, a tenth of the gap between the two exponents",
            relation="inside",
            uncertainty=four_errors(slopes) + 0.002,
            confidence="4 standard errors over 50 blocks of paths, and 0.002 for the smooth field's"
            " own bend (false alarm 6e-5 a point)",
            quantity="exponent",
            axes=(Axis("gradient", ("jumps", "smooth")),),
        ),
    ]


@PAPER.claim(
    "loss-change-moments",
    says="The loss change that the jumps add has the variance ρ|d|³/3, correlates by √3/2 with the"
    " gradient's variation at the end, and has the fourth cumulant λ⟨J⁴⟩|d|⁵/5.",
    tag="derived",
    derivation=CHANGE,
)
def loss_change_moments(run: Run) -> list[Comparison]:
    """Integrate drawn gradients, with jumps of two laws."""
    import numpy as np

    from sandbox.claims.duersch2024glass._simulate import CONFIDENCE, SIZES, draw_jumps, four_errors
    from theory.glass_process import JumpProcess

    paths = run.pick(quick=60_000, full=1_000_000)
    rate, jump = 8.0, 0.1
    d = np.array([0.125, 0.25, 0.5, 1.0])
    laws = ("signs", "normal")
    # variance, correlation with the end, fourth cumulant; by distance and law
    found, widths = np.empty((3, len(d), len(laws))), np.empty((3, len(d), len(laws)))
    for column, law in enumerate(laws):
        generator = run.seeds.generator(f"paths {law}")
        glass = draw_jumps(rate, d[-1], paths, generator, SIZES[law](jump, generator))
        model = JumpProcess(rate, jump, law)
        for row, each in enumerate(d):
            change, end = glass.change(each), glass.variation(each)
            change_scale, end_scale = np.sqrt(np.mean(change**2)), np.sqrt(np.mean(end**2))
            a, b = change / change_scale, end / end_scale
            together = np.mean(a * b)
            variance, fourth = model.loss_variance(each), model.loss_fourth_cumulant(each)
            # the mean is 0; of ratios and products of means, to first order
            parts = (
                change**2 / variance,
                a * b - together * (a**2 + b**2) / 2,
                (change**4 - 6 * change_scale**2 * change**2) / fourth,
            )
            found[:, row, column] = (
                parts[0].mean(),
                together,
                parts[2].mean() + 3 * change_scale**4 / fourth,
            )
            widths[:, row, column] = [four_errors(part) for part in parts]
    axes = (Axis("distance", tuple(d), log=True), Axis("jumps", laws))

    def compare(
        place: int, name: str, wanted: float, quantity: str, tolerance: float
    ) -> Comparison:
        """Return one moment's comparison."""
        return Comparison(
            name,
            np.full((len(d), len(laws)), wanted),
            found[place],
            tolerance=tolerance,
            reason="four standard errors, where they are widest",
            relation="inside",
            uncertainty=widths[place],
            confidence=CONFIDENCE,
            quantity=quantity,
            axes=axes,
        )

    return [
        compare(0, "variance", 1.0, "Var I / theory", 0.06),
        compare(1, "correlation with the gradient", np.sqrt(3) / 2, "correlation", 0.02),
        compare(2, "fourth cumulant", 1.0, "cumulant / theory", 0.6),
    ]


@PAPER.claim(
    "mean-size",
    says="The mean size of that change is √(2/3π) √ρ |d|^(3/2) for many jumps and less for few:"
    " with symmetric jumps never more, so that this, and not Jensen's √(ρ/3) |d|^(3/2), is the"
    " sharp bound. One-sided jumps that a drift balances can exceed it, by one or two per cent.",
    tag="derived",
    derivation=CHANGE,
)
def mean_size(run: Run) -> list[Comparison]:
    """Average the size of drawn loss changes from a tenth of a jump to a hundred."""
    import math

    import numpy as np

    from sandbox.claims.duersch2024glass._simulate import CONFIDENCE, SIZES, draw_jumps, four_errors
    from theory.glass import HALF_NORMAL
    from theory.glass_process import JumpProcess

    paths = run.pick(quick=25_000, full=200_000)
    crossings = np.array([0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0])
    laws = ("signs", "normal")
    # unit jumps and unit distance: the rate is the number of crossings expected
    limit = HALF_NORMAL * np.sqrt(crossings)
    found, widths, exact = (np.empty((len(crossings), len(laws))) for _ in range(3))
    for column, law in enumerate(laws):
        for row, m in enumerate(crossings):
            generator = run.seeds.generator(f"paths {law}", row)
            drawn = draw_jumps(m, 1.0, paths, generator, SIZES[law](1.0, generator))
            size = np.abs(drawn.change(1.0)) / limit[row]
            found[row, column], widths[row, column] = size.mean(), four_errors(size)
            exact[row, column] = JumpProcess(m, 1.0, law).expected_size(1.0) / limit[row]
    grid = np.geomspace(crossings[0], crossings[-1], 41)
    curve = np.array([
        [JumpProcess(m, 1.0, law).expected_size(1.0) / (HALF_NORMAL * math.sqrt(m)) for law in laws]
        for m in grid
    ])  # fmt: skip
    # one jump of 1 expected, and a thousand of -0.001, whose sum is normal, to balance it
    rare, many = run.seeds.generator("one-sided"), run.pick(quick=200_000, full=2_000_000)
    big = draw_jumps(1.0, 1.0, many, rare, np.ones).change(1.0)
    lopsided = np.abs(big - 0.001 * (500 + math.sqrt(1000 / 3) * rare.standard_normal(many)))
    lopsided /= HALF_NORMAL * math.sqrt(1.0 + 1000 * 0.001**2)
    axes = (Axis("crossings expected", tuple(crossings), log=True), Axis("jumps", laws))
    return [
        Comparison(
            "mean size over its limit for many jumps",
            exact,
            found,
            tolerance=0.05,
            reason="four standard errors, at most a twentieth",
            relation="inside",
            uncertainty=widths,
            confidence=CONFIDENCE,
            quantity="⟨|I|⟩ / (c √ρ |d|^1.5)",
            axes=axes,
            curve=(grid, curve),
        ),
        Comparison(
            "Jensen's bound over the mean size",
            np.full(found.shape, math.sqrt(math.pi / 2)),
            math.sqrt(math.pi / 2) / found,
            tolerance=0.04,
            reason="four standard errors at a hundred crossings, where the limit is reached",
            relation="at_least",
            quantity="√(ρ/3) |d|^1.5 / ⟨|I|⟩",
            axes=axes,
        ),
        Comparison(
            "one-sided jumps: mean size over its limit",
            np.array(1.0),
            lopsided.mean(),
            tolerance=0.0,
            reason="more than the bound for symmetric jumps",
            relation="at_least",
            uncertainty=four_errors(lopsided),
            confidence=CONFIDENCE,
            quantity="⟨|I|⟩ / (c √ρ |d|^1.5)",
        ),
    ]
