"""Spiking neurons and unreliable synapses: firing rates, thinned trains, shared axons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.schug2021presynaptic.paper import PAPER

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

__all__: list[str] = []

FIRING_RATE = lazy("theory.firing_rate:firing_rate")
RELEASE_COUNTS = lazy("theory.release_counts:release_counts")

TAU, THRESHOLD, RESET, REFRACTORY = 0.02, 20.0, 10.0, 0.002  # s, mV from rest, mV, s
MEAN = 0.1  # mV, mean amplitude; 9000 spikes a second: a mean drive of 18 mV, below the threshold
CHANCES = (1.0, 0.5, 0.25)
SITES, SITE_CHANCE = 5, 0.3
TRAIN_HZ = 50.0


def exact_rate(spikes_hz: float, mean: float, p: float, sites: int = 1) -> float:
    """Return the firing rate, jump by jump, with mean-matched failures."""
    import numpy as np
    from scipy.stats import binom

    from theory.shot_noise import shot_noise_rate

    return shot_noise_rate(
        spikes_hz,
        mean / (sites * p),
        np.asarray(binom.pmf(range(sites + 1), sites, p)),
        tau_m_s=TAU,
        threshold=THRESHOLD,
        reset=RESET,
        refractory_s=REFRACTORY,
    )


def diffusion_rate(spikes_hz: float, mean: float, p: float, sites: int = 1) -> float:
    """Return Siegert's rate for the same synapses."""
    from theory.firing_rate import siegert_rate, synaptic_drive

    drive = synaptic_drive(
        spikes_hz, TAU, quantal_size=mean / (sites * p), sites=sites, release_probability=p
    )
    return siegert_rate(
        *drive, tau_m_s=TAU, threshold=THRESHOLD, reset=RESET, refractory_s=REFRACTORY
    )


def simulated_rate(
    spikes_hz: float, mean: float, p: float, *, sites: int, explicit: bool, neurons: int,
    seconds: float, dt_s: float, seed: int,
) -> tuple[float, float]:  # fmt: skip
    """Return the rate of many neurons in the compiled engine, and four standard errors."""
    import numpy as np

    from synapses.events import Network, Neurons, simulate

    jump = mean * 1e-3 / (sites * p)
    cells = Neurons(
        neurons, TAU, 0.0, RESET * 1e-3, THRESHOLD * 1e-3, refractory_s=REFRACTORY,
        external_rate_hz=0.0 if explicit else spikes_hz * p, external_jump_volt=jump,
    )  # fmt: skip
    # explicit: a source and its failing sites for every neuron; else the thinned train itself
    index = np.repeat(np.arange(neurons if explicit else 0), sites)
    network = Network.from_pairs(
        cells, source=neurons + index, target=index, amplitude_volt=jump, release_probability=p,
        delay_s=dt_s, source_rate_hz=np.full(neurons if explicit else 0, spikes_hz),
    )  # fmt: skip
    start = 0.2  # s; ten membrane time constants
    recording = simulate(network, start + seconds, dt_s, seed)
    late = recording.spike_neuron[recording.spike_time_s >= start]
    rates = np.bincount(late, minlength=neurons) / seconds
    return float(rates.mean()), float(4 * rates.std(ddof=1) / np.sqrt(neurons))


