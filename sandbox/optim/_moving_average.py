"""Moving averages of second moments."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sandbox.network.layers import factor_dtype
from theory.checks import as_number

__all__ = ["MovingAverage"]


class MovingAverage:
    r"""An exponential moving average of second moments, normalised exactly.

    **Equation.** :math:`x \leftarrow \beta x + (1 - \beta) s`,
    :math:`c \leftarrow \beta c + (1 - \beta)` with :math:`s` the new value; the average is
    :math:`x / c`, so that the first value is not shrunk. A new value is collected from as
    many batches as there are until :meth:`fold`: :math:`s = \sum_n r_n r_n^\top / N` with
    N the number of samples of all of them.

    **Shapes and units.** x is (column, column); a sample may bring several rows.

    Parameters
    ----------
    decay : float
        :math:`\beta`, in [0, 1); 0 keeps the newest value alone.
    keep_rows : bool
        Whether the rows of the newest value are kept beside it where they are at most a
        quarter of the columns, when the damped inverse is faster from them; only with decay
        0, since an average over more than one value has more rows than that before long.

    Attributes
    ----------
    total : Tensor or None
        x; None before the first value.
    weight : float
        c.
    pending : Tensor or None
        Sum over what has been collected and not folded yet.
    samples : int
        Number of samples in it.
    rows, pending_rows : Tensor or None
        What x, and the pending sum, are the sums of outer products of, where that is kept.

    Examples
    --------
    >>> average = MovingAverage(decay=0.5)
    >>> for value in (1.0, 4.0):
    ...     average.collect(torch.tensor([[value]]), samples=1)
    ...     average.fold()
    >>> average.value().item(), average.weight
    (11.0, 0.75)
    """

    def __init__(self, decay: float, *, keep_rows: bool = False) -> None:
        self.decay = as_number("decay", decay, low=0.0, high=1.0, open_high=True)
        self.keep_rows = keep_rows and self.decay == 0
        self.total: Tensor | None = None
        self.weight = 0.0
        self.pending: Tensor | None = None
        self.samples = 0
        self.rows: Tensor | None = None
        self.pending_rows: Tensor | None = None
        self._spare: Tensor | None = None

    def collect(self, rows: Float[Tensor, "row column"], samples: int, scale: float = 1.0) -> None:
        """Add the second moment of rows to the value being collected.

        Parameters
        ----------
        rows : Tensor
            In any real type; the sum is kept in float32, or float64 for float64.
        samples : int
            What the folded value is divided by, summed over all calls.
        scale : float
            Factor of this call's second moment.
        """
        rows = rows.to(factor_dtype(rows.dtype))
        self.samples += samples
        if self.keep_rows:
            self._keep(rows, math.sqrt(scale))
        if self.pending is not None:
            self.pending.addmm_(rows.T, rows, alpha=scale)
            return
        held, self._spare = self._spare, None
        if held is None or held.dtype != rows.dtype or held.device != rows.device:
            held = rows.new_empty(rows.shape[1], rows.shape[1])
        # with beta = 0 the contents are never read
        self.pending = torch.addmm(held, rows.T, rows, beta=0, alpha=scale, out=held)

    def _keep(self, rows: Tensor, scale: float) -> None:
        """Keep a copy of rows of the value being collected, as long as they are few."""
        before, first = self.pending_rows, self.pending is None
        held = 0 if before is None else len(before)
        if not (first or held) or 4 * (held + len(rows)) > rows.shape[1]:
            self.pending_rows = None
        elif before is None:
            # a file keeps no strides, and products round by them
            self.pending_rows = (rows * scale).contiguous()
        else:
            self.pending_rows = torch.cat([before, rows * scale])

    def add(
        self,
        moment: Float[Tensor, "column column"],
        samples: int,
        rows: Float[Tensor, "row column"] | None = None,
    ) -> None:
        """Add a second moment, already summed, to the value being collected.

        Parameters
        ----------
        moment : Tensor
            Sum over samples.
        samples : int
            How many.
        rows : Tensor or None
            What it is the sum of outer products of, if that is known.
        """
        moment = moment.to(factor_dtype(moment.dtype))
        self.samples += samples
        if rows is not None and self.keep_rows:
            self._keep(rows, 1.0)
        else:
            self.pending_rows = None
        self.pending = moment.clone() if self.pending is None else self.pending.add_(moment)

    def fold(self, *, mean: bool = True) -> None:
        """Let what has been collected enter the average as one value.

        Parameters
        ----------
        mean : bool
            Whether the value is the mean over samples or their sum.
        """
        if self.pending is None:
            return
        fresh = (1 - self.decay) / (self.samples if mean else 1)
        if self.total is None:
            self.total = self.pending.mul_(fresh)
        else:
            self.total.mul_(self.decay).add_(self.pending, alpha=fresh)
            # where pages of fresh memory cost as much as the product that fills them
            self._spare = self.pending if self.pending.device.type == "cpu" else None
        self.weight = self.decay * self.weight + (1 - self.decay)
        held = self.pending_rows
        self.rows = None if held is None else held.mul_(math.sqrt(fresh))
        self.drop()

    def drop(self) -> None:
        """Forget what has been collected and not folded yet."""
        self.put_back((None, 0, None))

    def set_aside(self) -> tuple[Tensor | None, int, Tensor | None]:
        """Return what has been collected and not folded yet, and forget it.

        Returns
        -------
        tuple
            For :meth:`put_back`.
        """
        held = self.pending, self.samples, self.pending_rows
        self.drop()
        return held

    def put_back(self, held: tuple[Tensor | None, int, Tensor | None]) -> None:
        """Take what :meth:`set_aside` gave in place of what has been collected since.

        Parameters
        ----------
        held : tuple
            The pending sum, its number of samples, and its rows if they are kept.
        """
        self.pending, self.samples, self.pending_rows = held

    def value(self) -> Float[Tensor, "column column"]:
        """Return the average, a new tensor.

        Returns
        -------
        Tensor
            x / c.
        """
        assert self.total is not None
        return self.total / self.weight

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain data; tensors are not copied."""
        return {
            "total": self.total,
            "weight": self.weight,
            "pending": self.pending,
            "samples": self.samples,
            "rows": self.rows,
            "pending_rows": self.pending_rows,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take everything back, tensors as copies in their own type.

        Rows, which are of the newest value alone, are left out unless this average keeps them.

        Parameters
        ----------
        state : dict
            What :meth:`state_dict` gave.
        device : torch.device
            Where the tensors are to be.
        """

        def taken(key: str) -> Tensor | None:
            held = state.get(key)
            return None if held is None else held.detach().to(device, copy=True)

        self.total, self.pending = taken("total"), taken("pending")
        # states written before rows were kept have none
        self.rows = taken("rows") if self.keep_rows else None
        self.pending_rows = taken("pending_rows") if self.keep_rows else None
        self.weight, self.samples = float(state["weight"]), int(state["samples"])
