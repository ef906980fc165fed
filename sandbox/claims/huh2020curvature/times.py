"""How long learning takes: depth, scale, power, damping, and discrete steps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.huh2020curvature.networks import forward
from sandbox.claims.huh2020curvature.paper import PAPER

if TYPE_CHECKING:
    import torch

    from deeplinear import CurvatureCorrection
    from sandbox.claims.huh2020curvature.networks import Array

__all__: list[str] = []

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
RELATIVE = "The integrator's relative tolerance is 1e-11; the plateau amplifies it a thousandfold."


def _simulated_time(rule: CurvatureCorrection, weights: Array, target: float, stop: float) -> float:
    """Return when an adaptive integrator sees the product of the weights reach ``stop``."""
    import numpy as np
    from scipy.integrate import solve_ivp

    from deeplinear.rules import mode_velocity

    # time is integrated along with the weights over their logarithmic growth, so that
    # a plateau of length 1e9 costs no more than a short one
    def slowed(_: float, state: Array) -> Array:
        velocity = mode_velocity(rule, state[:-1], target)
        pace = np.abs(state[:-1]).max() / np.abs(velocity).max() * (target - np.prod(state[:-1]))
        return np.asarray(np.append(velocity, 1.0) * pace)

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
        rtol=1e-11,
        atol=0.0,
        events=reached,
    )
    if flow.status != 1 or flow.y_events is None:
        raise RuntimeError(f"{rule}: the integrator never saw the product reach {stop}")
    return float(flow.y_events[0][0, -1] - clock)


@PAPER.claim(
    "learning-times",
    says="The time to learn a mode from small balanced weights a₀ grows as a₀^−(d − 2) with depth d"
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
    " q_c(d) = (d − 2)/(2(d − 1)), and the speed there stays bounded if and only if it is at most"
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
            times = [_simulated_time(rule, w, 1.0, 0.5) for w in weights]
            speeds = [np.linalg.norm(mode_velocity(rule, w, 1.0)) for w in weights]
            escape[i, j] = np.log10(times[1] / times[0])
            speed[i, j] = np.log10(speeds[1] / speeds[0])
    d, q = np.array(depths)[:, None], np.array(powers)
    critical = (d - 2) / (2 * (d - 1))
    gain = d - 2 * (d - 1) * (1 - q)  # power of the start in the escape time
    axes = (Axis("depth", depths), Axis("power", powers))
    both = (np.abs(escape) < 0.05) & (speed < 0.05)
    return [
        Comparison(
            "escape time: decades longer per decade of smaller start",
            np.where(q > critical, 0.0, -gain),
            escape,
            tolerance=0.02,
            reason="The slowest pair (depth 14, power 0.45) approaches its power law as the start"
            " to the 0.3, here (1e-9)^0.3 = 0.2 %.",
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
            ((q > critical) & (q <= 0.5)).astype(float),
            both.astype(float),
            tolerance=0.0,
            reason="Yes or no.",
            quantity="1 = yes",
            axes=axes,
        ),
        Comparison(
            "both at every depth",
            np.isclose(q, 0.5).astype(float),
            both.all(axis=0).astype(float),
            tolerance=0.0,
            reason="Yes or no.",
            quantity="1 = yes",
            axes=axes[1:],
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
            Axis("start", tuple("(" + ", ".join(map(str, s)) + ")" for s in starts)),
        ),
    )


@PAPER.claim(
    "euler-stability",
    says="In discrete steps from small weights gradient descent and the square root follow their"
    " flows; natural gradient overshoots by many orders of magnitude, and still a thousandfold in"
    " loss with damping 1e-5. The largest step without overshoot is of order one for the square"
    " root and vanishes with the weights for natural gradient.",
    tag="derived",
    derivation=lazy("deeplinear.derivations:euler_stability"),
)
def euler_stability(run: Run) -> list[Comparison]:
    """Train chains of three weights in torch with the optimiser, step by step."""
    import numpy as np

    from deeplinear import learning_time

    depth, start, rate = 3, run.pick(quick=0.02, full=0.01), 0.1
    cases = _chain_rules()
    runs = {name: _train_chain(rule, depth, start, rate) for name, rule in cases.items()}
    calm = list(cases)[:3]
    flows = [learning_time(cases[name], np.full(depth, start), 1.0, 0.95) / rate for name in calm]
    wild = list(cases)[3:]
    first = []
    for name in wild:
        damping = cases[name].damping
        push = start ** (depth - 1) / (depth * start ** (2 * depth - 2) + damping)
        weight = start + rate * push * (1 - start**depth)
        first.append(0.5 * (weight**depth - 1) ** 2)
    bounds = {
        "square root": np.sqrt(depth) * (1 - start) / (1 - start**depth),
        "natural gradient": depth * start ** (depth - 1) * (1 - start) / (1 - start**depth),
    }
    largest = [_largest_step(cases[name], depth, start) for name in bounds]
    return [
        Comparison(
            "steps to learn, against the continuous flow",
            np.array(flows),
            np.array([runs[name][0] for name in calm], dtype=float),
            tolerance=0.1,
            reason="Euler steps of 0.1 deviate from the flow at first order in the step.",
            relative=True,
            quantity="steps",
            log=True,
            axes=(Axis("rule", tuple(calm)),),
        ),
        Comparison(
            "steps to learn, against the scalar recursion",
            np.array([_recursion(cases[name], depth, start, rate) for name in cases], dtype=float),
            np.array([runs[name][0] for name in cases], dtype=float),
            tolerance=0.0,
            reason="The recursion is written out for a scalar; counts must agree exactly.",
            quantity="steps",
            log=True,
            axes=(Axis("rule", tuple(cases)),),
        ),
        Comparison(
            "worst loss on the way, from the overshoot of the first step",
            np.array(first),
            np.array([runs[name][1] for name in wild]),
            tolerance=1e-9,
            reason="The first step is known in closed form; rounding is amplified by its size.",
            relative=True,
            quantity="worst loss",
            log=True,
            axes=(Axis("rule", tuple(wild)),),
        ),
        Comparison(
            "largest first step without overshoot",
            np.array(list(bounds.values())),
            np.array(largest),
            tolerance=1e-9,
            reason="Bisection to a relative width of 1e-12.",
            relative=True,
            quantity="learning rate",
            log=True,
            axes=(Axis("rule", tuple(bounds)),),
        ),
    ]


@PAPER.claim(
    "square-root-stable",
    says="The square root is numerically far more stable than natural gradient: from small weights"
    " its loss never rises above the start's, where natural gradient spikes, damped or not.",
    tag="paper",
    derivation=lazy("deeplinear.derivations:euler_stability"),
)
def square_root_stable(run: Run) -> list[Comparison]:
    """Train the same chains and look at the worst loss on the way."""
    import numpy as np

    depth, start, rate = 3, run.pick(quick=0.02, full=0.01), 0.1
    worst = {
        name: _train_chain(rule, depth, start, rate)[1] for name, rule in _chain_rules().items()
    }
    calm, wild = list(worst)[1:3], list(worst)[3:]
    first = 0.5 * (1 - start**depth) ** 2
    return [
        Comparison(
            "square root: worst loss against the loss at the start",
            np.full(2, first),
            np.array([worst[name] for name in calm]),
            tolerance=0.0,
            reason="The loss must not rise at all.",
            relation="at_most",
            quantity="loss",
            axes=(Axis("rule", tuple(calm)),),
        ),
        Comparison(
            "natural gradient: worst loss against a thousand times that",
            np.full(2, 1000 * first),
            np.array([worst[name] for name in wild]),
            tolerance=0.0,
            reason="A thousandfold rise is what the statement calls a spike.",
            relation="at_least",
            quantity="loss",
            log=True,
            axes=(Axis("rule", tuple(wild)),),
        ),
    ]


def _chain_rules() -> dict[str, CurvatureCorrection]:
    """Return the rules whose discrete steps are compared, by name."""
    from deeplinear import CurvatureCorrection

    return {
        "gradient descent": CurvatureCorrection(0.0),
        "square root": CurvatureCorrection(0.5),
        "square root, layer": CurvatureCorrection(0.5, "layer", scale=1.0),
        "natural gradient": CurvatureCorrection(1.0),
        "natural gradient, damping 1e-5": CurvatureCorrection(1.0, damping=1e-5),
    }


def _recursion(rule: CurvatureCorrection, depth: int, start: float, rate: float) -> int:
    """Count Euler steps of a balanced chain, written out for its one weight."""
    weight, count = start, 0
    while abs(weight**depth - 1) >= 0.05:
        others = weight ** (depth - 1)
        curvature = others**2 * (depth if rule.blocks == "full" else 1) + rule.damping
        weight += rate * others * curvature**-rule.power * (1 - weight**depth)
        count += 1
    return count


def _chain(depth: int, start: float) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return a torch chain of scalar layers and its one sample."""
    import numpy as np
    import torch

    from sandbox.training.models import deep_linear

    return deep_linear([np.full((1, 1), start)] * depth), torch.ones(1, 1, dtype=torch.float64)


