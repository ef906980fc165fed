"""Moving averages of second moments and inverse powers of what they hold."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sandbox.network.layers import factor_dtype
from theory.checks import as_number

__all__ = ["MovingAverage", "inverse_root"]

LOG = logging.getLogger("sandbox.optim")

LinAlgError: type[RuntimeError] = torch.linalg.LinAlgError  # type: ignore[attr-defined]  # unlisted
"""What decompositions that do not converge raise."""


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

    Examples
    --------
    >>> average = MovingAverage(decay=0.5)
    >>> for value in (1.0, 4.0):
    ...     average.collect(torch.tensor([[value]]), samples=1)
    ...     average.fold()
    >>> average.value().item(), average.weight
    (11.0, 0.75)
    """

    def __init__(self, decay: float) -> None:
        self.decay = as_number("decay", decay, low=0.0, high=1.0, open_high=True)
        self.total: Tensor | None = None
        self.weight = 0.0
        self.pending: Tensor | None = None
        self.samples = 0
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
        if self.pending is not None:
            self.pending.addmm_(rows.T, rows, alpha=scale)
            return
        held, self._spare = self._spare, None
        if held is None or held.dtype != rows.dtype or held.device != rows.device:
            held = rows.new_empty(rows.shape[1], rows.shape[1])
        # with beta = 0 the contents are never read
        self.pending = torch.addmm(held, rows.T, rows, beta=0, alpha=scale, out=held)

    def add(self, moment: Float[Tensor, "column column"], samples: int) -> None:
        """Add a second moment, already summed, to the value being collected.

        Parameters
        ----------
        moment : Tensor
            Sum over samples.
        samples : int
            How many.
        """
        moment = moment.to(factor_dtype(moment.dtype))
        self.samples += samples
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
        self.drop()

    def drop(self) -> None:
        """Forget what has been collected and not folded yet."""
        self.pending, self.samples = None, 0

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
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take everything back, tensors as copies in their own type.

        Parameters
        ----------
        state : dict
            What :meth:`state_dict` gave.
        device : torch.device
            Where the tensors are to be.
        """
        total, pending = state["total"], state["pending"]
        self.total = None if total is None else total.detach().to(device, copy=True)
        self.pending = None if pending is None else pending.detach().to(device, copy=True)
        self.weight, self.samples = float(state["weight"]), int(state["samples"])


def inverse_root(
    matrix: Float[Tensor, "column column"],
    damping: float,
    power: float = 1.0,
    *,
    name: str = "the matrix",
    scale: float = 1.0,
    into: Tensor | None = None,
) -> Float[Tensor, "column column"]:
    r"""Inverse power of a symmetric positive semidefinite matrix, damped, as a matrix.

    **Equation.** :math:`(s A + \lambda)^{-p}`, from a Cholesky factorisation where p = 1 and
    from eigenvalues, those below 0 by rounding set to 0, otherwise.

    What fails is tried again in float64, then with ten times the damping; both are logged
    under ``sandbox.optim``.

    **Shapes and units.** The damping has the units of the matrix.

    Parameters
    ----------
    matrix : Tensor
        float32 or float64; left as it is.
    damping : float
        :math:`\lambda \ge 0`; above 0 unless the matrix is regular.
    power : float
        p > 0.
    name : str
        What the matrix belongs to, for messages.
    scale : float
        s.
    into : Tensor or None
        Memory that may be overwritten by the result, of the matrix's shape and type.

    Returns
    -------
    Tensor
        Symmetric, in the type of the matrix; ``into`` itself where that saved memory.

    Raises
    ------
    RuntimeError
        If the matrix holds what is not finite, or all three attempts fail.

    References
    ----------
    Benzing (2022), arXiv:2201.12250, equation 6, for p = 1; derived here otherwise.

    Examples
    --------
    >>> inverse_root(torch.tensor([[3.0]]), damping=1.0).item()
    0.25
    """
    attempts = [(matrix.dtype, damping)]
    if matrix.dtype != torch.float64:
        attempts.append((torch.float64, damping))
    attempts.append((torch.float64, 10 * damping))
    for i, (dtype, extra) in enumerate(attempts):
        if i:
            LOG.warning(
                "%s: the factorisation of the %s x %s covariance failed; trying %s, damping %g",
                name,
                *matrix.shape,
                str(dtype).removeprefix("torch."),
                extra,
            )
        if i == 0 and into is not None and into.is_contiguous() and not matrix.is_cuda:
            work = torch.mul(matrix, scale, out=into)
        else:
            work = matrix.to(dtype) * scale
        work.diagonal().add_(extra)
        found = _attempt(work, extra, power)
        if found is not None:
            # a file keeps no strides, and products may round differently for other ones
            return found.to(matrix.dtype).contiguous()
        if i == 0 and not math.isfinite(float(matrix.sum())):
            raise RuntimeError(
                f"{name}: its covariance is not finite; the step would not be either"
            )
    raise RuntimeError(
        f"{name}: its covariance cannot be factorised with damping {damping:g}, nor with ten times"
        " that in float64; increase the damping"
    )


def _attempt(work: Tensor, damping: float, power: float) -> Tensor | None:
    """Return the inverse power of a damped matrix, overwritten, or None where that failed."""
    if power == 1:
        # LAPACK's order of entries, so that both calls work in place
        work = work.mT
        if work.is_cuda:
            factor, info = torch.linalg.cholesky_ex(work)
        else:
            info = torch.empty((), dtype=torch.int32)
            factor, _ = torch.linalg.cholesky_ex(work, out=(work, info))
        if int(info):
            return None
        found = torch.cholesky_inverse(factor, out=None if work.is_cuda else work).mT
    else:
        try:
            values, vectors = torch.linalg.eigh(work)
        except LinAlgError:
            return None
        # below the damping there is rounding alone
        scaled = vectors * values.clamp_min(damping).pow(-power / 2)
        found = scaled @ scaled.T
    return found if math.isfinite(float(found.sum())) else None
