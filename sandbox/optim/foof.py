"""Gradient descent on neurons: every layer's gradient times the inverse input covariance."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sandbox.network.layers import Bias, FactorLayer, factor_dtype
from sandbox.optim._inverse_root import inverse_root
from sandbox.optim._layerwise import (
    LayerwiseFactors,
    LayerwiseOptimizer,
    Nonfinite,
    Scaling,
    Sharing,
    Side,
)
from theory.checks import as_number

__all__ = ["FOOF"]


class InputCovariance(LayerwiseFactors):
    """The rule that FOOF and its preconditioner share: G (A + damping)^-power."""

    power: float

    def _refresh(self, layer: FactorLayer) -> None:
        """Invert the damped input covariance."""
        average, name = self.averages[layer.name]["input"], layer.name
        assert average.total is not None
        # taken out first: where this fails there is no inverse, rather than a spoilt one
        held = self.inverses.pop(name, {}).get("input")
        found = inverse_root(
            average.total,
            self.damping_of(layer),
            self.power,
            name=layer.called,
            scale=1 / average.weight,
            into=held,
            rows=average.rows,
        )
        self.inverses[name] = {"input": found}

    def _precondition(
        self, layer: FactorLayer, matrix: Float[Tensor, "out column"]
    ) -> Float[Tensor, "out column"]:
        """Multiply with the inverse from the input side."""
        return matrix @ self.inverses[layer.name]["input"]

    def _add_product(
        self, layer: FactorLayer, sources: Sequence[Tensor | None], scale: float
    ) -> bool:
        """Add to a layer's parameters in one product; False where their types forbid it."""
        inverse, size = self.inverses[layer.name]["input"], layer.fan_in
        weight, bias = layer.module.weight, layer.module.bias
        if (
            any(source is None or source.dtype != inverse.dtype for source in sources)
            or not weight.is_contiguous()
            or weight.dtype != inverse.dtype
        ):
            return False
        slope, *rest = sources
        assert slope is not None
        slope, flat = slope.reshape(layer.out, size), weight.view(layer.out, size)
        flat.addmm_(slope, inverse[:size, :size], alpha=scale)
        for extra in rest:
            assert extra is not None
            assert bias is not None
            # the column of the bias, without joining it to the matrix beforehand
            flat.addr_(extra, inverse[size, :size], alpha=scale)
            bias.addmv_(slope, inverse[:size, size], alpha=scale)
            bias.addcmul_(extra, inverse[size, size], value=scale)
        return True

    def _rerouted(self, layer: FactorLayer, inputs: Tensor, gradient: Tensor) -> list[Tensor]:
        """Return the preconditioned gradients, by the cheaper order of the two products."""
        self._make_ready(layer)
        kind = factor_dtype(layer.module.weight.dtype)
        rows = layer.plain_rows(inputs).flatten(0, 1).to(kind)
        slopes = layer.slopes(gradient).flatten(0, 1).to(kind)
        if len(rows) > layer.out:
            return LayerwiseFactors._rerouted(self, layer, inputs, gradient)
        inverse, size = self.inverses[layer.name]["input"], layer.fan_in
        moved = (
            rows @ inverse[:size]
            if not layer.augmented
            else torch.addmm(inverse[size], rows, inverse[:size])
        )
        found = [(slopes.T @ moved[:, :size]).view(layer.module.weight.shape)]
        if layer.augmented:
            found.append(slopes.T @ moved[:, size])
        return [part.to(p.dtype) for part, p in zip(found, layer.parameters, strict=True)]


