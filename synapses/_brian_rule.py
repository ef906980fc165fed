"""The presynaptic rule in brian2: forward, teaching signal and update in one time step."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from synapses._brian_build import Connect, assemble
from synapses._brian_draws import draws
from synapses._brian_events import EventRecorder
from synapses._brian_units import Group, as_share, check_groups, no_unit, unit_name, writable
from synapses.rule import PresynapticRule
from theory.checks import as_number, shown


def presynaptic_rule(
    source: Group,
    target: Group,
    rule: PresynapticRule,
    *,
    learning_rate: float,
    teaching: str | None,
    strength: float | Float[ndarray, " synapse"] = 0.0,
    release_probability: float | None = None,
    weight_decay: float = 0.0,
    on: str = "z",
    error: str = "error",
    activity: str | None = None,
    connect: Connect = None,
    record: bool = False,
    uniforms: Float[ndarray, "time synapse"] | None = None,
    name: str = "presynaptic_rule*",
) -> Any:
    r"""Build synapses that learn strength and release probability by the presynaptic rule.

    **Equation.** A presynaptic spike is one presentation. In its time step, in this order:

    1. the pathway ``forward`` draws :math:`r_{ij} \sim \mathrm{Bernoulli}(p_{ij})` and adds
       :math:`a_i \bar w_{ij} r_{ij}/p_{ij}` to the target's ``on``;
    2. the target runs ``teaching``, which computes its ``error``
       :math:`e_j = \partial L/\partial z_j` and clears ``on``;
    3. the pathway ``learn`` takes :math:`g_{ij} = e_j a_i r_{ij}/p_{ij}`, the gradient of the
       sampled network in :math:`\bar w`, and does one step of
       :class:`synapses.PresynapticRule`, strength first.

    A synapse whose source is silent does not learn; let all sources spike at all steps, with
    their rates in ``activity``, where p shall fall in all synapses without gradient. Fed with
    the same numbers, it equals :meth:`synapses.PresynapticRule.step` to rounding.

    **Shapes and units.** Plain numbers throughout, as in the rule. Variables, one a synapse:
    ``strength_syn`` (expected strength :math:`\bar w = pm`), ``p_syn``, ``released_syn`` (of the
    last presentation), counters ``n_rel`` and ``energy_syn`` (sum of :math:`r|\bar w|/p`).

    Parameters
    ----------
    source : SpikeSource
        Group whose spikes are presentations.
    target : Group
        Group with the variables ``on`` and ``error``.
    rule : PresynapticRule
        Of p, and of the rate of the strengths; either variant.
    learning_rate : float
        eta, >= 0.
    teaching : str or None
        Code the target runs between forward and learning, such as
        ``"error = 1/(1 + exp(-z)) - label(t, i); z = 0"``. None where another builder of the
        same target has set it up, or the target computes it on its own.
    strength : float or ndarray
        Strengths at the start.
    release_probability : float or None
        p at the start, in (0, 1]; None for ``rule.p_min``.
    weight_decay : float
        lambda, >= 0; not modulated.
    on : str
        Variable of the target that releases add to.
    error : str
        Variable of the target that holds the derivative of the loss in ``on``.
    activity : str or None
        Variable of the source that weighs its spikes; None for 1.
    connect : dict, str or None
        As for :func:`stochastic_synapses`; ``n`` is allowed.
    record : bool
        Whether ``recorder`` keeps (t, r, p, m, synapse) of each presentation, p and m =
        strength/p as they were in its forward pass.
    uniforms : ndarray or None
        As for :func:`stochastic_synapses`.
    name : str
        Name of the synapses.

    Returns
    -------
    brian2.Synapses
        Connected. A delay must be set on ``forward`` and ``learn`` alike.

    Raises
    ------
    ValueError
        If a number, a unit, a name or a shape does not fit.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884; the order of events in brian2: derived
    here.

    Examples
    --------
    One logistic layer, all of whose inputs are presented at each time step::

        inputs = NeuronGroup(40, "rate = pattern(t, i) : 1", threshold="True", reset="")
        outputs = NeuronGroup(3, "z : 1\nerror : 1")
        S = presynaptic_rule(
            inputs, outputs, PresynapticRule(0.07, 0.07, g_lim=1e-3), learning_rate=0.05,
            activity="rate", teaching="error = 1/(1 + exp(-z)) - label(t, i); z = 0",
        )
    """
    check_groups(source, target)
    if not isinstance(rule, PresynapticRule):
        raise ValueError(f"rule = {shown(rule)}: must be a PresynapticRule")
    rates = {
        "rate_syn": as_number("learning_rate", learning_rate, low=0.0),
        "decay_syn": as_number("weight_decay", weight_decay, low=0.0),
    }
    p = rule.p_min if release_probability is None else release_probability
    p = as_share("release_probability", p, open_low=True)
    if not np.isfinite(np.asarray(strength, dtype=float)).all():
        raise ValueError(f"strength = {shown(strength)}: every one must be finite")
    for argument, variable in (("on", on), ("error", error)):
        _plain(argument, variable, writable(argument, variable, target, "target").dim)
    if error == on:
        raise ValueError(f"error = {error!r}: must not be the variable that releases add to")
    if activity is not None:
        if activity not in source.variables or activity.startswith("_"):
            raise ValueError(f"activity = {activity!r}: must be a variable of the source, or None")
        _plain("activity", activity, source.variables[activity].dim)
    if teaching is not None and not isinstance(teaching, str):
        raise ValueError(f"teaching = {shown(teaching)}: must be code for the target, or None")
    draw, names, numbers = draws(uniforms, source.clock)
    weigh = "" if activity is None else f"{activity}_pre*"
    recorder = EventRecorder(dict.fromkeys("rpm", no_unit()), ("r",))
    synapses = assemble(
        source,
        target,
        name=name,
        equations="""
        strength_syn : 1
        p_syn : 1
        released_syn : integer
        n_rel : integer
        energy_syn : 1
        """,
        on_pre={
            "forward": f"""
            chance_syn = {draw}
            released_syn = int(chance_syn < p_syn)
            amount_syn = strength_syn/p_syn
            {on}_post += {weigh}released_syn*amount_syn
            n_rel += released_syn
            energy_syn += released_syn*abs(amount_syn)
            """
            + ("kept_syn = keep_syn(t, released_syn, p_syn, amount_syn)" if record else ""),
            "learn": f"gradient_syn = {error}_post*{weigh}released_syn/p_syn\n" + _update(rule),
        },
        # an activity that is an expression is worked out here, from names of the source
        namespace=(source.namespace if activity else {}) | names | rates | _constants(rule),
        start={"strength_syn": strength, "p_syn": p},
        connect=connect,
        uniforms=numbers,
        recorder=recorder if record else None,
    )
    synapses.forward.order, synapses.learn.order = 0, 2
    if teaching is not None:
        target.run_regularly(teaching, when="synapses", order=1)
    return synapses


def _plain(name: str, variable: str, dimensions: Any) -> None:
    """Refuse a variable with a unit."""
    if dimensions is not no_unit():
        raise ValueError(
            f"{name} = {variable!r} is in {unit_name(dimensions)}: must be a plain number, as the"
            " rule's threshold is one"
        )


def _constants(rule: PresynapticRule) -> dict[str, float]:
    """Return the rule's numbers by their names in the code."""
    names = ("p_up", "p_down", "g_lim", "p_freeze", "p_min", "p_max")
    numbers = {f"{name}_syn": float(getattr(rule, name)) for name in names}
    return numbers | {"top_syn": 1.0 if rule.variant == "printed" else rule.p_max}


def _update(rule: PresynapticRule) -> str:
    """Return the code of one step, strength first, both with the p before it."""
    printed = rule.variant == "printed"
    return f"""
    room_syn = top_syn - p_syn
    up_syn = int(abs(gradient_syn) {">" if printed else ">="} g_lim_syn)
    moves_syn = int(p_syn {"<=" if printed else "<"} p_freeze_syn)
    slope_syn = gradient_syn{"*room_syn" if rule.rate_modulation else ""}
    strength_syn -= rate_syn*(slope_syn + decay_syn*strength_syn)
    size_syn = (up_syn*p_up_syn - (1 - up_syn)*p_down_syn){"" if printed else "*room_syn"}
    next_syn = clip(p_syn + size_syn, p_min_syn, p_max_syn)
    p_syn = moves_syn*next_syn + (1 - moves_syn)*p_syn
    """
