"""torch's Muon beside AdamW, as one optimiser: Muon takes matrices alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

__all__ = ["MuonWithAdamW"]


class MuonWithAdamW(Optimizer):
    """Muon on weight matrices, AdamW on biases, convolutions and normalisations.

    Both parts share this object's groups and state, so that schedules, ``state_dict`` and
    copies need nothing of their own.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    lr : float
        Of Muon.
    momentum : float
        Of Muon, Nesterov's.
    weight_decay : float
        Decoupled, of both.
    fallback_lr : float
        Of AdamW.

    Raises
    ------
    ValueError
        If torch has no Muon, or the network no matrices.

    References
    ----------
    Jordan et al. (2024), https://kellerjordan.github.io/posts/muon/.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        fallback_lr: float = 0.001,
    ) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise ValueError(f"torch {torch.__version__} has no Muon: it came with torch 2.9")
        trained = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in trained if p.ndim == 2]
        others = [p for p in trained if p.ndim != 2]
        if not matrices:
            raise ValueError(f"model = {type(model).__name__}: has no matrices for Muon to train")
        self._parts: list[Optimizer] = [
            torch.optim.Muon(matrices, lr=lr, momentum=momentum, weight_decay=weight_decay)
        ]
        if others:
            self._parts.append(AdamW(others, lr=fallback_lr, weight_decay=weight_decay))
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        self._link()

    def _link(self) -> None:
        """Let the parts work on this object's groups and state."""
        start = 0
        for part in self._parts:
            end = start + len(part.param_groups)
            part.param_groups, part.state = self.param_groups[start:end], self.state
            start = end

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies need: torch's base class would leave the parts out."""
        state: dict[str, Any] = super().__getstate__()
        return state | {"_parts": self._parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state, and link the parts to it."""
        super().__setstate__(state)
        self._link()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group while the parts are put together; none can be added later."""
        if len(self.param_groups) >= sum(len(part.param_groups) for part in self._parts):
            raise ValueError("param_group: Muon and AdamW have their parameters from the model")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]  # a tensor, not a float
        """Do one step of both parts.

        Parameters
        ----------
        closure : callable or None
            Computes gradients and returns the loss, if they are not there yet.

        Returns
        -------
        Tensor or None
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss
