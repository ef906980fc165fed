r"""Exact flows of balanced networks: Riccati solutions at depth two, the map at any depth.

A network is :math:`\lambda`-balanced when :math:`W_2^\top W_2 - W_1 W_1^\top =
\lambda I`, balanced when this vanishes between all neighbours. Full rules keep
either property, and it closes their equations. The derivations are in
``docs/derivations/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from deeplinear import _matrix_kernels as kernels
from deeplinear import _stepper_kernels as stepper
from deeplinear._riccati import generator_of, riccati_factor
from deeplinear.flow import _check_finished
from deeplinear.matrices import _check_target, blow_up_time, natural_gradient_map
from deeplinear.rules import RANK_TOLERANCE, BlowUpError, CurvatureCorrection
from theory._types import Matrix, Vector
from theory.checks import as_integer, as_matrices, as_matrix, as_number, as_times

__all__ = ["balanced_gram", "balanced_map_flow"]

BALANCE_TOLERANCE = 1e-10
"""Deviation from lambda-balance allowed, relative to the larger Gram matrix."""

_BISECTIONS = 14
"""Rounds of eight-fold refinement that locate a loss of rank, to about 1e-12 of the time."""


def _imbalance(first: Matrix, second: Matrix) -> float:
    """Return lambda, after checking that W_2'W_2 - W_1W_1' is lambda I."""
    outer, inner = second.T @ second, first @ first.T
    difference = outer - inner
    value = float(np.trace(difference)) / difference.shape[0]
    difference[np.diag_indices_from(difference)] -= value
    deviation = float(np.abs(difference).max())
    size = max(float(np.abs(outer).max()), float(np.abs(inner).max()))
    if deviation > BALANCE_TOLERANCE * size:
        raise ValueError(
            f"weights are not lambda-balanced: W_2'W_2 - W_1W_1' deviates from {value:.6g} I"
            f" by {deviation:.3g}, more than {BALANCE_TOLERANCE:g} of the Gram matrices' {size:.3g}"
        )
    return 0.0 if abs(value) <= BALANCE_TOLERANCE * size else value


def _gradient_gram(
    first: Matrix, second: Matrix, target: Matrix, imbalance: float, times: Vector
) -> Float[ndarray, "time joint joint"]:
    """Return QQ'(t) of gradient descent from the Riccati equation."""
    generator = generator_of(target, imbalance)
    rows = generator.inputs.T @ first.T + generator.outputs.T @ second
    size = sum(target.shape)
    gram = np.empty((times.size, size, size))
    for k, time in enumerate(times):
        factor = riccati_factor(generator.rates, rows, float(time))
        joint = np.vstack([generator.inputs @ factor, generator.outputs @ factor])
        gram[k] = joint @ joint.T
    return gram


def _check_natural_start(
    first: Matrix, second: Matrix, target: Matrix, imbalance: float, last: float
) -> None:
    """Refuse starts whose Gram matrices are not a function of the map for all times."""
    hidden, inputs, outputs = first.shape[0], first.shape[1], second.shape[0]
    # the layer that holds the surplus has the narrower role
    wide, other = (outputs, inputs) if imbalance >= 0 else (inputs, outputs)
    if imbalance != 0 and hidden == wide:
        return
    if imbalance != 0 and not hidden == other < wide:
        raise ValueError(
            f"weights have widths {inputs}-{hidden}-{outputs} and lambda = {imbalance:.3g}: with"
            " power 1 the map determines the Gram matrices only if the hidden width is"
            f" {wide}, or {other} where that is smaller"
        )
    values = np.linalg.svd(second @ first, compute_uv=False)
    if values[-1] <= RANK_TOLERANCE * values[0]:
        raise ValueError(
            f"weights have a product of deficient rank (singular values {values[0]:.3g} to"
            f" {values[-1]:.3g}): with power 1 this start must have full rank"
        )
    if inputs == outputs:
        # one layer for the map and one as wide: balance ties both to the rank of the map
        singular = blow_up_time([np.eye(inputs), second @ first], target, 0.5)
        if last >= singular:
            raise BlowUpError(
                f"times[-1] = {last}: the balanced network meets the saddle at t ="
                f" {singular:.6g}, where natural gradient moves infinitely fast",
                singular,
            )


