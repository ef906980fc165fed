"""The start of a PL* certificate: spectrum of the Jacobian, bounds on balls, contradictions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory._linear_models import Linear, RandomFeatures
from theory.checks import as_matrix, as_vector, shown

__all__ = ["Ball", "Start", "contradiction"]

SLACK = 1e-9
"""Relative rounding allowed to a model's own bound of its Jacobian's norm."""

LARGEST = 1e153
"""Numbers of this size and their inverses have squares in the range of floating point."""


@dataclass(frozen=True)
class Ball:
    """What holds for every point within a radius of the start."""

    radius: float
    lipschitz: float
    smoothness: float
    sigma: float
    """Lower bound of the least singular value of the Jacobian, 0 where none is known."""


@dataclass(frozen=True)
class Start:
    """Error and Jacobian at the start."""

    model: Any
    parameters: NDArray[np.float64]
    targets: NDArray[np.float64]
    error: NDArray[np.float64]
    jacobian: NDArray[np.float64]
    left: NDArray[np.float64]
    """Left singular vectors, one a column."""
    spectrum: NDArray[np.float64]

    @classmethod
    def at(cls, model: Any, parameters: Any, targets: Any) -> Start:
        """Evaluate a model, with every shape checked."""
        if not callable(model) or not callable(getattr(model, "jacobian", None)):
            raise ValueError(f"model = {shown(model)}: must have __call__(w) and jacobian(w)")
        w, y = as_vector("parameters", parameters), as_vector("targets", targets)
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = as_vector("model(parameters)", model(w))
            J = as_matrix("model.jacobian(parameters)", model.jacobian(w))
        if len(y) != len(outputs):
            raise ValueError(
                f"targets has {len(y)} entries: must have {len(outputs)}, one an output"
            )
        if J.shape != (len(y), len(w)):
            raise ValueError(
                f"model.jacobian(parameters) has shape {J.shape}: must be {(len(y), len(w))}"
            )
        # the full right factor would be (p, p); the full left one is wanted where K is singular
        left, spectrum, _ = np.linalg.svd(J, full_matrices=len(y) > len(w))
        spectrum = np.concatenate([spectrum, np.zeros(len(y) - len(spectrum))])
        start = cls(model, w, y, outputs - y, J, left, spectrum)
        in_range("the norm of model(parameters) - targets", start.residual)
        in_range("the norm of model.jacobian(parameters)", float(spectrum[0]))
        in_range("the least singular value of model.jacobian(parameters)", start.sigma)
        return start

    @property
    def residual(self) -> float:
        """Norm of the error."""
        return math.hypot(*self.error)

    @property
    def unit(self) -> float:
        """Relative rounding of a singular value decomposition."""
        return float(max(self.jacobian.shape) * np.finfo(np.float64).eps)

    @property
    def blur(self) -> float:
        """Rounding of a singular value."""
        return self.unit * float(self.spectrum[0])

    @property
    def rounding(self) -> float:
        """Rounding of an eigenvalue of the tangent kernel."""
        return self.blur * float(self.spectrum[0])

    @property
    def sigma(self) -> float:
        """Least singular value; 0 within rounding is 0."""
        least = float(self.spectrum[-1])
        return least if least > self.blur else 0.0

    @property
    def ratio(self) -> float:
        """|grad L|^2 / (2L), infinite at a solution."""
        if self.residual == 0:
            return math.inf
        return float(np.sum((self.jacobian.T @ (self.error / self.residual)) ** 2))

    def ball(self, radius: float) -> Ball | None:
        """Return what the model's bounds say about a ball; None where they say nothing."""
        if not callable(getattr(self.model, "bounds", None)):
            return None
        told = self.model.bounds(self.parameters, radius)
        if told is None:
            return None
        pair = as_pair(told)
        # past the largest number the squares in the step overflow
        if not all(number <= LARGEST for number in pair):
            return None
        lipschitz, smoothness = pair
        largest = float(self.spectrum[0])
        if lipschitz < largest * (1 - SLACK):
            raise ValueError(
                f"model.bounds gives lipschitz = {lipschitz:.6g} at radius {radius:.6g}: must be at"
                f" least {largest:.6g}, the norm of the Jacobian at the centre"
            )
        moved = smoothness * radius
        return Ball(
            radius,
            max(largest, min(lipschitz, largest + moved)),
            smoothness,
            max(self.sigma - moved, 0.0),
        )


def in_range(name: str, value: float) -> None:
    """Refuse a number whose square overflows or vanishes."""
    if value != 0 and not 1 / LARGEST <= value <= LARGEST:
        raise ValueError(
            f"{name} is {value:.6g}: must be 0 or between {1 / LARGEST:g} and {LARGEST:g};"
            " rescale loss or parameters"
        )


