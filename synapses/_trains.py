"""Spike trains: regular, Poisson, from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

from theory.checks import as_number, as_times, shown

MOST_SPIKES = 10_000_000
"""Most spikes of a train: more is a slip of units as a rule."""


def regular_train(rate_hz: float, duration_s: float) -> Float[ndarray, " spike"]:
    """Return the times of a regular train: the first spike one interval after 0.

    Parameters
    ----------
    rate_hz : float
        Spikes a second, > 0.
    duration_s : float
        Length of the train, > 0; a spike at its very end belongs to it.

    Returns
    -------
    ndarray
        Times in seconds.

    Raises
    ------
    ValueError
        If a number is out of range, or the train is too short for a spike.

    Examples
    --------
    >>> regular_train(20.0, 0.2).round(9).tolist()
    [0.05, 0.1, 0.15, 0.2]
    """
    rate, duration = _checked(rate_hz, duration_s)
    # 0.2 s of 20 Hz are 4 spikes, whatever the rounding of the product
    count = int(rate * duration * (1 + 1e-12))
    return _not_empty(np.arange(1, count + 1) / rate, rate, duration)


def poisson_train(
    rate_hz: float, duration_s: float, generator: Generator
) -> Float[ndarray, " spike"]:
    """Draw a Poisson train.

    Parameters
    ----------
    rate_hz : float
        Mean number of spikes a second, > 0.
    duration_s : float
        Length of the train, > 0.
    generator : numpy.random.Generator
        Source of randomness, e.g. ``Streams(0).generator("spikes")``.

    Returns
    -------
    ndarray
        Times in seconds, in (0, duration].

    Raises
    ------
    ValueError
        If a number is out of range, or no spike is drawn.

    Examples
    --------
    >>> from theory.streams import Streams
    >>> times = poisson_train(50.0, 10.0, Streams(0).generator("spikes"))
    >>> 400 < len(times) < 600, bool((np.diff(times) > 0).all())
    (True, True)
    """
    rate, duration = _checked(rate_hz, duration_s)
    if not isinstance(generator, Generator):
        raise ValueError(f"generator = {shown(generator)}: must be a numpy.random.Generator")
    count = generator.poisson(rate * duration)
    times = np.unique(duration * (1.0 - generator.random(count)))
    return _not_empty(times, rate, duration)


def read_train(path: Path | str) -> Float[ndarray, " spike"]:
    """Read spike times from a text file: seconds, separated by spaces, commas or lines.

    Parameters
    ----------
    path : pathlib.Path or str
        The file; what follows a # is left out.

    Returns
    -------
    ndarray
        Times in seconds.

    Raises
    ------
    ValueError
        If the file cannot be read, or its numbers are not increasing times.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        raise ValueError(f"{path}: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(
            f"{path}: is no text file; write spike times in seconds, one a line"
        ) from None
    times = []
    for number, line in enumerate(lines, start=1):
        for word in line.partition("#")[0].replace(",", " ").split():
            try:
                times.append(float(word))
            except ValueError:
                raise ValueError(
                    f"{path}, line {number}: {shown(word)} is no number; spike times are seconds"
                ) from None
    if not times:
        raise ValueError(f"{path}: holds no spike times; write seconds, one a line")
    return as_spikes(str(path), times)


def as_spikes(name: str, value: object) -> Float[ndarray, " spike"]:
    """Return spike times, refusing two spikes at one time."""
    times = as_times(name, value)
    twice = np.flatnonzero(np.diff(times) == 0)
    if twice.size:
        i = int(twice[0])
        raise ValueError(f"{name}[{i + 1}] = {times[i + 1]}: two spikes at one time; leave one out")
    return times


def _checked(rate_hz: float, duration_s: float) -> tuple[float, float]:
    """Return rate and duration of a train that fits into memory."""
    rate = as_number("rate_hz", rate_hz, low=0.0, open_low=True)
    duration = as_number("duration_s", duration_s, low=0.0, open_low=True)
    if rate * duration > MOST_SPIKES:
        raise ValueError(
            f"rate_hz = {rate:g}: makes {rate * duration:.3g} spikes in {duration:g} s, more than"
            f" {MOST_SPIKES}; rates are in Hz, durations in seconds"
        )
    return rate, duration


def _not_empty(times: ndarray, rate: float, duration: float) -> ndarray:
    """Return the times, refusing a train without spikes."""
    if not times.size:
        raise ValueError(
            f"duration_s = {duration:g}: no spike falls into it at rate_hz = {rate:g}; take a"
            " longer train"
        )
    return times
