"""Settings and results that were released with the author's program."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.continual.methods import METHODS

__all__ = ["PRESETS", "Preset", "preset"]


@dataclass(frozen=True)
class Preset:
    """One method on one benchmark, as in the author's program and the files beside it.

    Parameters
    ----------
    benchmark : {"permuted", "split"}
        Ten permuted MNIST tasks with a network 784-2000-2000-10, or CIFAR-10 and five tasks of
        ten classes of CIFAR-100 with a convolutional one.
    method : str
        As in :data:`sandbox.continual.methods.METHODS`.
    batch : int
        Samples a step: 256, or 2048 where large batches are the matter.
    strength : float
        c of the penalty c sum Omega (theta - theta*)^2.
    re_init : bool
        Whether weights are drawn anew at every task's start.
    results : tuple of float
        Mean test accuracies in per cent over all tasks after the last, each of a single seed, as
        released with the author's program; side runs, not the published table.
    """

    benchmark: str
    method: str
    batch: int
    strength: float
    re_init: bool
    results: tuple[float, ...] = ()

    @property
    def xi(self) -> float:
        """What is added to the squared path length."""
        return 0.1 if self.benchmark == "permuted" else 0.001

    @property
    def lr(self) -> float:
        """Rate of Adam: scaled with the batch in the SI family on permuted MNIST."""
        return 1e-3 * self.batch / 256 if self.benchmark == "permuted" else 1e-3


def _permuted(method: str, batch: int = 256, results: tuple[float, ...] = ()) -> Preset:
    """Return how the library's table of methods has it for permuted MNIST."""
    known = METHODS[method]
    assert known.strength is not None
    return Preset("permuted", method, batch, known.strength, known.re_init, results)


PRESETS = (
    _permuted("si", results=(97.20, 97.29)),
    *(_permuted(method) for method in ("sib", "siu", "sos")),
    Preset("permuted", "si", 2048, 1.0, True),
    _permuted("sos-large-batch", 2048),
    *(_permuted(m) for m in ("mas", "absolute-fisher", "root-fisher", "ewc", "mas-logit")),
    Preset("split", "si", 256, 5.0, True, (73.88,)),
    Preset("split", "sib", 256, 5.0, True, (75.22,)),
    Preset("split", "siu", 256, 2.0, False, (73.53,)),
    Preset("split", "sos", 256, 500.0, True, (74.36,)),
    Preset("split", "si", 2048, 20.0, True, (70.23,)),
    Preset("split", "sos-large-batch", 2048, 2000.0, True, (74.85,)),
    Preset("split", "mas", 256, 200.0, True),
    Preset("split", "absolute-fisher", 256, 1000.0, True),
    Preset("split", "root-fisher", 256, 10.0, True),
    Preset("split", "ewc", 256, 5e4, True),
    Preset("split", "mas-logit", 256, 0.1, True),
)
"""All of them."""


def preset(benchmark: str, method: str, batch: int = 256) -> Preset:
    """Return the preset of a method.

    Parameters
    ----------
    benchmark, method, batch
        As in :class:`Preset`.

    Returns
    -------
    Preset
        The one.

    Raises
    ------
    ValueError
        If there is none.
    """
    for one in PRESETS:
        if (one.benchmark, one.method, one.batch) == (benchmark, method, batch):
            return one
    raise ValueError(
        f"no preset for {method!r} on {benchmark!r} with batches of {batch}: there are"
        f" {', '.join(f'{p.method} on {p.benchmark} ({p.batch})' for p in PRESETS)}"
    )
