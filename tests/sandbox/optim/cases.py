"""The database of optimisers: how to build each, what it refuses and what it does not promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from deeplinear.rules import CurvatureCorrection
from sandbox.optim import CurvatureCorrected
from sandbox.optim.alice import Alice
from sandbox.optim.foof import FOOF
from sandbox.optim.kfac import KFAC
from sandbox.optim.natural import NaturalGradient
from synapses.consolidation import PresynapticOptimizer
from synapses.rule import PresynapticRule
from tests.sandbox.optim.error_inputs import (
    ALICE_ERRORS,
    CURVATURE_ERRORS,
    KFAC_ERRORS,
    LAYERWISE_ERRORS,
    NAN,
    NATURAL_ERRORS,
)
from tests.sandbox.optim.problems import KINDS, Problem


@dataclass(frozen=True)
class Case:
    """One optimiser of the battery.

    ``build(problem, **overrides)`` makes it for all parameters of the problem's model;
    ``closure`` is what ``step`` wants, as the training loop has it, and ``errors`` pairs
    overrides with a pattern of the message. ``before`` runs ahead of every step.
    ``decay`` is a weight decay, None where there is none, ``groups`` makes the optimiser with
    several parameter groups and ``without`` leaves a parameter out, to be added later.
    ``patience`` is the number of steps after which the loss must have fallen, ``skips``
    gives the reason for every check that does not apply: it must fail then.
    ``device_draws`` says that random numbers come from the device, which has its own.
    """

    name: str
    build: Callable[..., Optimizer]
    closure: str = "none"
    kind: str = "mlp"
    kinds: tuple[str, ...] = KINDS
    spare: str = "spare"
    errors: tuple[tuple[Mapping[str, Any], str], ...] = ()
    skips: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[Optimizer, Problem], None] | None = None
    patience: int = 1
    decay: Any = 0.1
    device_draws: bool = False
    groups: Callable[[Problem], Optimizer] | None = None
    without: Callable[[Problem, nn.Parameter], Optimizer] | None = None


def from_parameters(make: Callable[..., Optimizer]) -> Mapping[str, Callable[..., Optimizer]]:
    """Return the builders of an optimiser whose first argument is an iterable of parameters."""

    def build(problem: Problem, **overrides: Any) -> Optimizer:
        return make(problem, problem.model.parameters(), **overrides)

    def groups(problem: Problem) -> Optimizer:
        parameters = list(problem.model.parameters())
        return make(problem, [{"params": parameters[:-1]}, {"params": parameters[-1:]}])

    def without(problem: Problem, left_out: nn.Parameter) -> Optimizer:
        return make(problem, [p for p in problem.model.parameters() if p is not left_out])

    return {"build": build, "groups": groups, "without": without}


def sgd(_: Problem, parameters: Any, **overrides: Any) -> Optimizer:
    return SGD(parameters, **({"lr": 0.1, "momentum": 0.9} | overrides))


def adamw(_: Problem, parameters: Any, **overrides: Any) -> Optimizer:
    return AdamW(parameters, **({"lr": 0.01, "weight_decay": 0.0} | overrides))


def curvature(rule: CurvatureCorrection) -> Callable[..., Optimizer]:
    def make(problem: Problem, parameters: Any, **overrides: Any) -> Optimizer:
        settings = {"rule": rule, "lr": 0.1, "loss": problem.loss} | overrides
        return CurvatureCorrected(parameters, **settings)

    return make


def presynaptic(problem: Problem, **overrides: Any) -> Optimizer:
    rule = PresynapticRule(0.07, 0.05, g_lim=0.05, variant="program")
    settings = {"rule": rule, "lr": 0.1, "others": "trained"} | overrides
    return PresynapticOptimizer(problem.model, **settings)


def alice(_: Problem, parameters: Any, **overrides: Any) -> Optimizer:
    settings = {"lr": 0.02, "betas": (0.5, 0.9), "quick_steps": 2} | overrides
    return Alice(parameters, **settings)


def variant(make: Callable[..., Optimizer], **settings: Any) -> Callable[..., Optimizer]:
    """Return the same builder with other settings."""

    def build(*given: Any, **overrides: Any) -> Optimizer:
        return make(*given, **(settings | overrides))

    return build


def observe(optimizer: Any, problem: Problem) -> None:
    optimizer.observe(problem.independent)


SGD_FALLBACK = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9}


def layerwise(make: Callable[..., Optimizer], **settings: Any) -> Callable[..., Optimizer]:
    """Return the builder of an optimiser that is made of a model."""

    def build(problem: Problem, **overrides: Any) -> Optimizer:
        given = {"lr": 0.1, "damping": 0.1, "momentum": 0.9}
        if make is not NaturalGradient:
            given |= {"T": 3, "S": 2, "decay": 0.9}
        given |= settings | overrides
        if given.get("fallback"):
            same = {key: given[key] for key in ("weight_decay", "maximize") if key in given}
            given["fallback"] = given["fallback"] | same
        if make is not FOOF:
            gaussian = problem.loss == "squared"
            given = {"likelihood": "gaussian" if gaussian else "categorical"} | given
        return make(given.pop("model", problem.model), **given)

    return build


def with_fallback(make: Callable[..., Optimizer], **settings: Any) -> Mapping[str, Any]:
    """Return the builders of an optimiser whose biases are left to a fallback."""
    build = layerwise(make, bias="fallback", fallback=SGD_FALLBACK, **settings)

    def without(problem: Problem, left_out: nn.Parameter) -> Optimizer:
        left_out.requires_grad_(False)
        optimizer = build(problem)
        left_out.requires_grad_(True)
        return optimizer

    return {"build": build, "groups": build, "without": without}


# what torch's own do not promise
NO_GUARD = {
    "a_gradient_that_is_not_finite_is_refused": "torch's own apply what they are given",
    "a_gradient_that_is_not_finite_is_skipped": "torch's own apply what they are given",
    "reset_forgets": "torch's own are forgotten by making a new one",
}
NO_GRADIENTS = {
    "loss_scaling_composes": "a scaler does not work with closures",
    "clipping_composes": "has no gradients to clip: it takes its step from the outputs",
    "two_halves_are_the_whole_batch": "takes its step from the outputs of one batch",
    "maximize_goes_the_other_way": "minimises a loss of its own",
    "weight_decay_is_decoupled": "has no weight decay",
    "a_gradient_that_is_not_finite_is_skipped": "always refuses",
    "reset_forgets": "has no state to forget",
}
ONE_GROUP = {
    "groups_have_their_own_rate": "has one group, of all layers; see the case with a fallback",
    "groups_can_be_added": "what is added belongs to a fallback; see the case with one",
}
ACTIVATION = {
    "two_halves_are_the_whole_batch": "the first half builds the preconditioner of the first step",
}
ALICE = {
    "loss_scaling_composes": "a scaler does not work with closures",
    "weight_decay_is_decoupled": "the decay is part of the loss that it steps along",
    "reset_forgets": "its random signs go on",
    "groups_have_their_own_rate": "a rate is a distance and a bound; see the case at its bound",
    "schedulers_reach_the_rate": "a rate is a distance and a bound; see the case at its bound",
}

CASES = [
    Case(
        "sgd",
        **from_parameters(sgd),
        errors=(({"lr": -1.0}, "-1.0"), ({"momentum": -0.5}, "-0.5")),
        skips=NO_GUARD | {"weight_decay_is_decoupled": "adds the decay to the gradient"},
    ),
    Case(
        "adamw",
        **from_parameters(adamw),
        errors=(({"lr": -1.0}, "-1.0"), ({"betas": (1.0, 0.9)}, "1.0")),
        skips=NO_GUARD,
    ),
    Case(
        "curvature-full",
        **from_parameters(curvature(CurvatureCorrection(1.0, damping=1e-2))),
        closure="outputs",
        decay=None,
        errors=CURVATURE_ERRORS,
        skips=NO_GRADIENTS,
    ),
    Case(
        "curvature-layer",
        **from_parameters(curvature(CurvatureCorrection(0.5, "layer", damping=1e-2))),
        closure="outputs",
        decay=None,
        errors=CURVATURE_ERRORS,
        skips=NO_GRADIENTS,
    ),
    Case(
        "presynaptic",
        presynaptic,
        kind="stochastic",
        kinds=("stochastic",),
        spare="stochastic-spare",
        errors=(({"rule": 0.5}, r"rule = 0\.5"), ({"lr": NAN}, "lr = nan")),
        groups=presynaptic,
        skips={
            "groups_can_be_added": "is made for the stochastic layers of one model",
            "maximize_goes_the_other_way": "has no maximize: the rule is one of descent",
            "weight_decay_is_decoupled": "decays the strengths alone, not the biases",
            "a_gradient_that_is_not_finite_is_refused": "applies what it is given",
            "a_gradient_that_is_not_finite_is_skipped": "applies what it is given",
            "reset_forgets": "its state, the release probabilities, belongs to the model",
        },
    ),
    Case(
        "foof",
        layerwise(FOOF),
        errors=LAYERWISE_ERRORS,
        skips=ONE_GROUP,
    ),
    Case(
        "foof-activation",
        layerwise(FOOF, side="activation"),
        errors=LAYERWISE_ERRORS,
        skips=ONE_GROUP | ACTIVATION,
    ),
    Case(
        "foof-half-power-with-fallback",
        **with_fallback(FOOF, power=0.5, scaling="paper", sharing="reduce"),
        errors=LAYERWISE_ERRORS,
    ),
    Case(
        "kfac",
        device_draws=True,
        build=layerwise(KFAC),
        errors=KFAC_ERRORS,
        skips=ONE_GROUP,
    ),
    Case(
        "kfac-standard-exact",
        layerwise(KFAC, rule="standard", fisher="exact", power=0.5),
        errors=KFAC_ERRORS,
        skips=ONE_GROUP,
    ),
    Case(
        "kfac-published-empirical",
        layerwise(KFAC, rule="standard-published", fisher="empirical", scaling="paper"),
        errors=KFAC_ERRORS,
        skips=ONE_GROUP
        | {"loss_scaling_composes": "the true labels' output gradients carry the loss scale"},
    ),
    Case(
        "kfac-activation",
        layerwise(KFAC, side="activation", fisher="exact", output_factor=False),
        errors=KFAC_ERRORS,
        skips=ONE_GROUP | ACTIVATION,
    ),
    Case(
        "kfac-with-fallback",
        **with_fallback(KFAC, fisher="exact", sharing="reduce"),
        errors=KFAC_ERRORS,
    ),
    Case(
        "natural",
        device_draws=True,
        build=layerwise(NaturalGradient),
        errors=NATURAL_ERRORS,
        skips=ONE_GROUP,
        before=observe,
    ),
    Case(
        "natural-full-layer",
        layerwise(NaturalGradient, fisher="full", blocks="layer"),
        errors=NATURAL_ERRORS,
        skips=ONE_GROUP,
    ),
    Case(
        "natural-with-fallback",
        device_draws=True,
        **with_fallback(NaturalGradient, fisher_samples=5),
        errors=NATURAL_ERRORS,
    ),
    Case(
        "alice",
        **from_parameters(alice),
        closure="loss",
        patience=3,
        decay=(0.0, 0.1),
        errors=ALICE_ERRORS,
        skips=ALICE,
    ),
    Case(
        "alice-rms-sgdm",
        **from_parameters(variant(alice, hessian="rms", bounds="sgdm", lr_max=5.0)),
        closure="loss",
        patience=3,
        decay=(0.1, 0.1),
        errors=ALICE_ERRORS,
        skips=ALICE,
    ),
    Case(
        "alice-at-its-bound",
        **from_parameters(variant(alice, lr_max=1e-4, sigma=0.02, glass=False)),
        closure="loss",
        patience=3,
        decay=(0.0, 0.1),
        errors=ALICE_ERRORS,
        skips={k: ALICE[k] for k in ("loss_scaling_composes", "weight_decay_is_decoupled")},
    ),
]
