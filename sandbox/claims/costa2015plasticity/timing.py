"""What spike pairs and bursts do to release probability and quantal amplitude."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.costa2015plasticity.paper import PAPER

__all__: list[str] = []

TIMING = lazy("synapses.plasticity:timing_rule")
GAINS = {"as printed": 1.0, "program's gain 0.15": 0.15}
LAGS = {"+10 ms": 0.01, "−10 ms": -0.01}
ROUNDING = 1e-10


@PAPER.claim(
    "single-pair",
    says="A postsynaptic spike Δ before a presynaptic one takes d₋ exp(−Δ/τ₋ − Δ/τ₊) from the"
    " release probability; the other order changes nothing, for every potentiation needs a third"
    " spike. The released program makes both a factor 0.15 smaller than the equations.",
    tag="derived",
    derivation=TIMING,
)
def single_pair(run: Run) -> list[Comparison]:
    """Give brian2's synapses one pair each, in either order."""
    import numpy as np

    from sandbox.claims.costa2015plasticity._trains import learn, pairs
    from synapses.plasticity import Costa2015

    lags = np.array([*range(-100, -4, run.pick(quick=10, full=1)), -5, 5, 10, 20, 50, 100]) / 1000
    lags = np.unique(lags)
    trains = [pairs(lag, 1.0, 1) for lag in lags]
    c = Costa2015()

    def law(gain: float, lag_s: np.ndarray) -> np.ndarray:
        """Return the change of P."""
        rate = 1 / c.y_minus_s + 1 / c.y_plus_s
        return np.where(lag_s < 0, -gain * c.d_minus * np.exp(-np.abs(lag_s) * rate), 0.0)

    found = [learn(*zip(*trains, strict=True), gain=gain, step_s=1e-3) for gain in GAINS.values()]
    grid = np.linspace(lags.min(), lags.max(), 401)
    axes = (
        Axis("lag, post after pre", tuple(1e3 * lags), "ms"),
        Axis("rule", tuple(GAINS)),
    )
    return [
        Comparison(
            "change of P by one pair",
            np.array([law(gain, lags) for gain in GAINS.values()]).T,
            np.array([P - 0.5 for P, _, _ in found]).T,
            tolerance=ROUNDING,
            reason="rounding; brian2's synapses are event driven",
            quantity="change of P",
            axes=axes,
            curve=(1e3 * grid, np.array([law(gain, grid) for gain in GAINS.values()]).T),
        ),
        Comparison(
            "change of q by one pair",
            np.zeros((len(lags), len(GAINS))),
            np.array([q - 1.0 for _, q, _ in found]).T,
            tolerance=0.0,
            reason="no term of the rule is at work, so that q is not touched",
            quantity="change of q",
            axes=axes,
        ),
    ]


@PAPER.claim(
    "burst",
    says="Five pairs at a rate of 10 to 50 a second change P and q as the recursion over spikes"
    " says, with the equations' gain 1 and with the program's 0.15: P rises or falls with the"
    " order of a pair, q rises either way.",
    tag="derived",
    derivation=TIMING,
)
def burst(run: Run) -> list[Comparison]:
    """Give brian2's synapses a burst, and work it out spike by spike."""
    import numpy as np

    from sandbox.claims.costa2015plasticity._trains import learn, pairs
    from synapses.plasticity import costa2015_change

    # whole milliseconds
    intervals = run.pick(
        quick=(0.1, 0.05, 0.04, 0.025, 0.02), full=(0.1, 0.08, 0.05, 0.04, 0.032, 0.025, 0.02)
    )
    rates = tuple(1 / interval for interval in intervals)
    cases = [(lag, interval) for lag in LAGS.values() for interval in intervals]
    trains = [pairs(lag, interval, 5) for lag, interval in cases]
    comparisons = []
    for words, gain in GAINS.items():
        law = np.array([costa2015_change(*train, gain=gain) for train in trains])
        P, q, _ = learn(*zip(*trains, strict=True), gain=gain, step_s=1e-3)
        for name, number, value in (("P", 0, P), ("q", 1, q)):
            comparisons.append(
                Comparison(
                    f"{name} after five pairs, {words}",
                    law[:, number].reshape(len(LAGS), -1).T,
                    value.reshape(len(LAGS), -1).T,
                    tolerance=ROUNDING,
                    reason="rounding; brian2's synapses are event driven",
                    quantity=name,
                    axes=(Axis("rate of pairs", rates, "Hz"), Axis("lag", tuple(LAGS))),
                )
            )
    return comparisons


