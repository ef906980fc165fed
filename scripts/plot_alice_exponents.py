r"""
Where is the glass?
===================

Move all weights of a network along random signs by :math:`\sigma`. If the gradient is smooth, its
second difference :math:`g(\sigma z) - 2 g(0) + g(-\sigma z)` is of size :math:`\sigma^2`: its
square grows as :math:`\sigma^4`. If the gradient jumps whenever a unit switches on or off, as
with rectified units, the square grows with the number of jumps passed, as :math:`\sigma`:
that is *glass*. In between, a gradient that only has kinks shows :math:`\sigma^3`.

:class:`~sandbox.optim.Alice`, an optimiser that estimates glass and curvature while it trains,
measures this for every layer by its method ``diagnose``, with all it touches put back.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sandbox.bench.figures import house_style
from sandbox.optim.alice import Alice
from sandbox.training.data import load
from sandbox.training.models import mlp
from theory.streams import Streams

STREAMS, STEPS = Streams(0), 100
SIGMAS = np.geomspace(1e-4, 3e-2, 9)
LAYERS = ("first layer", "second layer", "last layer")
samples = load("digits", scaling="standard").train
inputs = torch.tensor(samples.inputs, dtype=torch.float64)
targets = torch.tensor(samples.targets)


def diagnosed(activation, directions):
    """Train a network with Alice; return what it finds, and the loss."""
    net = mlp([64, 128, 64, 10], streams=STREAMS, activation=activation, dtype=torch.float64)
    optimizer = Alice(net.named_parameters(), lr=2e-3, lr_max=0.1)
    draw = STREAMS.generator("batches")

    def loss_of(chosen):
        def closure():
            optimizer.zero_grad()
            loss = cross_entropy(net(inputs[chosen]), targets[chosen])
            loss.backward()
            return loss

        return closure

    for _ in range(STEPS):
        loss = optimizer.step(loss_of(draw.choice(len(inputs), 100, replace=False)))
    found = optimizer.diagnose(loss_of(slice(None, None)), sigmas=SIGMAS, directions=directions)
    return found, loss.item()


# a smooth loss has the same exponents in every direction
results = {name: diagnosed(name, directions) for name, directions in (("relu", 3), ("tanh", 1))}
for name, (found, loss) in results.items():
    print(f"{name}: loss {loss:.3f}; exponents between 0.0008 and 0.0064:")
    fitted = found.exponents(8e-4, 6.4e-3)
    for layer, change, second in zip(LAYERS, *fitted.values(), strict=True):
        print(f"    {layer}: change {change:.2f}, second difference {second:.2f}")

# %%
# Second differences
# ------------------
#
# Hidden layers of the rectified network are glassy over two decades; the last layer, whose
# gradient has kinks but no jumps, is not, and neither is any layer with tanh. Far out the smooth
# part, which grows faster, takes over everywhere. Dashed lines are powers 1 and 4.

with house_style():
    figure, panels = plt.subplots(1, 2, figsize=(8.6, 3.8), sharey=True)
    for panel, (name, (found, _)) in zip(panels, results.items(), strict=True):
        for row, layer in enumerate(LAYERS):
            squares = found.second_difference[row]
            panel.loglog(SIGMAS, squares, "o-", ms=3, color=f"C{row}", label=layer)
        for row, power in ((0, 1), (2, 4)):
            start = found.second_difference[row, 3]
            if power == 1 and name == "tanh":
                continue
            line = 0.4 * start * (SIGMAS / SIGMAS[3]) ** power
            panel.loglog(SIGMAS, line, "k--", lw=0.8)
            above = 3 * found.second_difference[row, 2]
            panel.text(SIGMAS[2], above, rf"$\sigma^{power}$", ha="right", va="bottom")
        panel.set_title({"relu": "rectified", "tanh": "tanh"}[name])
        panel.set_xlabel(r"distance $\sigma$")
    panels[0].set_ylabel("squared second difference (gradient²)")
    panels[0].legend(loc="lower right")
    plt.show()

# %%
# The change itself
# -----------------
#
# The plain change of the gradient, :math:`\langle (g(\sigma z) - g(0))^2 \rangle`, grows as
# :math:`\sigma` for glass alone and as :math:`\sigma^2` for a Hessian. It tells less: both are
# there, and the Hessian wins further out. Second differences leave it out. (At the smallest
# distances few units switch at all, so that a single one makes a bump.)

with house_style():
    figure, panel = plt.subplots(figsize=(6.4, 3.6))
    middle = np.sqrt(SIGMAS[1:] * SIGMAS[:-1])
    for name, line in (("relu", "-"), ("tanh", "--")):
        slopes = np.diff(np.log(results[name][0].change)) / np.diff(np.log(SIGMAS))
        for row, layer in enumerate(LAYERS):
            label = f"{layer}, {'rectified' if name == 'relu' else 'tanh'}"
            panel.semilogx(middle, slopes[row], line, color=f"C{row}", label=label)
    panel.axhline(1, color="k", lw=0.8, ls=":")
    panel.axhline(2, color="k", lw=0.8, ls=":")
    panel.text(middle[-1], 0.98, "glass", va="top", ha="right")
    panel.text(middle[3], 2.02, "Hessian", va="bottom")
    panel.set_title("mean squared change of the gradient")
    panel.set_xlabel(r"distance $\sigma$")
    panel.set_ylabel("local exponent of the change")
    panel.set_ylim(0.6, 3.6)
    panel.legend(loc="upper center", fontsize=8, ncols=2)
    plt.show()
