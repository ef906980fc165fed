"""Kill training runs at random instants, resume them, compare with runs that were left alone.

``python tests/sandbox/killing.py --kills 50`` does so in children forked from one process that
has everything loaded, prints what it did as JSON and fails if a single byte differs.
"""

import argparse
import json
import math
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.optim import SGD, Adam

# the project first: the folders of the tests are named as its packages
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))
from small_training import bits, timeless  # ruff: ignore[module-import-not-at-top-of-file] - path

from sandbox.bench import files  # ruff: ignore[module-import-not-at-top-of-file] - as above
from sandbox.optim.kfac import KFAC
from sandbox.training.averaging import WeightAverage
from sandbox.training.checkpoint import Checkpoints, read_state, write_state
from sandbox.training.data import at_hand, load
from sandbox.training.loop import fit
from sandbox.training.models import cnn, mlp
from sandbox.training.plan import Plan
from sandbox.training.tasks import split_tasks
from theory.streams import Streams

SEED = 5
SAVE = ("open", "write", "fsync", "close", "replace", "open", "fsync", "close")
"""What a save of one chunk does to the disk."""
PLACES = (2, 5, 7, 3, 6, 4, 8, 1)
"""Where in a save to kill, counted from 1, the places most likely to hurt first."""


class Anchor:
    """A penalty with a state: it pulls weights back to where the last task left them."""

    def __init__(self, model):
        self.weights = {name: p.detach().double() for name, p in model.named_parameters()}
        self.tasks = 0

    def __call__(self, model):
        pairs = ((p, self.weights[name]) for name, p in model.named_parameters())
        return 0.01 * (1 + self.tasks) * sum((p - w).square().sum() for p, w in pairs).float()

    def drop(self, now):
        self.weights = {name: p.detach().double() for name, p in now.model.named_parameters()}
        self.tasks += 1

    def state_dict(self):
        return {"weights": self.weights, "tasks": self.tasks}

    def load_state_dict(self, state):
        self.weights, self.tasks = state["weights"], state["tasks"]


class Diary:
    """A hook with a state that draws random numbers and counts events."""

    def __init__(self):
        self.total, self.counts = torch.zeros((), dtype=torch.float64), {}

    def shake(self, now):
        for parameter in now.model.parameters():
            parameter.grad.mul_(1 + 0.01 * torch.randn(()))

    def note(self, now):
        self.total = self.total + now.loss.double() / 3
        place = (now.task, now.epoch)
        self.counts[place] = self.counts.get(place, 0) + 1

    def state_dict(self):
        return {"total": self.total, "counts": self.counts}

    def load_state_dict(self, state):
        self.total, self.counts = state["total"], state["counts"]


@dataclass(frozen=True)
class Case:
    """What is trained."""

    stream: object
    model: object
    optimizer: object
    plan: Plan
    average: object = None

    @property
    def steps(self):
        tasks = self.stream.tasks
        return sum(self.plan.epochs * self.plan.steps(task.size("train")) for task in tasks)

    def train(self, folder, checkpoints):
        """Train to the end, going on with what is there; keep what the caller is left with."""
        model = self.model()
        average = self.average(model) if self.average else None
        optimizer, anchor, diary = self.optimizer(model), Anchor(model), Diary()
        history = fit(
            model,
            self.stream,
            optimizer,
            self.plan,
            streams=Streams(SEED),
            penalty=anchor,
            hooks={"gradient": diary.shake, "step": diary.note, "task-end": anchor.drop},
            stateful={"diary": diary},
            average=average,
            checkpoints=checkpoints,
            resume=True,
        )
        seconds = history.column("seconds").tolist()
        assert seconds == sorted(seconds)
        assert seconds[-1] > 0
        rows = [[v for k, v in row.items() if k != "seconds"] for row in history.rows]
        result = {
            "model": dict(model.state_dict()),
            "optimizer": optimizer.state_dict(),
            "rows": rows,
            "stopped": history.stopped,
            "diary": diary.state_dict(),
            "anchor": anchor.state_dict(),
            "average": average.state_dict() if average else None,
            "modes": [module.training for module in model.modules()],
        }
        write_state(folder / "result", result)


def digits():
    """Two tasks, dropout, Adam, a schedule with warmup, samples set aside."""

    def model():
        layers = list(mlp([64, 32, 10], streams=Streams(SEED)))
        return nn.Sequential(*layers[:2], nn.Dropout(0.3), layers[2])

    stream = split_tasks(load("digits"), per_task=5, scenario="class")
    plan = Plan(2, 32, schedule="cosine", warmup=0.1, validation=0.1, patience=2, drop_last=False)
    return Case(stream, model, lambda m: Adam(m.parameters(), 0.003), plan)


def fashion_mnist():
    """A convolutional network with momentum on some of the images."""
    whole = load("fashion-mnist")
    some = replace(whole, train=whole.train[:1000], test=whole.test[:200])
    stream = split_tasks(some, per_task=5, scenario="task")

    def model():
        shape = {"blocks": ((4,), (8,)), "hidden": (32,)}
        return cnn((28, 28), stream.outputs, streams=Streams(SEED), **shape)

    plan = Plan(2, 25, schedule="linear", evaluate="all", reset_optimizer=True)
    return Case(stream, model, lambda m: SGD(m.parameters(), 0.05, momentum=0.9), plan)


