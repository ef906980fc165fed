"""Forgetting: what presynaptic consolidation keeps, and which of its parts it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.bench import Axis, Comparison, Run
from sandbox.claims.schug2021presynaptic.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

__all__: list[str] = []

DIGITS: dict[str, Any] = {
    "p_up": 0.33, "p_down": 0.33, "g_lim": 0.006, "p_freeze": 0.95, "variant": "program",
}  # fmt: skip
"""The rule for digits: tasks of some 200 steps need larger steps of p than those of thousands.
Chosen for accuracy among about a hundred draws, on other networks and tasks."""
DIGITS_RATE = 0.45
HIDDEN = 48
PLAIN_RATE = 0.1
"""Best of 0.01, 0.03, 0.05, 0.1, 0.15, 0.2 and 0.3 in mean accuracy, on the same ones."""

QUANTILES = {5: 2.776, 6: 2.571, 8: 2.365, 16: 2.131}
"""Student's 97.5 % quantile, for 95 % intervals over so many seeds."""


def seeds_of(run: Run, count: int) -> list[int]:
    """Return seeds of networks and tasks."""
    return [run.seeds.integer("networks", k) for k in range(count)]


def digits(
    method: str,
    seeds: list[int],
    *,
    tasks: int,
    epochs: int,
) -> np.ndarray:
    """Train on permuted digits; return test accuracies after the last task (seed, task)."""
    import torch

    from sandbox.claims.schug2021presynaptic._together import train_together
    from sandbox.training.data import load
    from sandbox.training.plan import Plan
    from sandbox.training.tasks import permuted_tasks
    from synapses import PresynapticRule
    from synapses.consolidation import PresynapticOptimizer
    from synapses.networks import stochastic_mlp
    from synapses.presets import LACKING
    from theory.streams import Streams

    data = load("digits", scaling="standard")
    streams = [Streams(seed) for seed in seeds]
    release = {"plain": None, "fixed release": 0.4}.get(method, 0.25)
    networks = [
        stochastic_mlp(
            (64, HIDDEN, HIDDEN, 10),
            streams=own,
            release_probability=release,
            ablation=LACKING.get(method),
        )
        for own in streams
    ]
    settings, rate = dict(DIGITS), DIGITS_RATE
    if "no freezing" in method:
        settings["p_freeze"] = 1.0
    if "no rate modulation" in method:
        settings["rate_modulation"] = False
    if "low rate" in method:
        rate = PLAIN_RATE
    if method == "fixed release":
        settings |= {"p_up": 0.0, "p_down": 0.0, "rate_modulation": False}
        rate = PLAIN_RATE

    def optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
        if method == "plain":
            return torch.optim.SGD(model.parameters(), PLAIN_RATE)
        return PresynapticOptimizer(model, PresynapticRule(**settings), rate)

    plan = Plan(epochs=epochs, batch_size=64)
    stream = [permuted_tasks(data, tasks, streams=own) for own in streams]
    return train_together(networks, stream, optimizer, plan, streams)


def published(item: tuple[str, int, str, str]) -> dict[str, Any]:
    """Train one network of the published settings on Split tasks; resumes where it was cut."""
    import re
    from pathlib import Path

    from sandbox.training.checkpoint import Checkpoints
    from sandbox.training.data import load
    from sandbox.training.loop import fit
    from sandbox.training.plan import Plan
    from sandbox.training.tasks import split_tasks
    from synapses.presets import preset
    from theory.streams import Streams

    name, seed, data, folder = item
    settings, streams = preset(name), Streams(seed)
    model = settings.network(streams=streams)
    plan = Plan(
        epochs=settings.epochs, batch_size=settings.batch_size, evaluate_every=settings.epochs
    )
    history = fit(
        model,
        split_tasks(load(data, scaling="standard")),
        settings.optimizer(model),
        plan,
        streams=streams,
        checkpoints=Checkpoints(Path(folder) / f"{re.sub(r'[^a-z]+', '-', name)}-{seed}"),
        resume=True,
    )
    return {"accuracy": history.accuracy_matrix().values}