def _natural_gram(
    first: Matrix, second: Matrix, target: Matrix, imbalance: float, times: Vector
) -> Float[ndarray, "time joint joint"]:
    """Return QQ'(t) of natural gradient descent, a function of the map alone."""
    inputs, outputs = first.shape[1], second.shape[0]
    half = imbalance / 2
    gram = np.empty((times.size, inputs + outputs, inputs + outputs))
    for k, product in enumerate(natural_gradient_map(second @ first, target, times)):
        left, values, right = np.linalg.svd(product)
        middle = np.hypot(values, half)
        # the smaller root from the product of both, lest it cancel
        large = middle + abs(half)
        small = values * (values / np.where(large > 0, large, 1.0))
        inner = np.zeros(inputs)
        outer = np.zeros(outputs)
        rank = values.size
        inner[:rank], outer[:rank] = (small, large) if half >= 0 else (large, small)
        if half > 0 and first.shape[0] == outputs:
            outer[rank:] = imbalance
        if half < 0 and first.shape[0] == inputs:
            inner[rank:] = -imbalance
        gram[k, :inputs, :inputs] = (right.T * inner) @ right
        gram[k, inputs:, inputs:] = (left * outer) @ left.T
        gram[k, inputs:, :inputs] = product
        gram[k, :inputs, inputs:] = product.T
    return gram


def balanced_gram(
    weights: Sequence[Matrix],
    target: Matrix,
    times: Vector,
    power: Literal[0, 1] = 0,
) -> Float[ndarray, "time joint joint"]:
    r"""Gram matrices and map of a lambda-balanced two-layer network, in closed form.

    **Equation.** Let :math:`Q = [W_1^\top; W_2]`, so that :math:`QQ^\top` holds
    :math:`W_1^\top W_1`, :math:`\bar W` and :math:`W_2 W_2^\top`, and
    :math:`F = [[-\lambda I/2, W^{*\top}], [W^*, \lambda I/2]]`. Gradient descent:
    :math:`QQ^\top(t) = e^{Ft} Q_0 [I + Q_0^\top \int_0^t e^{2F\tau} d\tau\, Q_0]^{-1}
    Q_0^\top e^{Ft}`, for any widths and targets, singular F included; growing
    exponentials are divided out, so any time can be asked for. Natural gradient:
    the map is the chord of :func:`natural_gradient_map` and :math:`W_1^\top W_1 =
    -\tfrac{\lambda}{2} I + (\tfrac{\lambda^2}{4} I + \bar W^\top \bar W)^{1/2}`,
    :math:`W_2 W_2^\top = \tfrac{\lambda}{2} I + (\tfrac{\lambda^2}{4} I + \bar W
    \bar W^\top)^{1/2}`, the second on the span of :math:`W_2` alone (for
    :math:`\lambda < 0` the first on that of :math:`W_1^\top`).

    Directions of the start that are lost in rounding count as present: a network
    of deficient rank keeps its rank only if its zeros are exact.

    **Shapes and units.** W_1 (n_1, n_0), W_2 (n_2, n_1), target (n_2, n_0); joint
    = n_0 + n_2, inputs first; whitened inputs; times in 1 / learning rate.

    Parameters
    ----------
    weights : sequence of Matrix
        W_1 and W_2 at time zero, lambda-balanced to 1e-10 of their Gram matrices.
    target : Matrix
        W*.
    times : Vector
        Output times, sorted.
    power : {0, 1}
        0 is gradient descent, 1 undamped natural gradient descent (full rules).

    Returns
    -------
    Float[ndarray, "time joint joint"]
        QQ'(t).

    Raises
    ------
    ValueError
        If the start is not lambda-balanced (the deviation is stated), or power is 1
        and the widths or ranks leave the Gram matrices undetermined by the map.
    BlowUpError
        If power is 1, lambda is 0 and the chord crosses a singular map.

    References
    ----------
    Fukumizu (1998), ICONIP; Braun et al. (2022), NeurIPS; Domine et al. (2024),
    arXiv:2409.14623 (gradient descent). The natural gradient form is derived here.

    Examples
    --------
    >>> start = [np.array([[0.1]]), np.array([[0.1]])]
    >>> gram = balanced_gram(start, np.array([[2.0]]), np.array([1.0]))
    >>> gram[0]
    array([[0.43058792, 0.43058792],
           [0.43058792, 0.43058792]])
    """
    chain = as_matrices("weights", weights)
    if len(chain) != 2:
        raise ValueError(f"weights has {len(chain)} layers: must have 2")
    if power not in {0, 1}:
        raise ValueError(f"power = {power}: must be 0 or 1")
    first, second = chain
    target = _check_target("target", target, second.shape[0], first.shape[1])
    times = as_times("times", times)
    imbalance = _imbalance(first, second)
    if power == 0:
        return _gradient_gram(first, second, target, imbalance, times)
    _check_natural_start(first, second, target, imbalance, float(times[-1]))
    return _natural_gram(first, second, target, imbalance, times)


