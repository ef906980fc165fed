"""What the bridge to brian2 needs beyond the builders: synapses that stay, what a rule was."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy as np
from numpy import ndarray

from synapses._brian_build import assemble
from synapses._brian_draws import draws
from synapses._brian_events import EventRecorder
from synapses._brian_rule import _update
from synapses._brian_units import Group, Quantity, as_quantity, no_unit, unit_name, writable
from synapses.rule import PresynapticRule
from theory.checks import shown


def still_synapses(
    source: Group,
    target: Group,
    weight: ndarray,
    p: ndarray,
    *,
    quantal: bool,
    unit: Quantity | None,
    on: str,
    activity: str | None,
    record: bool,
    uniforms: ndarray | None,
    name: str,
) -> Any:
    """Return synapses that hold torch's numbers as they are and do not learn."""
    dimensions = writable("on", on, target, "target").dim
    size = as_quantity("unit", 1.0 if unit is None else unit, dimensions, f"as {on} of target is")
    if activity is not None:
        found = source.variables.get(activity)
        if found is None or activity.startswith("_") or found.dim is not no_unit():
            raise ValueError(
                f"activity = {activity!r}: must be a variable of the source that is a plain number,"
                " or None"
            )
    weigh = "" if activity is None else f"{activity}_pre*"
    draw, names, numbers = draws(uniforms, source.clock)
    recorder = EventRecorder({"r": no_unit(), "p": no_unit(), "m": dimensions}, ("r",))
    kept = "m_syn" if quantal else "strength_syn"
    return assemble(
        source,
        target,
        name=name,
        equations=f"""
        {kept} : 1
        p_syn : 1
        n_rel : integer
        energy_syn : {unit_name(dimensions)}
        """,
        on_pre=f"""
        chance_syn = {draw}
        released_syn = int(chance_syn < p_syn)
        amount_syn = {"m_syn" if quantal else "strength_syn/p_syn"}*unit_syn
        {on}_post += {weigh}released_syn*amount_syn
        n_rel += released_syn
        energy_syn += released_syn*abs(amount_syn)
        """
        + ("kept_syn = keep_syn(t, released_syn, p_syn, amount_syn)" if record else ""),
        namespace=(source.namespace if activity else {}) | names | {"unit_syn": size},
        start={kept: weight, "p_syn": p},
        connect=None,
        uniforms=numbers,
        recorder=recorder if record else None,
    )


def learning_of(synapses: Any) -> tuple[PresynapticRule, float, float] | None:
    """Return rule, learning rate and weight decay as they stand in the synapses."""
    names = synapses.namespace
    if "rate_syn" not in names:
        return None
    fields = ("p_up", "p_down", "g_lim", "p_freeze", "p_min", "p_max")
    numbers = {field: float(names[f"{field}_syn"]) for field in fields}
    code = _lines(synapses.learn.code)
    for variant, modulation in itertools.product(("printed", "program"), (True, False)):
        rule = PresynapticRule(**numbers, variant=variant, rate_modulation=modulation)  # type: ignore[arg-type]  # of the two
        wanted = _lines(_update(rule))
        if code[-len(wanted) :] == wanted:
            return rule, float(names["rate_syn"]), float(names["decay_syn"])
    raise ValueError(
        "synapses: the code of the pathway 'learn' is no presynaptic rule's; build them with"
        " presynaptic_rule or to_brian"
    )


def _lines(code: str) -> list[str]:
    """Return the lines of code, indentation aside."""
    return [line.strip() for line in code.splitlines() if line.strip()]


def biases_of(target: Group, bias: str | None, biases: Any) -> Any:
    """Return the view of the target's variable that has the biases, None if there are none."""
    if biases is None:
        if bias is not None:
            raise ValueError(f"bias = {bias!r}: must be None, as the layer has no biases")
        return None
    if bias is None:
        raise ValueError(
            f"bias = None: the layer has {len(biases)} biases, which are no synapses; name the"
            " variable of the target that holds them, or build the layer with bias=False"
        )
    array = importlib.import_module("brian2.core.variables").ArrayVariable
    found = target.variables.get(bias)
    fits = isinstance(found, array) and not (found.read_only or found.scalar)
    if not fits or found.dim is not no_unit() or np.dtype(found.dtype).kind != "f":
        raise ValueError(
            f"bias = {shown(bias)}: must be a state variable of the target that is a plain number,"
            f" such as '{bias} : 1 (constant)'"
        )
    return getattr(target, bias)
