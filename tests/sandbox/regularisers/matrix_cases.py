"""The matrix: every optimiser, every regulariser, plain and stochastic networks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from small_training import bits, tiny
from torch import nn
from torch.optim import LBFGS, SGD, Adam, Muon

from deeplinear.rules import CurvatureCorrection
from sandbox.continual import METHODS, Method, Protection, learn
from sandbox.optim import CurvatureCorrected
from sandbox.optim.alice import Alice
from sandbox.optim.foof import FOOF
from sandbox.optim.kfac import KFAC
from sandbox.optim.natural import NaturalGradient
from sandbox.training.checkpoint import Checkpoints
from sandbox.training.plan import Plan
from sandbox.training.tasks import permuted_tasks
from synapses.consolidation import PresynapticOptimizer
from synapses.layers import StochasticLinear
from synapses.rule import PresynapticRule
from theory.streams import Streams

SEED = 7
STREAM = permuted_tasks(tiny(train=24, test=4), 2, streams=Streams(0))
PLAN = Plan(epochs=1, batch_size=8, evaluate="seen")  # three steps a task
STEPS = 6
RULE = PresynapticRule(0.07, 0.05, g_lim=0.05, variant="program")


@dataclass(frozen=True)
class Optimiser:
    """How an optimiser is made for a network; Muon takes matrices only."""

    build: Callable[[nn.Module], torch.optim.Optimizer]
    bias: bool = True


@dataclass(frozen=True)
class Regulariser:
    """A method, with its strength and what else it is told."""

    method: Method
    strength: float
    options: Mapping[str, Any] = field(default_factory=dict)


def corrected(model):
    rule = CurvatureCorrection(power=0.5, blocks="layer", damping=0.1)
    return CurvatureCorrected(model.parameters(), rule, 0.1, "cross_entropy")


def presynaptic(model, inner=None):
    return PresynapticOptimizer(model, RULE, lr=0.1, inner=inner, others="trained")


OPTIMISERS = {
    "sgd": Optimiser(lambda m: SGD(m.parameters(), 0.1)),
    "momentum": Optimiser(lambda m: SGD(m.parameters(), 0.1, momentum=0.9)),
    "adam": Optimiser(lambda m: Adam(m.parameters(), 0.01)),
    "muon": Optimiser(lambda m: Muon(m.parameters(), 0.02), bias=False),
    "lbfgs": Optimiser(lambda m: LBFGS(m.parameters(), 0.3, 2)),
    "foof": Optimiser(lambda m: FOOF(m, 0.05, 0.1, T=2, S=2, momentum=0.9)),
    "kfac": Optimiser(lambda m: KFAC(m, 0.05, 0.1, T=2, S=2, momentum=0.9)),
    "natural": Optimiser(lambda m: NaturalGradient(m, 0.05, 0.1, momentum=0.9)),
    "alice": Optimiser(
        lambda m: Alice(m.parameters(), 0.02, betas=(0.5, 0.9), quick_steps=1, burn_in=1)
    ),
    "curvature": Optimiser(corrected),
    "presynaptic": Optimiser(presynaptic),
    "presynaptic-inner": Optimiser(lambda m: presynaptic(m, Adam(m.parameters(), 0.01))),
}

END = ("ewc", "root-fisher", "absolute-fisher", "mas", "masx", "mas-logit")
PATH = ("si", "siu", "sib", "sos", "sos-large-batch")
REGULARISERS = {
    **{name: Regulariser(METHODS[name], 0.5) for name in END},
    **{name: Regulariser(METHODS[name], 4.0) for name in PATH},  # three steps are a short path
    "ewc-separate": Regulariser(METHODS["ewc"], 0.5, {"accumulate": "separate"}),
    "ewc-online": Regulariser(METHODS["ewc"], 0.5, {"accumulate": "online", "decay": 0.8}),
    "ewc-average": Regulariser(METHODS["ewc"], 0.5, {"accumulate": "average", "decay": 0.5}),
    "ratio-norm-tensor": Regulariser(Method("norm", "a tensor", options={"scope": "tensor"}), 0.02),
    "ratio-norm-global": Regulariser(Method("norm", "all", options={"scope": "global"}), 0.02),
}


def linear(before, after, bias):
    return nn.Linear(before, after, bias)


def stochastic(before, after, bias):
    return StochasticLinear(before, after, bias, release_probability=0.6)


MODELS = {"plain": linear, "stochastic": stochastic}

OUTPUTS = "computes its step from the network's outputs"
NO_RELEASE = "has no stochastic layer"
NO_RULE = "no trained Linear or ungrouped Conv2d layer"


def impossible(optimiser: str, model: str) -> str:
    """Return what the refusal says where no regulariser is possible, nothing elsewhere."""
    if model == "plain" and optimiser.startswith("presynaptic"):
        return NO_RELEASE
    if model == "stochastic" and optimiser in {"foof", "kfac", "natural"}:
        return NO_RULE
    if optimiser == "curvature":
        return OUTPUTS
    return ""


PAIRS = [(o, r, m) for o in OPTIMISERS for r in REGULARISERS for m in MODELS]
POSSIBLE = [(o, r, m) for o, r, m in PAIRS if not impossible(o, m)]
REFUSED = [(o, r, m) for o, r, m in PAIRS if impossible(o, m)]


def train(optimiser, regulariser, model, folder=None, *, killed=None, resume=False, device="cpu"):
    """Train on both tasks and return what is left, as bits; no regulariser, no protection.

    Checkpoints go to ``folder``, of which ``killed`` becomes a copy as a kill in the last step
    would leave it: saved one step before, in the middle of the second task.
    """
    chosen, layer = OPTIMISERS[optimiser], MODELS[model]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = nn.Sequential(layer(6, 5, chosen.bias), nn.Tanh(), layer(5, 4, chosen.bias))
    network.to(device)
    optimizer, streams = chosen.build(network), Streams(SEED)
    if regulariser is None:
        protection = Protection(network, optimizer, "none", streams=streams)
    else:
        told = REGULARISERS[regulariser]
        protection = Protection(
            network, optimizer, told.method, told.strength, streams=streams, **told.options
        )

    def leave(now):
        if killed is not None and now.step == STEPS:
            shutil.copytree(folder, killed)

    history = learn(
        network, STREAM, optimizer, PLAN, protection, streams=streams, hooks={"step": leave},
        checkpoints=None if folder is None else Checkpoints(folder, seconds=1e9, steps=2),
        resume=resume,
    )  # fmt: skip
    assert not history.stopped
    protection.remove()
    rows = [[v for k, v in row.items() if k != "seconds"] for row in history.rows]
    return {
        "model": bits(dict(network.state_dict())),
        "optimizer": bits(optimizer.state_dict()),
        "protection": bits(protection.state_dict()),
        "rows": bits(rows),
    }
