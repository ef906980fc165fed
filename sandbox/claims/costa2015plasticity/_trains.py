"""Trains of spike pairs, and brian2's synapses under them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from sandbox.claims._brian import quiet_brian
from synapses.brian import costa2015
from synapses.plasticity import Costa2015

Trains = Sequence[Sequence[float]]
"""Times of spikes in seconds, synapse by synapse."""

FIRST_S = 0.2
"""Time of the first presynaptic spike, so that a postsynaptic one may come before it."""


def pairs(
    lag_s: float, interval_s: float, count: int, bursts: int = 1, gap_s: float = 10.0
) -> tuple[list[float], list[float]]:
    """Return presynaptic and postsynaptic times of bursts of pairs."""
    start = FIRST_S + gap_s * np.arange(bursts)[:, None] + interval_s * np.arange(count)
    return start.ravel().tolist(), (start + lag_s).ravel().tolist()


def learn(
    pre: Trains, post: Trains, *, gain: float, step_s: float, constants: Costa2015 | None = None
) -> tuple[ndarray, ndarray, list[ndarray]]:
    """Run synapses of brian2 under trains; return P, q and what each spike transmitted, over q."""
    end = max(time for train in (*pre, *post) for time in train) + 3 * step_s
    with quiet_brian(step_s) as b2:

        def generator(trains: Trains) -> Any:
            """Return a group that spikes at the times given."""
            index = np.repeat(np.arange(len(trains)), [len(train) for train in trains])
            times = np.concatenate([np.asarray(train, dtype=float) for train in trains])
            # in the middle of a step, where rounding does not move them to another
            whole = np.round(times / step_s) + 0.5
            return b2.SpikeGeneratorGroup(len(trains), index, whole * step_s * b2.second)

        source, driver = generator(pre), generator(post)
        target = b2.NeuronGroup(
            len(post), "v : 1\ndrive : 1", threshold="drive > 0.5", reset="drive = 0"
        )
        # makes the target spike one step late, as presynaptic spikes are then as well
        kick = b2.Synapses(driver, target, on_pre="drive_post = 1")
        kick.connect(j="i")
        synapses = costa2015(
            source, target, amplitude=1.0, gain=gain, constants=constants, connect={"j": "i"},
            record=True,
        )  # fmt: skip
        synapses.pre.delay = step_s * b2.second
        b2.Network(source, driver, target, kick, synapses).run(end * b2.second)
        events = synapses.recorder
        share = np.asarray(events["p"]) * np.asarray(events["r"])
        sent = [share[events["synapse"] == k] for k in range(len(pre))]
        return np.array(synapses.P_syn), np.array(synapses.q_syn), sent
