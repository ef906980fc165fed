"""Rates, steps and radii of gradient descent, plain and stochastic, under PL*."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from theory._descent_radii import (
    general_theorem_radius,
    least_distance,
    path_radius_descent,
    path_radius_flow,
    product_model_limit,
    theorem_radius,
)
from theory._model_checks import finite, positive
from theory._plstar_derivations import path_length_radius, pl_linear_rate, product_model_certificate
from theory._stochastic_derivations import pl_epsilon, sgd_step
from theory._stochastic_descent import sgd_factor, sgd_step_size, sgd_theorem_radius
from theory.checks import as_matrix, as_number, as_vector

__all__ = [
    "condition_number_bound",
    "descent_rate",
    "general_theorem_radius",
    "gradient_descent_step",
    "least_distance",
    "path_length_radius",
    "path_radius_descent",
    "path_radius_flow",
    "pl_epsilon",
    "pl_epsilon_constant",
    "pl_linear_rate",
    "product_model_certificate",
    "product_model_limit",
    "sgd_factor",
    "sgd_step",
    "sgd_step_size",
    "sgd_theorem_radius",
    "steps_to_reach",
    "theorem_radius",
]


def gradient_descent_step(lipschitz: float, smoothness: float, residual: float) -> float:
    r"""Return the largest step the rate theorem allows.

    **Equation.** :math:`\eta = 1 / (L_F^2 + \beta_F |r_0|)`, at least 1 / the largest curvature of
    the loss wherever the loss is no larger than at the start: descent goes nowhere else, so the
    error elsewhere in the ball does not matter.

    **Shapes and units.** ``lipschitz`` bounds the Jacobian's norm and ``smoothness`` its Lipschitz
    constant in the spectral norm, both on the ball.

    Parameters
    ----------
    lipschitz : float
        L_F, >= 0.
    smoothness : float
        beta_F, >= 0; not both 0.
    residual : float
        \|r_0\| = \|F(w_0) - y\|, >= 0.

    Returns
    -------
    float
        Step size.

    Raises
    ------
    ValueError
        If the curvature bound is 0, when any step would do, or out of floating point's range.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorem 6, arXiv:2003.00307; that the error at the start suffices:
    derived here, see :func:`pl_linear_rate`.

    Examples
    --------
    >>> gradient_descent_step(2.0, 1.0, 4.0)
    0.125
    """
    top = as_number("lipschitz", lipschitz, low=0.0)
    bend = as_number("smoothness", smoothness, low=0.0)
    error = as_number("residual", residual, low=0.0)
    if top == 0 and (bend == 0 or error == 0):
        raise ValueError(
            f"lipschitz = {lipschitz}: with smoothness x residual = 0 the loss is flat and no step"
            " is too large; lipschitz must be > 0"
        )
    curvature = finite("lipschitz² + smoothness x residual", top * top + bend * error)
    return finite("the step", 1 / curvature if curvature > 0 else math.inf)


def descent_rate(step_size: float, mu: float) -> float:
    r"""Return the guaranteed factor of the loss a step.

    **Equation.** :math:`L(w_{t+1}) \le (1 - \eta\mu) L(w_t)` for :math:`\eta` at most the inverse
    of the largest curvature.

    **Shapes and units.** Without unit.

    Parameters
    ----------
    step_size : float
        Step size, > 0.
    mu : float
        PL* constant, > 0, at most 1 / step_size.

    Returns
    -------
    float
        In [0, 1). With F linear and well-separated eigenvalues the loss falls by its square.

    Raises
    ------
    ValueError
        If step_size * mu > 1: then the step is longer than any that is covered.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorem 6, arXiv:2003.00307; see :func:`pl_linear_rate`.

    Examples
    --------
    >>> descent_rate(0.25, 2.0)
    0.5
    """
    eta = positive("step_size", step_size)
    product = eta * positive("mu", mu)
    if product > 1 + 1e-12:
        raise ValueError(
            f"step_size = {step_size}: must be at most 1 / mu = {1 / mu:.6g}, as 1 / (largest"
            " curvature) is"
        )
    return max(1 - product, 0.0)


def condition_number_bound(
    lipschitz: float, smoothness: float, residual: float, mu: float
) -> float:
    r"""Return a bound of the condition number: largest curvature over PL* constant.

    **Equation.** :math:`\kappa \le (L_F^2 + \beta_F \sup|r|) / \mu`.

    **Shapes and units.** Without unit.

    Parameters
    ----------
    lipschitz : float
        L_F, >= 0.
    smoothness : float
        beta_F, >= 0.
    residual : float
        Largest error on the set, >= 0.
    mu : float
        PL* constant, > 0.

    Returns
    -------
    float
        For linear F: the condition number of the tangent kernel.

    References
    ----------
    Liu, Zhu & Belkin (2022), definition 4 and proposition 5, arXiv:2003.00307.

    Examples
    --------
    >>> condition_number_bound(2.0, 0.0, 3.0, 0.5)
    8.0
    """
    step = gradient_descent_step(lipschitz, smoothness, residual)
    return finite("the bound", 1 / step / positive("mu", mu))


def steps_to_reach(loss: float, wanted: float, step_size: float, mu: float) -> int:
    r"""Return a number of steps that suffices to bring the loss below a level.

    **Equation.** :math:`T = \lceil \ln(L_0/\epsilon) / (\eta\mu) \rceil`.

    **Shapes and units.** Steps.

    Parameters
    ----------
    loss : float
        L at the start, > 0.
    wanted : float
        The level epsilon, > 0; the PL* inequality is needed only where the loss is above it.
    step_size : float
        Step size, > 0, at most the inverse of the largest curvature.
    mu : float
        PL* constant, > 0.

    Returns
    -------
    int
        0 if the level is reached already.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorem 9, arXiv:2003.00307.

    Examples
    --------
    >>> steps_to_reach(1.0, 0.1, 0.5, 1.0)
    5
    """
    start, end = positive("loss", loss), positive("wanted", wanted)
    descent_rate(step_size, mu)
    ratio = start / end
    log = math.log(ratio) if 0 < ratio < math.inf else math.log(start) - math.log(end)
    return max(math.ceil(finite("the number of steps", log / step_size / mu)), 0)


def pl_epsilon_constant(matrix: Any, targets: Any, level: float) -> float:
    r"""Return the largest PL* constant of a linear system above a level of the loss.

    **Equation.** :math:`\tfrac12|\nabla L|^2 \ge \mu L` wherever :math:`L \ge \epsilon` holds for
    :math:`\mu = \sigma_{\min}^2 (1 - L_*/\epsilon)` and no larger one; sigma_min is the least
    singular value that is not 0, :math:`L_*` the least loss.

    **Shapes and units.** ``matrix`` (n, p), ``targets`` (n,).

    Parameters
    ----------
    matrix : array_like
        A of F(w) = Aw, not 0.
    targets : array_like
        y.
    level : float
        epsilon, > 0.

    Returns
    -------
    float
        0 for a level not above the least loss: there the inequality fails for every mu.

    Raises
    ------
    ValueError
        If shapes do not fit, the matrix is 0, or the constant overflows.

    References
    ----------
    Definition: Liu, Zhu & Belkin (2022), definition 5, arXiv:2003.00307. The constant: derived
    here, see :func:`pl_epsilon`.

    Examples
    --------
    >>> pl_epsilon_constant([[1.0], [0.0]], [0.0, 1.0], 1.0)
    0.5
    """
    A, y = as_matrix("matrix", matrix), as_vector("targets", targets)
    if len(y) != len(A):
        raise ValueError(f"targets has {len(y)} entries: must have {len(A)}, the rows of matrix")
    epsilon = positive("level", level)
    top = np.abs(A).max()
    left, spectrum, _ = np.linalg.svd(A / (top if top > 0 else 1.0), full_matrices=False)
    some = spectrum > max(A.shape) * np.finfo(np.float64).eps * spectrum[0]
    if not some.any():
        raise ValueError("matrix is 0: must have a singular value that is not 0")
    # in units of the largest target and matrix entry: squares stay in range
    unit = float(np.abs(y).max())
    z = y / unit if unit > 0 else y
    unreached = unit * math.hypot(*(z - left[:, some] @ (left[:, some].T @ z)))
    share = unreached / epsilon * unreached / 2
    if share >= 1:
        return 0.0
    sigma = float(spectrum[some][-1] * top)
    return finite("the constant", sigma * sigma * (1 - share))