def factors():
    """Factors in the middle of their averages, labels drawn from the model, averaged weights."""

    def optimizer(model):
        return KFAC(model, 0.01, 0.1, T=5, S=3, momentum=0.5, seed=SEED)

    plan = Plan(2, 32, drop_last=False)
    stream = split_tasks(load("digits"), per_task=5, scenario="task")

    def model():
        return mlp([64, 24, stream.outputs], streams=Streams(SEED))

    return Case(stream, model, optimizer, plan, lambda model: WeightAverage(model, "tail"))


CASES = {"digits": digits, "fashion-mnist": fashion_mnist}
"""What is trained by default, by its data."""

MORE = {"factors": factors}
"""What is trained where it is asked for."""


class Confessing:
    """Stands for ``os`` and tells through a pipe when a certain operation is under way."""

    def __init__(self, pipe, number):
        self.pipe, self.left = pipe, number
        files.os = self
        Path.replace = self.guarded("replace", Path.replace)

    def __getattr__(self, name):
        found = getattr(os, name)
        return self.guarded(name, found) if name in SAVE else found

    def guarded(self, name, operation):
        def guarded(*arguments):
            self.left -= 1
            if self.left == 0:
                if name == "write":  # half of it
                    operation(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.write(self.pipe, name.encode())
                time.sleep(60)  # the end comes from outside
            return operation(*arguments)

        return guarded


def forked(action):
    """Run an action in a child; return its process id and what it tells, nothing at its end."""
    told, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        return child, told
    try:
        os.close(told)
        action(tell)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def attempt(case, folder, checkpoints, *, after=math.inf, operation=0):
    """Train in a child and kill it after a time or in a file operation; tell where that was.

    Nothing is returned if the child came to its end.
    """

    def action(pipe):
        if operation:
            Confessing(pipe, operation)
        case.train(folder, checkpoints)

    child, told = forked(action)
    late = time.monotonic() + min(after, 120)
    ready, _, _ = select.select([told], [], [], min(after, 120))
    where = os.read(told, 20).decode() if ready else "some time"
    if where:
        os.kill(child, signal.SIGKILL)
    os.close(told)
    _, status = os.waitpid(child, 0)
    if where and os.WIFSIGNALED(status):
        assert time.monotonic() >= late or ready
        return where
    if status:
        raise SystemExit("a child failed")
    return ""


def difference(one, other, at=""):
    """Return the place of the first difference between two states, or nothing."""
    if isinstance(one, dict) and isinstance(other, dict) and list(one) == list(other):
        pairs = ((f"{at}/{key}", one[key], other[key]) for key in one)
        return next((found for n, a, b in pairs if (found := difference(a, b, n))), "")
    return "" if bits(one) == bits(other) else at or "/"


def abuse(names, kills, seed, root):
    """Kill and resume until enough processes have died; return what was found."""
    chance, counts, differing, runs = random.Random(seed), Counter(), [], 0
    cases = {name: (CASES | MORE)[name]() for name in names}
    wanted, times, of_each, saved_before = {}, {}, Counter(), 0
    for name, case in cases.items():
        (root / name).mkdir()
        start = time.monotonic()
        assert not attempt(case, root / name, Checkpoints(root / name, seconds=1e9))
        times[name] = time.monotonic() - start
        saved = timeless(read_state(root / name / "state.safetensors"))
        wanted[name] = (saved, read_state(root / name / "result"))
    while counts.total() < kills:
        name = names[runs % len(names)]
        case, folder = cases[name], root / f"run-{runs}"
        folder.mkdir()
        every = chance.choice([1, 2, 5])
        checkpoints = Checkpoints(folder, seconds=chance.choice([0.01, 1e9]), steps=every)
        saves = case.steps // every
        for _ in range(min(chance.randint(2, 3), kills - counts.total())):
            if counts.total() % 2:
                after = 1.5 * times[name] * chance.random()
                where = attempt(case, folder, checkpoints, after=after)
            else:
                place = PLACES[counts.total() // 2 % len(PLACES)]
                number = len(SAVE) * chance.randrange(saves // 2) + place
                where = attempt(case, folder, checkpoints, operation=number)
            if not where:
                break
            counts[where] += 1
            of_each[name] += 1
            if checkpoints.file.exists():
                read_state(checkpoints.file)  # whole, whenever the end came
                saved_before += 1
        assert not attempt(case, folder, checkpoints)
        found = (timeless(read_state(checkpoints.file)), read_state(folder / "result"))
        places = map(difference, found, wanted[name])
        differing += [f"{name}, run {runs}: {place}" for place in places if place]
        shutil.rmtree(folder)
        runs += 1
    return {
        "kills": counts.total(),
        "where": dict(counts),
        "of each": dict(of_each),
        "with a checkpoint": saved_before,
        "runs": runs,
        "differing": differing,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", action="append", choices=[*CASES, *MORE])
    given = parser.parse_args()
    torch.set_num_threads(1)  # a process with threads must not be forked
    optimizer = Adam([nn.Parameter(torch.zeros(1))])  # imports what it needs, once
    optimizer.step()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        found = abuse(given.case or [*filter(at_hand, CASES)], given.kills, given.seed, Path(root))
    print(json.dumps({**found, "seconds": round(time.monotonic() - start, 1)}))
    return bool(found["differing"])


if __name__ == "__main__":
    sys.exit(main())
