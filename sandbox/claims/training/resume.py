"""A run that was cut short and resumed is the run that was not."""

from __future__ import annotations

from sandbox.bench import Axis, Comparison, Run
from sandbox.claims.training.paper import PAPER

__all__: list[str] = []


@PAPER.claim(
    "resume-equals-uninterrupted",
    says="A run that is cut short at any step and resumed from its checkpoint ends with the bits of"
    " the run that was never stopped: weights, the optimiser's state, random numbers, history.",
    tag="derived",
)
def resume_equals_uninterrupted(run: Run) -> list[Comparison]:
    """Stop runs at random steps, resume each in fresh objects, count the bytes that differ."""
    import shutil
    from typing import Any

    import numpy as np
    import torch

    from sandbox.training.checkpoint import Checkpoints, read_state
    from sandbox.training.data import load
    from sandbox.training.hooks import Moment
    from sandbox.training.loop import fit
    from sandbox.training.models import cnn
    from sandbox.training.plan import Plan
    from sandbox.training.tasks import split_tasks

    stops = run.pick(quick=4, full=40)
    stream = split_tasks(load("digits"), per_task=5, scenario="task")
    plan = Plan(epochs=2, batch_size=32, schedule="cosine", warmup=0.1, evaluate="all")

    class Cut(Exception):  # ruff: ignore[error-suffix-on-exception-name] - not an error
        """The power is gone."""

    def train(name: str, stop: int | None = None, *, resume: bool = False) -> dict[str, Any]:
        network = cnn(
            (8, 8), 10, streams=run.seeds, blocks=((8,),), hidden=(16,), dropout=(0.25, 0.5)
        )
        optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
        places = Checkpoints(run.folder / name, seconds=1e9, steps=7)

        def cut(now: Moment) -> None:
            if now.step == stop:
                raise Cut

        try:
            fit(
                network,
                stream,
                optimiser,
                plan,
                streams=run.seeds,
                hooks={"step": cut} if stop else None,
                checkpoints=places,
                resume=resume,
            )
        except Cut:
            return {}
        return read_state(places.file)

    def flat(state: object) -> bytes:
        """Return every byte of a state, the clock's readings left out."""
        if isinstance(state, dict):
            parts = [flat(value) for key, value in state.items() if key != "seconds"]
            return b"".join(parts)
        if isinstance(state, list | tuple):
            return b"".join(flat(value) for value in state)
        if isinstance(state, torch.Tensor):
            return state.reshape(-1).view(torch.uint8).numpy().tobytes()
        if isinstance(state, np.ndarray):
            return state.tobytes()
        return repr(state).encode()

    for old in ("whole", *(f"cut-{i}" for i in range(stops))):
        shutil.rmtree(run.folder / old, ignore_errors=True)  # of a run that was stopped itself
    whole = train("whole")
    total = int(whole["position"]["step"])
    reference = np.frombuffer(flat(whole), np.uint8)
    at = np.sort(run.seeds.generator("stops").choice(np.arange(2, total), stops, replace=False))
    differing = []
    for i, stop in enumerate(run.progress(at.tolist(), label="stops")):
        train(f"cut-{i}", int(stop))
        resumed = np.frombuffer(flat(train(f"cut-{i}", resume=True)), np.uint8)
        same = len(resumed) == len(reference)
        differing.append(int((resumed != reference).sum()) if same else len(reference))
    return [
        Comparison(
            f"bytes that differ, of {len(reference)}",
            np.zeros(stops),
            np.array(differing, dtype=float),
            tolerance=0.0,
            reason="the same operations on the same numbers in the same order",
            quantity="bytes that differ",
            axes=(Axis("stopped after", tuple(int(s) for s in at), "steps"),),
        )
    ]
