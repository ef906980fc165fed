"""Array types shared by every room: any length, any shape, float64 or float32.

Functions whose axes have names spell them out: ``Float[ndarray, "time layer"]``.
"""

from __future__ import annotations

from typing import TypeAlias

from jaxtyping import Float
from numpy import ndarray

Vector: TypeAlias = Float[ndarray, " _n"]
Matrix: TypeAlias = Float[ndarray, "_rows _columns"]
