"""Streams of tasks learned with and without protection, and what protection gains."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sandbox.bench import Axis, Comparison, Run

if TYPE_CHECKING:
    import numpy as np

    from sandbox.continual import Protection
    from sandbox.training.hooks import Moment

__all__ = ["Arm", "Setting", "accuracies", "gains", "learned", "run_arm"]


class Setting(NamedTuple):
    """Tasks, network and training that all arms of a comparison share.

    Parameters
    ----------
    data : str
        Name of the data set.
    tasks : {"permuted", "split"}
        Permuted features with one head for all tasks, or pairs of classes with a head each.
    number : int
        How many tasks; split tasks are as many as there are pairs.
    widths : tuple of int
        Of the hidden layers.
    epochs, batch : int
        Of every task.
    rate : float
        Adam's.
    reset : bool
        Whether Adam forgets between tasks.
    """

    data: str = "digits"
    tasks: Literal["permuted", "split"] = "permuted"
    number: int = 3
    widths: tuple[int, ...] = (64,)
    epochs: int = 5
    batch: int = 128
    rate: float = 0.01
    reset: bool = True


class Arm(NamedTuple):
    """What protects the weights.

    Parameters
    ----------
    method : str
        A key of ``sandbox.continual.METHODS``.
    strength : float or None
        Of the penalty.
    options : tuple of (name, value)
        Further arguments of ``sandbox.continual.Protection``.
    """

    method: str = "none"
    strength: float | None = None
    options: tuple[tuple[str, Any], ...] = ()


def run_arm(
    setting: Setting,
    arm: Arm,
    seed: int,
    *,
    device: str = "cpu",
    task_end: Callable[[Protection, Moment], None] | None = None,
) -> np.ndarray:
    """Return test accuracies (learned, task), from an untrained network on."""
    # task_end is called once a task is learned and its importance has joined the penalty
    import torch

    from sandbox.continual import Protection, learn
    from sandbox.training.data import load
    from sandbox.training.models import mlp
    from sandbox.training.plan import Plan
    from sandbox.training.tasks import permuted_tasks, split_tasks
    from theory.streams import Streams

    streams, data = Streams(seed), load(setting.data)
    if setting.tasks == "permuted":
        stream = permuted_tasks(data, setting.number, streams=streams)
    else:
        stream = split_tasks(data, scenario="task")
    model = mlp([stream.features, *setting.widths, stream.outputs], streams=streams).to(device)
    optimizer = torch.optim.Adam(model.parameters(), setting.rate, fused=True)
    protection = Protection(
        model, optimizer, arm.method, arm.strength, streams=streams, **dict(arm.options)
    )
    plan = Plan(
        epochs=setting.epochs,
        batch_size=setting.batch,
        reset_optimizer=setting.reset,
        evaluate_every=setting.epochs,
    )
    hooks = None if task_end is None else {"task-end": partial(task_end, protection)}
    history = learn(model, stream, optimizer, plan, protection, streams=streams, hooks=hooks)
    protection.remove()
    return history.accuracy_matrix().values


def learned(item: tuple[Setting, Arm, int, str]) -> dict[str, Any]:
    """Train one network; return its accuracies after the last task."""
    setting, arm, seed, device = item
    return {"accuracy": run_arm(setting, arm, seed, device=device)[-1]}


def accuracies(
    run: Run, setting: Setting, arms: dict[str, Arm], seeds: int, name: str
) -> dict[str, np.ndarray]:
    """Return final accuracies (seed, task) by arm; arms share networks, batches and tasks."""
    import numpy as np

    roots = [run.seeds.integer("networks", k) for k in range(seeds)]
    items = [(setting, arm, root, run.device) for arm in arms.values() for root in roots]
    pieces = run.sweep(learned, items, name=name)
    values = np.array([piece["accuracy"] for piece in pieces])
    return dict(zip(arms, values.reshape(len(arms), seeds, -1), strict=True))


def gains(name: str, better: np.ndarray, worse: np.ndarray, *, average: bool = True) -> Comparison:
    """Compare what an arm gains over another with 0, on the first task and on average.

    Parameters
    ----------
    name : str
        What is compared.
    better, worse : ndarray
        Final accuracies (seed, task), paired by seed.
    average : bool
        Whether the mean over tasks counts as well.

    Returns
    -------
    Comparison
        Which holds if the intervals lie above 0.

    Raises
    ------
    ValueError
        If the arms do not differ at all.
    """
    import numpy as np

    from sandbox.training.measures import interval

    differences = better - worse
    # an interval of no width would lie at 0 and pass for a gain
    if not differences.any():
        raise ValueError(f"{name}: both arms come to the same accuracies: they learned alike")
    known = [interval(differences[:, 0])]
    told = [f"first task, {worse[:, 0].mean():.2f} to {better[:, 0].mean():.2f}"]
    if average:
        known.append(interval(differences.mean(axis=1)))
        told.append(f"mean over tasks, {worse.mean():.2f} to {better.mean():.2f}")
    return Comparison(
        name,
        np.zeros(len(known)),
        np.array([one.mean for one in known]),
        tolerance=0.0,
        reason="an ordering of paired accuracies",
        relation="at_least",
        uncertainty=np.array([one.high - one.mean for one in known]),
        confidence=(
            f"95 % interval of paired differences over {len(differences)} seeds (Student); without"
            " any gain each lies above 0 in 2.5 % of cases, for settings chosen beforehand"
        ),
        quantity="gain in test accuracy",
        axes=(Axis("after the last task", tuple(told)),),
    )
