"""Many small networks of one shape, trained at once: what a sweep over seeds or rates needs."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from sandbox.training._batches import Batches
from sandbox.training._state import own_randomness
from sandbox.training.descent import Descent, Update
from sandbox.training.history import History
from sandbox.training.objective import evaluating, loss_function, refuse_outputs
from sandbox.training.plan import Plan
from sandbox.training.samples import Dataset
from sandbox.training.tasks import TaskStream, single_task
from theory.checks import shown
from theory.streams import Streams

__all__ = ["Descent", "fit_ensemble"]

_Pair: TypeAlias = tuple[Tensor, Tensor]
_Mapped: TypeAlias = Callable[[dict[str, Tensor], Tensor, Tensor], tuple[dict[str, Tensor], Tensor]]


def _refuse(models: Sequence[nn.Module], plan: Plan, stream: TaskStream) -> None:
    """Refuse what an ensemble cannot do, saying what can."""
    if not models:
        raise ValueError("models = []: must hold at least one network")
    shapes = [[(n, p.shape, p.dtype, p.device) for n, p in m.named_parameters()] for m in models]
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(f"models[{i}]: must have the parameters of models[0], name by name")
        if repr(models[i]) != repr(models[0]):
            raise ValueError(f"models[{i}]: must have the layers of models[0], one by one")
        if any(models[i] is other for other in models[:i]):
            raise ValueError(f"models[{i}]: is in the list twice; give every member its own copy")
        if not all(p.requires_grad for p in models[i].parameters()):
            raise ValueError(
                f"models[{i}]: has parameters that are not to be trained; use"
                " sandbox.training.loop.fit"
            )
        if list(models[i].buffers()):
            raise ValueError(
                f"models[{i}]: keeps running statistics, which a mapped function cannot update;"
                " train it with sandbox.training.loop.fit"
            )
    mixed = plan.precision if plan.precision != "full" else ""
    wanted = {"validation": plan.validation, "precision": mixed, "blend": stream.blend}
    for name, value in wanted.items():
        if value:
            raise ValueError(
                f"{name} = {value}: an ensemble does without; use sandbox.training.loop.fit"
            )


def fit_ensemble(
    models: Sequence[nn.Module],
    data: TaskStream | Dataset,
    rule: Descent,
    plan: Plan | None = None,
    *,
    streams: Streams | Sequence[Streams],
) -> list[History]:
    """Train many networks of one shape on one stream of tasks, all at once.

    Member i follows, up to rounding, the path that :func:`sandbox.training.loop.fit`
    gives ``models[i]`` alone with ``streams[i]`` and the same rule; only layers that draw
    random numbers in the forward pass draw others. A member whose loss is not finite
    stops as it would alone, and says so in ``stopped``; the others go on.

    **Shapes and units.** As in the loop; ``seconds`` is the time of the whole ensemble.

    Parameters
    ----------
    models : sequence of torch.nn.Module
        Trained in place; same architecture, parameter types and device, no buffers, and
        all parameters to be trained.
    data : TaskStream or Dataset
        A data set is a stream of one task.
    rule : Descent
        The update; its numbers may differ between members.
    plan : Plan or None
        As in the loop, without validation; None for the defaults.
    streams : Streams or sequence of Streams
        One a member for orders of their own; a single one for the same order everywhere,
        which is faster.

    Returns
    -------
    list of History
        One a member.

    Raises
    ------
    ValueError
        If the networks differ in their layers, keep buffers, or something else is asked for
        that only the loop can do.

    Examples
    --------
    >>> from sandbox.training.data import load
    >>> from sandbox.training.models import mlp
    >>> models = [mlp([64, 16, 10], streams=Streams(0), index=i) for i in range(3)]
    >>> rule = Descent("sgd", lr=[0.1, 0.5, 0.9])
    >>> histories = fit_ensemble(models, load("digits"), rule, streams=Streams(0))
    >>> [round(history.final["test_accuracy"], 2) for history in histories]
    [0.66, 0.94, 0.94]
    """
    for name, value, kinds in (
        ("data", data, TaskStream | Dataset),
        ("rule", rule, Descent),
        ("plan", plan, Plan | None),
    ):
        if not isinstance(value, kinds):
            words = " or ".join(part.__name__ for part in get_args(kinds) or (kinds,))
            raise ValueError(f"{name} = {shown(value)}: must be of type {words}")
    plan, models = plan or Plan(), list(models)
    stream = single_task(data) if isinstance(data, Dataset) else data
    _refuse(models, plan, stream)
    own = list(streams) if isinstance(streams, Sequence) else [streams]
    if not all(isinstance(one, Streams) for one in own):
        raise ValueError(f"streams = {shown(streams)}: must be Streams, or a list of them")
    if len(own) not in {1, len(models)}:
        raise ValueError(
            f"streams has {len(own)} members: must be one for all, or {len(models)}, one a network"
        )
    return _Ensemble(models, stream, rule, plan, own).run()


class _Ensemble:
    """The ensemble's machinery; :func:`fit_ensemble` is its face."""

    def __init__(
        self,
        models: Sequence[nn.Module],
        stream: TaskStream,
        rule: Descent,
        plan: Plan,
        streams: list[Streams],
    ) -> None:
        members = [dict(model.named_parameters()) for model in models]
        self.parameters = {
            name: torch.stack([member[name].detach() for member in members]) for name in members[0]
        }
        self.models, self.stream, self.plan = models, stream, plan
        self.update = Update(rule, self.parameters)
        first = next(iter(self.parameters.values()))
        self.batches = [Batches(stream, plan, s, first.dtype, first.device) for s in streams]
        for k, task in enumerate(stream.tasks):
            test = self.batches[0].test(k)
            with own_randomness(0, first.device), evaluating(models[0]):
                refuse_outputs(models[0](test.inputs[:1]), test.targets, task.outputs)
        self.skeleton = copy.deepcopy(models[0]).to("meta").train()
        self.randomness = (streams[0].integer("loop"), first.device)
        names = tuple(task.name for task in stream.tasks)
        self.histories = [History(names) for _ in models]
        self.training = list(range(len(models)))
        self.sums = torch.zeros(len(models), dtype=torch.float64, device=first.device)
        self.steps, self.seconds = 0, 0.0

    def run(self) -> list[History]:
        """Train to the end and write the parameters back."""
        step = 0
        with own_randomness(*self.randomness):
            self._measure(step, 0, -1, 0)
            for task in range(len(self.stream.tasks)):
                if self.plan.reset_optimizer:
                    self.update.clear()
                for epoch in range(self.plan.epochs):
                    step += self._epoch(task, epoch)
                    self._drop_diverged(step, task, epoch + 1)
                    if not self.training:
                        return self.histories
                    last = epoch + 1 == self.plan.epochs
                    if last or (epoch + 1) % self.plan.evaluate_every == 0:
                        self._measure(step, task + last, task, epoch + 1)
                        self.sums.zero_()
                        self.steps = 0
        self._write_back(self.training)
        return self.histories

    def _drop_diverged(self, step: int, task: int, epoch: int) -> None:
        """Measure members whose loss is not finite once more, and leave them as they are."""
        finite = self.sums.isfinite().tolist()
        lost = [i for i in self.training if not finite[i]]
        if lost:
            for i in lost:
                why = f"the training loss is not finite at step {step}: use a smaller lr"
                self.histories[i].stopped = why
            self._measure(step, task, task, epoch, lost)
            self._write_back(lost)
            self.training = [i for i in self.training if finite[i]]

    @torch.no_grad()
    def _write_back(self, members: list[int]) -> None:
        """Give these members' networks their parameters."""
        for i in members:
            for name, parameter in self.models[i].named_parameters():
                parameter.copy_(self.parameters[name][i])

    def _epoch(self, task: int, epoch: int) -> int:
        """Do an epoch; return its number of steps."""
        whole = self.batches[0].train(task)  # without validation the same for every member
        start = time.perf_counter()
        orders = [batches.order(task, epoch) for batches in self.batches]
        shared = len(orders) == 1 or orders[0] is None
        gradient = self._gradient(task, shared=shared)
        steps = self.batches[0].steps(task)
        size = self.plan.batch_size or len(whole.inputs)
        together = None if shared else torch.stack([o for o in orders if o is not None])
        for number in range(steps):
            if together is None:
                batch = self.batches[0].batch(task, epoch, number, orders[0])
                inputs, targets = batch.inputs, batch.targets
            else:
                rows = together[:, number * size : (number + 1) * size]
                inputs, targets = whole.inputs[rows], whole.targets[rows]
            factor = self.plan.factor(epoch * steps + number, self.plan.epochs * steps)
            gradients, values = gradient(self.parameters, inputs, targets)
            self.update.step(gradients, factor)
            self.sums += values
        self.steps += steps
        self.seconds += time.perf_counter() - start
        return steps

    def _gradient(self, task: int, *, shared: bool) -> _Mapped:
        """Return gradients and losses of all members on a batch of each, or one for all."""
        loss, outputs = loss_function(self.plan.loss), list(self.stream.tasks[task].outputs)

        def one(parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
            found = functional_call(self.skeleton, parameters, (inputs,))
            return loss(found[:, outputs] if outputs else found, targets)

        samples = None if shared else 0
        return vmap(grad_and_value(one), in_dims=(0, samples, samples), randomness="different")

    def _measure(
        self, step: int, learned: int, task: int, epoch: int, stopped: list[int] | None = None
    ) -> None:
        """Add a row a task to the history of every member in training, or of those stopped."""
        everything = learned > task or self.plan.evaluate == "all" or stopped is not None
        first = task if self.plan.evaluate == "current" and not everything else 0
        end = len(self.stream.tasks) if everything else task + 1
        nan = math.nan
        means = (self.sums / self.steps).tolist() if self.steps else [nan] * len(self.models)
        rates = np.atleast_1d(self.update.rule.lr)
        factor = 1.0
        if self.steps:
            total = self.batches[0].steps(task) * self.plan.epochs
            factor = self.plan.factor(self.batches[0].steps(task) * epoch - 1, total)
        for evaluated in range(first, end):
            losses, accuracies = self._evaluate(evaluated)
            for i in self.training if stopped is None else stopped:
                row = {
                    "step": step,
                    "learned": learned,
                    "task": task,
                    "epoch": epoch,
                    "evaluated": evaluated,
                    "train_loss": means[i],
                    "penalty": 0.0 if self.steps else nan,
                    "learning_rate": float(rates[i % len(rates)]) * factor,
                    "validation_loss": nan,
                    "validation_accuracy": nan,
                    "test_loss": losses[i],
                    "test_accuracy": accuracies[i],
                    "averaged_loss": nan,
                    "averaged_accuracy": nan,
                    "seconds": self.seconds,
                }
                self.histories[i].rows.append(row)

    @torch.no_grad()
    def _evaluate(self, task: int) -> tuple[list[float], list[float]]:
        """Return test losses and accuracies of all members on a task."""
        batch, outputs = self.batches[0].test(task), list(self.stream.tasks[task].outputs)
        loss, classes = loss_function(self.plan.loss), not batch.targets.is_floating_point()

        def one(parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> _Pair:
            found = functional_call(self.skeleton, parameters, (inputs,))
            found = found[:, outputs] if outputs else found
            right = (found.argmax(1) == targets).sum() if classes else found.new_full((), math.nan)
            return loss(found, targets), right

        mapped = vmap(one, in_dims=(0, None, None))
        losses: Float[Tensor, " member"] = self.sums.double() * 0
        counts = torch.zeros_like(losses)
        chunk = 2000
        self.skeleton.eval()
        for start in range(0, len(batch.inputs), chunk):
            inputs, targets = (
                batch.inputs[start : start + chunk],
                batch.targets[start : start + chunk],
            )
            values, right = mapped(self.parameters, inputs, targets)
            losses += values.double() * len(inputs)
            counts += right
        self.skeleton.train()
        size = len(batch.inputs)
        return (losses / size).tolist(), (counts / size).tolist()
