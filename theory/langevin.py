"""Noisy descent in a rugged bowl: many replicas at once, the same numbers on any machine load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory._langevin_kernels import BLOCK, integrate
from theory.checks import as_integer, as_number, as_vector, shown
from theory.rugged import RuggedBowl
from theory.streams import WORD

__all__ = ["Averages", "Trajectories", "langevin", "noisy_descent"]

FINEST = 0.05
"""Most a step may be of the shortest relaxation time, 1 / (a + eps k^2)."""

LONGEST_NORMAL = 8.5
"""No normal number of the kernel is larger: sqrt(2 ln 2^52)."""

LARGEST_ANGLE = 2e8
"""Where the kernel's sine ends."""


@dataclass(frozen=True, eq=False)
class Averages:
    r"""Time averages of every replica.

    **Shapes and units.** One number a replica, in the units of :class:`~theory.RuggedBowl`.

    Parameters
    ----------
    second_moment : Float[ndarray, " replica"]
        Of the position, about 0.
    loss : Float[ndarray, " replica"]
        L.
    squared_gradient : Float[ndarray, " replica"]
        L'².
    curvature : Float[ndarray, " replica"]
        L''.
    """

    second_moment: Float[ndarray, " replica"]
    loss: Float[ndarray, " replica"]
    squared_gradient: Float[ndarray, " replica"]
    curvature: Float[ndarray, " replica"]

    def estimates(self) -> dict[str, tuple[float, float]]:
        """Return mean and standard error over replicas, by name.

        Returns
        -------
        dict from str to (float, float)
            Replicas are independent, so that the error is the deviation over the root of their
            number.

        Raises
        ------
        ValueError
            If there is one replica alone.

        Examples
        --------
        >>> two = np.array([1.0, 3.0])
        >>> Averages(two, two, two, two).estimates()["loss"]
        (2.0, 1.0)
        """
        count = self.loss.size
        if count < 2:
            raise ValueError("replica = 1: a standard error needs two replicas or more")
        return {
            name: (float(values.mean()), float(values.std(ddof=1) / math.sqrt(count)))
            for name, values in vars(self).items()
        }


@dataclass(frozen=True, eq=False)
class Trajectories:
    r"""What a run of replicas left.

    **Shapes and units.** Times in units of the step size: dt for Langevin dynamics, 1 (steps) for
    noisy descent.

    Parameters
    ----------
    time : Float[ndarray, " time"]
        Of the snapshots.
    position : Float[ndarray, "replica time"]
        At these times.
    averages : Averages or None
        Over time, if asked for.
    exit_time : Float[ndarray, " replica"] or None
        When a replica was outside of an interval for the first time, if asked for; infinity
        where it never was.
    """

    time: Float[ndarray, " time"]
    position: Float[ndarray, "replica time"]
    averages: Averages | None
    exit_time: Float[ndarray, " replica"] | None


