"""State on disk: safetensors with a JSON description inside, written whole, checked when read.

One file holds a whole state: a tree of dicts, lists, tuples, numbers, text and tensors.
Nothing is pickled, so a file can be read without running anything that is in it.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from sandbox.bench.files import write_whole
from theory.checks import as_integer, as_number, shown

__all__ = ["CheckpointError", "Checkpoints", "read_state", "restore_optimizer", "write_state"]

FORMAT = "neurotheory-sandbox state 1"
"""What a file of ours says it is."""

STORABLE = {
    torch.bool,
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
}
"""Types of tensors that the format holds."""


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint; the message says why."""


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where and how often a training run is saved.

    A run is saved at the first step after ``seconds`` have passed, or ``steps`` steps
    were done since the last time, and when it ends. When it was saved changes
    nothing of what it computes.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``state.safetensors``; made if need be.
    seconds : float
        Time between two saves, >= 0.
    steps : int or None
        Steps between two saves; None to go by time alone.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    folder: Path
    seconds: float = 30.0
    steps: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        object.__setattr__(self, "seconds", as_number("seconds", self.seconds, low=0.0))
        if self.steps is not None:
            object.__setattr__(self, "steps", as_integer("steps", self.steps, low=1))

    @property
    def file(self) -> Path:
        """The file of the last save."""
        return self.folder / "state.safetensors"


def _encode(value: Any, at: str, tensors: dict[str, Tensor]) -> Any:
    """Return a tree as JSON, its tensors set aside under names of their own."""
    if value is None or isinstance(value, bool | str):
        return value
    if type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, Tensor | np.ndarray | np.generic):
        name = str(len(tensors))
        tensors[name] = _copied(value, at)
        kinds = ((Tensor, "tensor"), (np.ndarray, "array"), (np.generic, "scalar"))
        return {next(kind for type_, kind in kinds if isinstance(value, type_)): name}
    if isinstance(value, dict):
        pairs = [
            [_encode(key, f"{at} key", tensors), _encode(item, f"{at}[{key!r}]", tensors)]
            for key, item in value.items()
        ]
        return {"dict": pairs}
    if type(value) in {list, tuple}:
        items = [_encode(item, f"{at}[{i}]", tensors) for i, item in enumerate(value)]
        return {type(value).__name__: items}
    raise ValueError(
        f"{at} = {shown(value)} of type {type(value).__name__}: a state is made of dicts, lists,"
        " tuples, numbers, text, None, tensors and arrays"
    )


def _copied(value: Tensor | np.ndarray | np.generic, at: str) -> Tensor:
    """Return a dense copy on the CPU: the format refuses views that share memory."""
    try:
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
        copy = tensor.detach().cpu().resolve_conj().clone(memory_format=torch.contiguous_format)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise ValueError(f"{at}: cannot be stored ({problem})") from None
    if copy.dtype not in STORABLE:
        raise ValueError(f"{at} of type {copy.dtype}: cannot be stored; convert it first")
    return copy


