"""Hooks that hand an optimiser what its layers are fed, and where their outputs lead."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sandbox.network.hooks import ModuleHook, owners, sweep, transformed, weakly
from sandbox.network.layers import FactorLayer

__all__ = ["Capture", "Place"]

Place: TypeAlias = tuple[FactorLayer, Tensor, Tensor]
"""A layer, what it was fed (without graph) and its output (with it)."""

Wanted: TypeAlias = Callable[[FactorLayer], bool]
Arrived: TypeAlias = Callable[[FactorLayer, Tensor, Tensor | None], None]
Passed: TypeAlias = Callable[[list[Place], Any], None]
Reroute: TypeAlias = Callable[[FactorLayer, Tensor, Tensor], list[Tensor]]


class Capture:
    """Watches the layers of a model while it is trained.

    A pass through a layer counts if the layer is in training mode, gradients are enabled,
    ``wanted(layer)`` and no transform of ``torch.func`` is under way. Then either
    ``arrived(layer, inputs, gradient)`` is called when the backward pass reaches the layer's
    output, with the gradient in it, so that passes without a backward one leave no trace; or,
    if ``passed`` is given, ``passed(places, outputs)`` as soon as the model has returned its
    outputs, when the graph from the layers' outputs to them is still there:
    ``torch.autograd.grad(outputs, places, ..., retain_graph=True)`` works inside, unseen by
    whatever else watches the model by this class. What follows a layer may overwrite the
    layer's output in place.

    With ``reroute`` the backward pass of every layer takes the gradients of the layer's
    parameters from ``reroute(layer, inputs, gradient)``, that in its input as ever.

    Bound methods are held weakly, and the model's hooks hold this object weakly. Copies of
    the model, and what is pickled, carry inert hooks.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    layers : sequence of FactorLayer
        Its layers to watch.
    wanted : callable
        Whether a layer is to be watched now.
    arrived : callable or None
        Called in the backward pass.
    passed : callable or None
        Called at the end of the model's forward pass.
    reroute : callable or None
        Gives the gradients of ``layer.parameters``.

    Attributes
    ----------
    passes : int
        Forward passes of the whole model so far.
    busy : int
        How many backward passes of the model's watchers are under way; they are no training.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[FactorLayer],
        wanted: Wanted,
        *,
        arrived: Arrived | None = None,
        passed: Passed | None = None,
        reroute: Reroute | None = None,
    ) -> None:
        self._wanted, self._arrived = weakly(wanted), weakly(arrived)
        self._passed, self._reroute = weakly(passed), weakly(reroute)
        self._keeps = passed is not None
        self._reroutes = reroute is not None
        # by module, for hooks to hold nothing that holds the model
        self._layers = {id(layer.module): layer for layer in layers}
        self._places: list[Place] = []
        self._seen: dict[str, int] = {}
        self._depth = 0
        self.passes = 0
        self._observing, self.busy = False, 0
        handles: list[Any] = [
            layer.module.register_forward_hook(
                ModuleHook(self, "_layer", layer.module), prepend=True, with_kwargs=True
            )
            for layer in layers
        ]
        handles += [
            model.register_forward_pre_hook(ModuleHook(self, "_begin", model), prepend=True),
            model.register_forward_hook(ModuleHook(self, "_end", model), always_call=True),
        ]
        for module in (model, *(layer.module for layer in layers)):
            sweep(module)
        self._finalizer = weakref.finalize(self, _remove, handles)
        self._finalizer.atexit = False

    def remove(self) -> None:
        """Take all hooks off the model; once is enough."""
        self._finalizer()

    @contextmanager
    def observing(self) -> Generator[None]:
        """Let every pass through a layer count, whatever mode it is in.

        Without ``passed``, ``arrived`` is called in the forward pass, with None for the
        gradient.

        Yields
        ------
        None
            Once.
        """
        self._observing = True
        try:
            yield
        finally:
            self._observing = False

    def _begin(self, *_: Any) -> None:
        """Note that a pass through the whole model begins."""
        if self._depth == 0:
            self.passes += 1
            self._places.clear()
        self._depth += 1

    def _end(self, model: nn.Module, _: Any, outputs: Any) -> None:
        """Hand over what was kept when the model has returned its outputs."""
        self._depth = max(0, self._depth - 1)
        if self._depth or not self._places:
            return
        places, self._places = self._places, []
        passed = self._passed()
        # always called: without outputs, the pass has failed
        if passed is not None and outputs is not None:
            watching = owners(model)
            for watcher in watching:
                watcher.busy += 1
            try:
                passed(places, outputs)
            finally:
                for watcher in watching:
                    watcher.busy -= 1

    def _layer(
        self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Tensor
    ) -> Tensor | None:
        """Watch one call of a layer; return what is handed on in place of its output."""
        training = module.training and torch.is_grad_enabled()
        if not (training or self._observing) or transformed():
            return None
        layer = self._layers[id(module)]
        if self._depth:
            self._refuse_reuse(layer)
        fed: Tensor = args[0] if args else named["input"]
        result = out
        if self._reroutes and training and out.requires_grad:
            call = _Call(self, layer)
            result = _rerouted(out.detach(), fed, call, module.weight, module.bias)
        wanted = self._wanted()
        if not self._observing and (wanted is None or not wanted(layer)):
            return None if result is out else result
        if self._keeps:
            if self._depth and result.requires_grad:
                self._places.append((layer, fed.detach(), result))
                # what follows may overwrite it, as ReLU(inplace=True) does
                return result.clone()
        elif self._observing:
            self._arrive(layer, fed.detach(), None)
        elif result.requires_grad:
            hang: Any = result.register_hook
            hang(_Arrival(self, layer, fed.detach()))
        return None if result is out else result

    def _arrive(self, layer: FactorLayer, inputs: Tensor, gradient: Tensor | None) -> None:
        """Hand over what a layer was fed."""
        arrived = self._arrived()
        if arrived is not None:
            with torch.no_grad(), torch.autocast(inputs.device.type, enabled=False):
                arrived(layer, inputs, None if gradient is None else gradient.detach())

    def _refuse_reuse(self, layer: FactorLayer) -> None:
        """Refuse the second call of a layer in one pass."""
        if self._seen.get(layer.name) == self.passes:
            raise ValueError(
                f"{layer.called} is used twice in one forward pass: its weights are shared between"
                " the two places, so that no single input covariance fits its gradient; use two"
                " layers, or name the layer in skip to leave it to the fallback"
            )
        self._seen[layer.name] = self.passes


