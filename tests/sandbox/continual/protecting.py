"""Small networks and streams under protection."""

import torch
from small_training import network, tiny
from torch.optim import SGD

from sandbox.continual import Protection, learn
from sandbox.training.plan import Plan
from sandbox.training.tasks import permuted_tasks
from tests.sandbox.continual.written_out import RATE
from theory.streams import Streams

ROOT = 11
PLAN = Plan(2, 8, reset_optimizer=True)


def model_of(seed=3, outputs=4):
    return network(outputs=outputs, seed=seed, dtype=torch.float64)


def three():
    return permuted_tasks(tiny(), 3, streams=Streams(ROOT))


def protected(model, stream, method, strength=None, *, plan=PLAN, build=None, **told):
    """Train; return the protection and the history."""
    optimizer = (build or (lambda m: SGD(m.parameters(), RATE)))(model)
    streams = Streams(ROOT)
    given = {name: told.pop(name) for name in ("hooks", "stateful") if name in told}
    protection = Protection(model, optimizer, method, strength, streams=streams, **told)
    history = learn(model, stream, optimizer, plan, protection, streams=streams, **given)
    return protection, history
