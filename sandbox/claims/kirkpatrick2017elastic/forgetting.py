"""Permuted digits, one task after the other: what the penalty keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.bench import Axis, Comparison, Run, lazy
from sandbox.claims.kirkpatrick2017elastic.paper import PAPER

if TYPE_CHECKING:
    import numpy as np

    from sandbox.training.hooks import Moment

__all__: list[str] = []

STRENGTHS = {"no penalty": 0.0, "Fisher": 10.0, "uniform": 5.0}
"""Best in mean accuracy over the tasks, on four networks and streams of other seeds: of 2 to 50
for the Fisher diagonal, of 0.5 to 10 for uniform importance, in steps of about two."""

TASKS = 3

EPOCHS = 4
"""Of each task: short training, for more networks."""


def accuracies(method: str, seed: int, strength: float | None = None) -> np.ndarray:
    """Train on permuted digits; return test accuracies of all tasks after the last."""
    import torch

    from sandbox.regularisers import QuadraticPenalty, fisher_diagonal
    from sandbox.training.data import load
    from sandbox.training.loop import fit
    from sandbox.training.models import mlp
    from sandbox.training.plan import Plan
    from sandbox.training.tasks import permuted_tasks
    from theory.streams import Streams

    streams = Streams(seed)
    stream = permuted_tasks(load("digits"), TASKS, streams=streams)
    model = mlp([64, 64, 10], streams=streams)
    optimizer = torch.optim.Adam(model.parameters(), 0.005, fused=True)
    penalty = QuadraticPenalty(STRENGTHS[method] if strength is None else strength, "online")
    if method != "no penalty":
        penalty.attach(optimizer)

    def consolidate(moment: Moment) -> None:
        """Take in the task that has been learned."""
        samples = moment.stream.tasks[moment.task].samples()
        importance = fisher_diagonal(model, samples, n=300)
        if method == "uniform":
            size = sum(part.numel() for part in importance.values())
            level = sum(float(part.sum()) for part in importance.values()) / size
            importance = {n: torch.full_like(part, level) for n, part in importance.items()}
        penalty.consolidate(importance, model)

    history = fit(
        model,
        stream,
        optimizer,
        Plan(
            epochs=EPOCHS,
            batch_size=200,
            evaluate="all",
            evaluate_every=EPOCHS,
            reset_optimizer=True,
        ),
        streams=streams,
        hooks={"task-end": consolidate} if method != "no penalty" else None,
    )
    values: np.ndarray = history.accuracy_matrix().values[-1]
    return values


@PAPER.claim(
    "first-of-three-tasks-is-kept",
    says="Of three permuted tasks learned one after the other, elastic weight consolidation keeps"
    " the first better than training without a penalty, and knows more of the three in the end;"
    " also more than a penalty that holds all weights alike, each at its best strength.",
    tag="paper",
    derivation=lazy("theory.importance:merged_penalties"),
)
def first_task_is_kept(run: Run) -> list[Comparison]:
    """Train networks of several seeds in all three ways; compare the same seeds."""
    import numpy as np

    from sandbox.claims.kirkpatrick2017elastic._networks import t_interval

    count = run.pick(quick=8, full=20)
    seeds = [run.seeds.integer("networks", k) for k in range(count)]
    found = {name: np.array([accuracies(name, seed) for seed in seeds]) for name in STRENGTHS}
    gains = np.empty((count, 3))
    gains[:, 0] = (found["Fisher"] - found["no penalty"])[:, 0]
    gains[:, 1] = (found["Fisher"] - found["no penalty"]).mean(axis=1)
    gains[:, 2] = (found["Fisher"] - found["uniform"]).mean(axis=1)
    centre, half = t_interval(gains, 0.98)
    names = (
        "first task, over no penalty",
        "all tasks, over no penalty",
        "all tasks, over uniform importance",
    )
    return [
        Comparison(
            "gain in test accuracy",
            np.zeros(3),
            centre,
            tolerance=0.0,
            reason="a gain is more than 0; the interval says how sure that is",
            relation="at_least",
            uncertainty=half,
            confidence=f"98 % interval of each mean over {count} seeds (Student): one of the three"
            " above 0 by chance in less than one case of 33",
            quantity="accuracy gained",
            axes=(Axis("gain", names),),
        )
    ]
