r"""
A torch run of K-FAC against its exact solution
===============================================

K-FAC corrects the gradient of each layer by the inverse of that layer's own
block of the curvature, which it takes to be a Kronecker product. In a deep linear
network it is one, and nothing is approximated. On whitened inputs, with square,
invertible layers, the flow then has an exact solution, whatever the start. With
:math:`\bar W = W_d \cdots W_1`, the relative map
:math:`X(t) = \bar W(0)^{-1} \bar W(t)` runs along a straight line,

.. math::

   X(t) = e^{-\kappa d t} I + (1 - e^{-\kappa d t})\, \bar W(0)^{-1} W^*,

and every layer takes an equal share, the d-th root of it:

.. math::

   W_i(t) = [W_i \cdots W_1](0)\; X(t)^{1/d}\; [W_{i-1} \cdots W_1](0)^{-1}.

A torch network trained by the same rule in finite steps must follow it, with an
error proportional to the step.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.linalg import fractional_matrix_power

from deeplinear import CurvatureCorrection
from sandbox.bench.figures import house_style
from sandbox.optim import CurvatureCorrected
from sandbox.training.models import deep_linear

DEPTH, SIZE, END = 3, 3, 1.5
RULE = CurvatureCorrection(power=1.0, blocks="layer")  # its default scale is 1 / depth

generator = np.random.default_rng(3)
start = [0.6 * np.eye(SIZE) + 0.15 * generator.normal(size=(SIZE, SIZE)) for _ in range(DEPTH)]
target = np.array([[1.5, 0.3, 0.0], [-0.2, 1.0, 0.1], [0.1, 0.0, 0.7]])

# %%
# The theory
# ----------
#
# :func:`scipy.linalg.fractional_matrix_power` takes the root. (The library's own
# version, :func:`deeplinear.matrices.layer_natural_gradient_weights`, does it for
# all times at once.)


def predicted(time):
    """Return the three layers at a time; kappa d = 1."""
    first, second, _ = start
    before = [np.eye(SIZE), first, second @ first]
    product = start[2] @ before[2]
    fraction = np.exp(-time)
    relative = fraction * np.eye(SIZE) + (1 - fraction) * np.linalg.solve(product, target)
    root = fractional_matrix_power(relative, 1 / DEPTH).real
    return [w @ b @ root @ np.linalg.inv(b) for w, b in zip(start, before, strict=True)]


# %%
# The experiment
# --------------
#
# Three orthogonal samples are exactly whitened inputs. The optimiser works on the
# network's parameters, through their Jacobian: it does not know that the network
# is linear.

inputs = torch.eye(SIZE, dtype=torch.float64) * SIZE**0.5
outputs = inputs @ torch.from_numpy(target).T


def train(steps):
    """Return the weights after every step, shape (step, layer, out, in)."""
    net = deep_linear(start)
    optimiser = CurvatureCorrected(net.parameters(), RULE, lr=END / steps)
    history = [np.stack(start)]
    for _ in range(steps):
        optimiser.step(lambda: (net(inputs), outputs))
        history.append(np.stack([p.detach().numpy().copy() for p in net.parameters()]))
    return np.array(history)


STEPS = np.array([12, 24, 48, 96])
runs = [train(count) for count in STEPS]

# %%
# Left: all nine entries of the first layer. Right: the error of all layers at the
# end, against the step. The line of slope 1 goes through the smallest step.

with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4.0), width_ratios=(1.3, 1))
    times = np.linspace(0, END, 61)
    lines = left.plot(times, [predicted(t)[0].ravel() for t in times])
    marks = times[::5]
    for line, entry, marker in zip(
        lines, runs[-1][::8, 0].reshape(13, -1).T, "os^Dv<>h*", strict=True
    ):
        left.plot(marks, entry, marker=marker, ls="none", color=line.get_color(), mfc="white")
    for i, (line, marker) in enumerate(zip(lines, "os^Dv<>h*", strict=True)):
        look = {"color": line.get_color(), "ls": line.get_linestyle(), "marker": marker}
        left.plot([], [], mfc="white", label=f"({i // SIZE + 1}, {i % SIZE + 1})", **look)
    left.set(xlabel="time (1 / learning rate)", ylabel="entry of the first layer, $W_1$")
    left.set_title("Every weight on its predicted curve")
    left.legend(title="entry", title_fontsize="small", loc=(0.04, 0.36), ncols=5)

    errors = [np.linalg.norm(run[-1] - predicted(END)) for run in runs]
    sizes = END / STEPS
    right.loglog(sizes, errors[-1] * sizes / sizes[-1], "k-", label="theory, slope 1")
    right.loglog(sizes, errors, "o", mfc="white", mew=1.2, label="torch run")
    right.set(xlabel="step (learning rate)", ylabel="error at $t = 1.5$, Frobenius norm")
    right.set(title="First order in the step", xlim=(5e-3, 0.2), ylim=(1e-3, 1e-1))
    right.legend(loc="upper left")

plt.show()
