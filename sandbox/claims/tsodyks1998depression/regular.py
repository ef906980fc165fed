"""Depression and facilitation in regular trains: spike by spike, steady, and site by site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.tsodyks1998depression.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

STEADY = lazy("theory.regular_trains:regular_trains")
COVARIANCE = lazy("theory.information:depression_covariance")


class Constants(NamedTuple):
    """A synapse's utilisation and time constants."""

    use: float
    tau_rec_s: float
    tau_facil_s: float = 0.0


DEPRESSING = Constants(0.5, 0.8)
FACILITATING = Constants(0.03, 0.13, 0.53)
CONVENTIONS = ("jump-first", "jump-last")


def build(b2: Any, source: Any, target: Any, constants: Constants, **words: Any) -> Any:
    """Return recorded Tsodyks-Markram synapses, one from each neuron of the source."""
    from synapses.brian import tsodyks_markram

    if constants.tau_facil_s:
        words["tau_facil"] = constants.tau_facil_s * b2.second
    return tsodyks_markram(
        source, target, amplitude=1.0, use=constants.use, tau_rec=constants.tau_rec_s * b2.second,
        connect={"j": "0"}, record=True, **words,
    )  # fmt: skip


def releases(synapses: Any) -> list[np.ndarray]:
    """Return the share released at each spike, synapse by synapse."""
    import numpy as np

    share = np.asarray(synapses.recorder["u"]) * np.asarray(synapses.recorder["x"])
    return [share[synapses.recorder["synapse"] == k] for k in range(len(synapses))]


def sequence(
    constants: Constants, interval_s: float, spikes: int, start: float = 0.0
) -> list[float]:
    """Return the shares released by a train, by recursion from u = start."""
    import math

    keep = math.exp(-interval_s / constants.tau_rec_s)
    fade = math.exp(-interval_s / constants.tau_facil_s) if constants.tau_facil_s else 0.0
    u, x, shares = start, 1.0, []
    for _ in range(spikes):
        u += constants.use * (1 - u)
        shares.append(u * x)
        x = 1 - (1 - x + u * x) * keep
        u *= fade
    return shares


@PAPER.claim(
    "steady-state",
    says="In a regular train the share released settles at u·x with u = U/(1−(1−U)a) and"
    " x = (1−b)/(1−(1−u)b), a and b being what an interval leaves of facilitation and depression;"
    " the first spike releases U, whether u jumps before it is used and decays to 0 or is used"
    " before it jumps and decays to U.",
    tag="standard",
    derivation=STEADY,
)
def steady_state(run: Run) -> list[Comparison]:
    """Drive brian2's event-driven synapses regularly, at rates from 2 to 100 spikes a second."""
    import numpy as np

    from sandbox.claims._brian import clockwork, quiet_brian
    from theory.information import depression_steady_state, facilitation_steady_state

    step = 2e-3
    every = run.pick(quick=[250, 100, 50, 25, 10, 5], full=[500, 250, 100, 50, 25, 10, 5, 3])
    rates = [1 / (step * n) for n in every]
    kinds = ("depressing", *(f"facilitating, {word}" for word in CONVENTIONS))
    with quiet_brian(step) as b2:
        source, target = clockwork(b2, every), b2.NeuronGroup(1, "v : 1")
        synapses = [build(b2, source, target, DEPRESSING)]
        for convention in (*CONVENTIONS, "jump-first"):
            synapses += [build(b2, source, target, FACILITATING, convention=convention)]
        # the start of the other convention: the first spike then releases U(2 - U)
        synapses[-1].u_syn = FACILITATING.use
        b2.Network(source, target, synapses).run(6 * b2.second)
        trains = [releases(each) for each in synapses]

    def steady(interval_s: float) -> list[float]:
        """Return the share released by a spike, of each kind of synapse."""
        full = depression_steady_state(DEPRESSING.use, DEPRESSING.tau_rec_s, interval_s)
        u, x = facilitation_steady_state(*FACILITATING, interval_s)
        return [DEPRESSING.use * full, u * x, u * x]

    grid = np.geomspace(min(rates), max(rates), 81)
    spikes, at = 8, every.index(25)
    first = [
        sequence(DEPRESSING, 0.05, spikes),
        *[sequence(FACILITATING, 0.05, spikes)] * 2,
        sequence(FACILITATING, 0.05, spikes, start=FACILITATING.use),
    ]
    return [
        Comparison(
            "share released by a spike, steady",
            np.array([steady(1 / rate) for rate in rates]),
            np.array([[train[k][-1] for train in trains[:3]] for k in range(len(rates))]),
            tolerance=1e-4,
            reason="rounding, and what six seconds leave of the start at the lowest rate",
            relative=True,
            quantity="u x",
            axes=(Axis("rate", tuple(rates), "Hz", log=True), Axis("synapse", kinds)),
            curve=(grid, np.array([steady(1 / rate) for rate in grid])),
        ),
        Comparison(
            "the first spikes at 20 Hz",
            np.array(first).T,
            np.array([train[at][:spikes] for train in trains]).T,
            tolerance=1e-12,
            reason="rounding of eight updates",
            relative=True,
            quantity="u x",
            axes=(
                Axis("spike", tuple(range(1, spikes + 1))),
                Axis("synapse", (*kinds, "jump-first from u = U")),
            ),
        ),
    ]


