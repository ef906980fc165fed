"""K-FAC: every layer's gradient through the inverse of a damped Kronecker product."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sandbox.network.layers import Bias, FactorLayer
from sandbox.network.output_gradients import Index, Likelihood
from sandbox.optim._kronecker_factors import Fisher, KroneckerFactors, Rule
from sandbox.optim._layerwise import LayerwiseOptimizer, Nonfinite, Scaling, Sharing, Side
from sandbox.optim.preconditioner import GradientPreconditioner

__all__ = ["KFAC", "KFACPreconditioner"]


class KFAC(KroneckerFactors, LayerwiseOptimizer):
    r"""Gradient descent with a Kronecker-factored curvature for every layer.

    **Equation.** With A the second moment of a layer's inputs a, E that of the gradients e of
    the samples' losses in its outputs, and G the layer's gradient, :math:`\Delta W = -\eta\,
    D`,

    * ``rule="heuristic"``: :math:`D = (E + \lambda_E)^{-p}\, G\, (A + \lambda_A)^{-p}` with
      :math:`\lambda_A \lambda_E = \lambda` and :math:`\lambda_A / \lambda_E` the quotient of
      the mean eigenvalues of A and E (both are the root of the damping where a factor is 0);
    * ``rule="standard"``: :math:`D = (E \otimes A + \lambda)^{-p} G`, exactly, through both
      eigenbases;
    * ``rule="standard-published"``: as one public code spells it, with E's eigenvectors
      transposed: the same for a matrix that has E's eigenvalues, and the rows of E's
      eigenvectors in place of the columns. Kept for comparison with published figures. It
      depends on the eigenvectors' signs, set here so that each one's largest entry is
      positive, and, where eigenvalues coincide, on the linear algebra library.

    :math:`E \otimes A` is a layer's block of the Fisher matrix if a and e are independent. It
    is the Gauss-Newton block itself in deep linear networks with squared error, and for a
    single sample.

    Averages, schedule (T, S, decay), momentum and weight decay are those of
    :class:`~sandbox.optim.foof.FOOF`. For sampled and exact labels an extra backward pass, to
    the layers' outputs and no further, is taken inside the model's forward pass in steps that
    collect factors; no closure is needed, and a loss scale does not matter. What it found
    counts once the loss's own backward pass has reached the outputs.

    **Shapes and units.** Damping has the units of A times E. ``scaling="mean"``: A is the
    mean over samples of the sum over positions, E the mean over both, so that
    :math:`E \otimes A` is the curvature of the mean loss. ``scaling="paper"``: A of a linear
    layer is summed over the batch of N samples; on linear layers ``(lr, damping)`` there is
    ``(lr / N**p, damping / N)`` in the mean scaling.

    Parameters
    ----------
    model : torch.nn.Module
        The network; the optimiser hangs hooks on it.
    lr : float
        :math:`\eta \ge 0`.
    damping : float
        :math:`\lambda > 0`.
    rule : {"heuristic", "standard", "standard-published"}
        How the damping enters.
    fisher : {"sampled", "exact", "empirical"}
        E is of one label drawn from the model for every sample, of all labels weighted by
        their probabilities (a backward pass for each but one), or of the true labels, from
        the loss's own backward pass. The last takes the loss for a mean over samples, each a
        row of the layer's first dimension, and must not be combined with a loss scale such as
        that of :class:`torch.amp.GradScaler`: its square would be in E. It is refused in
        float16 for this reason, but cannot be told from the loss in other types.
    output_factor : bool
        False: E serves to share the damping out and is then replaced by zero, which leaves
        :math:`G (A + \lambda_A)^{-p} \lambda_E^{-p}`. Heuristic rule only.
    power : float
        p > 0.
    scaling : {"mean", "paper"}
        See above.
    T, S : int
        The preconditioner is computed every T steps, factors are collected in the last S of
        them.
    decay : float
        Of the moving averages, in [0, 1).
    momentum : float
        Of the heavy ball, whose buffer of raw gradients is preconditioned.
    weight_decay : float
        Decoupled.
    bias : {"augment", "fallback"}
        Whether a bias is the last column of its layer's matrix.
    side : {"gradient", "activation"}
        "activation" preconditions in the backward pass: ``p.grad`` is then the preconditioned
        gradient, and clipping and momentum act on it. Cheaper where a batch has fewer rows than
        the layer has outputs or inputs, with the heuristic rule.
    fallback : mapping or None
        How parameters without a factor rule are trained.
    likelihood : {"categorical", "gaussian"}
        Labels belong to cross-entropy of outputs (sample, class), or to half the squared
        error, summed over outputs.
    columns : index or None
        Which outputs the loss looks at; may be set later.
    seed : int
        Of the sampled labels.
    sharing : {"expand", "reduce"}
        Positions with shared weights are rows of their own; or a is averaged and e summed
        over them.
    nonfinite : {"raise", "skip"}
        What becomes of a step with a gradient or closure's loss that is not finite.
    maximize : bool
        Ascend.
    skip : collection of str
        Names of layers, or of modules with all layers in them, to leave to the fallback.
    factor_samples : int or None
        How many of a batch's samples the factors are computed from.

    Raises
    ------
    ValueError
        If a setting is out of range, parameters have no rule and there is no fallback, or
        ``output_factor=False`` comes with another rule than the heuristic one.

    References
    ----------
    Martens & Grosse (2015), arXiv:1503.05671; Grosse & Martens (2016), arXiv:1602.01407, for
    convolutions; Eschenhagen et al. (2023), arXiv:2311.00636, for shared weights; Benzing
    (2022), arXiv:2201.12250, for the comparison of the rules.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    >>> optimizer = KFAC(model, lr=1.0, damping=1e-12, likelihood="gaussian", fisher="exact")
    >>> inputs = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    >>> targets = torch.tensor([[5.0], [-1.0]], dtype=torch.float64)
    >>> (model(inputs) - targets).square().mean().div(2).backward()
    >>> optimizer.step()
    >>> [round(value, 3) for value in model.weight.flatten().tolist()]
    [2.0, 3.0]
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        damping: float,
        *,
        rule: Rule = "heuristic",
        fisher: Fisher = "sampled",
        output_factor: bool = True,
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
        likelihood: Likelihood = "categorical",
        columns: Index | None = None,
        seed: int = 0,
        sharing: Sharing = "expand",
        nonfinite: Nonfinite = "raise",
        maximize: bool = False,
        skip: Collection[str] = (),
        factor_samples: int | None = None,
    ) -> None:
        self._choose(
            rule=rule,
            fisher=fisher,
            output_factor=output_factor,
            power=power,
            likelihood=likelihood,
            columns=columns,
            seed=seed,
        )
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
        self._seed()

    def _apply(self, layer: FactorLayer, sources: Sequence[Tensor | None], scale: float) -> None:
        """Add ``scale`` times the preconditioned sources to a layer's parameters."""
        held, weight = self.inverses[layer.name], layer.module.weight
        right, left = held["input"], held.get("output")
        if (
            self.rule != "heuristic"
            or left is None
            or not weight.is_contiguous()
            or any(t is None or t.dtype != right.dtype for t in (*sources, *layer.parameters))
        ):
            super()._apply(layer, sources, scale)
            return
        # two products, the second one into the weights, without joining bias and weight
        size = layer.fan_in
        slope, *rest = (source for source in sources if source is not None)
        slope = slope.reshape(layer.out, size)
        once = slope @ right[:size, :size]
        for p, extra in zip(layer.parameters[1:], rest, strict=True):
            once.addr_(extra, right[size, :size])
            column = torch.addmv(extra * right[size, size], slope, right[:size, size])
            p.addmv_(left, column, alpha=scale)
        weight.view(layer.out, size).addmm_(left, once, alpha=scale)


