"""Keeps what a model is fed in training, for optimisers that evaluate it again."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sandbox.network.evaluation import as_inputs, evaluated
from sandbox.network.hooks import ModuleHook, sweep, transformed

__all__ = ["InputMemory", "InputWatch", "accepted"]


class InputMemory:
    """Inputs of the previous step, of this one, and those given apart, as lists of tensors.

    Parameters
    ----------
    most : int or None
        How many samples of a batch to keep, from the first; None for all.
    """

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.kept: list[Tensor] = []
        self.pending: list[Tensor] = []
        self.observed: list[Tensor] = []

    def see(self, inputs: Tensor) -> None:
        """Add the inputs of one of this step's passes, as far as they are of use."""
        if self.most is not None:
            inputs = inputs[: max(0, self.most - sum(map(len, self.pending)))]
        if len(inputs):
            self.pending.append(inputs)

    def chosen(self) -> Tensor | None:
        """Return what this step's matrix is made of: given, else previous, else its own."""
        found = self.observed or self.kept or self.pending
        if not found:
            return None
        return (found[0] if len(found) == 1 else torch.cat(found))[: self.most]

    def required(self) -> Tensor:
        """Return what this step's matrix is made of; raise a RuntimeError if there is nothing."""
        found = self.chosen()
        if found is None:
            raise RuntimeError(
                "no inputs were seen: call the model itself in training mode, with this optimiser"
                " made beforehand, and run the backward pass; or observe(inputs) first"
            )
        return found

    def pass_on(self) -> None:
        """Let this step's inputs be the previous ones."""
        self.kept, self.pending = self.pending or self.kept, []
        self.observed = []

    def bytes(self) -> int:
        """Return the memory that they take."""
        held = [*self.kept, *self.pending, *self.observed]
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return everything as plain data; tensors are not copied."""
        return {
            "kept": list(self.kept),
            "pending": list(self.pending),
            "observed": list(self.observed),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Take everything back, tensors as copies."""
        for name in ("kept", "pending", "observed"):
            setattr(self, name, [t.detach().to(device, copy=True) for t in state[name]])


class InputWatch:
    """Reports the inputs of every training pass of a model whose backward pass is run.

    A pass counts if the model is in training mode, gradients are enabled and a gradient
    reaches the model's output. The method is held weakly, and the model's hook holds this
    object weakly. Copies of the model, and what is pickled, carry an inert hook.

    Parameters
    ----------
    model : torch.nn.Module
        Called with one tensor (sample, ...).
    arrived : bound method
        Called with a copy of the inputs in the backward pass.
    most : int or None
        How many samples of each pass to keep, from the first; None for all.

    Attributes
    ----------
    busy : int
        How many backward passes of the model's watchers are under way; they are no training.
    """

    def __init__(
        self, model: nn.Module, arrived: Callable[[Tensor], None], most: int | None
    ) -> None:
        self._arrived = weakref.WeakMethod(arrived)
        self.most = most
        self.busy = 0
        handle = model.register_forward_hook(ModuleHook(self, "watch", model), with_kwargs=True)
        sweep(model)
        self._finalizer = weakref.finalize(self, handle.remove)
        self._finalizer.atexit = False

    def remove(self) -> None:
        """Take the hook off the model; once is enough."""
        self._finalizer()

    def watch(
        self, module: nn.Module, args: tuple[Any, ...], named: Mapping[str, Any], outputs: Any
    ) -> None:
        """Keep the inputs of a pass until its backward pass."""
        if not (module.training and torch.is_grad_enabled()) or transformed():
            return
        fed = [*args, *named.values()]
        if len(fed) != 1 or not isinstance(fed[0], Tensor):
            kinds = ", ".join(type(item).__name__ for item in fed)
            raise ValueError(
                f"model({kinds}): must be called with one tensor, as the Fisher matrix is taken by"
                " calling it again"
            )
        if not isinstance(outputs, Tensor) or not outputs.requires_grad or not len(fed[0]):
            return
        # a copy: loaders may fill the same memory with the next batch
        kept = fed[0].detach()[: self.most].clone()
        hang: Any = outputs.register_hook
        hang(_Arrival(self, kept))

    def report(self, inputs: Tensor) -> None:
        """Hand inputs over."""
        arrived = self._arrived()
        if arrived is not None:
            arrived(inputs)


class _Arrival:
    """A tensor hook that reports once, however often the graph is walked."""

    def __init__(self, watch: InputWatch, inputs: Tensor) -> None:
        self.watch, self.inputs = weakref.ref(watch), inputs
        self.done = False

    def __call__(self, _: Tensor) -> None:
        watch = self.watch()
        if watch is not None and not watch.busy and not self.done:
            self.done = True
            watch.report(self.inputs)


def accepted(model: nn.Module, inputs: Tensor, device: torch.device) -> Tensor:
    """Return inputs that a model takes, tried on the first sample; raise a ValueError else."""
    given = as_inputs(inputs)
    try:
        with evaluated(model, device), torch.no_grad():
            model(given[:1])
    except (RuntimeError, ValueError, IndexError, TypeError) as problem:
        raise ValueError(
            f"inputs of shape {tuple(given.shape)} and type {given.dtype}: the model does not"
            f" take them ({problem})"
        ) from problem
    return given
