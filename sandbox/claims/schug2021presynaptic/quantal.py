"""Quantal analysis: what the estimators find, and what ignoring variable quanta does to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.schug2021presynaptic.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

PARABOLA = lazy("synapses._estimator_derivations:mean_variance_parabola")
SITES, CHANCE, SIZE, VARIATION = 5, 0.3, 0.5, 0.3


def interval(samples: np.ndarray) -> tuple[float, float]:
    """Return a mean and four standard errors."""
    return float(samples.mean()), float(4 * samples.std(ddof=1) / len(samples) ** 0.5)


@PAPER.claim(
    "quantal-bias",
    says="At one release probability σ²/μ + μ/N overestimates the quantal size by the factor"
    " 1 + c² of variable quanta, and the release probability is underestimated by it; with c known"
    " both are right. The logarithm of the share of failures overestimates the content.",
    tag="derived",
    derivation=PARABOLA,
)
def quantal_bias(run: Run) -> list[Comparison]:
    """Estimate from simulated amplitudes, many times."""
    import numpy as np

    from synapses import ReleaseModel
    from synapses.quantal import content_from_failures, fit_one_condition

    experiments, trials = run.pick(quick=(100, 2000), full=(2000, 10_000))
    variations = (0.0, 0.15, 0.3, 0.45, 0.6)
    kinds = ("c ignored", "c known")
    sizes, chances = np.empty((2, len(variations), 2)), np.empty((2, len(variations), 2))
    for k, c in enumerate(run.progress(variations, label="variability")):
        generator = run.seeds.generator("amplitudes", k)
        model = ReleaseModel(SITES, CHANCE, SIZE, c)
        fits = [
            [fit_one_condition(draws, SITES, assumed) for assumed in (0.0, c)]
            for draws in model.sample(generator, (experiments, trials))
        ]
        for j in range(2):
            sizes[:, k, j] = interval(np.array([f[j].quantal_size.value for f in fits]))
            chances[:, k, j] = interval(np.array([f[j].release_probability[0].value for f in fits]))
    factor = np.array([[1 + c**2, 1.0] for c in variations])
    axes = (Axis("coefficient of variation of a quantum", variations), Axis("estimator", kinds))
    common = {
        "relation": "inside",
        "confidence": "4 standard errors over experiments (false alarm 6e-5 a point)",
        "axes": axes,
    }
    # what fails: N sites, the failures of one long experiment
    many = run.pick(quick=200_000, full=2_000_000)
    chances_of_sites = (0.1, 0.3, 0.5, 0.7)
    contents = np.empty((len(chances_of_sites), 2))
    half = np.empty_like(contents)
    for k, p in enumerate(chances_of_sites):
        draws = ReleaseModel(SITES, p).sample(run.seeds.generator("failures", k), many)
        none = int((draws == 0).sum())
        for j, sites in enumerate((None, SITES)):
            # the interval of four standard errors of a normal law
            found = content_from_failures(none, many, sites, confidence=1 - 6.3e-5)
            contents[k, j] = found.value
            half[k, j] = max(found.high - found.value, found.value - found.low)
    means = np.array([[-SITES * np.log1p(-p), SITES * p] for p in chances_of_sites])
    return [
        Comparison(
            "quantal size",
            SIZE * factor,
            sizes[0],
            tolerance=0.02,
            reason="four standard errors over experiments, and a bias of order 1/trials",
            uncertainty=sizes[1] + 2 / trials,
            quantity="mean estimate of q",
            **common,  # type: ignore[arg-type]  # three keywords of both comparisons
        ),
        Comparison(
            "release probability",
            CHANCE / factor,
            chances[0],
            tolerance=0.02,
            reason="four standard errors over experiments, and a bias of order 1/trials",
            uncertainty=chances[1] + 2 / trials,
            quantity="mean estimate of p",
            **common,  # type: ignore[arg-type]  # three keywords of both comparisons
        ),
        Comparison(
            "quanta a spike, from failures",
            means,
            contents,
            tolerance=0.3,
            reason="exact binomial intervals; widest at p = 0.7, where failures are rare",
            relation="inside",
            uncertainty=half,
            confidence="exact intervals of Clopper and Pearson (false alarm at most 6e-5 a point)",
            quantity="content",
            axes=(
                Axis("release probability", chances_of_sites),
                Axis("estimator", ("−ln F", "N sites known")),
            ),
        ),
    ]


@PAPER.claim(
    "quantal-intervals",
    says="The parabola of variance against mean gives sites, quantal size and release probability"
    " with intervals that hold the truth as often as they say, and no bias that shows.",
    tag="derived",
    derivation=PARABOLA,
)
def quantal_intervals(run: Run) -> list[Comparison]:
    """Count how often the intervals of simulated experiments hold the truth."""
    import numpy as np

    from synapses import ReleaseModel
    from synapses.quantal import fit_mean_variance

    experiments, trials = run.pick(quick=(600, 300), full=(10_000, 300))
    chances = (0.1, 0.3, 0.5, 0.7, 0.9)
    generator = run.seeds.generator("amplitudes")
    models = [ReleaseModel(SITES, p, SIZE, VARIATION) for p in chances]
    held, estimates = [], []
    for _ in run.progress(range(experiments), label="experiments"):
        fit = fit_mean_variance([model.sample(generator, trials) for model in models], VARIATION)
        pairs = [(fit.sites, SITES), (fit.quantal_size, SIZE)]
        pairs += list(zip(fit.release_probability, chances, strict=True))
        held.append([truth in found for found, truth in pairs])
        estimates.append([1 / fit.sites.value, fit.quantal_size.value])
    names = ("N", "q", *(f"p = {p}" for p in chances))
    share = np.mean(held, axis=0)
    half = 4 * np.sqrt(0.95 * 0.05 / experiments)
    mean = np.mean(estimates, axis=0)
    error = np.std(estimates, axis=0, ddof=1) / np.sqrt(experiments)
    truth = np.array([1 / SITES, SIZE])
    return [
        Comparison(
            "coverage of 95 % intervals",
            np.full(len(names), 0.95),
            share,
            tolerance=0.05,
            reason="four standard errors of a share, and 0.01 for the delta method's own error",
            relation="inside",
            uncertainty=np.full(len(names), half + 0.01),
            confidence="4 standard errors over experiments (false alarm 6e-5 a point), and 0.01",
            quantity="coverage",
            axes=(Axis("quantity", names),),
        ),
        Comparison(
            "mean estimate over truth",
            np.ones(2),
            mean / truth,
            tolerance=0.02,
            reason="four standard errors over experiments",
            relation="inside",
            uncertainty=4 * error / truth,
            confidence="4 standard errors over experiments (false alarm 6e-5 a point)",
            quantity="estimate / truth",
            axes=(Axis("quantity", ("1/N", "q")),),
        ),
    ]
