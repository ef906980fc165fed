"""Networks of stochastic layers, and their answers: the mean over several sampled networks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synapses.ablations import AblatedLinear, Ablation
from synapses.layers import StochasticLinear, stochastic_layers
from theory.checks import as_integer, shown
from theory.streams import Streams

__all__ = ["Averaged", "MaskGenerators", "stochastic_mlp"]


class Averaged(nn.Module):
    r"""A stochastic classifier that answers, in evaluation mode, by the mean of several draws.

    **Equation.** In training the network's own outputs; in evaluation
    :math:`\ln \frac1K \sum_{k=1}^K \mathrm{softmax}(f_k(x))` over K sampled networks. Their
    softmax is the mean probability again, so a cross-entropy and an argmax of these outputs are
    those of the averaged network.

    **Shapes and units.** Inputs and outputs of the network; nats.

    Parameters
    ----------
    network : torch.nn.Module
        Maps (sample, feature) to (sample, class).
    samples : int
        K; 10 in the published runs.

    Raises
    ------
    ValueError
        If ``samples`` is not a whole number >= 1.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884.

    Examples
    --------
    >>> from synapses.layers import StochasticLinear, stochastic_layers
    >>> model = Averaged(StochasticLinear(3, 2), samples=4).eval()
    >>> bool((model(torch.ones(5, 3)).exp().sum(dim=1) - 1).abs().max() < 1e-6)
    True
    """

    def __init__(self, network: nn.Module, samples: int = 10) -> None:
        super().__init__()
        self.network = network
        self.samples = as_integer("samples", samples, low=1)

    def forward(self, inputs: Float[Tensor, "sample in"]) -> Float[Tensor, "sample out"]:
        """Return outputs, or in evaluation mode the logarithm of mean probabilities.

        Parameters
        ----------
        inputs : Tensor
            (sample, in).

        Returns
        -------
        Tensor
            (sample, out).
        """
        if self.training:
            outputs: Tensor = self.network(inputs)
            return outputs
        draws = torch.stack([self.network(inputs).log_softmax(dim=1) for _ in range(self.samples)])
        mean: Tensor = draws.logsumexp(dim=0) - draws.new_tensor(self.samples).log()
        return mean


class MaskGenerators:
    """The random generators that layers were given for their masks, as a state to be saved.

    Layers without a generator of their own draw from torch's, which the training loop saves.
    Give this object to it as ``stateful={"masks": MaskGenerators(model)}``.

    Parameters
    ----------
    model : torch.nn.Module
        With stochastic layers.

    Raises
    ------
    ValueError
        If no layer has a generator.

    Examples
    --------
    >>> layer = StochasticLinear(2, 2, generator=torch.Generator().manual_seed(0))
    >>> masks = MaskGenerators(layer)
    >>> before = masks.state_dict()
    >>> first = layer.draw()
    >>> masks.load_state_dict(before)
    >>> bool((layer.draw() == first).all())
    True
    """

    def __init__(self, model: nn.Module) -> None:
        own = [layer.generator for layer in stochastic_layers(model).values()]
        self.generators = list({id(one): one for one in own if one is not None}.values())
        if not self.generators:
            raise ValueError(
                "model has no stochastic layer with a generator of its own: there is nothing to"
                " save, torch's generator is in every checkpoint"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the states, in the order of the layers."""
        return {"states": [generator.get_state() for generator in self.generators]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the states back.

        Parameters
        ----------
        state : dict
            What :meth:`state_dict` gave.
        """
        for generator, saved in zip(self.generators, state["states"], strict=True):
            generator.set_state(saved.cpu())


def stochastic_mlp(
    widths: Sequence[int],
    *,
    streams: Streams,
    index: int = 0,
    release_probability: float | None = 0.25,
    ablation: Ablation | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> nn.Sequential:
    r"""Multilayer perceptron of stochastic layers; rectified units, the last layer linear.

    **Equation.** Weights and biases start uniform within :math:`\pm 1/\sqrt{n_{in}}`, torch's
    default.

    **Shapes and units.** Inputs (sample, n_0), outputs (sample, n_d).

    Parameters
    ----------
    widths : sequence of int
        n_0 ... n_d, inputs first.
    streams : Streams
        Where the weights are drawn from: those of ``sandbox.training.models.mlp``.
    index : int
        Which network.
    release_probability : float or None
        p at the start; None for plain layers.
    ablation : Ablation or None
        Layers that lack a part; their p starts where :class:`synapses.ablations.AblatedLinear`
        says.
    dtype : torch.dtype
        Type of the parameters.
    device : torch.device or str
        Where they live.

    Returns
    -------
    torch.nn.Sequential
        Linear layers and rectifiers in turn.

    Raises
    ------
    ValueError
        If there are fewer than two widths, or an ablation without release.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884.

    Examples
    --------
    >>> net = stochastic_mlp([784, 200, 200, 10], streams=Streams(0))
    >>> sum(p.numel() for name, p in net.named_parameters() if "weight" in name)
    198800
    """
    if isinstance(widths, str) or len(widths) < 2:
        raise ValueError(f"widths = {shown(widths)}: must be two or more layer widths")
    sizes = [as_integer(f"widths[{i}]", width, low=1) for i, width in enumerate(widths)]
    if ablation is not None and release_probability is None:
        raise ValueError(f"ablation = {ablation!r}: a network without release has nothing to lack")
    generator = torch.Generator().manual_seed(streams.integer("weights", index))
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):  # layers draw weights when they are made
        for before, after in itertools.pairwise(sizes):
            if ablation is not None:
                layer: nn.Linear = AblatedLinear(before, after, ablation, dtype=dtype)
            elif release_probability is not None:
                layer = StochasticLinear(
                    before, after, release_probability=release_probability, dtype=dtype
                )
            else:
                layer = nn.Linear(before, after, dtype=dtype)
            with torch.no_grad():
                for parameter in (layer.weight, layer.bias):
                    drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                    parameter.copy_((2 * drawn - 1) / math.sqrt(before))
                if isinstance(layer, AblatedLinear):
                    layer.undo_mean()
            layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(device)
