"""Optimisers that take the same rule objects as the theory, or use layers' own curvature."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.optim._layers import split_params
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
    "FOOF": "foof",
    "KFAC": "kfac",
    "Alice": "alice",
    "CurvatureCorrected": "curvature",
    "FOOFPreconditioner": "preconditioner",
    "GlassDiagnosis": "alice",
    "KFACPreconditioner": "kfac",
    "NaturalGradient": "natural",
    "SampledFisher": "fisher",
    "split_params": "_layers",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: one optimiser does not need all."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
