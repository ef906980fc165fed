r"""
Plain gradient descent forgets
==============================

A network learns tasks one after the other by plain stochastic gradient descent, with
nothing to protect what it knows. Whether it forgets depends on what the tasks share.

- *Split*: five pairs of digits. With one pair of outputs for all tasks (domain) the
  pairs get in each other's way; with a pair of outputs for each (task) only the
  hidden layers are shared, and little is lost; with ten outputs open at all times
  (class) every task teaches the network never to answer anything else.
- *Permuted*: all ten digits, with the pixels shuffled differently for every task.

The average accuracy at the end is not a matter of opinion but of counting: it equals
the *learning accuracy* (each task right after it was learned) plus :math:`(T-1)/T`
times the *backward transfer*. The bars of the last panel are the left side, counted;
the black marks are the right side.
"""

import matplotlib.pyplot as plt
import torch

from sandbox.bench.figures import house_style
from sandbox.training.curves import draw_accuracy
from sandbox.training.data import load
from sandbox.training.loop import fit
from sandbox.training.models import mlp
from sandbox.training.plan import Plan
from sandbox.training.tasks import permuted_tasks, split_tasks
from theory.streams import Streams

digits = load("digits", scaling="standard")
streams = Streams(0)
kinds = {
    "split, domain": split_tasks(digits, scenario="domain"),
    "split, task": split_tasks(digits, scenario="task"),
    "split, class": split_tasks(digits, scenario="class"),
    "permuted": permuted_tasks(digits, 5, streams=streams),
}

# %%
# The experiment
# --------------
#
# The same hidden layers, the same rule, the same number of epochs for every task;
# all tasks are measured after every epoch.

plan = Plan(epochs=8, batch_size=32, evaluate="all")
histories = {}
for name, stream in kinds.items():
    network = mlp([64, 64, 64, stream.outputs], streams=streams)
    rule = torch.optim.SGD(network.parameters(), lr=0.05)
    histories[name] = fit(network, stream, rule, plan, streams=streams)

# %%
# Accuracy on every task
# ----------------------
#
# A line a task; grey lines mark where the next one begins.

with house_style():
    figure, axes = plt.subplots(2, 2, figsize=(8.6, 6.2), sharey=True)
    for panel, (name, history) in zip(axes.flat, histories.items(), strict=True):
        draw_accuracy(panel, history)
        panel.set_title(name)
    plt.show()

# %%
# What is left at the end
# -----------------------

matrices = {name: history.accuracy_matrix() for name, history in histories.items()}
for name, matrix in matrices.items():
    print(
        f"{name:14} average {matrix.average:.3f}  learning {matrix.learning:.3f}"
        f"  backward {matrix.backward:+.3f}  forgetting {matrix.forgetting:.3f}"
    )

with house_style():
    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    places = range(len(matrices))
    axes.bar(places, [m.average for m in matrices.values()], color="C5", label="average accuracy")
    right = [m.learning + (m.tasks - 1) / m.tasks * m.backward for m in matrices.values()]
    axes.plot(
        places, right, "_", color="k", markersize=26, label="learning + (T−1)/T × backward transfer"
    )
    axes.plot(
        places, [m.learning for m in matrices.values()], "^", color="C1", label="learning accuracy"
    )
    axes.set_xticks(list(places), list(matrices))
    axes.set_title("what is left after the last task")
    axes.set_xlabel("stream of tasks")
    axes.set_ylabel("test accuracy")
    axes.set_ylim(0, 1.35)
    axes.legend(loc="upper center", ncols=2)
    plt.show()
