"""Expected path sums and squared gradients from the moments of one sample's gradient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory.checks import as_integer, as_number, shown

__all__ = [
    "PathSums",
    "batched_fisher_mean",
    "path_bias_sgd",
    "path_sums_adam",
    "sos_second_moment",
]


class PathSums(NamedTuple):
    """Expected growth of path sums in a step, over the learning rate.

    Parameters
    ----------
    si : ndarray or float
        Synaptic intelligence: minus gradient times step, both of one batch.
    siu : ndarray or float
        The same with the gradient of an independent batch: without bias.
    sib : ndarray or float
        Their difference, the bias alone.
    """

    si: Float[ndarray, "*parameter"] | float
    siu: Float[ndarray, "*parameter"] | float
    sib: Float[ndarray, "*parameter"] | float


def path_bias_sgd(
    mean: Float[ndarray, "*parameter"] | float,
    variance: Float[ndarray, "*parameter"] | float,
    batch: int,
    population: int | None = None,
) -> PathSums:
    r"""Return the expected path sums of stochastic gradient descent, over the learning rate.

    **Equation.** SI :math:`\mu^2 + f s^2`, SIU :math:`\mu^2`, SIB :math:`f s^2` a step;
    :math:`f = 1/b`, or :math:`(N-b)/(b(N-1))` without replacement from N samples.

    **Shapes and units.** As the moments, gradients squared.

    Parameters
    ----------
    mean : ndarray or float
        Mean gradient mu over samples.
    variance : ndarray or float
        s^2, the mean squared deviation of one sample's gradient, >= 0.
    batch : int
        b >= 1.
    population : int or None
        N >= b; None for samples drawn with replacement.

    Returns
    -------
    PathSums
        Floats if both moments are numbers, else arrays.

    Raises
    ------
    ValueError
        If shapes differ, a variance is negative, or the batch is larger than the population.

    References
    ----------
    That the noise is a bias: Benzing (2022), arXiv:2006.06357; the expectation: derived here, see
    :func:`path_integral_bias`.

    Examples
    --------
    >>> path_bias_sgd(1.0, 8.0, 4)
    PathSums(si=3.0, siu=1.0, sib=2.0)
    >>> path_bias_sgd(1.0, 8.0, 4, population=4).sib
    0.0
    """
    mu, square = _moments(mean, variance)
    noise = square * _share(batch, population)
    return _plain(PathSums(mu**2 + noise, mu**2, noise))


def path_sums_adam(
    mean: Float[ndarray, "*parameter"] | float,
    variance: Float[ndarray, "*parameter"] | float,
    batch: int,
    beta1: float = 0.9,
) -> PathSums:
    r"""Return the expected path sums of Adam far from its start, over the learning rate.

    **Equation.** With :math:`v = \mu^2 + s^2/b`: SI
    :math:`(\mu^2 + (1-\beta_1) s^2/b)/\sqrt v`, SIU :math:`\mu^2/\sqrt v`, SIB
    :math:`(1-\beta_1)(s^2/b)/\sqrt v` a step.

    **Shapes and units.** As the moments, gradients. For moments that stay, independent batches, v
    at its mean (an error of the order :math:`1-\beta_2`) and no epsilon.

    Parameters
    ----------
    mean : ndarray or float
        Mean gradient mu over samples.
    variance : ndarray or float
        s^2, the mean squared deviation of one sample's gradient, >= 0.
    batch : int
        b >= 1.
    beta1 : float
        Decay of the first moment, in [0, 1).

    Returns
    -------
    PathSums
        0 where all gradients are 0. Floats if both moments are numbers, else arrays.

    Raises
    ------
    ValueError
        If shapes differ, a variance is negative, or beta1 is out of range.

    References
    ----------
    Derived here, see :func:`adam_path_integral`, after Benzing (2022), arXiv:2006.06357.

    Examples
    --------
    >>> sums = path_sums_adam(0.0, 4.0, 4)  # noise alone: all of it is bias
    >>> round(sums.si, 6), sums.siu, round(sums.sib, 6)
    (0.1, 0.0, 0.1)
    """
    mu, square = _moments(mean, variance)
    kept = 1 - as_number("beta1", beta1, low=0.0, high=1.0, open_high=True)
    spread = np.sqrt(square * _share(batch, None))
    root = np.hypot(mu, spread)  # squares of small gradients would underflow
    over = np.where(root > 0, root, 1.0)
    signal, noise = np.abs(mu) * (np.abs(mu) / over), kept * spread * (spread / over)
    return _plain(PathSums(signal + noise, signal, noise))


def sos_second_moment(
    mean: Float[ndarray, "*parameter"] | float,
    variance: Float[ndarray, "*parameter"] | float,
    batch: int,
    alpha: float,
    population: int | None = None,
) -> Float[ndarray, "*parameter"] | float:
    r"""Return the mean square of one batch's gradient less alpha times another's.

    **Equation.** :math:`E(\hat g - \alpha \hat g')^2 = (1-\alpha)^2 \mu^2 + (1+\alpha^2) f s^2`,
    :math:`f = 1/b`, or :math:`(N-b)/(b(N-1))` for two batches each drawn without replacement.

    **Shapes and units.** As the moments, gradients squared.

    Parameters
    ----------
    mean : ndarray or float
        Mean gradient mu over samples.
    variance : ndarray or float
        s^2, the mean squared deviation of one sample's gradient, >= 0.
    batch : int
        b >= 1, of either batch.
    alpha : float
        Weight of the second, independent batch: 0 for small batches, 1 for large ones.
    population : int or None
        N >= b; None for samples drawn with replacement.

    Returns
    -------
    ndarray or float
        A float if both moments are numbers.

    Raises
    ------
    ValueError
        If shapes differ, a variance is negative, or the batch is larger than the population.

    References
    ----------
    The estimator: Benzing (2022), arXiv:2006.06357; its mean: derived here, see
    :func:`squared_noise`.

    Examples
    --------
    >>> sos_second_moment(3.0, 8.0, 4, 0.0), sos_second_moment(3.0, 8.0, 4, 1.0)
    (11.0, 4.0)
    """
    mu, square = _moments(mean, variance)
    weight = as_number("alpha", alpha)
    noise = square * _share(batch, population)
    found = (1 - weight) ** 2 * mu**2 + (1 + weight**2) * noise
    return found if found.ndim else float(found)


def batched_fisher_mean(
    mean: Float[ndarray, "*parameter"] | float,
    variance: Float[ndarray, "*parameter"] | float,
    batch: int,
    population: int | None = None,
) -> Float[ndarray, "*parameter"] | float:
    r"""Return the expected square of a batch's mean gradient.

    **Equation.** :math:`\mu^2 + f s^2`, :math:`f = 1/b` or :math:`(N-b)/(b(N-1))`, where the
    empirical Fisher diagonal is :math:`\mu^2 + s^2`: a share of about 1/b of it where noise
    dominates.

    **Shapes and units.** As the moments, gradients squared.

    Parameters
    ----------
    mean : ndarray or float
        Mean gradient mu over samples.
    variance : ndarray or float
        s^2, the mean squared deviation of one sample's gradient, >= 0.
    batch : int
        b >= 1.
    population : int or None
        N >= b, samples in random order cut into batches of b; None for independent draws.

    Returns
    -------
    ndarray or float
        A float if both moments are numbers.

    Raises
    ------
    ValueError
        If shapes differ, a variance is negative, or the batch is larger than the population.

    References
    ----------
    Derived here, see :func:`batched_fisher`; that programs compute it: van de Ven (2025),
    arXiv:2502.11756.

    Examples
    --------
    >>> batched_fisher_mean(0.0, 8.0, 1), batched_fisher_mean(0.0, 8.0, 32)
    (8.0, 0.25)
    """
    return path_bias_sgd(mean, variance, batch, population).si


def _moments(mean: object, variance: object) -> tuple[ndarray, ndarray]:
    """Return mean and variance as arrays of one shape."""
    arrays = []
    for name, given in (("mean", mean), ("variance", variance)):
        array = np.asarray(given)
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise ValueError(f"{name} = {shown(given)}: must be finite real numbers")
        arrays.append(array.astype(np.float64))
    if arrays[0].shape != arrays[1].shape:
        raise ValueError(
            f"variance has shape {arrays[1].shape}: must be {arrays[0].shape}, that of mean"
        )
    if (arrays[1] < 0).any():
        raise ValueError(f"variance has the entry {arrays[1].min():g}: must be >= 0")
    return arrays[0], arrays[1]


def _share(batch: int, population: int | None) -> float:
    """Return the variance of a batch's mean over that of one sample."""
    if population is None:
        return 1 / as_integer("batch", batch, low=1)
    count = as_integer("population", population, low=1)
    size = as_integer("batch", batch, low=1, high=count)
    return (count - size) / (size * max(count - 1, 1))  # a population of one does not vary


def _plain(sums: PathSums) -> PathSums:
    """Return numbers in place of arrays without axes."""
    return sums if np.ndim(sums.si) else PathSums(*(float(each) for each in sums))
