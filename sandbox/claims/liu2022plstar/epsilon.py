"""PL* above a level of the loss only, where there is no solution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.liu2022plstar.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

EPSILON = lazy("theory.descent_rates:pl_epsilon")
INCONSISTENT = ([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]], [1.0, 0.0, 1.0])
"""Three equations in two parameters; the least loss is 1/2."""


def losses_and_ratios(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return loss and half the squared gradient over it, of that system at w (..., 2)."""
    import numpy as np

    matrix, targets = (np.array(part) for part in INCONSISTENT)
    error = w @ matrix.T - targets
    loss = (error**2).sum(axis=-1) / 2
    return loss, ((error @ matrix) ** 2).sum(axis=-1) / (2 * loss)


@PAPER.claim(
    "pl-epsilon-constant",
    says="Fewer parameters than equations never satisfy PL*, but where the loss is at least ε > L*"
    " they do, if linear, with μ = σ_min²(1 − L*/ε) and no larger constant.",
    tag="derived",
    derivation=EPSILON,
)
def pl_epsilon_constant(run: Run) -> Comparison:
    """Scan the plane of an inconsistent system for the least ratio above each level."""
    import numpy as np

    from theory.descent_rates import pl_epsilon_constant

    matrix, targets = (np.array(part) for part in INCONSISTENT)
    centre = np.linalg.lstsq(matrix, targets, rcond=None)[0]
    angles = np.linspace(0, np.pi, run.pick(quick=20_001, full=200_001))
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radii = np.geomspace(0.01, 100, 2001)
    levels = np.array([0.52, 0.6, 0.75, 1.0, 2.0, 5.0, 20.0])
    # the loss along a ray is the least one plus a multiple of the square
    least = losses_and_ratios(centre)[0]
    stretch = losses_and_ratios(centre + rays)[0] - least
    found = []
    for level in levels:
        edge = np.sqrt((level - least) / stretch)[:, None]
        on_edge = losses_and_ratios(centre + edge * rays)[1].min()
        coarse = rays[:: max(1, len(rays) // 200), None] * radii[:, None]
        loss, ratio = losses_and_ratios(centre + coarse)
        found.append(min(on_edge, ratio[loss >= level].min()))
    grid = np.geomspace(levels[0], levels[-1], 81)
    predicted, curve = (
        np.array([pl_epsilon_constant(matrix, targets, float(level)) for level in places])
        for places in (levels, grid)
    )
    return Comparison(
        "largest constant above a level of the loss",
        predicted,
        np.array(found),
        tolerance=1e-6,
        reason="the angle of a ray is off by 8e-5 at most, and the ratio stationary there",
        relative=True,
        quantity="least of |∇L|²/2L",
        axes=(Axis("level ε", tuple(levels), log=True),),
        curve=(grid, curve),
    )


@PAPER.claim(
    "pl-epsilon",
    says="Under the inequality down to a loss ε only, gradient descent falls at the rate 1 − ημ"
    " until its loss is below ε, which takes at most ln(L₀/ε)/(ημ) steps, rounded up.",
    tag="paper",
    derivation=EPSILON,
)
def pl_epsilon(run: Run) -> list[Comparison]:
    """Descend an inconsistent system from many starts with one loss, to many levels."""
    import numpy as np

    from theory.descent_rates import pl_epsilon_constant, steps_to_reach

    matrix, targets = (np.array(part) for part in INCONSISTENT)
    centre = np.linalg.lstsq(matrix, targets, rcond=None)[0]
    angles = np.linspace(0, 2 * np.pi, run.pick(quick=400, full=4000), endpoint=False)
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    first, least = 50.0, float(losses_and_ratios(centre)[0])
    stretch = losses_and_ratios(centre + rays)[0] - least
    w = centre + np.sqrt((first - least) / stretch)[:, None] * rays
    step = 1 / float(np.linalg.norm(matrix, 2)) ** 2
    levels = np.array([0.52, 0.55, 0.6, 0.75, 1.0, 2.0, 5.0, 20.0])
    constants = [pl_epsilon_constant(matrix, targets, float(level)) for level in levels]
    enough = [
        steps_to_reach(first, float(level), step, mu)
        for level, mu in zip(levels, constants, strict=True)
    ]
    worst = []
    for _ in range(max(enough) + 1):
        worst.append(losses_and_ratios(w)[0].max())
        w -= step * ((w @ matrix.T - targets) @ matrix)
    taken = [next(t for t, loss in enumerate(worst) if loss < level) for level in levels]
    chosen = [1, 3, 5]  # levels whose descents are drawn
    # a level's promise ends where the slowest start is below it
    marks = np.arange(0, 1 + min(taken[i] for i in chosen))
    return [
        Comparison(
            "steps of the slowest start to a loss below ε",
            np.array(enough, dtype=float),
            np.array(taken, dtype=float),
            tolerance=0.0,
            reason="whole steps",
            relation="at_most",
            quantity="steps",
            axes=(Axis("level ε", tuple(levels), log=True),),
            log=True,
        ),
        Comparison(
            "loss of the slowest start",
            np.array([(1 - step * constants[i]) ** marks for i in chosen]).T,
            np.array([np.array(worst)[marks] / first for _ in chosen]).T,
            tolerance=1e-12,
            reason="rounding",
            relation="at_most",
            quantity="loss, share of the first",
            axes=(
                Axis("step t", tuple(marks)),
                Axis("rate above", tuple(f"ε = {levels[i]:g}" for i in chosen)),
            ),
            log=True,
        ),
    ]
