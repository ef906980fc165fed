"""Words of the command line, and of files, as methods and strengths."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from cyclopts import Token

__all__ = ["method_names", "strengths_of", "text"]


def _split(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


def method_names(_: Any, tokens: tuple[Token, ...]) -> tuple[str, ...]:
    """Return names from ``si,sos`` on the command line, or from a list in a file."""
    return tuple(name for token in tokens for name in _split(token.value))


def text(_: Any, tokens: tuple[Token, ...]) -> str:
    """Return words as they are; a number in a file is text as well."""
    return ",".join(token.value for token in tokens)


def strengths_of(given: str, names: Sequence[str]) -> dict[str, float | None]:
    """Return every method's strength from ``published``, a number, or NAME=NUMBER parts."""
    from sandbox.continual.methods import METHODS
    from theory.checks import as_number, shown

    general: float | None = None
    own: dict[str, float] = {}
    for word in _split(str(given)):
        name, equals, number = (part.strip() for part in word.rpartition("="))
        if equals and name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"strength = {shown(given)}: {name!r} is not among the regularisers"
                f" {', '.join(names)}; the nearest is {near!r}"
            )
        if not equals and number == "published":
            continue
        try:
            value = as_number("strength", float(number), low=0.0)
        except ValueError:
            raise ValueError(
                f"strength = {shown(given)}: {word!r} is neither published, nor a number >= 0, nor"
                " NAME=NUMBER"
            ) from None
        if (name in own) if equals else (general is not None):
            raise ValueError(
                f"strength = {shown(given)}: {word!r} comes after another number for the same"
            )
        if equals:
            own[name] = value
        else:
            general = value
    found: dict[str, float | None] = {}
    for name in names:
        penalised = name in METHODS and METHODS[name].kind != "nothing"
        if name in own and not penalised:
            raise ValueError(f"strength = {shown(given)}: {name!r} has no penalty")
        value_of = own.get(name, general)
        if penalised and value_of is None:
            value_of = METHODS[name].strength
            if value_of is None:
                raise ValueError(
                    f"strength = {shown(given)}: none was published for {name!r}; choose one, e.g."
                    f" {name}=0.001"
                )
        found[name] = value_of if penalised else None
    return found
