"""From equations to connected synapses of brian2."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy import ndarray

from synapses._brian_draws import guard_class
from synapses._brian_events import EventRecorder
from synapses._brian_units import Group, brian, in_this_process
from theory.checks import shown

Connect: TypeAlias = Mapping[str, Any] | str | None
"""Arguments of ``Synapses.connect``, a condition, or None for all pairs."""

WORDS = ("condition", "i", "j", "p", "n", "skip_if_invalid", "namespace")
"""Arguments of ``Synapses.connect`` that may be handed on."""


def assemble(
    source: Group,
    target: Group,
    *,
    name: str,
    equations: str,
    on_pre: str | dict[str, str],
    on_post: str | None = None,
    namespace: dict[str, Any],
    start: dict[str, Any],
    connect: Connect,
    sites: int | None = None,
    uniforms: ndarray | None = None,
    recorder: EventRecorder | None = None,
) -> Any:
    """Return ``Synapses`` that are connected and set to their start."""
    words = _connect_words(connect, sites)
    if recorder is not None:
        namespace = {**namespace, "keep_syn": recorder.function()}
    codes = [on_post or "", *(on_pre.values() if isinstance(on_pre, dict) else [on_pre])]
    used = set(re.findall(r"\b\w+_syn\b", " ".join([equations, *codes]))) | set(namespace)
    taken = sorted(used & set(target.variables))
    if taken:
        # brian2 would take them for the neuron's, without a word where they are locals
        raise ValueError(
            f"target = {shown(target)}: has variables named {', '.join(taken)}, which the synapses"
            " use for their own; rename them"
        )
    synapses = brian().Synapses(
        source,
        target,
        model=equations,
        on_pre=on_pre,
        on_post=on_post,
        namespace=namespace,
        name=name,
    )
    synapses.connect(**words)
    if uniforms is not None:
        _guard(synapses, words, uniforms)
    for variable, value in start.items():
        setattr(synapses, variable, value)
    synapses.add_attribute("recorder")
    synapses.recorder = recorder
    return synapses


def _connect_words(connect: Connect, sites: int | None) -> dict[str, Any]:
    """Return the arguments of ``Synapses.connect``."""
    if connect is None:
        connect = {}
    elif isinstance(connect, str):
        connect = {"condition": connect}
    if not isinstance(connect, Mapping):
        raise ValueError(
            f"connect = {shown(connect)}: must be a condition, a dictionary of the arguments of"
            " Synapses.connect, or None for all pairs"
        )
    for word in connect:
        if word not in WORDS:
            raise ValueError(f"connect has the key {shown(word)}: must be among {', '.join(WORDS)}")
    # without a namespace brian2 would look names up among the locals of this function
    words = {"namespace": {}, **connect}
    if sites is not None:
        if "n" in words:
            raise ValueError(
                f"connect has n = {shown(words['n'])}: must be left out, as the number of release"
                f" sites ({sites}) says how many synapses join a pair"
            )
        words["n"] = sites
    return words


def _guard(synapses: Any, words: dict[str, Any], uniforms: ndarray) -> None:
    """Check the injected numbers against the synapses now, and against each run later."""
    count = _count(synapses, words)
    if uniforms.shape[1] != count:
        raise ValueError(
            f"uniforms has shape {uniforms.shape}: must have {count} columns, one a synapse"
            " (release sites count)"
        )
    synapses.contained_objects.append(guard_class()(synapses, len(uniforms)))


def _count(synapses: Any, words: dict[str, Any]) -> int:
    """Return the number of synapses, which a standalone project does not know before it runs."""
    if in_this_process():
        return len(synapses)
    sites = int(words.get("n", 1))
    if not words.keys() & {"condition", "i", "j", "p"}:
        return len(synapses.source) * len(synapses.target) * sites
    ends: list[Any] = [words.get("i"), words.get("j")]
    if "p" in words or any(end is None or isinstance(end, str) for end in ends):
        raise ValueError(
            f"connect = {shown(words)}: must be None, or arrays i and j, for uniforms to be checked"
            " in a standalone project"
        )
    return math.prod(np.broadcast_shapes(*(np.shape(end) for end in ends))) * sites
