"""One run of a comparison: one method, one seed, one folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from torch import nn
from torch.optim import Optimizer

from sandbox.bench.files import write_whole
from sandbox.continual._checks import PRESYNAPTIC
from sandbox.continual.config import ContinualConfig
from sandbox.continual.learning import learn
from sandbox.continual.methods import METHODS
from sandbox.continual.protection import Protection
from sandbox.training._telling import briefly, told_by_optimizer
from sandbox.training.checkpoint import Checkpoints, write_state
from sandbox.training.command import build_model, build_optimizer, build_plan, build_stream
from sandbox.training.history import History
from sandbox.training.hooks import Moment
from sandbox.training.tasks import TaskStream
from synapses.consolidation import PresynapticOptimizer
from synapses.energy import EnergyModel
from synapses.networks import Averaged, stochastic_mlp
from synapses.presets import preset
from theory.streams import Streams

__all__ = [
    "Result",
    "build_network",
    "build_protection",
    "build_rule",
    "read_result",
    "run_name",
    "run_one",
]

FILES = ("history.parquet", "model.safetensors", "result.json")
"""What a finished run has in its folder."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a run of one method with one seed came to.

    Parameters
    ----------
    method : str
        Its name.
    seed : int
        Root of its random streams.
    tasks : tuple of str
        Names of the tasks.
    stopped : str
        Why training ended early, if it did; there are no numbers then.
    accuracy, loss : ndarray of float64
        On the test samples of every task, before learning and after each task.
    energy : ndarray of float64
        Sum of the moduli of the expected strengths, at the same times.
    """

    method: str
    seed: int
    tasks: tuple[str, ...]
    stopped: str
    accuracy: Float64[ndarray, "learned task"]
    loss: Float64[ndarray, "learned task"]
    energy: Float64[ndarray, " learned"]


class _Energies:
    """Hooks that keep the energy of the network at the start and after every task."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def measure(self, now: Moment) -> None:
        """Add what the network costs now."""
        self.found.append(EnergyModel("strength").of(now.model).total)

    def state_dict(self) -> dict[str, Any]:
        """Return what was found."""
        return {"found": list(self.found)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.found = list(state["found"])


def run_name(method: str, seed: int) -> str:
    """Return the name of a run's folder."""
    return f"{method}-{seed}"


def build_network(config: ContinualConfig, seed: int, stream: TaskStream) -> nn.Module:
    """Return the network that the settings name, with enough outputs for the stream."""
    training = config.training(seed)
    if config.model == "mlp":
        return build_model(training, stream)
    network = stochastic_mlp(
        [stream.features, *(training.widths or ()), stream.outputs],
        streams=Streams(seed),
        release_probability=config.release,
        dtype=getattr(torch, config.dtype),
        device=config.device,
    )
    return Averaged(network, config.draws)


def build_rule(config: ContinualConfig, method: str, seed: int, model: nn.Module) -> Optimizer:
    """Return what trains the network under a method."""
    if PRESYNAPTIC not in {config.optimizer, method}:
        return build_optimizer(config.training(seed), model)
    rule = preset(str(config.presynaptic_rule)).rule
    assert rule is not None
    assert config.presynaptic_lr is not None
    decay = config.weight_decay if config.optimizer == PRESYNAPTIC else None
    return PresynapticOptimizer(model, rule, config.presynaptic_lr, decay or 0.0)


def build_protection(
    config: ContinualConfig,
    method: str,
    seed: int,
    stream: TaskStream,
    model: nn.Module,
    optimizer: Optimizer,
) -> Protection | None:
    """Return what protects the network's weights; None for nothing."""
    if method not in METHODS or METHODS[method].kind == "nothing":
        return None
    known = METHODS[method]
    anew = known.re_init if config.re_init == "published" else config.re_init == "always"
    # a norm of the weights pulls to no anchor: all that was learned would be lost
    anew = anew and known.kind != "norm"

    def fresh(task: int) -> nn.Module:
        return build_network(config, Streams(seed).integer("weights again", task), stream)

    return Protection(
        model,
        optimizer,
        method,
        config.strengths()[method],
        streams=Streams(seed),
        xi=config.xi,
        samples=config.samples or None,
        accumulate=config.accumulate,
        decay=config.decay,
        clamp=config.clamp,
        ceiling=config.ceiling,
        re_init=fresh if anew else None,
    )


def run_one(
    config: ContinualConfig, method: str, seed: int, folder: Path, progress: bool = False
) -> Result:
    """Train one method with one seed, going on with what is there, and keep what comes of it."""
    if (folder / "result.json").exists():
        return read_result(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stream = build_stream(config.training(seed))
    model = build_network(config, seed, stream)
    optimizer = build_rule(config, method, seed, model)
    protection = build_protection(config, method, seed, stream, model, optimizer)
    energies = _Energies()
    checkpoints = Checkpoints(folder / "checkpoint")
    try:
        with briefly(f"{method}, seed {seed}: "):
            history = learn(
                model,
                stream,
                optimizer,
                build_plan(config.training(seed)),
                protection,
                streams=Streams(seed),
                hooks={"start": energies.measure, "task-end": energies.measure},
                stateful={"energies": energies},
                checkpoints=checkpoints,
                resume=True,
                progress=progress,
            )
    except RuntimeError as problem:  # the other methods are compared all the same
        if not told_by_optimizer(problem):
            raise
        history = History(tuple(task.name for task in stream.tasks), stopped=str(problem))
    else:
        history.save(folder / "history.parquet")
        write_state(folder / "model.safetensors", {"model": dict(model.state_dict())})
    result = _result(method, seed, history, energies.found)
    # last: its presence says that the run is whole
    write_whole(folder / "result.json", (_as_json(result) + "\n").encode())
    checkpoints.file.unlink(missing_ok=True)
    return result


def _result(method: str, seed: int, history: History, energies: list[float]) -> Result:
    """Return the numbers of a finished run."""
    if history.stopped:
        nothing = np.zeros((0, len(history.names)))
        return Result(method, seed, history.names, history.stopped, nothing, nothing, np.zeros(0))
    accuracy = history.accuracy_matrix().values
    loss = np.full_like(accuracy, np.nan)
    for row in history.rows:
        loss[int(row["learned"]), int(row["evaluated"])] = row["test_loss"]
    return Result(method, seed, history.names, "", accuracy, loss, np.asarray(energies))


def _as_json(result: Result) -> str:
    return json.dumps(
        {
            "method": result.method,
            "seed": result.seed,
            "tasks": result.tasks,
            "stopped": result.stopped,
            "accuracy": result.accuracy.tolist(),
            "loss": result.loss.tolist(),
            "energy": result.energy.tolist(),
        },
        indent=1,
    )


def read_result(folder: Path) -> Result:
    """Return what a finished run came to."""
    found = json.loads((folder / "result.json").read_text())
    names, shape = tuple(found["tasks"]), (-1, len(found["tasks"]))
    return Result(
        found["method"],
        found["seed"],
        names,
        found["stopped"],
        np.array(found["accuracy"], dtype=np.float64).reshape(shape),
        np.array(found["loss"], dtype=np.float64).reshape(shape),
        np.array(found["energy"], dtype=np.float64),
    )