@PAPER.claim(
    "lif-siegert",
    says="Failures that leave the mean input alone make a neuron fire that its mean input would"
    " leave silent: the rate follows from the jumps exactly and from Siegert's formula, with the"
    " noise σ² = τ·rate·⟨A²⟩, to a few per cent, while a time step of 0.1 ms costs more than that.",
    tag="derived",
    derivation=FIRING_RATE,
)
def lif_siegert(run: Run) -> list[Comparison]:
    """Simulate integrate-and-fire neurons with the compiled engine, and solve for their rate."""
    import numpy as np

    neurons, seconds = run.pick(quick=(300, 1.0), full=(4000, 2.0))
    fine, coarse = run.pick(quick=2e-5, full=1e-5), 1e-4
    why = "four standard errors over neurons, at most a tenth of the rate of 3.4 Hz or more"
    interval = "4 standard errors over neurons (false alarm 6e-5 a point)"
    rates = {p: exact_rate(9000.0, MEAN, p) for p in CHANCES}

    def measured(
        explicit: bool, dt_s: float, cases: list[tuple[float, int]], seconds: float = seconds
    ) -> np.ndarray:
        """Return rates and half-widths for (p, sites)."""
        spikes, mean = (900.0, 10 * MEAN) if explicit else (9000.0, MEAN)
        name = f"neurons, {'explicit' if explicit else 'thinned'}, {dt_s:g}"
        return np.array([
            simulated_rate(
                spikes, mean, p, sites=sites, explicit=explicit, neurons=neurons,
                seconds=seconds, dt_s=dt_s, seed=run.seeds.integer(name, number),
            )
            for number, (p, sites) in enumerate(run.progress(cases, label=name))
        ]).T  # fmt: skip

    single = [(p, 1) for p in CHANCES]
    several = [*single, (SITE_CHANCE, SITES)]
    names = ("never fails", "p = 0.5", "p = 0.25", f"{SITES} sites, p = {SITE_CHANCE}")
    grid = np.linspace(0.25, 1.0, 16)
    thinned, slow = measured(False, fine, single), measured(False, coarse, single, 4 * seconds)
    explicit = measured(True, fine, several)
    chance = Axis("release probability", CHANCES)
    return [
        Comparison(
            f"0.1 mV / p at 9 kHz, step {fine * 1e3:g} ms",
            np.array(list(rates.values())),
            thinned[0],
            tolerance=1.2,
            reason=why,
            relation="inside",
            uncertainty=thinned[1],
            confidence=interval,
            quantity="firing rate",
            unit="Hz",
            axes=(chance,),
            curve=(grid, np.array([exact_rate(9000.0, MEAN, p) for p in grid])),
        ),
        Comparison(
            "1 mV on average at 0.9 kHz, explicit",
            np.array([exact_rate(900.0, 10 * MEAN, p, sites) for p, sites in several]),
            explicit[0],
            tolerance=2.6,
            reason=why,
            relation="inside",
            uncertainty=explicit[1],
            confidence=interval,
            quantity="firing rate",
            unit="Hz",
            axes=(Axis("synapse", names),),
        ),
        Comparison(
            "Siegert's rate against the exact one",
            np.array([diffusion_rate(9000.0, MEAN, p, sites) for p, sites in several]),
            np.array([exact_rate(9000.0, MEAN, p, sites) for p, sites in several]),
            tolerance=0.05,
            reason="the diffusion approximation: a jump is up to 1/25 of the way from reset to"
            " threshold, and changes the rate by about as much",
            relative=True,
            quantity="firing rate",
            unit="Hz",
            axes=(Axis("synapse", names),),
        ),
        Comparison(
            f"0.1 mV / p, step {coarse * 1e3:g} ms: too low",
            np.array(list(rates.values())),
            slow[0],
            tolerance=0.0,
            reason="an ordering: a neuron that looks at its threshold once a step misses crossings",
            relation="at_most",
            uncertainty=slow[1],
            confidence=interval,
            quantity="firing rate",
            unit="Hz",
            axes=(chance,),
        ),
    ]


