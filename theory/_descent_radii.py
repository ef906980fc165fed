"""How far descent can go, and how far it has to."""

from __future__ import annotations

import math

from theory._model_checks import finite, positive
from theory.checks import as_number, one_of

__all__ = [
    "general_theorem_radius",
    "least_distance",
    "path_radius_descent",
    "path_radius_flow",
    "product_model_limit",
    "theorem_radius",
]


def theorem_radius(lipschitz: float, residual: float, mu: float) -> float:
    r"""Return the radius of the rate theorem's ball.

    **Equation.** :math:`R = 2 L_F |r_0| / \mu`.

    **Shapes and units.** Distance between parameters.

    Parameters
    ----------
    lipschitz : float
        L_F on that ball, > 0.
    residual : float
        \|r_0\|, >= 0.
    mu : float
        PL* constant on that ball, > 0.

    Returns
    -------
    float
        Larger than :func:`path_radius_descent` by the square root of L_F² / mu.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorem 6, arXiv:2003.00307.

    Examples
    --------
    >>> theorem_radius(2.0, 1.0, 0.5)
    8.0
    """
    error = as_number("residual", residual, low=0.0)
    return finite("the radius", 2 * positive("lipschitz", lipschitz) * error / positive("mu", mu))


def general_theorem_radius(curvature: float, loss: float, mu: float) -> float:
    r"""Return the radius of the ball for a loss of bounded curvature that is no sum of squares.

    **Equation.** :math:`R = 2 \sqrt{2 \beta L_0} / \mu`.

    **Shapes and units.** Distance between parameters.

    Parameters
    ----------
    curvature : float
        beta, the Lipschitz constant of the loss's gradient, > 0.
    loss : float
        L at the start, >= 0.
    mu : float
        PL* constant, > 0.

    Returns
    -------
    float
        Larger than :func:`path_radius_descent` by the square root of beta / mu.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorem 14, arXiv:2003.00307.

    Examples
    --------
    >>> general_theorem_radius(2.0, 1.0, 1.0)
    4.0
    """
    beta = positive("curvature", curvature)
    root = 2 * math.sqrt(2 * beta) * math.sqrt(as_number("loss", loss, low=0.0))
    return finite("the radius", root / positive("mu", mu))


def path_radius_flow(residual: float, mu: float) -> float:
    r"""Return the longest path of gradient flow.

    **Equation.** :math:`\sqrt{2 L_0 / \mu} = |r_0| / \sqrt\mu`.

    **Shapes and units.** Distance between parameters.

    Parameters
    ----------
    residual : float
        \|r_0\| = sqrt(2 L_0), >= 0.
    mu : float
        PL* constant on the ball of that radius, > 0.

    Returns
    -------
    float
        The length.

    References
    ----------
    Derived here, see :func:`theory.descent_rates.path_length_radius`; path lengths from roots of
    the loss go back to Łojasiewicz.

    Examples
    --------
    >>> path_radius_flow(3.0, 4.0)
    1.5
    """
    error = as_number("residual", residual, low=0.0)
    return finite("the length", error / math.sqrt(positive("mu", mu)))


def path_radius_descent(residual: float, mu: float) -> float:
    r"""Return the longest path of gradient descent with a step up to 1 / the largest curvature.

    **Equation.** :math:`2 \sqrt{2 L_0 / \mu} = 2 |r_0| / \sqrt\mu`.

    **Shapes and units.** Distance between parameters.

    Parameters
    ----------
    residual : float
        \|r_0\| = sqrt(2 L_0), >= 0.
    mu : float
        PL* constant on the ball of that radius, > 0.

    Returns
    -------
    float
        The length, and a radius that descent does not leave.

    References
    ----------
    Derived here, see :func:`theory.descent_rates.path_length_radius`.

    Examples
    --------
    >>> path_radius_descent(3.0, 4.0)
    3.0
    """
    return finite("the length", 2 * path_radius_flow(residual, mu))


def least_distance(lipschitz: float, residual: float) -> float:
    r"""Return how far the nearest solution is at least.

    **Equation.** :math:`R_{\min} = |r_0| / L_F`.

    **Shapes and units.** Distance between parameters.

    Parameters
    ----------
    lipschitz : float
        L_F on the way to the solution, > 0.
    residual : float
        \|r_0\|, >= 0.

    Returns
    -------
    float
        The distance.

    References
    ----------
    Liu, Zhu & Belkin (2022), section 4, arXiv:2003.00307.

    Examples
    --------
    >>> least_distance(2.0, 3.0)
    1.5
    """
    error = as_number("residual", residual, low=0.0)
    return finite("the distance", error / positive("lipschitz", lipschitz))


def product_model_limit(norm: float, radius_of: str) -> float:
    r"""Return the largest initial error for which the product model f = w_1 w_2 is certified.

    **Equation.** With :math:`N = |w_0|`: theorem :math:`(71 - 17\sqrt{17}) N^2 / 16`, path of
    gradient descent :math:`N^2 / 8`, of gradient flow :math:`N^2 / 4`.

    **Shapes and units.** Outputs.

    Parameters
    ----------
    norm : float
        N, > 0.
    radius_of : str
        Which ball must be held: "theorem", "descent" or "flow".

    Returns
    -------
    float
        Limit of \|r_0\|.

    References
    ----------
    Derived here, see :func:`theory.descent_rates.product_model_certificate`.

    Examples
    --------
    >>> product_model_limit(2.0, "descent"), round(product_model_limit(1.0, "theorem"), 6)
    (0.5, 0.0567)
    """
    size = positive("norm", norm)
    share = {"theorem": (71 - 17 * math.sqrt(17)) / 16, "descent": 1 / 8, "flow": 1 / 4}
    return finite("the limit", share[one_of("radius_of", radius_of, tuple(share))] * size * size)
