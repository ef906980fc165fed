"""The perceptron that learns five tasks: the published table, and what makes the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sandbox.bench import Axis, Comparison, Run
from sandbox.claims.schug2021presynaptic.paper import PAPER

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

__all__: list[str] = []

Variant = Literal["full", "ghost", "rate drop"]

TASKS, PATTERNS, INPUTS, EPOCHS, BATCH, VOTES = 5, 100, 1000, 25, 5, 10
STEP, LIMIT, FLOOR, CAP = 0.2, 0.1, 0.25, 0.9

PUBLISHED: dict[int, tuple[float, ...]] = {
    1000: (0.83, 0.85, 0.86, 0.94, 1.0),
    1001: (0.88, 0.94, 0.89, 0.94, 1.0),
    1002: (0.84, 0.86, 0.88, 0.96, 1.0),
    1003: (0.85, 0.83, 0.90, 0.97, 1.0),
    1004: (0.92, 0.86, 0.97, 0.96, 1.0),
    1005: (0.81, 0.88, 0.90, 0.96, 1.0),
    1006: (0.92, 0.89, 0.93, 0.95, 1.0),
    1007: (0.93, 0.82, 0.85, 0.91, 1.0),
    1008: (0.90, 0.82, 0.94, 0.95, 1.0),
    1009: (0.90, 0.86, 0.87, 0.95, 1.0),
}
"""Accuracy on every task after the last, by seed: the authors' notebook
(github.com/smonsays/presynaptic-stochasticity)."""


def patterns(random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Draw the patterns (task, pattern, input) and labels (task, pattern), all of them ±1."""
    import numpy as np

    inputs = np.empty((TASKS, PATTERNS, INPUTS), dtype=np.int64)
    labels = np.empty((TASKS, PATTERNS), dtype=np.int64)
    for task in range(TASKS):  # in the notebook's order of draws
        inputs[task] = 2 * random.randint(2, size=(PATTERNS, INPUTS)) - 1
        labels[task] = 2 * random.randint(2, size=PATTERNS) - 1
    return inputs, labels


def skip(random: np.random.RandomState, count: int) -> None:
    """Leave out ``count`` uniform numbers, two words each."""
    from sandbox.claims.schug2021presynaptic._skip_kernels import WORDS, twist

    state: dict[str, Any] = random.get_state(legacy=False)
    blocks, place = divmod(state["state"]["pos"] + 2 * count, WORDS)
    if place == 0:  # numpy makes the next block when the next number is asked for
        blocks, place = blocks - 1, WORDS
    twist(state["state"]["key"], blocks)
    state["state"]["pos"] = place
    random.set_state(state)


def stochastic(seed: int, variant: Variant = "full") -> np.ndarray:
    """Accuracies (learned, task) of a perceptron trained with presynaptic consolidation."""
    # ghost: p learns as ever and sets the rate, but every synapse always releases;
    # rate drop: no release probabilities, the rate is 0.75 in the first task, then 0.1
    import numpy as np

    random = np.random.RandomState(seed)  # the notebook's generator
    inputs, labels = patterns(random)
    strength = np.zeros(INPUTS)
    p = np.full(INPUTS, FLOOR)
    frozen = np.zeros(INPUTS, dtype=bool)
    release = variant == "full"
    found = np.empty((TASKS, TASKS))
    for task in range(TASKS):
        for epoch in range(EPOCHS):
            if release:
                random.permutation(PATTERNS)  # drawn and never used, in the notebook as well
            for first in range(0, PATTERNS, BATCH):
                x = inputs[task, first : first + BATCH]
                y = labels[task, first : first + BATCH]
                released = random.binomial(1, p, size=x.shape) if release else np.ones_like(x)
                weights = strength / p if release else strength
                answers = np.where((x * released) @ weights >= 0, 1, -1)
                gradient = ((y - answers)[:, None] * x * released).mean(axis=0)
                if variant == "rate drop":
                    strength = strength + gradient * (0.75 if task == 0 else 0.1)
                    continue
                strength = strength + gradient * (1 - p)
                change = STEP * np.where(np.abs(gradient) > LIMIT, 1, -1) * (1 - p)
                p = np.clip(np.where(frozen, p, p + change), FLOOR, CAP)
                frozen |= p >= CAP
            if release and epoch < EPOCHS - 1:
                # the notebook tests after every epoch; only its random numbers matter here,
                # one a synapse and pattern
                skip(random, TASKS * VOTES * PATTERNS * INPUTS)
        if not release:
            answers = np.where(inputs @ strength >= 0, 1, -1)
            found[task] = (answers == labels).mean(axis=1)
            continue
        for k in range(TASKS):  # a majority of ten networks
            votes = np.zeros(PATTERNS)
            for _ in range(VOTES):
                released = random.binomial(1, p, size=inputs[k].shape)
                votes += np.sign((inputs[k] * released) @ (strength / p))
            found[task, k] = (np.sign(votes) * labels[k] > 0).mean()
    return found


