"""What the loop measures between steps, without a trace in the training that follows."""

from __future__ import annotations

import math

import torch

from sandbox.training._batches import Batches
from sandbox.training._state import Running, own_randomness
from sandbox.training.averaging import WeightAverage
from sandbox.training.hooks import Moment
from sandbox.training.objective import Evaluation, evaluate, loss_function
from theory.streams import Streams

__all__ = ["Measurer"]

NOTHING = Evaluation(math.nan, math.nan)
"""Where there is nothing to measure."""


class Measurer:
    """Losses and accuracies of a run as it stands, with random numbers of its own.

    So measuring more often, or more, does not change the training.
    """

    def __init__(
        self,
        now: Moment,
        batches: Batches,
        streams: Streams,
        device: torch.device,
        average: WeightAverage | None,
    ) -> None:
        self.now, self.batches, self.streams, self.device = now, batches, streams, device
        self.loss, self.average = loss_function(now.plan.loss), average

    def validation(self) -> Evaluation:
        """Measure on the current task's samples set aside; NaN without any."""
        now = self.now
        aside = self.batches.validation(now.task)
        if aside is None:
            return NOTHING
        outputs, precision = now.stream.tasks[now.task].outputs, now.plan.precision
        with own_randomness(self.streams.integer("validation", now.step), self.device):
            return evaluate(now.model, aside, self.loss, outputs, precision)

    def rows(
        self, at: Running, learned: int, task: int, evaluated: range, aside: Evaluation
    ) -> list[dict[str, float]]:
        """Measure on test samples of tasks, and return a row of the history for each."""
        now = self.now
        return [
            {
                "step": now.step,
                "learned": learned,
                "task": task,
                "epoch": now.epoch,
                "evaluated": k,
                "train_loss": float(at.loss) / at.steps if at.steps else math.nan,
                "penalty": float(at.penalty) / at.steps if at.steps else math.nan,
                "learning_rate": float(now.optimizer.param_groups[0]["lr"]),
                "validation_loss": aside.loss if k == task else math.nan,
                "validation_accuracy": aside.accuracy if k == task else math.nan,
                "test_loss": found.loss,
                "test_accuracy": found.accuracy,
                "averaged_loss": averaged.loss,
                "averaged_accuracy": averaged.accuracy,
                "seconds": at.seconds,
            }
            for k, (found, averaged) in self.test(evaluated).items()
        ]

    def test(self, tasks: range) -> dict[int, tuple[Evaluation, Evaluation]]:
        """Measure on test samples of tasks: the weights, and their average if there is one."""
        now, average = self.now, self.average
        precision = now.plan.precision
        found = {}
        with own_randomness(self.streams.integer("evaluation", now.step), self.device):
            for k in tasks:
                outputs = now.stream.tasks[k].outputs
                found[k] = evaluate(now.model, self.batches.test(k), self.loss, outputs, precision)
        if average is None or not average.count:
            return {k: (one, NOTHING) for k, one in found.items()}
        averaged = {}
        with own_randomness(self.streams.integer("average", now.step), self.device):
            inputs = self.batches.train(min(now.task, len(now.stream.tasks) - 1)).inputs
            size = now.plan.batch_size or len(inputs)
            average.measure_statistics(
                inputs[start : start + size] for start in range(0, len(inputs), size)
            )
            for k in tasks:
                outputs = now.stream.tasks[k].outputs
                averaged[k] = evaluate(
                    average.model, self.batches.test(k), self.loss, outputs, precision
                )
        return {k: (one, averaged[k]) for k, one in found.items()}
