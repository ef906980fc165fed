"""Train a network with several optimisers from the same starts; search their settings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from sandbox.claims.benzing2022neurons._presets import (
    ARMS,
    PRINTED,
    SETTINGS,
    Arm,
    Setting,
    on_record,
    preset,
)
from sandbox.training.data import load
from sandbox.training.models import mlp
from theory.streams import Streams

if TYPE_CHECKING:
    from sandbox.bench import Run

__all__ = [
    "CHANCE",
    "ROUNDING",
    "Found",
    "batches",
    "best_settings",
    "decades",
    "ends",
    "final",
    "images",
    "made",
    "median_interval",
    "moved",
    "network",
    "searched",
    "step_seconds",
    "train",
    "train_once",
]

CHANCE = math.log(10)
"""Loss of a guess between ten classes; a run that ends above it, or diverges, counts as that."""
ROUNDING = 2.0**-23
"""Smallest loss of one image that single precision tells from 0: a mean below it is rounding."""
NEVER = 10**9
"""A period longer than any run."""
LOST = 1e4
"""A loss from which no run has come back."""
GAIN = 0.05
"""Decades of the loss that a setting must gain for the search to move there: less than seeds do."""
NEIGHBOURS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)] + [
    (2, 1),
    (-2, -1),  # where the damping rules, the step size wants to grow as fast as it does
]
"""Around a setting, in half decades of the step size and decades of the damping."""


class Found(NamedTuple):
    """What a search found: the arm, whether all its neighbours were tried, and how many were."""

    arm: Arm
    enclosed: bool
    tried: int


@cache
def images(setting: Setting, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Return the training images and labels of a setting."""
    train = load(setting.data, scaling=setting.scaling).train
    chosen = Streams(42).generator("images").permutation(len(train))[: setting.images]
    inputs, labels = train.inputs[chosen], train.targets[chosen]
    return torch.tensor(inputs, device=device), torch.tensor(labels, device=device)


def network(setting: Setting, streams: Streams, device: str = "cpu") -> nn.Module:
    """Return the network of a setting at its start."""
    return mlp(setting.widths, streams=streams, bias=False, init="kaiming-normal", device=device)


def batches(setting: Setting, streams: Streams, name: str, count: int) -> Iterator[ndarray | slice]:
    """Yield the rows of so many batches: every image once, in a new order each time."""
    size = setting.batch or setting.images
    if size == setting.images:
        yield from [slice(None)] * count
        return
    generator = streams.generator(name)
    order: ndarray = np.arange(0)
    for _ in range(count):
        if len(order) < size:
            order = generator.permutation(setting.images)
        rows, order = order[:size], order[size:]
        yield rows


def made(arm: Arm, model: nn.Module, setting: Setting, streams: Streams) -> Optimizer:
    """Return an arm's optimiser for a model."""
    options = dict(arm.options)
    if arm.kind == "sgd":
        return torch.optim.SGD(model.parameters(), arm.lr, **options)
    if arm.kind == "adam":
        return torch.optim.Adam(model.parameters(), arm.lr, **options)
    if arm.damping is None:
        raise ValueError(f"damping = None: must be a number for {arm.kind}")
    from sandbox.optim.foof import FOOF
    from sandbox.optim.kfac import KFAC
    from sandbox.optim.natural import NaturalGradient

    labels = streams.integer("labels") % 2**63
    if arm.kind == "natural":
        # its Fisher matrix is that of the previous batch: independent of the gradient, as it
        # has to be, unless there is only one batch
        return NaturalGradient(model, arm.lr, arm.damping, seed=labels, **options)
    if setting.batch:
        options = {"T": setting.period} | options
        options = {"S": options["T"], "decay": 0.95} | options
    else:
        # factors of all data at the present weights: observed before every step, no average
        options = {"T": NEVER, "S": 1, "decay": 0.0} | options
    if arm.kind == "foof":
        return FOOF(model, arm.lr, arm.damping, **options)
    if arm.kind == "kfac":
        return KFAC(model, arm.lr, arm.damping, seed=labels, **options)
    raise ValueError(f"kind = {arm.kind!r}: must be sgd, adam, natural, kfac or foof")