def gain(name: str, measure: str, full: np.ndarray, controls: dict[str, np.ndarray]) -> Comparison:
    """Compare paired differences over seeds with 0."""
    import numpy as np

    differences = np.array([full - control for control in controls.values()])
    seeds = differences.shape[1]
    error = differences.std(axis=1, ddof=1) / np.sqrt(seeds)
    return Comparison(
        name,
        np.zeros(len(controls)),
        differences.mean(axis=1),
        tolerance=0.0,
        reason="an ordering: the gain over every control is positive",
        relation="at_least",
        uncertainty=QUANTILES[seeds] * error,
        confidence=f"95 % interval of paired differences over {seeds} seeds",
        quantity=measure,
        axes=(Axis("control", tuple(controls)),),
    )


@PAPER.claim(
    "consolidation-against-controls",
    says="After a stream of tasks, a network with presynaptic consolidation knows the first task"
    " better than one trained by gradient descent without consolidation, and better than one whose"
    " synapses release with a fixed probability.",
    tag="paper",
)
def consolidation(run: Run) -> list[Comparison]:
    """Train on permuted digits; at the larger scales also on Split tasks, settings as published."""
    seeds = seeds_of(run, run.pick(quick=8, full=16))
    kinds = ("presynaptic", "plain", "fixed release")
    found = {
        kind: digits(kind, seeds, tasks=3, epochs=8)
        for kind in run.progress(kinds, label="methods")
    }
    first = {kind: accuracies[:, 0] for kind, accuracies in found.items()}
    comparisons = [
        gain(
            "permuted digits: first of three tasks, after the last",
            "gain in accuracy on the first task",
            first.pop("presynaptic"),
            first,
        )
    ]
    if run.scale == "quick":
        return comparisons
    data = run.pick(quick="", full="fashion-mnist", paper="mnist")
    controls = {"plain": f"split/plain, {data}"}
    settings = {"presynaptic": "split/program", **controls}
    seeds = seeds_of(run, 5)
    items = [(name, seed, data, str(run.folder)) for name in settings.values() for seed in seeds]
    pieces = run.sweep(published, items, name=f"split-{data}")
    values = _by_method(pieces, tuple(settings), len(seeds))
    mean = {kind: accuracies[:, -1].mean(axis=1) for kind, accuracies in values.items()}
    first = {kind: accuracies[:, -1, 0] for kind, accuracies in values.items()}
    return [
        *comparisons,
        gain(
            f"split {data}: first of five tasks, after the last",
            "gain in accuracy on the first task",
            first.pop("presynaptic"),
            first,
        ),
        gain(
            f"split {data}: mean over tasks, after the last",
            "gain in mean accuracy",
            mean.pop("presynaptic"),
            mean,
        ),
    ]


def _by_method(
    pieces: list[dict[str, Any]], kinds: tuple[str, ...], seeds: int
) -> dict[str, np.ndarray]:
    """Return accuracies (seed, 1 + learned, task) by method."""
    import numpy as np

    values = np.array([piece["accuracy"] for piece in pieces])
    return dict(zip(kinds, values.reshape(len(kinds), seeds, *values.shape[1:]), strict=True))


@PAPER.claim(
    "ablations",
    says="Presynaptic consolidation needs its parts: under its settings, the mean accuracy over all"
    " tasks is lower without freezing, without rate modulation, or with a release probability that"
    " is only a ghost, normalised by the ghost or cleanly.",
    tag="paper",
)
def ablations(run: Run) -> Comparison:
    """Train every ablation on the same permuted digits, under the settings of the full model."""
    # without rate modulation that rate is too high to learn at all: the larger scales also have
    # a lower one
    seeds = seeds_of(run, run.pick(quick=6, full=16))
    kinds: tuple[str, ...] = ("full", "no freezing", "no rate modulation", "ghost", "clean ghost")
    low = ("no rate modulation, low rate", "no freezing, no rate modulation, low rate")
    kinds += run.pick(quick=(), full=low)
    found = {
        kind: digits(kind, seeds, tasks=3, epochs=5).mean(axis=1)
        for kind in run.progress(kinds, label="ablations")
    }
    return gain(
        "permuted digits: what the full model gains",
        "gain in mean accuracy",
        found.pop("full"),
        found,
    )
