"""Statistics of release counts: what unreliable synapses make of a train, alone and in pairs."""

from __future__ import annotations

import sympy as sp

from theory.checks import as_integer, as_number
from theory.derivation import Derivation, Step

__all__ = ["release_correlation", "release_counts", "release_fano"]


def release_fano(train_fano: float, release_probability: float, sites: int = 1) -> float:
    r"""Return the Fano factor of the releases in a window.

    **Equation.** With the Fano factor F of the spikes in the window,
    :math:`\mathrm{Var}\,K / \langle K \rangle = 1 - p + NpF`.

    **Shapes and units.** Scalars without unit.

    Parameters
    ----------
    train_fano : float
        F, >= 0: 0 for a known number of spikes, 1 for a Poisson train.
    release_probability : float
        p, in [0, 1].
    sites : int
        Number N of independent sites.

    Returns
    -------
    float
        1 for one site and a Poisson train: thinned, it is a Poisson train.

    References
    ----------
    The law of total variance; see :func:`release_counts`.

    Examples
    --------
    >>> release_fano(1.0, 0.3), release_fano(0.0, 0.3)
    (1.0, 0.7)
    """
    fano = as_number("train_fano", train_fano, low=0.0)
    p = as_number("release_probability", release_probability, low=0.0, high=1.0)
    return 1 - p + as_integer("sites", sites, low=1) * p * fano


def release_correlation(train_fano: float, release_probability: float, sites: int = 1) -> float:
    r"""Return the correlation of the releases of two synapses of one axon.

    **Equation.** :math:`NpF / (1 - p + NpF)`, each synapse drawing for itself; one draw for
    both would make it 1.

    **Shapes and units.** Scalars without unit.

    Parameters
    ----------
    train_fano : float
        Fano factor F of the spikes, >= 0.
    release_probability : float
        p of either synapse, in (0, 1]; with p = 1, F must be > 0.
    sites : int
        Number N of sites of either synapse.

    Returns
    -------
    float
        p for one site and a Poisson train, 0 for a known number of spikes.

    Raises
    ------
    ValueError
        If a number is out of range, or the counts do not vary.

    References
    ----------
    The law of total covariance; see :func:`release_counts`.

    Examples
    --------
    >>> release_correlation(1.0, 0.3), release_correlation(0.0, 0.3)
    (0.3, 0.0)
    """
    as_number("release_probability", release_probability, low=0.0, high=1.0, open_low=True)
    whole = release_fano(train_fano, release_probability, sites)
    if whole == 0:
        raise ValueError(
            f"release_probability = {release_probability} with train_fano = 0: the counts do not"
            " vary and have no correlation; take p < 1 or train_fano > 0"
        )
    return sites * release_probability * train_fano / whole


def release_counts() -> Derivation:
    """Derive Fano factor and correlation of release counts, and that thinning keeps Poisson.

    Returns
    -------
    Derivation
        For synapses of N sites that draw independently.

    Examples
    --------
    >>> release_counts().check()
    5
    """
    p, N, m, F, a, b = sp.symbols("p N m F a b", positive=True)
    n = sp.Symbol("n", integer=True, nonnegative=True)
    spread = m * F
    variance = m * N * p * (1 - p) + (N * p) ** 2 * spread
    both = (N * p) ** 2 * spread
    # generating function of two counts, one draw each: n spikes, then the Poisson mean over n
    draws = (1 - p + p * a) * (1 - p + p * b)
    mixed = sp.exp(m * (draws - 1))

    def at_one(expression: sp.Expr) -> sp.Expr:
        """Return moments from a generating function."""
        return expression.subs({a: 1, b: 1})

    joint = at_one(sp.diff(mixed, a, b)) - at_one(sp.diff(mixed, a)) * at_one(sp.diff(mixed, b))
    given = draws**n
    known = at_one(sp.diff(given, a, b)) - at_one(sp.diff(given, a)) * at_one(sp.diff(given, b))
    return Derivation(
        "Counts of releases",
        (
            Step(
                "Given n spikes, of mean m and variance mF, a synapse releases a binomial number"
                " of mean nNp and variance nNp(1 - p). The law of total variance adds the variance"
                " of the mean.",
                sp.Eq(sp.Symbol("Fano"), 1 - p + N * p * F),
                (sp.simplify(variance / (m * N * p) - (1 - p + N * p * F)),),
            ),
            Step(
                "Given n, two synapses are independent: their covariance is that of their means.",
                sp.Eq(sp.Symbol("rho"), N * p * F / (1 - p + N * p * F)),
                (sp.simplify(both / variance - N * p * F / (1 - p + N * p * F)),),
            ),
            Step(
                "A Poisson number of spikes (F = 1) leaves a Poisson number of releases: the"
                " generating function of one count is that of the mean mp.",
                sp.Eq(sp.Symbol("G(a)"), sp.exp(m * p * (a - 1))),
                (sp.simplify(sp.log(mixed.subs(b, 1)) - m * p * (a - 1)),),
            ),
            Step(
                "The covariance of two such counts is mp², hence the correlation p; at a given"
                " number of spikes it is 0.",
                sp.Eq(sp.Symbol("Cov"), m * p**2),
                (sp.simplify(joint - m * p**2), sp.simplify(known)),
            ),
        ),
        page="derivations/release_counts",
        source="derived here, by the laws of total variance and covariance",
        results={"fano": 1 - p + N * p * F, "correlation": N * p * F / (1 - p + N * p * F)},
    )
