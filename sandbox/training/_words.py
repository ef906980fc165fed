"""Words of the command line, and of files, as numbers."""

from __future__ import annotations

from typing import Any

from cyclopts import Token

__all__ = ["numbers", "whole", "widths_of"]


def whole(_: Any, tokens: tuple[Token, ...]) -> int:
    """Convert a word of the command line to a whole number.

    The parser's own conversion rounds 2.5 to 2 without a word.

    Parameters
    ----------
    _ : Any
        The type, which the parser hands over.
    tokens : tuple of cyclopts.Token
        The word.

    Returns
    -------
    int
        The number.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is not a whole number") from None


def numbers(_: Any, tokens: tuple[Token, ...]) -> tuple[float, ...]:
    """Convert ``0.9,0.99`` on the command line, or a list in a file, to numbers.

    Parameters
    ----------
    _ : Any
        The type, which the parser hands over.
    tokens : tuple of cyclopts.Token
        The words.

    Returns
    -------
    tuple of float
        The numbers.

    Raises
    ------
    ValueError
        If one is none.
    """
    words = [word for token in tokens for word in token.value.split(",") if word.strip()]
    try:
        return tuple(map(float, words))
    except ValueError:
        raise ValueError(f"{','.join(words)!r} are not numbers with commas between") from None


def widths_of(kind: Any, tokens: tuple[Token, ...]) -> tuple[int, ...]:
    """Return layer widths from ``64,64`` on the command line, or from a list in a file."""
    words = [word for token in tokens for word in token.value.split(",") if word.strip()]
    return tuple(whole(kind, (Token(value=word),)) for word in words)
