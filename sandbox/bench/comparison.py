"""A comparison of what theory predicts with what an experiment measures.

A :class:`Comparison` carries both sides, the relation that should hold between
them, and a tolerance together with the reason for its size;
:mod:`sandbox.bench.judgement` decides whether it does. Nothing here computes a
prediction or a measurement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

__all__ = ["Axis", "Comparison", "Relation"]

Relation = Literal["equals", "at_most", "at_least", "ordered", "inside"]


@dataclass(frozen=True)
class Axis:
    """One named axis of a comparison's arrays.

    Parameters
    ----------
    name : str
        What varies along the axis.
    values : sequence of float or str
        The coordinate of every index: numbers, or labels for categories.
    unit : str
        Unit of the numbers; empty for pure numbers and labels.
    log : bool
        Whether a figure should use a logarithmic scale.

    Raises
    ------
    ValueError
        If a coordinate is NaN.
    """

    name: str
    values: tuple[float | str, ...]
    unit: str = ""
    log: bool = False

    def __post_init__(self) -> None:
        values = tuple(v if isinstance(v, str) else float(v) for v in self.values)
        if any(not isinstance(v, str) and math.isnan(v) for v in values):
            raise ValueError(f"axis {self.name!r}: values contain NaN: every index needs a place")
        object.__setattr__(self, "values", values)

    @property
    def numeric(self) -> bool:
        """Whether every coordinate is a number."""
        return all(not isinstance(value, str) for value in self.values)

    @property
    def label(self) -> str:
        """Name with unit, for a figure."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True, eq=False)
