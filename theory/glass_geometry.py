r"""Glass in several parameters: boundaries of a piecewise smooth loss and what crossing them does.

A loss is continuous, so at a boundary its gradient jumps along the boundary's normal. The model
is :math:`L = \text{smooth} + \sum_k a_k \max(0, n_k \cdot \theta - c)` with the offsets c of each
family k a Poisson process of rate :math:`\lambda_k`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory._types import Matrix, Vector
from theory.checks import as_matrix, as_vector
from theory.glass import HALF_NORMAL

__all__ = ["Boundaries", "GlassLosses"]

MOST_SIGNS = 20
"""Most parameters whose 2^(n-1) sign vectors are averaged over exactly."""


@dataclass(frozen=True)
class GlassLosses:
    r"""Expected size of the glass part of a loss change, by three readings of one landscape.

    Parameters
    ----------
    boundaries : float
        :math:`c\,(\sum_k \lambda_k a_k^2 |n_k \cdot d|^3)^{1/2}`: the boundaries as they lie.
    independent : float
        :math:`c\,(\sum_i \rho_i |d_i|^3)^{1/2}`: every parameter with glass of its own.
    separable : float
        :math:`c \sum_i \rho_i^{1/2} |d_i|^{3/2}`: every parameter's mean added, between 1 and
        sqrt(n) times ``independent``.
    """

    boundaries: float
    independent: float
    separable: float


@dataclass(frozen=True, eq=False)
class Boundaries:
    r"""Families of parallel boundaries at random offsets.

    **Equation.** :math:`H_\mathrm{eff} = \sum_k \lambda_k a_k n_k n_k^\top` is the mean change of
    the gradient with the move: curvature that no pointwise Hessian sees.
    :math:`\rho(u) = \sum_k \lambda_k a_k^2 |n_k \cdot u|^3` is the glass density along u.

    **Shapes and units.** normals (family, parameter), rates in boundaries per unit of
    :math:`n_k \cdot \theta`, slopes in loss per unit of it.

    Parameters
    ----------
    normals : Matrix
        n_k, of any length, none of them 0.
    slopes : Vector
        a_k, of either sign.
    rates : Vector
        lambda_k >= 0.

    Raises
    ------
    ValueError
        If lengths disagree, a number is not finite, a rate is negative, or a normal is 0.

    References
    ----------
    Derived here. That rectified linear units make such boundaries, and that the density is a
    matrix: Duersch et al. (2024), arXiv:2411.16914.

    Examples
    --------
    >>> walls = Boundaries(np.array([[0.6, 0.8]]), np.array([1.0]), np.array([10.0]))
    >>> walls.effective_hessian().round(12).tolist()
    [[3.6, 4.8], [4.8, 6.4]]
    """

    normals: Matrix
    slopes: Vector
    rates: Vector

    def __post_init__(self) -> None:
        normals = as_matrix("normals", self.normals)
        slopes, rates = as_vector("slopes", self.slopes), as_vector("rates", self.rates)
        if not len(normals) == len(slopes) == len(rates):
            raise ValueError(
                f"normals, slopes and rates have {len(normals)}, {len(slopes)} and {len(rates)}"
                " families: must be equally many"
            )
        if (rates < 0).any():
            k = int(np.flatnonzero(rates < 0)[0])
            raise ValueError(f"rates[{k}] = {rates[k]:g}: must be >= 0")
        flat = ~normals.any(axis=1)
        if flat.any():
            k = int(np.flatnonzero(flat)[0])
            raise ValueError(f"normals[{k}] = 0: a boundary needs a normal; leave the family out")
        with np.errstate(over="ignore", invalid="ignore"):
            # what the methods add up: at most the number of families times this
            largest = np.abs(normals).max() ** 3 * np.abs(slopes).max() * rates.max()
            largest *= max(1.0, np.abs(slopes).max()) * max(1.0, 1 / np.abs(normals).max())
        if not largest < 1e150:
            raise ValueError(
                f"normals, slopes and rates reach {np.abs(normals).max():g},"
                f" {np.abs(slopes).max():g} and {rates.max():g}: their products overflow; rescale"
                " loss or parameters"
            )
        for name, value in (("normals", normals), ("slopes", slopes), ("rates", rates)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    @property
    def _weights(self) -> Vector:
        """Growth of the squared jump, family by family, per unit of n_k theta."""
        weights: Vector = self.rates * self.slopes**2
        return weights

    def effective_hessian(self) -> Float[ndarray, "parameter parameter"]:
        r"""Return the curvature that the boundaries' mean jump makes.

        **Equation.** :math:`\sum_k \lambda_k a_k n_k n_k^\top`.

        **Shapes and units.** (parameter, parameter); curvature.

        Returns
        -------
        Float[ndarray, "parameter parameter"]
            Symmetric; of any signature.

        References
        ----------
        Derived here.
        """
        bent: Matrix = (self.normals.T * (self.rates * self.slopes)) @ self.normals
        return bent

    def density(self, direction: Vector) -> float:
        r"""Return the glass density along a direction.

        **Equation.** :math:`\sum_k \lambda_k a_k^2 |n_k \cdot u|^3`: the variance that the gradient
        along u gains per unit length.

        **Shapes and units.** direction (parameter,), of length 1.

        Parameters
        ----------
        direction : Vector
            u.

        Returns
        -------
        float
            rho(u).

        Raises
        ------
        ValueError
            If the direction has another number of parameters or another length.

        References
        ----------
        Derived here.

        Examples
        --------
        >>> walls = Boundaries(np.array([[0.6, 0.8]]), np.array([1.0]), np.array([10.0]))
        >>> round(walls.density(np.array([0.0, 1.0])), 12)
        5.12
        """
        u = self._move("direction", direction)
        length = float(np.linalg.norm(u))
        if abs(length - 1) > 1e-9:
            raise ValueError(
                f"direction has length {length:g}: must be a unit vector, the density is no"
                " property of a length; divide by it"
            )
        return float(self._weights @ np.abs(self.normals @ u) ** 3)

    def matrix(self) -> Float[ndarray, "parameter moved"]:
        r"""Return the glass matrix: how one parameter's gradient varies as another moves.

        **Equation.** :math:`R_{ij} = \sum_k \lambda_k a_k^2 n_{ki}^2 |n_{kj}|`. Its diagonal is the
        own-coordinate density; it is *not* symmetric, and its row sums are an upper bound of
        :meth:`rademacher`.

        **Shapes and units.** (parameter, moved parameter); density.

        Returns
        -------
        Float[ndarray, "parameter moved"]
            The matrix.

        References
        ----------
        Derived here.
        """
        glass: Matrix = (self.normals.T**2 * self._weights) @ np.abs(self.normals)
        return glass

    def own(self) -> Float[ndarray, " parameter"]:
        r"""Return every parameter's glass density as it moves alone.

        **Equation.** :math:`\sum_k \lambda_k a_k^2 |n_{ki}|^3`, the diagonal of :meth:`matrix`.

        **Shapes and units.** (parameter,); density.

        Returns
        -------
        Float[ndarray, " parameter"]
            The densities.

        References
        ----------
        Derived here.
        """
        alone: Vector = self._weights @ np.abs(self.normals) ** 3
        return alone

    def rademacher(self) -> Float[ndarray, " parameter"]:
        r"""Return what three gradients measure as all parameters move by random signs.

        **Equation.** :math:`\sum_k \lambda_k a_k^2 n_{ki}^2\, \langle |n_k \cdot z| \rangle_z`, the
        mean over all sign vectors z; between :meth:`own` and the row sums of :meth:`matrix`.

        **Shapes and units.** (parameter,); density per unit of sigma.

        Returns
        -------
        Float[ndarray, " parameter"]
            The densities.

        Raises
        ------
        ValueError
            If there are more than 20 parameters.

        References
        ----------
        Derived here.
        """
        count = self.normals.shape[1]
        if count > MOST_SIGNS:
            raise ValueError(
                f"normals has {count} parameters: the mean over all signs takes at most"
                f" {MOST_SIGNS}; average density over drawn sign vectors instead"
            )
        # z and -z agree: the first sign stays +
        tail = min(count - 1, 10)
        last = np.array(list(itertools.product((1.0, -1.0), repeat=tail))).reshape(2**tail, tail)
        ends = self.normals[:, count - tail :] @ last.T
        total, heads = np.zeros(len(self.normals)), 0
        for signs in itertools.product((1.0, -1.0), repeat=count - tail - 1):
            start = self.normals[:, : count - tail] @ np.array((1.0, *signs))
            total += np.abs(ends + start[:, None]).mean(axis=1)
            heads += 1
        drawn: Vector = (self._weights * total / heads) @ self.normals**2
        return drawn

    def losses(self, step: Vector) -> GlassLosses:
        r"""Return the expected glass part of a step's loss change, by three readings.

        **Equation.** See :class:`GlassLosses`. With :math:`\rho_i` from :meth:`own`,
        ``independent`` <= ``separable`` always. Boundaries across which several parameters move
        together can exceed both, by up to n and sqrt(n).

        **Shapes and units.** step (parameter,); loss.

        Parameters
        ----------
        step : Vector
            d.

        Returns
        -------
        GlassLosses
            The three.

        Raises
        ------
        ValueError
            If the step has another number of parameters, or is so long that its cube overflows.

        References
        ----------
        Derived here.

        Examples
        --------
        >>> wall = Boundaries(np.array([[1.0, 1.0]]), np.array([1.0]), np.array([1.0]))
        >>> parts = wall.losses(np.array([1.0, 1.0]))
        >>> round(parts.boundaries / parts.separable, 12)
        1.414213562373
        """
        d = self._move("step", step)
        if np.abs(d).max() > 1e50:
            raise ValueError(f"step reaches {np.abs(d).max():g}: the cubes overflow; rescale it")
        along = float(self._weights @ np.abs(self.normals @ d) ** 3)
        each = self.own() * np.abs(d) ** 3
        return GlassLosses(
            HALF_NORMAL * along**0.5,
            HALF_NORMAL * float(each.sum()) ** 0.5,
            HALF_NORMAL * float(np.sqrt(each).sum()),
        )

    def _move(self, name: str, value: Vector) -> Vector:
        """Return a checked vector of all parameters."""
        vector = as_vector(name, value)
        if len(vector) != self.normals.shape[1]:
            raise ValueError(
                f"{name} has {len(vector)} entries: must be {self.normals.shape[1]}, one for each"
                " parameter"
            )
        return vector
