"""Constants of the energy models: values, units, sources, and which of them are assumptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["ATP_CONSTANTS", "EXPONENTS", "AtpConstant"]


@dataclass(frozen=True, slots=True)
class AtpConstant:
    """A number of ATP molecules, where it comes from, and whether that was checked.

    Parameters
    ----------
    value : float
        The number.
    unit : str
        ATP per what.
    source : str
        Where it comes from.
    assumption : bool
        True where no text that states the number was found: it is then what is usually
        quoted, and may be wrong.
    """

    value: float
    unit: str
    source: str
    assumption: bool


BUDGET = "Attwell & Laughlin (2001), J. Cereb. Blood Flow Metab. 21:1133-1145"
QUOTED = f"usually quoted from {BUDGET}; not checked against the article"

ATP_CONSTANTS: Mapping[str, AtpConstant] = MappingProxyType({
    "action_potential": AtpConstant(3.84e8, "ATP/spike", QUOTED, True),
    "presynaptic_calcium": AtpConstant(
        12_000.0, "ATP/vesicle", f"{BUDGET}, p. 1136; BioNumbers 108626", False
    ),
    "nmda_receptors": AtpConstant(
        70_000.0, "ATP/vesicle", f"{BUDGET}, p. 1136; BioNumbers 108625", False
    ),
    "non_nmda_receptors": AtpConstant(67_000.0, "ATP/vesicle", QUOTED, True),
    "metabotropic_receptors": AtpConstant(3_000.0, "ATP/vesicle", QUOTED, True),
    "vesicle_cycling": AtpConstant(400.0, "ATP/vesicle", QUOTED, True),
    "glutamate_recycling": AtpConstant(11_000.0, "ATP/vesicle", QUOTED, True),
})
"""Energy of a spike and of a vesicle, of a rodent's cortex, in molecules of ATP."""

EXPONENTS: Mapping[str, float] = MappingProxyType({
    "calcium": 1 / 2,
    "membrane": 2 / 3,
    "actin": 4 / 3,
    "trafficking": 2.0,
})
"""How the cost of reliability falls with the standard deviation, by mechanism: Malkin et al.
(2024), eLife 12:RP92595: calcium efflux, vesicle membrane, actin, vesicle trafficking."""
