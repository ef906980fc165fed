"""Settings of a comparison of methods against forgetting: one dataclass, one TOML file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter

from sandbox.continual._words import method_names, strengths_of, text
from sandbox.training._words import whole, widths_of
from sandbox.training.config import SettingError, TrainConfig, as_toml, read_settings
from sandbox.training.names import (
    Activation,
    DataName,
    Initialisation,
    Precision,
    Scenario,
    ScheduleName,
)
from sandbox.training.options import OptimizerOptions

__all__ = ["ContinualConfig", "read_toml", "to_toml"]

_tasks = Group("Data and tasks", sort_key=2)
_methods = Group("Methods against forgetting", sort_key=3)
_network = Group("Network", sort_key=4)
_optimizer = Group("Optimiser", sort_key=5)
_presynaptic = Group("Presynaptic rule, of model stochastic-mlp", sort_key=8)
_training = Group("Training", sort_key=9)
_machine = Group("Seeds, numbers and machine", sort_key=11)

Tasks = Annotated[int, Parameter(group=_tasks, converter=whole)]
Count = Annotated[int, Parameter(group=_training, converter=whole)]
Share = Annotated[float, Parameter(group=_training)]
Optimizers = Literal[
    "sgd", "adam", "adamw", "muon", "foof", "kfac", "natural", "alice", "curvature", "presynaptic"
]

LEAST = {"count": 2, "per_task": 2, "seeds": 1, "epochs": 1, "draws": 1}
"""Smallest values of whole numbers that must not be 0."""

PASSED = (
    *("data", "scaling", "per_task", "scenario", "widths", "activation", "bias", "init"),
    *("epochs", "batch_size", "schedule", "warmup", "reset_optimizer"),
    *("device", "dtype", "precision"),
)
"""Settings that a training run has under the same name."""


@dataclass(frozen=True, kw_only=True)
class ContinualConfig(OptimizerOptions):
    """Which methods ``sandbox continual`` compares, on which tasks, and how it trains.

    The options of the optimiser are those of
    :class:`~sandbox.training.options.OptimizerOptions`.

    Parameters
    ----------
    data : str
        Data set; `sandbox data` tells which are at hand.
    scaling : str
        unit: features in [0, 1]; standard: mean 0, standard deviation 1.
    tasks : str
        permuted: features permuted anew for every task; split: classes in groups, one after the
        other; continuous-permuted: permuted without sharp borders.
    count : int
        Number of tasks of a permuted stream.
    per_task : int
        Classes of a task of a split stream.
    scenario : str
        domain: tasks share their outputs; task: each has its own and is told which; class:
        each has its own and must tell them apart.
    regulariser : tuple of str
        Methods to compare, with commas between: none; at a task's end ewc, root-fisher,
        absolute-fisher, mas, masx, mas-logit; along the path si, siu, sib, sos, sos-large-batch;
        of the weights alone ratio-norm; presynaptic, the rule of stochastic-mlp without penalty.
    strength : str
        Factor on the penalty: published, a number for all methods, or NAME=NUMBER with commas
        between. The published ones were tuned for ten permuted MNIST tasks on widths 2000,2000
        with adam and batches of 256 (Benzing 2022): elsewhere they are a start.
    xi : float
        si, siu, sib: added to the squared path length.
    samples : int
        Training samples, at most, that an importance at a task's end averages over; 0 for all.
    accumulate : str
        sum: importances add up, round the newest weights; online: with decay; separate: every
        task keeps weights of its own; average: decaying mean.
    decay : float
        online, average: factor on the importance of earlier tasks.
    clamp : str
        si, siu, sib: negative importance is cut off every task's (task), off the sum over tasks
        (running), or not at all (signed).
    ceiling : float, optional
        Largest importance of a weight that acts, in the units of each method's; no bound.
    re_init : str
        Whether weights are drawn anew when a task begins, while the penalty pulls to the old
        ones: never, always, or as published with each method's strength, which takes more
        steps than small settings have. Methods that pull to none go on from where they were.
    model : str
        Multilayer perceptron, plain or of synapses that release at random.
    widths : tuple of int
        Hidden layers; 64,64.
    activation : str
        Activation function; that of stochastic-mlp is relu.
    bias : bool
        Whether layers have biases; those of stochastic-mlp do.
    init : str
        Starting weights; torch, which is also that of stochastic-mlp.
    release : float
        stochastic-mlp: release probability at the start.
    draws : int
        stochastic-mlp: networks drawn in a test, whose probabilities are averaged.
    optimizer : str
        Update rule. adam, adamw, sgd, muon, foof, kfac, natural, alice, curvature as in `sandbox
        train`; presynaptic: the rule below, for all methods.
    presynaptic_rule : str
        Published settings of the rule: energy, permuted or split, each with /paper or /program
        (permuted/program); those of the tasks, as the authors' program has them.
    presynaptic_lr : float
        Its learning rate; that of these settings.
    epochs : int
        Passes through every task.
    batch_size : int
        Samples a step; 0 for all of them.
    schedule : str
        How the learning rate falls within a task.
    warmup : float
        Share of a task's steps in which it rises first.
    reset_optimizer : bool
        Whether the optimiser forgets its state between tasks, as in the published runs.
    seeds : int
        Runs of every method, with roots --seed, --seed + 1, ...
    seed : int
        Root of the first run's random streams.
    device : str
        Where to train.
    dtype : str
        Type of the parameters.
    precision : str
        full: everything in the type of the parameters; bfloat16-mixed: forward and backward
        pass in bfloat16 where that is safe, parameters and their updates in float32.

    Raises
    ------
    SettingError
        If a value is out of range, of the wrong type or unknown, or settings contradict.
    """

    data: Annotated[DataName, Parameter(group=_tasks)] = "digits"
    scaling: Annotated[Literal["unit", "standard"], Parameter(group=_tasks)] = "unit"
    tasks: Annotated[
        Literal["permuted", "split", "continuous-permuted"], Parameter(group=_tasks)
    ] = "permuted"
    count: Tasks = 10
    per_task: Tasks = 2
    scenario: Annotated[Scenario, Parameter(group=_tasks)] = "domain"
    regulariser: Annotated[
        tuple[str, ...],
        Parameter(
            group=_methods,
            converter=method_names,
            n_tokens=1,
            accepts_keys=False,
            negative=(),
            show_default=",".join,
        ),
    ] = ("none", "si", "sos", "ewc")
    strength: Annotated[
        str, Parameter(group=_methods, converter=text, n_tokens=1, accepts_keys=False)
    ] = "published"
    xi: Annotated[float, Parameter(group=_methods)] = 0.1
    samples: Annotated[int, Parameter(group=_methods, converter=whole)] = 1000
    accumulate: Annotated[
        Literal["sum", "online", "separate", "average"], Parameter(group=_methods)
    ] = "sum"
    decay: Annotated[float, Parameter(group=_methods)] = 1.0
    clamp: Annotated[Literal["task", "running", "signed"], Parameter(group=_methods)] = "task"
    ceiling: Annotated[float | None, Parameter(group=_methods)] = None
    re_init: Annotated[Literal["never", "always", "published"], Parameter(group=_methods)] = "never"
    model: Annotated[Literal["mlp", "stochastic-mlp"], Parameter(group=_network)] = "mlp"
    widths: Annotated[
        tuple[int, ...] | None,
        Parameter(group=_network, converter=widths_of, n_tokens=1, accepts_keys=False, negative=()),
    ] = None
    activation: Annotated[Activation, Parameter(group=_network)] = "relu"
    bias: Annotated[bool, Parameter(group=_network)] = True
    init: Annotated[Initialisation | None, Parameter(group=_network)] = None
    release: Annotated[float, Parameter(group=_network)] = 0.25
    draws: Annotated[int, Parameter(group=_network, converter=whole)] = 10
    optimizer: Annotated[Optimizers, Parameter(group=_optimizer)] = "adam"  # type: ignore[assignment]  # a field may not widen its base: one more name
    presynaptic_rule: Annotated[str | None, Parameter(group=_presynaptic)] = None
    presynaptic_lr: Annotated[float | None, Parameter(group=_presynaptic)] = None
    epochs: Count = 10
    batch_size: Count = 32
    schedule: Annotated[ScheduleName, Parameter(group=_training)] = "constant"
    warmup: Share = 0.0
    reset_optimizer: Annotated[bool, Parameter(group=_training)] = True
    seeds: Annotated[int, Parameter(group=_machine, converter=whole)] = 3
    seed: Annotated[int, Parameter(group=_machine, converter=whole)] = 0
    device: Annotated[Literal["cpu", "cuda"], Parameter(group=_machine)] = "cpu"
    dtype: Annotated[Literal["float32", "float64"], Parameter(group=_machine)] = "float32"
    precision: Annotated[Precision, Parameter(group=_machine)] = "full"

    def __post_init__(self) -> None:
        try:
            self._check()
        except ValueError as problem:
            raise SettingError(str(problem)) from None

    def _check(self) -> None:
        """Refuse values that do not fit, and fill in what depends on other settings."""
        from sandbox.continual._checks import check_methods, check_network, check_presynaptic
        from theory.checks import as_integer, as_number, one_of, shown

        hints = get_type_hints(type(self))
        for name in type(self).__annotations__:
            value, kind = getattr(self, name), hints[name]
            if kind is bool and not isinstance(value, bool):
                raise ValueError(f"{name} = {shown(value)}: must be true or false")
            if kind is int:
                self._set(name, as_integer(name, value, low=LEAST.get(name, 0)))
            if get_origin(kind) is Literal:
                one_of(name, value, get_args(kind))
        as_integer("seed + seeds", self.seed + self.seeds - 1, low=0, high=2**128 - 1)
        self._set("xi", as_number("xi", self.xi, low=0.0, open_low=True))
        for check in (check_methods, check_network, check_presynaptic):
            for name, value in check(self).items():
                self._set(name, value)
        training = self.training(self.seed)
        self._set("widths", training.widths)
        self._set("init", training.init)
        if self.optimizer != "presynaptic":
            for field in dataclasses.fields(OptimizerOptions):
                self._set(field.name, getattr(training, field.name))

    def _set(self, name: str, value: Any) -> None:
        """Set a field, which is otherwise frozen."""
        object.__setattr__(self, name, value)

    def training(self, seed: int) -> TrainConfig:
        """Return the settings of one run's network, tasks and training, as ``sandbox train`` has.

        Parameters
        ----------
        seed : int
            Root of its random streams.

        Returns
        -------
        TrainConfig
            With sgd for the optimiser where the presynaptic rule trains.
        """
        options: dict[str, Any] = {name: getattr(self, name) for name in PASSED}
        if self.optimizer != "presynaptic":
            own = dataclasses.fields(OptimizerOptions)
            options |= {field.name: getattr(self, field.name) for field in own}
        return TrainConfig(**options, stream=self.tasks, tasks=self.count, seed=seed)

    def strengths(self) -> dict[str, float | None]:
        """Return the strength of every method that is compared.

        Returns
        -------
        dict
            None for methods without a penalty.

        Examples
        --------
        >>> config = ContinualConfig(regulariser=("none", "si", "ewc"), strength="ewc=50")
        >>> config.strengths()
        {'none': None, 'si': 0.2, 'ewc': 50.0}
        """
        return strengths_of(self.strength, self.regulariser)


def read_toml(path: Path | str) -> dict[str, Any]:
    """Return the settings of a TOML file, refusing keys that are none.

    Parameters
    ----------
    path : pathlib.Path or str
        The file: ``key = value`` lines with the fields of :class:`ContinualConfig` as keys.

    Returns
    -------
    dict
        Only what the file sets.

    Raises
    ------
    SettingError
        If the file cannot be read, is no TOML, or has a key that is no setting; the
        message names the nearest.
    """
    return read_settings(path, ContinualConfig)


def to_toml(config: ContinualConfig) -> str:
    """Return the settings as TOML, all that there are for this optimiser.

    Parameters
    ----------
    config : ContinualConfig
        The settings.

    Returns
    -------
    str
        What :func:`read_toml` reads back.

    Examples
    --------
    >>> to_toml(ContinualConfig(lr=0.5)).splitlines()[:2]
    ['optimizer = "adam"', 'lr = 0.5']
    """
    return as_toml(config)
