"""Linear interpolation between networks: Gauss length, its bound, and two linear layers exactly."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from numbers import Rational
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from theory._gauss_length import (
    corner_rise,
    gauss_length,
    polynomial_gauss_length,
    quadratic_gauss_length,
    sufficient_condition,
)
from theory._interpolation_derivations import gauss_length_condition, two_layer_interpolation
from theory._monotone import Bump, Decision, bumps, decide_monotone, largest_rise
from theory.checks import as_matrix, shown

__all__ = [
    "Bump",
    "Decision",
    "TwoLayerPath",
    "bumps",
    "corner_rise",
    "decide_monotone",
    "gauss_length",
    "gauss_length_condition",
    "largest_rise",
    "polynomial_gauss_length",
    "sufficient_condition",
    "two_layer_interpolation",
    "two_layer_path",
]


class TwoLayerPath(NamedTuple):
    """What two linear layers compute on the line between two networks.

    Parameters
    ----------
    outputs : ndarray, shape (3, example, output)
        Coefficients of alpha^0, alpha^1, alpha^2; fractions if all that was given is exact.
    loss : ndarray, shape (5,)
        Coefficients of half the squared error, summed over outputs and examples.
    gauss_lengths : ndarray, shape (example,)
        In radians.
    error : float
        Bound on what rounding did to a coefficient of the loss; 0 if they are exact.
    stationary_end : bool
        Whether the error is measured from the end of the path, where its slope is 0.
    """

    outputs: Shaped[ndarray, "3 example output"]
    loss: Shaped[ndarray, " power"]
    gauss_lengths: Float[ndarray, " example"]
    error: float
    stationary_end: bool

    def decide(self) -> Decision:
        """Decide from the roots of its slope whether the loss rises on [0, 1].

        Returns
        -------
        Decision
            See :func:`decide_monotone`.
        """
        return decide_monotone(self.loss, error=self.error, stationary_end=self.stationary_end)


def two_layer_path(
    first: tuple[Any, Any],
    last: tuple[Any, Any],
    inputs: Any,
    targets: Any = None,
) -> TwoLayerPath:
    r"""Return the path of two linear layers between two networks, as polynomials of alpha.

    **Equation.** With weights :math:`(1-\alpha) W_l + \alpha W_l'` in both layers and
    :math:`\Delta_l = W_l' - W_l`,

    .. math::

        z(\alpha) = W_2 W_1 x + \alpha (W_2 \Delta_1 + \Delta_2 W_1) x
            + \alpha^2 \Delta_2 \Delta_1 x, \qquad
        L(\alpha) = \tfrac12 \sum \lVert z(\alpha) - y \rVert^2,

    a quartic. The Gauss length of an example is the angle between :math:`z'(0)` and
    :math:`z'(1)`: at most pi, and 0 if the path starts or ends at rest.

    **Shapes and units.** Rows of inputs and targets are examples.

    Where every entry is an integer or a fraction, so is every coefficient, and the decision is
    exact. Floats become exact by ``np.vectorize(Fraction, otypes=[object])``.

    Parameters
    ----------
    first, last : pair of array_like
        ``(W_1, W_2)`` of either network, input side first; shapes (hidden, input) and
        (output, hidden).
    inputs : array_like
        Shape (example, input).
    targets : array_like or None
        y, shape (example, output); None for the path's end z(1).

    Returns
    -------
    TwoLayerPath
        Coefficients of outputs and loss, Gauss lengths, and the error of the loss.

    Raises
    ------
    ValueError
        If an entry is not a finite number, or shapes do not fit.

    References
    ----------
    Two linear layers as a case that can be treated: Lucas et al. (2021), arXiv:2104.11044. The
    formulas: derived here, see :func:`two_layer_interpolation`.

    Examples
    --------
    >>> path = two_layer_path(([[1]], [[1]]), ([[-1]], [[-1]]), [[1]])
    >>> path.outputs[:, 0, 0].tolist() == [1, -4, 4]
    True
    >>> path.decide()
    Decision(status='rises', rise=0.5, start=0.0, end=0.5)
    """
    given = {"inputs": inputs} | ({} if targets is None else {"targets": targets})
    for name, pair in (("first", first), ("last", last)):
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise ValueError(f"{name} = {shown(pair)}: must be the pair (W_1, W_2)")
        given |= {f"{name}[{layer}]": pair[layer] for layer in range(2)}
    exact = all(map(_is_exact, given.values()))
    read: Callable[[str, Any], Any] = _as_fractions if exact else _as_floats
    arrays = {name: read(name, value) for name, value in given.items()}
    x, v1, v2, w1, w2 = (
        arrays[name] for name in ("inputs", "first[0]", "first[1]", "last[0]", "last[1]")
    )
    _check_shapes(arrays)
    x = x.T
    with np.errstate(over="ignore", invalid="ignore"):
        d1, d2 = w1 - v1, w2 - v2
        outputs = np.array([v2 @ v1 @ x, v2 @ (d1 @ x) + d2 @ (v1 @ x), d2 @ d1 @ x])
        goal = outputs.sum(axis=0) if targets is None else arrays["targets"].T
        away = np.array([outputs[0] - goal, *outputs[1:]])
        half = Fraction(1, 2) if exact else 0.5
        loss = np.array([
            half * sum((away[i] * away[k - i]).sum() for i in range(max(0, k - 2), min(k, 2) + 1))
            for k in range(5)
        ])  # fmt: skip
        error = 0.0
        if not exact:
            # every product and sum behind an output, with all signs alike, bounds its round-off
            size = (np.abs(v2) + np.abs(w2)) @ (np.abs(v1) + np.abs(w1)) @ np.abs(x)
            unit = float(np.finfo(np.float64).eps)
            doubt = 4 * (sum(v1.shape) + 4) * unit * (size + np.abs(goal))
            spread = np.abs(away).sum(axis=0)
            error = float((spread * doubt + doubt**2 + goal.size * unit * spread**2).sum())
    try:
        linear, quadratic = outputs[1].astype(np.float64), outputs[2].astype(np.float64)
        finite = np.isfinite(loss.astype(np.float64)).all() and np.isfinite(error)
    except OverflowError:
        finite = False
    if not finite:
        raise ValueError("inputs, weights: the loss is beyond the largest float; scale them down")
    lengths = np.array([
        quadratic_gauss_length(linear[:, n], quadratic[:, n]) for n in range(x.shape[1])
    ])  # fmt: skip
    return TwoLayerPath(outputs.swapaxes(1, 2), loss, lengths, error, targets is None)


def _is_exact(value: Any) -> bool:
    """Return whether all entries are integers or fractions."""
    try:
        entries = np.asarray(value, dtype=object).ravel()
    except ValueError:  # ragged, which the reading will refuse by name
        return False
    return all(
        isinstance(entry, Rational) and not isinstance(entry, bool | np.bool_) for entry in entries
    )


def _as_fractions(name: str, value: Any) -> Shaped[ndarray, "rows columns"]:
    """Return a matrix of fractions."""
    array = np.asarray(value, dtype=object)
    try:
        as_matrix(name, array.astype(np.float64))
    except OverflowError:
        raise ValueError(f"{name} has an entry beyond the largest float: scale it down") from None
    fractions = [Fraction(int(entry.numerator), int(entry.denominator)) for entry in array.flat]
    return np.array(fractions, dtype=object).reshape(array.shape)


def _as_floats(name: str, value: Any) -> Float[ndarray, "rows columns"]:
    """Return a matrix of floats; exact entries beside others are rounded."""
    exact = _is_exact(value)
    return as_matrix(name, _as_fractions(name, value).astype(np.float64) if exact else value)


def _check_shapes(arrays: dict[str, Any]) -> None:
    """Refuse matrices that do not make a two-layer network."""
    examples, features = arrays["inputs"].shape
    hidden = arrays["first[0]"].shape[0]
    output = arrays["first[1]"].shape[0]
    wanted = {"first[0]": (hidden, features), "first[1]": (output, hidden)}
    wanted |= {"last[0]": wanted["first[0]"], "last[1]": wanted["first[1]"]}
    if "targets" in arrays:
        wanted["targets"] = (examples, output)
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}: must be {shape}")
