"""Which synapses matter: lesions, Fisher information, and where important synapses lie."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy import ndarray
from scipy.stats import ks_2samp
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from synapses.layers import StochasticConv2d, StochasticLinear, mean_weights, stochastic_layers
from synapses.networks import Averaged
from theory.checks import as_integer, as_number, one_of, shown

__all__ = ["LesionOrder", "NeuronCounts", "diagonal_fisher", "important_counts", "lesion"]

LesionOrder = Literal["release_probability", "strength", "product", "random"]
Module = TypeVar("Module", bound=nn.Module)
Layers = Mapping[str, StochasticLinear | StochasticConv2d]


def _layers(module: nn.Module) -> Layers:
    """Return the stochastic layers, refusing a module that has none."""
    layers = stochastic_layers(module)
    if not layers:
        raise ValueError(
            f"module = {shown(module)}: has no stochastic layer; build it from synapses.layers"
        )
    return layers


def lesion(module: Module, by: LesionOrder, share: float, *, seed: int = 0) -> Module:
    r"""Return a copy of a network whose least important synapses are silent.

    **Equation.** The floor(share n) of all n stochastic synapses, layers taken together, that
    are lowest in p (``release_probability``), in :math:`|\bar w|` (``strength``), in
    :math:`p|\bar w|` (``product``), or drawn at random, have weight 0 afterwards. Ties, such as
    the many synapses at the floor of p, are broken at random.

    **Shapes and units.** Share in [0, 1].

    Parameters
    ----------
    module : torch.nn.Module
        With stochastic layers; left as it is.
    by : {"release_probability", "strength", "product", "random"}
        What is taken for importance.
    share : float
        Share of synapses to silence.
    seed : int
        Of the ties, or of the random order.

    Returns
    -------
    torch.nn.Module
        The lesioned copy. With one seed, the synapses of a smaller share are among those of a
        larger one.

    Raises
    ------
    ValueError
        If there is no stochastic layer, the order is unknown or the share is out of range.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884; their program breaks ties by noise of
    ±5e-5 on the importance, which also reorders what lies closer than that.

    Examples
    --------
    >>> layer = StochasticLinear(3, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = layer.weight.copy_(torch.tensor([[0.5, -0.1, 0.3]]))
    >>> [round(w, 1) for w in lesion(layer, "strength", 0.4).weight[0].tolist()]
    [0.5, 0.0, 0.3]
    """
    one_of("by", by, get_args(LesionOrder))
    share = as_number("share", share, low=0.0, high=1.0)
    generator = np.random.default_rng(as_integer("seed", seed, low=0))
    _layers(module)
    cut = copy.deepcopy(module)
    weights = [layer.weight for layer in _layers(cut).values()]
    with torch.no_grad():
        keys = torch.cat([_importance(layer, by).flatten() for layer in _layers(cut).values()])
        noise = generator.random(len(keys))
        order = np.lexsort((noise, keys.double().cpu().numpy()))
        kept = np.ones(len(keys), dtype=bool)
        kept[order[: int(share * len(keys) + 1e-9)]] = False  # 0.29 * 100 is 28.999...
        parts = np.split(kept, np.cumsum([w.numel() for w in weights])[:-1])
        for weight, part in zip(weights, parts, strict=True):
            weight.masked_fill_(~torch.from_numpy(part).reshape(weight.shape).to(weight.device), 0)
    return cut


def _importance(layer: StochasticLinear | StochasticConv2d, by: str) -> Tensor:
    """Return the importance of every synapse of a layer."""
    p, strength = layer.release_probability, layer.expected_strength().abs()
    if by == "random":
        return torch.zeros_like(p)
    return {"release_probability": p, "strength": strength, "product": p * strength}[by]


def diagonal_fisher(
    module: nn.Module,
    inputs: Float[Tensor, "sample in"],
    targets: Tensor,
    *,
    chunk: int = 64,
) -> dict[str, Tensor]:
    r"""Diagonal empirical Fisher information of the expected strengths.

    **Equation.** :math:`F_i = \frac1N \sum_n (\partial \ln p(y_n|x_n) / \partial \bar w_i)^2`
    with the true labels, a gradient for every sample, and every synapse releasing its expected
    strength (in the published model: p set to 1).

    **Shapes and units.** By layer, the shape of its weight; squared nats per squared strength.

    Parameters
    ----------
    module : torch.nn.Module
        A classifier with stochastic layers; left as it is.
    inputs : Tensor
        (sample, in).
    targets : Tensor
        (sample,) class numbers.
    chunk : int
        Samples whose gradients are held at once.

    Returns
    -------
    dict
        Fisher information by the name of the layer.

    Raises
    ------
    ValueError
        If there is no stochastic layer, no sample, not one target a sample, or an input is not
        finite.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884.

    Examples
    --------
    >>> layer = StochasticLinear(2, 2, bias=False)
    >>> with torch.no_grad():
    ...     _ = layer.weight.zero_()
    >>> diagonal_fisher(layer, torch.tensor([[1.0, 2.0]]), torch.tensor([0]))[""].tolist()
    [[0.25, 1.0], [0.25, 1.0]]
    """
    layers = _layers(module)
    if not len(inputs) or targets.shape != inputs.shape[:1]:
        raise ValueError(
            f"inputs and targets have shapes {tuple(inputs.shape)} and {tuple(targets.shape)}: must"
            " be (sample, in) and (sample,), with one sample or more"
        )
    if not bool(inputs.isfinite().all()):
        raise ValueError("inputs: every entry must be finite")
    as_integer("chunk", chunk, low=1)
    names = {f"{name}.weight" if name else "weight": name for name in layers}
    weights = {weight: layers[name].weight.detach() for weight, name in names.items()}
    model = copy.deepcopy(module).eval()
    for part in model.modules():
        if isinstance(part, Averaged):
            part.samples = 1  # all would be the same

    def log_likelihood(at: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        outputs: Tensor = functional_call(model, at, (x[None],))
        return outputs.log_softmax(dim=1)[0].gather(0, y[None])[0]

    total = {weight: torch.zeros_like(value) for weight, value in weights.items()}
    with mean_weights(model), torch.no_grad():  # biases need no graph
        each = vmap(grad(log_likelihood), in_dims=(None, 0, 0))
        for start in range(0, len(inputs), chunk):
            rows = slice(start, start + chunk)
            for weight, slope in each(weights, inputs[rows], targets[rows]).items():
                total[weight] += slope.square().sum(dim=0)
    found = {}
    copies = _layers(model.requires_grad_())  # of frozen weights too
    for weight, name in names.items():
        layer = copies[name]
        with torch.enable_grad():  # what one unit of the weight is worth in strength
            worth = torch.autograd.grad(layer.expected_strength().sum(), layer.weight)[0]
        found[name] = total[weight] / (len(inputs) * worth.square())
    return found


@dataclass(frozen=True, slots=True, eq=False)
class NeuronCounts:
    """How many important synapses a layer's neurons have, and what chance would give.

    Parameters
    ----------
    share : float
        Share of the layer's synapses that are important.
    inputs : ndarray of int64
        Important synapses onto every neuron after the layer.
    outputs : ndarray of int64
        Important synapses from every neuron before it.
    shuffled_inputs, shuffled_outputs : ndarray of int64
        The same with the layer's synapses shuffled.
    ks_inputs, ks_outputs : pair of float
        Two-sample Kolmogorov-Smirnov distance between counts and shuffled counts, and its
        p-value.
    """

    share: float
    inputs: Int64[ndarray, " after"]
    outputs: Int64[ndarray, " before"]
    shuffled_inputs: Int64[ndarray, " after"]
    shuffled_outputs: Int64[ndarray, " before"]
    ks_inputs: tuple[float, float]
    ks_outputs: tuple[float, float]


def important_counts(
    module: nn.Module, *, cut: float = 0.9, seed: int = 0
) -> dict[str, NeuronCounts]:
    """Count important synapses neuron by neuron, layer by layer.

    **Equation.** A synapse is important if p >= cut.

    **Shapes and units.** Counts.

    Parameters
    ----------
    module : torch.nn.Module
        With stochastic linear layers; those of other kinds are left out.
    cut : float
        Smallest p of an important synapse; 0.9 in the paper.
    seed : int
        Of the shuffle.

    Returns
    -------
    dict
        By the name of the layer.

    Raises
    ------
    ValueError
        If there is no stochastic linear layer, or the cut is not in [0, 1].

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884.

    Examples
    --------
    >>> p = torch.tensor([[0.95, 0.25, 0.9], [0.25, 0.25, 0.95]])
    >>> found = important_counts(StochasticLinear(3, 2, release_probability=p))[""]
    >>> found.inputs.tolist(), found.outputs.tolist(), found.share
    ([2, 1], [1, 0, 2], 0.5)
    """
    cut = as_number("cut", cut, low=0.0, high=1.0)
    generator = np.random.default_rng(as_integer("seed", seed, low=0))
    linear = {n: x for n, x in stochastic_layers(module).items() if isinstance(x, nn.Linear)}
    if not linear:
        raise ValueError(f"module = {shown(module)}: has no stochastic linear layer")
    found = {}
    for name, layer in linear.items():
        p = layer.release_probability
        important = (p >= torch.tensor(cut, dtype=p.dtype, device=p.device)).cpu().numpy()
        shuffled = generator.permutation(important.ravel()).reshape(important.shape)
        inputs, outputs = important.sum(axis=1), important.sum(axis=0)
        mixed_inputs, mixed_outputs = shuffled.sum(axis=1), shuffled.sum(axis=0)
        found[name] = NeuronCounts(
            float(important.mean()),
            inputs,
            outputs,
            mixed_inputs,
            mixed_outputs,
            _distance(inputs, mixed_inputs),
            _distance(outputs, mixed_outputs),
        )
    return found


def _distance(counts: ndarray, shuffled: ndarray) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance with its p-value."""
    result = ks_2samp(counts, shuffled)
    return float(result.statistic), float(result.pvalue)
