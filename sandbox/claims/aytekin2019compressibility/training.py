"""Networks trained with the ratio norm: how sparse, how many bits, and how ternary they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.aytekin2019compressibility.paper import PAPER

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from sandbox.claims.aytekin2019compressibility._training import Setting

__all__: list[str] = []

CRITICAL = lazy("theory.sparsity:ratio_norm_critical_points")
SHARE = 0.01
"""Weights below this share of their tensor's largest count as 0."""
DATA = "handwritten digits, 64-100-50-10, Adam at 1e-3, a ratio for every weight tensor"


def setting(run: Run) -> Setting:
    """Return strengths and length of training: some 160 steps at quick, 4,200 at full."""
    from sandbox.claims.aytekin2019compressibility._training import Setting

    seeds = tuple(run.seeds.integer("networks", i) for i in range(run.pick(quick=3, full=5)))
    return run.pick(
        quick=Setting((0.0, 1e-2, 5e-2), seeds, epochs=7, batch=60),
        full=Setting((0.0, 1e-3, 1e-2, 5e-2), seeds, epochs=150, batch=50),
    )


def trained(run: Run) -> tuple[tuple[nn.Module, ...], ...]:
    """Return the networks by strength and seed."""
    from sandbox.claims.aytekin2019compressibility._training import networks

    return networks(setting(run), run.device)


def strengths(run: Run, skip: int = 0) -> Axis:
    """Return the axis of strengths, as labels: one of them is 0."""
    return Axis("strength", tuple(f"{value:g}" for value in setting(run).strengths[skip:]))


def soft_count(network: nn.Module) -> float:
    """Return the sum of the squared ratios of numpy's norms, over that of all weights."""
    import numpy as np

    from sandbox.claims.aytekin2019compressibility._training import matrices

    parts = matrices(network)
    squares = [(np.linalg.norm(w, 1) / np.linalg.norm(w)) ** 2 for w in parts]
    return float(sum(squares) / sum(w.size for w in parts))


def large(network: nn.Module, share: float = SHARE) -> list[np.ndarray]:
    """Return the magnitudes of all weights above a share of their tensor's largest."""
    import numpy as np

    from sandbox.claims.aytekin2019compressibility._training import matrices

    sizes = [np.abs(w) for w in matrices(network)]
    return [size[size >= share * size.max()] for size in sizes]


@PAPER.claim(
    "strength-sparsifies",
    says="The stronger the loss, the sparser the trained network: the fewer weights lie above a"
    " hundredth of their tensor's largest, and the smaller is the soft count of nonzeros f².",
    tag="paper",
)
def strength_sparsifies(run: Run) -> list[Comparison]:
    """Train digits at several strengths; count weights."""
    import numpy as np

    from sandbox.claims.aytekin2019compressibility._training import matrices, over_seeds

    found = trained(run)

    def kept(network: nn.Module) -> float:
        """Return the share of weights that are large."""
        return sum(map(len, large(network))) / sum(map(len, matrices(network)))

    comparisons = []
    for name, measure in (("weights kept", kept), ("f² over the number of weights", soft_count)):
        mean, half, words = over_seeds(found, measure)
        comparisons.append(
            Comparison(
                name,
                -np.arange(len(found), dtype=float),
                mean,
                tolerance=0.0,
                reason=f"an order, no size: the paper's networks are others; {DATA}",
                relation="ordered",
                uncertainty=half,
                confidence=words,
                quantity="share of weights",
                axes=(strengths(run),),
            )
        )
    return comparisons


