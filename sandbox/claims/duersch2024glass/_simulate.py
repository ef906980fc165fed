"""Gradients with jumps, drawn jump by jump."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy import ndarray

__all__ = ["CONFIDENCE", "SIZES", "Jumps", "draw_jumps", "four_errors", "normal", "signs"]

CONFIDENCE = "4 standard errors over paths (false alarm 6e-5 a point)"


class Jumps(NamedTuple):
    """The boundaries along many paths, and by how much the gradient jumps at each."""

    path: ndarray
    place: ndarray
    size: ndarray
    paths: int

    def variation(self, distance: float) -> ndarray:
        """Return what the jumps have added to the gradient, path by path."""
        passed = self.size * (self.place <= distance)
        return np.bincount(self.path, passed, minlength=self.paths)

    def change(self, distance: float) -> ndarray:
        """Return what the jumps have added to the loss, path by path."""
        gained = self.size * np.maximum(distance - self.place, 0.0)
        return np.bincount(self.path, gained, minlength=self.paths)


def draw_jumps(
    rate: float,
    length: float,
    paths: int,
    generator: np.random.Generator,
    size: Callable[[int], ndarray],
) -> Jumps:
    """Return a Poisson number of boundaries a path, at uniform places, with the given sizes."""
    counts = generator.poisson(rate * length, paths)
    total = int(counts.sum())
    place = length * generator.random(total)
    return Jumps(np.repeat(np.arange(paths), counts), place, size(total), paths)


def signs(jump: float, generator: np.random.Generator) -> Callable[[int], ndarray]:
    """Return a drawer of jumps up or down by one size."""
    return lambda count: jump * generator.choice([-1.0, 1.0], count)


def normal(jump: float, generator: np.random.Generator) -> Callable[[int], ndarray]:
    """Return a drawer of normal jumps."""
    return lambda count: jump * generator.standard_normal(count)


SIZES = {"signs": signs, "normal": normal}


def four_errors(samples: ndarray) -> ndarray:
    """Return four standard errors of the mean over the last axis."""
    errors: ndarray = 4 * samples.std(axis=-1, ddof=1) / np.sqrt(samples.shape[-1])
    return errors
