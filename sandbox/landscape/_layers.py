"""What every linear layer contributes to the tangent kernel: its inputs and its derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sandbox.network.evaluation import as_inputs, watched
from sandbox.network.output_gradients import carried
from theory.checks import shown

__all__ = [
    "LayerFactors",
    "as_outputs",
    "fitting_inputs",
    "layer_factors",
    "products",
    "refuse_infinite",
    "refuse_layers",
    "refuse_mixing",
]

INSTEAD = "use dense_tangent_kernel, which forms the whole Jacobian"
AGREEMENT = {torch.float32: 1e-3, torch.float64: 1e-8}
"""Relative deviation by which outputs of a sample may depend on the batch around it."""


@dataclass(frozen=True, slots=True)
class LayerFactors:
    """One linear layer on some samples.

    Parameters
    ----------
    inputs : Tensor
        What the layer is fed.
    derivatives : Tensor
        Of the outputs of the same sample in the layer's pre-activations.
    weight, bias : bool
        Whether they are trained.
    """

    inputs: Float[Tensor, "sample in"]
    derivatives: Float[Tensor, "output sample out"]
    weight: bool
    bias: bool

    def similarity(self, other: LayerFactors) -> Tensor | None:
        """Return the factor of these samples and the other's, None for 1."""
        if not self.weight:
            return None
        found = self.inputs @ other.inputs.T
        return found.add_(1) if self.bias else found


def products(rows: dict[str, LayerFactors], columns: dict[str, LayerFactors]) -> Tensor:
    """Return the kernel between the samples of two blocks, (output, sample, output, sample)."""
    total = None
    for name in sorted(rows.keys() & columns.keys()):
        left, right = rows[name].derivatives, columns[name].derivatives
        found = (left.flatten(0, 1) @ right.flatten(0, 1).T).view(*left.shape[:2], *right.shape[:2])
        factor = rows[name].similarity(columns[name])
        if total is None:
            total = found if factor is None else found.mul_(factor[:, None])
        else:
            total = total.add_(found) if factor is None else total.addcmul_(found, factor[:, None])
    if total is None:  # each block reaches layers that the other does not
        left, right = (next(iter(factors.values())).derivatives for factors in (rows, columns))
        return left.new_zeros(*left.shape[:2], *right.shape[:2])
    return total