def plain(seed: int) -> np.ndarray:
    """Accuracies (learned, task) without consolidation, in exact integers."""
    # in floating point w.x = 0 happens, and its sign then depends on the order of the sum
    import numpy as np

    random = np.random.RandomState(seed)  # the notebook's generator
    inputs, labels = patterns(random)
    weights = np.zeros(INPUTS, dtype=np.int64)  # in units of 2/5
    found = np.empty((TASKS, TASKS))
    for task in range(TASKS):
        for _ in range(EPOCHS):
            for first in range(0, PATTERNS, BATCH):
                x = inputs[task, first : first + BATCH]
                answers = np.where(x @ weights >= 0, 1, -1)
                errors = (labels[task, first : first + BATCH] - answers) // 2
                weights = weights + errors @ x
        found[task] = (np.where(inputs @ weights >= 0, 1, -1) == labels).mean(axis=1)
    return found


@PAPER.claim(
    "perceptron-table",
    says="A perceptron with presynaptic consolidation keeps, after five tasks, the accuracies of"
    " the authors' notebook, digit for digit.",
    tag="paper",
)
def perceptron_table(run: Run) -> Comparison:
    """Repeat the notebook's experiment with its generator, from an independent program."""
    import numpy as np

    seeds = run.pick(quick=(1001,), full=tuple(PUBLISHED))
    found = [stochastic(seed)[-1] for seed in run.progress(seeds, label="seeds")]
    return Comparison(
        "accuracy on each task after the last",
        np.array([PUBLISHED[seed] for seed in seeds]).T,
        np.array(found).T,
        tolerance=1e-12,
        reason="shares of a hundred patterns; the same random numbers in the same order",
        quantity="accuracy",
        axes=(Axis("task", tuple(range(1, TASKS + 1))), Axis("seed", tuple(map(str, seeds)))),
    )


@PAPER.claim(
    "perceptron-controls",
    says="Consolidation alone does little for the perceptron: with every synapse releasing always,"
    " or with a rate that merely drops after the first task, the mean accuracy over five tasks"
    " stays below that with stochastic release, as it does without any consolidation.",
    tag="derived",
)
def perceptron_controls(run: Run) -> list[Comparison]:
    """Train the controls on the same patterns, without stochastic release."""
    import numpy as np

    seeds = tuple(PUBLISHED)
    published = np.array([PUBLISHED[seed] for seed in seeds]).mean(axis=1)
    kinds: dict[str, Callable[[int], np.ndarray]] = {
        "none": plain,
        "ghost p": lambda seed: stochastic(seed, "ghost"),
        "rate drop": lambda seed: stochastic(seed, "rate drop"),
    }
    gains, half = [], []
    for control in run.progress(kinds.values(), label="controls"):
        gain = published - np.array([control(seed)[-1].mean() for seed in seeds])
        gains.append(gain.mean())
        # Student's 99 % interval of paired differences over ten seeds
        half.append(3.25 * gain.std(ddof=1) / np.sqrt(len(seeds)))
    return [
        Comparison(
            "accuracy gained by stochastic release",
            np.zeros(len(kinds)),
            np.array(gains),
            tolerance=0.0,
            reason="an ordering: the gain over every control is positive",
            relation="at_least",
            uncertainty=np.array(half),
            confidence="99 % interval of paired differences over ten seeds",
            quantity="gain in mean accuracy",
            axes=(Axis("control", tuple(kinds)),),
        )
    ]
