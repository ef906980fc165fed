"""Settings of a comparison that depend on each other."""

from __future__ import annotations

import dataclasses
import difflib
from typing import TYPE_CHECKING, Any

from sandbox.continual._words import strengths_of
from sandbox.continual.methods import METHODS
from sandbox.training.options import OptimizerOptions
from theory.checks import as_number, shown

if TYPE_CHECKING:
    from sandbox.continual.config import ContinualConfig

__all__ = ["PRESYNAPTIC", "check_methods", "check_network", "check_presynaptic"]

PRESYNAPTIC = "presynaptic"
"""The method without a penalty that is a rule of its own."""


def check_methods(config: ContinualConfig) -> dict[str, Any]:
    """Return the methods and what they are told; refuse unknown ones."""
    names = config.regulariser
    if isinstance(names, str):
        names = (names,)
    if not isinstance(names, list | tuple) or not names:
        raise ValueError(f"regulariser = {shown(names)}: must name one method or more")
    known = (*METHODS, PRESYNAPTIC)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"regulariser = {shown(name)}: must be one of {', '.join(known)}; the nearest is"
                f" {near!r}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"regulariser = {shown(names)}: names a method twice")
    strengths_of(config.strength, tuple(names))
    decay = as_number("decay", config.decay, low=0.0, high=1.0)
    if decay != 1.0 and config.accumulate not in {"online", "average"}:
        raise ValueError(
            f"decay = {decay}: is for accumulate 'online' or 'average', not {config.accumulate!r}"
        )
    if decay == 1.0 and config.accumulate == "average":
        raise ValueError("decay = 1.0: accumulate 'average' needs one below 1, e.g. 0.5")
    ceiling = config.ceiling
    if ceiling is not None:
        ceiling = as_number("ceiling", ceiling, low=0.0, open_low=True)
        if config.accumulate == "separate":
            raise ValueError(
                f"ceiling = {ceiling}: accumulate 'separate' has no sum of importances to bound;"
                " use 'sum', 'online' or 'average', or leave the ceiling out"
            )
    told = {"strength": str(config.strength), "decay": decay, "ceiling": ceiling}
    return {"regulariser": tuple(names), **told}


def check_network(config: ContinualConfig) -> dict[str, Any]:
    """Refuse what stochastic networks have no choice of, and the reverse."""
    if config.model == "mlp":
        for name, default in (("release", 0.25), ("draws", 10)):
            if getattr(config, name) != default:
                raise ValueError(
                    f"{name} = {shown(getattr(config, name))}: mlp has none; it is for model"
                    " stochastic-mlp"
                )
        return {}
    for name, only in (("activation", "relu"), ("bias", True), ("init", "torch")):
        if getattr(config, name) not in {only, None}:
            raise ValueError(
                f"{name} = {shown(getattr(config, name))}: stochastic-mlp has {shown(only)}"
            )
    release = as_number("release", config.release, low=0.0, high=1.0, open_low=True)
    return {"release": release}


def check_presynaptic(config: ContinualConfig) -> dict[str, Any]:
    """Return the settings of the presynaptic rule, if it is used; refuse them otherwise."""
    used = config.optimizer == PRESYNAPTIC or PRESYNAPTIC in config.regulariser
    if not used:
        for name in ("presynaptic_rule", "presynaptic_lr"):
            if getattr(config, name) is not None:
                raise ValueError(
                    f"{name} = {shown(getattr(config, name))}: is for optimizer or regulariser"
                    " 'presynaptic'"
                )
        return {}
    if config.model != "stochastic-mlp":
        raise ValueError(
            f"model = {config.model!r}: the presynaptic rule needs synapses that release at random;"
            " use stochastic-mlp"
        )
    if config.optimizer == PRESYNAPTIC:
        for field in dataclasses.fields(OptimizerOptions):
            value = getattr(config, field.name)
            if field.name not in {"optimizer", "weight_decay"} and value is not None:
                hint = "; its learning rate is presynaptic_lr" if field.name == "lr" else ""
                raise ValueError(f"{field.name} = {shown(value)}: presynaptic has none{hint}")
        if config.weight_decay is not None:
            as_number("weight_decay", config.weight_decay, low=0.0)
    from synapses.presets import PRESETS

    ruled = [name for name in PRESETS if name.endswith(("/paper", "/program"))]
    stream = "split" if config.tasks == "split" else "permuted"
    name = config.presynaptic_rule or f"{stream}/program"
    if name not in ruled:
        near = difflib.get_close_matches(name, ruled, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"presynaptic_rule = {shown(name)}: must be one of {', '.join(ruled)}; the nearest is"
            f" {near!r}"
        )
    given = config.presynaptic_lr
    rate = PRESETS[name].learning_rate if given is None else given
    as_number("presynaptic_lr", rate, low=0.0, open_low=True)
    return {"presynaptic_rule": name, "presynaptic_lr": rate}
