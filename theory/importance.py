r"""What importance measures of weights estimate: path sums, squared gradients, label measures.

One parameter's loss gradient has the mean :math:`\mu` and the variance :math:`s^2` over samples;
that of a batch of b samples has the variance :math:`f s^2`, with :math:`f = 1/b`, or
:math:`f = (N-b)/(b(N-1))` for a batch drawn without replacement from N samples. Everything here
is for one parameter at a time; arrays hold one entry each. Derivations: ``docs/derivations/``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory._importance_adam_derivations import adam_path_integral
from theory._importance_label_derivations import memory_and_absolute_fisher, two_classes
from theory._importance_moments import (
    PathSums,
    batched_fisher_mean,
    path_bias_sgd,
    path_sums_adam,
    sos_second_moment,
)
from theory._importance_noise_derivations import path_integral_bias
from theory._importance_penalty_derivations import merged_penalties
from theory._importance_square_derivations import batched_fisher, squared_noise
from theory.checks import as_matrix, as_vector, shown

__all__ = [
    "LabelMeasures",
    "MergedPenalty",
    "PathSums",
    "adam_path_integral",
    "batched_fisher",
    "batched_fisher_mean",
    "label_measures",
    "memory_and_absolute_fisher",
    "merge_penalties",
    "merged_penalties",
    "path_bias_sgd",
    "path_integral_bias",
    "path_sums_adam",
    "sos_second_moment",
    "squared_noise",
    "two_classes",
]


class LabelMeasures(NamedTuple):
    """Importances of all parameters for the outputs at one input.

    Parameters
    ----------
    fisher : Float[ndarray, " parameter"]
        Diagonal of the Fisher matrix.
    absolute : Float[ndarray, " parameter"]
        Absolute Fisher.
    memory : Float[ndarray, " parameter"]
        Memory aware synapses, on the squared norm of the probabilities.
    memory_top : Float[ndarray, " parameter"]
        The same on the squared probability of the likeliest label.
    """

    fisher: Float[ndarray, " parameter"]
    absolute: Float[ndarray, " parameter"]
    memory: Float[ndarray, " parameter"]
    memory_top: Float[ndarray, " parameter"]


class MergedPenalty(NamedTuple):
    """One quadratic penalty that equals several.

    Parameters
    ----------
    importance : Float[ndarray, " parameter"]
        Summed importances.
    anchor : Float[ndarray, " parameter"]
        Their weighted mean of the anchors; the newest anchor where all importances are 0.
    constant : float
        What is left at the anchor.
    """

    importance: Float[ndarray, " parameter"]
    anchor: Float[ndarray, " parameter"]
    constant: float


def label_measures(
    probabilities: Float[ndarray, " label"], scores: Float[ndarray, "label parameter"]
) -> LabelMeasures:
    r"""Return the importances at one input from the gradients of all labels.

    **Equation.** With :math:`g_y = -\partial \log p_y`: Fisher :math:`\sum p_y g_y^2`, absolute
    Fisher :math:`\sum p_y \lvert g_y \rvert`, memory :math:`2 \lvert \sum p_y^2 g_y \rvert`, and
    :math:`2 p_1^2 \lvert g_1 \rvert` of the likeliest label.

    **Shapes and units.** (parameter,) each; labels along the first axis.

    Parameters
    ----------
    probabilities : Float[ndarray, " label"]
        p, adding up to 1.
    scores : Float[ndarray, "label parameter"]
        g, whose mean under p is 0, as probabilities add up to 1 at all weights.

    Returns
    -------
    LabelMeasures
        Of two equally likely labels the first counts as the likeliest.

    Raises
    ------
    ValueError
        If the probabilities are none, shapes disagree, or the scores do not average to 0.

    References
    ----------
    Benzing (2022), arXiv:2006.06357, and for memory Aljundi et al. (2018), arXiv:1711.09601;
    relations: derived here, see :func:`memory_and_absolute_fisher`.

    Examples
    --------
    >>> p = np.array([0.75, 0.25])
    >>> found = label_measures(p, p - np.eye(2))  # parameters: the two logits
    >>> found.absolute[0], found.memory_top[0], found.memory[0]  # 1, p_1, p_1 - p_2 times AF
    (np.float64(0.375), np.float64(0.28125), np.float64(0.1875))
    """
    p, g = as_vector("probabilities", probabilities), as_matrix("scores", scores)
    if len(p) != len(g):
        raise ValueError(f"scores has {len(g)} rows: must be {len(p)}, one a probability")
    if (p < 0).any() or abs(p.sum() - 1) > 1e-4:  # float32 networks of many labels
        raise ValueError(f"probabilities = {shown(p)}: must be >= 0 and add up to 1")
    off = np.abs(p @ g)
    # float32 keeps seven digits of every score, however small its probability makes the sum
    if (off > 1e-4 * np.abs(g).max()).any():
        where = int(off.argmax())
        raise ValueError(
            f"scores average to {off[where]:g} for parameter {where}: must be 0 under the"
            " probabilities; are they gradients of -log p?"
        )
    top = int(p.argmax())
    return LabelMeasures(
        fisher=p @ g**2,
        absolute=p @ np.abs(g),
        memory=2 * np.abs(p**2 @ g),
        memory_top=2 * p[top] ** 2 * np.abs(g[top]),
    )


def merge_penalties(
    importances: Float[ndarray, "task parameter"], anchors: Float[ndarray, "task parameter"]
) -> MergedPenalty:
    r"""Return the one quadratic penalty that equals the sum of several, each with its anchor.

    **Equation.** :math:`\sum_k F_k (\theta - t_k)^2 = F (\theta - t)^2 + C` with
    :math:`F = \sum F_k`, :math:`t = \sum F_k t_k / F`, :math:`C = \sum F_k (t_k - t)^2`; for two
    tasks :math:`C = F_1 F_2 (t_1 - t_2)^2 / (F_1 + F_2)`, summed over parameters.

    **Shapes and units.** (parameter,) and a number in units of the loss.

    Parameters
    ----------
    importances : Float[ndarray, "task parameter"]
        F, >= 0, oldest task first.
    anchors : Float[ndarray, "task parameter"]
        t.

    Returns
    -------
    MergedPenalty
        Importance, anchor and constant.

    Raises
    ------
    ValueError
        If shapes differ or an importance is negative.

    References
    ----------
    Completing the square, see :func:`merged_penalties`.

    Examples
    --------
    >>> merge_penalties(np.array([[1.0], [3.0]]), np.array([[0.0], [4.0]]))
    MergedPenalty(importance=array([4.]), anchor=array([3.]), constant=12.0)
    """
    strengths, places = as_matrix("importances", importances), as_matrix("anchors", anchors)
    if strengths.shape != places.shape:
        raise ValueError(
            f"anchors has shape {places.shape}: must be {strengths.shape}, that of importances"
        )
    if (strengths < 0).any():
        raise ValueError(f"importances has the entry {strengths.min():g}: must be >= 0")
    largest = strengths.max(axis=0)
    # over the largest, so that neither sums of squares nor quotients of small strengths underflow
    shares = strengths / np.where(largest > 0, largest, 1.0)
    total = shares.sum(axis=0)
    weights = shares / np.where(total > 0, total, 1.0)
    anchor = np.where(total > 0, (weights * places).sum(axis=0), places[-1])
    return MergedPenalty(
        strengths.sum(axis=0), anchor, float((strengths * (places - anchor) ** 2).sum())
    )