class _Arrival:
    """A tensor hook that reports the first gradient to reach a layer's output."""

    def __init__(self, capture: Capture, layer: FactorLayer, inputs: Tensor) -> None:
        self.capture, self.layer = weakref.ref(capture), layer
        self.inputs: Tensor | None = inputs

    def __call__(self, gradient: Tensor) -> None:
        capture, inputs = self.capture(), self.inputs
        if capture is not None and inputs is not None and not capture.busy:
            # a graph that is walked twice still belongs to one batch
            self.inputs = None
            capture._arrive(self.layer, inputs, gradient)


class _Call:
    """Asks for the gradients of a layer's parameters."""

    def __init__(self, capture: Capture, layer: FactorLayer) -> None:
        self.capture, self.layer = weakref.ref(capture), layer

    def __call__(self, inputs: Tensor, gradient: Tensor) -> list[Tensor] | None:
        capture = self.capture()
        if capture is None:
            raise RuntimeError(
                f"{self.layer.called}: its optimiser is gone before the backward pass"
            )
        reroute = capture._reroute()
        if capture.busy or reroute is None:
            return None
        with torch.autocast(inputs.device.type, enabled=False):
            found: list[Tensor] = reroute(self.layer, inputs, gradient)
        return found


class _Rerouted(torch.autograd.Function):
    """A layer's output whose backward pass asks elsewhere for the parameters' gradients."""

    @staticmethod
    def forward(
        ctx: Any, out: Tensor, inputs: Tensor, call: _Call, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.call, ctx.biased = call, bias is not None and bias.requires_grad
        ctx.save_for_backward(inputs, weight)
        # the same tensor, no view of it: what follows may overwrite it
        ctx.mark_dirty(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = gradients
        inputs, weight = ctx.saved_tensors
        layer: FactorLayer = ctx.call.layer
        back = None
        if ctx.needs_input_grad[1]:
            back = _input_gradient(layer.module, slope, weight, inputs)
        found = ctx.call(inputs, slope) if weight.requires_grad else None
        if found is None:
            return None, back, None, None, None
        bias = None
        if ctx.biased:
            bias = found[1] if layer.augmented else layer.slopes(slope).sum(dim=(0, 1))
        return None, back, None, found[0], bias


_rerouted: Callable[..., Tensor] = _Rerouted.apply


def _input_gradient(
    module: nn.Linear | nn.Conv2d, slope: Tensor, weight: Tensor, inputs: Tensor
) -> Tensor:
    """Return the gradient in a layer's input, as torch itself computes it."""
    weight = weight.to(slope.dtype)
    if isinstance(module, nn.Linear):
        return (slope @ weight).to(inputs.dtype)
    with torch.enable_grad():
        probe = inputs.to(slope.dtype).detach().requires_grad_()
        made = module._conv_forward(probe, weight, None)
        (back,) = torch.autograd.grad(made, probe, slope)
    return back.to(inputs.dtype)


def _remove(handles: list[Any]) -> None:
    """Take hooks off their modules."""
    for handle in handles:
        handle.remove()
