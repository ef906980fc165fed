"""Networks whose Jacobian changes with the weights, and how fast it can on a ball."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory._activations import ACTIVATIONS
from theory._model_checks import ball_radius, sized, twin_rows
from theory.checks import as_integer, as_matrix, one_of, shown

__all__ = ["DeepLinear", "TwoLayer"]


class DeepLinear:
    r"""A product of weight matrices; the parameters are all of them.

    **Equation.** :math:`F(w) = \mathrm{rows}(X W_1^\top \cdots W_d^\top)`. With one sample 1 and
    widths (1, 1) it is :math:`f = w_1 w_2`. On the ball of radius R about w, with
    :math:`b_i = \|W_i\| + R` and :math:`c_{ij} = \prod_{k \ne i,j} b_k` off the diagonal, 0 on it:
    :math:`\|DF\|^2 \le \|X\|^2 \sum_i \prod_{k \ne i} b_k^2` and the smoothness is at most
    :math:`\|X\| \lambda_{\max}(c)`.

    **Shapes and units.** ``inputs`` (sample, feature); output ``sample * widths[-1] + unit``;
    the parameters are W_1 ... W_d, input side first, each flattened by rows.

    Parameters
    ----------
    inputs : array_like
        X, one sample a row.
    widths : sequence of int
        Number of units of layers 1 ... d, the last one's being the outputs of a sample.

    Raises
    ------
    ValueError
        If the inputs are no matrix or a width is not a whole number >= 1.

    References
    ----------
    The model: Saxe, McClelland & Ganguli (2013), arXiv:1312.6120. The bounds: derived here.

    Examples
    --------
    >>> product = DeepLinear([[1.0]], (1, 1))
    >>> w = np.array([1.5, 0.5])
    >>> product(w), product.jacobian(w)
    (array([0.75]), array([[0.5, 1.5]]))
    """

    def __init__(self, inputs: Any, widths: Sequence[int]) -> None:
        self.inputs = as_matrix("inputs", inputs)
        if isinstance(widths, str) or not hasattr(widths, "__len__") or len(widths) == 0:
            raise ValueError(
                f"widths = {shown(widths)}: must be a non-empty sequence of whole numbers >= 1"
            )
        self.widths = tuple(as_integer(f"widths[{i}]", n, low=1) for i, n in enumerate(widths))
        sizes = (self.inputs.shape[1], *self.widths)
        self._shapes = [(rows, columns) for columns, rows in pairwise(sizes)]

    @property
    def parameter_count(self) -> int:
        """Number of parameters."""
        return sum(rows * columns for rows, columns in self._shapes)

    def __call__(self, parameters: Float[ndarray, " parameter"]) -> Float[ndarray, " output"]:
        """Return the outputs, sample by sample."""
        out = self.inputs
        for weight in self._weights(parameters):
            out = out @ weight.T
        return out.reshape(-1)

    def jacobian(
        self, parameters: Float[ndarray, " parameter"]
    ) -> Float[ndarray, "output parameter"]:
        """Return the Jacobian; columns in the order of the parameters."""
        weights = list(self._weights(parameters))
        above = [np.eye(self.widths[-1])]
        for weight in reversed(weights[1:]):
            above.append(above[-1] @ weight)
        blocks, hidden = [], self.inputs
        for weight, after in zip(weights, reversed(above), strict=True):
            block = np.einsum("or,sc->sorc", after, hidden)
            blocks.append(block.reshape(len(hidden) * len(after), -1))
            hidden = hidden @ weight.T
        return np.hstack(blocks)

    def bounds(
        self, parameters: Float[ndarray, " parameter"], radius: float
    ) -> tuple[float, float]:
        """Return bounds of the norm and of the change of the Jacobian on a ball."""
        R = ball_radius(radius)
        largest = [float(np.linalg.norm(weight, 2)) + R for weight in self._weights(parameters)]
        depth, scale = len(largest), float(np.linalg.norm(self.inputs, 2))

        def without(*layers: int) -> float:
            return math.prod(b for k, b in enumerate(largest) if k not in layers)

        lipschitz = scale * math.hypot(*(without(i) for i in range(depth)))
        cross = np.array([
            [0.0 if i == j else without(i, j) for j in range(depth)] for i in range(depth)
        ])
        if not np.isfinite(cross).all():
            return math.inf, math.inf
        return lipschitz, scale * float(np.linalg.eigvalsh(cross)[-1])

    def twins(self) -> list[tuple[int, int]]:
        """Return the pairs of outputs that agree for all parameters."""
        return twin_rows(self.inputs, self.widths[-1])

    def _weights(self, parameters: Any) -> Iterator[Float[ndarray, "row column"]]:
        flat, start = sized(parameters, self.parameter_count), 0
        for rows, columns in self._shapes:
            yield flat[start : start + rows * columns].reshape(rows, columns)
            start += rows * columns


class TwoLayer:
    r"""A two-layer network with 1/sqrt(width) output scaling.

    **Equation.** :math:`F_i = m^{-1/2} \sum_j v_j\, a(w_j \cdot x_i)`. With
    :math:`s_1 = \sup|a'|`, :math:`s_2 = \sup|a''|`, :math:`x = \max_i |x_i|` and fixed v,
    :math:`\|DF\| \le s_1 \|X\| |v| / \sqrt m` and the smoothness is at most
    :math:`s_2 \|X\| x \max|v| / \sqrt m =: A`. If v is trained too, A is taken with
    :math:`\max|v| + R`, :math:`B = s_1 \|X\| / \sqrt m`, and the smoothness is at most
    :math:`(A + \sqrt{A^2 + 4B^2})/2`.

    **Shapes and units.** ``inputs`` (sample, feature); parameters: the w_j one by one, then
    v if it is trained.

    Parameters
    ----------
    inputs : array_like
        One sample x_i a row.
    width : int
        Number m of hidden units.
    activation : str
        a: "tanh", "erf", "sin" or "relu"; "relu" has no second derivative, hence no bounds.
    train : str
        "inner": the w_j; "both": v as well.
    outer : array_like or None
        The fixed v when ``train="inner"``; None for +1, -1, +1, ...

    Raises
    ------
    ValueError
        If a name is unknown, sizes do not fit, or ``outer`` is given although v is trained.

    References
    ----------
    Scaling and smoothness with fixed v: Liu, Zhu & Belkin (2022), theorem 11, arXiv:2003.00307.
    The bounds for several outputs and trained v: derived here.

    Examples
    --------
    >>> model = TwoLayer([[1.0, 0.0]], 4, outer=[1, 1, 1, 1])
    >>> model.parameter_count, round(model.bounds(np.zeros(8), 1.0)[1], 6)
    (8, 0.3849)
    """

    def __init__(
        self,
        inputs: Any,
        width: int,
        activation: str = "tanh",
        train: str = "inner",
        outer: Any = None,
    ) -> None:
        self.inputs = as_matrix("inputs", inputs)
        self.width = as_integer("width", width, low=1)
        self.activation = one_of("activation", activation, tuple(ACTIVATIONS))
        self.train = one_of("train", train, ("inner", "both"))
        if train == "both" and outer is not None:
            raise ValueError(
                f"outer = {shown(outer)}: with train='both' the outer weights are the last"
                f" {self.width} parameters; leave outer out"
            )
        signs = np.where(np.arange(self.width) % 2 == 0, 1.0, -1.0)
        self.outer = signs if outer is None else sized(outer, self.width, "outer")
        self._act = ACTIVATIONS[activation]

    @property
    def parameter_count(self) -> int:
        """Number of parameters."""
        return self.width * (int(self.inputs.shape[1]) + (self.train == "both"))

    def __call__(self, parameters: Float[ndarray, " parameter"]) -> Float[ndarray, " output"]:
        """Return the outputs, one a sample."""
        inner, outer = self._split(parameters)
        return np.asarray(self._act.value(self.inputs @ inner.T) @ outer / math.sqrt(self.width))

    def jacobian(
        self, parameters: Float[ndarray, " parameter"]
    ) -> Float[ndarray, "output parameter"]:
        """Return the Jacobian; columns in the order of the parameters."""
        inner, outer = self._split(parameters)
        fields = self.inputs @ inner.T
        gains = self._act.slope(fields) * outer
        blocks = [np.einsum("sj,sf->sjf", gains, self.inputs).reshape(len(fields), -1)]
        if self.train == "both":
            blocks.append(self._act.value(fields))
        return np.hstack(blocks) / math.sqrt(self.width)

    def bounds(
        self, parameters: Float[ndarray, " parameter"], radius: float
    ) -> tuple[float, float] | None:
        """Return bounds of the norm and of the change of the Jacobian on a ball; None for relu."""
        inner, outer = self._split(parameters)
        R = ball_radius(radius)
        if math.isinf(self._act.bend):
            return None
        root, scale = math.sqrt(self.width), float(np.linalg.norm(self.inputs, 2))
        slope = self._act.steepest * scale / root
        bend = self._act.bend * scale * float(np.linalg.norm(self.inputs, axis=1).max()) / root
        norm, largest = float(np.linalg.norm(outer)), float(np.abs(outer).max())
        if self.train == "inner":
            return slope * norm, bend * largest
        hidden = float(np.linalg.norm(self._act.value(self.inputs @ inner.T), 2)) / root
        lipschitz = math.hypot(slope * (norm + R), hidden + slope * R)
        turn = bend * (largest + R)
        return lipschitz, (turn + math.hypot(turn, 2 * slope)) / 2

    def twins(self) -> list[tuple[int, int]]:
        """Return the pairs of outputs that agree for all parameters."""
        return twin_rows(self.inputs, 1)

    def _split(
        self, parameters: Any
    ) -> tuple[Float[ndarray, "unit feature"], Float[ndarray, " unit"]]:
        flat = sized(parameters, self.parameter_count)
        inner = flat[: self.width * self.inputs.shape[1]].reshape(self.width, -1)
        return inner, flat[inner.size :] if self.train == "both" else self.outer
