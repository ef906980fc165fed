"""Learning a stream of tasks under protection: the training loop with a method's hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from sandbox.continual.protection import Protection
from sandbox.training.checkpoint import Checkpoints
from sandbox.training.history import History
from sandbox.training.hooks import Hook, Hooks
from sandbox.training.loop import Stateful, fit
from sandbox.training.plan import Plan
from sandbox.training.tasks import TaskStream
from synapses.layers import stochastic_layers
from synapses.networks import MaskGenerators
from theory.streams import Streams

__all__ = ["learn"]


def learn(
    model: nn.Module,
    stream: TaskStream,
    optimizer: Optimizer,
    plan: Plan | None = None,
    protection: Protection | None = None,
    *,
    streams: Streams,
    hooks: Hooks | None = None,
    stateful: Mapping[str, Stateful] | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    progress: bool = False,
) -> History:
    """Train a network on tasks one after the other, its weights protected by a method.

    **Equation.** :class:`sandbox.continual.protection.Protection`.

    **Shapes and units.** As :func:`sandbox.training.loop.fit`.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place.
    stream : TaskStream
        The tasks.
    optimizer : torch.optim.Optimizer
        Of the model's parameters.
    plan : Plan or None
        How to train; None for the defaults with an optimiser that forgets between tasks.
    protection : Protection or None
        Of this model and optimiser; None for none.
    streams : Streams
        Source of all randomness.
    hooks : mapping or None
        Further hooks, called after those of the protection.
    stateful : mapping or None
        Further objects whose state belongs into a checkpoint.
    checkpoints : Checkpoints or None
        Where and how often to save.
    resume : bool
        Go on from the checkpoint, if there is one.
    progress : bool
        Whether to draw a progress bar on a terminal.

    Returns
    -------
    History
        Measurements; ``accuracy_matrix()`` has accuracy, forgetting and transfer.

    Raises
    ------
    ValueError
        If arguments do not fit each other, or a protected stream has tasks of one class.

    Examples
    --------
    >>> import torch
    >>> from sandbox.training.data import load
    >>> from sandbox.training.models import mlp
    >>> from sandbox.training.tasks import split_tasks
    >>> streams, stream = Streams(0), split_tasks(load("digits"))
    >>> model = mlp([64, 32, 2], streams=streams)
    >>> optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    >>> protection = Protection(model, optimizer, "ewc", 100.0, streams=streams)
    >>> history = learn(model, stream, optimizer, Plan(epochs=2), protection, streams=streams)
    >>> history.accuracy_matrix().tasks
    5
    """
    states = dict(stateful or {})
    joined: dict[str, Hook | Sequence[Hook]] = dict(hooks or {})
    if protection is not None:
        if protection.optimizer is not optimizer:
            raise ValueError("protection: is of another optimiser than the one that trains")
        joined = _both(protection.hooks, joined)
        states |= protection.stateful
    if any(layer.generator is not None for layer in stochastic_layers(model).values()):
        states.setdefault("masks", MaskGenerators(model))
    return fit(
        model,
        stream,
        optimizer,
        plan or Plan(reset_optimizer=True),
        streams=streams,
        hooks=joined,
        stateful=states,
        checkpoints=checkpoints,
        resume=resume,
        progress=progress,
    )


def _both(
    first: Mapping[str, list[Hook]], then: Mapping[str, Hook | Sequence[Hook]]
) -> dict[str, Hook | Sequence[Hook]]:
    """Return hooks of two mappings by event."""
    found: dict[str, Hook | Sequence[Hook]] = dict(then)
    for event, own in first.items():
        other = then.get(event, ())
        found[event] = [*own, *([other] if callable(other) else other)]
    return found
