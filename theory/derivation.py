"""Derivations that can be read by a person and checked by a machine.

A :class:`Derivation` is a list of :class:`Step` objects. Each step says in words
what is done, states a formula, and may carry *residuals*: expressions that are
zero if and only if the step is right. ``Derivation.check`` simplifies them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import sympy as sp

__all__ = ["Derivation", "DerivationError", "Step", "numeric_zero"]


class DerivationError(AssertionError):
    """A residual of a derivation does not vanish."""


@dataclass(frozen=True)
class Step:
    """One line of a derivation.

    Parameters
    ----------
    text : str
        What is done and why, in words.
    formula : sympy.Basic or None
        The statement reached, for display.
    residuals : tuple of sympy.Expr
        Expressions that vanish identically if the step is right.
    simplify : callable
        How a residual is brought to zero; ``sympy.simplify`` unless the step
        knows a quicker way.
    """

    text: str
    formula: sp.Basic | None = None
    residuals: tuple[sp.Expr, ...] = ()
    simplify: Callable[[sp.Expr], sp.Expr] = field(default=sp.simplify, compare=False)


@dataclass(frozen=True)
class Derivation:
    """A named chain of steps from assumptions to a result.

    Parameters
    ----------
    title : str
        What is derived.
    steps : tuple of Step
        The chain, in order.
    page : str
        Page of the documentation that tells it at length, without extension.
    source : str
        Where the result is published, or "derived here".
    results : mapping from str to sympy.Basic
        Named expressions that kernels and experiments are compared with.
    """

    title: str
    steps: tuple[Step, ...]
    page: str = ""
    source: str = "derived here"
    results: Mapping[str, sp.Basic] = field(default_factory=dict)

    def check(self) -> int:
        """Simplify every residual; return how many there were.

        Returns
        -------
        int
            The number of residuals checked, at least one.

        Raises
        ------
        DerivationError
            If a residual is not identically zero, or there is none.
        """
        count = 0
        for number, step in enumerate(self.steps, start=1):
            for residual in step.residuals:
                rest = step.simplify(residual)
                if rest != 0:
                    raise DerivationError(
                        f"{self.title}, step {number} ({step.text}): {rest} is not zero"
                    )
                count += 1
        if count == 0:
            raise DerivationError(f"{self.title}: no step carries a residual to check")
        return count

    def text(self) -> str:
        """Return the derivation as plain text, one numbered step a paragraph."""
        lines = [self.title, f"Source: {self.source}"]
        for number, step in enumerate(self.steps, start=1):
            lines.append(f"{number}. {step.text}")
            if step.formula is not None:
                lines.extend("     " + line for line in _pretty(step.formula).splitlines())
        return "\n".join(lines)

    def latex(self) -> list[tuple[str, str | None]]:
        """Return (words, LaTeX of the formula or None) for every step."""
        return [
            (step.text, None if step.formula is None else sp.latex(step.formula))
            for step in self.steps
        ]


def _pretty(formula: sp.Basic) -> str:
    return str(sp.pretty(formula, use_unicode=True, wrap_line=False))


def numeric_zero(
    expression: sp.Expr, values: Mapping[sp.Symbol, float | sp.Expr], digits: int = 40
) -> sp.Expr:
    """Evaluate an expression at a point in high precision; return 0 if it vanishes there.

    For identities that ``simplify`` cannot settle (hypergeometric functions,
    nested radicals). A point is evidence, not proof: the step must say so.

    Parameters
    ----------
    expression : sympy.Expr
        The residual.
    values : mapping from sympy.Symbol to number
        The point.
    digits : int
        Working precision, in decimal digits.

    Returns
    -------
    sympy.Expr
        0 if the magnitude is below ``10**(-digits / 2)``, else the value itself.

    Examples
    --------
    >>> x = sp.Symbol("x")
    >>> numeric_zero(sp.sin(x) ** 2 + sp.cos(x) ** 2 - 1, {x: sp.Rational(1, 3)})
    0
    """
    value = sp.N(expression.subs(values), digits)
    return sp.Integer(0) if abs(value) < sp.Float(10) ** (-(digits // 2)) else value
