"""The state of layer-wise factors as plain data, and its way back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sandbox.optim._moving_average import MovingAverage

if TYPE_CHECKING:
    from sandbox.optim._layer_averages import LayerAverages

__all__ = ["factor_state", "load_factor_state", "memory_usage"]


def factor_state(owner: LayerAverages) -> dict[str, Any]:
    """Return averages, preconditioners, counters and random state; tensors are not copied."""
    return {
        "steps": owner.steps,
        "averages": {
            name: {factor: average.state_dict() for factor, average in own.items()}
            for name, own in owner.averages.items()
        },
        "inverses": {name: dict(own) for name, own in owner.inverses.items()},
        "changed": sorted(owner._changed),
        "stale": sorted(owner._stale),
        "refreshed_at": dict(owner._refreshed_at),
        "generator": None if owner._generator is None else owner._generator.get_state(),
    }


def load_factor_state(owner: LayerAverages, state: Mapping[str, Any]) -> None:
    """Take a state back in its own types, after checking that it fits."""
    missing = {"steps", "averages", "inverses", "changed", "stale", "refreshed_at", "generator"}
    missing -= set(state)
    if missing:
        raise ValueError(f"factors have no {', '.join(sorted(missing))}: not a state of factors")
    layers = {layer.name: layer for layer in owner.layers}
    parts = owner.parts()
    for name in (*state["averages"], *state["inverses"]):
        if name not in layers:
            raise ValueError(f"factors of a layer {name!r}: the model has no such layer")
    averages: dict[str, dict[str, MovingAverage]] = {}
    for name, own in state["averages"].items():
        layer = layers[name]
        _same(f"factors of {layer.called}", own, owner.FACTORS)
        for factor, given in own.items():
            average = owner.new_average(factor)
            average.load_state_dict(given, layer.module.weight.device)
            size = layer.columns if factor == "input" else layer.out
            for held in (average.total, average.pending):
                if held is not None:
                    _fits(f"the {factor} factor of {layer.called}", held, (size, size))
            for held in (average.rows, average.pending_rows):
                if held is not None:
                    _fits(f"the rows of {layer.called}", held, (len(held), size))
            averages.setdefault(name, {})[factor] = average
    for name, own in state["inverses"].items():
        layer = layers[name]
        _same(f"preconditioner of {layer.called}", own, parts)
        for part, held in own.items():
            rows = layer.columns if part == "input" else layer.out
            columns = layer.out if part == "output" else layer.columns
            _fits(f"the {part} part of the preconditioner of {layer.called}", held, (rows, columns))
    owner._forget()
    owner.averages = averages
    owner.steps = int(state["steps"])
    for name, held in state["inverses"].items():
        device = layers[name].module.weight.device
        owner.inverses[name] = {
            key: value.detach().to(device, copy=True) for key, value in held.items()
        }
    owner._changed, owner._stale = set(state["changed"]), set(state["stale"])
    owner._refreshed_at = {name: float(value) for name, value in state["refreshed_at"].items()}
    if owner._generator is not None and state["generator"] is not None:
        owner._generator.set_state(state["generator"].cpu())


def _same(what: str, found: Iterable[str], wanted: Iterable[str]) -> None:
    """Refuse a part of a state that has other entries than this kind of optimiser keeps."""
    if set(found) != set(wanted):
        raise ValueError(
            f"{what}: the state has {', '.join(sorted(found))}, but here there are"
            f" {', '.join(sorted(wanted))}; it is of another kind of optimiser or of other settings"
        )


def _fits(what: str, found: Tensor, shape: tuple[int, int]) -> None:
    """Refuse a tensor of another shape."""
    if found.shape != shape:
        raise ValueError(f"{what} has shape {tuple(found.shape)}: must be {shape}")


def memory_usage(
    averages: Mapping[str, Mapping[str, MovingAverage]],
    inverses: Mapping[str, Mapping[str, Tensor]],
) -> dict[str, int]:
    """Return bytes by what holds them."""
    every = [average for own in averages.values() for average in own.values()]
    kept = [(average.pending, average._spare, average.pending_rows) for average in every]
    found = {
        "averages": sum(_bytes(average.total) + _bytes(average.rows) for average in every),
        "pending": sum(_bytes(held) for own in kept for held in own),
        "inverses": sum(_bytes(held) for own in inverses.values() for held in own.values()),
    }
    return found | {"total": sum(found.values())}


def _bytes(tensor: Tensor | None) -> int:
    """Return the memory of a tensor."""
    return 0 if tensor is None else tensor.numel() * tensor.element_size()
