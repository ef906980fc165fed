"""Small networks with known modes, shared by this paper's experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, np.dtype[np.float64]]

__all__ = ["RULES", "forward", "pattern", "rotated", "rule_named", "unaligned", "unrotated"]

RULES = ("gradient descent", "square root", "natural gradient")


def rule_named(name: str, blocks: str = "full", **more: Any) -> Any:
    """Return the rule that a figure calls by its name.

    Parameters
    ----------
    name : str
        One of :data:`RULES`.
    blocks : {"full", "layer"}
        Which part of the curvature is inverted.
    **more : object
        Damping or scale.

    Returns
    -------
    CurvatureCorrection
        The rule.
    """
    from deeplinear import CurvatureCorrection

    return CurvatureCorrection(RULES.index(name) / 2, cast("Any", blocks), **more)


def rotated(modes: Array, generator: np.random.Generator) -> tuple[list[Array], list[Array]]:
    """Hide decoupled modes behind random rotations: W_i = R_i diag(w_i) R_{i-1}'.

    Parameters
    ----------
    modes : Array
        w, shape (layer, mode).
    generator : numpy.random.Generator
        Draws the rotations.

    Returns
    -------
    weights : list of Array
        One square matrix a layer, input side first.
    rotations : list of Array
        R_0 ... R_d.
    """
    import numpy as np

    depth, count = modes.shape
    frames = [np.linalg.qr(generator.normal(size=(count, count)))[0] for _ in range(depth + 1)]
    weights = [(frames[i + 1] * modes[i]) @ frames[i].T for i in range(depth)]
    return weights, frames


def unrotated(weights: list[Array], rotations: list[Array]) -> Array:
    """Read the modes of a trajectory back: diag(R_i' W_i R_{i-1}).

    Parameters
    ----------
    weights : list of Array
        One trajectory a layer, shape (time, out, in).
    rotations : list of Array
        R_0 ... R_d.

    Returns
    -------
    Array
        w, shape (time, layer, mode).
    """
    import numpy as np

    layers = [
        np.einsum("oa,toi,ia->ta", rotations[i + 1], matrices, rotations[i])
        for i, matrices in enumerate(weights)
    ]
    return np.stack(layers, axis=1)


def pattern(number: int, rows: int, columns: int) -> Array:
    """Return the fixed matrix sin(1.3 a + 2.1 b + 0.7 k) of row a, column b, number k.

    Parameters
    ----------
    number : int
        k.
    rows, columns : int
        Shape; a and b count from 1.

    Returns
    -------
    Array
        Entries between -1 and 1.
    """
    import numpy as np

    a, b = np.arange(1, rows + 1)[:, None], np.arange(1, columns + 1)[None, :]
    return np.asarray(np.sin(1.3 * a + 2.1 * b + 0.7 * number))


def unaligned() -> tuple[list[Array], Array]:
    """Return a depth-3, width-3 start whose modes are coupled, and a target.

    Returns
    -------
    weights : list of Array
        0.6 I + 0.1 pattern, three of them.
    target : Array
        W*, without negative eigenvalues relative to the start.
    """
    import numpy as np

    weights = [0.6 * np.eye(3) + 0.1 * pattern(k, 3, 3) for k in (1, 2, 3)]
    return weights, np.array([[1.5, 0.3, 0.0], [-0.2, 1.0, 0.1], [0.1, 0.0, 0.7]])


def forward(
    net: torch.nn.Module, inputs: torch.Tensor, outputs: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the optimiser's closure must: the network's outputs and their targets.

    Parameters
    ----------
    net : torch.nn.Module
        The network.
    inputs, outputs : torch.Tensor
        The training data.

    Returns
    -------
    tuple of torch.Tensor
        Outputs and targets.
    """
    return net(inputs), outputs
