"""Settings of a training run: one frozen dataclass, one TOML file, one command line."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter

from sandbox.training._dependent import average_of, network_of
from sandbox.training._words import whole, widths_of
from sandbox.training.names import (
    Activation,
    DataName,
    Evaluated,
    Initialisation,
    LossName,
    ModelName,
    Precision,
    Scenario,
    ScheduleName,
    StreamName,
)
from sandbox.training.options import OptimizerOptions, check_options

__all__ = [
    "SettingError",
    "TrainConfig",
    "as_toml",
    "read_settings",
    "read_toml",
    "to_toml",
    "whole",
]


SPOKEN = {
    "learning_rate": "lr",
    "hidden": "widths",
    "layers": "widths",
    "dataset": "data",
    "architecture": "model",
    "initialisation": "init",
    "l2": "weight_decay",
    "bn": "batch_norm",
    "amp": "precision",
    "ema": "average",
}
"""What settings are called elsewhere."""


LEAST = {"tasks": 1, "per_task": 1, "epochs": 1, "evaluate_every": 1}
"""Smallest values of whole numbers that must not be 0."""


class SettingError(ValueError):
    """A setting that is unknown, or whose value does not fit."""


_tasks = Group("Data and tasks", sort_key=3)
_network = Group("Network", sort_key=4)
_training = Group("Training", sort_key=9)
_average = Group("Average of the weights, measured and saved beside them", sort_key=10)
_machine = Group("Numbers and machine", sort_key=11)

Whole = Annotated[int, Parameter(converter=whole)]
Tasks = Annotated[int, Parameter(group=_tasks, converter=whole)]
Count = Annotated[int, Parameter(group=_training, converter=whole)]
Share = Annotated[float, Parameter(group=_training)]


@dataclass(frozen=True, kw_only=True)
class TrainConfig(OptimizerOptions):
    """What ``sandbox train`` trains, on what, and how.

    The optimiser and its options are those of
    :class:`~sandbox.training.options.OptimizerOptions`.

    Parameters
    ----------
    data : str
        Data set; `sandbox data` tells which are at hand.
    scaling : str
        unit: features in [0, 1]; standard: mean 0, standard deviation 1.
    stream : str
        single: the data set as it is; split: its classes in groups, one after the other;
        permuted: its features permuted anew for every task; continuous-permuted: without
        sharp borders.
    tasks : int
        Number of tasks of a permuted stream.
    per_task : int
        Classes of a task of a split stream.
    scenario : str
        domain: tasks share their outputs; task: each has its own and is told which; class:
        each has its own and must tell them apart.
    model : str
        Architecture: multilayer perceptron (mlp), blocks of convolutions (cnn), autoencoder,
        VGG11, Wide-ResNet18 (wrn18).
    widths : tuple of int
        Hidden layers of mlp and, after its convolutions, of cnn; of autoencoder, from the
        first to the code; 64,64.
    width_factor : float
        vgg11, wrn18: factor on the channels of every layer, 1.0.
    batch_norm : bool
        vgg11, wrn18: whether convolutions are followed by batch normalisation.
    activation : str
        Activation function.
    bias : bool
        Whether layers have biases.
    init : str
        Starting weights; kaiming-normal for vgg11 and wrn18, torch for the others.
    epochs : int
        Passes through every task.
    batch_size : int
        Samples a step; 0 for all of them.
    loss : str
        What is minimised; squared and reconstruction, which is for the autoencoder, are half
        the squared error, summed over outputs.
    schedule : str
        How the learning rate falls within a task.
    warmup : float
        Share of a task's steps in which it rises first.
    validation : float
        Share of the training samples set aside.
    patience : int
        Evaluations without a lower validation loss after which a task ends; 0 for never.
    evaluate : str
        Tasks measured after every epoch; after a task all of them are.
    evaluate_every : int
        Epochs between two evaluations.
    reset_optimizer : bool
        Whether the optimiser forgets its state, factors and averages included, between tasks.
    average : str
        exponential: moving average over steps; tail: plain mean over the last steps of a task.
    average_decay : float
        exponential: factor of the moving average, 0.999.
    average_start : float
        Share of a task's steps after which averaging begins: 0.0 (exponential), 0.5 (tail).
    seed : int
        Root of all random streams.
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
        If a value is out of range, of the wrong type or unknown.
    """

    data: Annotated[DataName, Parameter(group=_tasks)] = "digits"
    scaling: Annotated[Literal["unit", "standard"], Parameter(group=_tasks)] = "standard"
    stream: Annotated[StreamName, Parameter(group=_tasks)] = "single"
    tasks: Tasks = 10
    per_task: Tasks = 2
    scenario: Annotated[Scenario, Parameter(group=_tasks)] = "domain"
    model: Annotated[ModelName, Parameter(group=_network)] = "mlp"
    widths: Annotated[
        tuple[int, ...] | None,
        Parameter(group=_network, converter=widths_of, n_tokens=1, accepts_keys=False, negative=()),
    ] = None
    width_factor: Annotated[float | None, Parameter(group=_network)] = None
    batch_norm: Annotated[bool, Parameter(group=_network)] = False
    activation: Annotated[Activation, Parameter(group=_network)] = "relu"
    bias: Annotated[bool, Parameter(group=_network)] = True
    init: Annotated[Initialisation | None, Parameter(group=_network)] = None
    epochs: Count = 10
    batch_size: Count = 32
    loss: Annotated[LossName, Parameter(group=_training)] = "cross-entropy"
    schedule: Annotated[ScheduleName, Parameter(group=_training)] = "constant"
    warmup: Share = 0.0
    validation: Share = 0.0
    patience: Count = 0
    evaluate: Annotated[Evaluated, Parameter(group=_training)] = "current"
    evaluate_every: Count = 1
    reset_optimizer: Annotated[bool, Parameter(group=_training)] = False
    average: Annotated[Literal["none", "exponential", "tail"], Parameter(group=_average)] = "none"
    average_decay: Annotated[float | None, Parameter(group=_average)] = None
    average_start: Annotated[float | None, Parameter(group=_average)] = None
    seed: Annotated[int, Parameter(group=_machine, converter=whole)] = 0
    device: Annotated[Literal["cpu", "cuda"], Parameter(group=_machine)] = "cpu"
    dtype: Annotated[Literal["float32", "float64", "bfloat16"], Parameter(group=_machine)] = (
        "float32"
    )
    precision: Annotated[Precision, Parameter(group=_machine)] = "full"

    def __post_init__(self) -> None:
        try:
            self._check()
        except ValueError as problem:
            raise SettingError(str(problem)) from None

    def _check(self) -> None:
        """Refuse values that do not fit, and fill in what depends on other settings."""
        from theory.checks import as_integer, as_number, one_of, shown

        hints = get_type_hints(type(self))
        for name in self.__annotations__:
            value, kind = getattr(self, name), hints[name]
            if kind is bool and not isinstance(value, bool):
                raise ValueError(f"{name} = {shown(value)}: must be true or false")
            if kind is int:
                self._set(name, as_integer(name, value, low=LEAST.get(name, 0)))
            if get_origin(kind) is Literal:
                one_of(name, value, get_args(kind))
        as_integer("seed", self.seed, low=0, high=2**128 - 1)
        as_number("warmup", self.warmup, low=0.0, high=1.0)
        as_number("validation", self.validation, low=0.0, high=1.0, open_high=True)
        for name, value in (check_options(self) | network_of(self) | average_of(self)).items():
            self._set(name, value)
        if self.patience and not self.validation:
            raise ValueError(
                f"patience = {self.patience}: stopping early needs samples to judge by; set"
                " validation, e.g. 0.1"
            )
        if self.precision != "full" and self.dtype != "float32":
            raise ValueError(
                f"precision = {self.precision!r}: is for dtype 'float32', not {self.dtype!r}"
            )
        if self.precision != "full" and self.optimizer == "curvature":
            raise ValueError(
                f"precision = {self.precision!r}: curvature forms exact derivatives; use 'full'"
            )

    def _set(self, name: str, value: Any) -> None:
        """Set a field, which is otherwise frozen."""
        object.__setattr__(self, name, value)


def read_toml(path: Path | str) -> dict[str, Any]:
    """Return the settings of a TOML file, refusing keys that are none.

    Parameters
    ----------
    path : pathlib.Path or str
        The file: ``key = value`` lines with the fields of :class:`TrainConfig` as keys.

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
    return read_settings(path, TrainConfig)


