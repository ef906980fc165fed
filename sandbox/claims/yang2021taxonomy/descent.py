"""Noisy descent follows the loss convolved with its noise: fewer ripples with smaller batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.yang2021taxonomy.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

RATE, DEVIATION = 0.1, 4.0


def steps(bowl: Any, batch: int, starts: np.ndarray, count: int, seeds: Any) -> Any:
    """Return y_0, and mean and standard error of y_1, for every start."""
    import numpy as np

    from theory.langevin import noisy_descent

    def step(x: np.ndarray, deviation: float, index: int) -> np.ndarray:
        """Return the positions after one step."""
        key = seeds.key(f"batch {batch}", index)
        return noisy_descent(bowl, RATE, deviation, batch, x, 1, key).position[:, 0]

    # y = x - rate L'(x) is where descent would go without noise: a step with the noise turned off
    before = step(starts, 0.0, 0)
    means, errors = [], []
    for index, x in enumerate(starts):
        moved = step(np.full(count, x), DEVIATION, index)
        after = step(moved, 0.0, 0)
        means.append(after.mean())
        errors.append(after.std(ddof=1) / np.sqrt(count))
    return before, np.array(means), np.array(errors)


@PAPER.claim(
    "smoothed-step",
    says="The mean of noisy descent's next point is one step on the loss convolved with the step's"
    " noise, at any learning rate; the ripples of that loss have the ruggedness ρ exp(−k²s²/2),"
    " s being the noise of one step.",
    tag="derived",
    derivation=lazy("theory.rugged:noise_convolved_loss"),
)
def smoothed_step(run: Run) -> list[Comparison]:
    """Take single noisy steps from points of a bowl, in batches of 1 to 16."""
    import numpy as np

    from theory.rugged import RuggedBowl

    bowl = RuggedBowl(curvature=1.0, roughness=0.3, wavenumber=5.0)
    count = run.pick(quick=40_000, full=1_000_000)
    batches = (1, 2, 4, 8, 16)
    noise = np.array([RATE * DEVIATION / np.sqrt(batch) for batch in batches])
    # enough points for y to cover the period evenly enough for a fit
    starts = np.linspace(0.1, 0.1 + 2 * np.pi / bowl.wavenumber, 16, endpoint=False)
    fitted, widths, force = [], [], {}
    for batch in batches:
        y, mean, error = steps(bowl, batch, starts, count, run.seeds)
        force[batch] = (y, (y - mean) / RATE, 4 * error / RATE)
        wave = bowl.wavenumber * np.sin(bowl.wavenumber * y)
        rest = (y - mean) / RATE - bowl.curvature * y
        weights = (wave / error**2) / (wave**2 / error**2).sum()
        scale = bowl.wavenumber**2 / bowl.curvature
        fitted.append(scale * (weights @ rest))
        widths.append(4 * scale * np.sqrt((weights**2 * (error / RATE) ** 2).sum()))
    y, slope, width = force[4]
    s = float(noise[batches.index(4)])
    order = np.argsort(y)
    grid = np.linspace(y.min(), y.max(), 121)
    s_grid = np.linspace(0.0, noise.max(), 81)
    said = "4 standard errors over replicas (false alarm 6e-5 a point)"
    return [
        Comparison(
            "slope felt, in batches of 4",
            bowl.smoothed_grad(y, s)[order],
            slope[order],
            tolerance=0.2,
            reason="four standard errors, a tenth of the slopes",
            relation="inside",
            uncertainty=width[order],
            confidence=said,
            quantity="mean slope",
            unit="energy/length",
            axes=(Axis("y", tuple(y[order]), "length"),),
            curve=(grid, bowl.smoothed_grad(grid, s)),
        ),
        Comparison(
            "ruggedness left by noise",
            np.array([bowl.effective_ruggedness(float(v)) for v in noise]),
            np.array(fitted),
            tolerance=0.5,
            reason="four standard errors of a fit of the sine, a fifteenth of the bare 7.5",
            relation="inside",
            uncertainty=np.array(widths),
            confidence=said,
            quantity="ruggedness",
            axes=(Axis("noise s of a step", tuple(noise), "length"),),
            curve=(s_grid, np.array([bowl.effective_ruggedness(float(v)) for v in s_grid])),
        ),
    ]