class KFACPreconditioner(KroneckerFactors, GradientPreconditioner):
    r"""Gradients of linear and convolutional layers through K-FAC's two factors.

    **Equation.** :class:`KFAC`'s direction D in place of ``p.grad``, between
    ``loss.backward()`` and the ``step`` of any optimiser. Followed by SGD without momentum
    this is K-FAC; momentum of the optimiser that follows averages preconditioned gradients,
    where K-FAC preconditions averaged ones.

    **Shapes and units.** As :class:`KFAC`. Learning rates differ from those of the optimiser
    alone: as the damping grows, D tends to :math:`\lambda^{-p} G`.

    Parameters
    ----------
    model : torch.nn.Module
        The network; the preconditioner hangs hooks on it. Parameters without a factor rule
        keep their gradients.
    damping : float
        :math:`\lambda > 0`; the attribute may be changed at any time.
    rule, fisher, output_factor, power, likelihood, columns, seed
        As for :class:`KFAC`.
    scaling, T, S, decay, bias, side, sharing, nonfinite, skip, factor_samples
        As for :class:`KFAC`.

    Raises
    ------
    ValueError
        If a setting is out of range, or the model has no layer with a rule.

    References
    ----------
    Martens & Grosse (2015), arXiv:1503.05671.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(2, 2)
    >>> preconditioner = KFACPreconditioner(model, damping=0.1)
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> loss = torch.nn.functional.cross_entropy(model(torch.eye(2)), torch.arange(2))
    >>> loss.backward()
    >>> preconditioner.step()
    True
    >>> optimizer.step()
    """

    def __init__(
        self,
        model: nn.Module,
        damping: float,
        *,
        rule: Rule = "heuristic",
        fisher: Fisher = "sampled",
        output_factor: bool = True,
        power: float = 1.0,
        scaling: Scaling = "mean",
        T: int = 10,
        S: int = 1,
        decay: float = 0.95,
        bias: Bias = "augment",
        side: Side = "gradient",
        likelihood: Likelihood = "categorical",
        columns: Index | None = None,
        seed: int = 0,
        sharing: Sharing = "expand",
        nonfinite: Nonfinite = "raise",
        skip: Collection[str] = (),
        factor_samples: int | None = None,
    ) -> None:
        self._choose(
            rule=rule,
            fisher=fisher,
            output_factor=output_factor,
            power=power,
            likelihood=likelihood,
            columns=columns,
            seed=seed,
        )
        super().__init__(
            model,
            damping,
            T=T,
            S=S,
            decay=decay,
            scaling=scaling,
            sharing=sharing,
            bias=bias,
            side=side,
            nonfinite=nonfinite,
            skip=skip,
            factor_samples=factor_samples,
        )
        self._seed()
