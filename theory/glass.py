r"""Glass: the loss change that kinks of a landscape add to gradient and curvature, and the step.

Every boundary of a piecewise smooth loss makes the gradient jump. Along one coordinate, with
jumps of mean zero at random places, the gradient deviates from its second-order model by a
process W with :math:`\langle W(t)^2 \rangle = \rho |t|`; rho is the *glass density*, in
gradient² per unit of the parameter. :class:`theory.glass_process.JumpProcess` is that process;
here is what a step that knows only rho should do. Derivations: ``docs/derivations/``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy import ndarray

from theory._glass_arrays import Real, as_real, matched, place, plain
from theory.checks import as_number

__all__ = [
    "HALF_NORMAL",
    "STEP",
    "effective_curvature",
    "exact_move",
    "expected_change",
    "glass_step",
    "optimal_change",
]

HALF_NORMAL = math.sqrt(2 / (3 * math.pi))
r"""c in :math:`c \sqrt\rho\, |d|^{3/2}`, what glass of density rho adds to the expected loss.

The mean size of a normal number of variance 1/3.
"""

STEP = 3 / (4 * math.pi)
r"""K = (9/8) c²: the effective curvature of glass alone is :math:`2 K \rho / |g|`."""


def expected_change(gradient: Real, curvature: Real, density: Real, step: Real) -> Real:
    r"""Return the loss change that a step is expected to make, glass counted as a rise.

    **Equation.** :math:`g d + h d^2 / 2 + c \sqrt\rho\, |d|^{3/2}`, :math:`c = \sqrt{2/(3\pi)}`.
    The last term is :math:`\langle |I| \rangle` of the glass part I of the change. I itself has
    mean zero: that its *size* counts is an assumption, that near the floor of a loss glass can
    only raise it.

    **Shapes and units.** Arrays that broadcast, in loss, parameter and their ratios.

    Parameters
    ----------
    gradient : Real
        g.
    curvature : Real
        h, of either sign.
    density : Real
        rho >= 0.
    step : Real
        d.

    Returns
    -------
    Real
        The change, of the broadcast shape.

    Raises
    ------
    ValueError
        If a number is not finite, a density is negative, or the change overflows.

    References
    ----------
    The model: Duersch et al. (2024), arXiv:2411.16914, whose public program has 0.46 for c; this
    form of it and the constant: derived here.

    Examples
    --------
    >>> float(expected_change(0.3, 2.0, 0.0, -0.15))
    -0.0225
    """
    g, h, rho, d = matched(
        gradient=as_real("gradient", gradient),
        curvature=as_real("curvature", curvature),
        density=as_real("density", density, low=0.0),
        step=as_real("step", step),
    )
    size = np.abs(d)
    with np.errstate(over="ignore", invalid="ignore"):
        change = g * d + h * d * d / 2 + HALF_NORMAL * np.sqrt(rho) * size * np.sqrt(size)
    if not np.isfinite(change).all():
        where, far = place(~np.isfinite(change), d)
        raise ValueError(f"step{where} = {far:g}: the change overflows; rescale loss or parameter")
    return plain(change)


def glass_step(gradient: Real, curvature: Real, density: Real) -> Real:
    r"""Return the step that minimises the expected loss change.

    **Equation.** With :math:`\alpha = K \rho / |g|`, :math:`K = 3 / (4\pi)`,

    .. math:: d = -g / h_\mathrm{opt}, \qquad
        h_\mathrm{opt} = \alpha + h + \sqrt{\alpha (\alpha + 2h)},

    Newton's step where rho = 0 and :math:`-\mathrm{sgn}(g)\, 2\pi g^2 / (3\rho)` where h = 0.
    It is computed from the root of :math:`h y^2 + \tfrac32 c \sqrt\rho\, y = |g|`,
    :math:`y^2 = |d|`, which neither overflows nor divides 0 by 0 as g, h or rho vanish.

    **Shapes and units.** Arrays that broadcast; d in units of the parameter.

    Parameters
    ----------
    gradient : Real
        g; the step is 0 where it is 0.
    curvature : Real
        h, >= 0, or negative with :math:`\alpha + 2h \ge 0`: then the step is the model's local
        minimum (at equality its inflection), and further out the model falls without end.
    density : Real
        rho >= 0.

    Returns
    -------
    Real
        The signed step.

    Raises
    ------
    ValueError
        If a number is not finite, a density is negative, the curvature is too negative, or
        neither curvature nor glass ends the step.

    References
    ----------
    Duersch et al. (2024), arXiv:2411.16914, announce the optimal step with both terms; derived
    here, and equal to the rule of their public program, which has 0.238732 for K.

    Examples
    --------
    >>> round(float(glass_step(0.3, 2.0, 0.05)), 12)
    -0.122915039183
    """
    g, h, rho = _checked(gradient, curvature, density)
    return plain(0.0 - np.sign(g) * _root(np.abs(g), h, rho) ** 2)


def effective_curvature(gradient: Real, curvature: Real, density: Real) -> Real:
    r"""Return the curvature by which the gradient is divided in the optimal step.

    **Equation.** :math:`h_\mathrm{opt} = |g| / |d|` of :func:`glass_step`: at least
    :math:`h + 2 K \rho / |g|` for :math:`h \ge 0`, so that it grows as the gradient shrinks.

    **Shapes and units.** Arrays that broadcast; in units of a curvature.

    Parameters
    ----------
    gradient : Real
        g, not 0: glass makes the curvature infinite there.
    curvature : Real
        h, as in :func:`glass_step`.
    density : Real
        rho >= 0.

    Returns
    -------
    Real
        h_opt > 0.

    Raises
    ------
    ValueError
        As :func:`glass_step`, or if a gradient is 0 or so small that the curvature overflows.

    References
    ----------
    Derived here; equal to the rule of the public program of Duersch et al. (2024),
    arXiv:2411.16914.

    Examples
    --------
    >>> round(float(effective_curvature(0.3, 2.0, 0.05)), 12)
    2.440710282446
    """
    g, h, rho = _checked(gradient, curvature, density)
    if (g == 0).any():
        where = place(g == 0)[0]
        raise ValueError(
            f"gradient{where} = 0: the effective curvature of glass is infinite there;"
            " glass_step gives the step, which is 0"
        )
    size = np.abs(g)
    # |g| / y^2 without y, which may underflow where the ratio is a number
    with np.errstate(over="ignore"):
        found = (_below(size, h, rho) / np.sqrt(size)) ** 2
    if np.isinf(found).any():
        where, slope = place(np.isinf(found), size)
        raise ValueError(
            f"gradient{where} of size {slope:g}: the effective curvature overflows; glass_step"
            " gives the step"
        )
    return plain(found)


def optimal_change(gradient: Real, curvature: Real, density: Real) -> Real:
    r"""Return the expected loss change of the optimal step.

    **Equation.** :math:`-|d|\,(2|g| + h|d|) / 6`: :math:`-g^2/(2h)` without glass,
    :math:`-|g||d|/3` with nothing else.

    **Shapes and units.** Arrays that broadcast; in units of the loss.

    Parameters
    ----------
    gradient : Real
        g.
    curvature : Real
        h, as in :func:`glass_step`.
    density : Real
        rho >= 0.

    Returns
    -------
    Real
        The change, <= 0.

    Raises
    ------
    ValueError
        As :func:`glass_step`, or if the change overflows.

    References
    ----------
    Derived here.

    Examples
    --------
    >>> round(float(optimal_change(0.3, 2.0, 0.05)), 12)
    -0.017327539537
    """
    g, h, rho = _checked(gradient, curvature, density)
    size = _root(np.abs(g), h, rho) ** 2
    with np.errstate(over="ignore", invalid="ignore"):
        change = -size * (np.abs(g) / 3 + h * size / 6)
    if not np.isfinite(change).all():
        where, slope = place(~np.isfinite(change), g)
        raise ValueError(
            f"gradient{where} = {slope:g}: the change overflows; rescale loss or parameter"
        )
    return plain(change)


def exact_move(memory: float, lookahead: float = 1.0) -> float:
    r"""Return the share of a step that keeps an averaged look-ahead gradient exact.

    **Equation.** Evaluate at :math:`\nu = \mu + \omega d`, average
    :math:`G \leftarrow \beta G + (1-\beta) \nabla L(\nu)`, move
    :math:`\mu \leftarrow \mu + \varphi d`. On a quadratic loss :math:`G = \nabla L(\mu)` survives
    every step iff :math:`\varphi = \omega (1 - \beta)`, whatever rule chose d.

    **Shapes and units.** Scalars without unit.

    Parameters
    ----------
    memory : float
        beta of the average, in [0, 1).
    lookahead : float
        omega, how far ahead the gradient is taken, in steps.

    Returns
    -------
    float
        phi.

    References
    ----------
    Duersch et al. (2024), arXiv:2411.16914, announce exactness with Nesterov's look-ahead; the
    condition: derived here. The defaults of their public program meet it.

    Examples
    --------
    >>> round(exact_move(0.9), 12)
    0.1
    """
    beta = as_number("memory", memory, low=0.0, high=1.0, open_high=True)
    return as_number("lookahead", lookahead) * (1 - beta)


def _checked(gradient: Real, curvature: Real, density: Real) -> tuple[ndarray, ...]:
    """Return g, h and rho of one shape, for which the model has a minimum."""
    g, h, rho = matched(
        gradient=as_real("gradient", gradient),
        curvature=as_real("curvature", curvature),
        density=as_real("density", density, low=0.0),
    )
    # alpha + 2h >= 0 between square roots, which stay in range
    bent = (h < 0) & (math.sqrt(STEP / 2) * np.sqrt(rho) < np.sqrt(np.abs(h)) * np.sqrt(np.abs(g)))
    if bent.any():
        where, slope, bend, glass = place(bent, g, h, rho)
        raise ValueError(
            f"curvature{where} = {bend:g} with gradient {slope:g} and density {glass:g}: the model"
            " falls without end; take the size of the curvature or its root mean square, or"
            " keep curvature >= -3 density / (8 pi |gradient|)"
        )
    endless = (g != 0) & (h <= 0) & (rho == 0)
    if endless.any():
        where, slope = place(endless, g)
        raise ValueError(
            f"curvature{where} = 0 and density{where} = 0 with gradient {slope:g}: nothing ends"
            " the step; give one of them a positive floor, or bound the step"
        )
    return g, h, rho


def _below(size: Real, h: Real, rho: Real) -> Real:
    """Return what the gradient is divided by for the root of the step's length."""
    glass = 0.75 * HALF_NORMAL * np.sqrt(rho)
    bend = np.sqrt(np.abs(h)) * np.sqrt(size)
    # hypot would do for h >= 0; the product keeps the digits where a negative h nearly wins
    inner = np.where(
        h < 0, np.sqrt(np.maximum(glass - bend, 0.0)) * np.sqrt(glass + bend), np.hypot(glass, bend)
    )
    below: Real = glass + inner
    return below


def _root(size: Real, h: Real, rho: Real) -> Real:
    """Return the square root of the step's length, 0 where the gradient is."""
    below = _below(size, h, rho)
    root: ndarray = np.zeros_like(size)
    with np.errstate(divide="ignore", over="ignore"):
        np.divide(size, below, out=root, where=size > 0)
    if (root > 1e154).any():
        where, slope = place(root > 1e154, size)
        raise ValueError(
            f"gradient{where} of size {slope:g}: the step overflows; rescale the loss or give"
            " curvature or density a larger floor"
        )
    return root
