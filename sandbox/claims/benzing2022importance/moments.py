"""What path sums and second moments are in the mean, when gradients keep their law."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.benzing2022importance.paper import PAPER

__all__: list[str] = []

VARIANTS = ("si", "siu", "sib")


@PAPER.claim(
    "path-bias-of-descent",
    says="Under stochastic gradient descent, SI's path sum grows in the mean by the squared mean"
    " gradient and by the variance of a batch's gradient, a step and a learning rate. The unbiased"
    " SIU has the first part alone, SIB the second.",
    tag="derived",
    derivation=lazy("theory.importance:path_integral_bias"),
)
def path_bias_of_descent(run: Run) -> list[Comparison]:
    """Average one step of a small network over all pairs of batches, then many over seeds."""
    import numpy as np

    from sandbox.claims.benzing2022importance._frozen import all_pairs
    from theory.importance import path_bias_sgd

    cases = {
        "without": (4, (1, 2, 3, 4)),
        "with": (3, run.pick(quick=(1, 2), full=(1, 2, 3))),
    }
    comparisons = []
    for kind, (count, batches) in cases.items():
        generator = run.seeds.generator("tiny network")
        gradients, measured = all_pairs(generator, count, batches, replacement=kind == "with")
        mean, variance = gradients.mean(axis=0), gradients.var(axis=0)
        population = count if kind == "without" else None
        predicted = np.array([
            path_bias_sgd(mean, variance, size, population=population) for size in batches
        ])
        away = np.abs(measured - predicted).max(axis=2) / predicted[:, 0].max()
        comparisons.append(
            Comparison(
                f"all pairs of batches from {count} samples, {kind} replacement",
                np.zeros(away.shape),
                away,
                tolerance=1e-12,
                reason="an exact mean over all pairs, up to the rounding of a thousand sums",
                quantity="largest deviation of a weight, over the largest SI",
                axes=(
                    Axis("samples in a batch", tuple(f"b = {size}" for size in batches)),
                    Axis("variant", VARIANTS),
                ),
            )
        )
    return [*comparisons, over_seeds(run)]


def over_seeds(run: Run) -> Comparison:
    """Run descent on losses that are linear in the weights, many seeds side by side."""
    import numpy as np

    from sandbox.claims.benzing2022importance._frozen import random_batches
    from sandbox.claims.benzing2022importance._statistics import mean_interval
    from theory.importance import path_bias_sgd

    batches, seeds, count = (2, 8, 32), run.pick(quick=100, full=1000), 40
    generator = run.seeds.generator("linear losses")
    gradients = generator.normal(0.2, 1.0, size=(count, 30))
    measured = random_batches(generator, gradients, batches, seeds=seeds, steps=25)
    mean, variance = gradients.mean(axis=0), gradients.var(axis=0)
    sums = [path_bias_sgd(mean, variance, size, population=count) for size in batches]
    predicted = np.array(sums).sum(axis=2)
    middle, width, words = mean_interval(measured, level=0.999)
    return Comparison(
        f"random batches from {count} samples, without replacement",
        predicted,
        middle,
        tolerance=0.1 * float(predicted[:, 0].max()),
        reason="intervals must be narrower than a tenth of the largest SI to tell the parts apart",
        relation="inside",
        uncertainty=width,
        confidence=words,
        quantity="path sum a step and learning rate, summed over weights",
        axes=(Axis("samples in a batch", batches, log=True), Axis("variant", VARIANTS)),
    )


@PAPER.claim(
    "path-bias-of-adam",
    says="Under Adam, where gradients keep their law, only a tenth of the batch's variance enters"
    " SI's path sum, as only the newest gradient of the momentum is that of the batch; the sum is"
    " divided by the root of the second moment. Where noise rules, SI is a tenth of that root: the"
    " link to the root of the Fisher matrix is the bias.",
    tag="derived",
    derivation=lazy("theory.importance:adam_path_integral"),
)
def path_bias_of_adam(run: Run) -> Comparison:
    """Feed Adam gradients of given mean and variance; sum its path with the trackers."""
    import numpy as np

    from sandbox.claims.benzing2022importance._frozen import adam_path
    from sandbox.claims.benzing2022importance._statistics import mean_interval
    from theory.importance import path_sums_adam

    signals, batches = (0.0, 0.2, 1.0), (1, 4, 16)
    steps = run.pick(quick=500, full=6000)
    measured = adam_path(run.seeds.generator("gradients"), signals, batches, steps=steps)
    mean = np.repeat(signals, len(batches)).reshape(len(signals), -1)
    predicted, roots = np.zeros((2, len(signals), len(batches), 3))
    for j, batch in enumerate(batches):
        sums = path_sums_adam(mean[:, j], np.ones(len(signals)), batch)
        predicted[:, j] = np.stack(sums, axis=-1)
        roots[:, j] = np.sqrt(mean[:, j] ** 2 + 1 / batch)[:, None]
    middle, width, words = mean_interval(measured / roots[..., None], what="weights")
    return Comparison(
        "path sum a step and learning rate, over the root of the second moment",
        predicted / roots,
        middle,
        tolerance=0.01,
        reason="Adam's second moment wanders round its mean by 3 %, and a thousandth of it is the"
        " newest square: corrections of a thousandth of the root; the rest is room for intervals of"
        " half a hundredth",
        uncertainty=width,
        confidence=words,
        quantity="path sum over the root",
        axes=(
            Axis("mean over deviation of a sample's gradient", signals),
            Axis("samples in a batch", tuple(f"b = {b}" for b in batches)),
            Axis("variant", VARIANTS),
        ),
    )


@PAPER.claim(
    "difference-of-gradients",
    says="The mean square of a batch's gradient holds the squared mean, which rules in large"
    " batches. That of the difference of two independent batches' gradients, SOS with alpha = 1,"
    " is twice the variance at any batch size.",
    tag="derived",
    derivation=lazy("theory.importance:squared_noise"),
)
def difference_of_gradients(run: Run) -> Comparison:
    """Let SOS watch gradients of given mean and variance."""
    import numpy as np

    from sandbox.claims.benzing2022importance._frozen import second_moments
    from sandbox.claims.benzing2022importance._statistics import mean_interval
    from theory.importance import sos_second_moment

    batches, alphas = (1, 16, 256), (0.0, 1.0)
    weights = run.pick(quick=4000, full=40_000)
    measured = second_moments(
        run.seeds.generator("second moments"), batches, alphas, signal=0.5, weights=weights
    )
    predicted = np.array([[sos_second_moment(0.5, 1.0, b, a) for a in alphas] for b in batches])
    middle, width, words = mean_interval(
        measured / predicted[..., None], what="weights", level=0.999
    )
    return Comparison(
        "second moment over the formula, gradients of mean 0.5 and variance 1",
        np.ones(predicted.shape),
        middle,
        tolerance=0.05,
        reason="intervals must be narrower than 5 % to tell the formula from its neighbours, which"
        " lack the mean or count the variance once",
        relation="inside",
        uncertainty=width,
        confidence=words,
        quantity="ratio",
        axes=(
            Axis("samples in a batch", batches, log=True),
            Axis("alpha", tuple(f"alpha = {a:g}" for a in alphas)),
        ),
    )
