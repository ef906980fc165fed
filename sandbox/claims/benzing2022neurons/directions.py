"""K-FAC's steps beside FOOF's along one path."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.benzing2022neurons.paper import PAPER

__all__: list[str] = []

DAMPING = lazy("theory.preconditioning:kronecker_damping")


@PAPER.claim(
    "cosine-grows-with-damping",
    says="Along K-FAC's path, its update with heuristic damping is the more like FOOF's, the larger"
    " the damping: the cosine, in the inner product of what updates do to the layers' outputs,"
    " grows.",
    tag="paper",
    derivation=DAMPING,
)
def cosine_grows_with_damping(run: Run) -> Comparison:
    """Follow one path; ask for the cosine at every damping with the same factors."""
    import itertools

    import numpy as np

    from sandbox.claims.benzing2022neurons._experiments import median_interval
    from sandbox.claims.benzing2022neurons._path import cosines

    dampings = run.pick(quick=(1e-6, 1e-4, 1e-2, 1.0), full=(1e-8, 1e-6, 1e-4, 1e-2, 1.0))
    items = [
        {"scale": run.scale, "seed": run.seeds.integer("networks", i), "dampings": dampings,
         "device": run.device, "rules": ("heuristic",), "points": run.pick(quick=3, full=6)}
        for i in range(run.pick(quick=5, full=6))
    ]  # fmt: skip
    pieces = run.sweep(cosines, items, name="cosines")
    found = np.array([piece["cosines"][0].mean(axis=0) for piece in pieces])
    middle, width, confidence = median_interval(np.diff(found, axis=1).T)
    usual = np.median(found, axis=0)
    steps = tuple(
        f"{usual[i]:.2f} at {low:g} to {usual[i + 1]:.2f} at {high:g}"
        for i, (low, high) in enumerate(itertools.pairwise(dampings))
    )
    return Comparison(
        "cosine to FOOF along K-FAC's path, from one damping to the next",
        np.zeros(len(steps)),
        middle,
        tolerance=0.0,
        reason="an ordering of paired cosines",
        relation="at_least",
        uncertainty=width,
        confidence=confidence,
        quantity="gain in the cosine",
        axes=(Axis("cosine, median over seeds", steps),),
    )


@PAPER.claim(
    "heuristic-closer-to-foof",
    says="At the damping at which K-FAC works best, and a decade to either side, heuristic damping"
    " brings its update closer to FOOF's than standard damping does, in either spelling.",
    tag="paper",
    derivation=DAMPING,
)
def heuristic_closer_to_foof(run: Run) -> Comparison:
    """Follow one path; take the cosines of all three rules with the same factors."""
    import numpy as np

    from sandbox.claims.benzing2022neurons._experiments import median_interval
    from sandbox.claims.benzing2022neurons._path import cosines
    from sandbox.claims.benzing2022neurons._presets import on_record

    rules = ("heuristic", "standard", "standard-published")
    best = on_record(run.scale, "mini-batch")["K-FAC"][1] or 0.0
    dampings = (best / 10, best, best * 10)
    items = [
        {"scale": run.scale, "seed": run.seeds.integer("networks", i), "dampings": dampings,
         "device": run.device, "rules": rules, "points": run.pick(quick=3, full=6)}
        for i in range(run.pick(quick=5, full=6))
    ]  # fmt: skip
    pieces = run.sweep(cosines, items, name="cosines")
    # (seed, rule, damping), the mean over points of the path
    found = np.array([piece["cosines"].mean(axis=1) for piece in pieces])
    gains = found[:, :1] - found[:, 1:]
    middle, width, confidence = median_interval(np.moveaxis(gains, 0, -1))
    return Comparison(
        "heuristic over standard damping",
        np.zeros(middle.shape).T,
        middle.T,
        tolerance=0.0,
        reason="an ordering of paired cosines",
        relation="at_least",
        uncertainty=width.T,
        confidence=confidence,
        quantity="gain in the cosine to FOOF",
        axes=(Axis("damping", dampings, log=True), Axis("spelling", ("correct", "published"))),
    )


@PAPER.claim(
    "foof-gains-more-per-step",
    says="Along K-FAC's path, a FOOF step of the same length in every layer lowers the loss of the"
    " batch by more than K-FAC's own step does.",
    tag="paper",
)
def foof_gains_more_per_step(run: Run) -> Comparison:
    """Make both steps from the same points, on the batch of the gradient; go on with K-FAC."""
    import numpy as np

    from sandbox.claims.benzing2022neurons._experiments import median_interval
    from sandbox.claims.benzing2022neurons._path import decreases

    items = [
        {"scale": run.scale, "seed": run.seeds.integer("networks", i), "device": run.device,
         "points": run.pick(quick=15, full=25)}
        for i in range(run.pick(quick=5, full=6))
    ]  # fmt: skip
    pieces = run.sweep(decreases, items, name="decreases")
    found = np.array([piece["decreases"] for piece in pieces])  # (seed, point, optimiser)
    # single batches are noisy: the mean over points of a seed's path
    gains = (found[..., 1] - found[..., 0]).mean(axis=1)
    middle, width, confidence = median_interval(gains)
    own = np.median(found.mean(axis=1)[:, 0])
    return Comparison(
        f"share of the batch's loss that a step takes off (K-FAC: {own:.2f})",
        np.array(0.0),
        np.array(middle),
        tolerance=0.0,
        reason="an ordering of paired steps",
        relation="at_least",
        uncertainty=np.array(width),
        confidence=confidence,
        quantity="FOOF's share less K-FAC's",
    )
