"""Balance and what else a rule conserves: kept by full rules, broken by layer rules."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.huh2020curvature.networks import (
    RULES,
    forward,
    pattern,
    rotated,
    rule_named,
    unaligned,
    unrotated,
)
from sandbox.claims.huh2020curvature.paper import PAPER

if TYPE_CHECKING:
    from deeplinear import CurvatureCorrection
    from sandbox.claims.huh2020curvature.networks import Array

__all__: list[str] = []

SOLVER = "The flow is integrated to a relative tolerance of 1e-10, which grows along the path."


@PAPER.claim(
    "balance-conserved",
    says="Full rules conserve the balance of adjacent layers, Wᵢ₊₁ᵀWᵢ₊₁ − WᵢWᵢᵀ; layer-block"
    " natural gradient destroys it.",
    tag="paper",
    derivation=lazy("deeplinear.derivations:conservation_full"),
)
def balance_conserved(run: Run) -> list[Comparison]:
    """Measure the drift of the balance in integrated networks of coupled modes."""
    weights, target = unaligned()
    end = run.pick(quick=1.5, full=3.0)
    full = [_drift(rule_named(name), weights, target, end) for name in RULES]
    layer = [_drift(rule_named("natural gradient", "layer"), weights, target, end)]
    return [
        _kept("full rules: balance kept", full, RULES),
        _broken("layer-block natural gradient: balance broken", layer, RULES[2:]),
    ]


@PAPER.claim(
    "square-root-balance",
    says="The layer-block square root keeps balanced layers balanced while modes are decoupled.",
    tag="paper",
    derivation=lazy("deeplinear.derivations:conservation_layer"),
)
def square_root_balance(run: Run) -> Comparison:
    """Start balanced modes behind rotations, and measure the drift of the balance."""
    import numpy as np

    depths = run.pick(quick=(2, 3), full=(2, 3, 4, 5))
    drifts = []
    for depth in depths:
        start = np.repeat([[0.3, 0.5, 0.2]], depth, axis=0)
        weights, frames = rotated(start, run.seeds.generator("rotations", depth))
        target = (frames[-1] * [1.5, 0.8, 0.4]) @ frames[0].T
        drifts.append(_drift(rule_named("square root", "layer"), weights, target, 2.0))
    return _kept("decoupled modes", drifts, tuple(f"depth {d}" for d in depths))


@PAPER.claim(
    "square-root-balance-coupled",
    says="The layer-block square root keeps balanced layers balanced whatever the modes: the"
    " statement read strictly. It does not hold when modes are coupled; balance is then lost,"
    " though more slowly than under layer-block natural gradient.",
    tag="paper",
    derivation=lazy("deeplinear.derivations:conservation_layer"),
)
def square_root_balance_coupled(run: Run) -> list[Comparison]:
    """Start two exactly balanced layers whose modes are coupled."""
    import numpy as np
    from scipy.linalg import polar

    first = 0.5 * np.eye(3) + 0.2 * pattern(1, 3, 3)
    root = polar(first, side="left")[1]
    turn = polar(np.eye(3) + 0.5 * pattern(2, 3, 3))[0]
    weights, target = [first, turn @ root], unaligned()[1]
    end = run.pick(quick=1.5, full=6.0)
    square, natural = (
        _drift(rule_named(name, "layer"), weights, target, end) for name in RULES[1:]
    )
    return [
        _kept("coupled modes", [square], RULES[1:2]),
        Comparison(
            "drift against that of layer-block natural gradient",
            np.array(natural),
            np.array(square),
            tolerance=0.0,
            reason="Any smaller drift confirms the order.",
            relation="at_most",
            quantity="drift of the balance",
        ),
    ]


@PAPER.claim(
    "relu-balance",
    says="In a ReLU network full rules conserve each hidden unit's |in|² − |out|²; layer-block"
    " rules do not.",
    tag="derived",
    derivation=lazy("deeplinear.derivations:conservation_full"),
)
def relu_balance(run: Run) -> list[Comparison]:
    """Measure the drift of every hidden unit's balance while a torch network trains."""
    full = [_relu_drift(run, "full", name) for name in RULES]
    layer = [_relu_drift(run, "layer", name) for name in RULES[1:]]
    return [
        _kept("full rules: kept", full, RULES),
        _broken("layer-block rules: broken", layer, RULES[1:]),
    ]


def _drift(rule: CurvatureCorrection, weights: list[Array], target: Array, end: float) -> float:
    """Return how far the balance of any adjacent pair of layers has moved in the end."""
    import numpy as np

    from deeplinear import matrix_flow

    flow = matrix_flow(rule, weights, target, np.array([0.0, end]))
    balances = [
        after.transpose(0, 2, 1) @ after - before @ before.transpose(0, 2, 1)
        for before, after in pairwise(flow)
    ]
    return max(float(np.linalg.norm(b[1] - b[0])) for b in balances)


def _kept(name: str, drifts: list[float], cases: tuple[str, ...]) -> Comparison:
    """Compare drifts with zero."""
    import numpy as np

    return Comparison(
        name,
        np.zeros(len(drifts)),
        np.array(drifts),
        tolerance=1e-8,
        reason="Zero up to the solver's and the SVD's rounding, 1e-10, amplified.",
        quantity="drift of the balance",
        axes=(Axis("case", cases),),
    )


