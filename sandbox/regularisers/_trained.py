"""What of a model can be read from layers' factors, and what needs gradients of single inputs."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sandbox.network.columns import layer_columns
from sandbox.network.evaluation import evaluated
from sandbox.network.layers import FactorLayer, factor_layers
from sandbox.network.output_gradients import Index, Likelihood
from synapses.layers import mean_weights
from theory.checks import shown

__all__ = ["Trained", "as_rows", "chosen_outputs", "still", "trained_parameters"]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A model's trained parameters, sorted by how their gradients are taken.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    parameters : dict
        All that are trained, by name.
    layers : list of FactorLayer
        Whose gradients at an input are sums of products of what is fed and what comes back.
    rest : list of str
        Names of the parameters of none of these layers.
    outputs : int
        Entries of the outputs that count, an input.
    passing : int
        Entries of all layers' outputs, an input; and of a row of the widest layer that sees
        several positions, whose gradients at single inputs are formed row by row.
    fed : int
        Entries of the layers' input rows, an input.
    """

    model: nn.Module
    parameters: dict[str, Tensor]
    layers: list[FactorLayer]
    rest: list[str]
    outputs: int
    passing: int
    fed: int

    @classmethod
    def of(
        cls,
        model: nn.Module,
        inputs: Tensor,
        likelihood: Likelihood,
        columns: Index | None,
        remedy: str,
    ) -> Trained:
        """Look at a model by means of one or two inputs.

        A layer counts as one with factors only if these give autograd's gradient: weights may
        be used in further places that no module tells of.

        Parameters
        ----------
        model : torch.nn.Module
            The network.
        inputs : Tensor
            The first one or two.
        likelihood : {"categorical", "gaussian"}
            What the outputs must be fit for.
        columns : index or None
            Which outputs count.
        remedy : str
            What to do where outputs are no class scores.

        Returns
        -------
        Trained
            At the parameters as they are now.

        Raises
        ------
        ValueError
            If nothing is trained, outputs do not fit, or an input's outputs depend on others.
        """
        parameters = trained_parameters(model)
        layers = factor_layers(model, skip=_shared(model))[0]
        with still(model), torch.enable_grad():
            with _counted(model) as sizes, _fed(layers) as seen:
                flat = chosen_outputs(model, inputs[:1], likelihood, columns, remedy)
            fed = sum(where.rows for where in seen.values())
            formed = [x.columns for x in layers if seen[x.name].rows > x.columns]
            passing = sum(sizes) + max(formed, default=0)
            alone = [layer for layer in layers if seen[layer.name].fits(1)]
            if len(inputs) > 1:
                with _fed(layers) as seen:
                    pair = chosen_outputs(model, inputs[:2], likelihood, columns, remedy)
                _check_apart(flat, pair)
                alone = [layer for layer in alone if seen[layer.name].fits(2)]
            alone = _agreeing(model, alone, inputs[:2], likelihood, columns)
        taken = {id(p) for layer in alone for p in layer.parameters}
        rest = [name for name, p in parameters.items() if id(p) not in taken]
        return cls(model, parameters, alone, rest, flat.shape[1], passing, fed)


def trained_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that want gradients, by name."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model = {shown(model)}: must be a torch.nn.Module")
    found: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise ValueError(
            f"model = {type(model).__name__}: has no trained parameter; importance is that of"
            " parameters with requires_grad"
        )
    return found


@contextmanager
def still(model: nn.Module) -> Generator[None]:
    """Evaluate a model in full precision without drawing anything, and leave it as it is."""
    device = next(model.parameters()).device
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with warnings.catch_warnings(), evaluated(model, device), mean_weights(model):
            # of operations that torch maps one by one: slow, right, and nobody's to mend here
            warnings.filterwarnings("ignore", "There is a performance drop")
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


def chosen_outputs(
    model: nn.Module,
    inputs: Tensor,
    likelihood: Likelihood,
    columns: Index | None,
    remedy: str = "",
) -> Tensor:
    """Return a model's outputs as (sample, output), with their graph, after checking them."""
    made = model(inputs)
    if not isinstance(made, Tensor) or not made.is_floating_point():
        raise ValueError(
            f"model(inputs) = {shown(made)}: the model must return one tensor of real numbers"
        )
    if made.ndim < 2 or len(made) != len(inputs) or not made.numel():
        raise ValueError(
            f"outputs have shape {tuple(made.shape)}: must be ({len(inputs)}, output), a row an"
            " input"
        )
    try:
        chosen = made if columns is None else made[:, columns]
    except (IndexError, TypeError) as error:
        raise ValueError(
            f"columns = {shown(columns)}: must choose from {made.shape[1]} outputs ({error})"
        ) from None
    if not chosen.numel() or chosen.ndim < 2:
        raise ValueError(f"columns = {shown(columns)}: must leave at least one output of several")
    if likelihood == "categorical" and (chosen.ndim != 2 or chosen.shape[1] < 2):
        raise ValueError(
            f"outputs have shape {tuple(chosen.shape)}: labels have probabilities where there are"
            f" scores of at least two classes, (sample, class); {remedy}"
        )
    if not chosen.requires_grad:
        raise ValueError("outputs carry no graph: is there a detach or a no_grad in the model?")
    return as_rows(chosen, None)


