"""What Alice keeps: parameter groups, averages, the signs; and when it samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sandbox.optim._alice_points import SignStream
from sandbox.optim._alice_update import checked, distance
from theory.checks import shown

__all__ = ["AliceState", "Owned"]

Owned = tuple[dict[str, Any], Tensor]


class AliceState(torch.optim.Optimizer):
    """Groups, state and schedule of :class:`sandbox.optim.Alice`."""

    model: nn.Module | None
    nonfinite: str
    _signs: SignStream

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies need: torch's base class would leave these out."""
        state: dict[str, Any] = super().__getstate__()
        own = {"model": self.model, "nonfinite": self.nonfinite, "_signs": self._signs}
        return state | own

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group after checking its options.

        Its parameters have a burn-in of their own; until it is over every step samples.

        Parameters
        ----------
        param_group : dict
            ``params``, and options that differ from the defaults.

        Raises
        ------
        ValueError
            If an option is out of range, or a parameter is neither float32 nor float64.
        """
        if not isinstance(param_group, dict):
            raise ValueError(f"param_group = {shown(param_group)}: must be a dict")
        group = checked(self.defaults | param_group)
        if self.param_groups and group["quick_steps"] != self.param_groups[0]["quick_steps"]:
            raise ValueError(
                f"quick_steps = {group['quick_steps']}: must be"
                f" {self.param_groups[0]['quick_steps']} in every group: they are evaluated"
                " together"
            )
        super().add_param_group(group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.dtype not in {torch.float32, torch.float64}:
                self.param_groups.pop()
                raise ValueError(
                    f"params hold a tensor of {parameter.dtype}: must be float32 or float64, as a"
                    " probe's small move is lost in fewer digits; autocast works with float32"
                    " parameters"
                )

    def reset(self) -> None:
        """Forget averages and look-ahead; the signs go on."""
        self.state.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, that of the signs included."""
        state: dict[str, Any] = super().state_dict()
        return state | {"signs": self._signs.state.clone()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state back, bit for bit.

        Parameters
        ----------
        state_dict : dict
            What :meth:`state_dict` gave.

        Raises
        ------
        ValueError
            If the state is of another optimiser.
        """
        if "signs" not in state_dict:
            raise ValueError("state_dict holds no 'signs': it is not Alice's")
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "signs"})
        self._signs.state = state_dict["signs"].cpu().clone()

    def _owned(self) -> list[Owned]:
        """Return the trained parameters, each with its group."""
        return [(g, p) for g in self.param_groups for p in g["params"] if p.requires_grad]

    def _samples(self, owned: list[Owned]) -> bool:
        """Return whether the coming step is a sample step."""
        seen = [(self.state[p]["step"], g["burn_in"]) for g, p in owned if p in self.state]
        steps = max((count for count, _ in seen), default=0)
        early = not seen or any(count < burn_in for count, burn_in in seen)
        if any(distance(group) <= 0 for group, _ in owned):
            if early:
                raise ValueError(
                    "lr = 0: the burn-in needs probes at a distance; start with lr > 0 or give"
                    " sigma"
                )
            return False
        return early or (steps + 1) % (self.param_groups[0]["quick_steps"] + 1) == 0