def langevin(
    bowl: RuggedBowl,
    temperature: float,
    start: Float[ndarray, " replica"],
    dt: float,
    steps: int,
    key: tuple[int, int],
    *,
    snapshots: Sequence[int] | None = None,
    average_from: int | None = None,
    average_every: int = 1,
    exits: tuple[float, float] | None = None,
    coarse: bool = False,
    threads: int = 1,
) -> Trajectories:
    r"""Simulate Langevin dynamics by the Euler-Maruyama method.

    **Equation.** :math:`x_{n+1} = x_n - L'(x_n)\,dt + \sqrt{2T\,dt}\, z_n`, where the normal
    numbers z come from Philox with the counter (n // 2, replica): a run is the beginning of a
    longer one, and neither the number of replicas nor of threads changes a bit.

    **Shapes and units.** Time at mobility 1: length²/energy. Moments have an error of order dt.

    Parameters
    ----------
    bowl : RuggedBowl
        The loss L.
    temperature : float
        T >= 0.
    start : Float[ndarray, " replica"]
        Positions at time 0.
    dt : float
        The step, > 0, at most 0.05 / (curvature + roughness wavenumber²) unless ``coarse``.
    steps : int
        Their number, from 1 to 2**32.
    key : tuple of int
        Two words, from :meth:`theory.streams.Streams.key`.
    snapshots : sequence of int or None
        Ascending numbers of steps, in [0, steps], after which positions are kept; None for the
        last.
    average_from : int or None
        Averages are taken after more than this number of steps; None for no averages.
    average_every : int
        At every so many steps.
    exits : tuple of float or None
        Interval whose first leaving is noted; None for no interval.
    coarse : bool
        Accept a longer step, as long as it is stable in the bowl.
    threads : int
        Threads that share the replicas.

    Returns
    -------
    Trajectories
        Snapshots, averages and exit times.

    Raises
    ------
    ValueError
        If an argument is out of range or the step too long.

    References
    ----------
    Maruyama (1955), doi:10.1007/BF02846028; random numbers: Salmon, Moraes, Dror & Shaw (2011),
    doi:10.1145/2063384.2063405, and Box & Muller (1958), doi:10.1214/aoms/1177706645.

    Examples
    --------
    >>> from theory.rugged import RuggedBowl
    >>> bowl = RuggedBowl(roughness=0.0)
    >>> run = langevin(bowl, 0.1, np.zeros(20_000), 0.05, 200, (1, 2), threads=2)
    >>> run.position.shape, round(float(run.position.var()), 2)
    ((20000, 1), 0.1)
    """
    T = as_number("temperature", temperature, low=0.0)
    step = as_number("dt", dt, low=0.0, open_low=True)
    finest = FINEST / (bowl.curvature * (1 + bowl.ruggedness))
    if step > finest and not coarse:
        raise ValueError(
            f"dt = {step:g}: must be at most {finest:.4g}, {FINEST} over the largest curvature"
            " a + eps k^2; take a shorter step or coarse=True"
        )
    return _run(
        bowl, ("dt", step, step), math.sqrt(2 * T * step), start, steps, key, snapshots,
        average_from, average_every, exits, threads,
    )  # fmt: skip


def noisy_descent(
    bowl: RuggedBowl,
    learning_rate: float,
    noise_deviation: float,
    batch: int,
    start: Float[ndarray, " replica"],
    steps: int,
    key: tuple[int, int],
    *,
    snapshots: Sequence[int] | None = None,
    average_from: int | None = None,
    average_every: int = 1,
    exits: tuple[float, float] | None = None,
    threads: int = 1,
) -> Trajectories:
    r"""Simulate gradient descent whose gradients are noisy.

    **Equation.** :math:`x_{n+1} = x_n - \eta\,(L'(x_n) + \xi_n)` with
    :math:`\xi_n \sim N(0, \sigma^2/B)`, drawn as in :func:`langevin`, which this is with
    :math:`dt = \eta` and :math:`T = \eta\sigma^2/2B`; here no step is too long but one that
    diverges in the bowl.

    **Shapes and units.** Time in steps.

    Parameters
    ----------
    bowl : RuggedBowl
        The loss L.
    learning_rate : float
        :math:`\eta`, in (0, 2 / curvature).
    noise_deviation : float
        :math:`\sigma` >= 0, of the gradient of one datum.
    batch : int
        Data B of a step, >= 1.
    start : Float[ndarray, " replica"]
        Positions before the first step.
    steps, key, snapshots, average_from, average_every, exits, threads
        As in :func:`langevin`.

    Returns
    -------
    Trajectories
        Snapshots, averages and exit times.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Derived here; see :func:`langevin` for the random numbers.

    Examples
    --------
    >>> from theory.rugged import RuggedBowl
    >>> still = noisy_descent(RuggedBowl(roughness=0.0), 0.1, 0.0, 1, np.ones(1), 2, (1, 2))
    >>> round(float(still.position[0, 0]), 12)
    0.81
    """
    eta = as_number("learning_rate", learning_rate, low=0.0, open_low=True)
    sigma = as_number("noise_deviation", noise_deviation, low=0.0)
    root = math.sqrt(as_integer("batch", batch, low=1))
    return _run(
        bowl, ("learning_rate", eta, 1.0), eta * sigma / root, start, steps, key, snapshots,
        average_from, average_every, exits, threads,
    )  # fmt: skip


