"""Torch layers whose synapses release at random, and what is exact about their gradients."""

from __future__ import annotations

from collections.abc import Generator as Yields
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synapses._masks import releases, rounded
from theory.checks import one_of, shown

__all__ = ["StochasticConv2d", "StochasticLinear", "mean_weights", "stochastic_layers"]

MaskKind = Literal["batch", "example"]
Variable = Literal["expected", "quantal"]
Draws = Literal["exact", "16-bit"]

CHUNK = 1 << 24
"""Numbers of a per-example mask that are drawn at once."""


class _Stochastic(nn.Module):
    """What linear and convolutional layers share: probabilities, masks, effective weights."""

    weight: nn.Parameter
    release_probability: Tensor

    def _set_up(
        self,
        release_probability: float | Tensor,
        mask: MaskKind,
        variable: Variable,
        generator: torch.Generator | None,
        draws: Draws,
    ) -> None:
        self.mask_kind: MaskKind = one_of("mask", mask, ("batch", "example"))  # type: ignore[assignment]  # checked
        self.variable: Variable = one_of("variable", variable, ("expected", "quantal"))  # type: ignore[assignment]  # checked
        self.draws: Draws = one_of("draws", draws, ("exact", "16-bit"))  # type: ignore[assignment]  # checked
        self.generator = generator
        self.sampling = True
        self.last_mask: Tensor | None = None
        p = torch.as_tensor(release_probability, dtype=self.weight.dtype)
        if p.ndim and p.shape != self.weight.shape:
            raise ValueError(
                f"release_probability has shape {tuple(p.shape)}: must be one number, or"
                f" {tuple(self.weight.shape)}, one a synapse"
            )
        if not bool(((p > 0) & (p <= 1)).all()):
            raise ValueError(
                f"release_probability = {shown(release_probability)}: must be in (0, 1]; a synapse"
                " that never releases has no expected strength to learn"
            )
        p = p.to(self.weight.device).expand(self.weight.shape).clone()
        self.register_buffer("release_probability", p)
        if self.variable == "quantal":
            with torch.no_grad():  # the same expected strengths as in the other parametrisation
                self.weight.div_(self._chance())

    def _chance(self) -> Tensor:
        """Return the probability with which each synapse does release."""
        p = self.release_probability
        return p if self.draws == "exact" else rounded(p)

    def expected_strength(self) -> Tensor:
        """Return p m of every synapse, with its graph to the weight."""
        if self.variable == "expected":
            return self.weight
        return self.weight * self._chance()

    def _gain(self) -> Tensor:
        """Return what a release multiplies the weight with."""
        if self.variable == "expected":
            return self.weight / self._chance()
        return self.weight

    def draw(self, *leading: int) -> Tensor:
        """Draw releases: 1 where a synapse releases, else 0.

        Parameters
        ----------
        *leading : int
            Further axes before the weight's own, e.g. the number of examples.

        Returns
        -------
        Tensor
            Of the weight's type, of shape ``(*leading, *weight.shape)``.
        """
        return releases(self._chance(), leading, self.generator)

    def extra_repr(self) -> str:
        """Return the settings beyond those of the plain layer."""
        kind = f"mask={self.mask_kind}, variable={self.variable}"
        kind += "" if self.draws == "exact" else f", draws={self.draws}"
        return f"{super().extra_repr()}, {kind}"


