"""A torch layer as brian2 synapses, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from synapses._brian_rule import presynaptic_rule
from synapses._brian_units import Group, Quantity, brian, check_groups, no_unit, unit_name
from synapses._bridge_layers import by_source, numbers, single
from synapses._bridge_synapses import biases_of, learning_of, still_synapses
from synapses.consolidation import PresynapticOptimizer
from synapses.layers import StochasticLinear
from synapses.rule import PresynapticRule
from theory.checks import shown

__all__ = ["Learning", "from_brian", "to_brian"]


class Learning(NamedTuple):
    """How synapses learn: ``PresynapticOptimizer(model, *learning)`` learns so in torch.

    Parameters
    ----------
    rule : PresynapticRule
        The rule.
    learning_rate, weight_decay : float
        Of the strengths.
    """

    rule: PresynapticRule
    learning_rate: float
    weight_decay: float


def to_brian(
    layer: nn.Module,
    source: Group,
    target: Group,
    *,
    on: str = "z",
    unit: Quantity | None = None,
    bias: str | None = None,
    optimizer: PresynapticOptimizer | None = None,
    teaching: str | None = None,
    error: str = "error",
    activity: str | None = None,
    record: bool = False,
    uniforms: Float[ndarray, "time synapse"] | None = None,
    name: str = "stochastic_linear*",
) -> Any:
    r"""Build brian2 synapses that release as a torch layer does.

    **Equation.** A presynaptic spike is one presentation. Synapse :math:`i \to j` draws
    :math:`r \sim \mathrm{Bernoulli}(p_{ji})` and adds :math:`a_i (\bar w_{ji} r / p_{ji})` units
    to the target's ``on``, with :math:`a_i = 1` where ``activity`` is None. Where all sources
    spike, that is the layer's output, up to the biases, which the target has to add.

    With an optimizer the synapses learn by :func:`synapses.brian.presynaptic_rule`, which
    equals torch at a batch of one; else they stay.

    **Shapes and units.** Variables, one a synapse: ``p_syn``, the weight as torch has it (a plain
    number: ``strength_syn`` where the layer's variable is the expected strength, ``m_syn``
    where it is the quantal amplitude), counters ``n_rel`` and ``energy_syn`` (unit of
    ``on``). brian2 keeps float64, so nothing is rounded.

    Parameters
    ----------
    layer : torch.nn.Module
        A ``StochasticLinear``, or a module around a single one.
    source : SpikeSource
        Group of ``in_features`` that spikes.
    target : Group
        Group of ``out_features``.
    on : str
        Variable of the target that releases add to.
    unit : Quantity or None
        What a weight of 1 is in ``on``, in its unit; None for 1. Without an optimizer only.
    bias : str or None
        Variable of the target, a plain number, that is set to the layer's biases.
    optimizer : PresynapticOptimizer or None
        Whose rule, learning rate and weight decay the synapses take; without ``inner``.
    teaching, error : str
        As for :func:`synapses.brian.presynaptic_rule`; of use with an optimizer only.
    activity : str or None
        Variable of the source that weighs its spikes; None for 1.
    record : bool
        Whether ``recorder`` keeps (t, r, p, m, synapse) of each presentation.
    uniforms : ndarray or None
        Numbers in [0, 1) to use instead of random ones, (time step, synapse).
    name : str
        Name of the synapses.

    Returns
    -------
    brian2.Synapses
        Connected; to be put in a network. Biases are not part of it: they do not learn.

    Raises
    ------
    ValueError
        If the layer cannot be carried (a convolution, several layers, biases without a
        place, amplitudes or per-example masks together with the rule), or if sizes, units or
        names do not fit.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884.

    Examples
    --------
    A layer of ten units, driven by spikes, onto neurons with a membrane potential v::

        S = to_brian(net[0], spikes, neurons, on="v", unit=1 * mV, bias="bias")
    """
    layer = single(layer)
    check_groups(source, target)
    _check_sizes(layer, source, target)
    biases = numbers(layer.bias) if layer.bias is not None else None
    place = biases_of(target, bias, biases)
    words: dict[str, Any] = {
        "on": on,
        "activity": activity,
        "record": record,
        "uniforms": uniforms,
        "name": name,
    }
    p, weight = by_source(layer.release_probability), by_source(layer.weight)
    if optimizer is None:
        synapses = still_synapses(
            source, target, weight, p, quantal=layer.variable == "quantal", unit=unit, **words
        )
    else:
        if unit is not None:
            raise ValueError(
                f"unit = {shown(unit)}: must be None with an optimizer, as the rule's threshold is"
                " a plain number; let the target's equations bring in the unit"
            )
        learning = _learning(layer, optimizer)
        synapses = presynaptic_rule(
            source,
            target,
            learning.rule,
            learning_rate=learning.learning_rate,
            weight_decay=learning.weight_decay,
            strength=weight,
            teaching=teaching,
            error=error,
            **words,
        )
        synapses.p_syn = p
    if place is not None:
        place[:] = biases
    return synapses


def from_brian(synapses: Any, layer: nn.Module, *, bias: str | None = None) -> Learning | None:
    r"""Write brian2 synapses back into a torch layer.

    **Equation.** ``weight[j, i]`` and ``release_probability[j, i]`` become those of the synapse
    from i to j. After :func:`to_brian` every bit is as before; what brian2 has changed is
    rounded once, to the layer's type.

    **Shapes and units.** As the layer.

    Parameters
    ----------
    synapses : brian2.Synapses
        Of :func:`to_brian` or :func:`synapses.brian.presynaptic_rule`: one for every pair.
    layer : torch.nn.Module
        A ``StochasticLinear``, or a module around a single one; changed in place, and not at
        all where an error is raised.
    bias : str or None
        Variable of the synapses' target that holds the biases, if the layer has any.

    Returns
    -------
    Learning or None
        Rule, learning rate and weight decay as they run in brian2; None if the synapses do
        not learn.

    Raises
    ------
    ValueError
        If the synapses are not one for every pair, hold something else than the layer, or a
        number is out of range.

    Examples
    --------
    Training goes on in torch::

        learning = from_brian(S, layer)
        optimizer = PresynapticOptimizer(layer, *learning)
    """
    layer = single(layer)
    if not isinstance(synapses, brian().Synapses):
        raise ValueError(f"synapses = {shown(synapses)}: must be brian2 Synapses")
    _check_sizes(layer, synapses.source, synapses.target)
    kept = "strength_syn" if layer.variable == "expected" else "m_syn"
    for variable in (kept, "p_syn"):
        found = synapses.variables.get(variable)
        if found is None or found.dim is not no_unit():
            have = "missing" if found is None else f"in {unit_name(found.dim)}"
            raise ValueError(
                f"synapses have {variable} {have}: a layer with variable={layer.variable!r} needs"
                " it as a plain number; build them with to_brian from such a layer"
            )
    i, j = np.array(synapses.i[:]), np.array(synapses.j[:])
    pairs = layer.in_features * layer.out_features
    if len(i) != pairs or len(np.unique(i * layer.out_features + j)) != pairs:
        raise ValueError(
            f"synapses: {len(i)} of them on {len(np.unique(i * layer.out_features + j))} pairs;"
            f" must be one for each of the {pairs} pairs, as weights are"
        )
    weight = _matrix(kept, np.array(getattr(synapses, kept)[:]), i, j, layer.weight)
    p = _matrix("p_syn", np.array(synapses.p_syn[:]), i, j, layer.release_probability)
    if not bool(((p > 0) & (p <= 1)).all()):
        raise ValueError(
            f"synapses.p_syn, in {p.dtype}, runs from {float(p.min()):g} to {float(p.max()):g}:"
            " must be in (0, 1]"
        )
    place = biases_of(synapses.target, bias, layer.bias)
    learning = learning_of(synapses)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.release_probability.copy_(p)
        if place is not None:
            layer.bias.copy_(torch.as_tensor(np.array(place[:])))
    return None if learning is None else Learning(*learning)


def _check_sizes(layer: StochasticLinear, source: Group, target: Group) -> None:
    """Refuse groups of other sizes, and a precision that would round."""
    wanted = {"source": (source, layer.in_features), "target": (target, layer.out_features)}
    for role, (group, size) in wanted.items():
        if len(group) != size:
            raise ValueError(f"{role} has {len(group)} neurons: must have {size}, as the layer has")
    kept = np.finfo(brian().prefs.core.default_float_dtype)
    if torch.finfo(layer.weight.dtype).bits > kept.bits:
        raise ValueError(
            f"layer is in {layer.weight.dtype}, brian2 in {kept.dtype}: must not be more exact; set"
            " brian2.prefs.core.default_float_dtype = float64"
        )


def _learning(layer: StochasticLinear, optimizer: PresynapticOptimizer) -> Learning:
    """Return how an optimizer lets a layer learn, if brian2 can."""
    if not isinstance(optimizer, PresynapticOptimizer):
        raise ValueError(f"optimizer = {shown(optimizer)}: must be a PresynapticOptimizer")
    if not any(one is layer for one in optimizer.layers):
        raise ValueError("optimizer: does not train this layer; make it from the layer's model")
    remedies = {
        "with an inner optimiser": (optimizer.inner is not None, "leave inner out"),
        "with trained biases": (
            optimizer.others == "trained" and layer.bias is not None,
            "set others='fixed'",
        ),
        "of quantal amplitudes": (layer.variable != "expected", "use variable='expected'"),
        "with masks of their own for examples": (layer.mask_kind != "batch", "use mask='batch'"),
    }
    for what, (met, remedy) in remedies.items():
        if met:
            raise ValueError(f"optimizer: learning {what} does not exist in brian2; {remedy}")
    group = optimizer.param_groups[0]
    return Learning(optimizer.rule, float(group["lr"]), float(group["weight_decay"]))


def _matrix(name: str, values: ndarray, i: ndarray, j: ndarray, like: Tensor) -> Tensor:
    """Return the numbers of synapses as a tensor (out, in)."""
    if not np.isfinite(values).all():
        raise ValueError(f"synapses.{name}: every number must be finite")
    matrix = np.empty(tuple(like.shape))
    matrix[j, i] = values
    return torch.as_tensor(matrix).to(like.dtype)