class FOOF(InputCovariance, LayerwiseOptimizer):
    r"""Gradient descent on neurons: each layer's outputs, not its weights, follow their gradient.

    **Equation.** For every linear or convolutional layer with gradient G, a matrix (out, in),

    .. math:: W \leftarrow (1 - \eta w) W - \eta\, M (A + \lambda)^{-p}, \qquad
        M \leftarrow \mu M + G,

    where A is the second moment of what the layer is fed, a moving average over batches,
    :math:`\hat A \leftarrow \beta \hat A + (1 - \beta) A_{batch}` divided by the same
    average of 1. The step is the ridge regression for the weight change that would move the
    layer's outputs along their own gradient. No labels and no curvature of the loss enter.

    * ``scaling="mean"``: :math:`A = \tfrac1N \sum_n \sum_p a_{np} a_{np}^\top`, mean over
      samples, sum over positions with shared weights.
    * ``scaling="paper"``: linear layers take the sum over the batch; convolutions are as
      above. On linear layers ``(lr, damping)`` there is ``(lr / N**p, damping / N)`` in the
      mean scaling.

    Steps c = 1, 2, ...: the weights move first. Then, if c is among the last S of its T
    steps, the batch enters the average; and at multiples of T the inverse is computed
    anew. The first batch makes the first inverse unless :meth:`observe` was called before.

    **Shapes and units.** The damping has the units of A, squared inputs; the step size those
    of A to the power p times those of plain descent's. As the damping grows, FOOF tends to
    gradient descent with step size :math:`\eta \lambda^{-p}`.

    Parameters
    ----------
    model : torch.nn.Module
        The network, which gets hooks. Each layer must be used once in a forward pass.
    lr : float
        :math:`\eta`, >= 0.
    damping : float
        :math:`\lambda`, > 0; the group's ``"damping"`` may be changed, and the next inverse
        has it.
    power : float
        p, > 0; 1/2 is the half-power arm, which is Muon's polar factor where the output
        gradients of different samples are orthogonal and equally long.
    scaling : {"mean", "paper"}
        As above.
    T, S : int
        Period of the inverse, and how many batches of it enter the average; 1 <= S <= T.
    decay : float
        :math:`\beta`, in [0, 1).
    momentum : float
        :math:`\mu`, in [0, 1), of the raw gradient; see ``side``.
    weight_decay : float
        w, decoupled.
    bias : {"augment", "fallback"}
        Biases are a column of the matrix, with input 1, or left to the fallback.
    side : {"gradient", "activation"}
        "gradient" multiplies G in the step. "activation" multiplies the layer's inputs in
        the backward pass: cheaper while a batch has fewer rows than the layer has outputs,
        but ``p.grad`` then *is* the preconditioned gradient (clipping and momentum act on
        it), and over several backward passes before the first step the first one alone
        makes the inverse.
    fallback : mapping or None
        How parameters without a rule are trained: ``{"optimizer": "sgd" | "adamw", "lr":
        ..., "momentum": ..., "weight_decay": ..., "betas": ..., "eps": ..., "maximize":
        ...}``; the last is ``maximize`` unless given.
    sharing : {"expand", "reduce"}
        Every position is a row of its own, or a sample's positions are averaged into one.
    nonfinite : {"raise", "skip"}
        What becomes of a step whose gradient or loss (the closure's) is not finite; nothing
        changes in either case.
    maximize : bool
        Ascend.
    skip : collection of str
        Names of layers, or of modules with all layers in them, to leave to the fallback.
    factor_samples : int or None
        Only the first so many samples of a batch enter A; None for all.

    Attributes
    ----------
    closure : str
        "none": gradients are there beforehand; a closure may be given all the same.
    layers : list of FactorLayer
        What is preconditioned.
    steps : int
        Steps done.

    Raises
    ------
    ValueError
        If a number is out of range, S > T, no layer has a rule, a parameter has none and
        there is no fallback, or a layer shares its parameters with another place.

    Notes
    -----
    With n outputs, m inputs and B rows a batch a layer costs B m^2 multiplications for its
    factor (S of T steps), about m^3 for its inverse (once in T steps), and n m^2
    ("gradient") or B m^2 ("activation") for its use. Without averaging (``decay=0``), with
    p = 1 and while the rows of a factor are at most a quarter of its columns, the inverse
    comes from their Gram matrix, by the Woodbury identity, for B m^2 + B^2 m.

    The printed objective of the paper has half the damping of its solution, which is what is
    computed here.

    References
    ----------
    Benzing (2022), arXiv:2201.12250, section 4 and algorithm 1; the schedule is that of the
    public code. Eschenhagen et al. (2023), arXiv:2311.00636, for expand and reduce. The
    half power's link to Muon is derived here.

    Examples
    --------
    Two points that no small gradient step fits together are fitted in one:

    >>> model = torch.nn.Linear(2, 1, bias=False).double()
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> inputs = torch.tensor([[3.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    >>> optimizer = FOOF(model, lr=1.0, damping=1e-12)
    >>> residual = model(inputs)[:, 0] - torch.tensor([1.0, -1.0], dtype=torch.float64)
    >>> residual.square().mean().div(2).backward()
    >>> optimizer.step()
    >>> [round(w, 6) for w in model.weight[0].tolist()]
    [-1.0, 4.0]
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        damping: float,
        *,
        power: float = 1.0,
        scaling: Scaling = "mean",
        T: int = 10,
        S: int = 1,
        decay: float = 0.95,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        bias: Bias = "augment",
        side: Side = "gradient",
        fallback: Mapping[str, Any] | None = None,
        sharing: Sharing = "expand",
        nonfinite: Nonfinite = "raise",
        maximize: bool = False,
        skip: Collection[str] = (),
        factor_samples: int | None = None,
    ) -> None:
        self.power = as_number("power", power, low=0.0, open_low=True)
        super().__init__(
            model,
            lr,
            damping,
            T=T,
            S=S,
            decay=decay,
            momentum=momentum,
            weight_decay=weight_decay,
            maximize=maximize,
            scaling=scaling,
            sharing=sharing,
            bias=bias,
            side=side,
            nonfinite=nonfinite,
            skip=skip,
            factor_samples=factor_samples,
            fallback=fallback,
        )

    def _apply(self, layer: FactorLayer, sources: Sequence[Tensor | None], scale: float) -> None:
        """Add ``scale`` times the preconditioned sources to a layer's parameters."""
        if not self._add_product(layer, sources, scale):
            super()._apply(layer, sources, scale)
