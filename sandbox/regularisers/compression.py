r"""Weights as bytes: pruned, quantised, and coded by a real entropy coder.

A file of compressed weights holds, numbers least significant byte first:

- the four bytes ``NSW1``, and the number of tensors;
- for every tensor the length of its name, the name in UTF-8, a byte for its type (0 to 3:
  float64, float32, float16, bfloat16), the number of its dimensions, their lengths, the quantiser's
  step as a float64; its smallest symbol, and how many more the largest is. If that is more than
  none, a byte 0 for equal probabilities, or a byte 1 and, in Elias's gamma code filled up to whole
  bytes, the count of the smallest symbol, then for every further one that occurs its distance from
  the one before and its count;
- a range coder's words of 32 bits for all tensors in turn;
- the CRC-32 of all this.

Lengths and numbers are in groups of seven bits; the smallest symbol is zigzag-coded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int32
from numpy import ndarray
from torch import Tensor, nn

from sandbox.regularisers._coding import LARGEST, decoded, encoded, entropy, table
from sandbox.regularisers._container import DTYPES, Entry, packed, parsed
from sandbox.regularisers._weight_choice import chosen_weights, refuse_not_finite
from theory.checks import as_integer, as_number, shown

__all__ = ["Compressed", "compress", "prune"]

SCALES = (1e-290, 1e290)
"""Largest magnitudes of which the quantiser's step is exact enough in float64."""


def prune(model: nn.Module, share: float = 0.01, *, biases: bool = False) -> dict[str, Tensor]:
    r"""Set small weights to 0, in place, and return which are left.

    **Equation.** :math:`w_i \leftarrow 0` where :math:`\lvert w_i \rvert < s \max_j \lvert w_j
    \rvert`, j over the same tensor.

    **Shapes and units.** The share s has no unit.

    Parameters
    ----------
    model : torch.nn.Module
        Its weights of two dimensions or more are pruned, frozen ones, too.
    share : float
        s, in [0, 1].
    biases : bool
        Whether vectors are pruned, too.

    Returns
    -------
    dict of str to Tensor
        By parameter name, True where a weight is not 0 afterwards.

    Raises
    ------
    ValueError
        If the model has no weights, or some that are not finite; nothing has changed then.

    References
    ----------
    Standard practice; the shares that :func:`compress` takes are those of a tensor's largest
    magnitude, so that they do not depend on scale, as the ratio of norms does not.

    Examples
    --------
    >>> layer = nn.Linear(3, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[2.0, -0.1, 0.01]]))
    >>> prune(layer, 0.01)["weight"].tolist()
    [[True, True, False]]
    """
    weights = chosen_weights(model, biases=biases, frozen=True)
    limit = as_number("share", share, low=0.0, high=1.0)
    for name, weight in weights.items():
        refuse_not_finite(name, weight)
    masks = {name: _left(weight, limit) for name, weight in weights.items()}
    with torch.no_grad():
        for name, weight in weights.items():
            weight.masked_fill_(~masks[name], 0.0)
    return masks


@torch.no_grad()
def _left(weight: Tensor, share: float) -> Tensor:
    """Return where a weight is neither 0 nor below a share of the largest."""
    size = weight.abs()
    if not size.numel():
        return size > 0
    return (size >= share * size.amax()) & (size > 0)


@dataclass(frozen=True)
class Compressed:
    r"""Weights as bytes, and how many of them a weight takes.

    Save them with ``path.write_bytes(found.data)``, read them with
    ``Compressed(path.read_bytes())``; :mod:`sandbox.regularisers.compression` has the format.

    Parameters
    ----------
    data : bytes
        What :func:`compress` made.

    Raises
    ------
    ValueError
        If these are no compressed weights, or they are damaged.
    """

    data: bytes = field(repr=False)
    _entries: tuple[Entry, ...] = field(init=False, repr=False, compare=False)
    _stream: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        entries, stream = parsed(self.data)
        object.__setattr__(self, "_entries", entries)
        object.__setattr__(self, "_stream", stream)

    @property
    def weights(self) -> int:
        """Number of weights, those that are 0 among them."""
        return sum(entry.size for entry in self._entries)

    @property
    def bits_per_weight(self) -> float:
        r"""All bytes, names and frequencies and checksum included, as bits over weights.

        NaN where there is no weight.
        """
        return 8 * len(self.data) / self.weights if self.weights else math.nan

    @cached_property
    def entropy(self) -> float:
        r"""Bits a weight that a code of single symbols needs at least.

        **Equation.** :math:`\sum_t n_t H_t / \sum_t n_t`, :math:`H_t` the entropy of the
        relative frequencies of tensor t, which the decoder is taken to know. Measured bits
        exceed it by what it takes to tell them. NaN where there is no weight.
        """
        counted = [np.unique(part, return_counts=True)[1] for part in self._symbols]
        bits = sum(len(p) * entropy(c) for p, c in zip(self._symbols, counted, strict=True))
        return bits / self.weights if self.weights else math.nan

    @property
    def kept(self) -> float:
        """Share of weights that are not 0; NaN where there is no weight."""
        left = sum(np.count_nonzero(part) for part in self._symbols)
        return left / self.weights if self.weights else math.nan

    @property
    def steps(self) -> dict[str, float]:
        """The quantiser's step of every tensor; 0 where all of its weights are."""
        return {entry.name: entry.step for entry in self._entries}

    def tensors(self) -> dict[str, Tensor]:
        """Return the quantised weights, on the CPU.

        Returns
        -------
        dict of str to Tensor
            By parameter name.

        Raises
        ------
        ValueError
            If the bytes do not decode.
        MemoryError
            If there is no place for as many weights as ``weights`` says; equal ones take no bytes.
        """
        found = {}
        for entry, symbols in zip(self._entries, self._symbols, strict=True):
            values = torch.from_numpy(symbols * entry.step)
            found[entry.name] = values.to(entry.dtype).reshape(entry.shape)
        return found

    @torch.no_grad()
    def restore(self, model: nn.Module) -> None:
        """Give a model the quantised weights, exactly; other parameters stay as they are.

        Parameters
        ----------
        model : torch.nn.Module
            Has parameters of these names, shapes and types.

        Raises
        ------
        ValueError
            If it has not; nothing has changed then.
        """
        if not isinstance(model, nn.Module):
            raise ValueError(f"model = {shown(model)}: must be a torch.nn.Module")
        parameters = dict(model.named_parameters())
        for entry in self._entries:
            own = parameters.get(entry.name)
            if own is None:
                raise ValueError(
                    f"model = {shown(model)}: has no parameter {entry.name!r}, which is compressed"
                )
            if tuple(own.shape) != entry.shape or own.dtype != entry.dtype:
                raise ValueError(
                    f"{entry.name} has shape {tuple(own.shape)} and type {own.dtype}: compressed"
                    f" are {entry.shape} and {entry.dtype}"
                )
        for name, values in self.tensors().items():
            parameters[name].copy_(values)

    @cached_property
    def _symbols(self) -> list[Int32[ndarray, " _"]]:
        """Multiples of the step, an array a tensor."""
        return decoded(self._stream, [(entry.size, entry.table) for entry in self._entries])


