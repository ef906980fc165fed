r"""From data to the linear regression problem that a deep linear network solves.

A linear map W meets data (x, y) only through the second moments of x and the
least-squares map W*; everything else is a constant of the loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from theory.checks import as_matrix, as_number

__all__ = ["Teacher", "teacher"]


@dataclass(frozen=True)
class Teacher:
    r"""The least-squares problem behind a data set, in the coordinates of its inputs.

    **Equation.** With :math:`\tilde x = P x` the transformed inputs and
    :math:`\Sigma = E[\tilde x \tilde x^\top]`,
    :math:`\tfrac12 E\|y - W \tilde x\|^2 = \tfrac12 \operatorname{tr}
    (W - W^*) \Sigma (W - W^*)^\top + \text{floor}` for every W, and
    :math:`W^* = U \operatorname{diag}(s) V^\top`.

    **Shapes and units.** target (out, in), transform (in, feature); the loss has the
    units of the outputs squared.

    Parameters
    ----------
    target : Float[ndarray, "out in"]
        W*.
    input_covariance : Float[ndarray, "in in"] or None
        :math:`\Sigma`, about zero; None stands for the identity (whitened inputs).
    transform : Float[ndarray, "in feature"]
        P, the map from features to inputs.
    left : Float[ndarray, "out mode"]
        U.
    singular_values : Float[ndarray, " mode"]
        s, largest first.
    right : Float[ndarray, "in mode"]
        V.
    floor : float
        The loss that no linear map removes.

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120.
    """

    target: Float[ndarray, "out in"]
    input_covariance: Float[ndarray, "in in"] | None
    transform: Float[ndarray, "in feature"]
    left: Float[ndarray, "out mode"]
    singular_values: Float[ndarray, " mode"]
    right: Float[ndarray, "in mode"]
    floor: float

    def inputs(self, features: Float[ndarray, "sample feature"]) -> Float[ndarray, "sample in"]:
        r"""Return features in the coordinates of the network's inputs.

        **Equation.** :math:`\tilde x = P x`.

        **Shapes and units.** One sample a row, in and out.

        Parameters
        ----------
        features : Float[ndarray, "sample feature"]
            Raw inputs, of the data set or new ones.

        Returns
        -------
        Float[ndarray, "sample in"]
            The transformed inputs.

        Raises
        ------
        ValueError
            If the number of features is not that of the data set.
        """
        rows = as_matrix("features", features)
        if rows.shape[1] != self.transform.shape[1]:
            raise ValueError(
                f"features has shape {rows.shape}: must have {self.transform.shape[1]} columns"
            )
        moved: Float[ndarray, "sample in"] = rows @ self.transform.T
        return moved

    def loss(self, product: Float[ndarray, "out in"]) -> float:
        r"""Return the loss of a linear map on the data set.

        **Equation.** :math:`\tfrac12 \operatorname{tr} (W - W^*) \Sigma
        (W - W^*)^\top + \text{floor}`.

        **Shapes and units.** (out, in); units of the outputs squared.

        Parameters
        ----------
        product : Float[ndarray, "out in"]
            W, the product of a network's layers.

        Returns
        -------
        float
            :math:`\tfrac12 E\|y - W\tilde x\|^2`.

        Raises
        ------
        ValueError
            If the map's shape is not that of the target.
        """
        error = as_matrix("product", product)
        if error.shape != self.target.shape:
            raise ValueError(f"product has shape {error.shape}: must be {self.target.shape}")
        error = error - self.target
        weighted = error if self.input_covariance is None else error @ self.input_covariance
        return 0.5 * float(np.vdot(weighted, error)) + self.floor


def teacher(
    inputs: Float[ndarray, "sample feature"],
    outputs: Float[ndarray, "_sample output"],
    whiten: bool = True,
    *,
    tolerance: float = 1e-10,
) -> Teacher:
    r"""Return the least-squares problem of a data set.

    **Equation.** With the singular value decomposition :math:`X / \sqrt N = Q
    \operatorname{diag}(\varsigma) Z^\top` of the samples, cut at
    :math:`\varsigma_a > \text{tolerance} \cdot \varsigma_1`: whitened,
    :math:`P = \operatorname{diag}(\varsigma)^{-1} Z^\top` and :math:`W^* =
    Y^\top Q / \sqrt N`, with as many inputs as directions kept; otherwise
    :math:`P = I`, :math:`\Sigma = X^\top X / N` and :math:`W^* = Y^\top Q
    \operatorname{diag}(\varsigma)^{-1} Z^\top / \sqrt N`, which vanishes on
    directions that were cut. Nothing is centred: subtract means first if wanted.

    **Shapes and units.** One sample a row; everything is float64.

    Parameters
    ----------
    inputs : Float[ndarray, "sample feature"]
        X.
    outputs : Float[ndarray, "_sample output"]
        Y.
    whiten : bool
        Whether the network's inputs are whitened (and null directions dropped).
    tolerance : float
        Singular values of the inputs below this fraction of the largest count as
        zero, in [0, 1).

    Returns
    -------
    Teacher
        W*, the covariance and transform of the inputs, and the loss's floor.

    Raises
    ------
    ValueError
        If the numbers of samples differ, or all inputs vanish.

    References
    ----------
    Saxe, McClelland & Ganguli (2014), arXiv:1312.6120; Lampinen & Ganguli (2019),
    arXiv:1809.10374.

    Examples
    --------
    >>> x = np.array([[2.0, 0.0], [0.0, 1.0]])
    >>> problem = teacher(x, x @ np.array([[1.0], [3.0]]), whiten=False)
    >>> problem.target.round(12), problem.input_covariance
    (array([[1., 3.]]), array([[2. , 0. ], [0. , 0.5]]))
    """
    samples = as_matrix("inputs", inputs)
    answers = as_matrix("outputs", outputs)
    if len(samples) != len(answers):
        raise ValueError(f"outputs has {len(answers)} samples: must have {len(samples)}, as inputs")
    cut = as_number("tolerance", tolerance, low=0.0, high=1.0, open_high=True)
    count = len(samples)
    basis, spread, axes = np.linalg.svd(samples / np.sqrt(count), full_matrices=False)
    if not spread[0] > 0.0:
        raise ValueError("inputs are all zero: at least one sample must not be")
    kept = spread > cut * spread[0]
    basis, spread, axes = basis[:, kept], spread[kept], axes[kept]
    white = answers.T @ basis / np.sqrt(count)
    residual = answers - np.sqrt(count) * basis @ white.T
    covariance = None if whiten else samples.T @ samples / count
    transform = axes / spread[:, None] if whiten else np.eye(samples.shape[1])
    target = white if whiten else (white / spread) @ axes
    left, values, right = np.linalg.svd(target, full_matrices=False)
    return Teacher(
        target=target,
        input_covariance=covariance,
        transform=transform,
        left=left,
        singular_values=values,
        right=right.T,
        floor=0.5 * float(np.vdot(residual, residual)) / count,
    )
