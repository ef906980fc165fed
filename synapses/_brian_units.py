"""What the builders for brian2 demand of their arguments: units, groups, state variables.

brian2 is imported when a builder is called, not when this module is: it takes seconds.
"""

from __future__ import annotations

import importlib
from typing import Any, TypeAlias

import numpy as np

from theory.checks import as_number, shown

Group: TypeAlias = Any
"""A brian2 group; brian2 has no types, and naming its classes would import it."""

Quantity: TypeAlias = Any
"""A number with a unit of brian2."""

BASE = {
    "m": "metre",
    "kg": "kilogram",
    "s": "second",
    "A": "amp",
    "K": "kelvin",
    "mol": "mole",
    "cd": "candle",
}
"""Units that every other is a product of: symbol, and name in equations."""


def brian() -> Any:
    """Return the module brian2."""
    return importlib.import_module("brian2")


def in_this_process(device: Any = None) -> bool:
    """Return whether a device (the active one) simulates here, not in a project of its own."""
    runtime = importlib.import_module("brian2.devices.device").RuntimeDevice
    return isinstance(device or brian().get_device(), runtime)


def no_unit() -> Any:
    """Return the dimensions of a plain number."""
    return importlib.import_module("brian2.units.fundamentalunits").DIMENSIONLESS


def unit_name(dimensions: Any) -> str:
    """Return a unit in the words of brian2's equations, which know no parentheses."""
    if dimensions is no_unit():
        return "1"
    word = repr(brian().get_unit(dimensions))
    if word.isidentifier():
        return word
    powers = {name: dimensions.get_dimension(symbol) for symbol, name in BASE.items()}
    return "*".join(f"{name}**{power:g}" for name, power in powers.items() if power)


def as_quantity(name: str, value: Any, dimensions: Any, because: str) -> Quantity:
    """Return a scalar quantity of the dimensions wanted."""
    b2 = brian()
    unit = unit_name(dimensions)
    wanted = "a plain number" if unit == "1" else f"in {unit}"
    try:
        have = b2.get_dimensions(value)
        size = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {shown(value)}: must be {wanted}, {because}") from None
    if have is not dimensions:
        what = "has no unit" if unit_name(have) == "1" else f"is in {unit_name(have)}"
        raise ValueError(f"{name} = {shown(value)} {what}: must be {wanted}, {because}")
    if size.ndim or not np.isfinite(size):
        raise ValueError(f"{name} = {shown(value)}: must be one finite number")
    return b2.Quantity(float(size), dim=dimensions)


def as_duration(name: str, value: Any) -> Quantity:
    """Return a time constant above zero."""
    duration = as_quantity(name, value, brian().second.dim, "for example 100 * ms")
    if not float(duration) > 0:
        raise ValueError(f"{name} = {shown(value)}: must be > 0 s")
    return duration


def as_share(name: str, value: Any, *, open_low: bool = False) -> float:
    """Return a number in [0, 1] that has no unit; float() of brian2 would drop one silently."""
    number = as_quantity(name, value, no_unit(), "being a share")
    return as_number(name, float(number), low=0.0, high=1.0, open_low=open_low)


def check_groups(source: Group, target: Group, *, target_spikes: bool = False) -> None:
    """Refuse what cannot send spikes, and what has no variables."""
    spiking = importlib.import_module("brian2.core.spikesource").SpikeSource
    group = importlib.import_module("brian2.groups.group").Group
    if not isinstance(source, spiking) or "_spikespace" not in source.variables:
        raise ValueError(
            f"source = {shown(source)}: must be a brian2 group that spikes (a NeuronGroup with a"
            " threshold, a PoissonGroup, a SpikeGeneratorGroup)"
        )
    if not isinstance(target, group):
        raise ValueError(f"target = {shown(target)}: must be a brian2 group")
    if target_spikes and "_spikespace" not in target.variables:
        raise ValueError(
            f"target = {shown(target)}: must spike, for its spikes are part of the rule; give it a"
            " threshold"
        )


def writable(name: str, value: str, group: Group, role: str) -> Any:
    """Return a state variable of a group that an equation may write."""
    array = importlib.import_module("brian2.core.variables").ArrayVariable
    open_ones = sorted(
        key
        for key, variable in group.variables.items()
        if isinstance(variable, array)
        and not (variable.read_only or variable.scalar or variable.constant)
        and not key.startswith("_")
    )
    if value not in open_ones:
        listed = ", ".join(repr(key) for key in open_ones) or "none: it has no state variable"
        raise ValueError(
            f"{name} = {shown(value)}: must be a state variable of the {role} that can be written"
            f" ({listed})"
        )
    return group.variables[value]
