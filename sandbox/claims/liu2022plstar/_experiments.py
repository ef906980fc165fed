"""Systems of equations and descents on them, by formulas of their own.

What is measured is computed here, what is predicted by the theory room; neither calls the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy import ndarray

__all__ = [
    "Chain",
    "Composed",
    "Descent",
    "LinearSystem",
    "ReluNetwork",
    "System",
    "TanhNetwork",
    "descend",
    "flow",
    "kernel_minimum",
    "slope",
    "unit_circle",
]


class System(Protocol):
    """Outputs of as many equations as there are targets, and their Jacobian."""

    def output(self, w: ndarray) -> ndarray:
        """Return F(w), shape (equation,)."""

    def jacobian(self, w: ndarray) -> ndarray:
        """Return DF(w), shape (equation, parameter)."""


@dataclass(frozen=True, eq=False)
class LinearSystem:
    """F(w) = A w."""

    matrix: ndarray

    def output(self, w: ndarray) -> ndarray:
        """Return A w."""
        return np.asarray(self.matrix @ w)

    def jacobian(self, _: ndarray) -> ndarray:
        """Return A."""
        return self.matrix


@dataclass(frozen=True)
class Chain:
    """One equation in the product of all weights."""

    def output(self, w: ndarray) -> ndarray:
        """Return the product."""
        return np.asarray(np.prod(w, keepdims=True))

    def jacobian(self, w: ndarray) -> ndarray:
        """Return the products of all weights but one."""
        before = np.append(1.0, np.multiply.accumulate(w[:-1]))
        after = np.append(np.multiply.accumulate(w[:0:-1])[::-1], 1.0)
        return np.asarray((before * after)[None])


@dataclass(frozen=True, eq=False)
class Composed:
    """A scalar map applied to every output of a system."""

    inner: System
    outer: Callable[[ndarray], ndarray]
    slope: Callable[[ndarray], ndarray]

    def output(self, w: ndarray) -> ndarray:
        """Return the mapped outputs."""
        outputs: ndarray = self.outer(self.inner.output(w))
        return outputs

    def jacobian(self, w: ndarray) -> ndarray:
        """Return the Jacobian by the chain rule."""
        return np.asarray(self.slope(self.inner.output(w))[:, None] * self.inner.jacobian(w))


@dataclass(frozen=True, eq=False)
class TanhNetwork:
    """f_i = m^(-1/2) sum_j v_j tanh(w_j . x_i) with fixed signs v; w has shape (unit * input,)."""

    inputs: ndarray
    signs: ndarray

    def _hidden(self, w: ndarray) -> ndarray:
        """Return tanh of what every unit receives, shape (equation, unit)."""
        return np.asarray(np.tanh(self.inputs @ w.reshape(len(self.signs), -1).T))

    def output(self, w: ndarray) -> ndarray:
        """Return the outputs of the network."""
        return np.asarray(self._hidden(w) @ self.signs / np.sqrt(len(self.signs)))

    def jacobian(self, w: ndarray) -> ndarray:
        """Return the Jacobian by the first layer's weights."""
        gain = (1 - self._hidden(w) ** 2) * self.signs / np.sqrt(len(self.signs))
        return np.asarray(
            (gain[:, :, None] * self.inputs[:, None, :]).reshape(len(self.inputs), -1)
        )

    def softest(self, w: ndarray) -> tuple[float, ndarray]:
        """Return the least eigenvalue of the tangent kernel and its gradient."""
        hidden = self._hidden(w)
        gain = 1 - hidden**2
        kernel = (gain @ gain.T) * (self.inputs @ self.inputs.T) / len(self.signs)
        values, vectors = np.linalg.eigh(kernel)
        soft = vectors[:, 0]
        pull = (gain.T * soft) @ self.inputs  # (unit, input)
        bend = -2 * hidden * gain * soft[:, None]  # (equation, unit)
        along = bend * (self.inputs @ pull.T)
        gradient = 2 * along.T @ self.inputs / len(self.signs)
        return float(values[0]), gradient.ravel()

    def worst_in_ball(self, start: ndarray, radius: float, sweeps: int = 12) -> ndarray:
        """Return the point of a ball with the least eigenvalue found: straight downhill, again."""
        value, gradient = self.softest(start)
        best, point = (value, start), start
        for _ in range(sweeps):
            point = start - radius * gradient / np.linalg.norm(gradient)
            value, gradient = self.softest(point)
            if value < best[0]:
                best = value, point
        return best[1]


