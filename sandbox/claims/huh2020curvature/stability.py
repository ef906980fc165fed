"""Learning in discrete steps: who follows the flow and who overshoots."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.huh2020curvature.networks import forward
from sandbox.claims.huh2020curvature.paper import PAPER

if TYPE_CHECKING:
    import torch

    from deeplinear import CurvatureCorrection

__all__: list[str] = []


@PAPER.claim(
    "euler-stability",
    says="In discrete steps from small weights gradient descent and the square root follow their"
    " flows; natural gradient overshoots by many orders of magnitude, and still a thousandfold in"
    " loss with damping 10⁻⁵. The largest step without overshoot is of order one for the square"
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
        "natural gradient, damping 10⁻⁵": CurvatureCorrection(1.0, damping=1e-5),
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
