"""Looking at a network: inputs checked, modes put back, full precision, layers watched."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from theory.checks import shown

__all__ = ["as_inputs", "evaluated", "in_full_precision", "watched"]

P = ParamSpec("P")
R = TypeVar("R")


def as_inputs(inputs: object, called: str = "inputs") -> Tensor:
    """Return inputs without a graph, or say what is wrong with them.

    Parameters
    ----------
    inputs : object
        What should be a non-empty, finite tensor (sample, ...).
    called : str
        Its name in messages.

    Returns
    -------
    Tensor
        Not a copy.

    Raises
    ------
    ValueError
        If it is none, by the first sample that is not finite.

    Examples
    --------
    >>> as_inputs(torch.tensor([[1.0], [torch.nan]]))
    Traceback (most recent call last):
    ValueError: inputs[1] is not finite: every entry must be a finite number
    """
    if not isinstance(inputs, Tensor) or inputs.ndim < 2 or not inputs.numel():
        wrong = tuple(inputs.shape) if isinstance(inputs, Tensor) else shown(inputs)
        raise ValueError(f"{called} = {wrong}: must be a non-empty tensor of shape (sample, ...)")
    if inputs.is_floating_point() and not inputs.sum().isfinite():
        finite = inputs.flatten(1).isfinite().all(dim=1)
        # a sum of finite numbers may overflow
        if not finite.all():
            first = int((~finite).nonzero()[0])
            raise ValueError(
                f"{called}[{first}] is not finite: every entry must be a finite number"
            )
    return inputs.detach()


@contextmanager
def evaluated(model: nn.Module, device: torch.device) -> Generator[None]:
    """Put a model into evaluation mode and full precision; put modes and randomness back after.

    Parameters
    ----------
    model : torch.nn.Module
        Its parts may be in different modes.
    device : torch.device
        Where it is evaluated.
    """
    modes = [(part, part.training) for part in model.modules()]
    devices = [device] if device.type == "cuda" else []
    try:
        with (
            torch.random.fork_rng(devices=devices),
            torch.autocast(device.type, enabled=False),
        ):
            model.eval()
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def in_full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function outside autocast, which would multiply in half precision.

    Parameters
    ----------
    function : callable
        Of any arguments.

    Returns
    -------
    callable
        The same, wrapped.
    """

    @wraps(function)
    def wrapped(*args: P.args, **named: P.kwargs) -> R:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **named)

    return wrapped


@contextmanager
def watched(
    modules: Mapping[str, nn.Module], rows: Callable[[str, Tensor], Tensor], shared: str
) -> Generator[dict[str, tuple[Tensor, Tensor]]]:
    """Keep what modules are fed and what they put out in one forward pass.

    Parameters
    ----------
    modules : mapping
        By what messages call them.
    rows : callable
        Gives what is kept, from what the module is called and its input without a graph.
    shared : str
        Ends the message about a module that is called twice.

    Yields
    ------
    dict
        Rows and outputs, with their graph, of every module that was called, as it goes on.

    Raises
    ------
    ValueError
        In the forward pass, if a module is called twice.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def hook(called: str) -> Any:
        def keep(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Tensor) -> Tensor:
            into: Tensor = args[0] if args else named["input"]
            if called in seen:
                raise ValueError(
                    f"{called} is used twice in one forward pass: its weights are shared between"
                    f" the two places{shared}"
                )
            seen[called] = (rows(called, into.detach()), out)
            # what follows may overwrite its input, as ReLU(inplace=True) does
            return out.clone()

        return keep

    handles = [
        module.register_forward_hook(hook(called), prepend=True, with_kwargs=True)
        for called, module in modules.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