@dataclass(frozen=True, eq=False)
class ReluNetwork:
    """f_i = m^(-1/2) sum_j v_j max(w_j . x_i, 0) with fixed signs v."""

    inputs: ndarray
    signs: ndarray

    def output(self, w: ndarray) -> ndarray:
        """Return the outputs of the network."""
        fields = self.inputs @ w.reshape(len(self.signs), -1).T
        return np.asarray(np.maximum(fields, 0) @ self.signs / np.sqrt(len(self.signs)))

    def jacobian(self, w: ndarray) -> ndarray:
        """Return the Jacobian, with slope 0 where the slope jumps."""
        fields = self.inputs @ w.reshape(len(self.signs), -1).T
        gain = (fields > 0) * self.signs / np.sqrt(len(self.signs))
        return np.asarray(
            (gain[:, :, None] * self.inputs[:, None, :]).reshape(len(self.inputs), -1)
        )


class Descent(NamedTuple):
    """What a descent left: losses, length of path, distance from the start, least eigenvalues."""

    losses: ndarray
    path: float
    distance: float
    eigenvalues: ndarray
    end: ndarray


def unit_circle(angles: Sequence[float]) -> ndarray:
    """Return inputs on the unit circle, shape (input, 2)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def kernel_minimum(system: System, w: ndarray) -> float:
    """Return the least eigenvalue of DF DF^T, as the square of a singular value."""
    jacobian = system.jacobian(w)
    if jacobian.shape[0] > jacobian.shape[1]:
        return 0.0
    return float(np.linalg.svd(jacobian, compute_uv=False)[-1] ** 2)


def descend(
    system: System, start: ndarray, targets: ndarray, step: float, steps: int,
    *, below: float = 0.0, watch: bool = False,
) -> Descent:  # fmt: skip
    """Descend half the squared error by equal steps, until the loss is below a number."""
    w, path = np.array(start, dtype=float), 0.0
    losses, eigenvalues = [], []
    for count in range(steps + 1):
        error = system.output(w) - targets
        losses.append(float(error @ error) / 2)
        if watch:
            eigenvalues.append(kernel_minimum(system, w))
        if count == steps or losses[-1] < below or losses[-1] > 1e6 * losses[0]:
            break
        move = step * (error @ system.jacobian(w))
        path += float(np.linalg.norm(move))
        w -= move
    distance = float(np.linalg.norm(w - start))
    return Descent(np.array(losses), path, distance, np.array(eigenvalues), w)


def flow(
    system: System, start: ndarray, targets: ndarray, times: ndarray, *, stiff: bool = False
) -> ndarray:
    """Return weights along the gradient flow and the length of path, shape (time, weight + 1)."""
    from scipy.integrate import solve_ivp

    def velocity(_: float, state: ndarray) -> ndarray:
        w = state[:-1]
        pull = (targets - system.output(w)) @ system.jacobian(w)
        return np.append(pull, np.sqrt(pull @ pull))

    solution = solve_ivp(
        velocity, (0.0, float(times[-1])), np.append(start, 0.0), t_eval=times,
        method="LSODA" if stiff else "DOP853", rtol=1e-9 if stiff else 1e-11, atol=1e-13,
    )  # fmt: skip
    if not solution.success:
        raise ArithmeticError(f"the flow was lost: {solution.message}")
    return np.asarray(solution.y.T)


def slope(x: ndarray, y: ndarray, error: ndarray) -> tuple[float, float]:
    """Return the slope of a least-squares line and its standard error, from errors of y."""
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    return float(weights @ y), float(np.sqrt(((weights * error) ** 2).sum()))
