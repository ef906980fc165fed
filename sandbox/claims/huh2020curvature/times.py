"""How long learning takes: depth, scale, power and damping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.huh2020curvature.paper import PAPER

if TYPE_CHECKING:
    from deeplinear import CurvatureCorrection
    from sandbox.claims.huh2020curvature.networks import Array

__all__: list[str] = []

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
RELATIVE = "The integrator's relative tolerance is 1e-11; the plateau amplifies it a thousandfold."


def _simulated_time(
    rule: CurvatureCorrection, weights: Array, target: float, stop: float, rtol: float = 1e-11
) -> float:
    """Return when an adaptive integrator sees the product of the weights reach ``stop``."""
    import numpy as np
    from scipy.integrate import solve_ivp

    from deeplinear.rules import mode_velocity

    # time is integrated along with the weights over their logarithmic growth, so that
    # a plateau of length 1e9 costs no more than a short one
    def slowed(_: float, state: Array) -> Array:
        velocity = mode_velocity(rule, state[:-1], target)
        pace = abs(state[:-1]).max() / abs(velocity).max() * (target - state[:-1].prod())
        return np.asarray(np.array([*velocity, 1.0]) * pace)

    def reached(_: float, state: Array) -> float:
        return float(np.prod(state[:-1]) - stop)

    reached.terminal = True  # type: ignore[attr-defined]  # scipy's protocol
    # the clock starts at the first growth time, which gives its relative tolerance a scale
    clock = slowed(0.0, np.append(weights, 0.0))[-1]
    flow = solve_ivp(
        slowed,
        (0.0, 1e3),
        np.append(weights, clock),
        "DOP853",
        rtol=rtol,
        atol=0.0,
        max_step=1.0,  # the largest weight grows by a factor e at most, so no trial overflows
        events=reached,
    )
    if flow.status != 1 or flow.y_events is None:
        raise RuntimeError(f"{rule}: the integrator never saw the product reach {stop}")
    return float(flow.y_events[0][0, -1] - clock)


@PAPER.claim(
    "learning-times",
    says="The time to learn a mode from small balanced weights a₀ grows as 1/a₀ᵈ⁻² with depth d"
    " for gradient descent and only as √d for the square root, which keeps most of the speed-up of"
    " natural gradient: up to depth ten it takes at most 1.3 times as long.",
    tag="derived",
    derivation=lazy("deeplinear.derivations:learning_time"),
)
def learning_times(run: Run) -> list[Comparison]:
    """Compare the hypergeometric formula with integrated modes, over depth, power and scale."""
    import numpy as np

    from deeplinear import CurvatureCorrection, learning_time

    depths = run.pick(quick=(2, 3, 4, 6, 10), full=(2, 3, 4, 5, 6, 8, 10, 15, 20))
    shape = (len(depths), len(POWERS))
    predicted, measured = np.empty(shape), np.empty(shape)
    for i, depth in enumerate(depths):
        for j, power in enumerate(POWERS):
            rule, weights = CurvatureCorrection(power), np.full(depth, 0.05)
            predicted[i, j] = learning_time(rule, weights, 1.0, 0.95)
            measured[i, j] = _simulated_time(rule, weights, 1.0, 0.95)
    shallow = np.array(depths) <= 10
    starts = (0.3, 0.1, 0.03, 0.01, 0.001)
    by_start = np.empty((2, len(starts), len(POWERS)))
    for i, start in enumerate(starts):
        for j, power in enumerate(POWERS):
            rule, weights = CurvatureCorrection(power), np.full(3, start)
            by_start[0, i, j] = learning_time(rule, weights, 1.0, 0.95)
            by_start[1, i, j] = _simulated_time(rule, weights, 1.0, 0.95)
    common: dict[str, Any] = {
        "tolerance": 1e-8,
        "reason": RELATIVE,
        "relative": True,
        "quantity": "learning time",
        "unit": "1/learning rate",
        "log": True,
    }
    return [
        Comparison(
            "every layer starts at 0.05",
            predicted,
            measured,
            axes=(Axis("depth", depths), Axis("power", POWERS)),
            **common,
        ),
        Comparison(
            "depth 3",
            by_start[0],
            by_start[1],
            axes=(Axis("start of each layer", starts, log=True), Axis("power", POWERS)),
            **common,
        ),
        Comparison(
            "square root against natural gradient",
            np.full(shallow.sum(), 1.3),
            measured[shallow, 2] / measured[shallow, 4],
            tolerance=0.0,
            reason="The bound is the statement.",
            relation="at_most",
            quantity="ratio of learning times",
            axes=(Axis("depth", tuple(np.array(depths)[shallow])),),
        ),
    ]


@PAPER.claim(
    "square-root-unique",
    says="Escape from vanishing weights takes finite time if and only if the power exceeds"
    " (d − 2)/(2d − 2) at depth d, and the speed there stays bounded if and only if it is at most"
    " 1/2: the square root is the only power that has both at every depth.",
    tag="derived",
    derivation=lazy("deeplinear.derivations:critical_power"),
)
def square_root_unique(run: Run) -> list[Comparison]:
    """Measure how the escape time of integrated modes and the first speed go with the start."""
    import numpy as np

    from deeplinear import CurvatureCorrection
    from deeplinear.rules import mode_velocity

    depths, powers = (
        run.pick(quick=(3, 6, 14), full=(3, 4, 6, 14)),
        (0.0, 0.1, 0.45, 0.5, 0.75, 1.0),
    )
    starts = (1e-9, 1e-10)
    shape = (len(depths), len(powers))
    escape, speed = np.empty(shape), np.empty(shape)
    for i, depth in enumerate(depths):
        for j, power in enumerate(powers):
            rule = CurvatureCorrection(power)
            weights = [np.full(depth, start) for start in starts]
            times = [_simulated_time(rule, w, 1.0, 0.5, rtol=1e-7) for w in weights]
            speeds = [np.linalg.norm(mode_velocity(rule, w, 1.0)) for w in weights]
            escape[i, j] = np.log10(times[1] / times[0])
            speed[i, j] = np.log10(speeds[1] / speeds[0])
    d, q = np.array(depths)[:, None], np.array(powers)
    critical = (d - 2) / (2 * (d - 1))
    gain = d - 2 * (d - 1) * (1 - q)  # power of the start in the escape time
    axes = (Axis("depth", depths), Axis("power", powers))
    both = (np.abs(escape) < 0.05) & (speed < 0.05)
    named = Axis("power", tuple(f"{power:g}" for power in powers))
    return [
        Comparison(
            "escape time: decades longer per decade of smaller start",
            np.where(q > critical, 0.0, -gain),
            escape,
            tolerance=0.02,
            reason="The slowest pair (depth 14, power 0.45) approaches its power law as the start"
            " to the 0.3, here (1e-9)^0.3 = 0.2 %; the integrator leaves 1e-6.",
            quantity="exponent",
            axes=axes,
        ),
        Comparison(
            "speed at the start, from the definition: decades faster per decade",
            -(d - 1) * (1 - 2 * q),
            speed,
            tolerance=1e-9,
            reason="The definition gives the law exactly, up to (1e-9)^d.",
            quantity="exponent",
            axes=axes,
        ),
        Comparison(
            "both finite escape and bounded speed",
            ((q > critical) & (q <= 0.5)).T.astype(float),
            both.T.astype(float),
            tolerance=0.0,
            reason="Yes or no.",
            quantity="1 = yes",
            axes=(named, axes[0]),
        ),
        Comparison(
            "both at every depth",
            np.isclose(q, 0.5).astype(float),
            both.all(axis=0).astype(float),
            tolerance=0.0,
            reason="Yes or no.",
            quantity="1 = yes",
            axes=(named,),
        ),
    ]


@PAPER.claim(
    "damping-identity",
    says="Damping mixes the learning times: natural gradient damped by ε takes exactly the time"
    " of natural gradient plus ε times that of gradient descent, at any depth and imbalance.",
    tag="derived",
    derivation=lazy("deeplinear.derivations:damping_identity"),
)
def damping_identity(run: Run) -> Comparison:
    """Integrate damped modes; predict from the two undamped closed forms."""
    import numpy as np

    from deeplinear import CurvatureCorrection, learning_time

    dampings = run.pick(
        quick=(1e-3, 1e-2, 0.1, 1.0, 10.0), full=tuple(float(x) for x in np.logspace(-6, 3, 19))
    )
    starts = ((0.5, 0.1), (0.6, 0.3, 0.2), (0.3, 0.3, 0.3, 0.3))
    target, shape = 1.5, (len(dampings), len(starts))
    predicted, measured = np.empty(shape), np.empty(shape)
    for j, start in enumerate(starts):
        weights = np.array(start)
        natural = learning_time(CurvatureCorrection(1.0), weights, target, 0.95 * target)
        gradient = learning_time(CurvatureCorrection(0.0), weights, target, 0.95 * target)
        for i, damping in enumerate(dampings):
            predicted[i, j] = natural + damping * gradient
            rule = CurvatureCorrection(1.0, damping=damping)
            measured[i, j] = _simulated_time(rule, weights, target, 0.95 * target)
    return Comparison(
        "time to 95 % of the target",
        predicted,
        measured,
        tolerance=1e-8,
        reason=RELATIVE,
        relative=True,
        quantity="learning time",
        unit="1/learning rate",
        log=True,
        axes=(
            Axis("damping", dampings, log=True),
            Axis("start", tuple("start " + ", ".join(map(str, s)) for s in starts)),
        ),
    )
