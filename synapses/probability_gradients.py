"""Gradients in the release probability: unbiased by the likelihood ratio, biased straight through.

The layers of :mod:`synapses.layers` give the release probability no gradient, since a mask
is drawn and not computed. Here the derivative of the *mean* loss is estimated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from synapses.ablations import AblatedLinear
from synapses.layers import StochasticConv2d, StochasticLinear, stochastic_layers
from theory.checks import as_integer, one_of, shown

__all__ = ["ReleaseGradient", "release_gradient"]

Method = Literal["likelihood-ratio", "straight-through", "straight-through-mask"]
METHODS = ("likelihood-ratio", "straight-through", "straight-through-mask")

MOST_DRAWS = 20
"""Draws of one loss whose outcomes are all enumerated: a million losses."""

Layer = StochasticLinear | StochasticConv2d


@dataclass(frozen=True)
class ReleaseGradient:
    """An estimate of the gradient of the mean loss in the release probabilities.

    Parameters
    ----------
    loss, loss_error : float
        Mean loss and its standard error.
    gradients, standard_errors : dict from str to Tensor
        By layer, float64, in the shape of ``release_probability``. Errors are 0 after
        enumeration.
    samples : int
        How often the loss was computed.
    """

    loss: float
    loss_error: float
    gradients: dict[str, Tensor]
    standard_errors: dict[str, Tensor]
    samples: int


def release_gradient(
    model: nn.Module,
    loss_fn: Callable[[nn.Module], Tensor],
    samples: int | None,
    method: Method = "likelihood-ratio",
    *,
    baseline: bool = True,
    generator: torch.Generator | None = None,
) -> ReleaseGradient:
    r"""Estimate the gradient of the mean loss in every release probability.

    **Equation.** With releases r drawn from the probabilities p, *likelihood-ratio* averages

    .. math::

        \frac{\partial L}{\partial p_i}\Big|_r + (L - b) \left[\frac{r_i}{p_i} -
        \frac{1 - r_i}{1 - p_i}\right],

    the explicit derivative at fixed releases (through the weight :math:`\bar w r/p`) plus the
    score. Its mean is :math:`\partial \langle L \rangle / \partial p_i` exactly. The baseline b,
    the mean of the losses drawn before, changes the variance alone.
    *straight-through* differentiates as if :math:`\partial r_i / \partial p_i = 1`, through the
    mask and through 1/p; *straight-through-mask* through the mask alone. **Both are biased**
    wherever the loss is not linear in the releases, by more samples as by few, and may have the
    wrong sign.

    **Shapes and units.** Loss per unit of probability; at the rounded one for 16-bit draws.

    Parameters
    ----------
    model : torch.nn.Module
        Holds one or more stochastic layers; it is left as it was.
    loss_fn : callable
        ``loss_fn(model)`` runs the model on its data and returns the loss, one number. Whatever
        else in it depends on ``release_probability`` is differentiated as well.
    samples : int or None
        Number of draws, >= 2; None for all outcomes, each with its probability, which is exact
        and possible up to 20 draws a loss.
    method : {"likelihood-ratio", "straight-through", "straight-through-mask"}
        How.
    baseline : bool
        Whether to subtract b; it costs one more loss at the start.
    generator : torch.Generator or None
        Source of the masks instead of the layers' own.

    Returns
    -------
    ReleaseGradient
        With standard errors over the samples.

    Raises
    ------
    ValueError
        If the model has no stochastic layer or draws nothing, a layer is a ghost, a release
        probability is 1 (the likelihood ratio never sees what a failure would do), or the loss
        is not one finite number.

    References
    ----------
    Williams (1992), doi:10.1007/BF00992696, for the likelihood ratio and the baseline; Bengio,
    Léonard & Courville (2013), arXiv:1308.3432, for straight-through; with the explicit
    term: derived here.

    Examples
    --------
    A synapse whose loss is the square of its output, :math:`\langle L \rangle = w^2/p`:

    >>> layer = StochasticLinear(1, 1, bias=False, release_probability=0.25)
    >>> _ = nn.init.constant_(layer.weight, 1.0)
    >>> square = lambda net: net(torch.ones(1, 1)).square().sum()
    >>> release_gradient(layer, square, None).gradients[""].item()
    -16.0
    >>> release_gradient(layer, square, None, "straight-through").gradients[""].item()
    -24.0
    >>> release_gradient(layer, square, None, "straight-through-mask").gradients[""].item()
    8.0
    """
    layers = stochastic_layers(model) if isinstance(model, nn.Module) else {}
    if not layers:
        raise ValueError(f"model = {shown(model)}: must be a network with stochastic layers")
    one_of("method", method, METHODS)
    if samples is not None:
        samples = as_integer("samples", samples, low=2)
    for name, layer in layers.items():
        if isinstance(layer, AblatedLinear) and layer.ablation != "unnormalised":
            raise ValueError(
                f"layer {name!r} has ablation = {layer.ablation!r}: its release probability does"
                " not decide who releases; must be a layer whose does"
            )
        certain = int((layer._chance() == 1).sum())
        if certain and method == "likelihood-ratio":
            raise ValueError(
                f"release_probability of layer {name!r} is 1 at {certain} synapses: the likelihood"
                " ratio never sees them fail; keep it below 1, e.g. clamp it to 0.999"
            )
    draws = _Draws(layers, method)
    moments = _Moments(layers)
    with _watched(layers, draws, generator):
        if samples is None:
            _loss(model, loss_fn, draws)
            for outcome in _outcomes(sum(draws.sizes)):
                draws.given = outcome
                loss, parts = _sample(model, loss_fn, draws, 0.0)
                moments.add(loss, parts, draws.chance)
            return moments.exact()
        mean = float(_loss(model, loss_fn, draws).detach()) if baseline else 0.0
        for number in range(samples):
            loss, parts = _sample(model, loss_fn, draws, mean if baseline else 0.0)
            moments.add(loss, parts)
            mean += (loss - mean) / (number + 2)
    return moments.estimate()


@dataclass
class _Draws:
    """Masks on their way from the layers, and what is kept of those of one loss."""

    layers: dict[str, Layer]
    method: str
    leaves: dict[str, Tensor] = field(default_factory=dict)
    scores: dict[str, Tensor] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    given: tuple[float, ...] | None = None
    chance: float = 1.0

    def begin(self) -> None:
        """Put fresh leaves of the graph where the probabilities are."""
        self.scores, self.sizes, self.chance = {}, [], 1.0
        for name, layer in self.layers.items():
            leaf = self.leaves[name].detach().requires_grad_()
            self.leaves[name] = leaf
            alone = self.method == "straight-through-mask"
            layer.release_probability = leaf.detach() if alone else leaf

    def take(self, name: str, draw: Callable[..., Tensor], *leading: int) -> Tensor:
        """Draw a mask, or take the given one; keep its score."""
        leaf = self.leaves[name]
        p = leaf.detach().double()
        if self.given is None:
            with torch.no_grad():
                mask = draw(*leading)
            outcome = mask.double()
        else:
            start = sum(self.sizes)
            numbers = self.given[start : start + math.prod(leading) * p.numel()]
            outcome = torch.tensor(numbers, dtype=torch.float64, device=p.device)
            outcome = outcome.reshape(*leading, *p.shape)
            mask = outcome.to(leaf.dtype)
            self.chance *= float(torch.where(outcome > 0, p, 1 - p).prod())
        self.sizes.append(outcome.numel())
        if self.method == "likelihood-ratio":
            score = outcome / p - (1 - outcome) / (1 - p)
            score = score.reshape(-1, *p.shape).sum(dim=0)
            self.scores[name] = self.scores.get(name, torch.zeros_like(p)) + score
            return mask
        return mask + leaf - leaf.detach()


@contextmanager
def _watched(
    layers: dict[str, Layer], draws: _Draws, generator: torch.Generator | None
) -> Generator[None]:
    """Let the layers draw through ``draws``; put everything back in the end."""
    kept = {
        name: (
            layer.release_probability,
            layer.generator,
            layer.last_mask,
            layer.draws,
            vars(layer).get("draw"),
        )
        for name, layer in layers.items()
    }
    for name, layer in layers.items():
        draws.leaves[name] = layer._chance()
        layer.draws = "exact"  # rounding, which is done, has no gradient
        layer.generator = generator or layer.generator

        vars(layer)["draw"] = partial(draws.take, name, layer.draw)
    try:
        yield
    finally:
        for name, layer in layers.items():
            p, layer.generator, layer.last_mask, layer.draws, own = kept[name]
            layer.release_probability = p
            del vars(layer)["draw"]
            if own is not None:
                vars(layer)["draw"] = own


def _loss(model: nn.Module, loss_fn: Callable[[nn.Module], Tensor], draws: _Draws) -> Tensor:
    """Return the loss under fresh masks."""
    draws.begin()
    with torch.enable_grad():
        loss = loss_fn(model)
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not bool(loss.isfinite().all()):
        raise ValueError(f"loss_fn returned {shown(loss)}: must be one finite number, as a Tensor")
    if not draws.sizes:
        raise ValueError(
            "loss_fn drew no mask: it must run the model it is given, outside mean_weights"
        )
    return loss


def _sample(
    model: nn.Module, loss_fn: Callable[[nn.Module], Tensor], draws: _Draws, baseline: float
) -> tuple[float, dict[str, Tensor]]:
    """Return a loss and one sample of the gradient."""
    loss = _loss(model, loss_fn, draws)
    names = list(draws.leaves)
    leaves = [draws.leaves[name] for name in names]
    paths: tuple[Tensor | None, ...] = (None,) * len(leaves)
    if loss.requires_grad:
        paths = torch.autograd.grad(loss, leaves, allow_unused=True)
    value = float(loss.detach())
    parts = {}
    for name, leaf, path in zip(names, leaves, paths, strict=True):
        part = torch.zeros_like(leaf, dtype=torch.float64) if path is None else path.double()
        if name in draws.scores:
            part = part + (value - baseline) * draws.scores[name]
        parts[name] = part.detach()
    return value, parts


def _outcomes(count: int) -> Iterator[tuple[float, ...]]:
    """Return an iterator over all outcomes of the draws of one loss."""
    if count > MOST_DRAWS:
        raise ValueError(
            f"samples = None: one loss makes {count} draws, whose 2^{count} outcomes are too many"
            f" to enumerate (at most {MOST_DRAWS} draws); give a number of samples"
        )
    return itertools.product((0.0, 1.0), repeat=count)


class _Moments:
    """Running means and squares of losses and gradients."""

    def __init__(self, layers: dict[str, Layer]) -> None:
        self.count, self.weight = 0, 0.0
        self.loss = [0.0, 0.0]
        self.mean = {
            name: torch.zeros_like(layer.release_probability, dtype=torch.float64)
            for name, layer in layers.items()
        }
        self.square = {name: torch.zeros_like(mean) for name, mean in self.mean.items()}

    def add(self, loss: float, parts: dict[str, Tensor], weight: float = 1.0) -> None:
        """Take one sample in, with its chance as weight or like every other."""
        self.count += 1
        self.weight += weight
        share = weight / self.weight if self.weight else 0.0
        step = loss - self.loss[0]
        self.loss[0] += share * step
        self.loss[1] += weight * step * (loss - self.loss[0])
        for name, part in parts.items():
            move = part - self.mean[name]
            self.mean[name] = self.mean[name] + share * move
            self.square[name] = self.square[name] + weight * move * (part - self.mean[name])

    def estimate(self) -> ReleaseGradient:
        """Return means with standard errors."""
        scale = self.count * (self.count - 1)
        errors = {name: (square / scale).sqrt() for name, square in self.square.items()}
        loss_error = math.sqrt(self.loss[1] / scale)
        return ReleaseGradient(self.loss[0], loss_error, self.mean, errors, self.count)

    def exact(self) -> ReleaseGradient:
        """Return means over all outcomes."""
        errors = {name: torch.zeros_like(mean) for name, mean in self.mean.items()}
        return ReleaseGradient(self.loss[0], 0.0, self.mean, errors, self.count)