def fitting_inputs(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return inputs without a graph after checking them against the module's parameters."""
    if not isinstance(module, nn.Module):
        raise ValueError(f"module = {shown(module)}: must be a torch.nn.Module")
    inputs = as_inputs(inputs)
    trained = [p for p in module.parameters() if p.requires_grad]
    if not trained:
        raise ValueError(
            f"module = {type(module).__name__}: has no parameter that requires a gradient, so"
            " there is no tangent kernel"
        )
    kind, device = trained[0].dtype, trained[0].device
    if any(p.dtype != kind for p in trained) or kind not in AGREEMENT:
        kinds = sorted({str(p.dtype) for p in trained})
        raise ValueError(
            f"module has parameters of type {', '.join(kinds)}: must all be float32 or all float64"
        )
    if inputs.dtype != kind or inputs.device != device:
        raise ValueError(
            f"inputs are {inputs.dtype} on {inputs.device}: must be {kind} on {device}, as the"
            " module's parameters"
        )
    return inputs


def refuse_infinite(what: str, sums: Tensor) -> None:
    """Refuse what is not finite, named by its first sample; sums are cheaper to test."""
    if not sums.sum().isfinite():
        first = int((~sums.isfinite()).nonzero()[0])
        raise ValueError(f"{what}[{first}] is not finite: every entry must be a finite number")


def refuse_layers(module: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers that are trained, by name; refuse other trained layers."""
    layers: dict[str, nn.Linear] = {}
    owner: dict[int, str] = {}
    for name, part in module.named_modules():
        trained = {n: p for n, p in part.named_parameters(recurse=False) if p.requires_grad}
        if not trained:
            continue
        called = f"module.{name}" if name else "module"
        if type(part) is not nn.Linear or not trained.keys() <= {"weight", "bias"}:
            raise ValueError(
                f"{called} is {type(part).__name__} with the parameters {', '.join(trained)}:"
                " the layer-wise kernel knows torch.nn.Linear only; freeze them"
                f" (requires_grad_(False)) or {INSTEAD}"
            )
        for own, parameter in trained.items():
            if id(parameter) in owner:
                raise ValueError(
                    f"{called}.{own} is {owner[id(parameter)]}: tied parameters have no"
                    f" layer-wise kernel; {INSTEAD}"
                )
            owner[id(parameter)] = f"{called}.{own}"
        layers[called] = part
    return layers


def layer_factors(
    module: nn.Module, inputs: Tensor, layers: dict[str, nn.Linear]
) -> tuple[dict[str, LayerFactors], Tensor]:
    """Return what every layer contributes for these samples, and their outputs."""

    def rows(called: str, into: Tensor) -> Tensor:
        if into.ndim != 2 or len(into) != len(inputs):
            raise ValueError(
                f"{called} is fed {tuple(into.shape)}: must be (sample, feature) with"
                f" {len(inputs)} samples; {INSTEAD}"
            )
        return into.clone()

    with watched(layers, rows, f"; {INSTEAD}") as seen:
        outputs = module(inputs)
    outputs = as_outputs(outputs, len(inputs))
    used = _uses(outputs)
    reached: dict[str, tuple[Tensor, Tensor]] = {}
    for called, layer in layers.items():
        counts = [used.get(id(p), 0) for p in layer.parameters() if p.requires_grad]
        if any(count > 1 for count in counts) or (any(counts) and called not in seen):
            raise ValueError(f"{called} has parameters used outside its own call; {INSTEAD}")
        if any(counts):
            reached[called] = seen[called]
    if not reached:
        raise ValueError(
            f"module = {type(module).__name__}: its outputs depend on none of its trained"
            " parameters through torch's graph (is there a detach or a no_grad in it?)"
        )
    samples, width = outputs.shape
    chosen = torch.eye(width, dtype=outputs.dtype, device=outputs.device)
    columns = chosen[:, None].expand(width, samples, width)
    slopes = carried(outputs, [out for _, out in reached.values()], columns)
    factors = {}
    for (called, (into, _)), slope in zip(reached.items(), slopes, strict=True):
        if slope is None:
            raise ValueError(f"{called} has parameters used outside its own call; {INSTEAD}")
        weight, bias = layers[called].weight, layers[called].bias
        factors[called] = LayerFactors(
            into,
            slope,
            weight.requires_grad,
            bias is not None and bias.requires_grad,
        )
    return factors, outputs.detach()


def refuse_mixing(
    module: nn.Module, inputs: Tensor, outputs: Tensor, values: dict[str, Tensor] | None = None
) -> None:
    """Refuse a module that gives a sample other outputs when others stand beside it."""
    # the last one too: a running sum leaves the first alone
    for place in sorted({0, len(inputs) - 1}):
        one = (inputs[place : place + 1],)
        with torch.no_grad():
            alone = torch.func.functional_call(module, values, one) if values else module(*one)
        difference = (as_outputs(alone, 1) - outputs[place]).abs().max()
        if not difference <= AGREEMENT[inputs.dtype] * outputs.abs().max():
            raise ValueError(
                f"module = {type(module).__name__}: its outputs for inputs[{place}] depend on the"
                " other samples or on chance, even in evaluation mode; a kernel needs one function"
                " of each sample alone"
            )


def as_outputs(outputs: Any, samples: int) -> Tensor:
    """Return outputs as (sample, output) after checking them."""
    if not isinstance(outputs, Tensor) or outputs.ndim == 0 or len(outputs) != samples:
        found = tuple(outputs.shape) if isinstance(outputs, Tensor) else shown(outputs)
        raise ValueError(f"module gives {found}: must be a tensor of shape ({samples}, ...)")
    flat = outputs.reshape(samples, -1)
    refuse_infinite("outputs", flat.detach().sum(dim=1))
    return flat


def _uses(outputs: Tensor) -> dict[int, int]:
    """Return how often each parameter stands in the graph of the outputs, by its id."""
    found: dict[int, int] = {}
    waiting = [outputs.grad_fn] if outputs.grad_fn is not None else []
    done = set(waiting)
    while waiting:
        node = waiting.pop()
        for following, _ in node.next_functions:
            if following is None:
                continue
            leaf = getattr(following, "variable", None)
            if leaf is not None:
                found[id(leaf)] = found.get(id(leaf), 0) + 1
            elif following not in done:
                done.add(following)
                waiting.append(following)
    return found
