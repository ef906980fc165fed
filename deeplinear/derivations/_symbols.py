"""Symbols and small networks that every derivation starts from.

A mode is a chain of scalars w_1 ... w_d; a network is a chain of matrices with
one symbol an entry. Losses are written down once, here, and differentiated by
sympy: no derivation assumes a vector field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp

__all__ = [
    "DERIVED",
    "HUH",
    "SAXE",
    "damping",
    "depth",
    "entries",
    "jacobian",
    "layer_gradient",
    "map_of",
    "mode",
    "mode_loss",
    "modulo",
    "network",
    "network_loss",
    "others",
    "partials",
    "power",
    "rotation",
    "scale",
    "target",
    "time",
]

SAXE = "Saxe, McClelland & Ganguli (2014), arXiv:1312.6120"
HUH = "Huh (2020), PMLR 119, 4552-4560"
DERIVED = "derived here"

target = sp.Symbol("s", positive=True)
power = sp.Symbol("q", real=True)
damping = sp.Symbol("epsilon", positive=True)
scale = sp.Symbol("kappa", positive=True)
depth = sp.Symbol("d", positive=True)
time = sp.Symbol("t", nonnegative=True)


def mode(layers: int, *, positive: bool = False) -> tuple[sp.Symbol, ...]:
    """Return the weights w_1 ... w_d of one mode."""
    assumption = {"positive": True} if positive else {"real": True}
    return tuple(sp.Symbol(f"w_{i}", **assumption) for i in range(1, layers + 1))


def mode_loss(weights: Sequence[sp.Symbol]) -> sp.Expr:
    """Return (s - prod w)^2 / 2."""
    return (target - sp.Mul(*weights)) ** 2 / 2


def others(weights: Sequence[sp.Symbol]) -> list[sp.Expr]:
    """Return p_i, the product of all weights but the i-th, by multiplication alone."""
    return [sp.Mul(*weights[:i], *weights[i + 1 :]) for i in range(len(weights))]


def entries(name: str, rows: int, columns: int) -> sp.Matrix:
    """Return a matrix with one real symbol an entry."""
    return sp.Matrix(rows, columns, lambda i, j: sp.Symbol(f"{name}_{{{i + 1}{j + 1}}}", real=True))


def network(widths: Sequence[int]) -> list[sp.Matrix]:
    """Return W_1 ... W_d, input side first, for layer widths n_0 ... n_d."""
    return [entries(f"w^{{({i})}}", widths[i], widths[i - 1]) for i in range(1, len(widths))]


def map_of(layers: Sequence[sp.Matrix]) -> sp.Matrix:
    """Return the end-to-end map W_d ... W_1."""
    product = layers[0]
    for layer in layers[1:]:
        product = layer * product
    return product


def network_loss(layers: Sequence[sp.Matrix], goal: sp.Matrix) -> sp.Expr:
    """Return the loss, half the squared Frobenius norm of the error of the map."""
    return sum((entry**2 for entry in map_of(layers) - goal), sp.Integer(0)) / 2


def layer_gradient(loss: sp.Expr, layer: sp.Matrix) -> sp.Matrix:
    """Return dL/dW entry by entry."""
    return layer.applyfunc(lambda entry: sp.diff(loss, entry))


def partials(layers: Sequence[sp.Matrix]) -> tuple[list[sp.Matrix], list[sp.Matrix]]:
    """Return A_i = W_d ... W_{i+1} and B_i = W_{i-1} ... W_1."""
    before = [sp.eye(layers[0].cols)]
    for layer in layers[:-1]:
        before.append(layer * before[-1])
    after = [sp.eye(layers[-1].rows)]
    for layer in reversed(layers[1:]):
        after.append(after[-1] * layer)
    return after[::-1], before


def jacobian(layers: Sequence[sp.Matrix]) -> sp.Matrix:
    """Return d vec(W_d ... W_1) / d (vec W_1, ..., vec W_d), column-major, by differentiation."""
    parameters = sp.Matrix.vstack(*[layer.vec() for layer in layers])
    return map_of(layers).vec().jacobian(parameters)


def rotation(angle: sp.Symbol) -> sp.Matrix:
    """Return the rotation of the plane by an angle."""
    return sp.Matrix([[sp.cos(angle), -sp.sin(angle)], [sp.sin(angle), sp.cos(angle)]])


def modulo(*relations: tuple[sp.Expr, sp.Symbol]) -> Callable[[sp.Expr], sp.Expr]:
    """Return a simplifier for rational expressions in symbols that stand for square roots.

    Each relation is (x**2 - r, x): a polynomial that vanishes and the symbol it
    is monic in. The numerator's remainder is zero if and only if the expression
    is, given them.

    Parameters
    ----------
    relations : tuple of (sympy.Expr, sympy.Symbol)
        The relations, applied in order.

    Returns
    -------
    callable
        From an expression to the remainder of its numerator.
    """
    squares = [(sp.expand(symbol**2 - relation), symbol) for relation, symbol in relations]

    def remainder(expression: sp.Expr) -> sp.Expr:
        numerator = sp.expand(expression)
        if not numerator.is_polynomial():
            numerator = sp.expand(sp.fraction(sp.together(expression))[0])
        for square, symbol in squares:
            terms = sp.Poly(numerator, symbol).terms()
            numerator = sp.expand(
                sum(part * square ** (n // 2) * symbol ** (n % 2) for (n,), part in terms)
            )
        return numerator

    return remainder
