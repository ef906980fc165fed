"""Brute-force references for one mode, from the definition of the rules alone.

The gradient of (s - prod w)^2 / 2, the matrix p p' of its Gauss-Newton curvature,
the power of that matrix by eigendecomposition; time by DOP853 or mpmath quadrature.
"""

from __future__ import annotations

from collections.abc import Mapping

import mpmath as mp
import numpy as np
import sympy as sp
from scipy.integrate import solve_ivp

from deeplinear.rules import CurvatureCorrection


def evaluate(expression: sp.Basic, at: Mapping[str, float]) -> np.ndarray:
    """The expression's value from 30-digit arithmetic; every symbol must be given."""
    symbols = sorted(expression.free_symbols, key=str)
    missing = {symbol.name for symbol in symbols} - set(at)
    assert not missing, f"no value for {sorted(missing)}"
    with mp.workdps(30):
        value = sp.lambdify(symbols, expression, "mpmath")(*[mp.mpf(at[x.name]) for x in symbols])
        entries = list(value) if isinstance(value, mp.matrix) else [value]
        return np.array([float(mp.mpf(entry)) for entry in entries])


def compare(found: object, expected: object, rtol: float, label: str) -> None:
    """Relative comparison with a message that shows both values and their ratio."""
    found, expected = np.ravel(found), np.ravel(expected)
    assert found.shape == expected.shape, f"{label}: {found.shape} values, not {expected.shape}"
    worst = np.argmax(np.abs(found - expected) / np.abs(expected))
    assert np.allclose(found, expected, rtol=rtol, atol=0.0), (
        f"{label}[{worst}]: {found[worst]!r} against {expected[worst]!r},"
        f" ratio {found[worst] / expected[worst]!r}"
    )


def velocity(rule: CurvatureCorrection, w: np.ndarray, s: float) -> np.ndarray:
    """The rule by its definition: a power of the curvature matrix times the gradient."""
    p = np.array([np.prod(np.delete(w, i)) for i in range(len(w))])
    curvature = np.outer(p, p)
    if rule.blocks == "layer":
        curvature = np.diag(np.diag(curvature))
    values, vectors = np.linalg.eigh(curvature)
    values = np.where(values > 1e-13 * values[-1], values, 0.0) + rule.damping
    gains = np.array([v**-rule.power if v > 0 else 0.0 for v in values])
    gradient = -(s - np.prod(w)) * p
    return -rule.prefactor(len(w)) * vectors @ (gains * (vectors.T @ gradient))


def flow(rule: CurvatureCorrection, w_0: list[float], s: float, t: float) -> np.ndarray:
    """Weights at time t by DOP853."""
    options = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-14}
    return solve_ivp(lambda _, w: velocity(rule, w, s), (0, t), w_0, **options).y[:, -1]


def path_time(rule: CurvatureCorrection, w_0: list[float], s: float, stop: float) -> float:
    """Time of a full rule to u = stop by quadrature along w_i^2 = y + c_i, all w_i > 0."""
    squares = [mp.mpf(w) ** 2 for w in w_0]
    low = min(squares)
    offsets = [square - low for square in squares]

    def product(y):
        return mp.sqrt(mp.fprod(y + c for c in offsets))

    def slowness(log_y):
        y = mp.exp(log_y)
        u = product(y)
        S = sum(u**2 / (y + c) for c in offsets)
        return y * (S + rule.damping) ** rule.power / (2 * u * (s - u))

    high = mp.findroot(lambda y: product(y) - stop, (low, mp.mpf(stop) * 3 + 1), solver="anderson")
    with mp.workdps(25):
        return float(mp.quad(slowness, mp.linspace(mp.log(low), mp.log(high), 9)))


def time_of_event(rule, w_0, s, stop):
    """Time to u = stop by DOP853 with an event, for rules without a known path."""

    def reached(_, w):
        return np.prod(w) - stop

    reached.terminal = True
    options = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-14, "events": reached}
    solution = solve_ivp(lambda _, w: velocity(rule, w, s), (0, 100), w_0, **options)
    return solution.t_events[0][0]