def _broken(name: str, drifts: list[float], cases: tuple[str, ...]) -> Comparison:
    """Compare drifts with a bound far above rounding."""
    import numpy as np

    return Comparison(
        name,
        np.full(len(drifts), 0.01),
        np.array(drifts),
        tolerance=0.0,
        reason="A drift of 0.01 is a million times the largest one allowed to a full rule.",
        relation="at_least",
        quantity="drift of the balance",
        axes=(Axis("case", cases),),
        log=True,
    )


def _relu_drift(run: Run, blocks: str, name: str) -> float:
    """Return the fastest drift of |in|^2 - |out|^2 of any hidden unit during training."""
    import numpy as np
    import torch

    from sandbox.optim import CurvatureCorrected

    generator = torch.Generator().manual_seed(run.seeds.integer("relu"))
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 5, bias=False, dtype=torch.float64),
        torch.nn.ReLU(),
        torch.nn.Linear(5, 2, bias=False, dtype=torch.float64),
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(generator=generator)
    inputs = torch.randn(20, 3, dtype=torch.float64, generator=generator)
    outputs = torch.randn(20, 2, dtype=torch.float64, generator=generator)
    rate = 1e-3
    optimiser = CurvatureCorrected(net.parameters(), rule_named(name, blocks), lr=rate)
    into, out_of = net.parameters()
    fastest = 0.0
    for _ in range(run.pick(quick=20, full=200)):
        old_into, old_out = into.detach().clone(), out_of.detach().clone()
        optimiser.step(partial(forward, net, inputs, outputs))
        with torch.no_grad():
            change = 2 * (old_into * (into - old_into)).sum(1)
            change = change - 2 * (old_out * (out_of - old_out)).sum(0)
        fastest = max(fastest, float(np.abs(change.numpy()).max()) / rate)
    return fastest


@PAPER.claim(
    "layer-invariants",
    says="Layer-block rules conserve other quantities than full rules: differences of |w| for the"
    " square root, ratios of weights for natural gradient; with damping, at depth 2, differences"
    " of the trace of (WWᵀ + damping)^(1 − power), or of its log-determinant.",
    tag="derived",
    derivation=lazy("deeplinear.derivations:conservation_layer"),
)
def layer_invariants(run: Run) -> list[Comparison]:
    """Follow each invariant along integrated networks, decoupled and not."""
    import numpy as np

    from deeplinear import CurvatureCorrection, matrix_flow

    times = np.linspace(0.0, 2.0, run.pick(quick=6, full=21))
    axis = Axis("time", tuple(times), "1/learning rate")
    start = np.array([[0.6, 0.2], [0.3, 0.7], [0.2, 0.4]])
    weights, frames = rotated(start, run.seeds.generator("rotations"))
    target = (frames[-1] * [1.5, 0.8]) @ frames[0].T
    laws = ("power 0: squares", 0.0), ("power 1/2: absolute values", 0.5), ("power 1: ratios", 1.0)
    names = tuple(f"layers 1 and {i}, mode {a}" for i in (2, 3) for a in (1, 2))
    comparisons = []
    for name, power in laws:
        flow = matrix_flow(CurvatureCorrection(power, "layer"), weights, target, times)
        modes = unrotated(flow, frames)
        one, others = modes[:, :1], modes[:, 1:]
        pairs = one / others if power == 1 else one ** (2 - 2 * power) - others ** (2 - 2 * power)
        values = pairs.reshape(len(times), -1)
        predicted = np.repeat(values[:1], len(times), axis=0)
        comparisons.append(
            Comparison(
                name,
                predicted,
                values,
                tolerance=1e-8,
                reason=SOLVER,
                quantity="invariant",
                axes=(axis, Axis("pair", names)),
            )
        )
    powers, damping = (0.5, 0.8, 1.0), 0.01
    first, second, goal = 0.5 * pattern(1, 4, 3), 0.5 * pattern(2, 5, 4), pattern(3, 5, 3)
    values = np.empty((len(times), len(powers)))
    for j, power in enumerate(powers):
        rule = CurvatureCorrection(power, "layer", damping=damping)
        one, two = matrix_flow(rule, [first, second], goal, times)
        grams = (one @ one.swapaxes(1, 2), two.swapaxes(1, 2) @ two)
        spectra = [np.maximum(np.linalg.eigvalsh(gram), 0.0) + damping for gram in grams]
        parts = [np.log(x) if power == 1 else x ** (1 - power) for x in spectra]
        values[:, j] = parts[0].sum(1) - parts[1].sum(1)
    comparisons.append(
        Comparison(
            "3-4-5 network, coupled modes, damping 0.01",
            np.repeat(values[:1], len(times), axis=0),
            values,
            tolerance=1e-7,
            reason=SOLVER + " Small eigenvalues amplify it by up to 1/damping = 100.",
            quantity="invariant",
            axes=(axis, Axis("power", powers)),
        )
    )
    return comparisons
