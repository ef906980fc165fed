"""The whole state of a training run: gathered for a checkpoint, and put back."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from sandbox.training.averaging import WeightAverage
from sandbox.training.checkpoint import CheckpointError, restore_optimizer
from sandbox.training.hooks import Moment
from sandbox.training.tasks import Task
from theory.checks import shown
from theory.streams import Streams

__all__ = [
    "Running",
    "Stateful",
    "forget",
    "gather",
    "identity",
    "own_randomness",
    "refuse_foreign",
    "restore",
    "with_own",
]

POSITION = ("task", "epoch", "batch", "step")
"""Where in the stream a run stands."""


GOVERNING = (
    *("rule", "others", "inner", "loss", "T", "S", "decay", "power", "scaling", "sharing", "bias"),
    *("side", "nonfinite", "skip", "factor_samples", "fisher_samples", "fallback", "fisher"),
    *("output_factor", "likelihood", "blocks", "seed"),
)
"""Attributes that an optimiser of this project is governed by besides its groups."""


@runtime_checkable
class Stateful(Protocol):
    """Anything whose state belongs into a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as a tree of plain data, tensors and arrays."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state back."""


@dataclass
class Running:
    """What the loop keeps for itself: sums since the last evaluation, patience, time."""

    entered: bool = False
    finished: bool = False
    loss: Tensor | float = 0.0
    penalty: Tensor | float = 0.0
    steps: int = 0
    best: float = math.inf
    waited: int = 0
    seconds: float = 0.0
    rates: list[float] = field(default_factory=list)


@contextmanager
def own_randomness(seed: int, device: torch.device) -> Generator[None]:
    """Seed torch's generators for a while; put back what was there.

    Layers such as dropout draw from them without asking; nobody outside notices.
    """
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def with_own(name: str, stateful: Mapping[str, Stateful], own: object) -> dict[str, Stateful]:
    """Return everything whose state is saved, an object of the loop's own if it has a state."""
    for key, item in stateful.items():
        if not isinstance(item, Stateful):
            raise ValueError(
                f"stateful[{key!r}] = {shown(item)}: must have state_dict and load_state_dict"
            )
    if not isinstance(own, Stateful):
        return dict(stateful)
    if stateful.get(name, own) is not own:
        raise ValueError(f"stateful[{name!r}]: this name is the {name}'s, which has a state too")
    return {**stateful, name: own}


def forget(optimizer: Optimizer) -> None:
    """Let an optimiser forget what it has learned, by its own method if it has one."""
    if hasattr(optimizer, "reset"):
        optimizer.reset()
    else:
        optimizer.state.clear()


def identity(
    now: Moment,
    streams: Streams,
    device: torch.device,
    stateful: Mapping[str, Stateful],
    average: WeightAverage | None = None,
) -> dict[str, Any]:
    """Return what two runs must share for one to continue the other."""
    parameters = [[name, list(p.shape), str(p.dtype)] for name, p in now.model.named_parameters()]
    settings = {
        f"param_groups[{i}][{name!r}]": value
        for i, group in enumerate(now.optimizer.param_groups)
        for name, value in group.items()
        if name != "params"
    }
    own = {name: getattr(now.optimizer, name) for name in GOVERNING if hasattr(now.optimizer, name)}
    own |= getattr(now.optimizer, "settings", {})
    if isinstance(own.get("skip"), tuple):
        own["skip"] = sorted(own["skip"])  # names from a set come in another order every time
    settings |= {name: repr(value) for name, value in own.items()}
    return {
        "plan": now.plan.settings(),
        "seed": streams.root,
        "stream": [now.stream.name, now.stream.blend, *map(_fingerprint, now.stream.tasks)],
        "parameters": parameters,
        "optimizer": {"type": type(now.optimizer).__name__, **settings},
        "device": device.type,
        "stateful": sorted(stateful),
        "average": {} if average is None else average.settings,
    }


def _fingerprint(task: Task) -> str:
    """Return a task's name with a hash of which data it shows, and how."""
    data = task.dataset
    sizes = [samples.inputs.shape for samples in (data.train, data.test)]
    seen = (data.checksum, data.normalisation, sizes, task.classes, task.targets, task.outputs)
    features = b"" if task.features is None else np.asarray(task.features, np.int64).tobytes()
    return f"{task.name} #{hashlib.sha256(repr(seen).encode() + features).hexdigest()[:12]}"


def _entries(tree: dict[str, Any]) -> dict[str, Any]:
    """Return an identity entry by entry, so that a difference can be told by its name."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= {f"{key}.{name}": item for name, item in value.items()}
        elif isinstance(value, list):
            found |= {f"{key}[{i}]": item for i, item in enumerate(value)}
        else:
            found[key] = value
    return found


def refuse_foreign(state: dict[str, Any], mine: dict[str, Any], file: Path) -> None:
    """Refuse the checkpoint of another run, naming every difference."""
    here, there = _entries(mine), _entries(state.get("identity", {}))
    differing = [
        f"{key} is {shown(here.get(key))} here, {shown(there.get(key))} there"
        for key in {**here, **there}
        if here.get(key) != there.get(key)
    ]
    if differing:
        raise CheckpointError(f"{file}: belongs to another run: {'; '.join(differing)}")


def gather(
    now: Moment,
    at: Running,
    mine: dict[str, Any],
    stateful: Mapping[str, Stateful],
    device: torch.device,
) -> dict[str, Any]:
    """Return the state as a tree."""
    random = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(device)
    return {
        "identity": mine,
        "model": dict(now.model.state_dict()),
        "optimizer": now.optimizer.state_dict(),
        "position": {name: getattr(now, name) for name in POSITION},
        "running": {item.name: getattr(at, item.name) for item in fields(at)},
        "random": random,
        "history": now.history.state_dict(),
        "stateful": {name: item.state_dict() for name, item in stateful.items()},
    }


def restore(
    state: dict[str, Any],
    now: Moment,
    at: Running,
    stateful: Mapping[str, Stateful],
    device: torch.device,
) -> None:
    """Put a gathered state back into model, optimiser, history, generators and the rest."""
    now.model.load_state_dict(state["model"])
    restore_optimizer(now.optimizer, state["optimizer"])
    for name in POSITION:
        setattr(now, name, state["position"][name])
    for name, value in state["running"].items():
        setattr(at, name, value.to(device) if isinstance(value, Tensor) else value)
    now.history.load_state_dict(state["history"])
    for name, item in stateful.items():
        item.load_state_dict(state["stateful"][name])
    torch.set_rng_state(state["random"]["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["random"]["cuda"], device)
