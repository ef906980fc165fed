"""Train networks with plastic, fixed and certain release; measure information and energy."""

from __future__ import annotations

from collections.abc import Generator as Yields
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sandbox.training.data import load
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from sandbox.training.samples import Dataset, Samples
from synapses import PresynapticRule
from synapses.consolidation import PresynapticOptimizer
from synapses.energy import EnergyModel, bits_per_energy
from synapses.layers import stochastic_layers
from synapses.networks import stochastic_mlp
from theory.streams import Streams
from theory.task_information import task_information

if TYPE_CHECKING:
    from torch.optim import Optimizer

__all__ = ["SETTINGS", "Setting", "trained"]

BATCH = 100
FIXED = 0.4
"""Release probability of the control with fixed release: the mean of p after learning."""


@dataclass(frozen=True)
class Setting:
    """Sizes and rates of the energy experiment; the rule's are 0.07 up, 0.07 down, g_lim 0.001.

    Parameters
    ----------
    data : str
        Name of the data set.
    pooling : int
        Side of the squares of pixels that are averaged.
    hidden : tuple of int
        Widths of the hidden layers.
    epochs : int
        Passes through the data, in batches of 100.
    rate : float
        Learning rate with stochastic release.
    certain_rate : float
        Learning rate of the deterministic network; 1.6 times the other in the authors' program.
    """

    data: str
    pooling: int
    hidden: tuple[int, ...]
    epochs: int
    rate: float
    certain_rate: float


SETTINGS = {
    # with rates and weight decay four times as large as in the full setting, strengths fall by
    # exp(-4.5) in 560 steps, there by exp(-6) in 12,000
    "quick": Setting("mnist-5k", 2, (50,), 14, 0.2, 0.32),
    "full": Setting("mnist-5k", 1, (200, 200), 300, 0.05, 0.08),
    "paper": Setting("mnist", 1, (200, 200), 50, 0.05, 0.08),
}


@cache
def pooled(name: str, side: int) -> Dataset:
    """Return normalised images averaged over squares of pixels."""
    data = load(name, scaling="standard")
    if side == 1:
        return data
    height, width = (n // side for n in data.shape)

    def smaller(samples: Samples) -> Samples:
        squares = samples.inputs.reshape(-1, height, side, width, side)
        inputs = squares.mean(axis=(2, 4)).reshape(len(samples), -1)
        return Samples(inputs, samples.targets)

    return replace(data, train=smaller(data.train), test=smaller(data.test), shape=(height, width))


@contextmanager
def seeded(seed: int) -> Yields[None]:
    """Draw torch's numbers from a seed for a while."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def answers(network: nn.Module, samples: Samples, passes: int) -> np.ndarray:
    """Return softmax probabilities (pass, sample, output), a new mask for every batch."""
    place = next(network.parameters())
    inputs = torch.tensor(samples.inputs, device=place.device)
    with torch.no_grad():
        found = [
            torch.cat([network(batch).softmax(dim=1) for batch in torch.split(inputs, BATCH)])
            for _ in range(passes)
        ]
    return torch.stack(found).double().cpu().numpy()


def trained(item: dict[str, Any]) -> dict[str, float]:
    """Train one network of a kind under a weight decay; return what it tells and costs."""
    setting: Setting = item["setting"]
    own = Streams(item["seed"])
    data = pooled(setting.data, setting.pooling)
    widths = (data.train.inputs.shape[1], *setting.hidden, 10)
    start = {"deterministic": None, "fixed": FIXED}.get(item["kind"], 0.25)
    network = stochastic_mlp(widths, streams=own, release_probability=start, device=item["device"])
    optimizer: Optimizer
    if item["kind"] == "deterministic":
        rate = setting.certain_rate
        optimizer = torch.optim.SGD(network.parameters(), rate, weight_decay=item["decay"])
    elif item["kind"] == "fixed":
        # as in the authors' program, biases of both controls are trained
        optimizer = torch.optim.SGD(network.parameters(), setting.rate, weight_decay=item["decay"])
    else:
        rule = PresynapticRule(0.07, 0.07, g_lim=0.001, variant=item["kind"], rate_modulation=False)
        optimizer = PresynapticOptimizer(network, rule, setting.rate, weight_decay=item["decay"])
    plan = Plan(epochs=setting.epochs, batch_size=BATCH, evaluate_every=setting.epochs)
    fit(network, data, optimizer, plan, streams=own)
    with seeded(own.integer("answers")):
        chances = answers(network, data.test, 10)
    targets = np.asarray(data.test.targets)
    bits = float(np.mean([task_information(one, targets) for one in chances]))
    energy = EnergyModel("strength").of(network)
    p = [layer.release_probability.flatten() for layer in stochastic_layers(network).values()]
    return {
        "bits": bits,
        "energy": energy.total,
        "efficiency": bits_per_energy(bits, energy),
        "accuracy": float((chances.mean(axis=0).argmax(axis=1) == targets).mean()),
        "reliable": float((torch.cat(p) >= 0.9).double().mean()) if p else 1.0,
    }
