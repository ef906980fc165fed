"""Why a tangent kernel is singular, in words that name samples and outputs."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["equal_rows", "rounding", "why_singular"]


def equal_rows(inputs: Tensor) -> list[tuple[int, int]]:
    """Return pairs of samples that are the same: the first of its kind, and each later one."""
    first: dict[bytes, int] = {}
    pairs = []
    # -0.0 and 0.0 are one input
    for number, row in enumerate((inputs.detach().cpu().flatten(1) + 0.0).numpy()):
        earlier = first.setdefault(row.tobytes(), number)
        if earlier != number:
            pairs.append((earlier, number))
    return pairs


def rounding(rows: int, dtype: torch.dtype) -> float:
    """Return the share of its largest eigenvalue that a kernel's least one may be by rounding."""
    return rows * torch.finfo(dtype).eps


def why_singular(
    matrix: Tensor, inputs: Tensor, targets: Tensor, parameters: int, tolerance: float
) -> str:
    """Return the causes of a singular kernel; targets are (sample, output) values."""
    rows, width = len(matrix), targets.shape[1]
    causes = []
    if parameters < rows:
        causes.append(f"fewer parameters ({parameters}) than equations ({rows})")
    pairs = equal_rows(inputs)
    if pairs:
        gaps = [float((targets[i] - targets[j]).square().sum()) for i, j in pairs]
        worst = max(range(len(pairs)), key=gaps.__getitem__)
        i, j = pairs[worst]
        equal = f"inputs {i} and {j} are equal"
        causes.append(
            f"{equal} and their targets differ, so that L >= {gaps[worst] / 4:.6g} for all"
            " parameters"
            if gaps[worst] > 0
            else f"{equal}, and so are their targets: leave one out"
        )
    sizes = matrix.diagonal()
    dead = (sizes <= tolerance * sizes.max()).nonzero().flatten().tolist()
    if dead:
        others = f", as {len(dead) - 1} more" if len(dead) > 1 else ""
        causes.append(
            f"{_named(dead[0], width)} has no gradient in any parameter{others}: its units are dead"
        )
    if not causes:
        causes.append(_dependence(matrix, width, tolerance))
    return "; ".join(causes)


def _dependence(matrix: Tensor, width: int, tolerance: float) -> str:
    """Name two outputs with parallel gradients, or those that lead the null direction."""
    scale = matrix.diagonal().sqrt()
    likeness = (matrix / scale / scale[:, None]).abs()
    likeness.fill_diagonal_(0.0)
    nearest = int(likeness.argmax())
    i, j = sorted(divmod(nearest, len(matrix)))
    if float(likeness.flatten()[nearest]) >= 1 - tolerance:
        return f"{_named(i, width)} and {_named(j, width)} have parallel gradients"
    null = torch.linalg.eigh(matrix)[1][:, 0].abs()
    leading = [_named(int(k), width) for k in null.topk(min(2, len(null))).indices]
    return f"gradients are linearly dependent, led by {' and '.join(leading)}"


def _named(row: int, width: int) -> str:
    return f"output {row % width} of sample {row // width}"