def windows(kind: str, p: float, units: int, seconds: float, seed: int) -> np.ndarray:
    """Return releases (unit, synapse, window) of two synapses an axon, five spikes a window."""
    import numpy as np

    from synapses.events import Network, Neurons, simulate

    dt, width = 1e-4, 0.1
    spikes = round(TRAIN_HZ * width)
    poisson = kind == "Poisson"
    # a neuron under constant drive fires at 50 Hz: tau ln[d / (d - threshold)] = 20 ms
    drive = 0.02 / (1 - np.exp(-1.0))
    cells = Neurons(
        1 if poisson else units, 0.02, 0.0, 0.0, 0.02, drive_volt=0.0 if poisson else drive
    )
    first = 1 if poisson else 0
    network = Network.from_pairs(
        cells, source=first + np.repeat(np.arange(units), 2), target=np.zeros(2 * units, dtype=int),
        amplitude_volt=0.0, release_probability=p, delay_s=dt,
        source_rate_hz=np.full(units, TRAIN_HZ) if poisson else None,
    )  # fmt: skip
    events = simulate(network, seconds, dt, seed, record_events=True).events
    assert events is not None
    if poisson:
        window = (events.step * dt / width).astype(int)
        whole = int(seconds / width) - 1  # the last one is cut short
    else:
        # five arrivals in a row are a window, as long as any other: the train is regular
        order = np.lexsort((events.step, events.synapse))
        arrived = np.bincount(events.synapse, minlength=2 * units)
        rank = np.arange(order.size) - np.repeat(np.cumsum(arrived) - arrived, arrived)
        window = np.empty(order.size, dtype=int)
        window[order] = rank // spikes
        # the neuron fires a little slower than it would in continuous time
        whole = int(arrived.min()) // spikes
    kept = events.released & (window < whole)
    place = events.synapse[kept] * whole + window[kept]
    return np.bincount(place, minlength=2 * units * whole).reshape(units, 2, whole)


def with_error(found: np.ndarray, measure: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """Return a statistic of counts and four standard errors, by the jackknife over 40 groups."""
    import numpy as np

    groups = np.array_split(np.arange(len(found)), 40)
    left = np.array([measure(np.delete(found, group, axis=0)) for group in groups])
    spread = np.sqrt((len(groups) - 1) * left.var())
    return measure(found), float(4 * spread)


@PAPER.claim(
    "shared-input",
    says="Releases of one synapse to a Poisson train are a Poisson train, and no failure shows; a"
    " regular train shows a Fano factor of 1 − p, and two synapses of one axon that draw each for"
    " itself correlate by p under a Poisson train, not at all under a regular one.",
    tag="derived",
    derivation=RELEASE_COUNTS,
)
def shared_input(run: Run) -> list[Comparison]:
    """Count releases of pairs of synapses in the compiled engine, in windows of five spikes."""
    import numpy as np

    from theory.release_counts import release_correlation, release_fano

    units, seconds = run.pick(quick=(400, 6.0), full=(2000, 40.0))
    chances = (0.1, 0.3, 0.6, 0.9)
    # a source spikes at most once a step of 0.1 ms, so that its Fano factor is just below 1
    trains = {"Poisson": 1 - TRAIN_HZ * 1e-4, "regular": 0.0}

    def fano(found: np.ndarray) -> float:
        return float(found.var() / found.mean())

    def correlation(found: np.ndarray) -> float:
        return float(np.corrcoef(found[:, 0].ravel(), found[:, 1].ravel())[0, 1])

    table = np.empty((2, 2, len(chances), len(trains)))
    for j, kind in enumerate(run.progress(trains, label="trains")):
        for i, p in enumerate(chances):
            found = windows(kind, p, units, seconds, run.seeds.integer(f"{kind} train", i))
            table[:, 0, i, j] = with_error(found, fano)
            table[:, 1, i, j] = with_error(found, correlation)
    comparisons = []
    laws = {
        "Fano factor of releases": release_fano,
        "correlation of two targets": release_correlation,
    }
    for number, (name, law) in enumerate(laws.items()):
        comparisons.append(
            Comparison(
                name,
                np.array([[law(fano, p) for fano in trains.values()] for p in chances]),
                table[0, number],
                tolerance=0.05,
                reason="four standard errors over axons, at most a twentieth",
                relation="inside",
                uncertainty=table[1, number],
                confidence="4 standard errors, jackknife over 40 groups of axons (false alarm 3e-4"
                " a point)",
                quantity=name,
                axes=(Axis("release probability", chances), Axis("train", tuple(trains))),
            )
        )
    return comparisons
