"""The modulus belongs inside the mean: what becomes of it with batches."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run
from sandbox.claims.aljundi2018memory.paper import PAPER

__all__: list[str] = []


@PAPER.claim(
    "modulus-before-the-mean",
    says="The modulus of a batch's mean gradient, which several programs take, is another measure:"
    " no weight's grows when batches are merged, and the total is smaller, because gradients of"
    " different inputs cancel.",
    tag="derived",
)
def modulus_before_the_mean(run: Run) -> list[Comparison]:
    """Measure trained networks with batches of one input to all of them."""
    import numpy as np

    from sandbox.claims.aljundi2018memory._networks import by_hand, flat, trained
    from sandbox.regularisers import batched_memory_aware
    from sandbox.training.measures import interval

    count, sizes = run.pick(quick=(128, (1, 2, 8, 32, 128)), full=(1024, (1, 4, 16, 64, 256, 1024)))
    totals, worst, equal = [], [], []
    seeds = [run.seeds.integer("networks", k) for k in range(run.pick(quick=4, full=10))]
    for seed in run.progress(seeds, label="networks"):
        model, inputs, _ = trained(seed)
        exact = np.abs(by_hand(model, inputs[:count])).mean(axis=0)
        found = np.array([
            flat(batched_memory_aware(model, inputs, "logit", n=count, batch_size=size))
            for size in sizes
        ])
        totals.append(found.sum(axis=1) / exact.sum())
        # batches of one size are made of whole batches of the size before
        worst.append(np.diff(found, axis=0).max(axis=1) / exact.max())
        equal.append(np.abs(found[0] - exact).max() / exact.max())
    ratio = np.array(totals)
    known = [interval(column) for column in ratio.T[1:]]
    larger = tuple(map(float, sizes[1:]))
    return [
        Comparison(
            "batches of one input: the measure itself",
            np.zeros(len(seeds)),
            np.array(equal),
            tolerance=1e-12,
            reason="double precision, sums over hundreds of inputs",
            quantity="largest difference over largest importance",
            axes=(Axis("network", tuple(map(str, range(len(seeds))))),),
        ),
        Comparison(
            "no weight gains when batches are merged",
            np.zeros(len(larger)),
            np.array(worst).max(axis=0),
            tolerance=1e-12,
            reason="the triangle inequality, up to rounding in double precision",
            relation="at_most",
            quantity="largest gain over largest importance",
            axes=(Axis("samples in a batch", larger, log=True),),
        ),
        Comparison(
            "total over that of the measure itself",
            np.ones(len(larger)),
            np.array([one.mean for one in known]),
            tolerance=0.0,
            reason="an ordering: what batches leave is less",
            relation="at_most",
            uncertainty=np.array([one.high - one.mean for one in known]),
            confidence=f"95 % interval over {len(seeds)} networks; each bound is crossed by chance"
            " in 2.5 %",
            quantity="ratio of totals",
            axes=(Axis("samples in a batch", larger, log=True),),
        ),
    ]
