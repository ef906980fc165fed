"""What a release probability tells of its synapse: two peaks, Fisher information, lesions."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.schug2021presynaptic.paper import PAPER

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    Trained: TypeAlias = tuple[list[nn.Sequential], Tensor, Tensor]

__all__: list[str] = []

QUANTILES = {3: 4.303, 6: 2.571, 10: 2.262}
"""Student's 97.5 % quantile, for 95 % intervals over so many seeds."""


def trained(run: Run, seeds: int = 6) -> Trained:
    """Return networks trained by the rule, with test inputs and classes."""
    # the published settings of the energy experiment need thousands of steps; for digits, whose
    # gradients are larger, g_lim is 5 times and eta twice as large, weight decay half
    import torch

    from sandbox.claims.schug2021presynaptic._together import train_together
    from sandbox.training.data import load
    from sandbox.training.plan import Plan
    from sandbox.training.tasks import single_task
    from synapses import PresynapticRule
    from synapses.consolidation import PresynapticOptimizer
    from synapses.networks import stochastic_mlp
    from synapses.presets import preset
    from theory.streams import Streams

    count = run.pick(quick=seeds, full=3)
    published = preset("energy/program")
    rule, rate, decay, widths = published.rule, published.learning_rate, 0.01, published.widths
    plan = Plan(epochs=published.epochs, batch_size=published.batch_size)
    if run.scale == "quick":
        rule = PresynapticRule(0.07, 0.07, 0.005, variant="program", rate_modulation=False)
        rate, decay, widths = 0.1, 0.005, (64, 64, 10)
        plan = Plan(epochs=20, batch_size=64)
    data = load(run.pick(quick="digits", full="mnist-5k", paper="mnist"), scaling="standard")
    own = [Streams(run.seeds.integer("networks", k)) for k in range(count)]
    networks = [stochastic_mlp(widths, streams=streams) for streams in own]

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        assert rule is not None
        return PresynapticOptimizer(model, rule, rate, decay)

    train_together(networks, [single_task(data)] * len(own), optimizer, plan, own)
    return networks, torch.tensor(data.test.inputs), torch.tensor(data.test.targets)


def spread(values: np.ndarray) -> np.ndarray:
    """Return the half-width of the 95 % interval of the mean over the first axis, the seeds."""
    import numpy as np

    half: np.ndarray = QUANTILES[len(values)] * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return half


CONFIDENCE = "95 % interval over seeds (Student)"


@PAPER.claim(
    "release-bimodal",
    says="After learning, release probabilities lie near their floor or near 1: synapses between"
    " 0.5 and 0.8 are rarer, per unit of probability, than those below 0.4 and those above 0.9.",
    tag="derived",
    derivation=lazy("synapses.derivations:release_walk"),
)
def release_bimodal(run: Run) -> Comparison:
    """Count release probabilities after learning."""
    import numpy as np

    from synapses.layers import stochastic_layers

    found = []
    for network in trained(run)[0]:
        layers = stochastic_layers(network).values()
        p = np.concatenate([layer.release_probability.numpy().ravel() for layer in layers])
        low, middle, high = (
            ((p >= start) & (p < end)).mean() / (end - start)
            for start, end in ((0.25, 0.4), (0.5, 0.8), (0.9, 1.0 + 1e-9))
        )
        found.append([middle / low, middle / high])
    ratios = np.array(found)
    return Comparison(
        "density between the peaks, against each of them",
        np.ones(2),
        ratios.mean(axis=0),
        tolerance=0.0,
        reason="a bound: the density between the peaks is the smallest",
        relation="at_most",
        uncertainty=spread(ratios),
        confidence=CONFIDENCE,
        quantity="ratio of densities",
        axes=(Axis("density at p in 0.5–0.8, divided by that at", ("0.25–0.4", "0.9–1")),),
        log=True,
    )


