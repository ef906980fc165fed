"""Depression and facilitation under Poisson trains: what is exact, and what mean field misses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.tsodyks1998depression.paper import PAPER
from sandbox.claims.tsodyks1998depression.regular import DEPRESSING, FACILITATING, build

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

POISSON = lazy("theory.poisson_trains:poisson_trains")
CONFIDENCE = "4 standard errors over synapses (false alarm 6e-5 a point)"


def source_of(b2: Any, rates: tuple[float, ...], each: int) -> Any:
    """Return Poisson trains, a number of each rate."""
    import numpy as np

    return b2.PoissonGroup(len(rates) * each, np.repeat(rates, each) * b2.Hz)


def event_means(synapses: Any, after_s: float, each: int) -> dict[str, np.ndarray]:
    """Return (mean, four standard errors) of u, x and u x at late events, by rate."""
    import numpy as np

    late = np.asarray(synapses.recorder["t"]) >= after_s
    synapse = synapses.recorder["synapse"][late]
    u, x = (np.asarray(synapses.recorder[name])[late] for name in "ux")
    count = len(synapses)
    events = np.bincount(synapse, minlength=count).reshape(-1, each)
    found = {}
    for name, values in {"u": u, "x": x, "u x": u * x}.items():
        sums = np.bincount(synapse, values, minlength=count).reshape(-1, each)
        mean = sums.sum(axis=1) / events.sum(axis=1)
        # a ratio of two sums over independent synapses
        apart = sums - mean[:, None] * events
        error = apart.std(axis=1, ddof=1) * np.sqrt(each) / events.sum(axis=1)
        found[name] = np.stack([mean, 4 * error])
    return found


@PAPER.claim(
    "poisson-depression",
    says="Under a Poisson train of rate r a depressing synapse has, before a spike,"
    " 1/(1 + U r τ) of its resources on average, exactly: each site releases at most 1/τ times a"
    " second, however fast the train.",
    tag="standard",
    derivation=POISSON,
)
def poisson_depression(run: Run) -> list[Comparison]:
    """Average resources, and count the releases of sites, in brian2 on Poisson trains."""
    import numpy as np

    from sandbox.claims._brian import quiet_brian
    from synapses.brian import quantal_depression
    from theory.poisson_trains import depression_poisson

    rates = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
    # brian2's trains spike at most once a step: 2 ms move <x> by 1e-3 of its value at 100 Hz
    each, seconds, step = run.pick(quick=(100, 4.0, 2e-3), full=(800, 20.0, 5e-4))
    use, tau, warm, sites = DEPRESSING.use, DEPRESSING.tau_rec_s, 3.0, 10
    with quiet_brian(step, run.seeds.integer("depression")) as b2:
        source = source_of(b2, rates, each)
        targets = [b2.NeuronGroup(size, "v : 1") for size in (1, len(source))]
        mean = build(b2, source, targets[0], DEPRESSING)
        site = quantal_depression(
            source, targets[1], sites=sites, amplitude=1.0, use=use, tau_rec=tau * b2.second,
            connect={"j": "i"},
        )  # fmt: skip
        network = b2.Network(source, targets, mean, site)
        network.run(warm * b2.second)
        before = np.array(site.n_rel)
        network.run(seconds * b2.second)
        # sites of a pair share its train: pairs are independent, sites are not
        released = (np.array(site.n_rel) - before).reshape(-1, each, sites).mean(axis=2) / seconds
        resources = event_means(mean, warm, each)["x"]
    grid = np.geomspace(min(rates), max(rates), 81)
    full, curve = (
        np.array([depression_poisson(use, tau, rate) for rate in places])
        for places in (rates, grid)
    )
    axes = (Axis("rate", rates, "Hz", log=True),)
    return [
        Comparison(
            "resources before a spike",
            full,
            resources[0],
            tolerance=0.05,
            reason="four standard errors, at most a twentieth",
            relation="inside",
            uncertainty=resources[1],
            confidence=CONFIDENCE,
            quantity="mean x",
            axes=axes,
            curve=(grid, curve),
        ),
        Comparison(
            f"releases of a site, limit {1 / tau:g} a second",
            np.array(rates) * use * full,
            released.mean(axis=1),
            tolerance=0.1,
            reason="four standard errors, at most a twelfth of the limit",
            relation="inside",
            uncertainty=4 * released.std(axis=1, ddof=1) / np.sqrt(each),
            confidence=CONFIDENCE,
            quantity="releases",
            unit="1/s",
            axes=axes,
            curve=(grid, grid * use * curve),
        ),
    ]


def walk(rate: float, walkers: int, spikes: int, generator: np.random.Generator) -> np.ndarray:
    """Return u, x and u x at the spikes of Poisson trains, the mean of each train (3, train)."""
    import numpy as np

    use, recovery, decay = FACILITATING
    u, x = np.zeros(walkers), np.ones(walkers)
    total = np.zeros((3, walkers))
    settle = 20 + int(6 * decay * rate)
    for k in range(settle + spikes):
        gap = generator.exponential(1 / rate, walkers)
        u, x = u * np.exp(-gap / decay), 1 - (1 - x) * np.exp(-gap / recovery)
        u = u + use * (1 - u)
        if k >= settle:
            total += u, x, u * x
        x = x * (1 - u)
    return total / spikes


@PAPER.claim(
    "facilitation-mean-field",
    says="Under a Poisson train the mean utilisation before a spike is U r τ/(1 + U r τ), exactly;"
    " the mean release is less than mean field makes it, by some per cent, because u and x, which"
    " remember the same spikes, are anticorrelated: by how much follows from their moments.",
    tag="derived",
    derivation=POISSON,
)
def facilitation_mean_field(run: Run) -> list[Comparison]:
    """Average u, x and their product in brian2, and spike by spike in many trains."""
    import numpy as np

    from sandbox.claims._brian import quiet_brian
    from theory.poisson_trains import facilitation_poisson, mean_field_release

    rates = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
    each, seconds, step = run.pick(quick=(100, 4.0, 2e-3), full=(800, 20.0, 5e-4))
    trains, spikes = run.pick(quick=(2000, 300), full=(20_000, 1000))
    warm = 3.5  # s; more than six time constants of facilitation
    with quiet_brian(step, run.seeds.integer("facilitation")) as b2:
        source, target = source_of(b2, rates, each), b2.NeuronGroup(1, "v : 1")
        synapses = build(b2, source, target, FACILITATING)
        b2.Network(source, target, synapses).run((warm + seconds) * b2.second)
        found = event_means(synapses, warm, each)
    walks = [
        walk(rate, trains, spikes, run.seeds.generator("trains", number))
        for number, rate in enumerate(run.progress(rates, label="rates"))
    ]
    grid = np.geomspace(min(rates), max(rates), 61)
    law, fine = (
        np.array([facilitation_poisson(*FACILITATING, rate) for rate in places])
        for places in (rates, grid)
    )
    excess, smooth = (
        np.array([mean_field_release(*FACILITATING, rate) for rate in places]) / exact[:, 2] - 1
        for places, exact in ((rates, law), (grid, fine))
    )
    sampled = np.array([w.mean(axis=1) for w in walks])
    spread = 4 * np.array([w[2].std(ddof=1) for w in walks]) / np.sqrt(trains)
    field = np.array([mean_field_release(*FACILITATING, rate) for rate in rates])
    relation = sampled[:, 2] / (sampled[:, 0] * sampled[:, 1]) - 1
    # of a ratio of means, to first order
    parts = np.array([
        w[2] / w[2].mean() - w[0] / w[0].mean() - w[1] / w[1].mean() for w in walks
    ])  # fmt: skip
    widths = 4 * parts.std(axis=1, ddof=1) / np.sqrt(trains)
    axes = (Axis("rate", rates, "Hz", log=True),)
    both = ("u", "u x")
    return [
        Comparison(
            "utilisation and release, brian2",
            law[:, [0, 2]],
            np.array([found[name][0] for name in both]).T,
            tolerance=0.03,
            reason="four standard errors, at most a twentieth of the largest",
            relation="inside",
            uncertainty=np.array([found[name][1] for name in both]).T,
            confidence=CONFIDENCE,
            quantity="mean at a spike",
            axes=(*axes, Axis("mean", both)),
            curve=(grid, fine[:, [0, 2]]),
        ),
        Comparison(
            "correlation of u and x",
            law[:, 2] / (law[:, 0] * law[:, 1]) - 1,
            relation,
            tolerance=0.004,
            reason="four standard errors, at most a tenth of the largest gap",
            relation="inside",
            uncertainty=widths,
            confidence="4 standard errors over trains (false alarm 6e-5 a point)",
            quantity="⟨ux⟩ / ⟨u⟩⟨x⟩ − 1",
            axes=axes,
            curve=(grid, fine[:, 2] / (fine[:, 0] * fine[:, 1]) - 1),
        ),
        Comparison(
            "excess of the mean-field release",
            excess,
            field / sampled[:, 2] - 1,
            tolerance=0.006,
            reason="four standard errors, at most a quarter of the largest excess",
            relation="inside",
            uncertainty=spread / sampled[:, 2],
            confidence="4 standard errors over trains (false alarm 6e-5 a point)",
            quantity="relative excess",
            axes=axes,
            curve=(grid, smooth),
        ),
    ]
