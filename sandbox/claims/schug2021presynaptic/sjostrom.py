"""Slice recordings: synapses with a high release probability change less."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run
from sandbox.claims.schug2021presynaptic.paper import PAPER

__all__: list[str] = []

PRINTED = -0.4416
"""Correlation in the article."""


@PAPER.claim(
    "sjostrom-correlation",
    says="In recordings from visual cortex the release probability before plasticity correlates"
    " with the relative change of strength: r = −0.4416, p < 0.01.",
    tag="paper",
    needs=("sjostrom2001",),
)
def sjostrom_correlation(_: Run) -> list[Comparison]:
    """Correlate the columns of the table that the user has put into the data folder."""
    import numpy as np
    from scipy.stats import pearsonr

    from sandbox.claims.schug2021presynaptic._sjostrom_table import at_hand, read

    folder = at_hand()
    if folder is None:
        raise FileNotFoundError("the table is gone since it was looked for")
    table = read(folder)
    change = table.relative_change()
    kinds = {"all": np.ones(change.size, dtype=bool)}
    kinds |= {kind: table.kind == kind for kind in ("LTP", "LTD")}
    tests = {kind: pearsonr(table.p_before[own], change[own]) for kind, own in kinds.items()}
    intervals = {kind: test.confidence_interval(0.95) for kind, test in tests.items()}
    half = [
        max(intervals[kind].high - test.statistic, test.statistic - intervals[kind].low)
        for kind, test in tests.items()
    ]
    every = (Axis("recordings", (f"all {change.size}",)),)
    return [
        Comparison(
            "p before against size of change",
            np.array([PRINTED]),
            np.array([tests["all"].statistic]),
            tolerance=5e-4,
            reason="the public copy of the table gives -0.44179: it has been rounded, or a row"
            " differs in its last digits",
            quantity="Pearson's r",
            axes=every,
        ),
        Comparison(
            "its p value",
            np.array([0.01]),
            np.array([tests["all"].pvalue]),
            tolerance=0.0,
            reason="a bound that is printed",
            relation="at_most",
            quantity="p value",
            axes=every,
        ),
        Comparison(
            "by kind of plasticity",
            np.full(len(kinds), PRINTED),
            np.array([test.statistic for test in tests.values()]),
            tolerance=1.0,
            reason="nothing is demanded of the width of 95 % intervals of 14 and 30 recordings",
            relation="inside",
            uncertainty=np.array(half),
            confidence="95 % interval of Pearson's r by Fisher's transformation, its longer side",
            quantity="Pearson's r",
            axes=(Axis("kind", tuple(kinds)),),
        ),
    ]