def as_rows(made: Tensor, columns: Index | None) -> Tensor:
    """Return the outputs that count as (sample, output), in single precision at least."""
    flat = (made if columns is None else made[:, columns]).flatten(1)
    return flat if flat.dtype == torch.float64 else flat.float()


@dataclass(slots=True)
class _Place:
    """Where a layer was seen in one forward pass."""

    calls: int = 0
    samples: int = 0
    rows: int = 0

    def fits(self, samples: int) -> bool:
        """Tell whether samples lie apart in front, or the layer was not called at all."""
        return self.calls == 0 or (self.calls == 1 and self.samples == samples)


def _shared(model: nn.Module) -> list[str]:
    """Return the names of layers with a parameter that is used under another name too."""
    places: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        places.setdefault(id(parameter), []).append(name)
    owners = {
        name.rpartition(".")[0] for names in places.values() if len(names) > 1 for name in names
    }
    kinds = (nn.Linear, nn.Conv2d)
    return [name for name, part in model.named_modules() if name in owners and type(part) in kinds]


@contextmanager
def _counted(model: nn.Module) -> Generator[list[int]]:
    """Count the entries of the outputs of all modules without parts."""
    sizes: list[int] = []

    def count(_: nn.Module, __: Any, made: Any) -> None:
        sizes.extend(part.numel() for part in _tensors(made))

    leaves = [part for part in model.modules() if not any(part.children())]
    handles = [part.register_forward_hook(count) for part in leaves]
    try:
        yield sizes
    finally:
        for handle in handles:
            handle.remove()


def _tensors(made: Any) -> Iterator[Tensor]:
    """Give the tensors in what a module returned."""
    if isinstance(made, Tensor):
        yield made
    elif isinstance(made, tuple | list):
        for part in made:
            yield from _tensors(part)


@contextmanager
def _fed(layers: list[FactorLayer]) -> Generator[dict[str, _Place]]:
    """Note how often layers are called, and the shape of what they are fed."""
    seen = {layer.name: _Place() for layer in layers}

    def hook(layer: FactorLayer) -> Any:
        def note(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Tensor) -> None:
            into = layer.samples(args[0] if args else named["input"])
            place = seen[layer.name]
            place.calls += 1
            place.samples = len(into)
            place.rows = out.numel() // layer.out * layer.columns

        return note

    handles = [
        layer.module.register_forward_hook(hook(layer), prepend=True, with_kwargs=True)
        for layer in layers
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _check_apart(one: Tensor, pair: Tensor) -> None:
    """Refuse a model whose answer to an input depends on the others of its batch."""
    first, alone = pair[0].detach(), one[0].detach()
    bound = torch.finfo(one.dtype).eps ** 0.5 * (1 + float(alone.abs().max()))
    if float((first - alone).abs().max()) > bound:
        raise ValueError(
            "outputs for one input change with the other inputs of its batch, or from one call to"
            " the next: importance is a mean over single inputs (is there batch normalisation"
            " without running statistics, or dropout in evaluation mode?)"
        )


def _agreeing(
    model: nn.Module,
    layers: list[FactorLayer],
    inputs: Tensor,
    likelihood: Likelihood,
    columns: Index | None,
) -> list[FactorLayer]:
    """Return the layers whose factors give autograd's gradient here, of a model that is still."""
    if not layers:
        return layers

    def probe(flat: Tensor) -> Tensor:
        # no two outputs alike, so that nothing cancels for reasons of symmetry
        return (
            (1 + torch.arange(flat.numel(), device=flat.device)).sqrt().to(flat).view_as(flat)[None]
        )

    found = layer_columns(model, layers, inputs, probe, likelihood=likelihood, outputs=columns)
    flat = chosen_outputs(model, inputs, likelihood, columns)
    every = [p for layer in layers for p in layer.parameters]
    slopes = iter(torch.autograd.grad(flat, every, probe(flat)[0], allow_unused=True))
    kept = []
    for layer, part in zip(layers, found, strict=True):
        own = [(p, next(slopes)) for p in layer.parameters]
        wanted = layer.matrix(*(torch.zeros_like(p) if g is None else g for p, g in own))
        made = part.combined(part.slopes.new_ones(part.columns))
        bound = torch.finfo(wanted.dtype).eps ** 0.5 * float(wanted.abs().max())
        if not float((made - wanted).abs().max()) > bound:  # what is not a number is found later
            kept.append(layer)
    return kept
