"""Tasks and streams of tasks: split, permuted, continuously permuted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from sandbox.training.names import Scenario
from sandbox.training.samples import Dataset, Samples
from theory.checks import as_integer, as_number, one_of, shown
from theory.streams import Streams

__all__ = ["Task", "TaskStream", "permuted_tasks", "single_task", "split_tasks"]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A data set seen in a certain way; nothing is copied until samples are asked for.

    Parameters
    ----------
    name : str
        What figures and tables call it.
    dataset : Dataset
        Where the samples come from.
    classes : tuple of int
        The data set's classes that belong to the task, all of them if empty.
    targets : tuple of int
        ``targets[i]`` is what a sample of class ``classes[i]`` is to be called; empty to
        keep the class numbers.
    features : ndarray of int64 or None
        Feature f of the task is feature ``features[f]`` of the data set.
    outputs : tuple of int
        The network's outputs that belong to the task, all of them if empty; targets
        count within them.

    Raises
    ------
    ValueError
        If a class does not exist, the targets are not one a class, or ``features`` is no
        permutation.
    """

    name: str
    dataset: Dataset
    classes: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    features: Int64[ndarray, " feature"] | None = None
    outputs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        known = len(self.dataset.classes)
        if self.classes and not set(self.classes) <= set(range(known)):
            raise ValueError(f"classes = {self.classes}: must be class numbers in [0, {known})")
        named = len(self.classes) or known
        if self.targets and len(self.targets) != named:
            raise ValueError(f"targets = {self.targets}: must be {named}, one a class")
        size = self.dataset.train.inputs.shape[1]
        if self.features is not None and sorted(self.features) != list(range(size)):
            raise ValueError(
                f"features = {shown(self.features)}: must be a permutation of 0 ... {size - 1}"
            )

    def size(self, part: Literal["train", "test"] = "train") -> int:
        """Return the number of samples without making them.

        Parameters
        ----------
        part : {"train", "test"}
            Which of them.

        Returns
        -------
        int
            The number.
        """
        samples: Samples = getattr(self.dataset, one_of("part", part, ("train", "test")))
        return int(np.isin(samples.targets, self.classes).sum()) if self.classes else len(samples)

    def samples(self, part: Literal["train", "test"] = "train") -> Samples:
        """Return the task's samples, in the data set's order.

        Parameters
        ----------
        part : {"train", "test"}
            Which of them.

        Returns
        -------
        Samples
            Views of the data set's arrays wherever nothing had to change.
        """
        samples: Samples = getattr(self.dataset, one_of("part", part, ("train", "test")))
        inputs, targets = samples.inputs, samples.targets
        if self.classes:
            kept = np.flatnonzero(np.isin(targets, self.classes))
            inputs, targets = inputs[kept], targets[kept]
        if self.targets:
            called = np.full(len(self.dataset.classes), -1)
            called[list(self.classes or range(len(called)))] = self.targets
            targets = called[targets]
        if self.features is not None:
            inputs = inputs[:, self.features]
        return Samples(inputs, targets)


@dataclass(frozen=True, slots=True, eq=False)
class TaskStream:
    r"""Tasks learned one after the other, with or without sharp borders.

    **Equation.** With S steps in task k and s = 0 ... S-1, the share of samples that
    come from a neighbour is

    .. math:: w_{k-1} = \tfrac12 (1 - \tfrac{s}{bS})_+, \qquad
              w_{k+1} = \tfrac12 (1 - \tfrac{S - s}{bS})_+

    with b the ``blend``: half and half at the border, pure from b S steps on.

    Parameters
    ----------
    name : str
        What figures and tables call it.
    tasks : tuple of Task
        In the order of learning.
    outputs : int
        Outputs that a network for the whole stream needs.
    blend : float
        Share of a task's steps, at each end, that mix with the neighbour; in [0, 1/2].

    Raises
    ------
    ValueError
        If there are no tasks, they differ in their number of features, or ``blend`` is
        out of range.

    References
    ----------
    The blend: Schug, Benzing & Steger (2021), eLife 10:e69884 (12.5 %).
    """

    name: str
    tasks: tuple[Task, ...]
    outputs: int
    blend: float = 0.0

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("tasks = (): must hold at least one task")
        as_integer("outputs", self.outputs, low=1)
        as_number("blend", self.blend, low=0.0, high=0.5)
        sizes = {task.dataset.train.inputs.shape[1] for task in self.tasks}
        if len(sizes) > 1:
            raise ValueError(f"tasks have {sorted(sizes)} features: must be the same number")
        if self.blend and any(task.outputs for task in self.tasks):
            raise ValueError(
                f"blend = {self.blend}: tasks that mix must share their outputs; use the domain or"
                " the class scenario"
            )

    @property
    def features(self) -> int:
        """Number of features of a sample."""
        return int(self.tasks[0].dataset.train.inputs.shape[1])

    def shares(self, task: int, step: int, steps: int) -> tuple[float, float]:
        """Return the shares of a batch that come from the task before and the task after.

        Parameters
        ----------
        task : int
            Which task, from 0.
        step : int
            Which of its steps, from 0.
        steps : int
            How many it has.

        Returns
        -------
        before, after : float
            Each in [0, 1/2].

        Examples
        --------
        >>> from sandbox.training.data import load
        >>> stream = permuted_tasks(load("digits"), 3, streams=Streams(0), blend=0.125)
        >>> [stream.shares(1, step, 80) for step in (0, 5, 40, 75)]
        [(0.5, 0.0), (0.25, 0.0), (0.0, 0.0), (0.0, 0.25)]
        """
        if not self.blend:
            return 0.0, 0.0
        width = self.blend * steps
        before = 0.5 * max(0.0, 1 - step / width) if task > 0 else 0.0
        after = 0.5 * max(0.0, 1 - (steps - step) / width) if task < len(self.tasks) - 1 else 0.0
        return before, after


