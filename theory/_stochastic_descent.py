"""Steps, rates and radii of stochastic gradient descent under PL*."""

from __future__ import annotations

from theory._descent_radii import general_theorem_radius
from theory._model_checks import finite, positive
from theory.checks import as_integer, as_number, one_of

__all__ = [
    "sgd_factor",
    "sgd_step_size",
    "sgd_theorem_radius",
]


def sgd_step_size(
    mu: float, sample_smoothness: float, samples: int, batch: int, *, proof: str
) -> float:
    r"""Return a step of stochastic gradient descent for which the rate is proved.

    **Equation.** For :math:`w - \eta \sum_{i \in B} \nabla l_i` with a batch of s samples drawn
    with replacement, each l_i smooth with constant beta:
    published :math:`\mu / [\beta (n^2\beta + \mu(s-1))]`, sharp
    :math:`\mu / [\beta (n\beta + \mu(s-1))]`, both with the factor of :func:`sgd_factor`.

    **Shapes and units.** The loss is the sum over samples; the batch gradient is a sum too.

    Parameters
    ----------
    mu : float
        PL* constant of the whole loss, > 0.
    sample_smoothness : float
        beta of one sample's loss, > 0; mu is at most n beta.
    samples : int
        n, >= 1.
    batch : int
        s, >= 1.
    proof : str
        "published" or "sharp": about n times larger, with the same guarantee.

    Returns
    -------
    float
        Step size.

    Raises
    ------
    ValueError
        If mu exceeds n beta, which no such loss allows, or ``proof`` is unknown.

    References
    ----------
    Published: Liu, Zhu & Belkin (2022), theorem 7, arXiv:2003.00307. Sharp: derived here, see
    :func:`theory.descent_rates.sgd_step`.

    Examples
    --------
    >>> sgd_step_size(1.0, 2.0, 2, 2, proof="sharp")
    0.1
    """
    m, beta = positive("mu", mu), positive("sample_smoothness", sample_smoothness)
    n, s = as_integer("samples", samples, low=1), as_integer("batch", batch, low=1)
    published = one_of("proof", proof, ("published", "sharp")) == "published"
    if m > n * beta * (1 + 1e-12):
        raise ValueError(f"mu = {mu}: must be at most samples x sample_smoothness = {n * beta:.6g}")
    # mu / beta, at most n, keeps the denominator in range
    ratio = m / beta
    return finite("the step", ratio / ((n * n if published else n) + ratio * (s - 1)) / beta)


def sgd_factor(step_size: float, mu: float, samples: int, batch: int) -> float:
    r"""Return the guaranteed factor of the expected loss a stochastic step.

    **Equation.** :math:`E\,L(w_{t+1}) \le (1 - \mu s \eta / n)\, E\,L(w_t)`.

    **Shapes and units.** Without unit.

    Parameters
    ----------
    step_size : float
        At most :func:`sgd_step_size`, > 0.
    mu : float
        PL* constant, > 0.
    samples : int
        n, >= 1.
    batch : int
        s, >= 1.

    Returns
    -------
    float
        In [0, 1).

    Raises
    ------
    ValueError
        If the factor were negative: no covered step is that long.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorem 7, arXiv:2003.00307.

    Examples
    --------
    >>> sgd_factor(0.1, 1.0, 2, 2)
    0.9
    """
    eta, m = positive("step_size", step_size), positive("mu", mu)
    n, s = as_integer("samples", samples, low=1), as_integer("batch", batch, low=1)
    if m * s * eta > n:
        raise ValueError(
            f"step_size = {step_size}: must be at most samples / (mu batch) = {n / (m * s):.6g}"
        )
    return 1 - m * s * eta / n


def sgd_theorem_radius(
    sample_smoothness: float, loss: float, mu: float, samples: int, failure: float
) -> float:
    r"""Return the radius that stochastic descent leaves with at most a given probability.

    **Equation.** :math:`R = 2 n \sqrt{2 \beta L_0} / (\mu\delta)`.

    **Shapes and units.** Distance between parameters.

    Parameters
    ----------
    sample_smoothness : float
        beta of one sample's loss, > 0.
    loss : float
        L at the start, >= 0.
    mu : float
        PL* constant on the ball, > 0.
    samples : int
        n, >= 1.
    failure : float
        delta, in (0, 1).

    Returns
    -------
    float
        The radius.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorem 7, arXiv:2003.00307.

    Examples
    --------
    >>> sgd_theorem_radius(2.0, 1.0, 1.0, 3, 0.1)
    120.0
    """
    delta = as_number("failure", failure, low=0.0, high=1.0, open_low=True, open_high=True)
    n = as_integer("samples", samples, low=1)
    return finite("the radius", general_theorem_radius(sample_smoothness, loss, mu) * n / delta)
