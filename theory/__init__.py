"""Closed forms with their derivations, and the few objects that every room shares.

This room holds what is exact: argument checks, named random streams, the
:class:`Derivation` that ties a formula to a machine-checked chain of algebra, the
rugged one-dimensional landscape, certificates of the PL* condition, the glass of
many small kinks, straight lines between networks, the ratio norm, and the
information of synaptic release. It imports numpy, scipy, sympy and numba, never
torch or brian2.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from theory.plstar import Certificate, certify_pl
    from theory.rugged import RuggedBowl

__all__ = ["Certificate", "RuggedBowl", "certify_pl"]

_HOMES = {
    "Certificate": "theory.plstar",
    "RuggedBowl": "theory.rugged",
    "certify_pl": "theory.plstar",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: scipy is not for every importer."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
