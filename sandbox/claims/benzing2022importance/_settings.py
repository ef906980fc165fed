"""What is trained at every scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ONE_TASK", "STREAMS", "TUNED", "OneTask", "Stream", "Tuned"]


@dataclass(frozen=True)
class OneTask:
    """A network, its data and its training, for one task.

    Parameters
    ----------
    data : str
        Name of the data set, its inputs in [0, 1].
    images : int
        How many training images, the same ones for all seeds.
    widths : tuple of int
        Of the network, inputs first; rectifiers, Glorot-uniform weights, biases 0.1.
    batch, epochs : int
        Samples a step, rounds through the images.
    lr : float
        Of Adam.
    seeds : int
        How many networks, trained side by side.
    every : int
        Steps from one full gradient to the next; the integral along the path counts each so
        many times.
    measured : int
        Images over which importances at the end of training are averaged.
    """

    data: str
    images: int
    widths: tuple[int, ...]
    batch: int
    epochs: int
    lr: float
    seeds: int
    every: int = 8
    measured: int = 512


ONE_TASK: Mapping[tuple[str, str], OneTask] = {
    ("quick", "small"): OneTask("digits", 512, (64, 64, 10), 8, 5, 2e-3, 6),
    ("quick", "large"): OneTask("digits", 512, (64, 64, 10), 256, 30, 8e-3, 6, 1),
    ("full", "small"): OneTask(
        "fashion-mnist", 10_000, (784, 400, 400, 10), 32, 6, 1e-3, 3, 47, 1000
    ),
    ("full", "large"): OneTask(
        "fashion-mnist", 10_000, (784, 400, 400, 10), 2000, 60, 8e-3, 3, 6, 1000
    ),
    ("paper", "small"): OneTask("mnist", 55_000, (784, 2000, 2000, 10), 256, 20, 1e-3, 5, 20, 1000),
    ("paper", "large"): OneTask("mnist", 55_000, (784, 2000, 2000, 10), 2048, 20, 8e-3, 5, 5, 1000),
}
"""By scale and size of the batch; the paper's sizes and rates as the author's program has them."""


@dataclass(frozen=True)
class Stream:
    """A stream of permuted tasks, the network that learns it, and its training.

    Parameters
    ----------
    data : str
        Name of the data set, its inputs in [0, 1].
    images : int
        How many training images, the same ones for all seeds and tasks.
    widths : tuple of int
        Of the network, as in :class:`OneTask`.
    batch, epochs : int
        Samples a step, rounds through the images for every task.
    lr : float
        Of Adam, whose moments are forgotten at every task's start.
    tasks, seeds : int
        How many.
    xi : float
        Added to the squared path length.
    """

    data: str
    images: int
    widths: tuple[int, ...]
    batch: int
    epochs: int
    lr: float
    tasks: int
    seeds: int
    xi: float = 0.1


STREAMS: Mapping[tuple[str, str], Stream] = {
    ("quick", "small"): Stream("digits", 480, (64, 50, 10), 8, 3, 2e-3, 3, 8),
    ("quick", "large"): Stream("digits", 480, (64, 50, 10), 240, 40, 1e-2, 3, 8),
    ("full", "small"): Stream("fashion-mnist", 5000, (784, 400, 400, 10), 32, 2, 1e-3, 5, 5),
    ("full", "large"): Stream("fashion-mnist", 5000, (784, 400, 400, 10), 1000, 20, 8e-3, 4, 5),
    ("paper", "small"): Stream("mnist", 55_000, (784, 2000, 2000, 10), 256, 20, 1e-3, 10, 5),
    ("paper", "large"): Stream("mnist", 55_000, (784, 2000, 2000, 10), 2048, 20, 8e-3, 10, 5),
}
"""By scale and size of the batch. The author's program draws 60,000 / b batches an epoch of the
55,000 images; here an epoch is every image once."""


@dataclass(frozen=True)
class Tuned:
    """How a method is used.

    Parameters
    ----------
    strength : float
        Of the penalty.
    re_init : bool
        Whether weights are drawn anew at every task's start.
    """

    strength: float
    re_init: bool


TUNED: Mapping[tuple[str, str], Mapping[str, Tuned]] = {
    ("quick", "small"): {
        "SI": Tuned(3.16, False),
        "SIU": Tuned(10.0, False),
        "SIB": Tuned(5.62, False),
    },
    ("quick", "large"): {"SI": Tuned(3.16, False), "SOS, α = 1": Tuned(56.2, True)},
    # at the larger scales of images only where a search starts, in the middle of what it tries
    ("full", "small"): {
        "SI": Tuned(1.0, False),
        "SIU": Tuned(3.16, False),
        "SIB": Tuned(1.0, False),
    },
    ("full", "large"): {"SI": Tuned(3.16, False), "SOS, α = 1": Tuned(31.6, False)},
}
"""At quick the best mean accuracy over eight other seeds, of strengths a quarter of a decade
apart, with new weights at every task's start and without. Eight seeds do not settle it: a second
eight, 1000 to 1007, choose the same save for SIU (5.62, better by 0.0002) and SI in large batches
(5.62 with new weights, better by 0.007). With those two at root seeds 0 and 1, removing the bias
still hurts, and the repair in large batches, undecided as it stands, helps."""
