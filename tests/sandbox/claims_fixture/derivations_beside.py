"""A derivation that the sample claims name, importable because it lies beside them."""

import sympy as sp

from theory.derivation import Derivation, Step


def squares() -> Derivation:
    """Derive a square."""
    x = sp.Symbol("x")
    step = Step("Multiply <it> by itself.", sp.Eq(x * x, x**2), residuals=(x * x - x**2,))
    return Derivation("The square", (Step("Take a number & hold it."), step))
