"""Double descent, exactly: the risk of least squares against the number of parameters."""

from __future__ import annotations

import math

from theory._load_derivations import temperature_double_descent
from theory.checks import as_integer, as_number

__all__ = ["excess_risk", "inverse_trace", "temperature_double_descent"]


def inverse_trace(samples: int, parameters: int) -> float:
    r"""Return the mean trace of the inverse of the smaller Gram matrix of Gaussian inputs.

    **Equation.** :math:`\mathrm{E}\,\mathrm{tr}\,(X^\top X)^{-1} = p/(n-p-1)` for p < n - 1, and
    :math:`\mathrm{E}\,\mathrm{tr}\,(XX^\top)^{-1} = n/(p-n-1)` for p > n + 1.

    **Shapes and units.** X is n x p, of standard normals. Without unit.

    Parameters
    ----------
    samples : int
        n >= 1.
    parameters : int
        p >= 1.

    Returns
    -------
    float
        inf for n - 1 <= p <= n + 1, where the mean does not exist: the smallest eigenvalue is too
        often near 0.

    References
    ----------
    The mean of an inverse Wishart matrix; see :func:`temperature_double_descent`.

    Examples
    --------
    >>> inverse_trace(30, 10) == 10 / 19, inverse_trace(10, 20) == 10 / 9, inverse_trace(10, 11)
    (True, True, inf)
    """
    n = as_integer("samples", samples, low=1)
    p = as_integer("parameters", parameters, low=1)
    return min(n, p) / (abs(n - p) - 1) if abs(n - p) > 1 else math.inf


def excess_risk(
    samples: int,
    parameters: int,
    *,
    noise: float,
    temperature: float = 0.0,
    signal: float = 1.0,
) -> float:
    r"""Return the expected excess risk of least squares with standard normal inputs.

    **Equation.** :math:`\mathrm{E}|\theta - \beta|^2` is

    .. math::

        (\sigma^2 + T) \frac{p}{n - p - 1}, \quad p < n - 1; \qquad
        \sigma^2 \frac{n}{p - n - 1} + |\beta|^2 \Bigl(1 - \frac np\Bigr), \quad p > n + 1,

    for outcomes :math:`y = X\beta + \sigma\varepsilon`: least squares with Gibbs noise,
    :math:`\theta \sim e^{-|y - X\theta|^2/2T}`, and the solution of least norm.

    **Shapes and units.** Noise, temperature and signal are squares of outcomes.

    Parameters
    ----------
    samples : int
        n >= 1.
    parameters : int
        p >= 1.
    noise : float
        σ² >= 0.
    temperature : float
        T >= 0: it acts as noise of the outcomes. It must be 0 for p > n, where the Gibbs law has
        flat directions and cannot be normalised.
    signal : float
        β·β >= 0.

    Returns
    -------
    float
        inf for n - 1 <= p <= n + 1 with noise or temperature: the mean does not exist there,
        though every draw is finite.

    Raises
    ------
    ValueError
        If a number is out of range, or T > 0 with p > n.

    References
    ----------
    At T = 0: Belkin, Hsu & Xu (2020), arXiv:1903.07571. The temperature: derived here, see
    :func:`temperature_double_descent`.

    Examples
    --------
    >>> round(excess_risk(30, 10, noise=0.5, temperature=0.25), 12) == round(15 / 38, 12)
    True
    >>> [round(excess_risk(10, p, noise=0.5), 4) for p in (2, 8, 10, 12, 30)]
    [0.1429, 4.0, inf, 5.1667, 0.9298]
    """
    n = as_integer("samples", samples, low=1)
    p = as_integer("parameters", parameters, low=1)
    sigma2 = as_number("noise", noise, low=0.0)
    T = as_number("temperature", temperature, low=0.0)
    strength = as_number("signal", signal, low=0.0)
    if T > 0 and p > n:
        raise ValueError(
            f"temperature = {temperature} with parameters = {p} > samples = {n}: the Gibbs law has"
            " flat directions and cannot be normalised; take temperature 0 or fewer parameters"
        )
    fitted = (sigma2 + T) * inverse_trace(n, p) if sigma2 + T > 0 else 0.0
    return fitted + strength * max(0.0, 1 - n / p)
