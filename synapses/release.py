"""How much transmitter a presynaptic spike releases: independent sites, variable quanta."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from theory.checks import as_integer, as_number, shown

__all__ = ["ReleaseModel"]


@dataclass(frozen=True, slots=True)
class ReleaseModel:
    r"""Binomial (quantal) release from N independent sites.

    **Equation.** A spike releases :math:`K \sim \mathrm{Bin}(N, p)` quanta; the amplitude
    is :math:`A = \sum_{k=1}^K Q_k` with independent quanta of mean q and coefficient of
    variation c, drawn from the gamma law (of fixed size where c = 0). Then

    .. math::

        \langle A \rangle &= Npq, \qquad
        \mathrm{Var}\,A = q^2 \bigl[Np(1-p) + Npc^2\bigr], \qquad
        \Pr[A = 0] = (1-p)^N, \\
        \langle (A - \langle A \rangle)^3 \rangle &=
        N q^3 \bigl[p (1+c^2)(1+2c^2) - 3p^2(1+c^2) + 2p^3\bigr].

    One site of size 1 is Bernoulli release.

    **Shapes and units.** Scalars; ``quantal_size`` in any unit of amplitude, the moments
    in its powers.

    Parameters
    ----------
    sites : int
        N, >= 1.
    release_probability : float
        p, in [0, 1].
    quantal_size : float
        q, > 0.
    quantal_cv : float
        c, >= 0.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    del Castillo & Katz (1954), doi:10.1113/jphysiol.1954.sp005129, for the binomial law;
    the third moment with variable quanta: derived here.

    Examples
    --------
    >>> model = ReleaseModel(sites=5, release_probability=0.3, quantal_size=0.5)
    >>> model.mean(), round(model.variance(), 12), round(model.failure_probability(), 12)
    (0.75, 0.2625, 0.16807)
    """

    sites: int = 1
    release_probability: float = 0.25
    quantal_size: float = 1.0
    quantal_cv: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (
            ("sites", as_integer("sites", self.sites, low=1)),
            (
                "release_probability",
                as_number("release_probability", self.release_probability, low=0.0, high=1.0),
            ),
            (
                "quantal_size",
                as_number("quantal_size", self.quantal_size, low=0.0, open_low=True),
            ),
            ("quantal_cv", as_number("quantal_cv", self.quantal_cv, low=0.0)),
        ):
            object.__setattr__(self, name, value)

    def mean(self) -> float:
        """Return the mean amplitude Npq."""
        return self.sites * self.release_probability * self.quantal_size

    def variance(self) -> float:
        """Return the variance of the amplitude, that of the quanta included."""
        p, spread = self.release_probability, self.quantal_cv**2
        return self.quantal_size**2 * self.sites * p * (1 - p + spread)

    def third_moment(self) -> float:
        """Return the third central moment of the amplitude."""
        p, spread = self.release_probability, self.quantal_cv**2
        site = p * (1 + spread) * (1 + 2 * spread) - 3 * p**2 * (1 + spread) + 2 * p**3
        return self.quantal_size**3 * self.sites * site

    def failure_probability(self) -> float:
        """Return the probability that a spike releases nothing."""
        return float((1 - self.release_probability) ** self.sites)

    def sample(self, generator: Generator, size: int | tuple[int, ...] = ()) -> ndarray:
        """Draw amplitudes.

        Parameters
        ----------
        generator : numpy.random.Generator
            Source of randomness, e.g. ``Streams(0).generator("release")``.
        size : int or tuple of int
            Shape of the result.

        Returns
        -------
        ndarray of float64
            Independent amplitudes, in units of ``quantal_size``'s unit.

        Raises
        ------
        ValueError
            If ``generator`` is none.

        Examples
        --------
        >>> from theory.streams import Streams
        >>> draws = ReleaseModel(sites=3).sample(Streams(0).generator("release"), 1000)
        >>> bool(np.isin(draws, [0, 1, 2, 3]).all())
        True
        """
        if not isinstance(generator, Generator):
            raise ValueError(f"generator = {shown(generator)}: must be a numpy.random.Generator")
        counts = np.asarray(generator.binomial(self.sites, self.release_probability, size))
        spread = self.quantal_cv**2
        if not spread:
            return np.asarray(counts * self.quantal_size)
        # a sum of K gamma quanta is gamma with K times the shape
        return np.asarray(generator.gamma(counts / spread, self.quantal_size * spread))
