"""PL* certificates: what a model's tangent kernel at one point promises about descent from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from numpy import ndarray

from theory._pl_start import Ball, Start, contradiction
from theory.checks import as_number
from theory.descent_rates import gradient_descent_step, path_radius_descent
from theory.tangent_models import TangentModel

__all__ = ["Certificate", "certify_pl", "pl_ratio"]

ROUNDING = 1e-12
"""Relative slack of comparisons that a certificate would pass with equality."""
ENLARGEMENTS = 1000


@dataclass(frozen=True)
class Certificate:
    r"""What is known about gradient descent on half the squared error, from one start.

    **Equation.** Certified: :math:`\tfrac12 |\nabla L|^2 \ge \mu L` on the closed ball of
    ``radius`` about the start, which holds a solution; descent with a step :math:`\eta` of at most
    ``step_size`` stays in the ball and :math:`L(w_t) \le (1 - \eta\mu)^t L(w_0)`; rate is that
    factor for ``step_size`` itself.

    **Shapes and units.** Distances in units of the parameters, ``mu`` in those of the tangent
    kernel.

    Parameters
    ----------
    mu : float
        Lower bound of the least eigenvalue of the tangent kernel on the ball; 0 where none is
        known. A constant that was asked for may come back smaller by rounding.
    lipschitz, smoothness : float
        Bounds of the Jacobian's norm and of its Lipschitz constant on the ball; infinite where
        none are known.
    radius : float
        Of the ball the numbers hold on: certified, the smallest that keeps its own path, unless
        another was asked for; infinite where no ball was tried.
    step_size : float
        1 / (lipschitz² + smoothness \|r0\|); 0 where no bounds are known or nothing moves.
    rate : float
        Guaranteed factor of the loss a step; 1 unless certified.
    status : str
        "certified"; "uncertified": nothing follows, descent may converge or not; "refuted":
        the start itself contradicts what was asked.
    reason : str
        One sentence, with the numbers that decided.
    initial_mu : float
        Least eigenvalue of the tangent kernel at the start.
    residual : float
        \|r0\|, the norm of the error at the start.
    least_distance : float
        No solution is closer to the start than this.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorems 1 and 6, arXiv:2003.00307; the radius: derived here, see
    :func:`theory.descent_rates.path_length_radius`.

    Examples
    --------
    >>> import numpy as np
    >>> from theory.tangent_models import Linear
    >>> certify_pl(Linear([[2.0, 0.0]]), np.zeros(2), np.ones(1)).radius
    1.0
    """

    mu: float
    lipschitz: float
    smoothness: float
    radius: float
    step_size: float
    rate: float
    status: str
    reason: str
    initial_mu: float
    residual: float
    least_distance: float


def certify_pl(
    model: TangentModel,
    parameters: Float[ndarray, " parameter"],
    targets: Float[ndarray, " output"],
    *,
    radius: float | None = None,
    mu: float | None = None,
) -> Certificate:
    r"""Certify, from the Jacobian at one point, that gradient descent from there solves F(w) = y.

    **Equation.** With :math:`\sigma_0 = \sigma_{\min}(DF(w_0))`, Weyl's inequality gives
    :math:`\mu(R) = (\sigma_0 - \beta R)_+^2` on the ball of radius R. Certified if and only if
    :math:`R \ge 2 |r_0| / \sqrt{\mu(R)}` for some R, or for the one given; for constant
    :math:`\beta` that is :math:`|r_0| \le \sigma_0^2 / (8 \beta)`. Of all such balls the smallest
    is returned: it has the largest mu and the largest step.

    Only the start is looked at, so "refuted" says that the start contradicts, and "uncertified"
    says nothing about whether descent converges. Comparisons allow for rounding (1e-12 relative,
    and for a least singular value that of the decomposition).

    **Shapes and units.** Parameters (p,), targets (n,).

    Parameters
    ----------
    model : TangentModel
        F; without ``bounds`` the status is at most "uncertified".
    parameters : Float[ndarray, "parameter"]
        The start w0.
    targets : Float[ndarray, "output"]
        y.
    radius : float or None
        Certify this ball, or none; None: the smallest that works.
    mu : float or None
        Certify this constant, on the ball it needs (or the one given); None: the largest.

    Returns
    -------
    Certificate
        With status and reason. At a solution, with neither radius nor mu asked for: certified,
        with radius 0.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is not finite and positive, the model's bounds contradict
        its Jacobian, or error and Jacobian are so large or small that their squares leave the
        range of floating point.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorems 1, 2 and 6, arXiv:2003.00307. Weyl's bound in place of
    theorem 2, and the radius in place of theorem 6's: derived here, see
    :func:`theory.descent_rates.path_length_radius` and
    :func:`theory.conditioning.singular_value_certificate`.

    Examples
    --------
    >>> import numpy as np
    >>> from theory.tangent_models import DeepLinear
    >>> product, start = DeepLinear([[1.0]], (1, 1)), np.array([1.5, 0.5])
    >>> certify_pl(product, start, np.array([1.0])).status
    'certified'
    >>> certify_pl(product, start, np.array([1.2])).reason
    'no ball keeps its own path: |r0| = 0.45 > sigma_0^2 / (8 smoothness) = 0.3125 ...'
    """
    start = Start.at(model, parameters, targets)
    asked_radius = None if radius is None else as_number("radius", radius, low=0.0, open_low=True)
    asked_mu = None if mu is None else as_number("mu", mu, low=0.0, open_low=True)
    if not (start.residual == 0 and radius is None and mu is None):
        against = contradiction(start, asked_mu)
        if against is not None:
            return _report(start, None, "refuted", against)
    else:
        here = start.ball(0.0)
        if here is None:
            return _no_bounds(start, 0.0)
        words = f"the start is a solution already; lambda_min(K(w0)) = {start.sigma**2:.6g}"
        return _report(start, here, "certified", words)
    if asked_radius is not None:
        return _on_ball(start, asked_radius, asked_mu)
    if asked_mu is not None:
        return _on_ball(start, path_radius_descent(start.residual, asked_mu), asked_mu)
    return _least_ball(start)


def pl_ratio(
    model: TangentModel,
    parameters: Float[ndarray, " parameter"],
    targets: Float[ndarray, " output"],
) -> float:
    r"""Return the largest mu for which the PL* inequality holds at one point.

    **Equation.** :math:`|\nabla L|^2 / (2L) = r^\top K r / |r|^2 \ge \lambda_{\min}(K)`, with
    :math:`r = F(w) - y` and :math:`K = DF\,DF^\top`.

    **Shapes and units.** Parameters (p,), targets (n,).

    Parameters
    ----------
    model : TangentModel
        F.
    parameters : Float[ndarray, "parameter"]
        The point.
    targets : Float[ndarray, "output"]
        y.

    Returns
    -------
    float
        Infinite at a solution, where the inequality holds for every mu.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorem 1, arXiv:2003.00307.

    Examples
    --------
    >>> import numpy as np
    >>> from theory.tangent_models import Linear
    >>> round(pl_ratio(Linear([[2.0, 0.0], [0.0, 1.0]]), np.zeros(2), np.ones(2)), 12)
    2.5
    """
    return Start.at(model, parameters, targets).ratio


def _least_ball(start: Start) -> Certificate:
    """Enlarge the radius from below until the ball keeps its own path."""
    # bounds grow with the ball: with those of too small a one, the radius that would do is still
    # no larger than the least one
    r, sigma = start.residual, start.sigma
    R = 2 * r / sigma
    for _ in range(ENLARGEMENTS):
        ball = start.ball(R)
        if ball is None:
            return _no_bounds(start, R)
        if R * ball.sigma >= 2 * r * (1 - ROUNDING):
            return _report(start, ball, "certified", _promise(start, ball, ball.sigma**2))
        inside = sigma**2 - 8 * ball.smoothness * r
        if inside < 0:
            words = (
                f"no ball keeps its own path: |r0| = {r:.6g} > sigma_0^2 / (8 smoothness) ="
                f" {sigma**2 / (8 * ball.smoothness):.6g} with sigma_0 = {sigma:.6g} and smoothness"
                f" {ball.smoothness:.6g} at radius {R:.6g}"
            )
            return _report(start, ball, "uncertified", words)
        R = max(4 * r / (sigma + math.sqrt(inside)), R * (1 + ROUNDING))
    words = f"no ball that keeps its own path was found up to radius {R:.6g}"
    return _report(start, start.ball(R), "uncertified", words)


def _on_ball(start: Start, radius: float, asked_mu: float | None) -> Certificate:
    """Certify one ball, with its own constant or the one asked for."""
    ball = start.ball(radius)
    if ball is None:
        return _no_bounds(start, radius)
    found = ball.sigma**2
    on = f"on the ball of radius {radius:.6g} the model's bounds give only"
    if found == 0:
        words = (
            f"{on} sigma_min >= 0: sigma_0 = {start.sigma:.6g} <= smoothness x radius ="
            f" {ball.smoothness * radius:.6g}"
        )
        return _report(start, ball, "uncertified", words)
    if asked_mu is not None and (ball.sigma + start.blur) ** 2 < asked_mu:
        return _report(start, ball, "uncertified", f"{on} mu = {found:.6g} < {asked_mu:.6g}")
    mu = found if asked_mu is None else min(asked_mu, found)
    needed = path_radius_descent(start.residual, mu)
    if radius < needed * (1 - ROUNDING):
        words = (
            f"mu = {mu:.6g} holds on the ball of radius {radius:.6g}, but the path may be as long"
            f" as 2 |r0| / sqrt(mu) = {needed:.6g} and leave it"
        )
        return _report(start, ball, "uncertified", words)
    return _report(start, ball, "certified", _promise(start, ball, mu), mu)


def _promise(start: Start, ball: Ball, mu: float) -> str:
    return (
        f"sigma_min >= {ball.sigma:.6g} on the ball, whose radius {ball.radius:.6g} is at least"
        f" 2 |r0| / sqrt(mu) = {path_radius_descent(start.residual, mu):.6g}"
    )


def _no_bounds(start: Start, radius: float) -> Certificate:
    words = (
        f"no finite bounds of the Jacobian are known on the ball of radius {radius:.6g};"
        f" lambda_min(K(w0)) = {start.sigma**2:.6g} alone proves nothing away from the start"
    )
    return _report(start, None, "uncertified", words)


def _report(
    start: Start, ball: Ball | None, status: str, reason: str, mu: float | None = None
) -> Certificate:
    """Assemble a certificate; without a ball nothing is known beyond the start."""
    known = (0.0, math.inf, math.inf, math.inf, 0.0, 0.0)
    if ball is not None:
        best = ball.sigma**2 if mu is None else mu
        step = least = 0.0
        if ball.lipschitz > 0:
            step = gradient_descent_step(ball.lipschitz, ball.smoothness, start.residual)
            least = min(ball.radius, start.residual / ball.lipschitz)
        known = (best, ball.lipschitz, ball.smoothness, ball.radius, step, least)
    rate = 1 - known[4] * known[0] if status == "certified" else 1.0
    return Certificate(*known[:5], rate, status, reason, start.sigma**2, start.residual, known[5])
