"""What links SI to the root of the Fisher matrix, and what cuts the link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.benzing2022importance.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []


def gains(
    name: str,
    differences: dict[str, np.ndarray],
    *,
    quantity: str,
    tolerance: float = 0.0,
    reason: str = "an ordering of pairs of one seed",
) -> Comparison:
    """Compare paired differences over seeds with 0."""
    import numpy as np

    from sandbox.claims.benzing2022importance._statistics import mean_interval

    middle, width, words = mean_interval(np.array(list(differences.values())))
    return Comparison(
        name,
        np.zeros(len(differences)),
        middle,
        tolerance=tolerance,
        reason=reason,
        relation="at_least",
        uncertainty=width,
        confidence=words,
        quantity=quantity,
        axes=(Axis("pair", tuple(differences)),),
    )


def with_root_fisher(run: Run, batch: str) -> dict[str, np.ndarray]:
    """Return every importance's correlation with the root Fisher at the end of training."""
    from sandbox.claims.benzing2022importance._statistics import correlations
    from sandbox.claims.benzing2022importance.path import seen

    importance = seen(run, batch).importance
    root = importance["root Fisher"]
    return {name: correlations(value, root) for name, value in importance.items()}


@PAPER.claim(
    "bias-is-the-link",
    says="After training with small batches, SI's path sums correlate with the root of the Fisher"
    " diagonal because of their bias: the bias alone (SIB) does so more than SI, SI more than its"
    " unbiased part (SIU).",
    tag="paper",
    derivation=lazy("theory.importance:adam_path_integral"),
)
def bias_is_the_link(run: Run) -> list[Comparison]:
    """Correlate over all weights of every network; compare pairs of importances."""
    import numpy as np

    from sandbox.claims.benzing2022importance._statistics import mean_interval

    found = with_root_fisher(run, "small")
    middle, width, words = mean_interval(np.array([found["SI"], found["SIB"]]))
    return [
        gains(
            "what is lost with the bias",
            {
                "SIB over SI": found["SIB"] - found["SI"],
                "SI over SIU": found["SI"] - found["SIU"],
            },
            quantity="difference of correlations with the root Fisher",
        ),
        Comparison(
            "correlation with the root Fisher",
            np.full(2, 0.7),
            middle,
            tolerance=0.0,
            reason="half of the variance in common",
            relation="at_least",
            uncertainty=width,
            confidence=words,
            quantity="Pearson's r",
            axes=(Axis("importance", ("SI", "SIB")),),
        ),
    ]


@PAPER.claim(
    "large-batches-cut-the-link",
    says="SI's correlation with the root of the Fisher diagonal is lower after training with large"
    " batches than with small ones. There SOS on the difference of two batches' gradients"
    " (alpha = 1) correlates more with it than SI, and than SOS on one batch's (alpha = 0).",
    tag="paper",
    derivation=lazy("theory.importance:squared_noise"),
)
def large_batches_cut_the_link(run: Run) -> Comparison:
    """Train the same networks with small and with large batches, each at a rate of its own."""
    from sandbox.claims.benzing2022importance._settings import ONE_TASK

    sizes = {batch: ONE_TASK[run.scale, batch].batch for batch in ("small", "large")}
    small, large = (with_root_fisher(run, batch) for batch in sizes)
    return gains(
        f"batches of {sizes['small']} and of {sizes['large']}",
        {
            "SI: small over large": small["SI"] - large["SI"],
            "large: SOS (α = 1) over SI": large["SOS, α = 1"] - large["SI"],
            "large: SOS (α = 1) over SOS (α = 0)": large["SOS, α = 1"] - large["SOS, α = 0"],
        },
        quantity="difference of correlations with the root Fisher",
    )


@PAPER.claim(
    "sos-measures-the-fisher-at-any-batch",
    says="SOS on the difference of two batches' gradients is proportional to the root of the Fisher"
    " diagonal, to a correlation of 0.9 or more, in small and in large batches.",
    tag="paper",
    derivation=lazy("theory.importance:squared_noise"),
)
def sos_at_any_batch(run: Run) -> Comparison:
    """Correlate over all weights of every network."""
    import numpy as np

    from sandbox.claims.benzing2022importance._statistics import mean_interval

    found = np.array([with_root_fisher(run, batch)["SOS, α = 1"] for batch in ("small", "large")])
    middle, width, words = mean_interval(found)
    return Comparison(
        "correlation of SOS (α = 1) with the root Fisher",
        np.full(2, 0.9),
        middle,
        tolerance=0.0,
        reason="where the axis of the author's figures begins",
        relation="at_least",
        uncertainty=width,
        confidence=words,
        quantity="Pearson's r",
        axes=(Axis("batches", ("small", "large")),),
    )


@PAPER.claim(
    "penalty-cuts-the-link",
    says="A penalty for earlier tasks is in the steps but not in the gradient that SI multiplies"
    " them by. After a second task that begins at new weights and is pulled to the old ones, SI's"
    " path sums correlate less with SOS than they do without a penalty, or without new weights.",
    tag="paper",
)
def penalty_cuts_the_link(run: Run) -> Comparison:
    """Learn two tasks in three ways; correlate the second's path sums with its second moments."""
    from dataclasses import replace

    from sandbox.claims.benzing2022importance._continual import Arm, learn_together
    from sandbox.claims.benzing2022importance._presets import preset
    from sandbox.claims.benzing2022importance._settings import STREAMS, TUNED
    from sandbox.claims.benzing2022importance._statistics import correlations

    paper = run.scale == "paper"
    tuned = preset("permuted", "si") if paper else TUNED[run.scale, "small"]["SI"]
    strength = tuned.strength
    setting = replace(STREAMS[run.scale, "small"], tasks=2, seeds=run.pick(quick=6, full=3))
    arms = {
        "penalty, new weights": Arm("SI", strength, True),
        "no penalty": Arm("SI", 0.0, True),
        "no new weights": Arm("SI", strength, False),
    }
    seeds = tuple(run.seeds.integer("networks", k) for k in range(setting.seeds))
    names = ("SI", "SOS, α = 0")
    found = learn_together(setting, tuple(arms.values()), seeds, names, run.device).importance
    both = zip(arms, *(found[name] for name in names), strict=True)
    values = {arm: correlations(path, root) for arm, path, root in both}
    first = values.pop("penalty, new weights")
    return gains(
        f"second task, penalty of strength {strength:.3g}",
        {f"{arm} over penalty, new weights": value - first for arm, value in values.items()},
        quantity="difference of correlations of SI with SOS (α = 0)",
    )
