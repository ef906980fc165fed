"""Depression and facilitation under Poisson trains: exact means, and what mean field makes."""

from __future__ import annotations

import numpy as np
import sympy as sp
from scipy.stats import binom

from theory.checks import as_number
from theory.derivation import Derivation, Step

__all__ = ["depression_poisson", "facilitation_poisson", "mean_field_release", "poisson_trains"]

MOMENTS = (24, 48, 96, 192, 384)
"""Where the hierarchy of moments is closed, in turn."""

CLOSE = 1e-11
"""Relative difference of two closures that is called none."""


def depression_poisson(use: float, recovery_s: float, rate_hz: float) -> float:
    r"""Return the mean resources before a spike of a Poisson train, without facilitation.

    **Equation.** :math:`\langle x \rangle = 1/(1 + U r \tau)`, exactly. A spike releases
    :math:`U \langle x \rangle` on average, hence a site at most :math:`1/\tau` a second.

    **Shapes and units.** Seconds, 1/s; a share.

    Parameters
    ----------
    use : float
        U, in (0, 1].
    recovery_s : float
        Time constant tau of recovery, > 0.
    rate_hz : float
        r, >= 0.

    Returns
    -------
    float
        In (0, 1].

    References
    ----------
    Tsodyks, Pawelzik & Markram (1998), doi:10.1162/089976698300017502; that it is exact for a
    Poisson train: derived here.

    Examples
    --------
    >>> round(depression_poisson(0.5, 0.8, 20.0), 12)
    0.111111111111
    """
    u = as_number("use", use, low=0.0, high=1.0, open_low=True)
    tau = as_number("recovery_s", recovery_s, low=0.0, open_low=True)
    return 1 / (1 + u * as_number("rate_hz", rate_hz, low=0.0) * tau)


def facilitation_poisson(
    use: float, recovery_s: float, facilitation_s: float, rate_hz: float
) -> tuple[float, float, float]:
    r"""Return mean utilisation, resources and release at a spike of a Poisson train.

    **Equation.** With u after its jump, x before the release, and :math:`u_-` before the jump,

    .. math::

        \langle u_- \rangle = \frac{U r \tau_f}{1 + U r \tau_f}, \quad
        \langle u \rangle = U + (1-U) \langle u_- \rangle, \quad
        r \langle ux \rangle = \frac{1 - \langle x \rangle}{\tau_r} ,

    all exact. u and x depend on each other, since both remember the same spikes: the mean of x
    follows from the moments :math:`\langle u_-^k x \rangle`, each of which calls for the next.
    They are closed at twice as many until the result stays.

    **Shapes and units.** Seconds, 1/s; shares.

    Parameters
    ----------
    use : float
        U, in (0, 1].
    recovery_s, facilitation_s : float
        Time constants tau_r and tau_f, > 0.
    rate_hz : float
        r, > 0.

    Returns
    -------
    u, x, release : float
        Means of u, of x and of their product.

    Raises
    ------
    ValueError
        If a number is out of range, or the hierarchy does not close: u is too near 1, or
        remembers too many spikes.

    References
    ----------
    The model: Tsodyks, Pawelzik & Markram (1998), doi:10.1162/089976698300017502. The
    hierarchy: derived here; an approximation with the correlation of u and x kept is in Schmutz,
    Gerstner & Schwalger (2020), doi:10.1186/s13408-020-00082-z.

    Examples
    --------
    >>> u, x, release = facilitation_poisson(0.03, 0.13, 0.53, 20.0)
    >>> round(u, 6), round(release / (u * x), 3) < 1
    (0.264036, True)
    """
    base = as_number("use", use, low=0.0, high=1.0, open_low=True)
    recovery = as_number("recovery_s", recovery_s, low=0.0, open_low=True)
    decay = as_number("facilitation_s", facilitation_s, low=0.0, open_low=True)
    rate = as_number("rate_hz", rate_hz, low=0.0, open_low=True)
    before = _moments(base, recovery, decay, rate, MOMENTS[0])
    for highest in MOMENTS[1:]:
        found = _moments(base, recovery, decay, rate, highest)
        if np.allclose(found, before, rtol=CLOSE, atol=0):
            u, x, release = found
            # where digits cancel, closures may agree on what is no share, or above <u><x>
            if 0 < x <= 1 and 0 < release <= u * x * (1 + 1e-9):
                return found
            break
        before = found
    raise ValueError(
        f"rate_hz = {rate:g}: too high for use = {base:g}, facilitation_s = {decay:g}; u is so"
        f" near 1, or remembers so many spikes, that {MOMENTS[-1]} of its moments are not enough"
    )


def _moments(
    base: float, recovery: float, decay: float, rate: float, highest: int
) -> tuple[float, float, float]:
    """Return means of u, x and their product with the hierarchy closed at a power of u."""
    powers = np.arange(highest + 2)
    # row k: the k-th power of u after a jump, in powers of u before it
    jump = np.asarray(binom.pmf(powers, powers[:, None], 1 - base))
    alone = np.ones(highest + 2)
    for k in range(1, highest + 2):
        alone[k] = rate * jump[k, :k] @ alone[:k] / (k / decay + rate * (1 - jump[k, k]))
    # d<u^k x>/dt = 0: decay of u, recovery of x, a jump of both
    matrix = np.diag(-powers / decay - 1 / recovery - rate) + rate * jump
    matrix[:-1] -= rate * jump[1:]
    closed = matrix[:-1, :-1]
    ratio = alone[-1] / alone[-2] if alone[-2] else 0.0  # high powers of a small u underflow
    closed[:, -1] += matrix[:-1, -1] * ratio
    moments = np.linalg.solve(closed, -alone[:-1] / recovery)
    after = jump[1, :2]
    return float(after @ alone[:2]), float(moments[0]), float(after @ moments[:2])


