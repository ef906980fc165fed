"""When an averaged look-ahead gradient is the gradient where the parameters are."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.duersch2024glass.paper import PAPER

__all__: list[str] = []

EXACT = lazy("theory._glass_derivations:lookahead_exactness")
RULES = ("scaled gradient", "signs", "random", "glass step")


@PAPER.claim(
    "exact-lookahead",
    says="On a quadratic loss the moving average of gradients taken ω steps ahead is the gradient"
    " at the parameters, for good and whatever rule makes the steps, if and only if the parameters"
    " move by φ = ω(1-β) of a step; an error at the start is forgotten by β a step.",
    tag="derived",
    derivation=EXACT,
)
def exact_lookahead(run: Run) -> list[Comparison]:
    """Step four rules through random quadratics, some with negative curvature."""
    import numpy as np

    from theory.glass import exact_move

    beta, omega = 0.9, 1.5
    sizes = run.pick(quick=(2, 5, 20, 50), full=(2, 5, 20, 50, 200, 500))
    steps = 60

    def walk(size: int, rule: str, phi: float, seed: int, off: float) -> tuple[np.ndarray, float]:
        """Return the error of the average after each step, over the gradients' size, and |A d|."""
        draw = run.seeds.generator(f"{rule} {size}", seed)
        raw = draw.standard_normal((size, size))
        matrix, at = (raw + raw.T) / np.sqrt(2 * size), draw.standard_normal(size)
        offset = draw.standard_normal(size)
        average = matrix @ at - offset
        start = draw.standard_normal(size) * off
        average = average + start
        errors, first = np.empty(steps), 0.0
        for k in range(steps):
            size_of = np.maximum(np.abs(average), 1e-3)
            move = {
                "scaled gradient": -average / np.linspace(5.0, 20.0, size),
                "signs": -0.01 * np.sign(average),
                "random": 0.1 * draw.standard_normal(size),
                "glass step": -np.sign(average) * np.minimum(2.1 * size_of**2, 0.1),
            }[rule]
            if k == 0:
                first = float(np.linalg.norm(matrix @ move))
            average = beta * average + (1 - beta) * (matrix @ (at + omega * move) - offset)
            at = at + phi * move
            gradient = matrix @ at - offset
            unit = np.linalg.norm(start) if off else 1.0
            errors[k] = np.linalg.norm(average - gradient) / unit
        return errors, first

    exact = exact_move(beta, omega)
    kept = np.array([[walk(n, rule, exact, 0, 0.0)[0].max() for rule in RULES] for n in sizes])
    shares = np.array([0.0, 0.5, 0.8, 0.99, 1.01, 1.25, 2.0, 1 / exact])
    wrong = np.empty((len(shares), len(RULES)))
    for column, rule in enumerate(RULES):
        for row, share in enumerate(shares):
            errors, first = walk(20, rule, share * exact, 0, 0.0)
            wrong[row, column] = errors[0] / first
    faded = np.array([walk(20, rule, exact, 0, 1.0)[0] for rule in RULES]).T
    when = np.arange(4, steps, 8)
    return [
        Comparison(
            "largest error of the average in sixty steps, φ = ω(1-β)",
            np.zeros(kept.shape),
            kept,
            tolerance=1e-12,
            reason="rounding of sixty steps with numbers of size 10",
            quantity="|G - ∇L(μ)|",
            unit="gradient",
            axes=(
                Axis("parameters", tuple(float(n) for n in sizes), log=True),
                Axis("step rule", RULES),
            ),
        ),
        Comparison(
            "error of the first step at other φ",
            np.repeat(exact * np.abs(shares - 1)[:, None], len(RULES), axis=1),
            wrong,
            tolerance=1e-10,
            reason="rounding, over the smallest difference of φ",
            relative=True,
            quantity="|G - ∇L(μ)| / |A d|",
            axes=(Axis("φ over ω(1-β)", tuple(shares)), Axis("step rule", RULES)),
        ),
        Comparison(
            "an error at the start is forgotten",
            np.repeat(beta ** (when + 1.0)[:, None], len(RULES), axis=1),
            faded[when],
            tolerance=1e-10,
            reason="rounding, over the 1/400 that is left at the end",
            relative=True,
            quantity="error over that at the start",
            axes=(Axis("steps", tuple(when + 1.0)), Axis("step rule", RULES)),
            log=True,
        ),
    ]