def single_task(dataset: Dataset) -> TaskStream:
    """Return a stream of one task: the data set as it is.

    Parameters
    ----------
    dataset : Dataset
        Classes or values.

    Returns
    -------
    TaskStream
        With as many outputs as there are classes, or columns of targets.

    Examples
    --------
    >>> from sandbox.training.data import load
    >>> single_task(load("digits")).outputs
    10
    """
    outputs = len(dataset.classes) or int(dataset.train.targets.shape[-1])
    return TaskStream(dataset.name, (Task(dataset.name, dataset),), outputs)


def split_tasks(
    dataset: Dataset, *, per_task: int = 2, scenario: Scenario = "domain"
) -> TaskStream:
    """Split the classes into tasks, in order.

    - ``domain``: one head of ``per_task`` outputs that all tasks share; a target is the
      class's position within its task (parity, for pairs of digits). Which task a sample
      belongs to is not told.
    - ``task``: a head of its own for every task, and the learner is told which to use,
      in training and in the test.
    - ``class``: one output a class, all of them open at all times; the learner must tell
      the tasks apart as well.

    **Shapes and units.** floor(classes / per_task) tasks; outputs: ``per_task`` in the
    domain scenario, otherwise tasks x ``per_task``.

    Parameters
    ----------
    dataset : Dataset
        With classes.
    per_task : int
        Classes of a task; classes left over belong to none.
    scenario : {"domain", "task", "class"}
        As above.

    Returns
    -------
    TaskStream
        The tasks, named by their classes.

    Raises
    ------
    ValueError
        If there are too few classes for two tasks.

    References
    ----------
    Zenke, Poole & Ganguli (2017), arXiv:1703.04200; the scenarios: van de Ven & Tolias
    (2019), arXiv:1904.07734.

    Examples
    --------
    >>> from sandbox.training.data import load
    >>> stream = split_tasks(load("digits"), scenario="task")
    >>> [task.name for task in stream.tasks][:2], stream.outputs, stream.tasks[1].outputs
    (['0, 1', '2, 3'], 10, (2, 3))
    """
    one_of("scenario", scenario, ("domain", "task", "class"))
    per_task = as_integer("per_task", per_task, low=1)
    count = len(dataset.classes) // per_task
    if count < 2:
        raise ValueError(
            f"per_task = {per_task}: {len(dataset.classes)} classes make {count} tasks; must leave"
            " two or more"
        )
    tasks = []
    for k in range(count):
        classes = tuple(range(k * per_task, (k + 1) * per_task))
        name = ", ".join(dataset.classes[c] for c in classes)
        called = classes if scenario == "class" else tuple(range(per_task))
        outputs = classes if scenario == "task" else ()
        tasks.append(Task(name, dataset, classes, called, outputs=outputs))
    width = per_task if scenario == "domain" else count * per_task
    return TaskStream(f"split {dataset.name} ({scenario}-incremental)", tuple(tasks), width)


def permuted_tasks(
    dataset: Dataset,
    count: int = 10,
    *,
    streams: Streams,
    identity_first: bool = False,
    blend: float = 0.0,
    scenario: Scenario = "domain",
) -> TaskStream:
    """Permute the features differently for every task.

    **Shapes and units.** Permutation k comes from the stream ("permutation", k) and does
    not depend on how many tasks there are.

    Parameters
    ----------
    dataset : Dataset
        With classes.
    count : int
        Number of tasks.
    streams : Streams
        The run's streams; every method run under one root sees the same permutations.
    identity_first : bool
        Whether the first task keeps the features where they are.
    blend : float
        See :class:`TaskStream`; 0.125 is continuous permuted MNIST.
    scenario : {"domain", "task", "class"}
        One head for all tasks, a head of its own for every task, or outputs of its own
        for every task with the tasks to be told apart as well.

    Returns
    -------
    TaskStream
        The tasks.

    Raises
    ------
    ValueError
        If there is no task, the data have no classes, or a number is out of range.

    References
    ----------
    Kirkpatrick et al. (2017), doi:10.1073/pnas.1611835114; the blend: Schug, Benzing &
    Steger (2021), eLife 10:e69884.

    Examples
    --------
    >>> from sandbox.training.data import load
    >>> stream = permuted_tasks(load("digits"), 3, streams=Streams(0))
    >>> len(stream.tasks), stream.outputs, stream.tasks[2].features[:3].tolist()
    (3, 10, [59, 57, 31])
    """
    one_of("scenario", scenario, ("domain", "task", "class"))
    count = as_integer("count", count, low=1)
    classes = len(dataset.classes)
    if not classes:
        raise ValueError(f"dataset = {dataset.name!r}: has values for targets; must have classes")
    features = dataset.train.inputs.shape[1]
    tasks = []
    for k in range(count):
        order = streams.generator("permutation", k).permutation(features)
        if k == 0 and identity_first:
            order = np.arange(features)
        own = tuple(range(k * classes, (k + 1) * classes))
        called = own if scenario == "class" else ()
        outputs = own if scenario == "task" else ()
        name = f"permutation {k + 1}"
        tasks.append(Task(name, dataset, (), called, order, outputs))
    width = classes if scenario == "domain" else classes * count
    words = "continuously permuted" if blend else "permuted"
    return TaskStream(f"{words} {dataset.name}", tuple(tasks), width, blend)
