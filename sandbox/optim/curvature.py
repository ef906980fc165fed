"""Curvature-corrected descent for small torch networks, exact up to rounding.

The optimiser takes the rule object of :mod:`deeplinear` and applies it to any module:
it forms the Jacobian, so that cost and memory are (samples x outputs) x parameters.
Estimates for large networks are other optimisers' work; this one is the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from deeplinear.rules import CurvatureCorrection
from sandbox.optim._jacobian import corrected, output_gradients, output_jacobian
from sandbox.optim._losses import DIVERGED, OutputLoss, checked, cross_entropy, squared
from theory.checks import as_number, one_of, shown

__all__ = ["CurvatureCorrected"]

Closure = Callable[[], tuple[Tensor, Tensor]]


class CurvatureCorrected(torch.optim.Optimizer):
    r"""Descent along the gradient times an inverse power of the Gauss-Newton curvature.

    **Equation.** With N samples, outputs f, J their Jacobian and :math:`H_{out}` the
    loss's Hessian in the outputs, :math:`H = \tfrac1N J^\top H_{out} J` and
    :math:`\theta \leftarrow \theta - \eta\,\kappa\,(H + \varepsilon)^{-q} g`, the power
    taken of the whole matrix (``blocks="full"``) or of its diagonal blocks, one a
    parameter tensor (``blocks="layer"``). Undamped powers are pseudo-inverse powers.
    They come from the SVD of :math:`H_{out}^{1/2} J`, never from :math:`H` itself.

    * ``"squared"``: :math:`L = \tfrac{1}{2N} \sum_n \|f_n - y_n\|^2`, mean over samples,
      sum over outputs, :math:`H_{out} = 1`. ``torch.nn.MSELoss()`` is
      :math:`(2 / n_{out}) L`, so that flow time under it is
      :math:`(2 / n_{out})^{1-q} \eta k` after k steps where it is :math:`\eta k` here.
    * ``"cross_entropy"``: :math:`L = -\tfrac1N \sum_n \sum_c y_{nc} \log p_{nc}` of
      logits, :math:`H_{out} = \operatorname{diag}(p) - p p^\top`, the Fisher matrix.

    **Shapes and units.** Outputs (sample, ...) are flattened to (sample, output) for the
    squared error; cross-entropy wants (sample, class), with targets that are class
    numbers (sample,) or probabilities (sample, class). Steps x lr is flow time.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        What to train, or parameter groups with an ``lr`` each. A full rule couples the
        parameters of all groups in one matrix and then scales each group's part of the
        update by that group's own ``lr``.
    rule : CurvatureCorrection
        The learning rule, the object that :func:`deeplinear.rules.matrix_velocity`
        takes. The depth d of its prefactor is the number of weights, tensors of two or
        more dimensions, that the outputs depend on; biases are blocks of their own
        but no layers.
    lr : float
        Step size, > 0, in units of flow time.
    loss : {"squared", "cross_entropy"}
        What is minimised.

    Attributes
    ----------
    rule : CurvatureCorrection
        As given. It belongs to the object: ``state_dict`` holds plain data, the ``lr``
        of every group, and there is no other state.
    loss : str
        As given.
    closure : str
        "outputs": what ``step`` is given returns outputs and targets; the training loop asks.

    Raises
    ------
    ValueError
        If ``rule`` is no :class:`~deeplinear.rules.CurvatureCorrection`, ``loss`` is
        unknown, an ``lr`` is not positive or a parameter is not real.

    References
    ----------
    Huh (2020), PMLR 119, 4552-4560, for the rules; Martens (2020), arXiv:1412.1193, for
    the Gauss-Newton matrix of the cross-entropy.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.tensor([[1.0]], dtype=torch.float64))
    >>> rule = CurvatureCorrection(power=1.0)
    >>> optimizer = CurvatureCorrected([weight], rule, lr=1.0)
    >>> inputs = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    >>> loss = optimizer.step(lambda: (inputs @ weight.T, 3 * inputs))
    >>> loss.item(), round(weight.item(), 12)
    (5.0, 3.0)
    """

    closure = "outputs"

    def __init__(
        self,
        params: ParamsT,
        rule: CurvatureCorrection,
        lr: float,
        loss: Literal["squared", "cross_entropy"] = "squared",
    ) -> None:
        if not isinstance(rule, CurvatureCorrection):
            raise ValueError(f"rule = {shown(rule)}: must be a deeplinear CurvatureCorrection")
        self.rule = rule
        self.loss = one_of("loss", loss, ("squared", "cross_entropy"))
        super().__init__(params, {"lr": as_number("lr", lr, low=0.0, open_low=True)})

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies need: torch's base class would leave the rule out."""
        state: dict[str, Any] = super().__getstate__()
        return state | {"rule": self.rule, "loss": self.loss}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group after checking its learning rate and its tensors.

        Parameters
        ----------
        param_group : dict
            ``params`` and, if it differs from the default, ``lr``.

        Raises
        ------
        ValueError
            If the ``lr`` is not positive or a parameter is not real.
        """
        if "lr" in param_group:
            rate = as_number("lr", param_group["lr"], low=0.0, open_low=True)
            param_group = param_group | {"lr": rate}
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if not parameter.is_floating_point():
                self.param_groups.pop()
                raise ValueError(f"params hold a tensor of {parameter.dtype}: must be real")

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]  # not a loss
        """Do one step; return the loss before it.

        ``grad`` of the parameters and the mode of the modules are left as they are.
        Parameters that the outputs do not depend on stay where they are.

        Parameters
        ----------
        closure : callable
            Returns (outputs, targets), the outputs with their graph. It must not call
            ``backward``: the Jacobian is taken from the graph.

        Returns
        -------
        Tensor
            The loss, a detached scalar.

        Raises
        ------
        ValueError
            If the closure is missing, returns anything else, or its outputs depend on
            none of the parameters.
        RuntimeError
            If outputs, loss, Jacobian or update are not finite; nothing is changed then.
        """
        if closure is None or not callable(closure):
            raise ValueError(
                f"closure = {shown(closure)}: must be a function that returns (outputs, targets)"
            )
        with torch.enable_grad():
            made = closure()
            if not isinstance(made, tuple | list) or len(made) != 2:
                raise ValueError(f"closure() = {shown(made)}: must be a pair (outputs, targets)")
            outputs, targets = checked(made[0], made[1], self.loss)
        owners = [
            (group["lr"], parameter)
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.requires_grad
        ]
        wide = all(t.dtype == torch.float64 for t in (outputs, *(p for _, p in owners)))
        working = torch.float64 if wide else torch.float32
        fixed = targets.detach().to(working) if targets.is_floating_point() else targets
        measure = squared if self.loss == "squared" else cross_entropy
        seen = measure(outputs.detach().to(working), fixed)
        if not seen.value.isfinite():
            raise RuntimeError(f"the loss is not finite: {DIVERGED}")
        slopes = output_gradients(outputs, seen.gradient, [p for _, p in owners])
        parts = [(lr, p, g) for (lr, p), g in zip(owners, slopes, strict=True) if g is not None]
        if not parts:
            raise ValueError("the outputs depend on none of the parameters of this optimiser")
        if self.rule.power == 0:
            updates = [g.reshape(-1).to(working) for *_, g in parts]
        else:
            jacobian = output_jacobian(outputs, [p for _, p, _ in parts])
            updates = self._corrected([block.to(working) for block in jacobian], seen)
        if not all(bool(update.isfinite().all()) for update in updates):
            raise RuntimeError(f"the update is not finite: {DIVERGED}")
        scale = self.rule.prefactor(max(1, sum(p.ndim >= 2 for _, p, _ in parts)))
        for (lr, parameter, _), update in zip(parts, updates, strict=True):
            parameter.sub_((lr * scale * update).reshape(parameter.shape).to(parameter.dtype))
        return seen.value

    def _corrected(self, blocks: list[Tensor], seen: OutputLoss) -> list[Tensor]:
        """Return the corrected gradient of every block, flat."""
        if not all(bool(block.isfinite().all()) for block in blocks):
            raise RuntimeError(f"the Jacobian is not finite: {DIVERGED}")
        slope, residual = seen.gradient.reshape(-1), seen.residual.reshape(-1)
        if self.rule.blocks == "layer":
            return [corrected(seen.rooted(b), residual, b.T @ slope, self.rule) for b in blocks]
        whole = torch.cat(blocks, dim=1)
        flat = corrected(seen.rooted(whole), residual, whole.T @ slope, self.rule)
        return list(torch.split(flat, [block.shape[1] for block in blocks]))