def train(item: dict[str, Any]) -> dict[str, Any]:
    """Train one network; return its final loss on all training images, and those between."""
    # "every": updates from one of these to the next
    setting, arm, device = item["setting"], item["arm"], item["device"]
    streams, every = Streams(item["seed"]), item.get("every", setting.updates)
    inputs, labels = images(setting, device)
    model = network(setting, streams, device)
    optimiser: Any = made(arm, model, setting, streams)
    factored = arm.kind in {"kfac", "foof"}
    if factored:
        for rows in batches(setting, streams, "observed", setting.observed):
            optimiser.observe(inputs[rows])
    losses = [whole_loss(model, inputs, labels)]
    for step, rows in enumerate(batches(setting, streams, "batches", setting.updates), 1):
        if factored and not setting.batch:
            optimiser.observe(inputs)
        optimiser.zero_grad()
        loss = cross_entropy(model(inputs[rows]), labels[rows])
        if not loss.item() < LOST:
            break
        torch.autograd.backward(loss)
        optimiser.step()
        if step % every == 0:
            losses.append(whole_loss(model, inputs, labels))
    wanted = 1 + setting.updates // every
    losses += [math.inf] * (wanted - len(losses))
    return {"loss": losses[-1], "losses": np.array(losses)}


@cache
def known_loss(setting: Setting, arm: Arm, seed: int, device: str) -> float:
    """Return the final loss of a run, made once in a process: claims have runs in common."""
    found = train({"setting": setting, "arm": arm, "seed": seed, "device": device})
    return float(found["loss"])


def train_once(item: dict[str, Any]) -> dict[str, Any]:
    """Return the final loss of a run as :func:`train` does, remembered."""
    return {"loss": known_loss(**item)}


