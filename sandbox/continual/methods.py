"""The methods against forgetting by name: which importance, measured when, how strong."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from theory.checks import one_of, shown

__all__ = ["METHODS", "Method", "find_method"]

Kind = Literal["nothing", "task's end", "path", "norm"]


@dataclass(frozen=True, slots=True)
class Method:
    """What protects the weights of learned tasks.

    Parameters
    ----------
    kind : {"nothing", "task's end", "path", "norm"}
        No protection; an importance that an estimator finds when a task is learned; one that is
        summed over the steps of the task; or a norm of the weights, without an importance.
    about : str
        What it is, in words.
    estimator : str
        The estimator of :mod:`sandbox.regularisers` that finds an importance at a task's end.
    options : mapping
        What it is told, or what :class:`sandbox.regularisers.SynapticIntelligence` is.
    strength : float or None
        c, as tuned by the authors for permuted MNIST; None where none was published.
    re_init : bool
        Whether they drew the weights anew at every task's start there.

    Raises
    ------
    ValueError
        If the kind is unknown.

    References
    ----------
    Benzing (2022), "Unifying importance based regularisation methods for continual learning",
    arXiv:2006.06357, and its program: strengths and re-initialisation for ten permuted MNIST
    tasks, 784-2000-2000-10, Adam with learning rate 0.001, batches of 256.

    Examples
    --------
    >>> from dataclasses import replace
    >>> batched = replace(METHODS["ewc"], options={"labels": "batched"})
    >>> METHODS["ewc"].options["labels"], batched.options["labels"]
    ('exact', 'batched')
    """

    kind: Kind
    about: str
    estimator: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    strength: float | None = None
    re_init: bool = False

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("nothing", "task's end", "path", "norm"))
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    @property
    def independent(self) -> bool:
        """Whether every step needs the gradient of a second batch."""
        options = self.options
        return self.kind == "path" and (
            options.get("variant") in {"siu", "sib"} or options.get("alpha", 0.0) != 0.0
        )


def _end(
    about: str,
    estimator: str,
    strength: float | None,
    *,
    re_init: bool = False,
    **options: str,
) -> Method:
    """Return a method whose importance is found at a task's end."""
    return Method("task's end", about, estimator, options, strength, re_init)


def _path(about: str, strength: float, **options: str | float) -> Method:
    """Return a method whose importance is summed along the path."""
    return Method("path", about, "", options, strength, re_init=True)


METHODS: dict[str, Method] = {
    "none": Method("nothing", "no protection"),
    "ewc": _end("diagonal of the Fisher matrix", "fisher_diagonal", 1000.0, labels="exact"),
    "root-fisher": _end("root of the Fisher diagonal", "root_fisher", 2.0),
    "absolute-fisher": _end(
        "mean modulus of the log-likelihood's gradient", "absolute_fisher", 200.0
    ),
    "mas": _end(
        "gradient of the squared norm of the probabilities",
        "memory_aware",
        500.0,
        output="probability",
        reduce="norm",
    ),
    "masx": _end(
        "the same of the largest probability alone; it has the strength of mas",
        "memory_aware",
        500.0,
        output="probability",
        reduce="max",
    ),
    "mas-logit": _end(
        "gradient of the squared norm of the outputs before the softmax",
        "memory_aware",
        0.001,
        re_init=True,
        output="logit",
        reduce="norm",
    ),
    "si": _path("gradient times step, summed along the path", 0.2, variant="si"),
    "siu": _path("the same with gradients of independent batches", 2.0, variant="siu"),
    "sib": _path("the difference of the two, the bias of si", 0.5, variant="sib"),
    "sos": _path("root of the gradient's second moment", 1.0, variant="sos", alpha=0.0),
    "sos-large-batch": _path(
        "the same of the difference of two gradients; tuned for batches of 2048",
        10.0,
        variant="sos",
        alpha=1.0,
    ),
    "ratio-norm": Method("norm", "ratio of the l1 norm to the l2 norm of every weight matrix"),
}
"""All methods by name."""


def find_method(name: str | Method) -> Method:
    """Return a method by name.

    Parameters
    ----------
    name : str or Method
        A key of :data:`METHODS`, or a method, which is returned.

    Returns
    -------
    Method
        What the name stands for.

    Raises
    ------
    ValueError
        If there is none of this name; the message names the nearest.

    Examples
    --------
    >>> find_method("sos").about
    "root of the gradient's second moment"
    """
    if isinstance(name, Method):
        return name
    if name not in METHODS:
        near = difflib.get_close_matches(str(name), METHODS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"method = {shown(name)}: must be one of {', '.join(METHODS)}; the nearest is {near!r}"
        )
    return METHODS[name]
