r"""
What synaptic intelligence sums along the path
==============================================

Synaptic intelligence (SI) multiplies every step of training by the gradient that it went
down, and takes the sum for each weight's share in the loss:

.. math::

   \tilde\omega = -\sum_t \hat g_t \, \Delta_t.

But the step was made from the very batch that measured the gradient. Taken on an independent
batch (SIU) the same sum is that of the true gradient; the difference (SIB) is a bias, which
under gradient descent is the variance of a batch's gradient
(:func:`theory.importance.path_bias_sgd`). F. Benzing, arXiv:2006.06357, found that it is most
of SI (:class:`sandbox.regularisers.SynapticIntelligence` has all three).
"""

import matplotlib.pyplot as plt
import numpy as np

from sandbox.bench.figures import house_style
from sandbox.claims.benzing2022importance._path import follow
from sandbox.claims.benzing2022importance._settings import ONE_TASK

# %%
# Handwritten digits, a network 64-64-10, Adam, four starts. Path sums over all weights, with
# batches of 8 images and with batches of 256 of the same 512.

SEEDS = (1, 2, 3, 4)
LABELS = {"SI": "SI", "SIB": "its bias (SIB)", "SIU": "without bias (SIU)"}
LABELS |= {"integral": "integral of the true gradient", "loss drop": "drop of the loss"}
found = {}
for batch in ("small", "large"):
    setting = ONE_TASK["quick", batch]
    seen = follow(setting, SEEDS, moments=21)
    sums = seen.sums | {"SIB": seen.sums["SI"] - seen.sums["SIU"]}
    found[f"batches of {setting.batch}"] = (seen.steps, sums)

# %%
# Lines are means over starts, bands reach from the lowest to the highest. The true path
# integral follows the loss, which it exceeds a little: sums of first order leave out the
# curvature. SI exceeds both, the more the smaller the batch.

with house_style():
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 3.9), sharey=True)
    styles = dict(zip(LABELS, plt.rcParams["axes.prop_cycle"], strict=False))
    for axis, (title, (steps, sums)) in zip(axes, found.items(), strict=True):
        for name, label in LABELS.items():
            at = np.concatenate([[0], steps])
            values = np.vstack([np.zeros(len(SEEDS)), sums[name]])
            axis.plot(at, values.mean(axis=1), label=label, **styles[name])
            low, high = values.min(axis=1), values.max(axis=1)
            axis.fill_between(at, low, high, color=styles[name]["color"], alpha=0.15, lw=0)
        axis.set(title=title, xlabel="steps", xlim=(0, steps[-1]))
    axes[0].set(ylabel="summed over weights (nat)", ylim=(0, None))
    axes[0].legend(loc="upper left")
    plt.show()

for title, (_, sums) in found.items():
    ends = {name: sums[name][-1].mean() for name in LABELS}
    print(f"{title}: " + ", ".join(f"{name} {end:.2f}" for name, end in ends.items()) + " nat")