@torch.no_grad()
def whole_loss(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Return the mean loss on these images; infinity where it is no number."""
    parts = zip(torch.split(inputs, 10_000), torch.split(labels, 10_000), strict=True)
    total = sum(float(cross_entropy(model(x), y, reduction="sum")) for x, y in parts)
    return total / len(inputs) if math.isfinite(total) else math.inf


def moved(model: nn.Module, optimiser: Optimizer) -> list[ndarray]:
    """Make a step; return what it subtracted from every weight."""
    before = [p.detach().clone() for p in model.parameters()]
    optimiser.step()
    pairs = zip(before, model.parameters(), strict=True)
    return [(old - new.detach()).numpy() for old, new in pairs]


def decades(losses: Sequence[float] | ndarray) -> ndarray:
    """Return common logarithms of losses, none above that of guessing or below rounding."""
    return np.asarray(np.log10(np.clip(np.asarray(losses, dtype=float), ROUNDING, CHANCE)))


def median_interval(values: ndarray) -> tuple[ndarray, ndarray, str]:
    """Return medians over the last axis, half-widths of intervals around them, and their level."""
    from scipy.stats import binom

    # from the k-th smallest to the k-th largest, with the largest k that covers the median of any
    # continuous law in 93 % of all cases; a half-width is the longer side

    count = values.shape[-1]
    levels = [1 - 2 * binom.cdf(k, count, 0.5) for k in range(count // 2)]
    good = [k for k, level in enumerate(levels) if level >= 0.93]
    if not good:
        raise ValueError(f"values: {count} of them: must be 5 or more for an interval")
    k = good[-1]
    ordered = np.sort(values, axis=-1)
    middle = np.median(ordered, axis=-1)
    width = np.maximum(middle - ordered[..., k], ordered[..., -1 - k] - middle)
    words = (
        f"{100 * levels[k]:.1f} % interval of the median over {count} seeds,"
        f" false alarms at most {50 * (1 - levels[k]):.1f} % on a side"
    )
    return middle, width, words


def searched(
    run: Run, setting: Setting, arm: Arm, *, name: str, seeds: Sequence[int], rounds: int = 8
) -> Found:
    """Search step size and damping from the arm's own, on a grid extended wherever the best is."""
    # steps of half a decade and of a decade; a round trains the untried neighbours of the setting
    # that is best so far by the worst of the seeds, until there are none, or none that gains

    def at(place: tuple[int, int]) -> Arm:
        damping = None if arm.damping is None else arm.damping * 10.0 ** place[1]
        return arm.at(arm.lr * 10.0 ** (place[0] / 2), damping)

    scores: dict[tuple[int, int], float] = {}
    best = (0, 0)
    for number in range(rounds):
        around = [(best[0] + i, best[1] + j) for i, j in [(0, 0), *NEIGHBOURS]]
        if arm.damping is None:
            around = sorted({(i, 0) for i, _ in around})
        fresh = [place for place in around if place not in scores]
        if not fresh:
            return Found(at(best), True, len(scores))
        items = [
            {"setting": setting, "arm": at(place), "seed": seed, "device": run.device}
            for place in fresh
            for seed in seeds
        ]
        found = run.sweep(train_once, items, name=f"{name}-{number}")
        ends = decades([one["loss"] for one in found]).reshape(len(fresh), len(seeds))
        scores |= dict(zip(fresh, ends.max(axis=1).tolist(), strict=True))
        leader = min(scores, key=scores.__getitem__)
        if leader == best or (best in scores and scores[leader] > scores[best] - GAIN):
            return Found(at(best), True, len(scores))
        best = leader
    return Found(at(best), False, len(scores))


def best_settings(run: Run, mode: str, arms: dict[str, Arm]) -> dict[str, Found]:
    """Return every arm at its best settings: on record, searched, or printed in the paper."""
    # at quick those on record; at full a search starts from there, on networks and batches of other
    # seeds than those trained afterwards; at paper those that the paper prints, and a search for
    # what it does not print
    setting, found = SETTINGS[run.scale, mode], {}
    seeds = [run.seeds.integer("search", i) for i in range(run.pick(quick=3, full=2))]
    for name, arm in arms.items():
        if run.scale == "paper" and (mode, name) in PRINTED:
            printed = preset(PRINTED[mode, name], name)
            told = printed.translated(setting.batch or setting.images)
            found[name] = Found(arm.at(told.lr, told.damping), True, 0)
            continue
        start = arm.at(*on_record(run.scale, mode)[name])
        found[name] = (
            Found(start, True, 0)
            if run.scale == "quick"
            else searched(
                run, setting, start, name=f"search-{mode}-{name}".replace(" ", "-"), seeds=seeds
            )
        )
    return found


def ends(
    run: Run, mode: str, names: Sequence[str], seeds: int | None = None
) -> tuple[dict[str, ndarray], dict[str, str]]:
    """Return the decades of the final losses of arms, one a seed, and their settings in words."""
    arms = best_settings(run, mode, {name: ARMS[name] for name in names})
    found = final(run, mode, {name: arms[name].arm for name in names}, seeds)
    words = {
        name: one.arm.label + ("" if one.enclosed else " (edge)") for name, one in arms.items()
    }
    return found, words


def final(
    run: Run, mode: str, arms: dict[str, Arm], count: int | None = None
) -> dict[str, ndarray]:
    """Train every arm on the same starts and batches; return decades of the loss, (seed,)."""
    setting = SETTINGS[run.scale, mode]
    seeds = [run.seeds.integer("networks", i) for i in range(count or run.pick(quick=5, full=9))]
    ends = {}
    for name, arm in arms.items():
        items = [
            {"setting": setting, "arm": arm, "seed": seed, "device": run.device} for seed in seeds
        ]
        pieces = run.sweep(train_once, items, name=f"final-{mode}-{name}".replace(" ", "-"))
        ends[name] = decades([piece["loss"] for piece in pieces])
    return ends


def step_seconds(
    arms: dict[str, Arm],
    setting: Setting,
    *,
    steps: int,
    repeats: int,
    streams: Streams,
    device: str = "cpu",
) -> dict[str, ndarray]:
    """Return the time of one step of each arm, measured in turn, (repeat,)."""
    # on the CPU, processor time grows less than the wall's when others compete for the machine
    clock: Callable[[], float] = time.process_time if device == "cpu" else time.perf_counter
    wait: Callable[[], None] = torch.cuda.synchronize if device != "cpu" else lambda: None
    # how long a step takes does not hang on what the images show
    count, draw = setting.batch or setting.images, streams.generator("timed")
    rows = (
        torch.tensor(draw.normal(size=(count, setting.widths[0])), device=device).float(),
        torch.tensor(draw.integers(setting.widths[-1], size=count), device=device),
    )
    models = {name: network(setting, streams, device) for name in arms}
    optimisers = {name: made(arm, models[name], setting, streams) for name, arm in arms.items()}

    def work(name: str, count: int) -> None:
        for _ in range(count):
            optimisers[name].zero_grad()
            torch.autograd.backward(cross_entropy(models[name](rows[0]), rows[1]))
            optimisers[name].step()

    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for name in arms:
        work(name, steps)
    for _ in range(repeats):
        for name in arms:
            wait()
            start = clock()
            work(name, steps)
            wait()
            seconds[name].append((clock() - start) / steps)
    return {name: np.array(values) for name, values in seconds.items()}
