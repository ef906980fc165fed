r"""
Handwritten digits, mode by mode
================================

The theory of deep linear networks asks little of the data: only the correlations
between inputs and outputs matter. Here these come from 1797 handwritten digits of
8 x 8 pixels, whitened, with the class as output. Their singular value
decomposition has nine modes, and each should be learned on its own sigmoid,

.. math::

   u_a(t) = \frac{s_a}{1 + (s_a / u_0 - 1)\, e^{-2 s_a t}},

the strongest first (Saxe, McClelland & Ganguli 2014).
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from deeplinear.teacher import teacher
from sandbox.bench.figures import house_style
from sandbox.training.data import load, one_hot
from sandbox.training.models import deep_linear

dataset = load("digits", dtype="float64")
digits = dataset.everything
labels = one_hot(digits.targets, len(dataset.classes))
outputs = labels - labels.mean(axis=0)
task = teacher(digits.inputs, outputs)
kept = task.singular_values > 1e-8
left, strengths, right = task.left[:, kept], task.singular_values[kept], task.right[:, kept]

# %%
# The experiment
# --------------
#
# Plain gradient descent in torch on all samples, from small weights aligned with the
# modes, which a random rotation of the hidden layer hides. The loss is half the
# squared error, summed over outputs and averaged over samples.

START, RATE, STEPS, EVERY = 0.05, 0.04, 500, 25
count = len(strengths)
hidden = np.linalg.qr(np.random.default_rng(0).normal(size=(count, count)))[0]
net = deep_linear([START * hidden @ right.T, START * left @ hidden.T])
optimiser = torch.optim.SGD(net.parameters(), lr=RATE)
inputs, targets = torch.from_numpy(task.inputs(digits.inputs)), torch.from_numpy(outputs)
history = []
for step in range(STEPS + 1):
    if step % EVERY == 0:
        product = (net[1].weight @ net[0].weight).detach().numpy()
        history.append(np.einsum("oa,oi,ia->a", left, product, right))
    optimiser.zero_grad()
    loss = 0.5 * (net(inputs) - targets).pow(2).sum(dim=1).mean()
    loss.backward()
    optimiser.step()

# %%
# The four strongest modes, shown as what the pixels do when the mode is present,
# with the two classes that the mode tells apart best.

patterns = digits.inputs.T @ (task.inputs(digits.inputs) @ right) / len(digits)

with house_style():
    figure = plt.figure(figsize=(9.2, 4.2))
    curves, gallery = figure.subfigures(1, 2, width_ratios=(1.5, 1))
    axes = curves.subplots()
    times = np.linspace(0, STEPS * RATE, 201)[:, None]
    theory = strengths / (1 + (strengths / START**2 - 1) * np.exp(-2 * strengths * times))
    lines = axes.plot(times, theory)
    marks = np.arange(0, STEPS + 1, EVERY) * RATE
    for line, points, marker in zip(lines, np.array(history).T, "os^Dv<>h*", strict=True):
        look = {"marker": marker, "color": line.get_color(), "mfc": "white", "mew": 1.1}
        axes.plot(marks, points, ls="none", **look)
    axes.plot([], [], "k-", label="theory")
    axes.plot([], [], "ko", mfc="white", label="torch, gradient descent")
    axes.set(xlabel="time (1 / learning rate)", ylabel="strength of the mode, $u$")
    axes.set_title("Nine modes of the digits")
    axes.legend(loc="upper left")
    for a, panel in enumerate(gallery.subplots(2, 2).ravel()):
        size = np.abs(patterns[:, a]).max()
        panel.imshow(patterns[:, a].reshape(dataset.shape), cmap="gray", vmin=-size, vmax=size)
        order = np.argsort(left[:, a])
        panel.set_title(f"mode {a + 1}: {order[-1]} or {order[0]}?")
        panel.set(xticks=[], yticks=[])
        panel.grid(visible=False)

plt.show()
