"""Models linear in their parameters: the tangent kernel is constant."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory._activations import ACTIVATIONS
from theory._model_checks import ball_radius, sized, twin_rows, with_columns
from theory.checks import as_integer, as_matrix, one_of

__all__ = ["Linear", "RandomFeatures"]


class _Fixed:
    """Outputs linear in the parameters: the Jacobian is a constant matrix."""

    _matrix: Float[ndarray, "output parameter"]

    @property
    def parameter_count(self) -> int:
        """Number of parameters."""
        return int(self._matrix.shape[1])

    def __call__(self, parameters: Float[ndarray, " parameter"]) -> Float[ndarray, " output"]:
        """Return the outputs, shape (output,)."""
        return np.asarray(self._matrix @ sized(parameters, self.parameter_count))

    def jacobian(
        self, parameters: Float[ndarray, " parameter"]
    ) -> Float[ndarray, "output parameter"]:
        """Return the Jacobian, the same for all parameters."""
        sized(parameters, self.parameter_count)
        return self._matrix.copy()

    def bounds(
        self, parameters: Float[ndarray, " parameter"], radius: float
    ) -> tuple[float, float]:
        """Return the norm of the Jacobian, and 0: it does not change."""
        sized(parameters, self.parameter_count)
        ball_radius(radius)
        return float(np.linalg.norm(self._matrix, 2)), 0.0

    def twins(self) -> list[tuple[int, int]]:
        """Return the pairs of outputs that agree for all parameters."""
        return twin_rows(self._matrix, 1)


class Linear(_Fixed):
    r"""A model linear in parameters and given by its matrix.

    **Equation.** :math:`F(w) = A w`.

    **Shapes and units.** ``matrix`` (n, p): n outputs, p parameters.

    Parameters
    ----------
    matrix : array_like
        A.

    Raises
    ------
    ValueError
        If it is not a finite matrix.

    References
    ----------
    Liu, Zhu & Belkin (2022), section 4, arXiv:2003.00307.

    Examples
    --------
    >>> Linear([[1.0, 2.0], [0.0, 1.0]])(np.array([1.0, 1.0]))
    array([3., 1.])
    """

    def __init__(self, matrix: Any) -> None:
        self._matrix = as_matrix("matrix", matrix)


class RandomFeatures(_Fixed):
    r"""A two-layer network whose first layer stays as it was drawn.

    **Equation.** :math:`F_i(w) = m^{-1/2} \sum_j w_j\, a(d_j \cdot x_i + b_j)`; the tangent kernel
    is constant.

    **Shapes and units.** ``inputs`` (sample, feature), ``directions`` (m, feature), parameters
    (m,).

    Parameters
    ----------
    inputs : array_like
        One sample x_i a row.
    directions : array_like
        The frozen first-layer weights d_j, one unit a row.
    activation : str
        a: "tanh", "erf", "sin" or "relu".
    offsets : array_like or None
        b_j, shape (m,); None for zeros. With "sin" and uniform phases: random Fourier features.

    Raises
    ------
    ValueError
        If widths do not fit or the activation is unknown.

    References
    ----------
    Rahimi & Recht (2007), Random features for large-scale kernel machines, NeurIPS 20.

    Examples
    --------
    >>> model = RandomFeatures([[1.0], [2.0]], [[1.0], [-1.0], [0.5], [2.0]], activation="relu")
    >>> model(np.ones(4))
    array([1.75, 3.5 ])
    """

    def __init__(
        self, inputs: Any, directions: Any, activation: str = "tanh", offsets: Any = None
    ) -> None:
        self.inputs = as_matrix("inputs", inputs)
        self.directions = with_columns("directions", directions, self.inputs)
        act = ACTIVATIONS[one_of("activation", activation, tuple(ACTIVATIONS))]
        width = len(self.directions)
        shift = np.zeros(width) if offsets is None else sized(offsets, width, "offsets")
        self._matrix = act.value(self.inputs @ self.directions.T + shift) / math.sqrt(width)

    @classmethod
    def drawn(
        cls, inputs: Any, width: int, generator: np.random.Generator, activation: str = "tanh"
    ) -> RandomFeatures:
        """Draw directions, standard normal in every entry, and no offsets.

        Parameters
        ----------
        inputs : array_like
            One sample a row.
        width : int
            Number m of features.
        generator : numpy.random.Generator
            The stream to draw from.
        activation : str
            As in the constructor.

        Returns
        -------
        RandomFeatures
            The model.
        """
        samples = as_matrix("inputs", inputs)
        m = as_integer("width", width, low=1)
        return cls(samples, generator.standard_normal((m, samples.shape[1])), activation)