def paired(counts: np.ndarray, lags: range) -> tuple[np.ndarray, np.ndarray]:
    """Return covariances of counts (pair, spike) by lag, and four standard errors over pairs."""
    import numpy as np

    apart = counts - counts.mean()
    size = counts.shape[1]
    products = np.array([(apart[:, : size - j] * apart[:, j:]).mean(axis=1) for j in lags])
    return products.mean(axis=1), 4 * products.std(axis=1, ddof=1) / np.sqrt(len(counts))


@PAPER.claim(
    "site-covariance",
    says="Sites that empty and refill release a binomial number at every spike of a regular train,"
    " and numbers j spikes apart covary by −N(Ux)²λʲ, λ = (1−U)exp(−D/τ): numbers drawn afresh from"
    " the mean resources have the same mean and variance and miss this.",
    tag="derived",
    derivation=COVARIANCE,
)
def site_covariances(run: Run) -> list[Comparison]:
    """Count the releases of five sites in brian2, spike by spike, at 20 Hz."""
    import numpy as np

    from sandbox.claims._brian import clockwork, quiet_brian
    from synapses.brian import quantal_depression
    from theory.information import depression_steady_state, site_covariance

    sites, use, tau, interval = 5, 0.5, 0.8, 0.05
    pairs, spikes = run.pick(quick=(8000, 160), full=(20_000, 400))
    settle = 30  # the start decays by 0.47 a spike
    with quiet_brian(interval, run.seeds.integer("sites")) as b2:
        source, target = clockwork(b2, [1] * pairs), b2.NeuronGroup(pairs, "v : 1")
        synapses = quantal_depression(
            source, target, sites=sites, amplitude=1.0, use=use, tau_rec=tau * b2.second,
            connect={"j": "i"},
        )  # fmt: skip
        total = b2.StateMonitor(target, "v", record=True, when="end")
        b2.Network(source, target, synapses, total).run(spikes * b2.defaultclock.dt)
        drawn = np.diff(np.asarray(total.v), axis=1)[:, settle:]
    rho = use * depression_steady_state(use, tau, interval)
    afresh = run.seeds.generator("afresh").binomial(sites, rho, drawn.shape).astype(float)
    lags = range(1, 7)
    models = {"sites that empty": drawn, "drawn from the mean x": afresh}
    found = [paired(counts, lags) for counts in models.values()]
    laws = [[site_covariance(sites, use, tau, interval, j) for j in lags], [0.0] * len(lags)]
    moments, width = [], []
    for counts in models.values():
        variance, spread = paired(counts, range(1))
        means = counts.mean(axis=1)
        moments.append([means.mean(), variance[0]])
        width.append([4 * means.std(ddof=1) / np.sqrt(pairs), spread[0]])
    interval_words = "4 standard errors over pairs of neurons (false alarm 6e-5 a point)"
    kinds = Axis("numbers", tuple(models))
    return [
        Comparison(
            "covariance of releases, j spikes apart",
            np.array(laws).T,
            np.array([mean for mean, _ in found]).T,
            tolerance=0.004,
            reason="four standard errors, at most half of what neighbours should have",
            relation="inside",
            uncertainty=np.array([half for _, half in found]).T,
            confidence=interval_words,
            quantity="covariance",
            unit="releases²",
            axes=(Axis("lag j", tuple(lags)), kinds),
        ),
        Comparison(
            "mean and variance of releases",
            np.array([[sites * rho, sites * rho * (1 - rho)]] * 2).T,
            np.array(moments).T,
            tolerance=0.01,
            reason="four standard errors, at most a thirtieth",
            relation="inside",
            uncertainty=np.array(width).T,
            confidence=interval_words,
            quantity="releases, releases²",
            axes=(Axis("moment", ("mean", "variance")), kinds),
        ),
    ]
