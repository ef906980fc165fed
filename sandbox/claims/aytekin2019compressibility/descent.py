"""Descent of the ratio norm alone: the flow ends at one weight, and steps make the norm grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.aytekin2019compressibility.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

CRITICAL = lazy("theory.sparsity:ratio_norm_critical_points")
FEWEST = 1e-12


def flowed(w: np.ndarray) -> np.ndarray:
    """Integrate the gradient flow of the ratio norm until it rests; weights at 0 stay there."""
    import numpy as np
    from scipy.integrate import solve_ivp

    def velocity(_: float, v: np.ndarray) -> np.ndarray:
        """Return minus the gradient by magnitudes, written out from the norms."""
        one, square = v.sum(), v @ v
        return np.asarray((v * one / square - 1) / np.sqrt(square))

    def least(_: float, v: np.ndarray) -> float:
        """Return what passes 0 when a magnitude vanishes."""
        return float(v.min() - FEWEST)

    least.terminal = True  # type: ignore[attr-defined]  # scipy's protocol for events
    alive = w != 0
    sizes = np.abs(w)
    while alive.sum() > 1 and np.ptp(sizes[alive]) > 0:
        found = solve_ivp(
            velocity, (0.0, 1e3), sizes[alive], "DOP853", events=least, rtol=1e-10, atol=1e-13
        )
        sizes[alive] = found.y[:, -1]
        alive &= sizes > 2 * FEWEST
        sizes[~alive] = 0.0
    return np.asarray(np.sign(w) * sizes)


@PAPER.claim(
    "flow-ends-one-sparse",
    says="The gradient flow of the ratio norm alone conserves |w|₂ and ends with one nonzero"
    " weight, the one that was largest at the start: all of the norm is in it. Largest weights that"
    " are exactly equal share it.",
    tag="derived",
    derivation=CRITICAL,
)
def flow_ends(run: Run) -> list[Comparison]:
    """Integrate the flow from random weights, dropping every weight that reaches 0."""
    import numpy as np

    sizes = run.pick(quick=(2, 3, 5, 10, 20, 50), full=(2, 3, 5, 10, 20, 50, 100, 300))
    starts = []
    for n in sizes:
        w = run.seeds.generator("start", n).standard_normal(n)
        twin = w.copy()
        twin[:2] = 1.1 * np.abs(w).max() * np.array([1.0, -1.0])
        starts.append((w, twin))
    norms = np.array([[np.linalg.norm(w) for w in pair] for pair in starts])
    ends = [[flowed(w) for w in pair] for pair in run.progress(starts, label="weights")]
    cases = Axis("largest weights", ("one", "two alike"))
    count = Axis("weights", sizes, log=True)
    places = [
        [float(np.abs(end)[np.abs(w).argmax()]) for w, end in zip(*both, strict=True)]
        for both in zip(starts, ends, strict=True)
    ]
    return [
        Comparison(
            "nonzero weights in the end",
            np.tile([1.0, 2.0], (len(sizes), 1)),
            np.array([[float(np.count_nonzero(end)) for end in pair] for pair in ends]),
            tolerance=0.0,
            reason="A count.",
            quantity="nonzero weights",
            axes=(count, cases),
        ),
        Comparison(
            "the weight that was largest",
            norms / np.sqrt([1, 2]),
            np.array(places),
            tolerance=1e-7,
            reason="The solver's relative tolerance of 1e-10, in up to 50 pieces.",
            relative=True,
            quantity="magnitude in the end",
            axes=(count, cases),
        ),
    ]


@PAPER.claim(
    "steps-grow-the-norm",
    says="Gradient descent in steps makes |w|₂ grow, by the squared rate times (k − f²)/|w|₂² in"
    " its square; once all weights but one jitter about 0, |w|₂⁴ grows by 2η²(n − 1) a step,"
    " without end.",
    tag="derived",
    derivation=CRITICAL,
)
def steps_grow(run: Run) -> list[Comparison]:
    """Descend by complex-step derivatives of the ratio as it is defined, and follow the norm."""
    import numpy as np

    from theory.sparsity import norm_after_step

    n, steps = 20, run.pick(quick=1500, full=20_000)
    start = run.seeds.generator("start").standard_normal(n)
    start /= np.linalg.norm(start)
    rates = (0.003, 0.01, 0.03, 0.1, 0.3)

    # an imaginary shift: its square vanishes, so that nothing cancels
    tiny = 1e-30
    shifts = 1j * tiny * np.eye(n)

    def stepped(w: np.ndarray, rate: np.ndarray) -> np.ndarray:
        """Return rows of weights after a step of their own rates."""
        shifted = w[:, None] + shifts
        one = (np.sign(w)[:, None] * shifted).sum(axis=-1)
        ratio = one / np.sqrt((shifted**2).sum(axis=-1))
        return np.asarray(w - rate[:, None] * ratio.imag / tiny)

    rows = np.tile(start, (len(rates), 1))
    one = stepped(rows, np.array(rates))
    long = (0.01, 0.03, 0.1)
    rate = np.array(long)
    w = rows[: len(long)]
    marks = np.unique(np.geomspace(100, steps, 8).astype(int))
    norms = []
    for t in run.progress(range(1, int(marks[-1]) + 1), label="steps"):
        w = stepped(w, rate)
        if t in marks:
            norms.append(np.linalg.norm(w, axis=1))

    def law(t: np.ndarray) -> np.ndarray:
        """Return the norm by the law of its fourth power, of every rate."""
        growth = 2 * np.array(long) ** 2 * (n - 1)
        return np.asarray((1 + np.outer(t, growth)) ** 0.25)

    grid = np.geomspace(marks[0], marks[-1], 60)
    return [
        Comparison(
            "norm after one step",
            np.array([norm_after_step(start, value) for value in rates]) - 1,
            np.linalg.norm(one, axis=1) - 1,
            tolerance=1e-14,
            reason="Rounding of numbers near 1.",
            quantity="growth of |w|₂",
            axes=(Axis("learning rate", rates, log=True),),
            log=True,
        ),
        Comparison(
            f"norm of {n} weights, from 1",
            law(marks.astype(float)),
            np.array(norms),
            tolerance=0.05,
            reason="f exceeds 1 by what the other weights jitter, less and less as the norm grows;"
            " before, k - f² is smaller than n - 1.",
            relative=True,
            quantity="|w|₂",
            axes=(
                Axis("steps", tuple(marks), log=True),
                Axis("learning rate", tuple(f"η = {value:g}" for value in long)),
            ),
            curve=(grid, law(grid)),
        ),
    ]