def _integrate_map(
    rule: CurvatureCorrection,
    start: Matrix,
    target: Matrix,
    depth: int,
    times: Vector,
    rtol: float,
) -> Float[ndarray, "time out in"]:
    """Return the integrated map, whatever the network behind it does."""
    problem = kernels.Problem(
        kernels.BALANCED_MAP,
        np.full(depth + 1, start.shape[0]),
        target,
        rule.power,
        rule.damping,
        rule.prefactor(depth),
        True,
        np.eye(1),
    )
    budget = stepper.STEP_BUDGET
    states, outcome, reached = stepper.integrate(problem, start.ravel(), times, rtol, budget)
    _check_finished(outcome, reached, float(times[-1]))
    maps: Float[ndarray, "time out in"] = states.reshape(times.size, *start.shape)
    return maps


def _check_rank_kept(
    rule: CurvatureCorrection,
    start: Matrix,
    target: Matrix,
    depth: int,
    times: Vector,
    maps: Float[ndarray, "time out in"],
    rtol: float,
) -> None:
    """Raise where the determinant changes sign: no balanced network takes its map there."""
    orientation = np.linalg.slogdet(start)[0]
    if orientation == 0 or (np.linalg.slogdet(maps)[0] == orientation).all():
        return
    low, high, state = 0.0, 0.0, start
    for _ in range(_BISECTIONS):
        turned = int(np.argmax(np.linalg.slogdet(maps)[0] != orientation))
        high = low + float(times[turned])
        if turned > 0:
            low, state = low + float(times[turned - 1]), maps[turned - 1]
        times = np.linspace(0.0, high - low, 9)
        maps = _integrate_map(rule, state, target, depth, times, rtol)
        if (np.linalg.slogdet(maps)[0] == orientation).all():
            break
    raise BlowUpError(
        f"times[-1] lies beyond t = {high:.6g}, where the map loses rank and no balanced"
        " network follows; ask for earlier times or set damping > 0",
        high,
    )


def balanced_map_flow(
    rule: CurvatureCorrection,
    map_start: Matrix,
    target: Matrix,
    depth: int,
    times: Vector,
    rtol: float = 1e-10,
) -> Float[ndarray, "time out in"]:
    r"""Map of a balanced network of any depth under a full rule.

    **Equation.** With :math:`\bar W = U \operatorname{diag}(\sigma) V^\top` the
    curvature is diagonal, :math:`K[u_a v_b^\top] = k_{ab} u_a v_b^\top` with
    :math:`k_{ab} = \sum_{j=0}^{d-1} \sigma_a^{2(d-1-j)/d} \sigma_b^{2j/d}`, so
    :math:`\dot{\bar W} = -\kappa U [k (k + \varepsilon)^{-q} \circ
    (U^\top \Delta V)] V^\top`. One evaluation costs one singular value
    decomposition of the map, however deep the network; hidden layers are taken to be
    wide enough for the map's rank.

    **Shapes and units.** map_start and target (out, in); whitened inputs; times in
    1 / learning rate.

    Parameters
    ----------
    rule : CurvatureCorrection
        A full rule, or power 0.
    map_start : Matrix
        Wb(0).
    target : Matrix
        W*.
    depth : int
        Number of weight layers, d >= 1.
    times : Vector
        Output times, sorted.
    rtol : float
        Relative error allowed in each step, in [1e-14, 1e-2].

    Returns
    -------
    Float[ndarray, "time out in"]
        Wb(t).

    Raises
    ------
    ValueError
        If the rule is a layer rule, which does not keep balance, or the flow is too
        stiff for the times asked for.
    BlowUpError
        If the map loses rank and the rule is not continuous there.

    References
    ----------
    Arora, Cohen & Hazan (2018), arXiv:1802.06509 (power 0); other powers and damping
    are derived here.

    Examples
    --------
    >>> rule = CurvatureCorrection(power=1.0)
    >>> half = np.array([np.log(2.0)])
    >>> balanced_map_flow(rule, np.eye(2), 3 * np.eye(2), 4, half)[0].round(9) + 0.0
    array([[2., 0.],
           [0., 2.]])
    """
    if rule.blocks == "layer" and rule.power > 0:
        raise ValueError(
            f"rule = {rule}: layer rules with power > 0 do not keep a network balanced;"
            " use blocks='full'"
        )
    start = as_matrix("map_start", map_start)
    target = _check_target("target", target, *start.shape)
    depth = as_integer("depth", depth, low=1)
    times = as_times("times", times)
    rtol = as_number("rtol", rtol, low=1e-14, high=1e-2)
    maps = _integrate_map(rule, start, target, depth, times, rtol)
    if rule.power > 0 and not rule.damping > 0 and depth > 1 and start.shape[0] == start.shape[1]:
        _check_rank_kept(rule, start, target, depth, times, maps, rtol)
    return maps