def as_pair(told: Any) -> tuple[float, float]:
    """Return a model's bounds as two numbers >= 0, infinity allowed."""
    try:
        lipschitz, smoothness = (float(number) for number in told)
    except (TypeError, ValueError):
        lipschitz = smoothness = math.nan
    if not (lipschitz >= 0 and smoothness >= 0):
        raise ValueError(
            f"model.bounds gives {shown(told)}: must be two numbers >= 0, lipschitz and smoothness"
        )
    return lipschitz, smoothness


def contradiction(start: Start, mu: float | None) -> str | None:
    """Say how the start contradicts uniform conditioning (None: it does not); mu None: any mu."""
    least = start.sigma**2
    if mu is None:
        return _singular(start) if least == 0 else None
    if mu - least <= start.rounding:
        return None
    if least == 0:
        return f"mu = {mu:.6g} was asked for, but {_singular(start)}"
    ratio = start.ratio
    verdict = (
        f"PL* with this mu fails there for these targets too: |grad L|^2 / (2L) = {ratio:.6g}"
        if ratio < mu - start.rounding
        else f"PL* for these targets is not contradicted there: |grad L|^2 / (2L) = {ratio:.6g}"
    )
    return (
        f"lambda_min(K(w0)) = {least:.6g} < mu = {mu:.6g} refutes uniform conditioning on every"
        f" ball about w0; {verdict}"
    )


def _singular(start: Start) -> str:
    """Say why the tangent kernel is singular and what that means for these targets."""
    outputs, count = start.jacobian.shape
    return (
        f"{_cause(start, outputs, count)}, so uniform conditioning fails for every mu > 0;"
        f" {_consequence(start)}"
    )


def _cause(start: Start, outputs: int, count: int) -> str:
    if count < outputs:
        return f"fewer parameters than outputs ({count} < {outputs}): K is singular everywhere"
    twins = _twins(start)
    if twins is not None:
        pair = f"{twins[0]} and {twins[1]}"
        return f"outputs {pair} agree for all parameters: K is singular everywhere"
    rows = np.linalg.norm(start.jacobian, axis=1)
    dead = np.flatnonzero(rows == 0)
    if len(dead) == outputs:
        return "every output has zero gradient at w0"
    if len(dead):
        return f"output {dead[0]} has zero gradient at w0"
    least = float(start.spectrum[-1])
    return f"sigma_min(DF(w0)) = {least:.3g} is 0 within rounding ({start.blur:.3g})"


def _consequence(start: Start) -> str:
    """Say what is refuted for these very targets."""
    twins = _twins(start)
    if twins is not None:
        gap = _gap(start, twins)
        if gap > 0:
            return (
                f"their targets differ by {gap:.6g}, so L >= {gap**2 / 4:.6g} everywhere: there is"
                " no solution, and no PL* on any ball that would hold one"
            )
    if start.residual == 0:
        return "the start is a solution, where PL* for these targets holds trivially"
    if isinstance(start.model, Linear | RandomFeatures):
        unreached = _unreached(start)
        if unreached is not None:
            return unreached
    ratio = start.ratio
    if ratio <= start.blur**2:
        return (
            f"w0 is critical with L = {start.residual**2 / 2:.6g} > 0, so PL* fails there for these"
            " targets too"
        )
    return f"PL* for these targets is not contradicted at w0: |grad L|^2 / (2L) = {ratio:.6g}"


def _unreached(start: Start) -> str | None:
    """Say which loss a constant Jacobian leaves; None where that may be rounding."""
    outputs, count = start.jacobian.shape
    reach = math.sqrt(min(outputs, count)) * float(start.spectrum[0])
    noise = start.unit * (reach * math.hypot(*start.parameters) + math.hypot(*start.targets))
    least = start.unit * start.residual**2 + noise**2
    # a row of zeros, or columns too few: what these leave does not rest on rounded singular values
    dead = ~start.jacobian.any(axis=1)
    surely = max(
        math.hypot(*(start.left[:, count:].T @ start.error)), math.hypot(*start.error[dead])
    )
    if surely**2 / 2 > least:
        return (
            "the error has a part that the constant Jacobian cannot change, so"
            f" L >= {surely**2 / 2:.6g} everywhere: there is no solution, and no PL* on any ball"
            " that would hold one"
        )
    weak = start.left[:, start.spectrum <= start.blur]
    floor = math.hypot(*(weak.T @ start.error)) ** 2 / 2
    if floor > least:
        return (
            "within rounding the constant Jacobian cannot change a part of the error, which leaves"
            f" L >= {floor:.6g}; a solution, if there is one, is at least"
            f" {math.sqrt(2 * floor) / start.blur:.3g} away"
        )
    return None


def _twins(start: Start) -> tuple[int, int] | None:
    """Return the two outputs, equal for all parameters, whose targets differ most."""
    ask = getattr(start.model, "twins", None)
    pairs = ask() if callable(ask) else []
    return max(pairs, key=lambda pair: _gap(start, pair), default=None)


def _gap(start: Start, pair: tuple[int, int]) -> float:
    # of the targets: the outputs agree but for rounding
    return abs(float(start.targets[pair[0]] - start.targets[pair[1]]))
