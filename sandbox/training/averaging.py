"""Averages of the weights over training steps, measured beside the weights themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from sandbox.training.names import AverageKind
from theory.checks import as_number, one_of, shown

__all__ = ["WeightAverage"]


class WeightAverage:
    r"""An average of a network's weights over the steps of a task.

    **Equation.** With the weights :math:`w_s` after steps s = 1 ... S of a task, and the
    first step r that is later than start S,

    .. math::

        \text{tail:} \quad \bar w_s = \frac1{s - r + 1} \sum_{k=r}^s w_k, \qquad
        \text{exponential:} \quad \bar w_s = d\,\bar w_{s-1} + (1 - d)\,w_s, \quad
        \bar w_r = w_r.

    Every task begins an average of its own. Statistics of batch normalisation are those of
    the averaged weights on the training samples of the task, found anew when they are needed.

    **Shapes and units.** As the parameters; types and devices are theirs.

    Parameters
    ----------
    model : torch.nn.Module
        What will be trained; it is copied.
    kind : {"exponential", "tail"}
        Which average.
    decay : float
        The factor d of the exponential average, in [0, 1); 1 / (1 - d) steps count.
    start : float or None
        Share of a task's steps after which averaging begins, in [0, 1); None for 0
        (exponential) or 1/2 (tail).

    Attributes
    ----------
    count : int
        Steps averaged so far.

    Raises
    ------
    ValueError
        If a number is out of range, the kind unknown, or parameters have fewer than 32 bits:
        steps smaller than their rounding would leave an average where it is.

    References
    ----------
    Polyak & Juditsky (1992), doi:10.1137/0330046 (uniform); Ruppert (1988); Rakhlin, Shamir &
    Sridharan (2012), arXiv:1109.5647 (tail).

    Examples
    --------
    >>> network = nn.Linear(1, 1, bias=False)
    >>> average = WeightAverage(network, "tail", start=0.5)
    >>> for step, weight in enumerate([1.0, 2.0, 3.0, 5.0], start=1):
    ...     _ = nn.init.constant_(network.weight, weight)
    ...     average.update(network, step / 4)
    >>> average.count, average.model.weight.item()
    (2, 4.0)
    """

    def __init__(
        self,
        model: nn.Module,
        kind: AverageKind = "exponential",
        *,
        decay: float = 0.999,
        start: float | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ValueError(f"model = {shown(model)}: must be a torch.nn.Module")
        self.kind = one_of("kind", kind, ("exponential", "tail"))
        self.decay = as_number("decay", decay, low=0.0, high=1.0, open_high=True)
        begin = (0.5 if kind == "tail" else 0.0) if start is None else start
        self.start = as_number("start", begin, low=0.0, high=1.0, open_high=True)
        for name, parameter in model.named_parameters():
            if torch.finfo(parameter.dtype).bits < 32:
                raise ValueError(
                    f"model has the parameter {name!r} of {parameter.dtype}: an average would be"
                    " rounded back to where it was; keep parameters in float32 and train with"
                    " precision 'bfloat16-mixed'"
                )
        rules: dict[str, Any] = {
            "exponential": get_ema_multi_avg_fn(self.decay),  # type: ignore[no-untyped-call]
            "tail": self._take_share,
        }
        self._averaged = AveragedModel(model, multi_avg_fn=rules[kind])
        self._averaged.eval().requires_grad_(requires_grad=False)
        self.count = 0

    def _take_share(self, averaged: list[Tensor], current: list[Tensor], _: object) -> None:
        """Take weights into a plain mean; torch's own rounds the share to float32."""
        torch._foreach_lerp_(averaged, current, 1 / (self.count + 1))

    @property
    def model(self) -> nn.Module:
        """The network with the averaged weights, in evaluation mode.

        Until the first step that counts, with those it was made from or the task before left.
        """
        return self._averaged.module

    @property
    def settings(self) -> dict[str, str | float]:
        """What two averages must share for one to continue the other."""
        return {"kind": self.kind, "decay": self.decay, "start": self.start}

    def begin(self) -> None:
        """Forget what was averaged: a task begins."""
        self._averaged.n_averaged.zero_()
        self.count = 0

    def update(self, model: nn.Module, share: float) -> None:
        """Take in the weights after a step.

        Parameters
        ----------
        model : torch.nn.Module
            With the weights.
        share : float
            Share of the task's steps that is done.
        """
        if share > self.start:
            self._averaged.update_parameters(model)
            self.count += 1

    def measure_statistics(self, batches: Iterable[Tensor]) -> None:
        """Find the statistics of batch normalisation, if there is any, from inputs.

        Parameters
        ----------
        batches : iterable of Tensor
            Inputs in batches.
        """
        if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.model.modules()):
            update_bn(batches, self.model)
            self.model.eval()

    def state_dict(self) -> dict[str, Any]:
        """Return the average as a tree for a checkpoint.

        Returns
        -------
        dict
            The averaged weights and how many steps they are of.
        """
        return {"averaged": dict(self._averaged.state_dict()), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the average of a checkpoint.

        Parameters
        ----------
        state : dict
            What :meth:`state_dict` gave.
        """
        self._averaged.load_state_dict(state["averaged"])
        self.count = state["count"]