def read_settings(path: Path | str, kind: type) -> dict[str, Any]:
    """Return the settings of a TOML file for one of the commands, refusing keys that are none.

    Parameters
    ----------
    path : pathlib.Path or str
        The file.
    kind : type
        A dataclass, whose fields are the settings.

    Returns
    -------
    dict
        Only what the file sets.

    Raises
    ------
    SettingError
        As :func:`read_toml`.
    """
    path = Path(path)
    try:
        settings = tomllib.loads(path.read_text())
    except OSError as problem:
        raise SettingError(f"config = {path}: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingError(f"config = {path}: not a TOML file ({problem})") from None
    known = {field.name: field.name for field in dataclasses.fields(kind)}
    known |= {name.replace("_", "-"): name for name in known}  # as the command line spells them
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in known:
            spelled, names = key.lower().replace("-", "_"), [*known.values(), *SPOKEN]
            close = difflib.get_close_matches(spelled, names, n=1, cutoff=0.0)[0]
            near = SPOKEN.get(close, close)
            raise SettingError(f"{path}: there is no setting {key!r}; the nearest is {near!r}")
        if known[key] in found:
            raise SettingError(f"{path}: sets {known[key]!r} twice, once with a dash")
        found[known[key]] = value
    return found


def to_toml(config: TrainConfig) -> str:
    """Return the settings as TOML, all that there are for this optimiser and network.

    Parameters
    ----------
    config : TrainConfig
        The settings.

    Returns
    -------
    str
        What :func:`read_toml` reads back.

    Examples
    --------
    >>> to_toml(TrainConfig(lr=0.5)).splitlines()[:3]
    ['optimizer = "sgd"', 'lr = 0.5', 'momentum = 0.0']
    """
    return as_toml(config)


def as_toml(config: OptimizerOptions) -> str:
    """Return any command's settings as TOML, those that are not None.

    Parameters
    ----------
    config : OptimizerOptions
        The settings.

    Returns
    -------
    str
        A line a setting.
    """
    # JSON writes text, numbers, booleans and lists the way TOML does
    known = {k: value for k, value in dataclasses.asdict(config).items() if value is not None}
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in known.items())
