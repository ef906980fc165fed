"""Optimisers that take the same rule objects as the theory, or use layers' own curvature."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.network.layers import split_params
    from sandbox.optim.alice import Alice, GlassDiagnosis
    from sandbox.optim.curvature import CurvatureCorrected
    from sandbox.optim.fisher import SampledFisher
    from sandbox.optim.foof import FOOF
    from sandbox.optim.kfac import KFAC, KFACPreconditioner
    from sandbox.optim.natural import NaturalGradient
    from sandbox.optim.preconditioner import FOOFPreconditioner

__all__ = [
    "FOOF",
    "KFAC",
    "Alice",
    "CurvatureCorrected",
    "FOOFPreconditioner",
    "GlassDiagnosis",
    "KFACPreconditioner",
    "NaturalGradient",
    "SampledFisher",
    "split_params",
]

_HOMES = {
    "FOOF": "sandbox.optim.foof",
    "KFAC": "sandbox.optim.kfac",
    "Alice": "sandbox.optim.alice",
    "CurvatureCorrected": "sandbox.optim.curvature",
    "FOOFPreconditioner": "sandbox.optim.preconditioner",
    "GlassDiagnosis": "sandbox.optim.alice",
    "KFACPreconditioner": "sandbox.optim.kfac",
    "NaturalGradient": "sandbox.optim.natural",
    "SampledFisher": "sandbox.optim.fisher",
    "split_params": "sandbox.network.layers",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: one optimiser does not need all."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
