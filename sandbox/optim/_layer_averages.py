"""Averages of a model's layers: collected from batches, kept, copied, saved."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import Parameter

from sandbox.network.layers import Bias, FactorLayer, factor_dtype, factor_layers
from sandbox.optim._capture import Capture, Place
from sandbox.optim._factor_state import factor_state, load_factor_state, memory_usage
from sandbox.optim._moving_average import MovingAverage
from theory.checks import as_integer, as_number, one_of

__all__ = ["LayerAverages", "Nonfinite", "Scaling", "Sharing", "Side"]

Scaling: TypeAlias = Literal["mean", "paper"]
"""Factors are means over samples, or scaled as in the public code of Benzing (2022)."""

Sharing: TypeAlias = Literal["expand", "reduce"]
"""Positions with shared weights are rows of their own, or averaged into one row."""

Side: TypeAlias = Literal["gradient", "activation"]
"""The preconditioner multiplies the gradient in the step, or the inputs in the backward pass."""

Nonfinite: TypeAlias = Literal["raise", "skip"]
"""What becomes of a step with a gradient that is not finite."""


class LayerAverages:
    """Moving averages of what a model's layers are fed, from the batches that are wanted.

    The base of :class:`~sandbox.optim._layer_factors.LayerwiseFactors`, which says when a
    batch is wanted and makes preconditioners of the averages.
    """

    FACTORS: tuple[str, ...] = ("input",)
    """Names of the averages of a layer."""

    WATCHES: Literal["inputs", "outputs"] = "inputs"
    """Whether the capture reports from the backward pass, or at the end of the forward one."""

    model: nn.Module
    averages: dict[str, dict[str, MovingAverage]]
    inverses: dict[str, dict[str, Tensor]]

    def _wanted(self, layer: FactorLayer) -> bool:
        """Tell whether the next batch through a layer is to be collected."""
        raise NotImplementedError

    def _rerouted(self, layer: FactorLayer, inputs: Tensor, gradient: Tensor) -> list[Tensor]:
        """Return the preconditioned gradients of a layer's parameters in the backward pass."""
        raise NotImplementedError

    def _prepare(
        self,
        model: nn.Module,
        *,
        T: int,
        S: int,
        decay: float,
        scaling: Scaling,
        sharing: Sharing,
        bias: Bias,
        side: Side,
        nonfinite: Nonfinite,
        skip: Collection[str],
        factor_samples: int | None,
    ) -> list[tuple[str, Parameter]]:
        """Check and keep the settings, find the layers; return parameters without a rule."""
        self.T = as_integer("T", T, low=1)
        self.S = as_integer("S", S, low=1)
        if self.S > self.T:
            raise ValueError(
                f"S = {S} > T = {T}: factors are collected on the last S of every T steps, so that"
                " S must be at most T"
            )
        self.decay = as_number("decay", decay, low=0.0, high=1.0, open_high=True)
        self.scaling = one_of("scaling", scaling, ("mean", "paper"))
        self.sharing = one_of("sharing", sharing, ("expand", "reduce"))
        self.bias = one_of("bias", bias, ("augment", "fallback"))
        self.side = one_of("side", side, ("gradient", "activation"))
        self.nonfinite = one_of("nonfinite", nonfinite, ("raise", "skip"))
        if isinstance(skip, str):
            raise ValueError(f"skip = {skip!r}: must be a collection of names, such as [{skip!r}]")
        self.skip = tuple(skip)
        self.factor_samples = (
            None if factor_samples is None else as_integer("factor_samples", factor_samples, low=1)
        )
        self.model = model
        self.layers, others = factor_layers(model, bias, self.skip)
        if not self.layers:
            raise ValueError(
                f"model = {type(model).__name__}: has no trained Linear or ungrouped Conv2d layer,"
                " so there is nothing to precondition; use another optimiser"
            )
        self._by_name = {layer.name: layer for layer in self.layers}
        self._generator: torch.Generator | None = None
        self._forget()
        self._watch()
        return others

    def parts(self) -> Collection[str]:
        """Return the names of what a layer's preconditioner is made of."""
        return self.FACTORS

    def _forget(self) -> None:
        """Begin with no factors."""
        self.averages, self.inverses = {}, {}
        self.steps = 0
        self._changed: set[str] = set()
        self._stale: set[str] = set()
        self._refreshed_at: dict[str, float] = {}

    def _watch(self) -> None:
        """Hang the hooks on the model."""
        outputs = self.WATCHES == "outputs"
        self._capture = Capture(
            self.model,
            self.layers,
            self._wanted,
            arrived=None if outputs else self._arrived,
            passed=self._passed if outputs else None,
            reroute=self._rerouted if self.side == "activation" else None,
        )
        # the capture may be kept alive by a graph of the user's; its hooks must not be
        self._finalizer = weakref.finalize(self, self._capture.remove)
        self._finalizer.atexit = False

    def remove(self) -> None:
        """Take the hooks off the model; the object is of no use afterwards."""
        self._capture.remove()

    def _collect(
        self,
        layer: FactorLayer,
        rows: Float[Tensor, "sample position column"],
        slopes: Float[Tensor, "sample position out"] | None,
    ) -> None:
        """Add a batch to the pending value of the layer's averages."""
        del slopes  # for subclasses with an output factor
        self._average(layer, "input").collect(self.shared(rows), samples=len(rows))

    def shared(self, rows: Float[Tensor, "sample position column"]) -> Float[Tensor, "row column"]:
        """Return rows as the sharing setting counts them.

        Parameters
        ----------
        rows : Tensor
            One for every position of every sample.

        Returns
        -------
        Tensor
            One for every position of every sample, or their mean for every sample.
        """
        if self.sharing == "reduce" and rows.shape[1] > 1:
            return rows.mean(dim=1)
        return rows.flatten(0, 1)

    def _average(self, layer: FactorLayer, factor: str) -> MovingAverage:
        """Return one of a layer's averages, made if need be."""
        own = self.averages.setdefault(layer.name, {})
        if factor not in own:
            own[factor] = self.new_average(factor)
        return own[factor]

    def new_average(self, factor: str) -> MovingAverage:
        """Return an empty average for a factor.

        Parameters
        ----------
        factor : str
            One of ``FACTORS``.

        Returns
        -------
        MovingAverage
            With this object's decay.
        """
        return MovingAverage(self.decay, keep_rows=factor == "input")

    def _known(self, layer: FactorLayer) -> bool:
        """Tell whether anything has entered the layer's averages."""
        own = self.averages.get(layer.name)
        return own is not None and all(average.total is not None for average in own.values())

    def _arrived(self, layer: FactorLayer, inputs: Tensor, gradient: Tensor | None) -> None:
        """Collect what the capture reports."""
        inputs = layer.samples(inputs)[: self.factor_samples]
        if not inputs.numel():
            return
        kind = factor_dtype(layer.module.weight.dtype)
        slopes = None
        if gradient is not None and "output" in self.FACTORS:
            slopes = layer.slopes(gradient).to(kind)
        self._collect(layer, layer.rows(inputs.to(kind)), slopes)

    def _passed(self, places: list[Place], outputs: Any) -> None:
        """Collect at the end of a forward pass; for subclasses that watch outputs."""
        raise NotImplementedError

    def observe(self, inputs: Any) -> None:
        """Let a batch enter the averages without a step; the next step uses it.

        The model is run once, in evaluation mode, and left as it was. What backward passes of
        a step in progress have collected waits for the step.

        Parameters
        ----------
        inputs : Tensor
            What the model takes.

        Raises
        ------
        ValueError
            If the inputs of a layer are not finite; nothing enters the averages then.
        """
        every = [average for own in self.averages.values() for average in own.values()]
        waiting = [(average, average.set_aside()) for average in every]
        try:
            self._observe(inputs)
        finally:
            self._drop()
            for average, held in waiting:
                average.put_back(held)

    def _observe(self, inputs: Any) -> None:
        """Collect a batch and let it enter the averages."""
        modes = [(part, part.training) for part in self.model.modules()]
        graph = torch.enable_grad() if self.WATCHES == "outputs" else torch.no_grad()
        try:
            self.model.eval()
            with graph, self._capture.observing():
                self.model(inputs)
        finally:
            for part, mode in modes:
                part.training = mode
        with torch.no_grad():
            for layer in self.layers:
                for average in self.averages.get(layer.name, {}).values():
                    found = average.pending
                    if found is not None and not bool(found.diagonal().isfinite().all()):
                        raise ValueError(f"inputs: what {layer.called} makes of them is not finite")
            for layer in self.layers:
                if self._fold(layer):
                    self._stale.add(layer.name)

    def _fold(self, layer: FactorLayer) -> bool:
        """Let what is pending enter a layer's averages; tell whether there was anything."""
        own = self.averages.get(layer.name, {})
        pending = [average for average in own.values() if average.pending is not None]
        for factor, average in own.items():
            average.fold(mean=self._is_mean(layer, factor))
        if pending:
            self._changed.add(layer.name)
        return bool(pending)

    def _is_mean(self, layer: FactorLayer, factor: str) -> bool:
        """Tell whether a factor is a mean over samples or a sum."""
        return self.scaling == "mean" or factor != "input" or isinstance(layer.module, nn.Conv2d)

    def _drop(self) -> None:
        """Forget what is pending."""
        for own in self.averages.values():
            for average in own.values():
                average.drop()

    def reset(self) -> None:
        """Forget factors, preconditioners and the step count."""
        self._forget()

    def memory_usage(self) -> dict[str, int]:
        """Return the bytes of ``"averages"``, ``"pending"``, ``"inverses"`` and their ``"total"``.

        Returns
        -------
        dict
            Bytes, by what holds them.
        """
        return memory_usage(self.averages, self.inverses)

    def factor_state(self) -> dict[str, Any]:
        """Return averages, preconditioners, counters and random state as plain data.

        Returns
        -------
        dict
            Tensors are not copied.
        """
        return factor_state(self)

    def load_factor_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`factor_state` gave, bit for bit.

        Parameters
        ----------
        state : mapping
            From an object of the same kind, for a model with the same layers.

        Raises
        ------
        ValueError
            If it belongs to other layers, or is none; nothing is changed then.
        """
        load_factor_state(self, state)

    def _plain(self) -> dict[str, Any]:
        """Return attributes for copies; hooks are hung anew by :meth:`_revive`."""
        left = {"_capture", "_finalizer", "_generator"}
        state = {k: v for k, v in self.__dict__.items() if k not in left}
        generator = self._generator
        if generator is not None:
            state["_generator_state"] = (str(generator.device), generator.get_state())
        return state

    def _revive(self) -> None:
        """Make what :meth:`_plain` left out."""
        if "_capture" in self.__dict__:
            return
        held = self.__dict__.pop("_generator_state", None)
        self._generator = None
        if held is not None:
            self._generator = torch.Generator(held[0])
            self._generator.set_state(held[1])
        self._watch()