def _train_chain(
    rule: CurvatureCorrection, depth: int, start: float, rate: float
) -> tuple[int, float]:
    """Return the steps to |u - 1| < 0.05 and the worst loss after any step."""
    from sandbox.optim import CurvatureCorrected

    net, one = _chain(depth, start)
    optimiser = CurvatureCorrected(net.parameters(), rule, lr=rate)
    worst = 0.0
    for count in range(1, 10_000):
        optimiser.step(partial(forward, net, one, one))
        output = net(one).item()
        worst = max(worst, 0.5 * (output - 1) ** 2)
        if abs(output - 1) < 0.05:
            return count, worst
    raise RuntimeError(f"{rule} has not learned after {count} steps")


def _largest_step(rule: CurvatureCorrection, depth: int, start: float) -> float:
    """Return, by bisection, the rate at which the first step lands on the target."""
    from sandbox.optim import CurvatureCorrected

    low, high = 1e-6, 1e2
    while high / low > 1 + 1e-12:
        middle = (low * high) ** 0.5
        net, one = _chain(depth, start)
        optimiser = CurvatureCorrected(net.parameters(), rule, lr=middle)
        optimiser.step(partial(forward, net, one, one))
        low, high = (low, middle) if net(one).item() > 1 else (middle, high)
    return float((low * high) ** 0.5)
