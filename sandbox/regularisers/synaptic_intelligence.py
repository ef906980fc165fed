"""Importance of weights from the steps that trained them: SI, its two parts, and SOS."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sandbox.regularisers._step_sums import StepSums
from sandbox.regularisers._step_watch import step_watch
from synapses.layers import stochastic_layers
from theory.checks import as_number, one_of, shown

__all__ = ["SynapticIntelligence"]

VARIANTS = ("si", "siu", "sib", "sos")


class SynapticIntelligence:
    r"""Watches an optimiser's steps and says how much each weight mattered.

    **Equation.** With :math:`\hat g_t` the gradient of the loss on the training batch and
    :math:`\hat g'_t` that on an independent batch, both at the weights :math:`\theta_t` with
    which step t begins, and :math:`\Delta_t = \theta_{t+1} - \theta_t` what the optimiser makes
    of it,

    .. math::
        \tilde\omega = -\sum_t h_t \Delta_t, \qquad
        \omega = \frac{\max(0, \tilde\omega)}{(\theta_{end} - \theta_{start})^2 + \xi},

    where :math:`h_t` is :math:`\hat g_t` (``"si"``), :math:`\hat g'_t` (``"siu"``, an unbiased
    estimate of the path integral) or :math:`\hat g_t - \hat g'_t` (``"sib"``, the bias alone:
    a step goes down the very batch that measures it), so that SI = SIU + SIB. ``"sos"`` is
    :math:`\omega = \sqrt v`, :math:`v \leftarrow \beta_2 v + (1 - \beta_2)(\hat g_t - \alpha
    \hat g'_t)^2` from v = 0, without bias correction: at :math:`\alpha = 0` what Adam divides
    by, at :math:`\alpha = 1` free of the mean gradient, for large batches.

    ``loss.backward(); optimizer.step()`` as ever, and before the step ``observe(loss)`` for an
    independent batch where ``needs_independent``. The gradient is ``p.grad`` as the step finds
    it, so that accumulated gradients count as one batch. With ``gradient="task"`` it is seen
    before, with ``"total"`` after the penalties attached to this optimiser have added theirs;
    a penalty that is part of the loss itself cannot be told from it. Weight decay of the
    optimiser is never in it, only in the move.

    **Closures.** Where ``step`` evaluates a closure, the gradient is that of the evaluation at
    :math:`\theta_t` (L-BFGS: the first) and the move that of the whole step. Alice's look-ahead
    :math:`\nu_t` is elsewhere unless its phi equals omega: if no evaluation is at
    :math:`\theta_t`, the gradient is that of the last, at :math:`\nu_t`, which is the one it
    moves by. Curvature-corrected descent leaves ``p.grad`` alone; its own loss is differentiated
    once more.

    **Left out.** A parameter without gradient counts as one with gradient 0; frozen ones, and
    those that only one of model and optimiser has, are not followed. A step that the optimiser
    leaves out, its gradient not being finite, counts as none. A preconditioner that rewrites
    ``p.grad`` before the step is taken for the gradient.

    **Shapes and units.** As the parameters; path sums in units of the loss, their importance in
    loss per squared weight if xi is small, that of SOS in loss per weight. Sums are kept in the
    parameters' precision, float32 at least.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    optimizer : torch.optim.Optimizer
        Of its parameters; any but those whose ``p.grad`` is no gradient (``side="activation"``).
        Where one drives another (``PresynapticOptimizer``), the outer one.
    variant : {"si", "siu", "sib", "sos"}
        What is summed.
    xi : float
        > 0, in squared units of the weights.
    alpha : float
        Share of the independent gradient in SOS, >= 0.
    beta2 : float
        Of SOS, in [0, 1).
    gradient : {"task", "total"}
        Whether the penalties' gradients are left out; Zenke et al. leave them out.

    Attributes
    ----------
    variant : str
        As given.
    xi, alpha, beta2 : float
        As given.

    Raises
    ------
    ValueError
        If an option is out of range, alpha is not 0 without SOS, model and optimiser share no
        trained parameter, ``p.grad`` is no gradient, or a stochastic layer trains amplitudes
        (``variable="quantal"``): its weight m = w/p also moves when p does, which no gradient
        in m explains.

    References
    ----------
    Zenke, Poole & Ganguli (2017), arXiv:1703.04200, for SI; Benzing (2022), arXiv:2006.06357,
    for SIU, SIB and SOS.

    Examples
    --------
    >>> model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> tracker = SynapticIntelligence(model, optimizer, xi=0.01)
    >>> (3 * model.weight).sum().backward()
    >>> optimizer.step()  # by -0.3 along a gradient of 3
    >>> round(tracker.path()["weight"].item(), 12), round(tracker.importance()["weight"].item(), 12)
    (0.9, 9.0)
    >>> tracker.remove()
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        variant: Literal["si", "siu", "sib", "sos"] = "si",
        xi: float = 0.1,
        alpha: float = 0.0,
        beta2: float = 0.999,
        *,
        gradient: Literal["task", "total"] = "task",
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ValueError(f"model = {shown(model)}: must be a torch.nn.Module")
        self.variant = one_of("variant", variant, VARIANTS)
        self.xi = as_number("xi", xi, low=0.0, open_low=True)
        self.alpha = as_number("alpha", alpha, low=0.0)
        self.beta2 = as_number("beta2", beta2, low=0.0, high=1.0, open_high=True)
        self.gradient: Literal["task", "total"] = one_of("gradient", gradient, ("task", "total"))  # type: ignore[assignment]  # checked
        if self.alpha and self.variant != "sos":
            raise ValueError(
                f"alpha = {self.alpha} with variant = {variant!r}: only 'sos' has an alpha;"
                " 'sib' is the one with the whole independent gradient subtracted"
            )
        step_watch(optimizer)  # refuses optimisers whose gradients cannot be seen
        self.model, self.optimizer = model, optimizer
        self._sums = self._fresh()
        self._handle = step_watch(optimizer).join_observer(self._sums)

    def _fresh(self) -> StepSums:
        """Return sums that begin at the present weights."""
        for name, layer in stochastic_layers(self.model).items():
            if layer.variable == "quantal" and layer.weight.requires_grad:
                raise ValueError(
                    f"layer {name!r} has variable = 'quantal': its weight is m = w / p, which also"
                    " moves when p does, and no gradient in m explains that move; build the layer"
                    " with variable='expected'"
                )
        moved = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        named = {
            name: p
            for name, p in self.model.named_parameters()
            if p.requires_grad and id(p) in moved
        }
        if not named:
            raise ValueError(
                f"optimizer = {type(self.optimizer).__name__}: has none of the model's trained"
                " parameters; make it from model.parameters()"
            )
        own, other, decay = {
            "si": (1.0, 0.0, None),
            "siu": (0.0, -1.0, None),
            "sib": (1.0, 1.0, None),
            "sos": (1.0, self.alpha, self.beta2),
        }[self.variant]
        return StepSums(named, own, other, decay, self.gradient)

    @property
    def needs_independent(self) -> bool:
        """Whether every step wants an independent batch, given to :meth:`observe`."""
        return self._sums.other != 0

    def begin(self) -> None:
        """Begin a task: at the weights as they are, with the parameters trained now.

        Sums and second moments are 0 again, an observed batch that no step has used is forgotten.
        """
        fresh = self._fresh()
        self._handle.remove()
        self._sums = fresh
        self._handle = step_watch(self.optimizer).join_observer(fresh)

    def observe(self, loss: Tensor) -> None:
        """Take the loss of an independent batch at the present weights, for the next step.

        Its gradient is computed here, without touching ``p.grad``, and its graph is freed. The
        gradients of several calls before a step add up, as those of ``backward`` do: halves of
        a batch are to be divided by 2. The model should be in evaluation mode for this batch:
        what watches the model in training would take it for the training batch's.

        Parameters
        ----------
        loss : Tensor
            A scalar with its graph.

        Raises
        ------
        ValueError
            If it is no scalar with a graph to one of the parameters, or nothing needs it.
        """
        if not self.needs_independent:
            raise ValueError(
                f"variant = {self.variant!r}, alpha = {self.alpha}: uses no independent batch;"
                " leave observe out (needs_independent tells)"
            )
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            raise ValueError(f"loss = {shown(loss)}: must be a scalar tensor with its graph")
        parameters = self._sums.parameters
        trained = [p for p in parameters if p.requires_grad]
        found = torch.autograd.grad(loss, trained, allow_unused=True)
        if all(g is None for g in found):
            raise ValueError("loss depends on none of the parameters that are followed")
        gradients = dict(zip(map(id, trained), found, strict=True))
        self._sums.observe([gradients.get(id(p)) for p in parameters])

    def discard(self) -> None:
        """Forget what was observed since the last step, as ``zero_grad`` does for ``p.grad``.

        Only needed where a step was left out without the optimiser being called, as GradScaler
        does where gradients overflow.
        """
        self._sums.independent = None

    @torch.no_grad()
    def path(self) -> dict[str, Tensor]:
        """Return the path sums since the task began, by the parameters' names.

        Returns
        -------
        dict
            Copies, in the precision that they are kept in.

        Raises
        ------
        ValueError
            If the variant is SOS, which has none.
        """
        if self.variant == "sos":
            raise ValueError("variant = 'sos': has second moments and no path; use importance()")
        pairs = zip(self._sums.named, self._sums.sums, strict=True)
        return {name: total.clone() for name, total in pairs}

    @torch.no_grad()
    def importance(self, *, clamp: bool = True, normalise: bool = True) -> dict[str, Tensor]:
        """Return the importance of every weight, by the parameters' names.

        Parameters
        ----------
        clamp : bool
            Whether negative path sums become 0; SOS has none.
        normalise : bool
            Whether path sums are divided by the squared way since the start plus xi; SOS's never
            are.

        Returns
        -------
        dict
            New tensors of the parameters' shapes and types.

        Raises
        ------
        RuntimeError
            If no step was done since the task began.
        ValueError
            If an importance is not finite.
        """
        sums = self._sums
        if sums.steps == 0:
            raise RuntimeError(
                "no step since begin(): there is nothing to tell importance from; train first"
            )
        found = {}
        for (name, p), total, start in zip(sums.named.items(), sums.sums, sums.start, strict=True):
            if self.variant == "sos":
                value = total.sqrt()
            else:
                value = total.clamp_min(0) if clamp else total.clone()
                if normalise:
                    value /= (p - start).square_().add_(self.xi)
            found[name] = value.to(p.dtype)
            if not found[name].isfinite().all():
                raise ValueError(
                    f"the importance of {name!r} is not finite: a gradient or a weight was not"
                    " since begin(); training has diverged, use a smaller learning rate"
                )
        return found

    def remove(self) -> None:
        """Stop watching; what was summed stays."""
        self._handle.remove()

    def state_dict(self) -> dict[str, Any]:
        """Return sums, start, an observed gradient not used yet, and the settings.

        Returns
        -------
        dict
            Plain data; tensors are copies.
        """
        return {"settings": self._settings(), **self._sums.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state back, bit for bit.

        Parameters
        ----------
        state_dict : dict
            What :meth:`state_dict` gave.

        Raises
        ------
        ValueError
            If it is of other settings or other parameters.
        """
        missing = {"settings", "steps", "start", "sums", "independent"} - set(state_dict)
        if missing:
            raise ValueError(f"state_dict has no {', '.join(map(repr, sorted(missing)))}")
        mine, theirs = self._settings(), dict(state_dict["settings"])
        for name, value in mine.items():
            if theirs.get(name) != value:
                raise ValueError(
                    f"state_dict is of {name} = {theirs.get(name)!r}: this one has {value!r}"
                )
        self._sums.load_state_dict(state_dict)

    def _settings(self) -> dict[str, Any]:
        """Return what sums depend on."""
        return {
            "variant": self.variant,
            "alpha": self.alpha,
            "beta2": self.beta2,
            "gradient": self.gradient,
        }

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies need; they watch the copied optimiser."""
        return {name: value for name, value in self.__dict__.items() if name != "_handle"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take attributes; a copy watches its own optimiser."""
        self.__dict__.update(state)
        self._handle = step_watch(self.optimizer).join_observer(self._sums)