def compress(
    model: nn.Module,
    share: float = 0.01,
    *,
    levels: int = 255,
    step: float | None = None,
    biases: bool = False,
) -> Compressed:
    r"""Prune, quantise and code a copy of a network's weights.

    **Equation.** Weights below s times the largest magnitude of their tensor become 0, others the
    nearest multiple of the step, :math:`q_i = \Delta\,\mathrm{round}(w_i/\Delta)` with
    :math:`\Delta = 2 \max_j \lvert w_j \rvert / (L - 1)` for L levels, 0 and both ends among
    them. The multiples are range-coded with the frequencies that they have in their tensor, which
    are written down, too; where that would take longer, with equal ones.

    **Shapes and units.** :math:`\lvert q_i - w_i \rvert \le \Delta/2` for weights that are kept.

    Parameters
    ----------
    model : torch.nn.Module
        Its weights of two dimensions or more are coded, frozen ones, too; it is not changed.
    share : float
        s, in [0, 1]; 0 to leave zeros to the quantiser.
    levels : int
        L, odd, from 3 (ternary weights) to 65,535; fewer lie within a tensor whose weights have
        one sign.
    step : float or None
        A step for all tensors, in the unit of the weights, instead of levels.
    biases : bool
        Whether vectors are coded, too, so that nothing is missing from the bytes.

    Returns
    -------
    Compressed
        The bytes, with the measured bits a weight.

    Raises
    ------
    ValueError
        If the model has no weights, some are not finite or beyond the range of float64 steps, or
        the step is too small for the largest.

    References
    ----------
    Pasco (1976), Source coding algorithms for fast data compression, and Martin (1979), Range
    encoding, for the coder, which is that of the package constriction (Bamler 2022,
    arXiv:2201.01741); Elias (1975), doi:10.1109/TIT.1975.1055349, for the table of frequencies.

    Examples
    --------
    >>> layer = nn.Linear(4, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[0.5, -0.5, 0.001, 0.5]]))
    >>> found = compress(layer, levels=3)
    >>> found.tensors()["weight"].tolist(), round(found.entropy, 3)
    ([[0.5, -0.5, 0.0, 0.5]], 1.5)
    """
    limit = as_number("share", share, low=0.0, high=1.0)
    if as_integer("levels", levels, low=3, high=2 * LARGEST + 1) % 2 == 0:
        raise ValueError(f"levels = {levels}: must be odd: 0, and as many on either side")
    if step is not None:
        step = as_number("step", step, low=0.0, open_low=True)
    entries, parts = [], []
    for name, weight in chosen_weights(model, biases=biases, frozen=True).items():
        if weight.dtype not in DTYPES:
            raise ValueError(f"{name} is of type {weight.dtype}: must be one of {DTYPES}")
        refuse_not_finite(name, weight)
        left = weight.detach() * _left(weight, limit)
        values = left.to("cpu", torch.float64).flatten().numpy()
        peak = float(np.abs(values).max(initial=0.0))
        own = _step(name, peak, (int(levels) - 1) // 2, step)
        symbols = np.rint(values / own if own else values).astype(np.int32)
        top = int(np.abs(symbols).max(initial=0)) * own
        if not bool(torch.tensor(top, dtype=torch.float64).to(weight.dtype).isfinite()):
            raise ValueError(
                f"step = {own:g}: the multiple nearest to {peak:g} of {name} is {top:g}, beyond"
                f" {weight.dtype}"
            )
        entries.append(Entry(name, weight.dtype, tuple(weight.shape), own, table(symbols)))
        parts.append((symbols, entries[-1].table))
    return Compressed(packed(entries, encoded(parts)))


def _step(name: str, peak: float, half: int, step: float | None) -> float:
    """Return the step of a tensor from its largest magnitude."""
    if peak == 0:
        return 0.0
    if not SCALES[0] <= peak <= SCALES[1]:
        raise ValueError(
            f"{name} has the largest magnitude {peak:g}: must be from {SCALES[0]:g} to"
            f" {SCALES[1]:g}, beyond which steps lose digits; scale the weights"
        )
    if step is None:
        return peak / half
    if peak / step > LARGEST:
        raise ValueError(
            f"step = {step:g}: {name} reaches {peak:g}, more than {LARGEST} steps; take"
            f" {peak / LARGEST:.3g} or more"
        )
    return step