class StochasticLinear(_Stochastic, nn.Linear):  # type: ignore[misc]  # one weight, declared twice
    r"""Linear layer whose synapses release at random.

    **Equation.** :math:`y = (\bar w \circ r / p)\, x + b` with :math:`r_{oi} \sim
    \mathrm{Bernoulli}(p_{oi})`; the mean weight is :math:`\bar w` whatever p is. Autograd
    takes the mask as given: the gradient in :math:`\bar w` is that of the sampled network,
    and its mean is exactly the gradient of the mean loss. p has no gradient.

    **Shapes and units.** Inputs (sample, in), outputs (sample, out); ``weight`` and
    ``release_probability`` (out, in).

    Parameters
    ----------
    in_features, out_features : int
        Sizes.
    bias : bool
        Whether there is a bias, which is not stochastic.
    release_probability : float or Tensor
        p at the start, in (0, 1]; one number, or one a synapse. Kept as a buffer.
    mask : {"batch", "example"}
        Whether one mask serves a whole forward pass (the published model) or each
        example has its own, which is another model.
    variable : {"expected", "quantal"}
        Whether ``weight`` holds the expected strength p m or the amplitude m of a release.
    generator : torch.Generator or None
        Source of the masks; None for torch's own, which the training loop seeds and saves in
        its checkpoints. A generator given here is in no checkpoint, and measuring draws from it.
    draws : {"exact", "16-bit"}
        Whether a synapse releases with p as it is stored, or with p rounded to the nearest of
        1/65536, 2/65536, ..., 1: off by at most 2**-17, or 2**-16 if p < 2**-17, where it is
        rounded up. Strengths are divided by the rounded p, so that means stay exact. As exact
        numbers are drawn no further than they must be, rounding saves no time on the CPU.
    device, dtype
        As for ``torch.nn.Linear``.

    Raises
    ------
    ValueError
        If a release probability is not in (0, 1] or a name is unknown.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884.

    Examples
    --------
    >>> layer = StochasticLinear(3, 2, release_probability=0.5)
    >>> layer(torch.ones(4, 3)).shape, sorted(layer.last_mask.unique().tolist())
    (torch.Size([4, 2]), [0.0, 1.0])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        release_probability: float | Tensor = 0.25,
        mask: MaskKind = "batch",
        variable: Variable = "expected",
        *,
        generator: torch.Generator | None = None,
        draws: Draws = "exact",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        nn.Linear.__init__(self, in_features, out_features, bias, device=device, dtype=dtype)
        self._set_up(release_probability, mask, variable, generator, draws)

    def forward(self, inputs: Float[Tensor, "sample in"]) -> Float[Tensor, "sample out"]:
        """Return outputs under freshly drawn releases, in training and evaluation alike.

        Parameters
        ----------
        inputs : Tensor
            (sample, in).

        Returns
        -------
        Tensor
            (sample, out). Inside :func:`mean_weights` nothing is drawn.
        """
        if not self.sampling:
            return nn.functional.linear(inputs, self.expected_strength(), self.bias)
        gain = self._gain()
        if self.mask_kind == "batch":
            self.last_mask = self.draw()
            return nn.functional.linear(inputs, gain * self.last_mask, self.bias)
        self.last_mask = None
        size = max(1, CHUNK // gain.numel())
        parts = []
        for part in torch.split(inputs, size):
            masks = self.draw(len(part))
            parts.append(torch.einsum("noi,oi,ni->no", masks, gain, part))
        outputs = torch.cat(parts)
        return outputs if self.bias is None else outputs + self.bias


class StochasticConv2d(_Stochastic, nn.Conv2d):  # type: ignore[misc]  # one weight, declared twice
    r"""Two-dimensional convolution whose kernel weights release at random.

    **Equation.** As :class:`StochasticLinear`, with one release for each kernel weight: all
    places of the image share it, as they share the weight.

    **Shapes and units.** As ``torch.nn.Conv2d``; ``release_probability`` has the shape of
    ``weight``.

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of channels.
    kernel_size : int or pair of int
        Size of the kernel.
    stride, padding, dilation, groups
        As for ``torch.nn.Conv2d``.
    bias : bool
        Whether there is a bias, which is not stochastic.
    release_probability : float or Tensor
        p at the start, in (0, 1].
    mask : {"batch", "example"}
        One mask a forward pass, or one an example.
    variable : {"expected", "quantal"}
        What ``weight`` holds.
    generator : torch.Generator or None
        Source of the masks.
    draws : {"exact", "16-bit"}
        As in :class:`StochasticLinear`.
    device, dtype
        As for ``torch.nn.Conv2d``.

    Raises
    ------
    ValueError
        If a release probability is not in (0, 1] or a name is unknown.

    Examples
    --------
    >>> layer = StochasticConv2d(1, 4, 3, padding=1)
    >>> layer(torch.ones(2, 1, 5, 5)).shape
    torch.Size([2, 4, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        release_probability: float | Tensor = 0.25,
        mask: MaskKind = "batch",
        variable: Variable = "expected",
        *,
        generator: torch.Generator | None = None,
        draws: Draws = "exact",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        nn.Conv2d.__init__(
            self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            device=device, dtype=dtype,
        )  # fmt: skip
        self._set_up(release_probability, mask, variable, generator, draws)

    def forward(self, inputs: Float[Tensor, "sample channel y x"]) -> Tensor:
        """Return outputs under freshly drawn releases, in training and evaluation alike.

        Parameters
        ----------
        inputs : Tensor
            (sample, channel, height, width).

        Returns
        -------
        Tensor
            (sample, out channel, height, width).
        """
        if not self.sampling:
            plain: Tensor = self._conv_forward(inputs, self.expected_strength(), self.bias)
            return plain
        gain = self._gain()
        if self.mask_kind == "batch":
            self.last_mask = self.draw()
            outputs: Tensor = self._conv_forward(inputs, gain * self.last_mask, self.bias)
            return outputs
        self.last_mask = None
        kernels = gain * self.draw(len(inputs))
        one = [
            self._conv_forward(image[None], kernel, self.bias)
            for image, kernel in zip(inputs, kernels, strict=True)
        ]
        return torch.cat(one)


def stochastic_layers(model: nn.Module) -> dict[str, StochasticLinear | StochasticConv2d]:
    """Return the stochastic layers of a model by name, in order.

    Parameters
    ----------
    model : torch.nn.Module
        Any network.

    Returns
    -------
    dict
        Empty if there are none.

    Examples
    --------
    >>> list(stochastic_layers(nn.Sequential(nn.ReLU(), StochasticLinear(2, 2))))
    ['1']
    """
    kinds = (StochasticLinear, StochasticConv2d)
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, kinds)}


@contextmanager
def mean_weights(model: nn.Module) -> Yields[nn.Module]:
    """Replace random weights by their means for a while.

    Parameters
    ----------
    model : torch.nn.Module
        Any network.

    Yields
    ------
    torch.nn.Module
        The model; nothing is drawn meanwhile.

    Examples
    --------
    >>> layer = StochasticLinear(3, 1)
    >>> with mean_weights(layer):
    ...     same = layer(torch.ones(1, 3)) == layer(torch.ones(1, 3))
    >>> bool(same.all())
    True
    """
    layers = list(stochastic_layers(model).values())
    before = [layer.sampling for layer in layers]
    for layer in layers:
        layer.sampling = False
    try:
        yield model
    finally:
        for layer, sampling in zip(layers, before, strict=True):
            layer.sampling = sampling
