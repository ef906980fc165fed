"""One synapse in every engine: the same numbers, the same releases; other numbers, the same law."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.schug2021presynaptic.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

    from synapses import ReleaseModel

__all__: list[str] = []

WIDTH = 4.5
"""Half-widths of intervals in standard errors."""

WORDS = "4.5 standard errors by theory (false alarm 7e-6 a point, 5e-4 for the claim)"


@PAPER.claim(
    "injected-uniforms",
    says="Fed with the same random numbers, torch, brian2 and the compiled engine train a logistic"
    " layer of 120 stochastic synapses to the same strengths and release probabilities, with"
    " equally many releases of every synapse.",
    tag="derived",
)
def injected_uniforms(run: Run) -> list[Comparison]:
    """Train 40 inputs and 3 outputs in each engine; hold it against the rule in numpy."""
    import numpy as np

    from sandbox.claims.schug2021presynaptic import _engines
    from synapses import PresynapticRule
    from synapses.events import release_uniforms

    inputs, outputs = 40, 3
    steps = run.pick(quick=200, full=2000)
    variants: tuple[Literal["program", "printed"], ...]
    variants = run.pick(quick=("program",), full=("program", "printed"))
    seed = int(run.seeds.generator("release").integers(2**31))
    numbers = release_uniforms(seed, steps, inputs * outputs)
    lessons = _engines.Lessons.draw(run.seeds, numbers, inputs, outputs)
    engines = {
        "torch": _engines.learn_in_torch,
        "brian2": _engines.learn_in_brian,
        "compiled": _engines.learn_compiled,
    }
    shown = np.arange(0, steps, steps // 40)
    synapses = Axis("synapse, in order of release probability", tuple(range(inputs * outputs)))
    found = []
    for variant in variants:
        rule = PresynapticRule(0.065, 0.045, 0.02, p_freeze=0.8, variant=variant)
        exact = _engines.learn_in_numpy(rule, lessons)
        learned = [
            engine(rule, lessons) for engine in run.progress(engines.values(), label=variant)
        ]
        lines = Axis("engine", tuple(engines))
        order = np.argsort(exact.p[-1], kind="stable")
        off = [np.abs(one.strength - exact.strength).max(axis=1)[shown] for one in learned]
        three = (len(engines), 1)
        found += [
            Comparison(
                f"farthest strength, {variant} rule",
                np.zeros((len(shown), len(engines))),
                np.array(off).T,
                tolerance=1e-12,
                reason="rounding of sums over 40 inputs, carried on from step to step; the"
                " compiled engine releases only, its learning is the definition's own arithmetic",
                quantity="distance from the definition",
                axes=(Axis("training step", tuple(shown + 1)), lines),
            ),
            Comparison(
                f"probabilities at the end, {variant} rule",
                np.tile(exact.p[-1, order], three).T,
                np.array([one.p[-1, order] for one in learned]).T,
                tolerance=1e-12,
                reason="p moves by the same steps unless a gradient crosses the threshold",
                quantity="release probability",
                axes=(synapses, lines),
            ),
            Comparison(
                f"releases, {variant} rule",
                np.tile(exact.released.sum(axis=0)[order], three).T,
                np.array([one.released.sum(axis=0)[order] for one in learned]).T,
                tolerance=0.0,
                reason="the same numbers against the same release probabilities",
                quantity=f"releases in {steps} steps",
                axes=(synapses, lines),
            ),
        ]
    return found


@PAPER.claim(
    "bridge-releases",
    says="A network trained in torch and carried to brian2 and to the compiled engine as a spiking"
    " network releases at the same synapses at the same times in all three, if they are fed with"
    " the same random numbers.",
    tag="derived",
)
def bridge_releases(run: Run) -> list[Comparison]:
    """Train on digits; show one of them as spikes; compare every arrival of a spike."""
    import numpy as np
    import torch

    from sandbox.claims.schug2021presynaptic import _engines, _engines_spiking
    from sandbox.training.data import load
    from sandbox.training.loop import fit
    from sandbox.training.plan import Plan
    from synapses import PresynapticRule
    from synapses.consolidation import PresynapticOptimizer
    from synapses.events import release_uniforms
    from synapses.layers import StochasticLinear

    steps = run.pick(quick=512, full=8192)
    digits = load("digits", scaling="standard")
    seed = int(run.seeds.generator("release").integers(2**31))
    torch.manual_seed(seed)
    layers = StochasticLinear(64, 40, bias=False), StochasticLinear(40, 10, bias=False)
    net = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1])
    optimizer = PresynapticOptimizer(
        net, PresynapticRule(0.07, 0.07, 0.005, variant="program"), lr=0.05
    )
    fit(net, digits, optimizer, Plan(epochs=8, batch_size=64), streams=run.seeds)

    lost = _engines_spiking.lost_on_the_way(layers[0], optimizer)
    net.double()  # the potentials then agree to more digits; p is the same
    rates = 200 * load("digits").test.inputs[0].clip(0, 1)
    numbers = release_uniforms(seed, steps, 64 * 40 + 40 * 10)
    compiled, sent = _engines_spiking.spike_compiled(layers, rates, 0.016, numbers, seed)
    inside = _engines_spiking.spike_in_torch(layers, sent, 0.016, numbers)
    others = {
        "brian2": _engines_spiking.spike_in_brian(layers, sent, 0.016, numbers),
        "compiled": compiled,
    }

    bins = np.arange(0, steps + 1, steps // 32)

    def counts(table: np.ndarray) -> np.ndarray:
        """Count releases in each bin of time."""
        return np.histogram(table[table[:, 2] > 0, 0], bins)[0]

    found: list[Comparison] = []
    for k, name in enumerate(("input to hidden", "hidden to output")):
        found.append(
            Comparison(
                f"releases, {name} (line: torch)",
                np.tile(counts(inside.events[k]), (len(others), 1)).T,
                np.array([counts(one.events[k]) for one in others.values()]).T,
                tolerance=0.0,
                reason="the same numbers against the same release probabilities; those of the"
                " second layer need the same spikes of the hidden neurons besides",
                quantity=f"releases in {1000 * _engines.STEP_S * bins[1]:.3g} ms",
                axes=(
                    Axis("time", tuple(_engines.STEP_S * (bins[:-1] + bins[1:]) / 2), "s"),
                    Axis("engine", tuple(others)),
                ),
            )
        )
    differ: dict[str, int] = {}
    for engine, one in others.items():
        arrivals, spikes = _engines_spiking.differences(one, inside)
        differ |= {f"{engine}: arrivals": arrivals, f"{engine}: spikes": spikes}
    differ["there and back: numbers"] = lost
    arrivals = sum(map(len, inside.events))
    spikes = sum(int(one.sum()) for one in inside.spikes)
    found.append(
        Comparison(
            "what differs from torch",
            np.zeros(len(differ)),
            np.array(list(differ.values())),
            tolerance=0.0,
            reason=f"of {arrivals} arrivals of spikes at synapses (time, synapse, release or"
            f" failure), {spikes} spikes of neurons and {2 * 64 * 40} carried numbers none may"
            " differ",
            quantity="differences",
            axes=(Axis("", tuple(differ)),),
        )
    )
    return found


@PAPER.claim(
    "engine-distributions",
    says="With random numbers of their own, torch, brian2 and both samplers of the compiled engine"
    " release with the same frequencies and without correlations, and what a spike adds to its"
    " target has the binomial law's mean, variance, third moment and failures.",
    tag="derived",
    derivation=lazy("theory.information:quantal_moments"),
)
def engine_distributions(run: Run) -> list[Comparison]:
    """Release many times by torch, brian2 and the compiled engine's samplers; compare laws."""
    import numpy as np

    from sandbox.claims.schug2021presynaptic import _engines_release
    from synapses import ReleaseModel

    each, spikes, targets = run.pick(quick=(50, 400, 20_000), full=(100, 4000, 400_000))
    chances = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98])
    # unreliable synapses and reliable ones have a source each, so that "skip" has much to skip
    p = np.sort(np.repeat(chances, each)).reshape(2, -1, each).swapaxes(1, 2).ravel()
    seeds = {
        name: int(run.seeds.generator(name).integers(2**31))
        for name in ("torch", "brian2", "per-synapse", "skip")
    }
    drawn = {
        "torch": _engines_release.releases_in_torch(p, spikes, seeds["torch"]),
        "brian2": _engines_release.releases_in_brian(p, spikes, seeds["brian2"]),
    } | {
        name: _engines_release.releases_compiled(p, spikes, seeds[name], name)
        for name in ("per-synapse", "skip")
    }
    lines = Axis("engine", tuple(drawn))
    variance = p * (1 - p)

    frequency = [[r[:, p == chance].mean() for chance in chances] for r in drawn.values()]
    error = np.sqrt(chances * (1 - chances) / (spikes * each))
    # the mean of squares of binomial counts, by their fourth moment
    totals = np.array([r.sum(axis=0) for r in drawn.values()])
    score = ((totals - spikes * p) ** 2 / (spikes * variance)).mean(axis=1)
    spread = np.sqrt(np.mean(2 + (1 - 6 * variance) / (spikes * variance)) / p.size)
    standard = [(r - p) / np.sqrt(variance) for r in drawn.values()]
    within = [(x[:, 1:] * x[:, :-1]).mean() for x in standard]
    between = [(x[1:] * x[:-1]).mean() for x in standard]
    products = np.sqrt([spikes * (p.size - 1), (spikes - 1) * p.size])

    model = ReleaseModel(sites=5, release_probability=0.3, quantal_size=0.5)
    summed = {
        "ReleaseModel.sample": model.sample(run.seeds.generator("definition"), targets),
        "torch": _engines_release.inputs_in_torch(model, targets, seeds["torch"] + 1),
        "brian2": _engines_release.inputs_in_brian(model, targets, seeds["brian2"] + 1),
    } | {
        name: _engines_release.inputs_compiled(model, targets, seeds[name] + 1, name)
        for name in ("per-synapse", "skip")
    }
    moments = ("mean", "variance", "third moment", "failures")
    found = np.array([
        (a.mean(), a.var(), ((a - a.mean()) ** 3).mean(), (a == 0).mean()) for a in summed.values()
    ]).T
    theory = (model.mean(), model.variance(), model.third_moment(), model.failure_probability())
    reach = _moment_errors(model, targets)
    return [
        Comparison(
            "frequency of release",
            np.tile(chances, (len(drawn), 1)).T,
            np.array(frequency).T,
            tolerance=0.02,
            reason=f"{spikes * each} releases or failures a point",
            relation="inside",
            uncertainty=WIDTH * np.tile(error, (len(drawn), 1)).T,
            confidence=WORDS,
            quantity="share of spikes",
            axes=(Axis("release probability", tuple(chances)), lines),
        ),
        Comparison(
            "what one spike adds through five sites",
            np.tile(theory, (len(summed), 1)).T,
            found,
            tolerance=0.02,
            reason=f"{targets} targets",
            relation="inside",
            uncertainty=WIDTH * np.tile(reach, (len(summed), 1)).T,
            confidence=WORDS,
            quantity="moment (of a quantum of 1/2)",
            axes=(Axis("", moments), Axis("engine", tuple(summed))),
        ),
        Comparison(
            "correlation of releases",
            np.zeros((2, len(drawn))),
            np.array([within, between]),
            tolerance=0.01,
            reason=f"{spikes} spikes at {p.size} synapses, neighbours in pairs",
            relation="inside",
            uncertainty=WIDTH * np.tile(1 / products, (len(drawn), 1)).T,
            confidence=WORDS,
            quantity="correlation",
            axes=(Axis("", ("two synapses,\none spike", "one synapse,\ntwo spikes")), lines),
        ),
        Comparison(
            "spread of release counts",
            np.ones(len(drawn)),
            score,
            tolerance=0.3,
            reason=f"{p.size} synapses; counts of {spikes} spikes",
            relation="inside",
            uncertainty=np.full(len(drawn), WIDTH * spread),
            confidence=WORDS,
            quantity="χ² per synapse",
            axes=(lines,),
        ),
    ]


def _moment_errors(model: ReleaseModel, targets: int) -> np.ndarray:
    """Return standard errors of the mean, variance, third moment and failures, by the law."""
    from math import comb

    import numpy as np

    N, p, q = model.sites, model.release_probability, model.quantal_size
    k = np.arange(N + 1)
    law = np.array([comb(N, n) for n in k]) * p**k * (1 - p) ** (N - k)
    away = q * k - model.mean()
    # how much one sample moves each estimate, to first order
    moves = (away, away**2, away**3 - 3 * model.variance() * away, k == 0)
    spread = [law @ np.square(move) - (law @ move) ** 2 for move in moves]
    return np.asarray(np.sqrt(np.array(spread) / targets))
