"""Importances from a network's answers: MAS, the absolute Fisher, the root of the Fisher."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.benzing2022importance.noise import gains
from sandbox.claims.benzing2022importance.paper import PAPER

__all__: list[str] = []

LABELS = lazy("theory.importance:memory_and_absolute_fisher")


@PAPER.claim(
    "masx-below-absolute-fisher",
    says="For one input, MAS of the largest probability (MASX) is at most that probability times"
    " the absolute Fisher.",
    tag="derived",
    derivation=LABELS,
)
def masx_below_absolute_fisher(run: Run) -> Comparison:
    """Measure both for single inputs of small networks, at three sizes of the outputs."""
    import numpy as np

    from sandbox.claims.benzing2022importance._answers import one_input

    scales = (0.3, 1.0, 3.0)
    inputs = run.pick(quick=8, full=100)
    found = one_input(run.seeds.generator("inputs"), classes=6, scales=scales, inputs=inputs)
    excess = found.masx - found.top[..., None] * found.absolute
    worst = (excess / found.absolute.max(axis=-1, keepdims=True)).max(axis=(1, 2))
    return Comparison(
        "MASX less p AF, at the weight where it is largest",
        np.zeros(len(scales)),
        worst,
        tolerance=1e-8,
        reason="an exact bound, up to rounding over the smallest probability, which is 5e-8 or"
        " more as six outputs differ by 15 at most",
        relation="at_most",
        quantity="over the largest AF",
        axes=(Axis("factor on the outputs", scales, log=True),),
    )


@PAPER.claim(
    "two-classes-are-proportional",
    says="For two classes and one input, MASX is the larger probability times the absolute Fisher,"
    " MAS the difference of the two times it, and the root of the Fisher diagonal is the absolute"
    " Fisher over twice the root of the product of the two.",
    tag="derived",
    derivation=lazy("theory.importance:two_classes"),
)
def two_classes_are_proportional(run: Run) -> Comparison:
    """Measure all four for single inputs of small networks with two outputs."""
    import numpy as np

    from sandbox.claims.benzing2022importance._answers import one_input

    scales = (0.3, 1.0, 3.0)
    inputs = run.pick(quick=8, full=100)
    found = one_input(run.seeds.generator("inputs"), classes=2, scales=scales, inputs=inputs)
    top, least = found.top[..., None], found.least[..., None]
    predicted = {
        "MASX": top * found.absolute,
        "MAS": (top - least) * found.absolute,
        "root Fisher": found.absolute / (2 * np.sqrt(top * least)),
    }
    measured = {"MASX": found.masx, "MAS": found.mas, "root Fisher": found.root}
    away = np.array([
        (np.abs(measured[k] - predicted[k]) / predicted[k].max(-1, keepdims=True)).max((1, 2))
        for k in predicted
    ])
    return Comparison(
        "deviation from a multiple of the absolute Fisher",
        np.zeros(away.shape),
        away,
        tolerance=1e-8,
        reason="exact, up to rounding over the smallest probability, which is 1e-7 or more as"
        " outputs differ by 15 at most",
        quantity="largest deviation over the largest value",
        axes=(Axis("importance", tuple(predicted)), Axis("factor on outputs", scales, log=True)),
    )


@PAPER.claim(
    "answers-agree",
    says="In trained networks MAS, MASX, the absolute Fisher and the root of the Fisher diagonal"
    " are nearly proportional over all weights.",
    tag="paper",
    derivation=LABELS,
)
def answers_agree(run: Run) -> Comparison:
    """Correlate them at the end of training."""
    import numpy as np

    from sandbox.claims.benzing2022importance._answers import agreement
    from sandbox.claims.benzing2022importance._statistics import mean_interval
    from sandbox.claims.benzing2022importance.path import seen

    found = agreement(run, seen(run, "small").model)
    pairs = ("MAS & AF", "MASX & AF", "MAS & root Fisher", "AF & root Fisher")
    middle, width, words = mean_interval(np.array([found[pair] for pair in pairs]))
    return Comparison(
        "correlation at the end of training",
        np.full(len(pairs), 0.9),
        middle,
        tolerance=0.0,
        reason="where the axis of the author's figures begins",
        relation="at_least",
        uncertainty=width,
        confidence=words,
        quantity="Pearson's r",
        axes=(Axis("pair", pairs),),
    )


@PAPER.claim(
    "confidence-brings-them-together",
    says="A network's confidence brings MAS and MASX to the absolute Fisher: they correlate more"
    " with it than in the same network with its outputs shrunk tenfold, and tripled outputs change"
    " little more.",
    tag="derived",
    derivation=LABELS,
)
def confidence(run: Run) -> list[Comparison]:
    """Multiply a trained network's last layer; compare correlations of one network."""
    import numpy as np

    from sandbox.claims.benzing2022importance._answers import agreement
    from sandbox.claims.benzing2022importance._statistics import mean_interval
    from sandbox.claims.benzing2022importance.path import seen

    model = seen(run, "small").model
    shrunk, trained, tripled = (agreement(run, model, factor) for factor in (0.1, 1.0, 3.0))
    pairs = ("MAS & AF", "MASX & AF")
    middle, width, words = mean_interval(np.array([tripled[p] - trained[p] for p in pairs]))
    return [
        gains(
            "trained network over the same with a tenth of its outputs",
            {pair: trained[pair] - shrunk[pair] for pair in pairs},
            quantity="difference of correlations",
        ),
        Comparison(
            "outputs tripled against outputs as trained",
            np.zeros(len(pairs)),
            middle,
            tolerance=0.01,
            reason="of the order of what is left to a correlation of 1",
            uncertainty=width,
            confidence=words,
            quantity="difference of correlations",
            axes=(Axis("pair", pairs),),
        ),
    ]


@PAPER.claim(
    "logits-have-no-such-link",
    says="MAS of the outputs before the softmax correlates less with the root of the Fisher"
    " diagonal than MAS of the probabilities does.",
    tag="paper",
)
def logits(run: Run) -> Comparison:
    """Measure both at the end of training."""
    from sandbox.claims.benzing2022importance._answers import agreement
    from sandbox.claims.benzing2022importance.path import seen

    found = agreement(run, seen(run, "small").model)
    difference = found["MAS & root Fisher"] - found["MAS of logits & root Fisher"]
    return gains(
        "what is lost before the softmax",
        {"MAS over MAS of logits": difference},
        quantity="difference of correlations with the root Fisher",
    )
