"""Settings of a training run: one frozen dataclass, one TOML file, one command line."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

from cyclopts import Parameter, Token

from sandbox.training.names import (
    Activation,
    DataName,
    Evaluated,
    Initialisation,
    LossName,
    ModelName,
    OptimizerName,
    Scenario,
    ScheduleName,
    StreamName,
)

__all__ = ["SettingError", "TrainConfig", "read_toml", "to_toml", "whole"]


SPOKEN = {
    "learning_rate": "lr",
    "hidden": "widths",
    "layers": "widths",
    "dataset": "data",
    "architecture": "model",
    "initialisation": "init",
    "l2": "weight_decay",
}
"""What settings are called elsewhere."""


class SettingError(ValueError):
    """A setting that is unknown, or whose value does not fit."""


def whole(_: Any, tokens: tuple[Token, ...]) -> int:
    """Convert a word of the command line to a whole number.

    The parser's own conversion rounds 2.5 to 2 without a word.

    Parameters
    ----------
    _ : Any
        The type, which the parser hands over.
    tokens : tuple of cyclopts.Token
        The word.

    Returns
    -------
    int
        The number.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is not a whole number") from None


def _widths(kind: Any, tokens: tuple[Token, ...]) -> tuple[int, ...]:
    """Return layer widths from ``64,64`` on the command line, or from a list in a file."""
    words = [word for token in tokens for word in token.value.split(",") if word.strip()]
    return tuple(whole(kind, (Token(value=word),)) for word in words)


Whole = Annotated[int, Parameter(converter=whole)]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What ``sandbox train`` trains, on what, and how.

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
        Architecture.
    widths : tuple of int
        Hidden layers, as in 64,64; of an autoencoder, from the first to the code.
    activation : str
        Activation function.
    bias : bool
        Whether layers have biases.
    init : str
        Starting weights.
    optimizer : str
        Update rule.
    lr : float
        Learning rate.
    momentum : float
        Of sgd.
    weight_decay : float
        L2 coefficient in the update; decoupled for adamw.
    epochs : int
        Passes through every task.
    batch_size : int
        Samples a step; 0 for all of them.
    loss : str
        What is minimised.
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
        Whether the optimiser forgets its state between tasks.
    seed : int
        Root of all random streams.
    device : str
        Where to train.
    dtype : str
        Type of the parameters.

    Raises
    ------
    SettingError
        If a value is out of range, of the wrong type or unknown.
    """

    data: DataName = "digits"
    scaling: Literal["unit", "standard"] = "standard"
    stream: StreamName = "single"
    tasks: Whole = 10
    per_task: Whole = 2
    scenario: Scenario = "domain"
    model: ModelName = "mlp"
    widths: Annotated[
        tuple[int, ...], Parameter(converter=_widths, n_tokens=1, accepts_keys=False, negative=())
    ] = (64, 64)
    activation: Activation = "relu"
    bias: bool = True
    init: Initialisation = "torch"
    optimizer: OptimizerName = "sgd"
    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    epochs: Whole = 10
    batch_size: Whole = 32
    loss: LossName = "cross-entropy"
    schedule: ScheduleName = "constant"
    warmup: float = 0.0
    validation: float = 0.0
    patience: Whole = 0
    evaluate: Evaluated = "current"
    evaluate_every: Whole = 1
    reset_optimizer: bool = False
    seed: Whole = 0
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        try:
            self._check()
        except ValueError as problem:
            raise SettingError(str(problem)) from None

    def _check(self) -> None:
        """Refuse values that do not fit."""
        from theory.checks import as_integer, as_number, one_of, shown

        hints = get_type_hints(type(self))
        for name, kind in hints.items():
            value = getattr(self, name)
            if kind is bool and not isinstance(value, bool):
                raise ValueError(f"{name} = {shown(value)}: must be true or false")
            if choices := get_args(kind) if name != "widths" else ():
                one_of(name, value, choices)
        least = {"tasks": 1, "per_task": 1, "epochs": 1, "evaluate_every": 1}
        for name in (name for name, kind in hints.items() if kind is int):
            number = as_integer(name, getattr(self, name), low=least.get(name, 0))
            object.__setattr__(self, name, number)
        as_integer("seed", self.seed, low=0, high=2**128 - 1)
        as_number("lr", self.lr, low=0.0, open_low=True)
        as_number("momentum", self.momentum, low=0.0, high=1.0, open_high=True)
        as_number("weight_decay", self.weight_decay, low=0.0)
        as_number("warmup", self.warmup, low=0.0, high=1.0)
        as_number("validation", self.validation, low=0.0, high=1.0, open_high=True)
        if not isinstance(self.widths, list | tuple):
            raise ValueError(f"widths = {shown(self.widths)}: must be a list of layer widths")
        widths = tuple(as_integer(f"widths[{i}]", n, low=1) for i, n in enumerate(self.widths))
        object.__setattr__(self, "widths", widths)
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum = {self.momentum}: {self.optimizer} has none; use sgd")
        if (self.model == "autoencoder") != (self.loss == "reconstruction"):
            raise ValueError(
                f"loss = {self.loss!r}: an autoencoder, and nothing else here, is trained on"
                " loss 'reconstruction'"
            )
        if self.model == "autoencoder" and not self.widths:
            raise ValueError("widths = (): an autoencoder needs a width for its code")
        if self.patience and not self.validation:
            raise ValueError(
                f"patience = {self.patience}: stopping early needs samples to judge by; set"
                " validation, e.g. 0.1"
            )


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
    path = Path(path)
    try:
        settings = tomllib.loads(path.read_text())
    except OSError as problem:
        raise SettingError(f"config = {path}: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingError(f"config = {path}: not a TOML file ({problem})") from None
    known = {field.name: field.name for field in dataclasses.fields(TrainConfig)}
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
    """Return the settings as TOML, all of them.

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
    >>> to_toml(TrainConfig(lr=0.5)).splitlines()[11:13]
    ['optimizer = "sgd"', 'lr = 0.5']
    """
    # JSON writes text, numbers, booleans and lists the way TOML does
    lines = [f"{name} = {json.dumps(value)}" for name, value in dataclasses.asdict(config).items()]
    return "\n".join(lines) + "\n"
