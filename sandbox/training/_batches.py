"""Batches of a stream: which samples a step sees is a function of seed, task, epoch and step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sandbox.training.objective import Batch
from sandbox.training.plan import Plan
from sandbox.training.samples import Samples, split
from sandbox.training.tasks import TaskStream
from theory.streams import Streams, uniforms

__all__ = ["Batches"]


class Batches:
    """A stream's samples on a device.

    Nothing here remembers what was drawn before, so a resumed run sees the same batches.

    Parameters
    ----------
    stream : TaskStream
        The tasks.
    plan : Plan
        Batch size, loss, share set aside for validation.
    streams : Streams
        Orders come from ("order/task", epoch), mixtures from ("blend", task).
    dtype : torch.dtype
        Type of the inputs.
    device : torch.device
        Where the samples go.
    """

    def __init__(
        self,
        stream: TaskStream,
        plan: Plan,
        streams: Streams,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.stream, self.plan, self.streams = stream, plan, streams
        self.dtype, self.device = dtype, device
        self._train: dict[int, tuple[Batch, Batch | None]] = {}
        self._test: dict[int, Batch] = {}

    def train(self, task: int) -> Batch:
        """Return a task's training samples, those for validation left out."""
        return self._prepared(task)[0]

    def validation(self, task: int) -> Batch | None:
        """Return a task's samples set aside for validation, or None."""
        return self._prepared(task)[1]

    def test(self, task: int) -> Batch:
        """Return a task's test samples."""
        if task not in self._test:
            samples = self.stream.tasks[task].samples("test")
            self._test[task] = self._moved(samples)
        return self._test[task]

    def steps(self, task: int) -> int:
        """Return the number of steps of one epoch of a task."""
        return self.plan.steps(self.stream.tasks[task].size("train"))

    def order(self, task: int, epoch: int) -> Tensor | None:
        """Return the order of an epoch's samples; None if a step takes all of them."""
        if self.plan.batch_size is None and not self.stream.blend:
            return None
        # counted, not looked at: many members of an ensemble share the samples of the first
        count = self.stream.tasks[task].size("train")
        count -= round(self.plan.validation * count)
        order = self.streams.generator(f"order/{task}", epoch).permutation(count)
        return torch.from_numpy(order).to(self.device)

    def batch(self, task: int, epoch: int, number: int, order: Tensor | None) -> Batch:
        """Return the samples of one step."""
        whole = self.train(task)
        if order is None:
            return whole
        size = self.plan.batch_size or len(whole.inputs)
        rows = order[number * size : (number + 1) * size]
        batch = Batch(whole.inputs[rows], whole.targets[rows])
        if self.stream.blend:
            steps = self.steps(task)
            step = epoch * steps + number
            shares = self.stream.shares(task, step, steps * self.plan.epochs)
            if any(shares):
                return self._blended(batch, task, step, shares)
        return batch

    def _blended(self, batch: Batch, task: int, step: int, shares: tuple[float, float]) -> Batch:
        """Return a batch some of whose samples come from the neighbouring tasks."""
        key, slots = self.streams.key("blend", task), np.arange(len(batch.inputs))
        chance = uniforms(key, (step, slots, 0, 0))
        place = uniforms(key, (step, slots, 1, 0))
        sides = ((task - 1, chance < shares[0]), (task + 1, chance >= 1 - shares[1]))
        inputs, targets = batch.inputs.clone(), batch.targets.clone()
        for neighbour, chosen in sides:
            if chosen.any():
                source = self.train(neighbour)
                rows = np.floor(place[chosen] * len(source.inputs)).astype(np.int64)
                where = torch.from_numpy(np.flatnonzero(chosen)).to(self.device)
                picked = torch.from_numpy(rows).to(self.device)
                inputs[where] = source.inputs[picked]
                targets[where] = source.targets[picked]
        return Batch(inputs, targets)

    def _prepared(self, task: int) -> tuple[Batch, Batch | None]:
        if task not in self._train:
            for old in [k for k in self._train if abs(k - task) > (2 if self.stream.blend else 0)]:
                del self._train[old]  # a permuted copy of a large data set is a large data set
            samples = self.stream.tasks[task].samples("train")
            if not self.plan.validation:
                self._train[task] = (self._moved(samples), None)
            else:
                kept, aside = split(
                    samples,
                    self.streams,
                    held_out=self.plan.validation,
                    name="validation",
                    index=task,
                )
                self._train[task] = (self._moved(kept), self._moved(aside))
        return self._train[task]

    def _moved(self, samples: Samples) -> Batch:
        return Batch.of(samples, self.plan.loss, dtype=self.dtype, device=self.device)
