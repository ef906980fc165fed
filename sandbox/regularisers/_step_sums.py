"""Running sums over an optimiser's steps of products of gradients and moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from sandbox.regularisers._step_watch import StepWatch

__all__ = ["StepSums"]


class StepSums:
    """What :class:`~sandbox.regularisers.synaptic_intelligence.SynapticIntelligence` adds up.

    Without ``decay`` the sums are those of -(a g - b g') times the move, with it they are
    running means of (a g - b g') squared; g is the gradient of the step, g' the independent one.
    A parameter without a gradient has one of 0, as if it had been zeroed.

    Parameters
    ----------
    named : mapping
        Parameters by name.
    own, other : float
        a and b.
    decay : float or None
        Of the running means.
    sees : {"task", "total"}
        Which gradient g is.
    """

    def __init__(
        self,
        named: Mapping[str, Tensor],
        own: float,
        other: float,
        decay: float | None,
        sees: Literal["task", "total"],
    ) -> None:
        self.named = dict(named)
        self.own, self.other, self.decay, self.sees = own, other, decay, sees
        self.parameters: list[Tensor] = list(self.named.values())
        self.start = [_wide(p) for p in self.parameters]
        self.sums = [torch.zeros_like(start) for start in self.start]
        self.steps = 0
        self.independent: list[Tensor | None] | None = None
        self._before: list[Tensor] = []
        self._slopes: list[Tensor] = []

    def observe(self, gradients: Sequence[Tensor | None]) -> None:
        """Add to the independent gradient of the next step."""
        found = [None if g is None else _dense(g) for g in gradients]
        if self.independent is not None:
            pairs = zip(self.independent, found, strict=True)
            found = [a if b is None else b if a is None else a + b for a, b in pairs]
        self.independent = found

    # ---- the observer of the steps

    def starting(self, watch: StepWatch) -> None:
        """Keep the weights that the step begins with."""
        del watch
        if self.other and self.independent is None:
            raise RuntimeError(
                "no independent batch was observed for this step: call observe(loss) with the loss"
                " of a batch drawn anew, at the present weights, before each optimizer.step()"
            )
        if self.decay is None:
            self._before = _copied(self._before, self.start, self.parameters)

    def gradients(self, watch: StepWatch) -> None:
        """Keep the gradient, which others may be about to change."""
        if not self.own:
            return
        found = [watch.gradient(p) for p in self.parameters]
        self._slopes = _copied(self._slopes, self.start, found)

    def stepped(self, watch: StepWatch) -> None:
        """Add the step to the sums."""
        independent, self.independent = self.independent, None
        slopes = self._slopes
        if self.own and _may_skip(watch.optimizer) and not _finite(slopes):
            return
        if self.other and independent is not None:
            if not self.own:
                slopes = [
                    torch.zeros_like(total) if g is None else -self.other * g.to(total)
                    for g, total in zip(independent, self.sums, strict=True)
                ]
            else:
                for slope, g in zip(slopes, independent, strict=True):
                    if g is not None:
                        slope.sub_(g, alpha=self.other)
        if self.decay is None:
            torch._foreach_sub_(self._before, self.parameters)  # minus the move
            torch._foreach_addcmul_(self.sums, slopes, self._before)
        else:
            torch._foreach_mul_(self.sums, self.decay)
            torch._foreach_addcmul_(self.sums, slopes, slopes, 1 - self.decay)
        self.steps += 1

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """Return copies of all that the next step needs."""
        independent = None
        if self.independent is not None:
            pairs = zip(self.named, self.independent, strict=True)
            independent = {name: None if g is None else g.clone() for name, g in pairs}
        return {
            "steps": self.steps,
            "start": {n: t.clone() for n, t in zip(self.named, self.start, strict=True)},
            "sums": {n: t.clone() for n, t in zip(self.named, self.sums, strict=True)},
            "independent": independent,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a state back after checking that it is of these parameters."""
        shapes = {name: tuple(p.shape) for name, p in self.named.items()}
        for part in ("start", "sums"):
            theirs = {name: tuple(t.shape) for name, t in state[part].items()}
            if theirs != shapes:
                raise ValueError(
                    f"state_dict[{part!r}] is of the parameters {theirs}: the model's trained ones,"
                    f" as far as the optimiser has them, are {shapes}"
                )
        for mine, part in ((self.start, "start"), (self.sums, "sums")):
            for tensor, name in zip(mine, self.named, strict=True):
                tensor.copy_(state[part][name])
        self.steps = int(state["steps"])
        kept = state["independent"]
        self.independent = None
        if kept is not None:
            pairs = ((p, kept[name]) for name, p in self.named.items())
            self.independent = [None if g is None else g.to(p.device, copy=True) for p, g in pairs]

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies need, without what is only kept within a step."""
        return self.__dict__ | {"_before": [], "_slopes": []}


def _wide(parameter: Tensor) -> Tensor:
    """Return a copy in which sums may be kept: float32 at least."""
    kind = torch.promote_types(parameter.dtype, torch.float32)
    return parameter.detach().to(kind, copy=True)


def _dense(gradient: Tensor) -> Tensor:
    """Return a gradient without graph and with an entry for every weight."""
    found = gradient.detach()
    return found if found.layout == torch.strided else found.to_dense()


def _copied(
    buffers: list[Tensor], like: list[Tensor], values: Sequence[Tensor | None]
) -> list[Tensor]:
    """Return buffers with these values in them, 0 for none."""
    if not buffers:
        buffers = [torch.empty_like(t) for t in like]
    given = [(b, _dense(v)) for b, v in zip(buffers, values, strict=True) if v is not None]
    if given:
        torch._foreach_copy_([b for b, _ in given], [v for _, v in given])
    for buffer, value in zip(buffers, values, strict=True):
        if value is None:
            buffer.zero_()
    return buffers


def _may_skip(optimizer: Optimizer) -> bool:
    """Return whether an optimiser leaves out steps whose gradient is not finite."""
    if getattr(optimizer, "found_inf", None) is not None:  # GradScaler leaves it to the optimiser
        return True
    inner = getattr(optimizer, "inner", None)
    skips = getattr(optimizer, "nonfinite", "raise") == "skip"
    return skips or (inner is not None and _may_skip(inner))


def _finite(tensors: list[Tensor]) -> bool:
    """Return whether every number is finite."""
    # largest magnitudes: a sum of squares would overflow where numbers do not
    sizes = [t.to("cpu") for t in torch._foreach_norm(tensors, float("inf"))]
    return all(bool(size.isfinite()) for size in sizes)
