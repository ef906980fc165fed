"""What ``sandbox train`` does: build from settings, train, keep the results in a folder."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sandbox.bench.files import only_process
from sandbox.bench.folder import begin_folder, refuse_foreign, refuse_other
from sandbox.bench.record import Settings
from sandbox.training._optimizers import build_optimizer
from sandbox.training.averaging import WeightAverage
from sandbox.training.checkpoint import Checkpoints, read_state, write_state
from sandbox.training.config import SettingError, TrainConfig, read_toml, to_toml
from sandbox.training.curves import save_curve
from sandbox.training.data import load
from sandbox.training.history import History
from sandbox.training.loop import fit
from sandbox.training.models import autoencoder, cnn, mlp, vgg11, wide_resnet18
from sandbox.training.plan import Plan
from sandbox.training.tasks import TaskStream, permuted_tasks, single_task, split_tasks
from theory.streams import Streams

__all__ = ["build_average", "build_model", "build_optimizer", "build_plan", "build_stream", "train"]

RESULTS = ("history.parquet", "model.safetensors", "curve.png", "curve.svg")
"""What a finished run leaves in its folder, next to its settings and environment."""


def build_stream(config: TrainConfig) -> TaskStream:
    """Return the stream of tasks that the settings name.

    Parameters
    ----------
    config : TrainConfig
        The settings.

    Returns
    -------
    TaskStream
        One or more tasks.
    """
    dataset = load(config.data, scaling=config.scaling)
    if config.stream == "single":
        return single_task(dataset)
    if config.stream == "split":
        return split_tasks(dataset, per_task=config.per_task, scenario=config.scenario)
    blend = 0.125 if config.stream == "continuous-permuted" else 0.0
    return permuted_tasks(
        dataset,
        config.tasks,
        streams=Streams(config.seed),
        blend=blend,
        scenario=config.scenario,
    )


def build_model(config: TrainConfig, stream: TaskStream) -> nn.Module:
    """Return the network that the settings name, with enough outputs for the stream.

    Parameters
    ----------
    config : TrainConfig
        The settings.
    stream : TaskStream
        What it will learn.

    Returns
    -------
    torch.nn.Module
        On its device.
    """
    options: dict[str, Any] = {
        "activation": config.activation,
        "bias": config.bias,
        "init": config.init,
        "streams": Streams(config.seed),
        "dtype": getattr(torch, config.dtype),
        "device": config.device,
    }
    shape, hidden = stream.tasks[0].dataset.shape, config.widths or ()
    if config.model == "cnn":
        return cnn(shape, stream.outputs, hidden=hidden, **options)
    if config.model in {"vgg11", "wrn18"}:
        build = vgg11 if config.model == "vgg11" else wide_resnet18
        options |= {"width": config.width_factor, "batch_norm": config.batch_norm}
        return build(shape, stream.outputs, **options)
    if config.model == "mlp":
        return mlp([stream.features, *hidden, stream.outputs], **options)
    return autoencoder([stream.features, *hidden], **options)


def build_average(config: TrainConfig, model: nn.Module) -> WeightAverage | None:
    """Return the average of the weights that the settings name.

    Parameters
    ----------
    config : TrainConfig
        The settings.
    model : torch.nn.Module
        Whose weights are averaged.

    Returns
    -------
    WeightAverage or None
        None if there is to be none.
    """
    if config.average == "none":
        return None
    numbers = {} if config.average_decay is None else {"decay": config.average_decay}
    return WeightAverage(model, config.average, start=config.average_start, **numbers)


def build_plan(config: TrainConfig) -> Plan:
    """Return the plan that the settings make.

    Parameters
    ----------
    config : TrainConfig
        The settings.

    Returns
    -------
    Plan
        For :func:`sandbox.training.loop.fit`.
    """
    return Plan(
        epochs=config.epochs,
        batch_size=config.batch_size or None,
        loss=config.loss,
        schedule=config.schedule,
        warmup=config.warmup,
        validation=config.validation,
        patience=config.patience or None,
        evaluate=config.evaluate,
        evaluate_every=config.evaluate_every,
        reset_optimizer=config.reset_optimizer,
        precision=config.precision,
    )


def train(
    config: TrainConfig,
    out: Path,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> History:
    """Train as the settings say and keep what comes of it.

    ``out`` receives ``config.toml`` and ``environment.json`` at the start,
    ``history.parquet``, ``model.safetensors`` and the curve as PNG and SVG at the end. A
    finished run of the same settings is not done again.

    Parameters
    ----------
    config : TrainConfig
        The settings.
    out : pathlib.Path
        Folder of the results; made if need be.
    checkpoint : pathlib.Path or None
        Folder of the checkpoints; None for ``out/checkpoint``.
    resume : bool
        Go on with a run that was cut short.
    overwrite : bool
        Remove what a run left in ``out``, whatever its settings; nothing else is removed.
    progress : bool
        Whether to draw a progress bar on a terminal.

    Returns
    -------
    History
        Measurements of the run.

    Raises
    ------
    ValueError
        If ``out`` is a file, or holds another run, one cut short that is not to be resumed,
        or files that are no run's.
    """
    checkpoints = Checkpoints(checkpoint or out / "checkpoint")
    results = out / "history.parquet"
    refuse_foreign(out, RESULTS, what="run", ours=_is_ours(out), overwrite=overwrite)
    _refuse_other_checkpoint(out, checkpoints, overwrite=overwrite)
    if not overwrite and (out / "config.toml").exists():
        same, whole = TrainConfig(**read_toml(out / "config.toml")) == config, results.exists()
        cut_short = checkpoints.file.exists() and not resume and not whole
        refuse_other(out, what="run", same=same, cut_short=cut_short)
        if whole:
            return History.load(results)
    # all of it is made, and so found to fit, before anything is removed or written
    stream, plan = build_stream(config), build_plan(config)
    for task in stream.tasks:
        plan.steps(task.size("train"))
    model = build_model(config, stream)
    average = build_average(config, model)  # its copy is made before an optimiser hangs hooks on
    optimizer = build_optimizer(config, model)
    if overwrite:
        _remove(out, checkpoints)
    begin_folder(out, to_toml(config), Settings(seed=config.seed, device=config.device))
    history = fit(
        model,
        stream,
        optimizer,
        plan,
        streams=Streams(config.seed),
        average=average,
        checkpoints=checkpoints,
        resume=resume,
        progress=progress,
    )
    save_curve(history, out / "curve", stream.name)
    weights = {"settings": asdict(config), "model": dict(model.state_dict())}
    if average is not None:
        weights["average"] = dict(average.model.state_dict())
    write_state(out / "model.safetensors", weights)
    history.save(results)  # last: its presence says that the run is whole
    return history


def _is_ours(out: Path) -> bool:
    """Tell whether a folder has the settings of a run."""
    with suppress(SettingError):
        read_toml(out / "config.toml")
        return True
    return False


def _refuse_other_checkpoint(out: Path, checkpoints: Checkpoints, *, overwrite: bool) -> None:
    """Refuse a checkpoint elsewhere that belongs to no run in this folder."""
    if checkpoints.folder != out / "checkpoint" and checkpoints.file.exists():
        read_state(checkpoints.file)  # refuses what is no state of ours
        if not overwrite and not (out / "config.toml").exists():
            raise ValueError(
                f"--checkpoint {checkpoints.folder}: holds the checkpoint of another run; choose"
                " another folder"
            )


def _remove(out: Path, checkpoints: Checkpoints) -> None:
    """Remove the files that a run writes, and no others."""
    with only_process(checkpoints.folder):
        files = [out / name for name in (*RESULTS, "config.toml", "environment.json")]
        for file in (*files, checkpoints.file):
            file.unlink(missing_ok=True)
