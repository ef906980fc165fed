"""How importances add up over tasks, and what is refused as an importance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from synapses.layers import stochastic_layers
from theory.checks import shown

__all__ = [
    "Accumulate",
    "Clamp",
    "Importance",
    "accumulated",
    "checked",
    "copied",
    "matching",
    "merged",
    "refuse_contradictions",
    "refuse_foreign",
    "refuse_other_settings",
]

Accumulate = Literal["sum", "online", "separate", "average"]
Clamp = Literal["none", "running", "signed"]
Importance: TypeAlias = dict[str, Tensor]


def refuse_contradictions(
    accumulate: Accumulate, decay: float, clamp: Clamp, ceiling: float | None
) -> None:
    """Refuse options that exclude each other."""
    if decay != 1 and accumulate in {"sum", "separate"}:
        raise ValueError(
            f"decay = {decay}: accumulate = {accumulate!r} forgets nothing; use 'online'"
        )
    if decay == 1 and accumulate == "average":
        raise ValueError(
            "decay = 1: an average that never takes anything new; give it less, e.g. 0.5"
        )
    if accumulate == "separate" and (clamp != "none" or ceiling is not None):
        raise ValueError(
            f"clamp = {clamp!r}, ceiling = {ceiling}: separate anchors have no running sum to"
            " clamp, and a weighted mean needs weights that are not negative"
        )


def refuse_other_settings(state: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Refuse what is no state of a penalty with these settings."""
    if not isinstance(state, Mapping):
        raise ValueError(f"state_dict = {shown(state)}: must be what state_dict() gave")
    if missing := {"settings", "importance", "anchor", "constant"} - set(state):
        raise ValueError(f"state_dict lacks {_listed(sorted(missing))}: is it another's?")
    theirs = state["settings"]
    if differing := [name for name in mine if mine[name] != theirs.get(name)]:
        told = "; ".join(f"{n} = {mine[n]!r} here, {theirs.get(n)!r} there" for n in differing)
        raise ValueError(f"state_dict belongs to another penalty: {told}")


def _listed(names: Any) -> str:
    """Return some names as text, at most eight."""
    given = list(names)
    return ", ".join(given[:8]) + ", ..." * (len(given) > 8)


def _module(model: object) -> nn.Module:
    """Return a network whose weights are what a penalty can act on."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model = {shown(model)}: must be a torch.nn.Module")
    for name, layer in stochastic_layers(model).items():
        if layer.variable == "quantal" and layer.weight.requires_grad:
            raise ValueError(
                f"the layer {name or 'model'} has variable = 'quantal': its weight is an amplitude"
                " m = w / p, which changes with the release probability p while the strength w that"
                " is to be kept does not; build it with variable='expected'"
            )
    return model


def refuse_foreign(wanted: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    """Refuse the parameters of another model than the one that was consolidated."""
    if foreign := sorted(wanted.keys() - parameters.keys()):
        raise ValueError(
            f"the model has no {_listed(foreign)}: the penalty was consolidated on another model,"
            f" this one has {_listed(parameters)}"
        )
    for name, tensor in wanted.items():
        if tensor.shape != parameters[name].shape:
            raise ValueError(
                f"the parameter {name} has shape {tuple(parameters[name].shape)}: the penalty was"
                f" consolidated where it had {tuple(tensor.shape)}"
            )


def matching(model: object, wanted: Mapping[str, Tensor]) -> dict[str, nn.Parameter]:
    """Return a model's trained parameters, and those that a penalty is about."""
    parameters = dict(_module(model).named_parameters())
    refuse_foreign(wanted, parameters)
    return {n: p for n, p in parameters.items() if p.requires_grad or n in wanted}


def checked(importance: object, model: object, clamp: Clamp) -> Importance:
    """Return an importance that fits a model, as new tensors like its parameters."""
    parameters = dict(_module(model).named_parameters())
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    if not isinstance(importance, Mapping) or not importance:
        raise ValueError(
            f"importance = {shown(importance)}: must be a dict of tensors by the names of"
            " model.named_parameters(), not empty"
        )
    if frozen := [name for name in importance if name in parameters and name not in trained]:
        raise ValueError(
            f"importance has {_listed(frozen)}: frozen parameters (requires_grad is False) do not"
            " move, leave them out"
        )
    if foreign := [str(name) for name in importance if name not in trained]:
        raise ValueError(
            f"importance has {_listed(foreign)}: the model has no such parameters, but"
            f" {_listed(trained)}; it may belong to another model"
        )
    if missing := [name for name in trained if name not in importance]:
        raise ValueError(
            f"importance lacks {_listed(missing)}: give every trained parameter one, zeros to leave"
            " it free"
        )
    found = {}
    for name, p in trained.items():
        tensor = importance[name]
        if not isinstance(tensor, Tensor) or tensor.shape != p.shape:
            got = tuple(tensor.shape) if isinstance(tensor, Tensor) else shown(tensor)
            raise ValueError(
                f"importance[{name!r}] has shape {got}: must be a tensor of shape"
                f" {tuple(p.shape)}, that of the parameter"
            )
        found[name] = tensor.detach().to(p, copy=True)
        if not bool(found[name].isfinite().all()):
            raise ValueError(
                f"importance[{name!r}] has entries that are not finite in the parameter's"
                f" {str(p.dtype).removeprefix('torch.')}: the network may have diverged, or its"
                " outputs overflowed"
            )
        if clamp == "none" and bool((tensor < 0).any()):
            raise ValueError(
                f"importance[{name!r}] has negative entries, down to {float(tensor.min()):.4g}:"
                " clamp them, or let the penalty do it: clamp='running' clamps the sum over tasks,"
                " clamp='signed' lets them push away from the anchor"
            )
    return found


def accumulated(
    old: Importance, new: Importance, accumulate: Accumulate, decay: float, clamp: Clamp
) -> Importance:
    """Return the importance after a task; parameters that are new count from now on."""
    found = {}
    for name, omega in new.items():
        if name not in old:
            total = omega
        elif accumulate == "average":
            total = decay * old[name].to(omega) + (1 - decay) * omega
        else:
            total = decay * old[name].to(omega) + omega
        found[name] = total.clamp_min(0) if clamp == "running" else total
    return found


def merged(
    old: Importance, anchors: Importance, new: Importance, weights: Mapping[str, Tensor]
) -> tuple[Importance, Importance, float]:
    """Return two penalties with their own anchors as one: importance, anchor, constant."""
    importance, anchor, constant = {}, {}, 0.0
    for name, omega in new.items():
        here = weights[name].detach()
        if name not in old:
            importance[name], anchor[name] = omega, here.clone()
            continue
        # in float64, as the mean is a small difference from weights that are close
        before, mean, fresh = old[name].to(omega).double(), anchors[name].double(), omega.double()
        mean, away = mean.to(here.device), here.double() - mean.to(here.device)
        total = before + fresh
        # where nothing is important any anchor will do
        share = torch.where(total > 0, fresh / total, 1.0)
        constant += float((before * share * away.square()).sum())
        importance[name], anchor[name] = total.to(omega), (mean + share * away).to(here)
    return importance, anchor, constant


def copied(tensors: Mapping[str, Tensor] | None) -> Importance | None:
    """Return copies of saved tensors, if there are any."""
    if tensors is None:
        return None
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
