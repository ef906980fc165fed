r"""
Weights as bits
===============

The ratio of norms :math:`f(w) = \lVert w \rVert_1 / \lVert w \rVert_2` does not see how large
weights are, only how evenly they are spread: from 1, a single nonzero weight, to the root of
their number. With :math:`\lambda \sum_t f(w_t)` in the loss, t the weight tensors
(:class:`sandbox.regularisers.RatioNorm`), a network has many weights near 0. They can be set to
0, the others rounded to few levels, and all of them put into a file by an entropy coder
(:func:`sandbox.regularisers.compression.compress`): Aytekin, Cricri & Aksu, arXiv:1905.01044.
How large is that file, and what does it cost in accuracy?
"""

import copy

import matplotlib.pyplot as plt
import numpy as np
import torch

from sandbox.bench.figures import house_style
from sandbox.claims.aytekin2019compressibility._training import (
    Setting,
    accuracy,
    matrices,
    networks,
)
from sandbox.regularisers.compression import compress
from theory.sparsity import ternary_entropy

# %%
# Handwritten digits, a network 64-100-50-10, the same two starts for every strength, 12 epochs of
# Adam.

torch.set_num_threads(1)
STRENGTHS = (0.0, 1e-3, 1e-2, 3e-2, 1e-1)
trained = networks(Setting(STRENGTHS, seeds=(1, 2), epochs=12, batch=60))

# %%
# Two quantisers: 255 levels, and 15. Weights below a hundredth of their tensor's largest become
# 0. The bits are those of the whole file, over the number of weights, zeros included; the entropy
# is what a coder needs that is told the frequencies of the levels for nothing. The file restores
# the quantised weights exactly, so that accuracies are those of its content.


def measured(network, levels):
    """Return bits of the file, entropy, share of nonzero weights, and accuracy."""
    found = compress(network, 0.01, levels=levels)
    restored = copy.deepcopy(network)
    found.restore(restored)
    return found.bits_per_weight, found.entropy, found.kept, accuracy(restored)


table = {
    levels: np.array([[measured(network, levels) for network in row] for row in trained])
    for levels in (255, 15)
}
whole = np.array([[accuracy(network) for network in row] for row in trained])

# a logarithmic axis has no place for 0: it is set apart on the left
places = np.array([2.5e-4, *STRENGTHS[1:]])
with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4.0))
    styles = list(plt.rcParams["axes.prop_cycle"])
    for (levels, found), style in zip(table.items(), styles, strict=False):
        bits, entropy, _, right_share = found.mean(axis=1).T
        color = style["color"]
        marker = {255: "o", 15: "s"}[levels]
        left.plot(places, bits, "-", marker=marker, color=color, label=f"file, {levels} levels")
        left.plot(places, entropy, "--", color=color, label=f"entropy, {levels} levels")
        right.plot(
            places, 100 * right_share, "-", marker=marker, color=color, label=f"{levels} levels"
        )
        for axis, values in ((left, found[..., 0]), (right, 100 * found[..., 3])):
            axis.fill_between(
                places, values.min(axis=1), values.max(axis=1), color=color, alpha=0.15, lw=0
            )
    ternary = [ternary_entropy(share) for share in table[255][..., 2].mean(axis=1)]
    left.plot(places, ternary, ":", color="0.4", label="entropy, if they were ternary")
    right.plot(places, 100 * whole.mean(axis=1), "k--", lw=1.2, label="as trained, 32 bits")
    for axis in (left, right):
        axis.set(xscale="log", xlabel=r"strength $\lambda$", xlim=(places[0] / 1.4, 0.14))
        axis.set_xticks(places, ["0", "0.001", "0.01", "0.03", "0.1"])
        axis.minorticks_off()
    left.set(title="Size of the file", ylabel="bits per weight", ylim=(0, None))
    right.set(title="Accuracy of its content", ylabel="test accuracy (%)")
    left.legend()
    right.legend(loc="lower left")
    plt.show()

# %%
# The dotted line is the entropy that the same share of nonzero weights would have if they were
# ternary, as critical points of f alone are. Those of a trained network are not: their magnitudes
# are spread, and this is where most of the bits go.

for strength, one, few in zip(STRENGTHS, *table.values(), strict=True):
    bits, entropy, kept, right_share = one.mean(axis=0)
    print(
        f"strength {strength:g}: {100 * kept:.1f} % nonzero, {bits:.2f} bits a weight (entropy"
        f" {entropy:.2f}), accuracy {100 * right_share:.1f} %; 15 levels: {few.mean(axis=0)[0]:.2f}"
        f" bits, {100 * few.mean(axis=0)[3]:.1f} %"
    )
spread = np.concatenate([np.abs(w) / np.abs(w).max() for w in matrices(trained[-2][0])])
large = spread[spread >= 0.01]
print(f"large magnitudes at strength 0.03 spread by {large.std() / large.mean():.2f} of their mean")
