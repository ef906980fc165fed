"""Small data, small networks, states compared bit by bit, and the training loop written out."""

import math
import struct
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from sandbox.training.samples import Dataset, Samples
from sandbox.training.tasks import TaskStream, single_task, split_tasks
from theory.streams import Streams

SHAPES = {  # of the learning rate over the share of a task's steps that is done
    "constant": lambda share: 1.0,
    "linear": lambda share: 1.0 - share,
    "cosine": lambda share: 0.5 * (1.0 + math.cos(math.pi * share)),
    "step": lambda share: 1.0 if share < 0.5 else 0.1 if share < 0.75 else 0.1**2,
}


def tiny(train=46, test=20, seed=0):
    """Four noisy classes in six dimensions."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(4, 6))

    def some(count):
        labels = np.arange(count) % 4
        return Samples(centres[labels] + 0.7 * generator.normal(size=(count, 6)), labels)

    return Dataset("tiny", some(train), some(test), ("a", "b", "c", "d"), (6,))


def pair(scenario="task", train=46):
    """Two tasks of two classes."""
    return split_tasks(tiny(train), scenario=scenario)


def crossed():
    """Two tasks whose outputs lie apart, so that no slice will do."""
    heads = ((0, 2), (3, 1))
    tasks = pair("task").tasks
    crossed = (replace(task, outputs=head) for task, head in zip(tasks, heads, strict=True))
    return TaskStream("crossed", tuple(crossed), 4)


def network(*, outputs=4, dropout=0.0, seed=0, dtype=torch.float32):
    """Six inputs, eight hidden units."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(6, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, outputs)]
        return nn.Sequential(*layers).to(dtype)


def normalised():
    """A network that keeps running statistics."""
    model = network(dropout=0.3)
    return nn.Sequential(model[0], nn.BatchNorm1d(8), *list(model)[1:])


def playing(script):
    """Return a network and a hook on epochs that set its loss by a script, task by task.

    Its two outputs are (s, -s) whatever the input: the farther s is from 0, the larger the loss.
    """
    model = network(outputs=2)
    nn.init.zeros_(model[3].weight)

    def play(now):
        s = script[now.task][now.epoch - 1]
        with torch.no_grad():
            now.model[3].bias.copy_(torch.tensor([s, -s]))

    return model, play


class Diary:
    """A hook with a state that also draws random numbers."""

    def __init__(self):
        self.total, self.steps = torch.zeros((), dtype=torch.float64), 0

    def note(self, now):
        self.total = self.total + now.loss.double() * torch.rand(()).double()
        self.steps += 1

    def state_dict(self):
        return {"total": self.total, "steps": self.steps}

    def load_state_dict(self, state):
        self.total, self.steps = state["total"], state["steps"]


def bits(tree):
    """Return a state as something whose equality is that of types and bytes."""
    if isinstance(tree, torch.Tensor):
        dense = tree.detach().cpu().clone(memory_format=torch.contiguous_format)
        content = dense.reshape(-1).view(torch.uint8).numpy().tobytes()
        return ("tensor", tree.dtype, tuple(tree.shape), content)
    if isinstance(tree, np.ndarray | np.generic):
        return (type(tree), tree.dtype.str, tree.shape, tree.tobytes())
    if isinstance(tree, dict):
        return ("dict", [(bits(key), bits(item)) for key, item in tree.items()])
    if isinstance(tree, list | tuple):
        return (type(tree), [bits(item) for item in tree])
    if isinstance(tree, float):
        return ("float", "nan" if math.isnan(tree) else struct.pack("<d", tree))
    return (type(tree), tree)


def timeless(state):
    """Return a saved run without what the clock says."""
    columns = {k: v for k, v in state["history"]["columns"].items() if k != "seconds"}
    return {
        **state,
        "running": {k: v for k, v in state["running"].items() if k != "seconds"},
        "history": {**state["history"], "columns": columns},
    }


@contextmanager
def drawing(seed):
    """Draw dropout from the run's own stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(Streams(seed).integer("loop"))
        yield


def shown_samples(task, loss, dtype):
    """Return inputs and targets as tensors, from the definition of a task."""
    samples = task.samples("train")
    inputs = torch.from_numpy(samples.inputs.copy()).to(dtype)
    if loss == "reconstruction":
        return inputs, inputs
    return inputs, torch.from_numpy(samples.targets.copy())


def plain_loss(name, outputs, targets):
    """Return the loss by torch's own functions."""
    if name == "cross-entropy":
        return cross_entropy(outputs, targets)
    if not targets.is_floating_point():
        targets = one_hot(targets, outputs.shape[1]).to(outputs.dtype)
    return mse_loss(outputs, targets, reduction="sum") / (2 * len(outputs))


def bare_training(
    model,
    optimizer,
    data,
    *,
    epochs,
    batch_size,
    seed=0,
    loss="cross-entropy",
    schedule="constant",
    warmup=0.0,
    drop_last=True,
    validation=0.0,
    reset_optimizer=False,
    penalty=None,
    epochs_done=None,
):
    """Train with plain torch; return the losses, one list an epoch."""
    stream = single_task(data) if isinstance(data, Dataset) else data
    streams, losses, dtype = Streams(seed), [], next(model.parameters()).dtype
    rate = optimizer.param_groups[0]["lr"]
    model.train()
    for k, task in enumerate(stream.tasks):
        inputs, targets = shown_samples(task, loss, dtype)
        aside = round(validation * len(inputs))
        if aside:
            order = streams.generator("validation", k).permutation(len(inputs))
            kept = torch.from_numpy(np.sort(order[aside:]))
            inputs, targets = inputs[kept], targets[kept]
        size = batch_size or len(inputs)
        starts = [
            s for s in range(0, len(inputs), size) if not drop_last or s + size <= len(inputs)
        ]
        if reset_optimizer:
            optimizer.state.clear()
        for epoch in range(epochs if epochs_done is None else epochs_done[k]):
            order = np.arange(len(inputs))
            if batch_size:
                order = streams.generator(f"order/{k}", epoch).permutation(len(inputs))
            losses.append([])
            for number, start in enumerate(starts):
                done, total = epoch * len(starts) + number, epochs * len(starts)
                factor = SHAPES[schedule](done / total)
                if warmup:
                    factor *= min(1.0, (done + 1) / (warmup * total))
                optimizer.param_groups[0]["lr"] = rate * factor
                rows = torch.from_numpy(order[start : start + size])
                optimizer.zero_grad()
                outputs = model(inputs[rows])
                if task.outputs:
                    outputs = outputs[:, list(task.outputs)]
                value = plain_loss(loss, outputs, targets[rows])
                (value if penalty is None else value + penalty(model)).backward()
                optimizer.step()
                losses[-1].append(value.item())
    optimizer.param_groups[0]["lr"] = rate
    return losses
