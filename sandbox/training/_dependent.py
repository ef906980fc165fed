"""Settings that depend on others: of the network that is chosen, of the average if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from sandbox.training.names import Initialisation

if TYPE_CHECKING:
    from sandbox.training.config import TrainConfig

__all__ = ["average_of", "network_of"]

SCALED = ("vgg11", "wrn18")
"""Architectures whose layers are given, up to a factor."""

AVERAGES: dict[str, dict[str, float]] = {
    "none": {},
    "exponential": {"average_decay": 0.999, "average_start": 0.0},
    "tail": {"average_start": 0.5},
}
"""Numbers that each average of the weights has, with their defaults."""


def network_of(config: TrainConfig) -> dict[str, Any]:
    """Return the architecture's own settings; refuse those of others."""
    from theory.checks import as_integer, as_number, one_of, shown

    scaled = config.model in SCALED
    found: dict[str, Any] = {}
    if scaled and config.widths is not None:
        raise ValueError(
            f"widths = {shown(config.widths)}: {config.model} has widths of its own; scale them"
            " with width_factor"
        )
    for name in ("width_factor", "batch_norm"):
        value = getattr(config, name)
        if value is not None and value is not False and not scaled:
            raise ValueError(
                f"{name} = {shown(value)}: {config.model} has none; it is for {', '.join(SCALED)}"
            )
    if scaled:
        given = 1.0 if config.width_factor is None else config.width_factor
        found["width_factor"] = as_number("width_factor", given, low=0.0, open_low=True)
    else:
        widths = (64, 64) if config.widths is None else config.widths
        if not isinstance(widths, list | tuple):
            raise ValueError(f"widths = {shown(widths)}: must be a list of layer widths")
        found["widths"] = tuple(as_integer(f"widths[{i}]", n, low=1) for i, n in enumerate(widths))
    start = ("kaiming-normal" if scaled else "torch") if config.init is None else config.init
    found["init"] = one_of("init", start, get_args(Initialisation))
    if (config.model == "autoencoder") != (config.loss == "reconstruction"):
        raise ValueError(
            f"loss = {config.loss!r}: an autoencoder, and nothing else here, is trained on"
            " loss 'reconstruction'"
        )
    if config.model == "autoencoder" and not found["widths"]:
        raise ValueError("widths = (): an autoencoder needs a width for its code")
    return found


def average_of(config: TrainConfig) -> dict[str, float]:
    """Return the numbers of the average, if there is one; refuse those of others."""
    from theory.checks import as_number, shown

    own = AVERAGES[config.average]
    found: dict[str, float] = {}
    for name in ("average_decay", "average_start"):
        value = getattr(config, name)
        if value is not None and name not in own:
            fitting = " or ".join(kind for kind, numbers in AVERAGES.items() if name in numbers)
            raise ValueError(
                f"{name} = {shown(value)}: average {config.average!r} has none; set average to"
                f" {fitting}"
            )
        if name in own:
            given = own[name] if value is None else value
            found[name] = as_number(name, given, low=0.0, high=1.0, open_high=True)
    return found
