"""Kill protected runs at random instants and in the middle of saves; resume; compare.

``python tests/sandbox/continual/killing_protected.py --kills 4 --case si`` is to methods against
forgetting what ``tests/sandbox/killing.py`` is to training.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from torch.optim import Adam

sys.path.insert(0, str(Path(__file__).parents[1]))
import killing  # ruff: ignore[module-import-not-at-top-of-file] - path

from sandbox.continual import Protection, learn
from sandbox.training.checkpoint import write_state
from sandbox.training.data import load
from sandbox.training.models import mlp
from sandbox.training.plan import Plan
from sandbox.training.tasks import split_tasks
from synapses.networks import Averaged, stochastic_mlp
from theory.streams import Streams

STRENGTHS = {"ewc": 20.0, "si": 5.0, "siu": 5.0, "sos-large-batch": 3.0}


@dataclass(frozen=True)
class Protected(killing.Case):
    """A run under protection."""

    method: str = "si"
    anew: bool = False

    def train(self, folder, checkpoints):
        """Train to the end, going on with what is there; keep what the caller is left with."""
        model = self.model()
        optimizer, streams = self.optimizer(model), Streams(killing.SEED)
        protection = Protection(
            model,
            optimizer,
            self.method,
            STRENGTHS[self.method],
            streams=streams,
            samples=100,
            re_init=(lambda task: self.model(task)) if self.anew else None,
        )
        history = learn(
            model,
            self.stream,
            optimizer,
            self.plan,
            protection,
            streams=streams,
            checkpoints=checkpoints,
            resume=True,
        )
        rows = [[v for k, v in row.items() if k != "seconds"] for row in history.rows]
        result = {
            "model": dict(model.state_dict()),
            "optimizer": optimizer.state_dict(),
            "rows": rows,
            "protection": protection.state_dict(),
        }
        write_state(folder / "result", result)


def adam(model):
    return Adam(model.parameters(), 0.003)


def case(method, *, anew=False, stochastic=False):
    """Three tasks of three digits."""
    stream = split_tasks(load("digits"), per_task=3, scenario="domain" if stochastic else "task")

    def model(index=0):
        widths = [64, 24, stream.outputs]
        if stochastic:
            return Averaged(stochastic_mlp(widths, streams=Streams(killing.SEED), index=index), 2)
        return mlp(widths, streams=Streams(killing.SEED), index=index)

    plan = Plan(1, 16, reset_optimizer=True, validation=0.1)
    return Protected(stream, model, adam, plan, method=method, anew=anew)


killing.MORE |= {
    "ewc": lambda: case("ewc"),
    "si": lambda: case("si", anew=True),
    "siu": lambda: case("siu", stochastic=True),
    "sos": lambda: case("sos-large-batch"),
}

if __name__ == "__main__":
    killing.main()
