"""Stochastic gradient descent under PL*: exact expectations of one step, averages of many."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.liu2022plstar.paper import PAPER

if TYPE_CHECKING:
    from fractions import Fraction

    import numpy as np

__all__: list[str] = []

SGD = lazy("theory.descent_rates:sgd_step")
BATCHES = (1, 4, 8)
BY_HAND = ((1, 1, 0), (0, 1, 1))
"""Two samples of three features, of targets 1 and -1 from 0: all can be done by hand."""


class Walks(NamedTuple):
    """Many stochastic descents from one start: losses (time, run) and how far each went."""

    losses: np.ndarray
    furthest: np.ndarray


def exact_mean(
    rows: list[list[Fraction]], error: list[Fraction], step: Fraction, batch: int
) -> Fraction:
    """Return the expected loss after one step over that before, over all batches, in fractions."""
    from fractions import Fraction

    samples = len(rows)
    overlap = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in rows] for u in rows]
    total = Fraction(0)
    for drawn in itertools.product(range(samples), repeat=batch):
        # errors move by what the drawn samples' gradients have in common with each sample
        after = [
            error[i] - step * sum((error[j] * overlap[i][j] for j in drawn), Fraction(0))
            for i in range(samples)
        ]
        total += sum((e * e for e in after), Fraction(0))
    before = sum((e * e for e in error), Fraction(0))
    mean: Fraction = total / samples**batch / before
    return mean


def one_step(run: Run, proof: str) -> tuple[list[str], np.ndarray]:
    """Return cases, and for each the step times mu, batch over n, and the exact worst factor."""
    from fractions import Fraction

    import numpy as np

    from theory.descent_rates import sgd_step_size

    names, found = [], []
    generator = run.seeds.generator("rows")
    for number in range(1, run.pick(quick=3, full=7)):
        rows = generator.integers(-3, 4, (3, 5)).astype(float)
        kernel = rows @ rows.T
        values, vectors = np.linalg.eigh(kernel)
        mu, beta = float(values[0]), float(np.diag(kernel).max())
        # softest, stiffest and mixed errors; the first falls slowest if noise does not matter
        starts = [*vectors.T, np.array([(-1.0) ** i for i in range(len(rows))])]
        for batch in (1, 2, 3):
            step = sgd_step_size(mu, beta, len(rows), batch, proof=proof)
            exact = [[Fraction(float(x)) for x in row] for row in rows]
            worst = max(
                exact_mean(exact, [Fraction(float(x)) for x in start], Fraction(step), batch)
                for start in starts
            )
            names.append(f"system {number}, s {batch}")
            found.append((step * mu, batch / len(rows), float(worst)))
    return names, np.array(found)


def by_hand(proof: str) -> tuple[float, float]:
    """Return bound and exact mean of the loss after a step of the two samples, in fractions."""
    from fractions import Fraction

    rows = [[Fraction(x) for x in row] for row in BY_HAND]
    step = {"published": Fraction(1, 18), "sharp": Fraction(1, 10)}[proof]
    return float(1 - step), float(exact_mean(rows, [Fraction(-1), Fraction(1)], step, 2))


def walks(run: Run, matrix: np.ndarray, batch: int, step: float, steps: int, runs: int) -> Walks:
    """Descend from 0 to targets of one, many times, by batches drawn with replacement."""
    import numpy as np

    generator = run.seeds.generator("batches", batch)
    samples, width = matrix.shape
    shares = np.full(samples, 1 / samples)
    w, losses, furthest = np.zeros((runs, width)), [], np.zeros(runs)
    for _ in range(steps + 1):
        error = w @ matrix.T - 1
        losses.append((error**2).sum(axis=1) / 2)
        furthest = np.maximum(furthest, np.linalg.norm(w, axis=1))
        w = w - step * (generator.multinomial(batch, shares, runs) * error) @ matrix
    return Walks(np.array(losses), furthest)


def eight_samples(run: Run) -> tuple[np.ndarray, float]:
    """Return eight unit rows in forty dimensions and the least eigenvalue of their products."""
    import numpy as np

    matrix = run.seeds.generator("eight samples").standard_normal((8, 40))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix, float(np.linalg.eigvalsh(matrix @ matrix.T)[0])


def averages(run: Run, proof: str) -> tuple[Comparison, dict[int, Walks]]:
    """Return mean losses of many descents against the bound, and the descents."""
    import numpy as np

    from theory.descent_rates import sgd_factor, sgd_step_size

    matrix, mu = eight_samples(run)
    steps, runs = run.pick(quick=(600, 200), full=(4000, 2000))
    marks = np.arange(0, steps + 1, steps // 6)
    bounds, means, widths, kept = [], [], [], {}
    for batch in BATCHES:
        step = sgd_step_size(mu, 1.0, 8, batch, proof=proof)
        kept[batch] = walks(run, matrix, batch, step, steps, runs)
        shares = kept[batch].losses[marks] / kept[batch].losses[0, 0]
        bounds.append(sgd_factor(step, mu, 8, batch) ** marks)
        means.append(shares.mean(axis=1))
        widths.append(4 * shares.std(axis=1, ddof=1) / np.sqrt(runs))
    return Comparison(
        f"mean loss of {runs} descents, eight samples",
        np.array(bounds).T,
        np.array(means).T,
        tolerance=1e-12,
        reason="rounding of the start; later four standard errors are below the bound",
        relation="at_most",
        uncertainty=np.array(widths).T,
        confidence="4 standard errors over descents (false alarm 3e-5 a point)",
        quantity="mean loss, share of the first",
        axes=(
            Axis("step t", tuple(marks)),
            Axis("batch", tuple(f"batch of {batch}" for batch in BATCHES)),
        ),
        log=True,
    ), kept


@PAPER.claim(
    "sgd-rate",
    says="Stochastic gradient descent with batches of s of n samples and the published step"
    " multiplies the mean loss by at most 1 − μsη/n a step, and stays within 2n√(2βL₀)/(μδ) of its"
    " start with probability 1 − δ.",
    tag="paper",
    derivation=SGD,
)
def sgd_rate(run: Run) -> list[Comparison]:
    """Take the mean over all batches in fractions; average many descents."""
    import numpy as np

    from theory.descent_rates import sgd_theorem_radius

    names, found = one_step(run, "published")
    bound, mean = by_hand("published")
    losses, kept = averages(run, "published")
    failures = np.array([0.02, 0.05, 0.1, 0.2, 0.5])
    _, mu = eight_samples(run)
    radii = [sgd_theorem_radius(1.0, 4.0, mu, 8, float(delta)) for delta in failures]
    reached = [np.quantile(kept[batch].furthest, 1 - failures) for batch in BATCHES]
    return [
        Comparison(
            "mean factor of a step, all batches enumerated",
            np.append(bound, 1 - found[:, 0] * found[:, 1]),
            np.append(mean, found[:, 2]),
            tolerance=1e-12,
            reason="fractions but for the last rounding",
            relation="at_most",
            quantity="E L_1/L_0",
            axes=(Axis("case", ("by hand, s 2", *names)),),
        ),
        losses,
        Comparison(
            "distance that a share δ of descents exceeds",
            np.repeat(np.array(radii)[:, None], len(BATCHES), axis=1),
            np.array(reached).T,
            tolerance=0.0,
            reason="a bound; the sample quantile is a fiftieth of it at most",
            relation="at_most",
            quantity="distance",
            axes=(
                Axis("share δ", tuple(failures), log=True),
                Axis("batch", tuple(f"batch of {batch}" for batch in BATCHES)),
            ),
            log=True,
        ),
    ]


@PAPER.claim(
    "sgd-larger-step",
    says="The step μ/[β(nβ + μ(s−1))], about n times the published one, keeps the same factor"
    " 1 − μsη/n of its own; a factor without the 1/n, as one line of the paper has it, is"
    " exceeded.",
    tag="derived",
    derivation=SGD,
)
def sgd_larger_step(run: Run) -> list[Comparison]:
    """Repeat the two experiments with the larger step; hold the smaller factor against them."""
    import numpy as np

    names, found = one_step(run, "sharp")
    bound, mean = by_hand("sharp")
    losses, _ = averages(run, "sharp")
    _, published = one_step(run, "published")
    _, mean_published = by_hand("published")
    axes = (Axis("case", ("by hand, s 2", *names)),)
    # without the 1/n a step of batch s would take s eta mu off
    batches = np.array([float(name.split()[-1]) for name in names])
    return [
        Comparison(
            "mean factor of a step, all batches enumerated",
            np.append(bound, 1 - found[:, 0] * found[:, 1]),
            np.append(mean, found[:, 2]),
            tolerance=1e-12,
            reason="fractions but for the last rounding",
            relation="at_most",
            quantity="E L_1/L_0",
            axes=axes,
        ),
        losses,
        Comparison(
            "the published step, against the factor without 1/n",
            np.append(1 - 2 / 18, 1 - published[:, 0] * batches),
            np.append(mean_published, published[:, 2]),
            tolerance=0.0,
            reason="the factor would have to be an upper bound, and is a lower one",
            relation="at_least",
            quantity="E L_1/L_0",
            axes=axes,
        ),
    ]
