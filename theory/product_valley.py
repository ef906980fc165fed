"""A loss whose solutions form valleys: the product of two layers of weights, held to one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.polynomial import Polynomial

from theory._load_derivations import valley_connectivity
from theory._types import Matrix, Vector
from theory.checks import as_integer, as_number, as_vector, one_of, shown

__all__ = ["Bend", "ProductValley", "symmetric_bend", "valley_connectivity"]

SOLVED = 1e-8  # largest |v.w - 1| of what is called a solution
LARGEST = 1e60  # of a weight, or of the end of a bend: its eighth power is a float no more


@dataclass(frozen=True)
class ProductValley:
    r"""The loss (v·w - 1)²/2 of a linear network with h hidden units, one input, one output.

    **Equation.** :math:`L = \tfrac12 \bigl(\sum_{i=1}^h v_i w_i - 1\bigr)^2`.

    **Shapes and units.** Parameters (2h,): first v, then w. Without unit.

    Parameters
    ----------
    width : int
        h >= 1, the inverse of the load.

    References
    ----------
    Derived here: :func:`valley_connectivity`.

    Examples
    --------
    >>> valley = ProductValley(1)
    >>> valley.straight_connectivity(np.array([2.0, 0.5]), np.array([0.5, 2.0])) == -81 / 512
    True
    >>> valley.best_connectivity(np.array([2.0, 0.5]), np.array([-0.5, -2.0]))
    -0.5
    """

    width: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", as_integer("width", self.width, low=1))

    def _layers(self, name: str, parameters: Vector) -> tuple[Vector, Vector]:
        """Return the two layers of weights."""
        values = as_vector(name, parameters)
        if values.size != 2 * self.width:
            raise ValueError(
                f"{name} has shape {values.shape}: must be ({2 * self.width},), v then w"
            )
        if abs(values).max() > LARGEST:
            raise ValueError(
                f"{name} = {shown(parameters)}: must be at most {LARGEST:g} in size, so that the"
                " losses are floats"
            )
        return values[: self.width], values[self.width :]

    def _solution(self, name: str, parameters: Vector) -> tuple[Vector, Vector]:
        """Return direction of (v + w)/√2 and the vector (v - w)/√2 of a solution."""
        v, w = self._layers(name, parameters)
        if abs(v @ w - 1) > SOLVED:
            raise ValueError(f"{name} = {shown(parameters)}: must be a solution, v·w is {v @ w:g}")
        return (v + w) / np.linalg.norm(v + w), (v - w) / math.sqrt(2)

    def loss(self, parameters: Vector) -> float:
        """Return the loss.

        Parameters
        ----------
        parameters : Vector
            v then w, shape (2h,).

        Returns
        -------
        float
            Half the square of v·w - 1.
        """
        v, w = self._layers("parameters", parameters)
        return float((v @ w - 1) ** 2 / 2)

    def gradient(self, parameters: Vector) -> Vector:
        """Return the gradient of the loss.

        Parameters
        ----------
        parameters : Vector
            v then w, shape (2h,).

        Returns
        -------
        Vector
            (v·w - 1)(w, v), shape (2h,).
        """
        v, w = self._layers("parameters", parameters)
        slope: Vector = np.concatenate([w, v])
        return slope * (float(v @ w) - 1)

    def hessian(self, parameters: Vector) -> Matrix:
        """Return the second derivatives of the loss.

        Parameters
        ----------
        parameters : Vector
            v then w, shape (2h,).

        Returns
        -------
        Matrix
            Shape (2h, 2h): of rank one at a solution, where 2h - 1 directions are flat.
        """
        v, w = self._layers("parameters", parameters)
        slope = np.concatenate([w, v])
        swap = np.kron([[0.0, 1.0], [1.0, 0.0]], np.eye(self.width))
        curvature: Matrix = np.outer(slope, slope) + (v @ w - 1) * swap
        return curvature

    def straight_connectivity(self, start: Vector, stop: Vector) -> float:
        """Return the mode connectivity along the straight line.

        Mean loss of the ends less the loss that deviates from it most: exact, from the extrema of
        a quadratic product.

        Parameters
        ----------
        start, stop : Vector
            Ends, shape (2h,); they need not be solutions.

        Returns
        -------
        float
            Negative across a barrier, 0 in a valley, positive where the path goes lower.
        """
        (v0, w0), (v1, w1) = self._layers("start", start), self._layers("stop", stop)
        dv, dw = v1 - v0, w1 - w0
        # v·w - 1 along the line is quadratic: it turns once, and what it crosses has loss 0
        height, slope, bend = v0 @ w0 - 1, v0 @ dw + w0 @ dv, dv @ dw
        gaps = [height, v1 @ w1 - 1]
        if 0 < -slope * np.sign(bend) < 2 * abs(bend):
            turn = -slope / (2 * bend)
            gaps.append(height + turn * (slope + turn * bend))
        if min(gaps) < 0 < max(gaps):
            gaps.append(0.0)
        losses = np.square(gaps) / 2
        deviations = losses[:2].mean() - losses
        return float(deviations[np.argmax(abs(deviations))])

    def best_connectivity(self, start: Vector, stop: Vector) -> float:
        """Return the mode connectivity of two solutions along the best path.

        Parameters
        ----------
        start, stop : Vector
            Solutions, shape (2h,).

        Returns
        -------
        float
            0; with one unit and solutions of opposite signs -1/2, as each path crosses vw = 0.
        """
        direction, _ = self._solution("start", start)
        other, _ = self._solution("stop", stop)
        return -0.5 if self.width == 1 and direction[0] * other[0] < 0 else 0.0

    def connecting_path(
        self, start: Vector, stop: Vector, points: int
    ) -> Float[ndarray, "point parameter"]:
        """Return a path between two solutions that consists of solutions.

        With p, q = (v ± w)/√2 a solution is any q with a p of length √(2 + q·q): q goes straight,
        the direction of p along a great circle, in two arcs where that turns by more than a right
        angle.

        Parameters
        ----------
        start, stop : Vector
            Solutions, shape (2h,), v·w = 1 to 1e-8.
        points : int
            Number of points, >= 2.

        Returns
        -------
        numpy.ndarray
            Shape (point, 2h), the ends included.

        Raises
        ------
        ValueError
            If an end is no solution, or with one unit the ends have opposite signs.
        """
        (n0, q0), (n1, q1) = self._solution("start", start), self._solution("stop", stop)
        times = np.linspace(0.0, 1.0, as_integer("points", points, low=2))[:, None]
        if self.best_connectivity(start, stop) < 0:
            raise ValueError(
                f"start = {shown(start)}, stop = {shown(stop)}: every path between the two signs"
                " crosses v w = 0, of loss 1/2; take width >= 2"
            )
        legs = 2 * times
        if n0 @ n1 > 0:
            directions = (1 - times) * n0 + times * n1
        else:
            corner = _perpendicular(n0, n1)
            directions = np.where(
                legs < 1, (1 - legs) * n0 + legs * corner, (2 - legs) * corner + (legs - 1) * n1
            )
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        q = (1 - times) * q0 + times * q1
        p = np.sqrt(2 + (q**2).sum(axis=1, keepdims=True)) * directions
        path: Matrix = np.concatenate([p + q, p - q], axis=1) / math.sqrt(2)
        return path


def _perpendicular(direction: Vector, towards: Vector) -> Vector:
    """Return a unit vector at a right angle to a direction, on the way to another if it can be."""
    rest: Vector = towards - (towards @ direction) * direction
    if np.linalg.norm(rest) < 1e-6:
        axis = int(np.argmin(abs(direction)))
        rest = np.eye(len(direction))[axis] - direction[axis] * direction
    unit: Vector = rest / np.linalg.norm(rest)
    return unit


@dataclass(frozen=True)
class Bend:
    """A quadratic Bézier curve between mirrored solutions of one hidden unit.

    Parameters
    ----------
    control : float
        Both coordinates c of its control point.
    mean_loss : float
        Average over the curve's parameter.
    max_loss : float
        Greatest loss on it.
    """

    control: float
    mean_loss: float
    max_loss: float


def symmetric_bend(end: float, minimise: Literal["mean", "maximum"]) -> Bend:
    r"""Return the symmetric quadratic Bézier curve of least mean, or of least greatest, loss.

    **Equation.** From (x, 1/x) to (1/x, x) by the control point (c, c), with :math:`s = t(1-t)`
    and :math:`S = x + 1/x`: :math:`vw - 1 = \alpha s + \beta s^2`, :math:`\alpha = 2cS - 4`,
    :math:`\beta = (S - 2c)^2`. The mean loss is quartic in c; the greatest is least at
    :math:`\alpha = -(\sqrt2 - 1)\beta/2`.

    **Shapes and units.** Scalars without unit.

    Parameters
    ----------
    end : float
        x in [1e-60, 1e60], so that the losses are floats.
    minimise : {"mean", "maximum"}
        Which loss along the curve.

    Returns
    -------
    Bend
        Control point, mean and greatest loss. No quadratic curve stays on the hyperbola: what
        barrier is left is the curve's, not the landscape's.

    Raises
    ------
    ValueError
        If the end is out of range or the word unknown.

    References
    ----------
    Derived here: :func:`valley_connectivity`.

    Examples
    --------
    >>> bends = [symmetric_bend(2.0, what) for what in ("mean", "maximum")]
    >>> [(round(bend.control, 6), round(bend.max_loss, 10)) for bend in bends]
    [(0.758978, 5.94666e-05), (0.760261, 5.29182e-05)]
    """
    x = as_number("end", end, low=1e-60, high=LARGEST)
    total = x + 1 / x
    # in units of S: α/S² and β/S² as polynomials of c/S, with coefficients near 1 for any end
    short = 4 / (total * total)
    linear, square = Polynomial([-short, 2.0]), Polynomial([1.0, -2.0]) ** 2
    if one_of("minimise", minimise, ("mean", "maximum")) == "mean":
        mean = (linear**2 / 30 + linear * square / 70 + square**2 / 630) / 2
        turns = mean.deriv().roots()
        real = turns.real[abs(turns.imag) < 1e-9 * abs(turns)]
        c = float(min(real, key=mean))
    else:
        r = (math.sqrt(2) - 1) / 2
        # r(S - 2c)² + 2cS - 4 = 0, the root on the side of the hyperbola
        drop = 1 / 2 - 1 / (4 * r)
        c = drop + math.sqrt(drop * drop - (1 / 4 - short / (4 * r)))
    alpha, beta = float(linear(c)) * total * total, float(square(c)) * total * total
    turn = -alpha / (2 * beta) if beta else 0.0
    places = [0.25] + ([turn] if 0 < turn < 0.25 else [])
    greatest = max((alpha * s + beta * s * s) ** 2 / 2 for s in places)
    return Bend(c * total, (alpha**2 / 30 + alpha * beta / 70 + beta**2 / 630) / 2, greatest)
