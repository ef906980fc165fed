"""How to train: epochs, batches, schedules, what is measured and when to stop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from sandbox.training.names import Evaluated, LossName, Precision, ScheduleName
from sandbox.training.objective import LOSSES
from theory.checks import as_integer, as_number, one_of, shown

__all__ = ["SCHEDULES", "Plan"]


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "linear": lambda share: 1.0 - share,
    "cosine": lambda share: 0.5 * (1.0 + math.cos(math.pi * share)),
    "step": lambda share: 0.1 ** ((share >= 0.5) + (share >= 0.75)),
}
"""Factor on the learning rate, from the share of a task's steps that is done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one network is trained on every task of a stream.

    **Equation.** In step s = 0 ... S-1 of a task the learning rate is the optimiser's own
    times schedule(s/S), times min(1, (s+1)/(warmup S)) if there is a warmup. Every task
    starts the schedule again.

    Parameters
    ----------
    epochs : int
        Passes through a task's training samples.
    batch_size : int or None
        Samples a step; None for all of them at once.
    loss : {"cross-entropy", "squared", "reconstruction"}
        See :data:`sandbox.training.objective.LOSSES`.
    schedule : {"constant", "linear", "cosine", "step"}
        Linear and cosine fall to 0; step falls to a tenth at one half and to a hundredth
        at three quarters.
    warmup : float
        Share of a task's steps in which the learning rate rises, in [0, 1].
    drop_last : bool
        Whether samples that do not fill a batch are left out of the epoch.
    evaluate : {"current", "seen", "all"}
        Tasks measured after an epoch; after a task all of them are.
    evaluate_every : int
        Epochs between two evaluations.
    validation : float
        Share of every task's training samples set aside, in [0, 1).
    patience : int or None
        A task ends once this many evaluations in a row have not lowered the validation
        loss; the weights stay those of the last step. Needs ``validation``.
    reset_optimizer : bool
        Whether the optimiser forgets its state when a task begins.
    precision : {"full", "bfloat16-mixed"}
        full: everything in the type of the parameters; bfloat16-mixed: forward and backward
        pass in bfloat16 where that is safe (``torch.autocast``), while parameters, which must
        be float32, loss and update stay in float32.

    Raises
    ------
    ValueError
        If a number is out of range or a name unknown.

    Examples
    --------
    >>> Plan(schedule="step").factor(60, 100)
    0.1
    """

    epochs: int = 10
    batch_size: int | None = 100
    loss: LossName = "cross-entropy"
    schedule: ScheduleName = "constant"
    warmup: float = 0.0
    drop_last: bool = True
    evaluate: Evaluated = "current"
    evaluate_every: int = 1
    validation: float = 0.0
    patience: int | None = None
    reset_optimizer: bool = False
    precision: Precision = "full"

    def __post_init__(self) -> None:
        numbers: dict[str, float] = {
            name: as_integer(name, getattr(self, name), low=1)
            for name in ("epochs", "batch_size", "evaluate_every", "patience")
            if getattr(self, name) is not None or name not in {"batch_size", "patience"}
        }
        one_of("loss", self.loss, tuple(LOSSES))
        one_of("schedule", self.schedule, tuple(SCHEDULES))
        one_of("evaluate", self.evaluate, get_args(Evaluated))
        one_of("precision", self.precision, get_args(Precision))
        numbers["warmup"] = as_number("warmup", self.warmup, low=0.0, high=1.0)
        numbers["validation"] = as_number(
            "validation", self.validation, low=0.0, high=1.0, open_high=True
        )
        for name, number in numbers.items():
            object.__setattr__(self, name, number)
        if self.patience is not None and not self.validation:
            raise ValueError(
                f"patience = {self.patience}: stopping early needs samples of its own to judge"
                " by; set validation, e.g. 0.1"
            )

    def factor(self, step: int, steps: int) -> float:
        """Return the factor on the learning rate in one step of a task.

        Parameters
        ----------
        step : int
            Which step, from 0.
        steps : int
            How many the task has.

        Returns
        -------
        float
            In [0, 1].
        """
        factor = SCHEDULES[self.schedule](step / steps)
        if self.warmup:
            factor *= min(1.0, (step + 1) / (self.warmup * steps))
        return factor

    def steps(self, samples: int) -> int:
        """Return the number of steps of an epoch.

        Parameters
        ----------
        samples : int
            Training samples of the task, those set aside for validation included.

        Returns
        -------
        int
            At least 1.

        Raises
        ------
        ValueError
            If there are no samples, or too few to fill one batch.
        """
        samples -= round(self.validation * samples)
        size = self.batch_size or max(samples, 1)
        count = samples // size if self.drop_last else math.ceil(samples / size)
        if count < 1:
            raise ValueError(
                f"batch_size = {shown(self.batch_size)}: the task has {samples} samples to train"
                " on; use a smaller batch or drop_last=False"
            )
        return count

    def settings(self) -> dict[str, object]:
        """Return the plan as plain data.

        Returns
        -------
        dict
            One entry a field.
        """
        return dataclasses.asdict(self)