class Comparison:
    r"""Predicted against measured, with the relation that should hold.

    **Equation.** Element by element, with p predicted, m measured and tol the
    tolerance: ``equals`` :math:`|m - p| \le tol`; ``at_most``
    :math:`m \le p + tol`; ``at_least`` :math:`m \ge p - tol`; ``ordered``
    :math:`m_i - m_j \le tol` for every two places along the last axis with
    :math:`p_i < p_j` (:math:`m_i < m_j` where tol is 0; equal predictions demand
    nothing); ``inside`` p lies within m +- uncertainty, and that interval is no
    wider than tol on each side. An infinity equals only itself.

    An ``uncertainty`` (half-width of an interval around m) makes the other
    relations three-valued: they hold if the whole interval satisfies them, fail
    if none of it does, and are inconclusive between.

    **Shapes and units.** predicted and measured have one shape, with one
    :class:`Axis` a dimension; both in ``unit``.

    Parameters
    ----------
    name : str
        What is compared, a short phrase.
    predicted, measured : array_like
        The two sides. The code that measures may not be the code that predicts.
    tolerance : float
        Largest deviation allowed, >= 0.
    reason : str
        Why the tolerance is that number.
    relation : {"equals", "at_most", "at_least", "ordered", "inside"}
        What should hold.
    relative : bool
        Whether deviations are divided by ``|predicted|``.
    uncertainty : array_like or None
        Half-width of the interval around the measurement; inf where nothing is known.
    confidence : str
        What that interval is, e.g. "95 % interval over 20 seeds".
    quantity, unit : str
        Name and unit of the compared numbers.
    axes : tuple of Axis
        One a dimension.
    log : bool
        Whether a figure should show the quantity on a logarithmic scale.
    curve : tuple of (x, y) or None
        The theory on a finer grid of the first axis, for the figure only;
        y has shape (x,) or (x, line), with a line for every place of the other axes.

    Raises
    ------
    ValueError
        If shapes disagree, a NaN occurs, or the tolerance is missing its reason.

    Examples
    --------
    >>> c = Comparison("slope", 2.0, 2.01, tolerance=0.1, reason="bound on the fit")
    >>> c.relation, c.measured.item()
    ('equals', 2.01)
    """

    name: str
    predicted: Array
    measured: Array
    tolerance: float
    reason: str
    relation: Relation = "equals"
    relative: bool = False
    uncertainty: Array | None = None
    confidence: str = ""
    quantity: str = "value"
    unit: str = ""
    axes: tuple[Axis, ...] = ()
    log: bool = False
    curve: tuple[Array, Array] | None = None

    def __post_init__(self) -> None:
        where = f"comparison {self.name!r}"
        for field in ("predicted", "measured"):
            object.__setattr__(self, field, _frozen(f"{where}: {field}", getattr(self, field)))
        if self.uncertainty is not None:
            import numpy as np

            width = np.broadcast_to(np.asarray(self.uncertainty, float), self.measured.shape)
            object.__setattr__(self, "uncertainty", _frozen(f"{where}: uncertainty", width))
            if (self.uncertainty < 0).any():
                raise ValueError(f"{where}: uncertainty must be >= 0 everywhere")
            if not self.confidence:
                raise ValueError(f"{where}: confidence is empty: say what the interval is")
        if self.curve is not None:
            x, y = (_frozen(f"{where}: curve", part) for part in self.curve)
            object.__setattr__(self, "curve", (x, y))
        object.__setattr__(self, "tolerance", float(self.tolerance))
        self._validate(where)
        self._validate_curve(where)

    def _validate(self, where: str) -> None:
        shape = self.predicted.shape
        if self.measured.shape != shape:
            raise ValueError(
                f"{where}: measured has shape {self.measured.shape}: must equal predicted's {shape}"
            )
        if self.predicted.size == 0:
            raise ValueError(f"{where}: nothing to compare (shape {shape})")
        lengths = tuple(len(axis.values) for axis in self.axes)
        if lengths != shape:
            raise ValueError(
                f"{where}: axes have lengths {lengths}: must be {shape}, one a dimension"
            )
        if self.relation not in get_args(Relation):
            raise ValueError(
                f"{where}: relation = {self.relation!r}: must be one of {get_args(Relation)}"
            )
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise ValueError(f"{where}: tolerance = {self.tolerance}: must be finite and >= 0")
        if not self.reason:
            raise ValueError(f"{where}: reason is empty: say why the tolerance is {self.tolerance}")
        if self.relation == "inside" and self.uncertainty is None:
            raise ValueError(f"{where}: relation 'inside' needs an uncertainty")
        if self.relation == "ordered":
            if not shape or shape[-1] < 2 or self.relative:
                raise ValueError(
                    f"{where}: relation 'ordered' needs two values and an absolute tolerance"
                )
            if (self.predicted == self.predicted[..., :1]).all():
                raise ValueError(f"{where}: relation 'ordered' needs predictions that differ")
        if self.relative and (self.predicted == 0).any():
            raise ValueError(f"{where}: a predicted value is 0: use an absolute tolerance")

    def _validate_curve(self, where: str) -> None:
        if self.curve is None:
            return
        x, y = self.curve
        lines = self.predicted.size // len(self.axes[0].values) if self.axes else 0
        if not (lines and self.axes[0].numeric):
            raise ValueError(f"{where}: a curve needs a first axis of numbers")
        if x.ndim != 1 or not x.size or y.shape not in {(x.size,), (x.size, lines)}:
            raise ValueError(
                f"{where}: curve has shapes {x.shape}, {y.shape}: must be (x,), (x, {lines})"
            )


def _frozen(name: str, value: Any) -> Array:
    """Return a read-only float64 copy without NaN."""
    import numpy as np

    if np.iscomplexobj(value):
        raise ValueError(f"{name} is complex: compare real and imaginary parts, or magnitudes")
    array = np.array(value, dtype=np.float64)
    if np.isnan(array).any():
        where = tuple(int(i) for i in np.argwhere(np.isnan(array))[0])
        raise ValueError(f"{name} is NaN at index {where}: an undefined number cannot be compared")
    array.flags.writeable = False
    return array