def mean_field_release(
    use: float, recovery_s: float, facilitation_s: float, rate_hz: float
) -> float:
    r"""Return the mean release of a spike if u and x were independent.

    **Equation.** :math:`\langle u \rangle / (1 + \langle u \rangle r \tau_r)`, with the exact mean
    of u.

    **Shapes and units.** Seconds, 1/s; a share.

    Parameters
    ----------
    use, recovery_s, facilitation_s, rate_hz : float
        As for :func:`facilitation_poisson`; ``rate_hz`` may be 0.

    Returns
    -------
    float
        An approximation of the third number of :func:`facilitation_poisson`.

    References
    ----------
    Tsodyks, Pawelzik & Markram (1998), doi:10.1162/089976698300017502.

    Examples
    --------
    >>> round(mean_field_release(0.03, 0.13, 0.53, 20.0), 6)
    0.156559
    """
    base = as_number("use", use, low=0.0, high=1.0, open_low=True)
    recovery = as_number("recovery_s", recovery_s, low=0.0, open_low=True)
    decay = as_number("facilitation_s", facilitation_s, low=0.0, open_low=True)
    rate = as_number("rate_hz", rate_hz, low=0.0)
    before = base * rate * decay / (1 + base * rate * decay)
    after = base + (1 - base) * before
    return after / (1 + after * rate * recovery)


def poisson_trains() -> Derivation:
    """Derive the means of u and x under a Poisson train, and where mean field departs.

    Returns
    -------
    Derivation
        From the generator of the pair (u, x), a jump process.

    Examples
    --------
    >>> poisson_trains().check()
    6
    """
    U, r, tau_r, tau_f, u, x, m = sp.symbols("U r tau_r tau_f u x m", positive=True)
    after = U + (1 - U) * u

    def drift(f: sp.Expr) -> sp.Expr:
        """Return the mean rate of change of a function of (u, x)."""
        leap = f.subs({u: after, x: x * (1 - after)}, simultaneous=True) - f
        return sp.expand(-u / tau_f * sp.diff(f, u) + (1 - x) / tau_r * sp.diff(f, x) + r * leap)

    before = U * r * tau_f / (1 + U * r * tau_f)
    k = 3
    moment = sum(sp.binomial(k, j) * U ** (k - j) * (1 - U) ** j * u**j for j in range(k + 1))
    up = sum(sp.binomial(k + 1, j) * U ** (k + 1 - j) * (1 - U) ** j * u**j for j in range(k + 2))
    rate_of_moment = -k * u**k * x / tau_f + (u**k - u**k * x) / tau_r
    mean_u, mean_x = sp.symbols("ubar xbar", positive=True)
    return Derivation(
        "Means under a Poisson train",
        (
            Step(
                "Between spikes u decays with τ_f and x recovers with τ_r; at a spike u becomes"
                " U + (1 - U)u, and x loses that share. A Poisson train meets the pair as it is on"
                " average. The mean of u before a spike obeys an equation of its own.",
                sp.Eq(sp.Symbol("u_-"), before),
                (sp.simplify(drift(u).subs(u, before)),),
            ),
            Step(
                "In the mean, what a spike releases is what recovers between spikes.",
                sp.Eq(r * sp.Symbol("<ux>"), (1 - sp.Symbol("<x>")) / tau_r),
                (sp.expand(drift(x) - ((1 - x) / tau_r - r * after * x)),),
            ),
            Step(
                "Without facilitation u is U at every spike, and the balance closes.",
                sp.Eq(sp.Symbol("<x>"), 1 / (1 + U * r * tau_r)),
                (
                    sp.simplify(((1 - m) / tau_r - r * U * m).subs(m, 1 / (1 + U * r * tau_r))),
                    # releases saturate
                    sp.limit(r * U / (1 + U * r * tau_r), r, sp.oo) - 1 / tau_r,
                ),
            ),
            Step(
                "With facilitation <ux> needs <u²x>, and so on. The equation of <u^k x> has the"
                " powers of U + (1 - U)u of order k and k + 1 (here k = 3).",
                None,
                (sp.expand(drift(u**k * x) - (rate_of_moment + r * (moment - up - u**k) * x)),),
            ),
            Step(
                "Mean field puts <u><x> for <ux>, which closes the balance.",
                sp.Eq(mean_x, 1 / (1 + mean_u * r * tau_r)),
                (
                    sp.simplify(
                        ((1 - m) / tau_r - r * mean_u * m).subs(m, 1 / (1 + mean_u * r * tau_r))
                    ),
                ),
            ),
        ),
        page="derivations/poisson_trains",
        source="the model and mean field: Tsodyks, Pawelzik & Markram (1998),"
        " doi:10.1162/089976698300017502; the hierarchy: derived here",
        results={"u_before": before, "x": 1 / (1 + U * r * tau_r)},
    )