def rank_correlations(run: Run) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return rank correlations of p and Fisher information, bounds by chance, and labels."""
    # (seed, layer, kind); the kinds: all synapses, and less the mean ranks of input and neuron;
    # the bounds: 4 standard deviations of the rank correlation of shuffled synapses
    import numpy as np
    from scipy.stats import rankdata

    from synapses.layers import stochastic_layers
    from synapses.lesions import diagonal_fisher

    def own(ranks: np.ndarray) -> np.ndarray:
        means = ranks.mean(axis=0) + ranks.mean(axis=1, keepdims=True)
        centred: np.ndarray = ranks - means + ranks.mean()
        return centred

    networks, inputs, targets = trained(run)
    layers = list(stochastic_layers(networks[0]))
    found = np.empty((len(networks), len(layers), 2))
    chance = np.empty(len(layers))
    for i, network in enumerate(run.progress(networks, label="networks")):
        fisher = diagonal_fisher(network, inputs, targets)
        for k, (name, layer) in enumerate(stochastic_layers(network).items()):
            shape = layer.release_probability.shape
            p, f = (
                rankdata(values.numpy()).reshape(shape)
                for values in (layer.release_probability, fisher[name])
            )
            found[i, k, 0] = np.corrcoef(p.ravel(), f.ravel())[0, 1]
            found[i, k, 1] = np.corrcoef(own(p).ravel(), own(f).ravel())[0, 1]
            chance[k] = 4 / np.sqrt(p.size - 1)
    return found, chance, [f"layer {k + 1}" for k in range(len(layers))]


@PAPER.claim(
    "fisher-relation",
    says="Synapses that release more reliably carry more Fisher information: the rank correlation"
    " of release probability and diagonal Fisher information on the test samples is positive in"
    " every layer.",
    tag="paper",
)
def fisher_relation(run: Run) -> Comparison:
    """Correlate ranks over the synapses of every layer."""
    found, chance, labels = rank_correlations(run)
    return Comparison(
        "release probability and Fisher information",
        chance,
        found[..., 0].mean(axis=0),
        tolerance=0.0,
        reason="the bound is 4 standard deviations of the rank correlation of shuffled synapses",
        relation="at_least",
        uncertainty=spread(found[..., 0]),
        confidence=CONFIDENCE,
        quantity="rank correlation",
        axes=(Axis("synapses of", tuple(labels)),),
    )


@PAPER.claim(
    "fisher-within",
    says="In the first layer that relation is one of whole inputs and whole neurons: once their"
    " mean ranks are taken away, less than a third of the rank correlation is left.",
    tag="derived",
)
def fisher_within(run: Run) -> Comparison:
    """Correlate ranks less the means of input and neuron."""
    import numpy as np

    found, _, labels = rank_correlations(run)
    left = found[:, :1, 1] / found[:, :1, 0]
    return Comparison(
        "correlation left without the means of inputs and neurons",
        np.array([1 / 3]),
        left.mean(axis=0),
        tolerance=0.0,
        reason="the bound that the statement names",
        relation="at_most",
        uncertainty=spread(left),
        confidence=CONFIDENCE,
        quantity="share of the rank correlation",
        axes=(Axis("synapses of", tuple(labels[:1])),),
    )


@PAPER.claim(
    "lesion-ordering",
    says="Silencing the synapses of lowest release probability hurts less than silencing random"
    " ones, and silencing those of lowest expected strength hurts less still.",
    tag="paper",
)
def lesion_ordering(run: Run) -> list[Comparison]:
    """Silence growing shares of the synapses and test again, ten sampled networks averaged."""
    import numpy as np
    import torch

    from synapses.layers import stochastic_layers
    from synapses.lesions import LesionOrder, lesion
    from synapses.networks import Averaged

    networks, inputs, targets = trained(run, 10)
    shares = (0.7, 0.8, 0.9)
    orders: tuple[LesionOrder, ...] = ("random", "release_probability", "strength")
    found = np.empty((len(networks), len(orders), len(shares)))
    generator = torch.Generator().manual_seed(run.seeds.integer("lesioned networks"))
    with torch.no_grad():
        for i, network in enumerate(run.progress(networks, label="networks")):
            for j, order in enumerate(orders):
                for k, share in enumerate(shares):
                    cut = Averaged(lesion(network, order, share, seed=i)).eval()
                    for layer in stochastic_layers(cut).values():
                        layer.generator = generator
                    right = cut(inputs).argmax(dim=1) == targets
                    found[i, j, k] = right.double().mean().item()
    comparisons = []
    for name, better, worse in (
        ("lowest release probability first, against random", 1, 0),
        ("lowest strength first, against lowest release probability", 2, 1),
    ):
        gains = found[:, better] - found[:, worse]
        comparisons.append(
            Comparison(
                name,
                np.zeros(len(shares)),
                gains.mean(axis=0),
                tolerance=0.0,
                reason="an ordering: more accuracy is left",
                relation="at_least",
                uncertainty=spread(gains),
                confidence=CONFIDENCE,
                quantity="gain in accuracy",
                axes=(Axis("share of synapses silenced", shares),),
            )
        )
    return comparisons
