"""Quadratic losses, where the importance can be told exactly."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.zenke2017synaptic.paper import PAPER

__all__: list[str] = []

DERIVATION = lazy("sandbox.claims.zenke2017synaptic._derivations:bowl_importance")
CURVATURES = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
RATE, STEPS = 0.02, 500
"""exp(-2 x 1.0 x 10) = 2e-9 of the loss is left."""
EXCESS = RATE * max(CURVATURES) / 2 / (1 - RATE * max(CURVATURES) / 2)
"""By how much steps of that size exceed the flow, at most: an eigendirection gives 1/(1 - ηλ/2)."""


@PAPER.claim(
    "average-is-half-the-hessian",
    says="On a quadratic loss, path integrals averaged over starts that lie alike in all directions"
    " are half the diagonal of the Hessian, times the variance of the starts.",
    tag="paper",
    derivation=DERIVATION,
)
def average_is_half_the_hessian(run: Run) -> Comparison:
    """Descend from as many orthogonal starts as there are weights, whose covariance is exact."""
    import numpy as np

    from sandbox.claims.zenke2017synaptic._bowls import Bowl, turned_hessian

    generator, count = run.seeds.generator("bowl"), len(CURVATURES)
    hessian = turned_hessian(CURVATURES, generator)
    turn, _ = np.linalg.qr(generator.normal(size=(count, count)))
    deviation = 0.7
    bowl = Bowl(hessian, deviation * np.sqrt(count) * turn)
    path = bowl.descend(RATE, STEPS).path()["weight"]
    return Comparison(
        "path integrals, averaged over starts",
        deviation**2 / 2 * np.diag(hessian),
        path.mean(dim=0).numpy(),
        tolerance=EXCESS,
        reason="an eigendirection of curvature λ exceeds the flow by 1/(1 - ηλ/2)",
        relative=True,
        quantity="importance before normalisation",
        unit="loss",
        axes=(Axis("weight", tuple(map(str, range(count)))),),
    )


@PAPER.claim(
    "surrogate-reproduces-the-drop",
    says="With little damping the quadratic surrogate, at the weights where a task began, is the"
    " loss that the task took away if negative integrals count as such; for a diagonal Hessian"
    " it is the loss everywhere, and the damping ξ leaves the share d²/(d² + ξ) of a weight"
    " that moved by d.",
    tag="derived",
    derivation=DERIVATION,
)
def surrogate_reproduces_the_drop(run: Run) -> list[Comparison]:
    """Evaluate the surrogate at starts and elsewhere, for a turned and for a diagonal Hessian."""
    import numpy as np

    from sandbox.claims.zenke2017synaptic._bowls import Bowl, turned_hessian

    generator, count = run.seeds.generator("bowl"), len(CURVATURES)
    starts = generator.uniform(0.5, 1.5, size=(1, count))
    dampings = (1e-9, 0.01, 0.1, 1.0, 10.0)
    drops, values = [], []
    for hessian in (turned_hessian(CURVATURES, generator), np.diag(CURVATURES)):
        bowl = Bowl(hessian, starts)
        tracker = bowl.descend(RATE, STEPS)
        penalties = [bowl.surrogate(tracker, damping) for damping in dampings]
        loss, value = bowl.values(starts, penalties[0])
        # a coupled weight may first go the wrong way: its integral is cut off at 0
        lost = float(tracker.path()["weight"].clamp(max=0).sum())
        drops.append(loss)
        values.append(value + lost)
    # the diagonal one; its minimum is where the penalties are anchored
    pairs = [bowl.values(point[None], penalties[0]) for point in generator.normal(size=(8, count))]
    loss_there, surrogate_there = np.array(pairs).T
    kept = [bowl.values(starts, penalty)[1] for penalty in penalties[1:]]
    squared = starts[0] ** 2
    shares = [
        float((np.array(CURVATURES) / 2 * squared * squared / (squared + damping)).sum())
        for damping in dampings[1:]
    ]
    reason = "an eigendirection of curvature λ exceeds the flow by 1/(1 - ηλ/2)"
    return [
        Comparison(
            "surrogate where the task began, negative integrals counted as such",
            np.array(drops),
            np.array(values),
            tolerance=EXCESS,
            reason=reason,
            relative=True,
            quantity="loss",
            axes=(Axis("Hessian", ("turned", "diagonal")),),
        ),
        Comparison(
            "surrogate of a diagonal Hessian at random points",
            loss_there,
            surrogate_there,
            tolerance=EXCESS,
            reason=reason,
            relative=True,
            quantity="loss",
            axes=(Axis("point", tuple(map(str, range(len(pairs))))),),
        ),
        Comparison(
            "surrogate where the task began, by damping",
            np.array(shares),
            np.array(kept),
            tolerance=EXCESS,
            reason=reason,
            relative=True,
            quantity="loss",
            axes=(Axis("damping ξ", dampings[1:], log=True),),
        ),
    ]
