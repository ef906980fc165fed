"""Layers that lack one part of the published model, to tell what each part does."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from synapses.layers import MaskKind, StochasticLinear
from theory.checks import as_number, one_of

__all__ = ["AblatedLinear", "Ablation"]

Ablation = Literal["ghost", "clean ghost", "unnormalised"]


class AblatedLinear(StochasticLinear):
    r"""Stochastic layer whose release probability does not do all that it should.

    **Equation.** With the weight w of a synapse, its release probability p and a fixed
    chance q, the effective weight is

    .. math::

        \text{ghost:} &\quad w\,r/p, \quad r \sim \mathrm{Bernoulli}(q),
            \quad \text{mean } w\,q/p, \\
        \text{clean ghost:} &\quad w\,r/q, \quad r \sim \mathrm{Bernoulli}(q),
            \quad \text{mean } w, \\
        \text{unnormalised:} &\quad w\,r, \quad r \sim \mathrm{Bernoulli}(p),
            \quad \text{mean } w\,p.

    In all of them the rule goes on to move p, which then sets the learning rate; a ghost p
    does not decide who releases. The published ghost divides by p all the same, so that its
    mean weight changes whenever p does: twice w at p = 1/4, half of it at p = 1. The clean
    ghost is the control without that change.

    **Shapes and units.** As :class:`synapses.layers.StochasticLinear`. ``weight`` is what the
    rule moves; it starts so that the mean weights are those of a plain layer.

    Parameters
    ----------
    in_features, out_features : int
        Sizes.
    ablation : {"ghost", "clean ghost", "unnormalised"}
        As above.
    bias : bool
        Whether there is a bias.
    release_probability : float or Tensor or None
        p at the start; None for that of the published runs, ``mask_probability`` of a ghost and
        0.25 of an unnormalised layer.
    mask : {"batch", "example"}
        One mask a forward pass, or one an example.
    mask_probability : float
        The fixed chance q, in (0, 1]; of the ghosts only.
    generator : torch.Generator or None
        Source of the masks.
    device, dtype
        As for ``torch.nn.Linear``.

    Raises
    ------
    ValueError
        If a probability is not in (0, 1] or the ablation is unknown.

    References
    ----------
    The program of Schug, Benzing & Steger (2021),
    github.com/smonsays/presynaptic-stochasticity (``fixed_probs``, ``no_normalise``); the clean
    ghost: here.

    Examples
    --------
    >>> layer = AblatedLinear(3, 2, "ghost")
    >>> _ = layer.release_probability.fill_(0.25)
    >>> bool((layer.expected_strength() == 2 * layer.weight).all())
    True
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        ablation: Ablation,
        bias: bool = True,
        release_probability: float | Tensor | None = None,
        mask: MaskKind = "batch",
        *,
        mask_probability: float = 0.5,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        one_of("ablation", ablation, get_args(Ablation))
        q = as_number("mask_probability", mask_probability, low=0.0, high=1.0, open_low=True)
        p = release_probability
        if p is None:
            p = 0.25 if ablation == "unnormalised" else q
        super().__init__(
            in_features,
            out_features,
            bias,
            p,
            mask,
            generator=generator,
            device=device,
            dtype=dtype,
        )
        self.ablation: Ablation = ablation
        self.mask_probability = q
        self.undo_mean()

    @torch.no_grad()
    def undo_mean(self) -> None:
        """Turn mean weights, as just drawn, into the weights that have these means."""
        if self.ablation == "unnormalised":
            self.weight.div_(self.release_probability)
        elif self.ablation == "ghost":
            self.weight.mul_(self.release_probability / self.mask_probability)

    def _chance(self) -> Tensor:
        """Return the probability with which each synapse does release."""
        if self.ablation == "unnormalised":
            return super()._chance()
        return torch.full_like(self.release_probability, self.mask_probability)

    def expected_strength(self) -> Tensor:
        """Return the mean effective weight of every synapse."""
        if self.ablation == "ghost":
            return self.weight * (self.mask_probability / self.release_probability)
        if self.ablation == "unnormalised":
            return self.weight * self.release_probability
        return self.weight

    def _gain(self) -> Tensor:
        """Return what a release multiplies the input with."""
        if self.ablation == "ghost":
            return self.weight / self.release_probability
        if self.ablation == "unnormalised":
            return self.weight
        return self.weight / self.mask_probability

    def draw(self, *leading: int) -> Tensor:
        """Draw releases: of ghosts with the fixed chance.

        Parameters
        ----------
        *leading : int
            Further axes before the weight's own.

        Returns
        -------
        Tensor
            0 and 1, of shape ``(*leading, *weight.shape)``.
        """
        if self.ablation == "unnormalised":
            return super().draw(*leading)
        w = self.weight
        shape = (*leading, *w.shape)
        uniform = torch.rand(shape, generator=self.generator, dtype=w.dtype, device=w.device)
        return (uniform < self.mask_probability).to(w.dtype)

    def extra_repr(self) -> str:
        """Return the settings beyond those of the stochastic layer."""
        return f"{super().extra_repr()}, ablation={self.ablation}, q={self.mask_probability}"
