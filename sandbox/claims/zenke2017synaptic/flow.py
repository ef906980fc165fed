"""The sum of gradient times step, and the loss that is really lost."""

from __future__ import annotations

from typing import Literal

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.zenke2017synaptic.paper import PAPER

__all__: list[str] = []


@PAPER.claim(
    "path-integral-is-the-loss-drop",
    says="On the full batch the sum of gradient times step over all weights is the drop of the loss"
    " as steps become small; to first order in the learning rate it exceeds it by a quarter of the"
    " rate times the fall of the squared gradient.",
    tag="derived",
    derivation=lazy("sandbox.claims.zenke2017synaptic._derivations:path_sum_of_descent"),
)
def path_integral_is_the_loss_drop(run: Run) -> list[Comparison]:
    """Descend for the same time in smaller and smaller steps."""
    import numpy as np

    from sandbox.claims.zenke2017synaptic._descent import descend

    time, seed = 16.0, run.seeds.integer("network")
    rates = run.pick(quick=(0.4, 0.2, 0.1), full=(0.4, 0.2, 0.1, 0.05, 0.025))
    found = [
        descend(seed, rate, round(time / rate), hidden=run.pick(quick=16, full=64))
        for rate in run.progress(rates, label="learning rates")
    ]
    size = np.array(rates)
    excess = np.array([one.path - one.drop for one in found])
    quarter = np.array([(one.before - one.after) / 4 for one in found])
    # what is left of order rate cancels between a rate and its half
    measured, predicted = (2 * e[1:] - e[:-1] for e in (excess / size, quarter))
    return [
        Comparison(
            "path sum less drop, over the learning rate",
            predicted,
            measured,
            tolerance=0.03,
            reason="a rate and its half combined leave errors of the rate squared: up to 2 % at a"
            " rate of 0.4 on four other networks, and a quarter of that with every halving",
            relative=True,
            quantity="excess over learning rate",
            axes=(Axis("learning rate and its half", tuple(size[:-1].tolist()), log=True),),
        ),
        Comparison(
            "path sum at the smallest steps",
            np.array(found[-1].drop),
            np.array(found[-1].path),
            tolerance=float(1.1 * size[-1] * abs(quarter[-1])),
            reason="the excess of first order in the rate, and a tenth of it for higher orders",
            quantity="sum of gradient times step",
            unit="nat",
        ),
    ]


@PAPER.claim(
    "batches-overestimate",
    says="Along stochastic descent, on digits, the sum of gradient times step overestimates the"
    " drop of the loss, and the more so, the smaller the batch.",
    tag="paper",
)
def batches_overestimate(run: Run) -> list[Comparison]:
    """Descend in steps of practical size, with batches of some digits, and with Adam."""
    import numpy as np

    from sandbox.claims.zenke2017synaptic._descent import descend
    from sandbox.training.measures import interval

    seeds = [run.seeds.integer("networks", k) for k in range(run.pick(quick=4, full=10))]
    steps = run.pick(quick=100, full=1000)
    arms: dict[str, tuple[int, float, Literal["sgd", "adam"]]] = {
        "256": (256, 0.3, "sgd"),
        "64": (64, 0.3, "sgd"),
        "16": (16, 0.3, "sgd"),
        "64, Adam": (64, 0.01, "adam"),
    }
    ratios = np.empty((len(arms), len(seeds)))
    for place, (batch, rate, method) in enumerate(run.progress(arms.values(), label="batches")):
        for column, seed in enumerate(seeds):
            found = descend(seed, rate, steps, batch=batch, samples=None, method=method)
            ratios[place, column] = found.path / found.drop
    known = [interval(row) for row in ratios]
    wider = [interval(row) for row in np.diff(ratios[:3], axis=0)]
    told = f"95 % interval over {len(seeds)} seeds; each bound is crossed by chance in 2.5 %"
    return [
        Comparison(
            "path sum over drop",
            np.ones(len(arms)),
            np.array([one.mean for one in known]),
            tolerance=0.0,
            reason="an ordering: the sum is the larger",
            relation="at_least",
            uncertainty=np.array([one.high - one.mean for one in known]),
            confidence=told,
            quantity="ratio",
            axes=(Axis("samples in a batch", tuple(arms)),),
            log=True,
        ),
        Comparison(
            "what a smaller batch adds to the ratio",
            np.zeros(2),
            np.array([one.mean for one in wider]),
            tolerance=0.0,
            reason="an ordering of ratios paired by seed",
            relation="at_least",
            uncertainty=np.array([one.high - one.mean for one in wider]),
            confidence=told,
            quantity="difference of ratios",
            axes=(Axis("samples in a batch", ("64 for 256", "16 for 64")),),
        ),
    ]