@PAPER.claim(
    "pruned-accuracy",
    says="Weights below a hundredth of their tensor's largest can be set to 0: the accuracy falls"
    " by less than two points, averaged over strengths of 0 to 0.05. Below a tenth, which is tested"
    " after long training only, networks with a weak penalty lose more than those without.",
    tag="derived",
)
def pruned_accuracy(run: Run) -> list[Comparison]:
    """Prune copies of the networks; at full, at a tenth as well."""
    from copy import deepcopy

    import numpy as np

    from sandbox.claims.aytekin2019compressibility._training import accuracy, mean_interval
    from sandbox.regularisers.compression import prune

    def gained(network: nn.Module, share: float) -> float:
        """Return what pruning does to the accuracy."""
        copied = deepcopy(network)
        prune(copied, share)
        return accuracy(copied) - accuracy(network)

    found = trained(run)
    table = np.array([[gained(network, SHARE) for network in row] for row in found])
    mean, half, words = mean_interval(table.mean(axis=0, keepdims=True))
    comparisons = [
        Comparison(
            "accuracy gained by pruning at a hundredth, mean over strengths",
            np.zeros(1),
            mean,
            tolerance=0.02,
            reason="two points are what is taken to be little: 7 of the 359 test digits",
            relation="at_least",
            uncertainty=half,
            confidence=words,
            quantity="accuracy",
            axes=(Axis("share", (SHARE,)),),
        )
    ]
    if run.scale != "quick":
        few = setting(run).strengths[:-1]
        table = np.array([[gained(network, 0.1) for network in row] for row in found[:-1]])
        mean, half, words = mean_interval(table)
        comparisons.append(
            Comparison(
                "accuracy gained by pruning at a tenth, without penalty and with weak ones",
                np.array([1.0] + [0.0] * (len(few) - 1)),
                mean,
                tolerance=0.0,
                reason="an order: weak penalties lose more",
                relation="ordered",
                uncertainty=half,
                confidence=words,
                quantity="accuracy",
                axes=(Axis("strength", tuple(f"{value:g}" for value in few)),),
            )
        )
    return comparisons


@PAPER.claim(
    "fewer-bits",
    says="The stronger the loss, the fewer bits a weight takes, measured as the bytes of a range"
    " coder with everything that decoding needs.",
    tag="paper",
)
def fewer_bits(run: Run) -> Comparison:
    """Prune at a hundredth, quantise to 255 levels, code, and count bytes."""
    import numpy as np

    from sandbox.claims.aytekin2019compressibility._training import over_seeds
    from sandbox.regularisers.compression import compress

    mean, half, words = over_seeds(trained(run), lambda net: compress(net, SHARE).bits_per_weight)
    return Comparison(
        "size of the file",
        -np.arange(len(mean), dtype=float),
        mean,
        tolerance=0.0,
        reason=f"an order, no size: the paper's networks are others; {DATA}",
        relation="ordered",
        uncertainty=half,
        confidence=words,
        quantity="bits per weight",
        axes=(strengths(run),),
    )


@PAPER.claim(
    "coder-near-entropy",
    says="The range coder's bytes are the entropy of the quantised weights and the table of their"
    " frequencies, and almost nothing more.",
    tag="standard",
)
def coder_near_entropy(run: Run) -> Comparison:
    """Count levels of restored weights; price them and the gaps between in Elias's gamma code."""
    from copy import deepcopy

    import numpy as np

    from sandbox.claims.aytekin2019compressibility._training import matrices
    from sandbox.regularisers.compression import compress

    expected, measured = [], []
    for row in trained(run):
        made = compress(row[0], SHARE)
        restored = deepcopy(row[0])
        made.restore(restored)
        bits, number = 0.0, 0
        for w in matrices(restored):
            level = np.rint(w / np.abs(w).max() * 127)
            counts = np.histogram(level, np.arange(level.min() - 0.5, level.max() + 1))[0]
            shares = counts[counts > 0] / w.size
            counted = -w.size * (shares * np.log2(shares)).sum()
            numbers = np.concatenate([counts[counts > 0], np.diff(np.flatnonzero(counts))])
            counted += (2 * np.floor(np.log2(numbers)) + 1).sum()
            bits += min(counted, w.size * np.log2(len(counts)))
            number += w.size
        expected.append(bits / number)
        measured.append(made.bits_per_weight)
    return Comparison(
        "size of the file over entropy and table",
        np.array(expected),
        np.array(measured),
        tolerance=0.073,
        reason="names, shapes, steps, ends and paddings take 30 bytes a tensor at most, mark,"
        " number and checksum 9, the coder's last words 8: 856 bits for 11,900 weights",
        quantity="bits per weight",
        axes=(strengths(run),),
    )


