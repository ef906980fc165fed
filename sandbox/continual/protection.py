"""Estimator, penalty and hooks of one method, bundled for the training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sandbox.continual._independent import Independent, without_average
from sandbox.continual.methods import Method, find_method
from sandbox.training.hooks import Hook, Moment
from theory.checks import as_integer, as_number, one_of, shown
from theory.streams import Streams

if TYPE_CHECKING:
    from sandbox.regularisers import QuadraticPenalty, RatioNorm, SynapticIntelligence
    from sandbox.training.plan import Plan
    from sandbox.training.tasks import TaskStream

__all__ = ["Protection"]

Accumulate = Literal["sum", "online", "separate", "average"]

CLAMPS: dict[str, Literal["none", "running", "signed"]] = {
    "task": "none",
    "running": "running",
    "signed": "signed",
}
"""What the penalty is told: what was cut off every task needs no more."""


class Protection:
    r"""What protects a network's weights while it learns one task after the other.

    **Equation.** Training minimises :math:`L + c \sum_i \Omega_i (\theta_i - \theta^*_i)^2`. When
    a task is learned its importance joins :math:`\Omega` and the weights become
    :math:`\theta^*`. An importance along the path sees the gradient of L alone.

    **Shapes and units.** Those of the model's parameters.

    Parameters
    ----------
    model : torch.nn.Module
        Trained by the loop.
    optimizer : torch.optim.Optimizer
        Of its parameters; the penalty's gradient is added when it steps.
    method : str or Method
        A key of :data:`sandbox.continual.methods.METHODS`, or a method of one's own.
    strength : float or None
        c, >= 0; None for the method's published one.
    streams : Streams
        Those of the run: independent batches and the samples of importances come from them.
    xi : float
        si, siu, sib: added to the squared path length; 0.1 for permuted MNIST.
    samples : int or None
        Training samples, at most, over which an importance at a task's end is averaged; None for
        all of them.
    accumulate, decay
        As in :class:`sandbox.regularisers.QuadraticPenalty`.
    clamp : {"task", "running", "signed"}
        si, siu, sib: negative parts are cut off each task's importance, off the sum over tasks,
        or not at all.
    ceiling : float or None
        The largest importance that acts; None for no bound.
    re_init : callable or None
        Returns a fresh network for a task, from 1 on, whose parameters the weights become
        when that task begins, while the penalty pulls to the anchor; None to go on from where
        the last task ended. Of outputs that belong to tasks only those of the task are drawn anew.

    Raises
    ------
    ValueError
        If the method is unknown or has no published strength, or a number is out of range.

    References
    ----------
    Kirkpatrick et al. (2017), doi:10.1073/pnas.1611835114; Zenke, Poole & Ganguli (2017),
    arXiv:1703.04200; Aljundi et al. (2018), arXiv:1711.09601; Benzing (2022), arXiv:2006.06357.

    Examples
    --------
    >>> model = nn.Linear(3, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> protection = Protection(model, optimizer, "si", streams=Streams(0))
    >>> protection.strength, sorted(protection.hooks)
    (0.2, ['resume', 'start', 'task-end', 'task-start'])
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        method: str | Method,
        strength: float | None = None,
        *,
        streams: Streams,
        xi: float = 0.1,
        samples: int | None = 1000,
        accumulate: Accumulate = "sum",
        decay: float = 1.0,
        clamp: Literal["task", "running", "signed"] = "task",
        ceiling: float | None = None,
        re_init: Callable[[int], nn.Module] | None = None,
    ) -> None:
        self.method = find_method(method)
        self.model, self.optimizer = model, optimizer
        self.strength = _strength(method, self.method, strength)
        self.samples = None if samples is None else as_integer("samples", samples, low=1)
        self.clamp = one_of("clamp", clamp, tuple(CLAMPS))
        if re_init is not None and not callable(re_init):
            raise ValueError(f"re_init = {shown(re_init)}: must be a function of the task, or None")
        self.re_init = re_init
        self.penalty: QuadraticPenalty | None = None
        self.path: SynapticIntelligence | None = None
        self.norm: RatioNorm | None = None
        self._independent = Independent(streams)
        self._handles: list[Any] = []
        self._settings: dict[str, Any] = {
            "kind": self.method.kind,
            "estimator": self.method.estimator,
            "options": dict(self.method.options),
            "strength": self.strength,
            "xi": as_number("xi", xi, low=0.0, open_low=True),
            "samples": self.samples,
            "accumulate": accumulate,
            "decay": decay,
            "clamp": self.clamp,
            "ceiling": ceiling,
            "re_init": re_init is not None,
        }
        self._set_up()

    def _set_up(self) -> None:
        """Make what the method consists of, and join it to the optimiser."""
        kind, told = self.method.kind, self._settings
        if kind == "norm":
            from sandbox.regularisers import RatioNorm

            self.norm = RatioNorm(self.strength, **self.method.options)
            self._handles.append(self.norm.attach(self.optimizer, self.model))
        if kind in {"task's end", "path"}:
            from sandbox.regularisers import QuadraticPenalty

            self.penalty = QuadraticPenalty(
                self.strength,
                told["accumulate"],
                told["decay"],
                clamp=CLAMPS[self.clamp],
                ceiling=told["ceiling"],
            )
            self._handles.append(self.penalty.attach(self.optimizer, self.model))
        if kind == "path":
            from sandbox.regularisers import SynapticIntelligence

            options = {"xi": told["xi"], **self.method.options}
            self.path = SynapticIntelligence(self.model, self.optimizer, **options)

    @property
    def hooks(self) -> dict[str, list[Hook]]:
        """Hooks for :func:`sandbox.training.loop.fit`."""
        found: dict[str, list[Hook]] = {
            "start": [self._check],
            "resume": [self._check],
            "task-start": [self._begin],
            "task-end": [self._consolidate],
        }
        if self.method.independent:
            found["batch"] = [self._observe]
        return found

    @property
    def stateful(self) -> dict[str, Protection]:
        """What has a state, for :func:`sandbox.training.loop.fit`."""
        return {"protection": self}

    @property
    def importance(self) -> dict[str, Tensor] | None:
        """Omega, by parameter; None before a task is learned, or without one."""
        return None if self.penalty is None else self.penalty.importance

    def remove(self) -> None:
        """Take everything off the optimiser."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self.path is not None:
            self.path.remove()

    def refuse_misfits(self, stream: TaskStream, plan: Plan) -> None:
        """Refuse tasks of which there is nothing to measure.

        Parameters
        ----------
        stream : TaskStream
            The tasks.
        plan : Plan
            How they are learned.

        Raises
        ------
        ValueError
            If a task has one class, the loss is one that the estimator has no law for, or an
            independent batch would be the training batch, which is all there is.
        """
        if self.method.kind == "nothing":
            return
        self._likelihood(plan)
        if self.method.independent and plan.batch_size is None and not stream.blend:
            raise ValueError(
                "batch_size = None: every step takes all samples, so that an independent batch"
                " would be the same; choose a batch size, or si or sos, which need none"
            )
        for task in stream.tasks:
            outputs = len(task.outputs) or stream.outputs
            if len(task.classes) == 1 or outputs < 2:
                raise ValueError(
                    f"task {task.name!r} has one class: its probability is 1 whatever the weights"
                    " are, so none of them is important; use two classes a task or more"
                )

    def _check(self, now: Moment) -> None:
        if now.model is not self.model:
            raise ValueError("protection: is of another model than the one that is trained")
        self.refuse_misfits(now.stream, now.plan)

    def _begin(self, now: Moment) -> None:
        if self.re_init is not None and now.task > 0:
            _redraw(self.model, self.re_init(now.task), now)
        if self.path is not None:
            self.path.begin()

    def _observe(self, now: Moment) -> None:
        assert self.path is not None
        self.path.observe(self._independent.loss(now))

    def _consolidate(self, now: Moment) -> None:
        if self.penalty is None:
            return
        if self.path is not None:
            found = self.path.importance(clamp=self.clamp == "task")
        else:
            found = self._estimate(now)
        self.penalty.consolidate(found, self.model)

    def _estimate(self, now: Moment) -> dict[str, Tensor]:
        """Return the importance of the task that was learned just now."""
        from sandbox import regularisers

        estimator = getattr(regularisers, self.method.estimator)
        network, prefix = without_average(self.model)
        data = self._independent.samples(now, self.samples)
        outputs = now.stream.tasks[now.task].outputs
        columns = list(outputs) if outputs else None
        told = {**self.method.options, **self._likelihood(now.plan)}
        found = estimator(network, data, **told, columns=columns)
        return {prefix + name: value for name, value in found.items()}

    def _likelihood(self, plan: Plan) -> dict[str, str]:
        """Return what the estimator is told of the loss; refuse one that it has no law for."""
        loss, name = plan.loss, self.method.estimator
        if loss == "cross-entropy" or not name or self.method.options.get("output") == "logit":
            return {}
        if name != "fisher_diagonal":
            raise ValueError(
                f"loss = {loss!r}: {name} is of the probabilities of classes; train on"
                " 'cross-entropy', or use ewc or mas-logit"
            )
        return {"likelihood": "gaussian"}

    def state_dict(self) -> dict[str, Any]:
        """Return the state, settings included."""
        parts = {"penalty": self.penalty, "path": self.path}
        state = {name: part.state_dict() for name, part in parts.items() if part is not None}
        return {"settings": dict(self._settings), **state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state back.

        Parameters
        ----------
        state : dict
            What :meth:`state_dict` gave.

        Raises
        ------
        ValueError
            If it is of other settings.
        """
        saved = state["settings"]
        for name, value in self._settings.items():
            if saved.get(name) != value:
                raise ValueError(
                    f"protection: {name} is {shown(value)} here, {shown(saved.get(name))} in the"
                    " saved run; only a run of the same settings goes on with it"
                )
        if self.penalty is not None:
            self.penalty.load_state_dict(state["penalty"])
        if self.path is not None:
            self.path.load_state_dict(state["path"])


