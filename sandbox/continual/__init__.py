"""Continual learning: what protects weights against forgetting, on streams of tasks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.continual.learning import learn
    from sandbox.continual.methods import METHODS, Method
    from sandbox.continual.protection import Protection

__all__ = ["METHODS", "Method", "Protection", "learn"]

_HOMES = {
    "METHODS": "methods",
    "Method": "methods",
    "Protection": "protection",
    "learn": "learning",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: the command line needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"sandbox.continual.{_HOMES[name]}"), name)
