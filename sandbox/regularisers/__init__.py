"""Regularisers: named estimators of importance, penalties that use it, and the ratio norm."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.regularisers.compression import Compressed, compress, prune
    from sandbox.regularisers.importance import (
        absolute_fisher,
        batched_memory_aware,
        fisher_diagonal,
        memory_aware,
        root_fisher,
    )
    from sandbox.regularisers.quadratic import QuadraticPenalty
    from sandbox.regularisers.ratio_norm import RatioNorm
    from sandbox.regularisers.synaptic_intelligence import SynapticIntelligence

__all__ = [
    "Compressed",
    "QuadraticPenalty",
    "RatioNorm",
    "SynapticIntelligence",
    "absolute_fisher",
    "batched_memory_aware",
    "compress",
    "fisher_diagonal",
    "memory_aware",
    "prune",
    "root_fisher",
]

_HOMES = {
    "Compressed": "compression",
    "QuadraticPenalty": "quadratic",
    "RatioNorm": "ratio_norm",
    "SynapticIntelligence": "synaptic_intelligence",
    "absolute_fisher": "importance",
    "batched_memory_aware": "importance",
    "compress": "compression",
    "fisher_diagonal": "importance",
    "memory_aware": "importance",
    "prune": "compression",
    "root_fisher": "importance",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: one regulariser does not need all."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"sandbox.regularisers.{_HOMES[name]}"), name)
