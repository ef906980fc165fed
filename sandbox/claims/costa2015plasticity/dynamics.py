"""What long-term plasticity leaves of short-term plasticity, and what blocking a trace does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.costa2015plasticity.paper import PAPER

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

__all__: list[str] = []

TIMING = lazy("synapses.plasticity:timing_rule")
GAIN, STEP_S = 0.15, 1e-2
PROBED_S = 6.0  # five seconds after the last pair: 22 time constants of the slowest trace
PROBES = (0.02, 0.05, 0.1, 0.2)


@PAPER.claim(
    "short-term-dynamics",
    says="Short-term depression becomes weaker after depression (20 Hz, −10 ms) and stronger after"
    " potentiation (50 Hz, +10 ms): the paired-pulse ratio is"
    " (1 + (1−P)exp(−Δ/F))(1 − P exp(−Δ/D)), which falls as P grows.",
    tag="paper",
    derivation=TIMING,
)
def short_term_dynamics(_: Run) -> list[Comparison]:
    """Let brian2's synapses learn, rest and answer two test spikes."""
    import numpy as np

    from sandbox.claims.costa2015plasticity._trains import learn, pairs
    from synapses.plasticity import costa2015_change, paired_pulse_ratio

    taught: dict[str, tuple[list[float], list[float]]] = {
        "after −10 ms, 20 Hz": pairs(-0.01, 0.05, 5),
        "before": ([], []),
        "after +10 ms, 50 Hz": pairs(0.01, 0.02, 5),
    }
    pre, post = [], []
    for before, after in taught.values():
        for gap in PROBES:
            pre.append([*before, PROBED_S, PROBED_S + gap])
            post.append(after)
    sent = learn(pre, post, gain=GAIN, step_s=STEP_S)[2]
    ratios = np.array([shares[-1] / shares[-2] for shares in sent]).reshape(len(taught), -1)
    learned = [costa2015_change(*train, gain=GAIN)[0] for train in taught.values()]
    grid = np.linspace(PROBES[0], PROBES[-1], 81)

    def law(gaps: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return the ratio by interval and protocol."""
        return np.array([[paired_pulse_ratio(P, gap) for P in learned] for gap in gaps])

    places = tuple(1e3 * gap for gap in PROBES)
    return [
        Comparison(
            "paired-pulse ratio",
            law(PROBES),
            ratios.T,
            tolerance=1e-6,
            reason="what traces and short-term plasticity keep after the rest, exp(-5/0.23) < 1e-9,"
            " and rounding",
            quantity="second response / first",
            axes=(Axis("interval", places, "ms"), Axis("synapse", tuple(taught))),
            curve=(1e3 * grid, law(grid)),
        ),
        Comparison(
            "paired-pulse ratio at 50 ms",
            np.array([2.0, 1.0, 0.0]),
            ratios[:, PROBES.index(0.05)],
            tolerance=0.0,
            reason="an ordering",
            relation="ordered",
            quantity="second response / first",
            axes=(Axis("synapse", tuple(taught)),),
        ),
    ]


@PAPER.claim(
    "blockade",
    says="Without the trace y₊ (nitric oxide blocked) potentiation is less, for q alone is left;"
    " short-term dynamics stay as they were; without depression (endocannabinoids blocked) P rises"
    " more and short-term depression is stronger.",
    tag="paper",
    derivation=TIMING,
)
def blockade(_: Run) -> list[Comparison]:
    """Repeat potentiation at 50 Hz, +10 ms, in brian2 with constants set to 0."""
    import numpy as np

    from sandbox.claims.costa2015plasticity._trains import learn, pairs
    from synapses.plasticity import Costa2015, paired_pulse_ratio

    kinds = {
        "y₊ blocked": Costa2015(d_minus=0.0, d_plus=0.0),
        "control": Costa2015(),
        "depression blocked": Costa2015(d_minus=0.0),
    }
    before, after = pairs(0.01, 0.02, 5)
    probed = [[*before, PROBED_S, PROBED_S + 0.05]]
    table = []
    for constants in kinds.values():
        P, q, sent = learn(probed, [after], gain=GAIN, step_s=STEP_S, constants=constants)
        table.append([P[0], q[0], P[0] * q[0], sent[0][-1] / sent[0][-2]])
    P, _, weight, ratio = np.array(table).T
    axes = (Axis("induction", tuple(kinds)),)
    rising = np.array([0.0, 1.0, 2.0])
    rested = paired_pulse_ratio(0.5, 0.05)
    return [
        Comparison(
            "P, of 0.5 before",
            rising,
            P,
            tolerance=0.0,
            reason="an ordering",
            relation="ordered",
            quantity="P",
            axes=axes,
        ),
        Comparison(
            "w = Pq, of 0.5 before",
            rising,
            weight,
            tolerance=0.0,
            reason="an ordering",
            relation="ordered",
            quantity="w",
            axes=axes,
        ),
        Comparison(
            "paired-pulse ratio at 50 ms",
            -rising,
            ratio,
            tolerance=0.0,
            reason="an ordering",
            relation="ordered",
            quantity="second response / first",
            axes=axes,
        ),
        Comparison(
            "the same without y₊, and before",
            np.array([0.5, rested]),
            np.array([P[0], ratio[0]]),
            tolerance=1e-6,
            reason="what short-term plasticity keeps after the rest, and rounding",
            quantity="P; ratio",
            axes=(Axis("of", ("P", "paired-pulse ratio")),),
        ),
    ]
