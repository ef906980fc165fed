"""When averages are collected and preconditioners computed, and what a step must see to."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sandbox.network.layers import FactorLayer, factor_dtype
from sandbox.optim._layer_averages import LayerAverages, Nonfinite, Scaling, Sharing, Side

__all__ = ["LayerwiseFactors", "Nonfinite", "Scaling", "Sharing", "Side"]

LOG = logging.getLogger("sandbox.optim")


class LayerwiseFactors(LayerAverages):
    """Factors of a model's layers: collected from batches, averaged, inverted on schedule.

    In step c = 1, 2, ... the weights move first, with the preconditioner at hand. Then the
    factors of the step's batch enter the average if c is among the last S steps of its
    period of T, and at the end of a period the preconditioner is computed anew. A layer that
    gets its first gradient builds its preconditioner from that batch beforehand, unless
    :meth:`observe` has been called; this batch enters the average once.

    Subclasses say what is collected (:meth:`_collect`), how it becomes a preconditioner
    (:meth:`_refresh`), and how that acts (:meth:`_precondition`).
    """

    def damping_of(self, layer: FactorLayer) -> float:
        """Return the damping that a layer's next preconditioner gets."""
        raise NotImplementedError

    def _refresh(self, layer: FactorLayer) -> None:
        """Set ``self.inverses[layer.name]`` from the averages."""
        raise NotImplementedError

    def _precondition(
        self, layer: FactorLayer, matrix: Float[Tensor, "out column"]
    ) -> Float[Tensor, "out column"]:
        """Return the preconditioned matrix, a new tensor, in the type of the factors."""
        raise NotImplementedError

    def _rerouted(self, layer: FactorLayer, inputs: Tensor, gradient: Tensor) -> list[Tensor]:
        """Return the preconditioned gradients of a layer's parameters in the backward pass."""
        self._make_ready(layer)
        kind = factor_dtype(layer.module.weight.dtype)
        rows = layer.rows(inputs).flatten(0, 1).to(kind)
        slopes = layer.slopes(gradient).flatten(0, 1).to(kind)
        found = layer.split(self._precondition(layer, slopes.T @ rows))
        return [part.to(p.dtype) for part, p in zip(found, layer.parameters, strict=True)]

    def in_window(self, step: int) -> bool:
        """Tell whether a step, counted from 1, is one whose batch enters the averages."""
        place = step % self.T
        return place == 0 or place > self.T - self.S

    def _wanted(self, layer: FactorLayer) -> bool:
        """Tell whether the next batch through a layer is to be collected."""
        return self.in_window(self.steps + 1) or not self._known(layer)

    def _make_ready(self, layer: FactorLayer) -> None:
        """See to it that a layer has an up-to-date preconditioner before it is used."""
        name = layer.name
        if self._known(layer):
            if name not in self.inverses or name in self._stale:
                self._refreshed(layer)
            return
        self._fold(layer)
        if not self._known(layer):
            raise RuntimeError(
                f"{layer.called} has a gradient but no input was seen in this step: call the"
                " model itself in training mode, with this optimiser made beforehand, or"
                " observe(inputs) first"
            )
        try:
            self._refreshed(layer)
        except RuntimeError:
            # nothing good has been seen yet: let the next batch be the first
            self.averages.pop(name)
            raise

    def _refreshed(self, layer: FactorLayer) -> None:
        """Compute a layer's preconditioner."""
        with torch.no_grad():
            self._refresh(layer)
        self._changed.discard(layer.name)
        self._stale.discard(layer.name)
        self._refreshed_at[layer.name] = self.damping_of(layer)

    def _advance(self) -> None:
        """Do the bookkeeping after the weights have moved."""
        self.steps += 1
        if self.in_window(self.steps):
            for layer in self.layers:
                self._fold(layer)
        else:
            self._drop()
        if self.steps % self.T == 0:
            for layer in self.layers:
                name = layer.name
                if self._known(layer) and (
                    name in self._changed
                    or name not in self.inverses
                    or self._refreshed_at.get(name) != self.damping_of(layer)
                ):
                    self._refreshed(layer)

    def _finite(self, tensors: Sequence[tuple[str, Tensor]]) -> bool:
        """Tell whether what is named is finite, or raise; drop pending factors that are not."""
        waiting = [
            (name, average.pending.diagonal())
            for name, own in self.averages.items()
            for average in own.values()
            if average.pending is not None
        ]
        sums = [_sum(tensor) for _, tensor in tensors] + [_sum(part) for _, part in waiting]
        if not sums:
            return True
        # the one place where the host waits for the device
        if bool(torch.stack([value.to(sums[0].device) for value in sums]).isfinite().all()):
            return True
        wrong = [not bool(value.isfinite()) for value in sums]
        bad = [name for (name, _), is_wrong in zip(tensors, wrong, strict=False) if is_wrong]
        self._drop()
        if not bad:
            LOG.warning("inputs of layers are not finite; this step's factors are left out")
            return True
        named = ", ".join(bad[:5])
        if self.nonfinite == "raise":
            raise RuntimeError(
                f"{named} is not finite: nothing was changed; lower the step size, or give"
                " nonfinite='skip' to leave such steps out"
            )
        LOG.warning("%s is not finite; the step is left out", named)
        return False


def _sum(tensor: Tensor) -> Tensor:
    """Return the sum as float32 or float64, not finite if any entry is not."""
    return tensor.detach().sum(dtype=factor_dtype(tensor.dtype))
