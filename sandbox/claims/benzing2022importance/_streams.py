"""Learn streams of permuted tasks one network at a time, with the library's own protection."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy import ndarray
from torch import nn

from sandbox.claims.benzing2022importance._continual import Arm, learn_together
from sandbox.claims.benzing2022importance._presets import preset
from sandbox.claims.benzing2022importance._settings import STREAMS, TUNED, Stream, Tuned
from sandbox.continual import Protection, learn
from sandbox.training.checkpoint import Checkpoints
from sandbox.training.data import load
from sandbox.training.models import mlp
from sandbox.training.plan import Plan
from sandbox.training.samples import Dataset
from sandbox.training.tasks import permuted_tasks
from theory.streams import Streams

if TYPE_CHECKING:
    from sandbox.bench import Run

__all__ = ["NAMES", "accuracies", "learn_one", "searched"]

NAMES: Mapping[str, str] = {
    "none": "none",
    "SI": "si",
    "SIU": "siu",
    "SIB": "sib",
    "SOS, α = 0": "sos",
    "SOS, α = 1": "sos-large-batch",
}
"""Methods of the claims by their names in :data:`sandbox.continual.methods.METHODS`."""


def fewer(data: Dataset, count: int) -> Dataset:
    """Return a data set with so many of its training images."""
    chosen = Streams(42).generator("images").permutation(len(data.train))[:count]
    return dataclasses.replace(data, train=data.train[np.sort(chosen)])


def learn_one(item: dict[str, Any]) -> dict[str, Any]:
    """Learn one stream with one method; resumes where it was cut."""
    setting, arm, device = item["setting"], item["arm"], item["device"]
    streams = Streams(item["seed"])
    stream = permuted_tasks(
        fewer(load(setting.data), setting.images), setting.tasks, streams=streams
    )

    def drawn(task: int) -> nn.Module:
        told = {"bias": 0.1, "init": "glorot-uniform", "device": device}
        return mlp(setting.widths, streams=streams, index=task, **told)

    model = drawn(0)
    optimiser = torch.optim.Adam(model.parameters(), setting.lr)
    protection = None
    if arm.method != "none":
        protection = Protection(
            model,
            optimiser,
            NAMES[arm.method],
            arm.strength,
            streams=streams,
            xi=setting.xi,
            re_init=drawn if arm.re_init else None,
        )
    plan = Plan(
        epochs=setting.epochs,
        batch_size=setting.batch,
        drop_last=True,
        evaluate_every=setting.epochs,
        reset_optimizer=True,
    )
    words = f"{NAMES[arm.method]}-{arm.strength:.4g}-{arm.re_init}-{item['seed']}"
    history = learn(
        model,
        stream,
        optimiser,
        plan,
        protection,
        streams=streams,
        checkpoints=Checkpoints(Path(item["folder"]) / re.sub(r"[^\w.-]+", "-", words)),
        resume=True,
    )
    return {"accuracy": history.accuracy_matrix().values[-1]}


def searched(run: Run, batch: str, method: str, rounds: int = 4) -> tuple[Tuned, bool]:
    """Search a method's strength in half decades, going on while the best is at an edge."""
    # on a stream of another seed; returns the best and whether it lies between others
    start = TUNED[run.scale, batch][method]
    seed = run.seeds.integer("search")
    scores: dict[int, float] = {}
    wanted = [-1, 0, 1]
    for _ in range(rounds):
        arms = [Arm(method, start.strength * 10 ** (k / 2), start.re_init) for k in wanted]
        name = f"search-{batch}-{NAMES[method]}-{'_'.join(map(str, wanted))}"
        pieces = run.sweep(learn_one, items(run, batch, arms, [seed]), name=name)
        scores |= {
            k: float(np.mean(piece["accuracy"])) for k, piece in zip(wanted, pieces, strict=True)
        }
        best = max(scores, key=scores.__getitem__)
        wanted = [k for k in (best - 1, best + 1) if k not in scores]
        if not wanted:
            break
    return Tuned(start.strength * 10 ** (best / 2), start.re_init), not wanted


def items(run: Run, batch: str, arms: list[Arm], seeds: list[int]) -> list[dict[str, Any]]:
    """Return what :func:`learn_one` is given, arms outermost."""
    setting: Stream = STREAMS[run.scale, batch]
    return [
        {
            "setting": setting,
            "arm": arm,
            "seed": seed,
            "device": run.device,
            "folder": str(run.folder / "checkpoints"),
        }
        for arm in arms
        for seed in seeds
    ]


def accuracies(
    run: Run, batch: str, methods: tuple[str, ...]
) -> tuple[dict[str, ndarray], dict[str, str]]:
    """Return every method's mean accuracies over tasks (seed,), and its settings in words."""
    setting = STREAMS[run.scale, batch]
    seeds = [run.seeds.integer("networks", k) for k in range(setting.seeds)]
    arms, words = [], {}
    for method in methods:
        if method == "none":
            arm, enclosed = Arm("none", 0.0, False), True
        elif run.scale == "paper":
            told = preset("permuted", NAMES[method], setting.batch)
            arm, enclosed = Arm(method, told.strength, told.re_init), True
        elif run.scale == "full":
            best, enclosed = searched(run, batch, method)
            arm = Arm(method, best.strength, best.re_init)
        else:
            known = TUNED[run.scale, batch][method]
            arm, enclosed = Arm(method, known.strength, known.re_init), True
        arms.append(arm)
        anew = ", new weights" if arm.re_init else ""
        words[method] = f"c = {arm.strength:.3g}{anew}{'' if enclosed else ' (edge)'}"
    if run.scale == "quick":
        found = learn_together(setting, arms, tuple(seeds), device=run.device).accuracy
    else:
        pieces = run.sweep(learn_one, items(run, batch, arms, seeds), name=f"final-{batch}")
        values = np.array([piece["accuracy"] for piece in pieces])
        found = values.reshape(len(arms), len(seeds), -1)
    return dict(zip(methods, found.mean(axis=2), strict=True)), words