def _decode(code: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the tree that :func:`_encode` wrote."""
    if not isinstance(code, dict):
        return code
    ((kind, content),) = code.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return tensors[content].numpy()
    if kind == "scalar":
        return tensors[content].numpy()[()]
    if kind == "float":
        return float(content)
    if kind == "dict":
        pairs = ((_decode(key, tensors), _decode(item, tensors)) for key, item in content)
        return dict(pairs)
    items = [_decode(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items


def _digest(tensors: dict[str, Tensor], tree: str) -> str:
    """Return SHA-256 over the tree and every tensor's type, shape and bytes."""
    digest = hashlib.sha256(tree.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_state(path: Path | str, state: dict[str, Any]) -> None:
    """Write a state: all of it under its name, or nothing.

    Parameters
    ----------
    path : pathlib.Path or str
        The file; its folder must exist.
    state : dict
        Any tree of dicts, lists, tuples, numbers, text, None, tensors and numpy arrays.

    Raises
    ------
    ValueError
        If the tree holds anything else.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "state.safetensors"
    >>> write_state(file, {"step": 3, "momentum": torch.ones(2, dtype=torch.float64)})
    >>> read_state(file)
    {'step': 3, 'momentum': tensor([1., 1.], dtype=torch.float64)}
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_encode(state, "state", tensors), allow_nan=False)
    marks = {"format": FORMAT, "tree": tree, "sha256": _digest(tensors, tree)}
    write_whole(Path(path), tensors_to_bytes(tensors, marks))


def read_state(path: Path | str) -> dict[str, Any]:
    """Read a state that :func:`write_state` wrote, bit for bit.

    Parameters
    ----------
    path : pathlib.Path or str
        The file.

    Returns
    -------
    dict
        The same tree; tensors are on the CPU, with the types they were saved with.

    Raises
    ------
    CheckpointError
        If the file is missing, pickled, truncated, damaged or not one of ours.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise CheckpointError(f"{path}: cannot be read ({problem.strerror})") from None
    # a header's length may begin with these bytes too, but the header itself begins with {
    if data[8:9] != b"{" and (data[:1] == b"\x80" or data[:2] == b"PK"):
        raise CheckpointError(
            f"{path}: a pickle (torch.save or pickle.dump); reading one would run code that is in"
            " it, so it is refused"
        )
    size = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if not 0 < size <= len(data) - 8:
        raise CheckpointError(f"{path}: truncated, or not a safetensors file ({len(data)} bytes)")
    try:
        marks = dict(json.loads(data[8 : 8 + size]).get("__metadata__", {}))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{path}: not a safetensors file, or a damaged one") from None
    if marks.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: a safetensors file of another program or version (its format is"
            f" {marks.get('format')!r}, not {FORMAT!r})"
        )
    try:
        tensors = tensors_from_bytes(data)
    except (SafetensorError, ValueError) as problem:
        raise CheckpointError(f"{path}: truncated or damaged ({problem})") from None
    tree = marks.get("tree", "")
    if _digest(tensors, tree) != marks.get("sha256"):
        raise CheckpointError(f"{path}: damaged (its SHA-256 is not the one it states)")
    state: dict[str, Any] = _decode(json.loads(tree), tensors)
    return state


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimiser a saved state back with every tensor's own type.

    torch's ``load_state_dict`` casts floating-point state to the type of its parameter;
    a float64 factor of a float32 parameter would lose half its digits. Here the types
    are put back afterwards, also those of an optimiser within (``optimizer.inner``).

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Made for the same parameters; changed in place.
    state : dict
        What its ``state_dict`` gave.

    Raises
    ------
    CheckpointError
        If the state is of other groups, or of another number of parameters.
    """
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError) as problem:
        raise CheckpointError(f"the optimiser's state does not fit: {problem}") from problem
    numbered = [p for group in optimizer.param_groups for p in group["params"]]
    for number, saved in state["state"].items():
        loaded = optimizer.state[numbered[number] if isinstance(number, int) else number]
        for key, value in saved.items():
            loaded[key] = _with_own_type(value, loaded.get(key))
    inner = getattr(optimizer, "inner", None)
    if isinstance(inner, torch.optim.Optimizer) and "inner" in state:
        restore_optimizer(inner, state["inner"])


def _with_own_type(saved: Any, loaded: Any) -> Any:
    """Return saved values where torch put the loaded ones, tensor by tensor."""
    if isinstance(saved, Tensor):
        device = loaded.device if isinstance(loaded, Tensor) else saved.device
        return saved.to(device, copy=True)
    if isinstance(saved, dict):
        known = loaded if isinstance(loaded, dict) else {}
        return {key: _with_own_type(item, known.get(key)) for key, item in saved.items()}
    if isinstance(saved, list | tuple):
        known_items = list(loaded) if isinstance(loaded, list | tuple) else [None] * len(saved)
        return type(saved)(map(_with_own_type, saved, known_items))
    return saved
