r"""Layerwise preconditioning of gradients: the steps as formulas, their scalings and their damping.

A layer maps inputs a to outputs Wa; e is the gradient of one sample's loss in the outputs. Its
gradient is the mean G of :math:`e a^\top`. Two covariances precondition it: that of the inputs,
:math:`A = \langle a a^\top \rangle`, and that of the output gradients,
:math:`E = \langle e e^\top \rangle`. Flattened row by row, W has the curvature
:math:`E \otimes A` in the approximation of K-FAC. Derivations: ``docs/derivations/``.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory._fisher_derivations import (
    fisher_gauss_newton,
    gram_natural_gradient,
    laplace_samples,
)
from theory._kronecker_derivations import kronecker_damping, kronecker_gauss_newton
from theory._preconditioning_derivations import (
    moving_average,
    neuron_descent,
    preconditioner_scaling,
)
from theory._preconditioning_limits import infinite_damping, muon_half_power
from theory._step_costs import StepCost, step_cost
from theory.checks import as_integer, as_matrix, as_number, one_of

__all__ = [
    "StepCost",
    "fisher_gauss_newton",
    "gram_natural_gradient",
    "infinite_damping",
    "kronecker_damping",
    "kronecker_gauss_newton",
    "kronecker_step",
    "laplace_samples",
    "moving_average",
    "moving_average_weights",
    "muon_half_power",
    "neuron_descent",
    "neuron_step",
    "preconditioner_scaling",
    "scaled_settings",
    "split_damping",
    "step_cost",
]


def neuron_step(
    gradient: Float[ndarray, "out in"],
    inputs: Float[ndarray, "in in"],
    damping: float,
    power: float = 1.0,
) -> Float[ndarray, "out in"]:
    r"""Return the step of gradient descent on neurons, before the learning rate.

    **Equation.** :math:`G (A + \lambda I)^{-q}`, q = 1 unless said otherwise: the ridge
    regression of output moves along their gradient on the inputs. Descent subtracts it.

    **Shapes and units.** (out, in).

    Parameters
    ----------
    gradient : Float[ndarray, "out in"]
        G.
    inputs : Float[ndarray, "in in"]
        A, symmetric without negative eigenvalues.
    damping : float
        lambda > 0, in units of A.
    power : float
        q >= 0.

    Returns
    -------
    Float[ndarray, "out in"]
        The step.

    Raises
    ------
    ValueError
        If A is not a covariance of as many inputs as G has columns, or a number out of range.

    References
    ----------
    Benzing (2022), arXiv:2201.12250, equation 6; powers: derived here.

    Examples
    --------
    >>> inputs = np.array([[3.0, 1.0], [1.0, 0.0]])  # one sample a row
    >>> slopes = np.array([[-1.0], [1.0]])
    >>> neuron_step(slopes.T @ inputs, inputs.T @ inputs, 1e-12).round(6)
    array([[ 1., -4.]])
    """
    matrix = as_matrix("gradient", gradient)
    values, vectors = _spectrum("inputs", inputs, matrix.shape[1], "columns")
    lam = as_number("damping", damping, low=0.0, open_low=True)
    exponent = as_number("power", power, low=0.0)
    step: ndarray = (matrix @ vectors) * (values + lam) ** -exponent @ vectors.T
    return step


def split_damping(
    inputs: Float[ndarray, "in in"], outputs: Float[ndarray, "out out"], damping: float
) -> tuple[float, float]:
    r"""Return the dampings of the two factors in heuristic damping.

    **Equation.** :math:`\lambda_A \lambda_E = \lambda`,
    :math:`\lambda_A / \lambda_E = (\mathrm{tr} A / m) / (\mathrm{tr} E / n)`, for A of size m
    and E of size n: the split for which the cross terms
    :math:`\lambda_E A \otimes I + \lambda_A I \otimes E` have the least trace.

    **Shapes and units.** Scalars, in units of A and of E.

    Parameters
    ----------
    inputs : Float[ndarray, "in in"]
        A.
    outputs : Float[ndarray, "out out"]
        E.
    damping : float
        lambda > 0, in units of the product of A and E.

    Returns
    -------
    tuple of float
        lambda_A and lambda_E.

    Raises
    ------
    ValueError
        If a factor is not square, has no positive trace, or the damping is not positive.

    References
    ----------
    Martens & Grosse (2015), arXiv:1503.05671, section 6.3; that the trace is least: derived here.

    Examples
    --------
    >>> split_damping(np.diag([6.0, 2.0]), np.diag([0.25, 0.25, 0.25]), 1.0)
    (4.0, 0.25)
    """
    means = []
    for name, factor in (("inputs", inputs), ("outputs", outputs)):
        matrix = as_matrix(name, factor)
        if matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"{name} has shape {matrix.shape}: must be square")
        mean = float(np.trace(matrix)) / len(matrix)
        if not mean > 0:
            raise ValueError(
                f"{name} has the trace {mean * len(matrix):g}: must be > 0, or damping has nothing"
                " to be split by"
            )
        means.append(mean)
    lam = as_number("damping", damping, low=0.0, open_low=True)
    ratio = math.sqrt(means[0]) / math.sqrt(means[1])
    return ratio * math.sqrt(lam), math.sqrt(lam) / ratio


def kronecker_step(
    gradient: Float[ndarray, "out in"],
    inputs: Float[ndarray, "in in"],
    outputs: Float[ndarray, "out out"],
    damping: float,
    *,
    rule: str = "heuristic",
) -> Float[ndarray, "out in"]:
    r"""Return the step of Kronecker-factored curvature (K-FAC), before the learning rate.

    **Equation.** Heuristic: :math:`(E + \lambda_E I)^{-1} G (A + \lambda_A I)^{-1}`, the dampings
    as :func:`split_damping` says. Standard: the solution X of :math:`E X A + \lambda X = G`, that
    is :math:`U_E [ (U_E^\top G U_A) / (s_E s_A^\top + \lambda) ] U_A^\top` in the eigenbases.

    **Shapes and units.** (out, in).

    Parameters
    ----------
    gradient : Float[ndarray, "out in"]
        G.
    inputs : Float[ndarray, "in in"]
        A, symmetric without negative eigenvalues.
    outputs : Float[ndarray, "out out"]
        E, likewise.
    damping : float
        lambda > 0.
    rule : {"heuristic", "standard"}
        How the damping enters.

    Returns
    -------
    Float[ndarray, "out in"]
        The step.

    Raises
    ------
    ValueError
        If a factor is not a covariance of the gradient's size, or the rule or damping is unknown.

    References
    ----------
    Martens & Grosse (2015), arXiv:1503.05671; Benzing (2022), arXiv:2201.12250, appendix E.

    Examples
    --------
    >>> E, G = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 0.0]])
    >>> kronecker_step(G, np.eye(2), E, 1.0, rule="standard").round(12) + 0.0
    array([[ 0.375,  0.   ],
           [-0.125,  0.   ]])
    """
    matrix = as_matrix("gradient", gradient)
    values_a, of_a = _spectrum("inputs", inputs, matrix.shape[1], "columns")
    values_e, of_e = _spectrum("outputs", outputs, matrix.shape[0], "rows")
    lam = as_number("damping", damping, low=0.0, open_low=True)
    if one_of("rule", rule, ("heuristic", "standard")) == "heuristic":
        over_inputs, over_outputs = split_damping(inputs, outputs, lam)
        spectrum = np.outer(values_e + over_outputs, values_a + over_inputs)
    else:
        spectrum = np.outer(values_e, values_a) + lam
    step: ndarray = of_e @ ((of_e.T @ matrix @ of_a) / spectrum) @ of_a.T
    return step


def scaled_settings(
    learning_rate: float,
    damping: float,
    samples: int,
    *,
    rule: str = "foof",
    to: str = "mean",
    power: float = 1.0,
) -> tuple[float, float]:
    r"""Translate learning rate and damping between summed and averaged input covariances.

    **Equation.** Rate :math:`\eta` and damping :math:`\lambda` with inputs *summed* over N samples
    make the same steps as :math:`\eta / N^q` and :math:`\lambda / N` with inputs *averaged* over
    them; q is the power of the inverse. Natural gradient averages in either scaling: nothing
    changes. Momentum stays as it is. Decoupled weight decay times the rate is what shrinks the
    weights: multiply it by the old rate over the new.

    **Shapes and units.** Scalars.

    Parameters
    ----------
    learning_rate : float
        eta > 0.
    damping : float
        lambda > 0.
    samples : int
        N, the rows that the input covariance is summed over in one batch.
    rule : {"foof", "heuristic", "standard", "natural"}
        Gradient descent on neurons, K-FAC with either damping, or natural gradient.
    to : {"mean", "sum"}
        The scaling wanted; the numbers given are of the other one.
    power : float
        q >= 0.

    Returns
    -------
    tuple of float
        Learning rate and damping.

    Raises
    ------
    ValueError
        If a number is out of range or a name is unknown.

    References
    ----------
    That the scalings differ: Benzing (2022), arXiv:2201.12250, appendix D; the translation:
    derived here.

    Examples
    --------
    >>> scaled_settings(30.0, 100.0, 100)
    (0.3, 1.0)
    """
    rate = as_number("learning_rate", learning_rate, low=0.0, open_low=True)
    lam = as_number("damping", damping, low=0.0, open_low=True)
    count = as_integer("samples", samples, low=1)
    exponent = as_number("power", power, low=0.0)
    natural = one_of("rule", rule, ("foof", "heuristic", "standard", "natural")) == "natural"
    over = one_of("to", to, ("mean", "sum")) == "mean"
    if natural:
        return rate, lam
    factor = float(count) ** exponent
    return (rate / factor, lam / count) if over else (rate * factor, lam * count)


def moving_average_weights(updates: int, decay: float) -> Float[ndarray, " update"]:
    r"""Return the weights of batches in an exponential average normalised by that of one.

    **Equation.** :math:`w_j = (1-m) m^{k-j} / (1 - m^k)` for update j of k: they add up to one.

    **Shapes and units.** (update,), oldest first.

    Parameters
    ----------
    updates : int
        k >= 1.
    decay : float
        m in [0, 1).

    Returns
    -------
    Float[ndarray, "update"]
        The weights.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Standard; as in Benzing (2022), arXiv:2201.12250.

    Examples
    --------
    >>> moving_average_weights(2, 0.95).round(6)
    array([0.487179, 0.512821])
    """
    count = as_integer("updates", updates, low=1)
    m = as_number("decay", decay, low=0.0, high=1.0, open_high=True)
    powers = m ** np.arange(count - 1, -1, -1.0)
    weights: ndarray = powers / powers.sum()  # 1 - m^k would lose digits near m = 1
    return weights


def _spectrum(name: str, factor: object, size: int, side: str) -> tuple[ndarray, ndarray]:
    """Return eigenvalues, clipped at 0, and eigenvectors of a covariance of that size."""
    matrix = as_matrix(name, factor)
    if matrix.shape != (size, size):
        raise ValueError(
            f"{name} has shape {matrix.shape}: must be ({size}, {size}), as gradient has {size}"
            f" {side}"
        )
    scale = float(np.abs(matrix).max())
    if np.abs(matrix - matrix.T).max() > 1e-8 * scale:
        raise ValueError(f"{name} is not symmetric: must be a covariance")
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -1e-8 * scale * size:
        raise ValueError(f"{name} has the eigenvalue {values[0]:g}: must be a covariance, >= 0")
    return np.maximum(values, 0.0), vectors
