"""Hooks on modules that keep nothing alive: what everything that watches a model shares."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

__all__ = ["ModuleHook", "gone", "owners", "sweep", "transformed", "weakly"]


class ModuleHook:
    """A module hook that does nothing once its owner is gone or its module was copied.

    Parameters
    ----------
    owner : object or None
        Held weakly; None for an inert hook.
    method : str
        The owner's method that is called with the hook's arguments.
    module : torch.nn.Module or None
        Where the hook hangs, held weakly.
    """

    def __init__(self, owner: Any, method: str, module: nn.Module | None) -> None:
        self.owner = gone if owner is None else weakref.ref(owner)
        self.module = gone if module is None else weakref.ref(module)
        self.method = method

    def __call__(self, module: nn.Module, *rest: Any) -> Any:
        """Call the owner's method, if there is one still and the module is the one hooked."""
        owner = self.owner()
        if owner is None or self.module() is not module:
            return None
        return getattr(owner, self.method)(module, *rest)

    def __deepcopy__(self, _: dict[int, Any]) -> ModuleHook:
        """Return an inert hook: the copied model has another owner, or none."""
        return ModuleHook(None, self.method, None)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make an inert hook."""
        return ModuleHook, (None, self.method, None)


def gone() -> None:
    """Stand in for a reference to nothing."""


def weakly(callback: Callable[..., Any] | None) -> Callable[[], Any]:
    """Return what gives the callback; bound methods do not keep their object alive."""
    if callback is None:
        return gone
    if hasattr(callback, "__self__"):
        return weakref.WeakMethod(callback)
    return lambda: callback


def transformed() -> bool:
    """Return whether torch.func differentiates or maps the pass; it is no training step then."""
    return torch._C._functorch.maybe_current_level() is not None


def owners(model: nn.Module) -> set[Any]:
    """Return all that watches a model or its parts, for one's own backward pass is no other's."""
    hooks = [hook for part in model.modules() for hook in part._forward_hooks.values()]
    found = [hook.owner() for hook in hooks if isinstance(hook, ModuleHook)]
    return {owner for owner in found if owner is not None}


def sweep(module: nn.Module) -> None:
    """Take off the inert hooks that a copy of a watched module carries."""
    for hooks in (module._forward_hooks, module._forward_pre_hooks):
        inert = [
            key
            for key, hook in hooks.items()
            if isinstance(hook, ModuleHook) and hook.module is gone
        ]
        for key in inert:
            del hooks[key]