def _strength(name: str | Method, found: Method, given: float | None) -> float:
    """Return the strength that is asked for, or the published one."""
    if found.kind == "nothing":
        if given:
            raise ValueError(f"strength = {shown(given)}: method 'none' has no penalty; leave it")
        return 0.0
    chosen = found.strength if given is None else given
    if chosen is None:
        raise ValueError(f"strength = None: {shown(name)} has no published one; choose a number")
    return as_number("strength", chosen, low=0.0)


@torch.no_grad()
def _redraw(model: nn.Module, fresh: nn.Module, now: Moment) -> None:
    """Give a model a fresh one's parameters, but not those of other tasks' outputs."""
    drawn = dict(fresh.named_parameters())
    own = list(now.stream.tasks[now.task].outputs)
    head = _head(model, now.stream.outputs) if own else set()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name not in drawn or drawn[name].shape != parameter.shape:
            raise ValueError(
                f"re_init: the fresh network has no parameter {name!r} of shape"
                f" {tuple(parameter.shape)}"
            )
        value = drawn[name].to(parameter)
        if name in head:
            parameter[own] = value[own]
        else:
            parameter.copy_(value)


def _head(model: nn.Module, outputs: int) -> set[str]:
    """Return the names of the parameters of the layer that gives the outputs."""
    layers = [item for item in model.named_modules() if isinstance(item[1], nn.Linear)]
    if not layers or layers[-1][1].out_features != outputs:
        raise ValueError(
            f"re_init: finds no linear layer with the stream's {outputs} outputs at the model's"
            " end, whose rows of other tasks would have to stay"
        )
    name = layers[-1][0]
    return {f"{name}.{part}".lstrip(".") for part in ("weight", "bias")}
