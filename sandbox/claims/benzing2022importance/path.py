"""What SI sums along the path: the loss it divides up, and the bias it adds to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.benzing2022importance.paper import PAPER

if TYPE_CHECKING:
    from sandbox.claims.benzing2022importance._path import Seen

__all__: list[str] = []


def seen(run: Run, batch: str) -> Seen:
    """Return what the trackers saw of training with small or large batches."""
    from sandbox.claims.benzing2022importance._path import known
    from sandbox.claims.benzing2022importance._settings import ONE_TASK

    setting = ONE_TASK[run.scale, batch]
    seeds = tuple(run.seeds.integer("networks", k) for k in range(setting.seeds))
    return known(setting, seeds, run.device)


@PAPER.claim(
    "si-is-mostly-bias",
    says="Of what SI has summed over all weights by the end of training with small batches, most is"
    " bias: the path integral of gradients on independent batches (SIU) is less than half of it.",
    tag="paper",
    derivation=lazy("theory.importance:path_integral_bias"),
)
def si_is_mostly_bias(run: Run) -> Comparison:
    """Train one task with both path sums; take the share of their difference."""
    import numpy as np

    from sandbox.claims.benzing2022importance._statistics import mean_interval

    found = seen(run, "small")
    middle, width, words = mean_interval(1 - found.sums["SIU"][-1] / found.sums["SI"][-1])
    return Comparison(
        f"share of the bias in SI's path sum after {found.steps[-1]} steps",
        np.asarray(0.5),
        middle,
        tolerance=0.0,
        reason="most is more than half; the author's own numbers are 0.87 and 0.67",
        relation="at_least",
        uncertainty=width,
        confidence=words,
        quantity="1 - SIU / SI",
    )


@PAPER.claim(
    "siu-is-unbiased",
    says="The path integral of gradients on independent batches is, up to chance, that of the"
    " gradient over all training images; SI's own is far above it.",
    tag="paper",
    derivation=lazy("theory.importance:path_integral_bias"),
)
def siu_is_unbiased(run: Run) -> list[Comparison]:
    """Sum the full gradient along the same steps, at equal distances."""
    import numpy as np

    from sandbox.claims.benzing2022importance._settings import ONE_TASK
    from sandbox.claims.benzing2022importance._statistics import mean_interval

    sums, steps = seen(run, "small").sums, tuple(seen(run, "small").steps)
    every = ONE_TASK[run.scale, "small"].every
    axes = (Axis("steps", steps),)
    middle, width, words = mean_interval(sums["SIU"] - sums["integral"], level=0.99)
    bias = (sums["SI"] - sums["SIU"]).mean(axis=1)
    above, slack, told = mean_interval(sums["SI"] - sums["integral"])
    return [
        Comparison(
            f"SIU less the integral of the full gradient, taken at every {every}th step",
            np.zeros(len(steps)),
            middle,
            tolerance=float(bias.min()),
            reason="intervals must be narrower than the smallest bias of SI, or they would not"
            " tell SIU from it",
            relation="inside",
            uncertainty=width,
            confidence=words,
            quantity="difference of path sums",
            unit="nat",
            axes=axes,
        ),
        Comparison(
            "SI less that integral",
            np.zeros(len(steps)),
            above,
            tolerance=0.0,
            reason="an ordering",
            relation="at_least",
            uncertainty=slack,
            confidence=told,
            quantity="difference of path sums",
            unit="nat",
            axes=axes,
        ),
    ]


@PAPER.claim(
    "path-sums-exceed-the-loss",
    says="SI's path sum is more than the loss it is meant to divide among the weights. So is the"
    " path integral of the true gradient, at the step sizes used.",
    tag="paper",
)
def path_sums_exceed_the_loss(run: Run) -> Comparison:
    """Compare both sums with the drop of the loss over all training images."""
    import numpy as np

    from sandbox.claims.benzing2022importance._statistics import mean_interval

    sums = seen(run, "small").sums
    drop = sums["loss drop"][-1]
    excess = np.array([sums[name][-1] / drop for name in ("SI", "integral")])
    middle, width, words = mean_interval(excess)
    return Comparison(
        "path sums at the end over the drop of the loss",
        np.ones(2),
        middle,
        tolerance=0.0,
        reason="an ordering: more is a ratio above 1; the author's own numbers are 41 and 5.7 for"
        " a network of millions of weights",
        relation="at_least",
        uncertainty=width,
        confidence=words,
        quantity="ratio",
        axes=(Axis("sum", ("SI", "integral of the full gradient")),),
    )