@PAPER.claim(
    "reversed-timing",
    says="Three pairs at 20 Hz, postsynaptic spike 10 ms after the presynaptic one, strengthen P"
    " and q; in the reversed order P weakens strongly, although q still slightly strengthens.",
    tag="paper",
    derivation=TIMING,
)
def reversed_timing(_: Run) -> list[Comparison]:
    """Repeat the example of the article's figure 1B in brian2."""
    import numpy as np

    from sandbox.claims.costa2015plasticity._trains import learn, pairs

    trains = [pairs(lag, 0.05, 3) for lag in LAGS.values()]
    found = [learn(*zip(*trains, strict=True), gain=gain, step_s=1e-3) for gain in GAINS.values()]
    relative = np.array([[P / 0.5 - 1, q - 1] for P, q, _ in found])  # (gain, factor, lag)
    axes = (Axis("factor", ("P", "q", "w = Pq")), Axis("rule", tuple(GAINS)))
    weight = np.prod(1 + relative, axis=1, keepdims=True) - 1
    changes = np.concatenate([relative, weight], axis=1)
    reversed_signs = np.array([-1.0, 1.0, -1.0])[:, None]
    return [
        Comparison(
            "relative change, +10 ms: up",
            np.zeros((3, len(GAINS))),
            changes[:, :, 0].T,
            tolerance=0.0,
            reason="an ordering: P, q and their product grow",
            relation="at_least",
            quantity="relative change",
            axes=axes,
        ),
        Comparison(
            "loss of P and w, gain of q, −10 ms",
            np.zeros((3, len(GAINS))),
            reversed_signs * changes[:, :, 1].T,
            tolerance=0.0,
            reason="an ordering: P and the product shrink, q grows",
            relation="at_least",
            quantity="size of the relative change",
            axes=axes,
        ),
    ]


@PAPER.claim(
    "protocol",
    says="Under the protocol that the constants were fitted to, fifteen bursts of five pairs, P"
    " changes by degrees, as in the data: it does not end at 0 or 1.",
    tag="paper",
    derivation=TIMING,
)
def protocol(_: Run) -> Comparison:
    """Follow fifteen bursts, ten seconds apart, spike by spike."""
    import numpy as np

    from sandbox.claims.costa2015plasticity._trains import pairs
    from synapses.plasticity import costa2015_change

    rates = (10.0, 20.0, 40.0, 50.0)
    lines = [
        (f"{name}, {words}", lag, gain)
        for words, gain in GAINS.items()
        for name, lag in LAGS.items()
    ]
    ends = np.array([
        [costa2015_change(*train, gain=gain)[0] for train, gain in
         ((pairs(lag, 1 / rate, 5, bursts=15), gain) for _, lag, gain in lines)]
        for rate in rates
    ])  # fmt: skip
    room = np.minimum(ends, 1 - ends)
    return Comparison(
        "P after fifteen bursts, from 0 or 1",
        np.full(room.shape, 0.01),
        room,
        tolerance=0.0,
        reason="a hundredth away from 0 or 1 counts as not having ended there",
        relation="at_least",
        quantity="distance of P from its bounds",
        axes=(
            Axis("rate of pairs", rates, "Hz"),
            Axis("rule", tuple(name for name, _, _ in lines)),
        ),
    )
