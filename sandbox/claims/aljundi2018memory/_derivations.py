"""Derivation of the local importance of a layer of rectifiers: Hebb's product."""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation, Step

__all__ = ["hebbian_importance"]


def hebbian_importance() -> Derivation:
    """Derive the sensitivity of a rectifying layer's squared output to its own weights.

    Returns
    -------
    Derivation
        For a unit with two inputs, on both sides of its threshold.

    Examples
    --------
    >>> hebbian_importance().check()
    5
    """
    w, v, drive = sp.symbols("w v a", real=True)
    x, z = sp.symbols("x z", nonnegative=True)
    bias = sp.Symbol("c", real=True)
    field = w * x + v * z + bias
    active = sp.diff(field**2, w)
    output = sp.Symbol("y", nonnegative=True)
    return Derivation(
        "The importance of a layer of rectifiers for its own output",
        (
            Step(
                "Above threshold the output is the field y = w'x + c, and the squared norm of all"
                " outputs depends on a weight through its own unit alone.",
                sp.Eq(sp.Symbol("d|y|^2/dw"), 2 * output * x),
                (sp.expand(active - 2 * field * x),),
            ),
            Step(
                "Below, output and slope vanish; so does their product. Even at the threshold the"
                " square has a derivative: 0 from either side.",
                sp.Eq(sp.Symbol("d|y|^2/dw"), 0),
                (
                    sp.limit(sp.Max(0, drive) ** 2 / drive, drive, 0, "+"),
                    sp.limit(sp.Max(0, drive) ** 2 / drive, drive, 0, "-"),
                ),
            ),
            Step(
                "Inputs that are outputs of rectifiers themselves are not negative: no modulus is"
                " needed, and the mean over inputs is twice the correlation of the activities.",
                sp.Eq(sp.Symbol("importance"), 2 * sp.Symbol("E xy")),
                (sp.Abs(2 * output * x) - 2 * output * x,),
            ),
            Step(
                "The same holds for the bias, with an input of 1.",
                sp.Eq(sp.Symbol("d|y|^2/dc"), 2 * output),
                (sp.expand(sp.diff(field**2, bias) - 2 * field),),
            ),
        ),
        page="derivations/hebbian_importance",
        source="Aljundi et al. (2018), arXiv:1711.09601; threshold and bias: derived here",
        results={"importance": 2 * output * x},
    )
