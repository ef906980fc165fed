"""Compiled meeting point of threads that share a run."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from synapses._philox_kernels import compiled

LINE = 8
"""Numbers that share a line of the processor's cache: every thread writes to its own."""

PATIENCE = 4096
"""Looks at another thread's progress before the processor is offered to others."""

give_way = types.ExternalFunction(
    "SwitchToThread" if os.name == "nt" else "sched_yield", types.intc()
)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Return where an element of a vector lies."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


@intrinsic  # type: ignore[untyped-decorator]  # numba is untyped
def _seen(_: Any, array: Any, _index: Any) -> Any:
    """Read a number that another thread writes, and all that it had written before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _address(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(array, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba is untyped
def _show(_: Any, array: Any, _index: Any, _value: Any) -> Any:
    """Write a number for other threads, after all that has been written before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _address(context, builder, signature.args[0], *arguments[:2])
        builder.store_atomic(arguments[2], place, "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), generate


@compiled
def meet(reached: np.ndarray, part: int, parts: int, window: int) -> None:
    """Wait until every part has come as far as this one."""
    _show(reached, part * LINE, window)
    for other in range(parts):
        looks = 0
        while _seen(reached, other * LINE) < window:
            looks += 1
            if looks > PATIENCE:
                give_way()
