"""Whether a loss rises: of samples its largest rise and bumps, of a polynomial a decision."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain, pairwise
from numbers import Rational
from typing import Any, Literal, NamedTuple

import numpy as np
import sympy as sp
from jaxtyping import Float
from numpy import ndarray

from theory.checks import as_number, as_vector, shown

__all__ = ["Bump", "Decision", "bumps", "decide_monotone", "largest_rise"]

WIDTH = sp.Rational(1, 2**16)
"""Width of the rational intervals that roots are isolated in, at first."""
GRID = 2**100
"""Roots are known to a part in this."""
LARGEST = 1e300
"""Numbers beyond it are refused: their sums and differences may be beyond the largest float."""
ROUNDING = float(8 * np.finfo(np.float64).eps)


class Bump(NamedTuple):
    """One bump of a sampled loss.

    Parameters
    ----------
    start : float
        Alpha before the first rise.
    width : float
        Distance in alpha to where the loss is below its start again, or to the last alpha.
    height : float
        Largest rise above the start.
    """

    start: float
    width: float
    height: float


class Decision(NamedTuple):
    """Whether a polynomial loss rises on [0, 1].

    Parameters
    ----------
    status : {"monotone", "rises", "undecided"}
        ``undecided`` where the error of the coefficients allows both.
    rise : float
        Largest rise of the polynomial as given.
    start, end : float
        Where that rise begins and ends; equal if it is 0.
    """

    status: Literal["monotone", "rises", "undecided"]
    rise: float
    start: float
    end: float


def largest_rise(losses: Float[ndarray, " alpha"]) -> float:
    r"""Return the largest rise of a sampled loss, the violation of monotonicity.

    **Equation.** :math:`\max_{a \le b} L(b) - L(a)`, the smallest :math:`\Delta` for which the
    loss is :math:`\Delta`-monotonic; the height of the highest of :func:`bumps`.

    **Shapes and units.** The unit of the loss.

    Parameters
    ----------
    losses : Float[ndarray, " alpha"]
        In the order of alpha; two or more.

    Returns
    -------
    float
        0 if the loss never rises.

    Raises
    ------
    ValueError
        If there is one loss only, or one is not finite.

    References
    ----------
    Lucas et al. (2021), arXiv:2104.11044.

    Examples
    --------
    >>> largest_rise(np.array([3.0, 1.0, 2.5, 2.0]))
    1.5
    """
    values = _samples("losses", losses)
    return float((values - np.minimum.accumulate(values)).max())


def bumps(losses: Float[ndarray, " alpha"], alphas: Float[ndarray, " alpha"]) -> list[Bump]:
    r"""Return the bumps of a sampled loss.

    **Equation.** A bump starts where the loss first rises and ends where it is below its value
    at the start; :math:`\text{height} = \max L - L(\text{start})`.

    **Shapes and units.** Widths in units of alpha, heights in that of the loss.

    The authors' program does not count a bump whose only rise is that to the last alpha; here
    it counts, without which the highest bump would not always be the largest rise.

    Parameters
    ----------
    losses : Float[ndarray, " alpha"]
        Two or more.
    alphas : Float[ndarray, " alpha"]
        Where they were taken, increasing.

    Returns
    -------
    list of Bump
        In the order of alpha; empty if the loss never rises.

    Raises
    ------
    ValueError
        If the lengths differ, or alphas do not increase.

    References
    ----------
    Lucas et al. (2021), arXiv:2104.11044.

    Examples
    --------
    >>> bumps(np.array([3.0, 1.0, 2.5, 0.5, 0.75]), np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
    [Bump(start=0.25, width=0.5, height=1.5), Bump(start=0.75, width=0.25, height=0.25)]
    """
    values, places = _samples("losses", losses), _samples("alphas", alphas)
    if len(values) != len(places):
        raise ValueError(f"alphas has length {len(places)}: must be {len(values)}, that of losses")
    backward = np.flatnonzero(np.diff(places) <= 0)
    if backward.size:
        i = int(backward[0])
        raise ValueError(
            f"alphas[{i + 1}] = {places[i + 1]} after alphas[{i}] = {places[i]}: must increase"
        )
    found: list[Bump] = []
    i = 0
    while i < len(values) - 1:
        if values[i + 1] <= values[i]:
            i += 1
            continue
        below = np.flatnonzero(values[i + 1 :] < values[i])
        end = i + 1 + int(below[0]) if below.size else len(values) - 1
        height = float(values[i + 1 : end + 1].max() - values[i])
        found.append(Bump(float(places[i]), float(places[end] - places[i]), height))
        i = end
    return found


def decide_monotone(
    coefficients: Sequence[Any] | ndarray,
    *,
    error: float | None = None,
    stationary_end: bool = False,
) -> Decision:
    r"""Decide from the roots of its derivative whether a polynomial loss rises on [0, 1].

    **Equation.** L never rises if and only if L' <= 0 between any two neighbouring roots of L';
    the largest rise is that among the losses at 0, at these roots and at 1.

    **Shapes and units.** Ascending powers of alpha.

    Integers and fractions are taken as exact, roots isolated in rational intervals, repeated
    ones among them, and signs taken at rational places: the status is then never
    ``undecided``. Of other numbers every coefficient is known to ``error``: the loss ``rises``
    if its slope is positive somewhere, or its rise more than 0, whatever the coefficients
    within it, and is ``monotone`` if the slope is negative everywhere.

    A loss measured from z(1) has L'(1) = 0, which no error of coefficients could tell from a
    rise: with ``stationary_end`` the factor 1 - alpha is divided out of the slope.

    Parameters
    ----------
    coefficients : sequence of int, Fraction or float
        :math:`c_0, c_1, \dots` of :math:`L = \sum_k c_k \alpha^k`.
    error : float or None
        Bound on the error of each coefficient; None for 0 if they are exact, else 8 units of
        round-off of the largest.
    stationary_end : bool
        Whether L'(1) = 0 is known.

    Returns
    -------
    Decision
        Status, rise and where it is.

    Raises
    ------
    ValueError
        If a coefficient is not a finite number, there is none, or L'(1) is not 0 within the
        error though ``stationary_end`` says so.

    References
    ----------
    Derived here; see :func:`two_layer_interpolation`.

    Examples
    --------
    >>> decide_monotone([Fraction(1), -3, 3, -1])  # (1 - alpha)^3
    Decision(status='monotone', rise=0.0, start=0.0, end=0.0)
    >>> decide_monotone([1, -4, 4])  # (1 - 2 alpha)^2
    Decision(status='rises', rise=1.0, start=0.5, end=1.0)
    """
    numbers, exact = _numbers(coefficients)
    largest = float(max(map(abs, numbers)))
    bound = (0.0 if exact else ROUNDING * largest) if error is None else error
    doubt = Fraction(as_number("error", bound, low=0.0))
    degree = len(numbers) - 1
    slope = [k * numbers[k] for k in range(1, degree + 1)]
    if stationary_end:
        rest = sum(slope, Fraction(0))
        if abs(rest) > doubt * degree * (degree + 1) / 2:
            raise ValueError(
                f"stationary_end = True, but the slope at 1 is {float(rest):.3g}, more than the"
                " error of the coefficients: must be 0"
            )
        judged = [sum(slope[: k + 1], Fraction(0)) for k in range(degree - 1)]
        slack = doubt * degree * (degree + 1) * (degree + 2) / 6 if judged else Fraction(0)
    else:
        judged, slack = slope, doubt * degree * (degree + 1) / 2
    top = _largest(judged)
    rise, start, end = _rise(numbers, slope)
    if top > slack or rise > doubt * degree:
        return Decision("rises", float(rise), float(start), float(end))
    if top < -slack or (top <= 0 and slack == 0):
        return Decision("monotone", 0.0, 0.0, 0.0)
    return Decision("undecided", float(rise), float(start), float(end))


def _samples(name: str, value: Any) -> Float[ndarray, " alpha"]:
    """Return a vector of two samples or more."""
    vector = as_vector(name, value)
    if len(vector) < 2:
        raise ValueError(f"{name} = {vector.tolist()}: must have two entries or more")
    if np.abs(vector).max() > LARGEST:
        raise ValueError(f"{name} has an entry beyond {LARGEST:g}: scale them down")
    return vector


def _numbers(coefficients: Sequence[Any] | ndarray) -> tuple[list[Fraction], bool]:
    """Return coefficients as fractions, and whether they were given exactly."""
    values = coefficients.tolist() if isinstance(coefficients, ndarray) else coefficients
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) == 0:
        raise ValueError(
            f"coefficients = {shown(coefficients)}: must be a non-empty list of numbers, from the"
            " constant on"
        )
    numbers, exact = [], True
    for k, value in enumerate(values):
        if isinstance(value, sp.Rational):
            numbers.append(_fraction(value))
        elif isinstance(value, Rational) and not isinstance(value, bool):
            numbers.append(Fraction(int(value.numerator), int(value.denominator)))
        else:
            numbers.append(Fraction(as_number(f"coefficients[{k}]", value)))
            exact = False
        if abs(numbers[-1]) > LARGEST:
            raise ValueError(f"coefficients[{k}] is beyond {LARGEST:g}: scale them down")
    return numbers, exact


def _isolated(polynomial: Sequence[Fraction]) -> tuple[sp.Poly, list[tuple[Any, Any]]]:
    """Return the square-free part, and rational intervals apart with one root in [0, 1] each."""
    terms = [sp.Rational(c.numerator, c.denominator) for c in reversed(polynomial)]
    poly = sp.Poly(terms or [0], sp.Symbol("alpha"), domain="QQ")
    if poly.degree() <= 0:
        return poly, []
    distinct, width = poly.sqf_part(), WIDTH
    while True:
        found = sorted(distinct.intervals(inf=0, sup=1, eps=width, sqf=True))
        if all(one[1] < other[0] for one, other in pairwise(found)):
            return distinct, found
        # roots nearer than the width have intervals that touch, with no room to tell a sign
        width **= 2


def _critical(derivative: Sequence[Fraction]) -> list[Fraction]:
    """Return 0, the roots of a derivative in (0, 1) to 100 bits, and 1."""
    distinct, found = _isolated(derivative)
    terms = list(map(_fraction, reversed(distinct.all_coeffs())))
    slope = [k * c for k, c in enumerate(terms)][1:]
    places = {Fraction(0), Fraction(1)}
    for low, high in found:
        place, step = _fraction((low + high) / 2), Fraction(high != low)
        for _ in range(8):
            rate = _value(slope, place)
            if step == 0 or rate == 0:
                break
            step = Fraction(round(_value(terms, place) / rate * GRID), GRID)
            place -= step
        if abs(step) > Fraction(4, GRID) or not low <= place <= high:
            ends = distinct.refine_root(low, high, eps=sp.Rational(1, GRID))
            place = _fraction(sum(ends) / 2)
        places.add(place)
    return sorted(places)


def _fraction(number: sp.Rational) -> Fraction:
    """Return a rational of sympy as one of Python."""
    return Fraction(int(number.p), int(number.q))


def _value(polynomial: Sequence[Fraction], place: Fraction) -> Fraction:
    """Return a polynomial's value."""
    total = Fraction(0)
    for c in reversed(polynomial):
        total = total * place + c
    return total


def _largest(polynomial: Sequence[Fraction]) -> Fraction:
    """Return the largest value on [0, 1], positive if and only if there is a positive one."""
    # maxima are at irrational places in general: rational ones between the roots tell the sign
    ends = [Fraction(0), *map(_fraction, chain(*_isolated(polynomial)[1])), Fraction(1)]
    between = [(low + high) / 2 for low, high in zip(ends[::2], ends[1::2], strict=True)]
    derivative = [k * c for k, c in enumerate(polynomial)][1:]
    return max(_value(polynomial, place) for place in (*between, *_critical(derivative)))


def _rise(
    loss: Sequence[Fraction], slope: Sequence[Fraction]
) -> tuple[Fraction, Fraction, Fraction]:
    """Return the largest rise among the critical losses, with its start and end."""
    low, lowest = Fraction(0), loss[0]
    found = (Fraction(0), Fraction(0), Fraction(0))
    for place in _critical(slope):
        value = _value(loss, place)
        if value - lowest > found[0]:
            found = (value - lowest, low, place)
        if value < lowest:
            low, lowest = place, value
    return found
