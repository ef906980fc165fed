"""What K-FAC and its gradient preconditioner share: two factors a layer and how they act."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from sandbox.network.layers import FactorLayer, factor_dtype
from sandbox.network.output_gradients import (
    Index,
    Likelihood,
    exact_columns,
    model_outputs,
    place_gradients,
    sampled_columns,
)
from sandbox.optim._capture import Place
from sandbox.optim._inverse_root import inverse_root
from sandbox.optim._kronecker import (
    factored_damping,
    joint_weights,
    published_direction,
    robust_eigenbasis,
    standard_direction,
)
from sandbox.optim._layerwise import LayerwiseFactors
from sandbox.optim._moving_average import MovingAverage
from theory.checks import as_integer, as_number, one_of, shown

__all__ = ["Fisher", "KroneckerFactors", "Rule"]

LOG = logging.getLogger("sandbox.optim")

Rule: TypeAlias = Literal["heuristic", "standard", "standard-published"]
"""How the damping enters: by factors, jointly, or as one public code has it."""

Fisher: TypeAlias = Literal["sampled", "exact", "empirical"]
"""Output gradients of one drawn label a sample, of all labels, or of the true ones."""


class KroneckerFactors(LayerwiseFactors):
    """The rule that K-FAC and its preconditioner share: two factors and how they are damped."""

    FACTORS = ("input", "output")

    _held: dict[tuple[str, str], MovingAverage] | None = None
    """Where second moments go that do not count yet."""

    _at_once = False
    """Whether they count without a backward pass."""

    def _choose(
        self,
        *,
        rule: Rule,
        fisher: Fisher,
        output_factor: bool,
        power: float,
        likelihood: Likelihood,
        columns: Index | None,
        seed: int,
    ) -> None:
        """Check and keep the settings that are K-FAC's own."""
        one_of("rule", rule, ("heuristic", "standard", "standard-published"))
        one_of("fisher", fisher, ("sampled", "exact", "empirical"))
        one_of("likelihood", likelihood, ("categorical", "gaussian"))
        if not isinstance(output_factor, bool):
            raise ValueError(f"output_factor = {shown(output_factor)}: must be True or False")
        if not output_factor and rule != "heuristic":
            raise ValueError(
                f"output_factor = False with rule = {rule!r}: only rule='heuristic' has a"
                " damping of the inputs alone that would be left; without an output factor the"
                " joint damping is that of FOOF"
            )
        self.rule, self.fisher, self.likelihood = rule, fisher, likelihood
        self.output_factor = output_factor
        self.power = as_number("power", power, low=0.0, open_low=True)
        self.columns = columns
        self.seed = as_integer("seed", seed, low=0, high=2**63 - 1)
        self.WATCHES = "inputs" if self.fisher == "empirical" else "outputs"

    def _seed(self) -> None:
        """Begin the random labels anew, on the device of the parameters."""
        device = self.layers[0].module.weight.device
        self._generator = torch.Generator(device).manual_seed(self.seed)

    def reset(self) -> None:
        """Forget factors, preconditioners and the step count; begin the random labels anew."""
        super().reset()
        self._seed()

    def load_factor_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`factor_state` gave, bit for bit.

        Random labels go on where they were on the same kind of device; on another one, whose
        random numbers are others anyway, they begin anew.

        Parameters
        ----------
        state : mapping
            From an object of the same kind, for a model with the same layers.

        Raises
        ------
        ValueError
            If it belongs to other layers, or is none; nothing is changed then.
        """
        drawn, own = state.get("generator"), self._generator
        foreign = (
            isinstance(drawn, Tensor) and own is not None and len(drawn) != len(own.get_state())
        )
        if foreign:
            state = {**state, "generator": None}
        super().load_factor_state(state)
        if foreign:
            LOG.warning("the labels were drawn on another kind of device; they begin anew")
            self._seed()

    def parts(self) -> Collection[str]:
        """Return the names of what a layer's preconditioner is made of."""
        if self.rule != "heuristic":
            return (*self.FACTORS, "weights")
        return self.FACTORS if self.output_factor else ("input",)

    # ---- collecting

    def observe(self, inputs: Any) -> None:
        """Let a batch enter the averages without a step; the next step uses it.

        The model is run once, in evaluation mode, and left as it was.

        Parameters
        ----------
        inputs : Tensor
            What the model takes.

        Raises
        ------
        ValueError
            If the labels are the true ones, which inputs do not tell, or a layer's inputs or
            output gradients are not finite.
        """
        if self.fisher == "empirical":
            raise ValueError(
                "fisher = 'empirical': there are no labels to observe inputs with; the first step"
                " builds its preconditioner from its own batch, or use fisher='sampled'"
            )
        self._at_once = True
        try:
            super().observe(inputs)
        finally:
            self._at_once = False

    def _passed(self, places: list[Place], outputs: Any) -> None:
        """Collect both factors at the end of a forward pass; they count once it is walked back."""
        if isinstance(outputs, Tensor) and not outputs.numel():
            return
        self._held = {}
        try:
            with torch.autocast(places[0][2].device.type, enabled=False):
                flat = model_outputs(
                    outputs, self.likelihood, self.columns, "; use fisher='empirical' otherwise"
                )
                self._collect_labels(places, flat)
            count = _Count(self, self._held)
        finally:
            self._held = None
        if self._at_once:
            count()
        else:
            outputs.register_hook(count)

    def _collect_labels(self, places: list[Place], outputs: Tensor) -> None:
        """Take the backward passes of all columns, and second moments of what they give."""
        columns = self._columns(outputs.detach())
        parts = place_gradients(outputs, [place for *_, place in places], columns)
        for i, slopes in enumerate(parts):
            with torch.no_grad():
                for (layer, inputs, _), found in zip(places, slopes, strict=True):
                    if not inputs.numel():
                        continue
                    if i == 0:
                        self._arrived(layer, inputs, None)
                    each = [layer.slopes(column) for column in found]
                    # every column belongs to the same samples, which count once
                    self._collect_slopes(layer, each, len(each[0]) if i == 0 else 0)

    def _average(self, layer: FactorLayer, factor: str) -> MovingAverage:
        """Return one of a layer's averages, or what stands for it until it counts."""
        if self._held is None:
            return super()._average(layer, factor)
        return self._held.setdefault((layer.name, factor), self.new_average(factor))

    def _count(self, held: dict[tuple[str, str], MovingAverage]) -> None:
        """Let second moments that waited for a backward pass be pending."""
        for (name, factor), found in held.items():
            assert found.pending is not None
            own = self._average(self._by_name[name], factor)
            own.add(found.pending, found.samples, found.pending_rows)

    def _columns(self, outputs: Tensor) -> Tensor:
        """Return the columns of labels, (column, sample, output)."""
        if self.fisher == "exact":
            return exact_columns(outputs, self.likelihood)
        if self._generator is None or self._generator.device != outputs.device:
            self._seed()  # the model has moved to another device
        return sampled_columns(outputs, self.likelihood, self._generator)

    def _arrived(self, layer: FactorLayer, inputs: Tensor, gradient: Tensor | None) -> None:
        """Collect what the capture reports, unless a loss scale is in it."""
        if gradient is not None and gradient.dtype == torch.float16:
            raise ValueError(
                "fisher = 'empirical' in float16: output gradients carry the loss scale, unknown"
                " here, and their second moment its square; use fisher='sampled', which is free of"
                " it, or bfloat16 without a scale"
            )
        super()._arrived(layer, inputs, gradient)

    def _collect(
        self,
        layer: FactorLayer,
        rows: Float[Tensor, "sample position column"],
        slopes: Float[Tensor, "whole position out"] | None,
    ) -> None:
        """Add a batch to the pending values of both factors; rows may be of some of its samples."""
        super()._collect(layer, rows, None)
        if slopes is not None:
            self._collect_slopes(layer, [slopes], len(slopes))

    def _collect_slopes(self, layer: FactorLayer, columns: list[Tensor], samples: int) -> None:
        """Add output gradients, one tensor (sample, position, out) a column."""
        whole, positions = columns[0].shape[:2]
        some = [column[: self.factor_samples] for column in columns]
        slopes = torch.cat(some) if len(some) > 1 else some[0]
        # a subset stands for its batch
        scale = whole / max(1, len(some[0]))
        if self.sharing == "reduce":
            rows = slopes.sum(dim=1)
        else:
            rows = slopes.flatten(0, 1)
            if self.scaling == "mean":
                scale /= positions
        self._average(layer, "output").collect(rows, samples=samples, scale=scale)

    def _fold(self, layer: FactorLayer) -> bool:
        """Let what is pending enter a layer's averages."""
        average = self.averages.get(layer.name, {}).get("output")
        if self.fisher == "empirical" and average is not None and average.pending is not None:
            # what came back was of the mean loss over all samples of the step
            average.pending.mul_(average.samples**2)
        return super()._fold(layer)

    # ---- inverting and applying

    def _refresh(self, layer: FactorLayer) -> None:
        """Invert both factors, or diagonalise them."""
        own, damping = self.averages[layer.name], self.damping_of(layer)
        inputs, outputs = own["input"].value(), own["output"].value()
        shares = factored_damping(inputs, outputs, damping)
        names = [f"{layer.called}, {factor} factor" for factor in self.FACTORS]
        if self.rule == "heuristic":
            left = None
            few = own["input"].rows
            right = inverse_root(inputs, shares[0], self.power, name=names[0], rows=few)
            if self.output_factor:
                left = inverse_root(outputs, shares[1], self.power, name=names[1])
            else:
                right *= shares[1] ** -self.power
            found = {"input": right, "output": left}
        else:
            right_basis = robust_eigenbasis(inputs, shares[0], names[0])
            left_basis = robust_eigenbasis(outputs, shares[1], names[1])
            found = {
                "input": right_basis.vectors.to(inputs.dtype),
                "output": left_basis.vectors.to(outputs.dtype),
                "weights": joint_weights(
                    right_basis.values, left_basis.values, damping, self.power
                ).to(outputs.dtype),
            }
        self.inverses[layer.name] = {k: v for k, v in found.items() if v is not None}

    def _precondition(
        self, layer: FactorLayer, matrix: Float[Tensor, "out column"]
    ) -> Float[Tensor, "out column"]:
        """Apply the inverse from both sides."""
        held = self.inverses[layer.name]
        if self.rule == "heuristic":
            once = matrix @ held["input"]
            return held["output"] @ once if "output" in held else once
        direction = standard_direction if self.rule == "standard" else published_direction
        return direction(matrix, held["input"], held["output"], held["weights"])

    def _rerouted(self, layer: FactorLayer, inputs: Tensor, gradient: Tensor) -> list[Tensor]:
        """Return the preconditioned gradients, every factor applied where that is cheaper."""
        if self.rule != "heuristic":
            return super()._rerouted(layer, inputs, gradient)
        self._make_ready(layer)
        kind, size = factor_dtype(layer.module.weight.dtype), layer.fan_in
        held = self.inverses[layer.name]
        right, left = held["input"], held.get("output")
        slopes = layer.slopes(gradient).flatten(0, 1).to(kind)
        late = left
        if left is not None and len(slopes) < layer.columns:
            slopes, late = slopes @ left, None
        if len(slopes) < layer.out:
            rows = layer.plain_rows(inputs).flatten(0, 1).to(kind)
            if layer.augmented:
                # the 1 of the bias, without joining it to the rows
                rows = torch.addmm(right[size], rows, right[:size])
                found = [slopes.T @ rows[:, :size], slopes.T @ rows[:, size]]
            else:
                found = [slopes.T @ (rows @ right)]
        else:
            rows = layer.rows(inputs).flatten(0, 1).to(kind)
            matrix = slopes.T @ rows @ right
            found = [matrix[:, :size], matrix[:, size]] if layer.augmented else [matrix]
        if late is not None:
            found = [late @ part for part in found]
        parts = zip(found, layer.parameters, strict=True)
        return [part.reshape(p.shape).to(p.dtype) for part, p in parts]


class _Count:
    """Lets second moments count, once; a tensor hook."""

    def __init__(self, owner: KroneckerFactors, held: dict[tuple[str, str], MovingAverage]) -> None:
        self.owner, self.held = weakref.ref(owner), held

    def __call__(self, _: Tensor | None = None) -> None:
        owner, held = self.owner(), self.held
        self.held = {}
        if owner is not None and held:
            with torch.no_grad():
                owner._count(held)
