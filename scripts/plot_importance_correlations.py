r"""
Importances of weights against the root of the Fisher matrix
============================================================

Elastic weight consolidation protects weights by the diagonal F of the Fisher matrix; synaptic
intelligence (SI) and memory aware synapses (MAS) by sums that look nothing like it. F. Benzing,
arXiv:2006.06357, shows that both measure :math:`\sqrt F`: MAS through the absolute Fisher (AF),
to which it comes close in confident networks, SI through its bias, as long as noise outweighs the
mean gradient. SOS, the root of the second moment of a difference of two batches' gradients
(:math:`\alpha = 1`), measures it with any batch.
"""

import matplotlib.pyplot as plt

from sandbox.bench.figures import house_style
from sandbox.claims.benzing2022importance._path import flat_importance, follow, images
from sandbox.claims.benzing2022importance._settings import ONE_TASK
from sandbox.claims.benzing2022importance._statistics import correlations
from sandbox.regularisers import absolute_fisher, memory_aware, root_fisher

# %%
# Handwritten digits, a network 64-64-10, Adam, two starts. What is summed along the path is
# there when training ends; the other importances are averaged over the 512 training images.

NAMES = ("MAS", "AF", "SI", "SIU", "SOS, α = 0", "SOS, α = 1")
rows = {}
for batch in ("small", "large"):
    setting = ONE_TASK["quick", batch]
    seen = follow(setting, (1, 2))
    data = images(setting.data, setting.images)
    rows[setting.batch] = seen.importance | {
        "MAS": flat_importance(seen.model, memory_aware, *data),
        "AF": flat_importance(seen.model, absolute_fisher, *data),
        "root": flat_importance(seen.model, root_fisher, *data),
    }

# %%
# One point is one weight of the first network, both axes over their largest value.

with house_style():
    figure, axes = plt.subplots(2, len(NAMES), figsize=(12.5, 5.2), sharey=True)
    for line, (size, values) in zip(axes, rows.items(), strict=True):
        root = values["root"]
        for axis, name in zip(line, NAMES, strict=True):
            own = values[name]
            axis.plot(root[0] / root[0].max(), own[0] / own[0].max(), ".", ms=2, alpha=0.25)
            r = correlations(own, root).mean()
            axis.set_title(f"{name}: r = {r:.2f}", fontsize="medium")
            axis.set(xlim=(0, 1.05), ylim=(-0.08, 1.05), xlabel="root Fisher")
        line[0].set_ylabel(f"batches of {size}")
    plt.show()

for size, values in rows.items():
    told = ", ".join(
        f"{name} {correlations(values[name], values['root']).mean():.2f}" for name in NAMES
    )
    print(f"batches of {size}, correlation with the root Fisher: {told}")
