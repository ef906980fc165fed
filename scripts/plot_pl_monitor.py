r"""
Does gradient descent keep its promise?
=======================================

If the least eigenvalue :math:`\mu` of the tangent kernel :math:`K = DF\,DF^\top` stays away
from 0, gradient descent on :math:`L = \frac12 |F(w) - y|^2` must reach a solution nearby: the
loss falls at least as fast as :math:`\prod_t (1 - \eta\mu_t)`, and the path is no longer than
:math:`2|r_0|/\sqrt\mu` with :math:`r_0 = F(w_0) - y`
(:doc:`the radii </derivations/path_length_radius>`).

A :class:`~sandbox.landscape.monitor.PLMonitor` is hooked into the training of two networks
that tell odd digits from even ones. One has 512 hidden units. The other has two, and no
biases: digits that switch both off have no gradient at all.
"""

import matplotlib.pyplot as plt
import torch

from sandbox.bench.figures import house_style
from sandbox.landscape import PLMonitor
from sandbox.training.data import load
from sandbox.training.loop import fit
from sandbox.training.models import mlp
from sandbox.training.plan import Plan
from sandbox.training.samples import Dataset, Samples
from theory.streams import Streams

STREAMS, DIGITS, STEPS, STEP_SIZE = Streams(0), 12, 400, 0.0075
train = load("digits").train
inputs = train.inputs[:DIGITS].astype(float) - train.inputs.mean(axis=0)
signs = 2.0 * (train.targets[:DIGITS, None] % 2) - 1.0
few = Samples(inputs, signs)
data = Dataset("odd or even", few, few, (), (64,))


def watched(width, bias):
    """Train by full-batch gradient descent; return the monitor."""
    net = mlp([64, width, 1], streams=STREAMS, bias=bias, dtype=torch.float64)
    monitor = PLMonitor(torch.from_numpy(inputs), torch.from_numpy(signs), every=20)
    plan = Plan(epochs=STEPS, batch_size=None, loss="squared", evaluate_every=STEPS)
    # the loop's loss is a mean over samples: its learning rate is that of L times their number
    optimizer = torch.optim.SGD(net.parameters(), lr=DIGITS * STEP_SIZE)
    fit(net, data, optimizer, plan, streams=STREAMS, hooks=monitor.hooks())
    return monitor


runs = {"512 units": watched(512, True), "2 units, no biases": watched(2, False)}
for name, monitor in runs.items():
    verdict = monitor.verdict()
    print(f"{name}: {verdict.word}, mu = {verdict.mu:.3g}")
    for line in verdict.reasons + verdict.notes:
        print("   ", line)

# %%
# Loss and kernel
# ---------------
#
# The wide network stays far below its bound: the error shrinks by :math:`1 - \eta\mu` a step
# even along the slowest direction, and the loss is its square. The narrow one has
# :math:`\mu = 0` and a bound that promises nothing; its loss stops at 1/2 for every digit that
# switches all its units off.

with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.6))
    for color, (name, monitor) in zip(("C0", "C1"), runs.items(), strict=True):
        steps, column = monitor.trace.column("step"), monitor.trace.column
        left.semilogy(steps, column("loss"), color=color, ls="-", label=f"loss, {name}")
        left.semilogy(steps, column("bound"), color=color, ls="--", label="its bound")
        right.plot(steps, column("lambda_min"), color=color, ls="-", label=name)
    left.set_title("loss against its bound")
    left.set_xlabel("step")
    left.set_ylabel("L (squared output)")
    left.set_ylim(1e-9, 1e5)
    left.legend(loc="upper center", ncols=2)
    right.set_title("least eigenvalue of the kernel")
    right.set_xlabel("step")
    right.set_ylabel(r"$\mu_t$ (squared output per squared parameter)")
    right.legend(loc="center", bbox_to_anchor=(0.6, 0.55))
    plt.show()

# %%
# Path and radii
# --------------
#
# Any solution is at least :math:`|r_0|/L_F` away, no path of the gradient flow is longer than
# :math:`|r_0|/\sqrt\mu`, none of descent longer than twice that, and the theorem's ball has
# the radius :math:`2 L_F |r_0|/\mu`. All this with :math:`\mu` and :math:`L_F` as seen along
# the path: the monitor watches, it does not certify.

wide = runs["512 units"]
with house_style():
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    steps = wide.trace.column("step")
    axes.semilogy(steps[1:], wide.trace.column("path")[1:], color="C0", label="path")
    axes.semilogy(
        steps[1:], wide.trace.column("distance")[1:], color="C0", ls=":", label="distance"
    )
    words = {
        "least distance": "least distance of a solution",
        "flow": "longest path of the flow",
        "descent": "longest path of descent",
        "theorem": "radius of the theorem",
    }
    for name, radius in wide.radii().items():
        axes.axhline(radius, color="k", lw=0.8, ls="--")
        axes.text(STEPS, radius * 1.06, words[name], ha="right", va="bottom", fontsize=8)
    axes.set_title("512 units: how far it goes")
    axes.set_xlabel("step")
    axes.set_ylabel("distance between parameters")
    axes.set_ylim(0.1, 100)
    axes.legend(loc="upper left")
    plt.show()