def _run(
    bowl: RuggedBowl,
    step: tuple[str, float, float],
    amplitude: float,
    start: Float[ndarray, " replica"],
    steps: int,
    key: tuple[int, int],
    snapshots: Sequence[int] | None,
    average_from: int | None,
    average_every: int,
    exits: tuple[float, float] | None,
    threads: int,
) -> Trajectories:
    """Check the arguments, run the kernel on all blocks and cut away what fills the last one."""
    name, size, unit = step
    first = as_vector("start", start)
    count = as_integer("steps", steps, low=1, high=2**32)
    if first.size > WORD:
        raise ValueError(f"start has {first.size} replicas: must be fewer than 2**32")
    if np.shape(key) != (2,):
        raise ValueError(f"key = {shown(key)}: must be two words")
    words = [as_integer(f"key[{i}]", word, low=0, high=WORD) for i, word in enumerate(key)]
    _check_range(bowl, name, size, amplitude, float(abs(first).max()), count)
    if snapshots is not None and np.ndim(snapshots) != 1:
        raise ValueError(f"snapshots = {shown(snapshots)}: must be ascending step numbers")
    shots = [count] if snapshots is None else [
        as_integer(f"snapshots[{i}]", n, low=0, high=count) for i, n in enumerate(snapshots)
    ]  # fmt: skip
    if not shots or any(a >= b for a, b in pairwise(shots)):
        raise ValueError(f"snapshots = {shown(snapshots)}: must be ascending step numbers")
    after = 0
    every = 0
    if average_from is not None:
        after = as_integer("average_from", average_from, low=0, high=count - 1)
        every = as_integer("average_every", average_every, low=1, high=count - after)
    low, high = 0.0, 0.0
    if exits is not None and np.shape(exits) == (2,) and np.asarray(exits).dtype.kind in "iuf":
        low, high = exits
    if exits is not None and not low < high:
        raise ValueError(f"exits = {shown(exits)}: must be an interval, low < high")
    blocks = -(-first.size // BLOCK)
    workers = min(as_integer("threads", threads, low=1, high=1024), blocks)
    x = np.full((blocks, BLOCK), first[0])
    x.ravel()[: first.size] = first
    kept = np.empty((blocks, len(shots), BLOCK))
    sums = np.zeros((blocks if every else 0, 4, BLOCK))
    left = np.where((x <= low) | (x >= high), 0, -1)[: blocks if low < high else 0]
    numbers = (bowl.curvature, bowl.roughness, bowl.wavenumber, bowl.phase)
    shape = tuple(float(number) for number in numbers)

    def work(part: int) -> None:
        """Run one thread's blocks."""
        own = slice(part * blocks // workers, (part + 1) * blocks // workers)
        integrate(
            x[own], own.start, *words, count, shape, size, amplitude, np.array(shots),
            kept[own], after, every, sums[own], float(low), float(high), left[own],
        )  # fmt: skip

    if workers == 1:
        work(0)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, range(workers)))
    averages = None
    if every:
        means = sums.transpose(1, 0, 2).reshape(4, -1)[:, : first.size] / ((count - after) // every)
        averages = Averages(*means)
    exit_time = None
    if exits is not None:
        numbers_left = left.ravel()[: first.size]
        exit_time = np.where(numbers_left < 0, math.inf, numbers_left * unit)
    position = kept.transpose(0, 2, 1).reshape(-1, len(shots))[: first.size]
    return Trajectories(np.array(shots) * unit, position.copy(), averages, exit_time)


def _check_range(
    bowl: RuggedBowl, name: str, size: float, amplitude: float, farthest: float, steps: int
) -> None:
    """Refuse steps that diverge, and positions whose sine the kernel does not know."""
    shrink = abs(1 - size * bowl.curvature)
    if size * bowl.curvature >= 2:
        raise ValueError(
            f"{name} = {size:g}: must be below 2 / curvature = {2 / bowl.curvature:g}, beyond"
            " which descent diverges"
        )
    kick = size * bowl.roughness * abs(bowl.wavenumber) + LONGEST_NORMAL * amplitude
    reach = farthest + kick * min(steps, 1 / (1 - shrink) if shrink < 1 else steps)
    angle = abs(bowl.wavenumber) * reach + abs(bowl.phase)
    if not angle <= LARGEST_ANGLE:
        raise ValueError(
            f"start, steps = {farthest:g}, {steps}: replicas may get to wavenumber x ="
            f" {angle:.3g}, and must stay below {LARGEST_ANGLE:g}; start nearer or take fewer steps"
        )
