"""Random masks: which synapses release, drawn with no more random bits than it takes."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

__all__ = ["FINEST", "releases", "rounded"]

FINEST = 2.0**-16
"""What :func:`rounded` rounds probabilities to multiples of."""


def rounded(p: Tensor) -> Tensor:
    """Return probabilities rounded to multiples of 2**-16, but never to 0."""
    return (p / FINEST).round_().clamp_(min=1).mul_(FINEST)


def _bytes(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Return random bytes, eight from each 64-bit number of the generator."""
    size = math.prod(shape)
    words = torch.empty(-(-size // 8), dtype=torch.int64)
    return words.random_(-(2**63), None, generator=generator).view(torch.uint8)[:size].view(shape)


def releases(p: Tensor, leading: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Return 1 where a uniform number is below p, else 0, of shape (*leading, *p.shape)."""
    shape = (*leading, *p.shape)
    if p.device.type != "cpu" or p.dtype not in {torch.float32, torch.float64}:
        uniform = torch.rand(shape, generator=generator, dtype=p.dtype, device=p.device)
        return (uniform < p).to(p.dtype)
    # the first eight binary digits of the numbers for all, and more only where these are the
    # digits of p too, which happens once in 256 times
    digits = _bytes(shape, generator).to(p.dtype)
    # 256 p less the digits: a release if >= 1, none if <= 0, else the chance of one given them;
    # as p - digits / 256, which is exact where it matters, the two being of one size
    mask = torch.sub(p, digits, alpha=1 / 256, out=digits).clamp_(0, 1 / 256).mul_(256)
    flat = mask.view(-1)
    values = flat.numpy()
    # torch looks for them three times as slowly
    undecided = torch.from_numpy(np.flatnonzero((values > 0) & (values < 1)))
    rest = torch.rand(len(undecided), generator=generator, dtype=p.dtype)
    flat[undecided] = (rest < flat[undecided]).to(p.dtype)
    return mask