@PAPER.claim(
    "nonzero-low-entropy",
    says="The loss gives the nonzero weights of trained networks low entropy: at most half the bits"
    " each that they need in networks trained without it.",
    tag="paper",
)
def nonzero_low_entropy(run: Run) -> Comparison:
    """Quantise large weights to multiples of a 127th of the largest; take their entropy."""
    import numpy as np

    from sandbox.claims.aytekin2019compressibility._training import matrices, mean_interval

    def bits(network: nn.Module) -> float:
        """Return the entropy of a nonzero weight, each tensor by its own frequencies."""
        total, number = 0.0, 0
        for w in matrices(network):
            peak = np.abs(w).max()
            levels = np.rint(w[np.abs(w) >= SHARE * peak] / peak * 127)
            shares = np.unique(levels, return_counts=True)[1] / levels.size
            total -= levels.size * (shares * np.log2(shares)).sum()
            number += levels.size
        return float(total / number)

    table = np.array([[bits(network) for network in row] for row in trained(run)])
    mean, half, words = mean_interval(table[1:] / table[0])
    return Comparison(
        "entropy of a nonzero weight, over that without the loss",
        np.full(len(mean), 0.5),
        mean,
        tolerance=0.0,
        reason="half is what low is taken to be; at a critical point of the loss alone, a sign"
        " would be left, one bit of seven",
        relation="at_most",
        uncertainty=half,
        confidence=words,
        quantity="ratio of entropies",
        axes=(strengths(run, skip=1),),
    )


@PAPER.claim(
    "trained-not-ternary",
    says="What training with the loss ends at is no critical point of it: magnitudes above a"
    " hundredth of the largest are not equal, but spread by a third of their mean or more.",
    tag="derived",
    derivation=CRITICAL,
)
def trained_not_ternary(run: Run) -> Comparison:
    """Take the standard deviation of large magnitudes over their mean."""
    import numpy as np

    from sandbox.claims.aytekin2019compressibility._training import over_seeds

    def spread(network: nn.Module) -> float:
        """Return the mean over layers of the relative spread."""
        return float(np.mean([size.std() / size.mean() for size in large(network)]))

    mean, half, words = over_seeds(trained(run)[1:], spread)
    return Comparison(
        "spread of magnitudes",
        np.full(len(mean), 1 / 3),
        mean,
        tolerance=0.0,
        reason="ternary weights would have 0; normal ones have 0.76, and equally likely magnitudes"
        " up to the largest 0.58",
        relation="at_least",
        uncertainty=half,
        confidence=words,
        quantity="standard deviation over mean",
        axes=(strengths(run, skip=1),),
    )


@PAPER.claim(
    "training-grows-the-norm",
    says="A weak penalty, up to 0.01 here, makes |w|₂ grow beyond where it ends without one,"
    " although the ratio does not depend on it.",
    tag="derived",
    derivation=CRITICAL,
)
def training_grows(run: Run) -> Comparison:
    """Compare norms of all weights at the end, of networks of a seed."""
    import numpy as np

    from sandbox.claims.aytekin2019compressibility._training import matrices, mean_interval

    table = np.array([
        [np.linalg.norm(np.concatenate(matrices(network))) for network in row]
        for row in trained(run)
    ])
    mean, half, words = mean_interval(table[1:-1] / table[0])
    return Comparison(
        "norm over that without penalty",
        np.ones(len(mean)),
        mean,
        tolerance=0.0,
        reason="grown is above 1",
        relation="at_least",
        uncertainty=half,
        confidence=words,
        quantity="ratio of norms",
        axes=(Axis("strength", strengths(run, skip=1).values[:-1]),),
    )
