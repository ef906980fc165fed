"""The training loop: one network, one stream of tasks, one optimiser, hooks, a history."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import nullcontext

from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from sandbox.bench.files import only_process
from sandbox.training._arguments import refuse_misfits
from sandbox.training._batches import Batches
from sandbox.training._measuring import NOTHING, Measurer
from sandbox.training._state import (
    Running,
    Stateful,
    forget,
    gather,
    identity,
    own_randomness,
    refuse_foreign,
    restore,
    with_own,
)
from sandbox.training._steps import Penalty, columns_of, step_function
from sandbox.training.averaging import WeightAverage
from sandbox.training.checkpoint import Checkpoints, read_state, write_state
from sandbox.training.history import History
from sandbox.training.hooks import Hook, Hooks, Moment, by_event
from sandbox.training.objective import Evaluation
from sandbox.training.plan import Plan
from sandbox.training.samples import Dataset
from sandbox.training.tasks import TaskStream, single_task
from theory.streams import Streams

__all__ = ["Penalty", "Stateful", "fit"]


def fit(
    model: nn.Module,
    data: TaskStream | Dataset,
    optimizer: Optimizer,
    plan: Plan | None = None,
    *,
    streams: Streams,
    penalty: Penalty | None = None,
    hooks: Hooks | None = None,
    stateful: Mapping[str, Stateful] | None = None,
    average: WeightAverage | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    progress: bool = False,
) -> History:
    """Train a network on a stream of tasks, one after the other.

    **Equation.** Every step minimises loss(batch) + penalty(model).

    **Shapes and units.** The model maps (sample, feature) to (sample, output). Device and
    type are those of its parameters. Same streams, same machine, same number of threads:
    same bits. torch's own random generators are seeded meanwhile and put back afterwards.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place; every module's training mode is put back at the end.
    data : TaskStream or Dataset
        A data set is a stream of one task.
    optimizer : torch.optim.Optimizer
        Of the model's parameters. Optimisers whose ``step`` needs the loss or the outputs
        say so by their attribute ``closure`` (``"loss"`` or ``"outputs"``); one with an
        attribute ``columns`` is told there which outputs belong to the task.
    plan : Plan or None
        Epochs, batches, loss, schedule, measurements; None for the defaults.
    streams : Streams
        Source of all randomness: orders of samples, mixtures, dropout.
    penalty : callable or None
        ``penalty(model)``, a scalar added to the loss; its state is saved if it has any.
    hooks : mapping or None
        Functions of a :class:`~sandbox.training.hooks.Moment` by event; the events are
        those of :data:`sandbox.training.hooks.EVENTS`.
    stateful : mapping or None
        Further objects whose state belongs into a checkpoint, by name.
    average : WeightAverage or None
        An average of the weights, kept along and measured beside them.
    checkpoints : Checkpoints or None
        Where and how often to save; None for never.
    resume : bool
        Go on from the checkpoint, if there is one.
    progress : bool
        Whether to draw a progress bar on a terminal.

    Returns
    -------
    History
        Measurements; ``stopped`` says why training ended early, if it did.

    Raises
    ------
    ValueError
        If arguments do not fit each other, or a checkpoint is there but not to be resumed.
    CheckpointError
        If the checkpoint belongs to another run or cannot be read.

    Examples
    --------
    >>> import torch
    >>> from sandbox.training.data import load
    >>> from sandbox.training.models import mlp
    >>> streams = Streams(0)
    >>> model = mlp([64, 32, 10], streams=streams)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    >>> history = fit(model, load("digits"), optimizer, Plan(epochs=10), streams=streams)
    >>> round(history.final["test_accuracy"], 2)
    0.93
    """
    refuse_misfits(model, data, optimizer, plan, streams, average)
    stream = single_task(data) if isinstance(data, Dataset) else data
    names = tuple(task.name for task in stream.tasks)
    alone = only_process(checkpoints.folder) if checkpoints else nullcontext()
    with alone:
        if checkpoints and checkpoints.file.exists() and not resume:
            raise ValueError(
                f"checkpoints.folder = {checkpoints.folder}: holds a run already; pass resume=True"
                " to go on with it, or choose another folder"
            )
        loop = _Loop(
            Moment(model, optimizer, stream, plan or Plan(), History(names)),
            streams,
            penalty,
            by_event(hooks),
            dict(stateful or {}),
            average,
            checkpoints,
        )
        return loop.run(progress=progress)


class _Loop:
    """The loop's machinery; :func:`fit` is its face."""

    def __init__(
        self,
        now: Moment,
        streams: Streams,
        penalty: Penalty | None,
        hooks: dict[str, list[Hook]],
        stateful: dict[str, Stateful],
        average: WeightAverage | None,
        checkpoints: Checkpoints | None,
    ) -> None:
        parameter = next(now.model.parameters())
        self.now, self.streams, self.hooks, self.checkpoints = now, streams, hooks, checkpoints
        self.device = parameter.device
        self.batches = Batches(now.stream, now.plan, streams, parameter.dtype, self.device)
        self.average = average
        self.measurer = Measurer(now, self.batches, streams, self.device, average)
        # sums are kept in float64: in bfloat16 one would stand still after 256 terms;
        # a number is the fastest on a CPU, on a GPU reading it would wait for the step
        self.widened = float if self.device.type == "cpu" else Tensor.double
        stateful = with_own("penalty", stateful, penalty)
        self.stateful = stateful = with_own("average", stateful, average)
        self.aware = hasattr(now.optimizer, "columns")
        self.varying = now.plan.schedule != "constant" or now.plan.warmup > 0
        self.step = step_function(
            now.model,
            now.optimizer,
            now.plan.loss,
            penalty,
            self._after_backward if hooks["gradient"] else None,
            now.plan.precision,
        )
        self.at = Running(rates=[float(group["lr"]) for group in now.optimizer.param_groups])
        self.identity = identity(now, streams, self.device, stateful, average)
        self.saved = (time.perf_counter(), 0)

    def run(self, *, progress: bool) -> History:
        """Train to the end, from the checkpoint if there is one."""
        now = self.now
        modes = [(module, module.training) for module in now.model.modules()]
        try:
            with own_randomness(self.streams.integer("loop"), self.device):
                now.model.train()
                if self.checkpoints and self.checkpoints.file.exists():
                    self._restore(self.checkpoints)
                    self._tell("resume")
                else:
                    self._tell("start")
                    self._measure(0, -1, range(len(now.stream.tasks)))
                self.saved = (time.perf_counter(), now.step)
                if not self.at.finished:
                    with self._bar(progress) as bar:
                        self._all_tasks(bar)
                    now.optimizer.zero_grad()
                    self.at.finished = True
                    self._tell("end")
                    self._save()
        finally:
            for module, mode in modes:
                module.training = mode
            if self.varying:
                self._set_rates(1.0)  # the next run multiplies them again
            if self.aware:
                now.optimizer.columns = None  # type: ignore[attr-defined]  # all of them again
        return now.history

    def _bar(self, progress: bool) -> tqdm:
        plan, tasks = self.now.plan, self.now.stream.tasks
        total = sum(plan.epochs * plan.steps(task.size("train")) for task in tasks)
        quiet = None if progress else True  # None: silent unless on a terminal
        return tqdm(total=total, initial=self.now.step, unit="step", disable=quiet, leave=False)

    def _all_tasks(self, bar: tqdm) -> None:
        now, at = self.now, self.at
        while now.task < len(now.stream.tasks) and not now.history.stopped:
            if not at.entered:
                if now.plan.reset_optimizer:
                    forget(now.optimizer)
                if self.average is not None:
                    self.average.begin()
                at.best, at.waited, at.entered = math.inf, 0, True
                self._tell("task-start")
            learned = False
            while not learned and not now.history.stopped:
                self._epoch(bar)
                learned = self._after_epoch()
            if learned:
                self._tell("task-end")
                now.task, now.epoch, at.entered = now.task + 1, 0, False
                self._save()

    def _epoch(self, bar: tqdm) -> None:
        """Do the rest of an epoch."""
        now, at, plan = self.now, self.at, self.now.plan
        self.batches.train(now.task)  # made before the clock starts: it is no training
        start = time.perf_counter()
        steps = self.batches.steps(now.task)
        order = self.batches.order(now.task, now.epoch)
        columns = columns_of(now.stream.tasks[now.task].outputs)
        if self.aware:
            now.optimizer.columns = columns  # type: ignore[attr-defined]  # of some optimisers
        before, after = self.hooks["batch"], self.hooks["step"]
        for number in range(now.batch, steps):
            if self.varying:
                self._set_rates(plan.factor(now.epoch * steps + number, plan.epochs * steps))
            batch = self.batches.batch(now.task, now.epoch, number, order)
            now.samples = batch
            if before:
                self._tell("batch")
                batch = now.samples
            loss, extra = self.step(batch, columns)
            at.loss = at.loss + self.widened(loss)
            if extra is not None:
                at.penalty = at.penalty + self.widened(extra)
            at.steps += 1
            now.batch, now.step = number + 1, now.step + 1
            if self.average is not None:
                done = (now.epoch * steps + now.batch) / (plan.epochs * steps)
                self.average.update(now.model, done)
            bar.update()
            if after:
                now.loss, now.penalty = loss, extra
                self._tell("step")
            # what is not saved must be gone: a resumed run would not have it
            now.samples = now.loss = now.penalty = None
            if now.history.stopped:
                break
            if self.checkpoints and self._due(self.checkpoints):
                at.seconds += time.perf_counter() - start
                self._save()
                start = time.perf_counter()
        if now.batch == steps:  # a hook may have stopped the run before the epoch's end
            now.epoch, now.batch = now.epoch + 1, 0
        at.seconds += time.perf_counter() - start
        if not bar.disable:
            bar.set_description(f"{now.stream.tasks[now.task].name} · epoch {now.epoch}")
            bar.set_postfix(loss=f"{float(at.loss) / max(at.steps, 1):.4g}")

    def _set_rates(self, factor: float) -> None:
        for group, rate in zip(self.now.optimizer.param_groups, self.at.rates, strict=True):
            group["lr"] = rate * factor

    def _after_epoch(self) -> bool:
        """Measure if it is time to; return whether the task is learned."""
        now, at, plan = self.now, self.at, self.now.plan
        if not now.batch:
            self._tell("epoch")
        if at.steps and not math.isfinite(float(at.loss)):
            now.stop(f"the training loss is not finite at step {now.step}: {self._remedy()}")
        last = now.epoch >= plan.epochs
        if not (last or now.history.stopped or now.epoch % plan.evaluate_every == 0):
            return False
        aside = self.measurer.validation()
        if plan.patience is not None:
            improved = aside.loss < at.best
            at.best = min(at.best, aside.loss)
            at.waited = 0 if improved else at.waited + 1
            last = last or at.waited >= plan.patience
        learned = last and not now.history.stopped
        everything = learned or bool(now.history.stopped) or plan.evaluate == "all"
        first = now.task if plan.evaluate == "current" and not everything else 0
        end = len(now.stream.tasks) if everything else now.task + 1
        self._measure(now.task + learned, now.task, range(first, end), aside)
        return learned

    def _measure(
        self, learned: int, task: int, evaluated: range, aside: Evaluation = NOTHING
    ) -> None:
        """Add a row for every task in ``evaluated``."""
        now, at = self.now, self.at
        rows = self.measurer.rows(at, learned, task, evaluated, aside)
        now.history.rows += rows
        lost = any(row["evaluated"] == task and math.isnan(row["test_loss"]) for row in rows)
        if lost and not now.history.stopped:
            now.stop(f"the outputs are NaN after step {now.step}: {self._remedy()}")
        at.loss, at.penalty, at.steps = 0.0, 0.0, 0
        self._tell("evaluation")

    def _remedy(self) -> str:
        """Return what would help against divergence."""
        damped = "damping" in self.now.optimizer.param_groups[0]
        return "use a smaller lr" + " or more damping" * damped

    def _tell(self, event: str) -> None:
        for hook in self.hooks[event]:
            hook(self.now)

    def _after_backward(self, loss: Tensor, penalty: Tensor | None) -> None:
        self.now.loss, self.now.penalty = loss, penalty
        self._tell("gradient")

    def _due(self, checkpoints: Checkpoints) -> bool:
        when, step = self.saved
        by_steps = checkpoints.steps is not None and self.now.step - step >= checkpoints.steps
        return by_steps or time.perf_counter() - when >= checkpoints.seconds

    def _save(self) -> None:
        if self.checkpoints is not None:
            state = gather(self.now, self.at, self.identity, self.stateful, self.device)
            write_state(self.checkpoints.file, state)
            self.saved = (time.perf_counter(), self.now.step)

    def _restore(self, checkpoints: Checkpoints) -> None:
        state = read_state(checkpoints.file)
        refuse_foreign(state, self.identity, checkpoints.file)
        restore(state, self.now, self.at, self.stateful, self.device)
