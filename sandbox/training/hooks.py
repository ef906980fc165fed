"""Hooks: functions that are called with the run as it stands, at named events."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn
from torch.optim import Optimizer

from sandbox.training.history import History
from sandbox.training.objective import Batch
from sandbox.training.plan import Plan
from sandbox.training.tasks import TaskStream
from theory.checks import shown

__all__ = ["EVENTS", "Hook", "Hooks", "Moment", "by_event"]

EVENTS: dict[str, str] = {
    "start": "before a new run's first evaluation",
    "resume": "instead of start, once a saved run has been read",
    "task-start": "before a task's first step",
    "batch": "samples are chosen, gradients not yet computed",
    "gradient": "gradients are computed, the optimiser has not stepped",
    "step": "the optimiser has stepped",
    "epoch": "after every epoch, before it is measured",
    "evaluation": "rows have been added to the history",
    "task-end": "a task is learned and measured",
    "end": "training is over",
}
"""The events that hooks can be attached to."""


@dataclass
class Moment:
    """What a hook sees: the run as it stands. Hooks may change the model and the optimiser.

    Parameters
    ----------
    model : torch.nn.Module
        In training mode.
    optimizer : torch.optim.Optimizer
        Of its parameters.
    stream : TaskStream
        What is learned.
    plan : Plan
        How.
    history : History
        Measured so far.
    task, epoch, batch : int
        Which task; epochs of it done; batches of the epoch done.
    step : int
        Optimiser steps done, over all tasks.
    samples : Batch or None
        Of the step at hand, from ``batch`` to ``step``; None otherwise.
    loss, penalty : Tensor or None
        Of the step at hand, before it, from ``gradient`` to ``step``; scalars without a
        graph; None otherwise.
    """

    model: nn.Module
    optimizer: Optimizer
    stream: TaskStream
    plan: Plan
    history: History
    task: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    samples: Batch | None = None
    loss: Tensor | None = None
    penalty: Tensor | None = None

    def stop(self, why: str) -> None:
        """End training after this step.

        Parameters
        ----------
        why : str
            The reason, kept in ``history.stopped``.
        """
        self.history.stopped = why


Hook: TypeAlias = Callable[[Moment], None]
"""Called with the run as it stands."""
Hooks: TypeAlias = Mapping[str, Hook | Sequence[Hook]]
"""One or several hooks by event."""


def by_event(hooks: Hooks | None) -> dict[str, list[Hook]]:
    """Return a list of hooks for every event.

    Parameters
    ----------
    hooks : mapping or None
        Functions by event.

    Returns
    -------
    dict
        A list, perhaps empty, for every event.

    Raises
    ------
    ValueError
        If an event is unknown or a hook is no function.
    """
    found: dict[str, list[Hook]] = {event: [] for event in EVENTS}
    for event, given in (hooks or {}).items():
        if event not in EVENTS:
            near = difflib.get_close_matches(str(event), EVENTS, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"hooks has the event {shown(event)}: must be one of {', '.join(EVENTS)}; the"
                f" nearest is {near!r}"
            )
        listed = list(given) if isinstance(given, Sequence) else [given]
        for hook in listed:
            if not callable(hook):
                raise ValueError(f"hooks[{event!r}] = {shown(hook)}: must be a function")
        found[event] = listed
    return found
