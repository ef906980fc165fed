"""Batches that share nothing with those of the training but their law."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sandbox.training._batches import Batches
from sandbox.training._precision import forward_in
from sandbox.training._state import own_randomness
from sandbox.training._steps import columns_of
from sandbox.training.hooks import Moment
from sandbox.training.objective import Batch, loss_function
from synapses.layers import stochastic_layers
from synapses.networks import Averaged
from theory.streams import Streams

__all__ = ["Independent", "without_average"]


def without_average(model: nn.Module) -> tuple[nn.Module, str]:
    """Return the network that is trained, and how its parameters' names begin in the model."""
    # in evaluation mode an averaged network answers by the mean of several draws; gradients and
    # importances are those of the network within
    if isinstance(model, Averaged):
        network, prefix = without_average(model.network)
        return network, f"network.{prefix}"
    return model, ""


class _SecondOrder(Batches):
    """The training's samples in another order: one more epoch, seen by nobody but the measure."""

    def __init__(self, now: Moment, streams: Streams, dtype: torch.dtype, device: torch.device):
        own = Streams(streams.integer("independent"))
        super().__init__(now.stream, now.plan, own, dtype, device)
        # the same samples are set aside for validation
        self.source = Batches(now.stream, now.plan, streams, dtype, device)

    def of(self, now: Moment) -> bool:
        """Tell whether these are the batches of the run as it stands."""
        return self.stream is now.stream and self.plan is now.plan

    def train(self, task: int) -> Batch:
        """Return a task's training samples, those for validation left out."""
        return self.source.train(task)


class Independent:
    """The loss of an independent batch at the present weights, and samples for importances.

    Parameters
    ----------
    streams : Streams
        Those of the run.
    """

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self._batches: _SecondOrder | None = None
        self._order: tuple[tuple[int, int], Tensor | None] | None = None

    def loss(self, now: Moment) -> Tensor:
        """Return the loss of a batch of the step's size, in evaluation mode, with its graph."""
        batches = self._of(now)
        place = (now.task, now.epoch)
        if self._order is None or self._order[0] != place:
            self._order = (place, batches.order(*place))
        batch = batches.batch(now.task, now.epoch, now.batch, self._order[1])
        network, _ = without_average(now.model)
        columns = columns_of(now.stream.tasks[now.task].outputs)
        seed = self.streams.integer("independent draws", now.step)
        with _evaluation(network), own_randomness(seed, batch.inputs.device):
            outputs = forward_in(network, now.plan.precision)(batch.inputs)
        if columns is not None:
            outputs = outputs[:, columns]
        return loss_function(now.plan.loss)(outputs, batch.targets)

    def samples(self, now: Moment, count: int | None) -> tuple[Tensor, Tensor]:
        """Return training samples of the task, chosen at random, in the data set's order."""
        whole = self._of(now).train(now.task)
        size = len(whole.inputs)
        if count is None or count >= size:
            return whole.inputs, whole.targets
        generator = self.streams.generator("importance", now.task)
        rows = torch.from_numpy(generator.permutation(size)[:count]).sort().values
        rows = rows.to(whole.inputs.device)
        return whole.inputs[rows], whole.targets[rows]

    def _of(self, now: Moment) -> _SecondOrder:
        if self._batches is None or not self._batches.of(now):
            self._order = None
            parameter = next(now.model.parameters())
            self._batches = _SecondOrder(now, self.streams, parameter.dtype, parameter.device)
        return self._batches


@contextmanager
def _evaluation(model: nn.Module) -> Generator[None]:
    """Put a model into evaluation mode for a while, with gradients and none of its generators."""
    training = [module for module in model.modules() if module.training]
    own = [(layer, layer.generator) for layer in stochastic_layers(model).values()]
    model.eval()
    try:
        for layer, _ in own:
            layer.generator = None  # masks drawn here would be missing in training
        yield
    finally:
        for layer, generator in own:
            layer.generator = generator
        for module in training:
            module.training = True
