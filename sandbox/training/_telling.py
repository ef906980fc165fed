"""What a command tells of what optimisers and warnings say: every message once, one line each."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

__all__ = ["briefly", "told_by_optimizer"]


def told_by_optimizer(problem: RuntimeError) -> bool:
    """Tell whether an optimiser gives up, with a reason: no mistake of the program."""
    place = problem.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    name = "" if place is None else str(place.tb_frame.f_globals.get("__name__"))
    return type(problem) is RuntimeError and name.startswith("sandbox.optim.")


@contextmanager
def briefly(prefix: str = "") -> Generator[None]:
    """Let optimisers log every message once for a while, and print warnings as single lines."""
    log, once = logging.getLogger("sandbox.optim"), _Once()

    def tell(message: Warning | str, *_: Any) -> None:
        print(f"sandbox: {prefix}{message}", file=sys.stderr)

    log.addFilter(once)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = tell  # type: ignore[assignment]  # needs the message alone
            yield
    finally:
        log.removeFilter(once)


class _Once(logging.Filter):
    """Lets every message through once: an optimiser may repeat itself in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a message is new."""
        message = record.getMessage()
        new = message not in self.seen
        self.seen.add(message)
        return new
