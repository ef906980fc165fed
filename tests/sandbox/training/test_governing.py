"""A checkpoint is refused to an optimiser that differs in any setting of its constructor."""

import inspect

import pytest
import torch
from small_training import network, pair
from torch import nn
from torch.optim import Optimizer

import sandbox.optim
from deeplinear.rules import CurvatureCorrection
from sandbox.optim import FOOF, KFAC, Alice, CurvatureCorrected, NaturalGradient
from sandbox.training._muon import MuonWithAdamW
from sandbox.training._state import identity
from sandbox.training.history import History
from sandbox.training.hooks import Moment
from sandbox.training.plan import Plan
from synapses.consolidation import PresynapticOptimizer, PresynapticRule
from synapses.layers import StochasticLinear
from theory.streams import Streams

LAYERED = {
    "lr": 0.5, "damping": 0.5, "momentum": 0.5, "weight_decay": 0.5, "bias": "fallback",
    "fallback": {"optimizer": "adamw", "lr": 0.5}, "skip": ("0",), "nonfinite": "skip",
    "maximize": True,
}  # fmt: skip
FACTORED = {
    **LAYERED, "power": 0.5, "scaling": "paper", "T": 7, "S": 2, "decay": 0.5,
    "side": "activation", "sharing": "reduce", "factor_samples": 3,
}  # fmt: skip
DRAWN = {"likelihood": "gaussian", "seed": 5}
SGD = {"optimizer": "sgd", "lr": 0.1}
PLACE = {"model", "params", "columns"}
"""What an optimiser acts on; the loop sets the columns."""

RULE = CurvatureCorrection(power=0.5, damping=0.1)
RELEASE = PresynapticRule(0.07, 0.07, g_lim=1e-3)
DIFFERENT = {
    FOOF: ((0.1, 0.2), {"fallback": SGD}, FACTORED),
    KFAC: (
        (0.1, 0.2), {"fallback": SGD},
        {**FACTORED, **DRAWN, "rule": "standard", "fisher": "exact", "output_factor": False},
    ),
    NaturalGradient: (
        (0.1, 0.2), {"fallback": SGD},
        {**LAYERED, **DRAWN, "fisher": "full", "blocks": "layer", "fisher_samples": 3},
    ),
    Alice: (
        (0.1,), {},
        {"lr": 0.5, "betas": (0.8, 0.9), "lr_min": 0.01, "lr_max": 0.7, "quick_steps": 1,
         "hessian": "rms", "glass": False, "bounds": "fixed", "omega": 0.5, "phi": 0.5,
         "weight_decay": (0.0, 0.5), "maximize": True, "eps": 0.5, "burn_in": 3, "sigma": 0.5,
         "scale_bounds": False, "nonfinite": "skip"},
    ),
    CurvatureCorrected: (
        (RULE, 0.1), {},
        {"rule": CurvatureCorrection(power=0.5, damping=0.2), "lr": 0.5, "loss": "cross_entropy"},
    ),
    MuonWithAdamW: (
        (0.1,), {}, {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.5, "fallback_lr": 0.5},
    ),
    PresynapticOptimizer: (
        (RELEASE, 0.1), {},
        {"rule": PresynapticRule(0.05, 0.07, g_lim=1e-3), "lr": 0.5, "weight_decay": 0.5,
         "inner": lambda model: torch.optim.SGD(model.parameters(), 0.1), "others": "trained"},
    ),
}  # fmt: skip
"""For every optimiser: arguments, keywords, and for every setting a value that is neither's."""

FREE = {Alice: {"seed"}}  # its random signs go on from the state, whatever they began with


def told(kind, *given, **settings):
    """What a checkpoint says about an optimiser."""
    if kind is PresynapticOptimizer:
        model = StochasticLinear(6, 4)
    elif kind in {FOOF, KFAC, NaturalGradient}:
        model = nn.Sequential(*network(), nn.LayerNorm(4))
    else:
        model = network()
    takes_model = "model" in inspect.signature(kind).parameters and kind is not Alice
    if callable(settings.get("inner")):
        settings["inner"] = settings["inner"](model)
    optimizer = kind(model if takes_model else model.parameters(), *given, **settings)
    now = Moment(model, optimizer, pair(), Plan(), History(()))
    return identity(now, Streams(0), torch.device("cpu"), {})["optimizer"]


def settings_of(kind):
    return set(inspect.signature(kind).parameters) - PLACE - FREE.get(kind, set())


def test_every_optimiser_and_every_setting_has_another_value_here():
    public = {getattr(sandbox.optim, name) for name in sandbox.optim.__all__}
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Optimizer)}
    assert kinds | {MuonWithAdamW, PresynapticOptimizer} == set(DIFFERENT)
    for kind, (_, _, other) in DIFFERENT.items():
        assert set(other) == settings_of(kind), kind.__name__


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, (_, _, other) in DIFFERENT.items() for name in sorted(other)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_another_setting_is_another_run(kind, name):
    given, keywords, other = DIFFERENT[kind]
    names = list(inspect.signature(kind).parameters)[1 : 1 + len(given)]
    one = dict(zip(names, given, strict=True)) | keywords
    if name in {"S", "T"}:
        one |= {"T": 10, "S": 1}
    if (kind, name) == (KFAC, "output_factor"):
        one |= {"rule": "heuristic"}
    assert told(kind, **one) == told(kind, **one)
    assert told(kind, **one) != told(kind, **(one | {name: other[name]}))


def test_names_in_another_order_are_the_same_names():
    """They may come from a set, whose order is another in every process."""
    first, second = (
        told(FOOF, 0.1, 0.2, skip=skip, fallback=SGD) for skip in (("0", "4"), ("4", "0"))
    )
    assert first == second
