"""A quadratic penalty that pulls important parameters back to where earlier tasks left them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from sandbox.regularisers._attachment import (
    Attachment,
    Row,
    pull,
    refuse_unmoved,
    warn_of_divergence,
)
from sandbox.regularisers._consolidation import (
    Accumulate,
    Clamp,
    Importance,
    accumulated,
    checked,
    copied,
    matching,
    merged,
    refuse_contradictions,
    refuse_foreign,
    refuse_other_settings,
)
from theory.checks import as_number, one_of, shown

__all__ = ["QuadraticPenalty"]

ACCUMULATE = ("sum", "online", "separate", "average")
CLAMP = ("none", "running", "signed")


class QuadraticPenalty:
    r"""The strength times the sum of importance times squared distance from an anchor.

    **Equation.** :math:`c \sum_i \Omega_i (\theta_i - \theta^*_i)^2` without a factor 1/2: c is
    half the :math:`\lambda` of elastic weight consolidation. :meth:`consolidate` gives it the
    importance :math:`\omega` of a task that has been learned, at the weights where it ended:

    * ``"sum"``: :math:`\Omega \leftarrow \Omega + \omega`, anchored at the newest weights;
    * ``"online"``: :math:`\Omega \leftarrow \gamma \Omega + \omega`, anchored there too;
    * ``"separate"``: every task keeps its own anchor. These are kept as one penalty round the
      mean of the anchors weighted by importance, plus a constant, which is the same function
      in the memory of one task;
    * ``"average"``: :math:`\Omega \leftarrow \gamma \Omega + (1 - \gamma) \omega` from the
      second task on, anchored at the newest weights.

    Added to the loss (:meth:`penalty`, or the object itself where a function of the model is
    wanted) or to the gradients (:meth:`attach`), never both, it gives the same training; the
    second has no backward pass and lets others see the loss's own gradient before.

    **Shapes and units.** Importances and anchors have the shapes of the parameters; the strength
    is in loss per importance and squared parameter. Where the loss is flat, gradient descent of
    rate :math:`\eta` diverges along i iff :math:`2 \eta c\, \Omega_i > 2`. With a momentum
    :math:`\beta` the bound is :math:`2 (1 + \beta)`, with Nesterov's :math:`2 (1 + \beta) /
    (1 + 2 \beta)`; optimisers that rescale gradients have others, and none is checked for them.

    Parameters
    ----------
    strength : float
        c, >= 0.
    accumulate : {"sum", "online", "separate", "average"}
        What becomes of the importance of earlier tasks.
    decay : float
        :math:`\gamma`, in [0, 1]; 1 except for ``"online"`` and ``"average"``, below 1 for
        ``"average"``.
    clamp : {"none", "running", "signed"}
        What becomes of negative importances, which path integrals may have. ``"none"`` refuses
        them, ``"running"`` clamps after every task what has been accumulated, as the program of
        Zenke et al. does, and ``"signed"`` takes them as they are: the penalty may then push
        weights away from the anchor without bound.
    ceiling : float or None
        The largest importance that acts, > 0; what is accumulated goes on above it.

    Attributes
    ----------
    anchor : dict or None
        Weights by name, None before the first task.
    constant : float
        What separate penalties sum to at their common mean, before the strength.

    Raises
    ------
    ValueError
        If a number is out of range, a name unknown, or options contradict each other.

    References
    ----------
    Kirkpatrick et al. (2017), arXiv:1612.00796; Schwarz et al. (2018), arXiv:1805.06370
    (``"online"``); Zenke, Poole & Ganguli (2017), arXiv:1703.04200; Huszar (2018),
    arXiv:1712.03847, on one penalty against several. The merged form and the bound: derived here,
    see :func:`theory.importance.merge_penalties`.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> quadratic = QuadraticPenalty(strength=0.5)
    >>> quadratic.consolidate({"weight": torch.tensor([[1.0, 4.0]])}, model)
    >>> with torch.no_grad():
    ...     _ = model.weight.add_(1.0)
    >>> quadratic.penalty(model).item()
    2.5
    """

    def __init__(
        self,
        strength: float,
        accumulate: Accumulate = "sum",
        decay: float = 1.0,
        *,
        clamp: Clamp = "none",
        ceiling: float | None = None,
    ) -> None:
        self.strength = as_number("strength", strength, low=0.0)
        self.accumulate: Accumulate = one_of("accumulate", accumulate, ACCUMULATE)  # type: ignore[assignment]  # checked
        self.decay = as_number("decay", decay, low=0.0, high=1.0)
        self.clamp: Clamp = one_of("clamp", clamp, CLAMP)  # type: ignore[assignment]  # checked
        self.ceiling = None
        if ceiling is not None:
            self.ceiling = as_number("ceiling", ceiling, low=0.0, open_low=True)
        refuse_contradictions(self.accumulate, self.decay, self.clamp, self.ceiling)
        self.anchor: Importance | None = None
        self.constant = 0.0
        self._total: Importance | None = None
        self._parameters: dict[str, nn.Parameter] | None = None
        self._attached: list[Attachment] = []
        self._warned: set[str] = set()

    @property
    def importance(self) -> Importance | None:
        """The importance that acts, by name; None before the first task."""
        if self._total is None or self.ceiling is None:
            return None if self._total is None else dict(self._total)
        return {name: omega.clamp_max(self.ceiling) for name, omega in self._total.items()}

    def consolidate(self, importance: Mapping[str, Tensor], model: nn.Module) -> None:
        """Take in the importance of a task at the weights where it ended.

        Parameters
        ----------
        importance : mapping
            A tensor for every trained parameter, by name; zeros leave it free.
        model : torch.nn.Module
            The network; its weights become the anchor, or one of them.

        Raises
        ------
        ValueError
            If names or shapes are not those of the trained parameters, an entry is not finite
            or negative (unless clamped), the model is not the one of earlier tasks or of the
            optimiser attached to, or it has quantal layers. Nothing is changed then.

        Warns
        -----
        UserWarning
            If 2 x lr x strength x importance exceeds 2, or Nesterov's bound, in some optimiser.
        """
        fresh = checked(importance, model, self.clamp)
        parameters = matching(model, self._total or {})
        if left := (self._total or {}).keys() - fresh.keys():
            raise ValueError(
                f"importance lacks {', '.join(sorted(left))}: an earlier task has it, and it was"
                " frozen since; train it, or begin a new penalty"
            )
        refuse_unmoved(fresh, parameters, self._optimizers())
        if self._total is None or self.anchor is None or self.accumulate != "separate":
            self._total = accumulated(
                self._total or {}, fresh, self.accumulate, self.decay, self.clamp
            )
            self.anchor = {name: parameters[name].detach().clone() for name in fresh}
        else:
            self._total, self.anchor, more = merged(self._total, self.anchor, fresh, parameters)
            self.constant += more
        self._parameters = parameters
        self._warn()

    def penalty(self, model: nn.Module) -> Float[Tensor, ""]:
        """Return the penalty with its graph to the model's parameters.

        Parameters
        ----------
        model : torch.nn.Module
            The network that was consolidated, or a copy of it.

        Returns
        -------
        Tensor
            A scalar; 0, without a graph, before the first task.

        Raises
        ------
        ValueError
            If the model has other parameters, or quantal layers.
        """
        parameters = matching(model, self._total or {})
        if self._total is None:
            return next(iter(parameters.values()), torch.zeros(())).new_zeros(())
        parts = [
            (omega * (p - anchor).square()).sum() for p, omega, anchor in self._rows(parameters)
        ]
        total = parts[0]
        for part in parts[1:]:
            total = total + part.to(total)
        return self.strength * (total + self.constant if self.constant else total)

    __call__ = penalty

    def attach(self, optimizer: Optimizer, model: nn.Module | None = None) -> Attachment:
        r"""Add :math:`2 c\, \Omega (\theta - \theta^*)` to the gradients in every step.

        Before the first task nothing is added. Several optimisers may share a model.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            Any that steps along ``p.grad``; those that want a closure get the gradients, and
            the loss, with the penalty.
        model : torch.nn.Module or None
            Tells which parameters the names mean; needed if a saved state is loaded before
            :meth:`consolidate` is called here.

        Returns
        -------
        Attachment
            ``remove()`` ends it.

        Raises
        ------
        ValueError
            If the penalty acts in this optimiser already, the optimiser does not move what
            is protected, or cannot take a penalty in its gradients.

        Warns
        -----
        UserWarning
            If 2 x lr x strength x importance exceeds 2, or Nesterov's bound.
        """
        if not isinstance(optimizer, Optimizer):
            raise ValueError(f"optimizer = {shown(optimizer)}: must be a torch.optim.Optimizer")
        live = self._optimizers()
        if any(one is optimizer for one in live):
            raise ValueError(
                f"optimizer = {type(optimizer).__name__}: the penalty is attached to it already and"
                " would count twice; remove() what attach returned first"
            )
        total = self._total or {}
        parameters = self._parameters if model is None else matching(model, total)
        refuse_unmoved(total, parameters, [*live, optimizer])
        joined = Attachment(optimizer, self._add_gradient)
        self._attached = [one for one in self._attached if one.optimizer is not None] + [joined]
        self._parameters = parameters
        self._warn()
        return joined

    def state_dict(self) -> dict[str, Any]:
        """Return importance, anchor and constant, with the settings they belong to.

        Returns
        -------
        dict
            Plain data and tensors.
        """
        return {
            "settings": self._settings(),
            "importance": None if self._total is None else dict(self._total),
            "anchor": None if self.anchor is None else dict(self.anchor),
            "constant": self.constant,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take a state back, bit for bit.

        Parameters
        ----------
        state_dict : mapping
            What :meth:`state_dict` gave.

        Raises
        ------
        ValueError
            If it belongs to other settings or to another model.
        """
        refuse_other_settings(state_dict, self._settings())
        total, anchor = copied(state_dict["importance"]), copied(state_dict["anchor"])
        if self._parameters is not None and total is not None:
            refuse_foreign(total, self._parameters)
            refuse_unmoved(total, self._parameters, self._optimizers())
        self._total, self.anchor = total, anchor
        self.constant = float(state_dict["constant"])
        self._warn()

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies need: they are attached to nothing."""
        return self.__dict__ | {"_attached": [], "_parameters": None}

    def _settings(self) -> dict[str, Any]:
        names = ("strength", "accumulate", "decay", "clamp", "ceiling")
        return {name: getattr(self, name) for name in names}

    def _rows(self, parameters: Mapping[str, nn.Parameter]) -> list[Row]:
        """Return parameters with the importance that acts and their anchors, in their type."""
        total, anchor = self._total or {}, self.anchor or {}
        for name in total:  # a model may have been moved, a state loaded to the CPU
            device = parameters[name].device
            total[name], anchor[name] = total[name].to(device), anchor[name].to(device)
        rows = [(parameters[n], omega, anchor[n]) for n, omega in (self.importance or {}).items()]
        return [(p, omega.to(p), at.to(p)) for p, omega, at in rows]

    def _optimizers(self) -> list[Optimizer]:
        """Return the optimisers attached to that are there still."""
        found = (one.optimizer for one in self._attached)
        return [one for one in found if one is not None]

    @torch.no_grad()
    def _add_gradient(self, attachment: Attachment) -> Tensor | None:
        """Add the gradient to what one optimiser moves; return the value of that part."""
        if self._total is None:
            return None
        if self._parameters is None:
            raise RuntimeError(
                "the penalty's state was loaded, but not which parameters it belongs to: give"
                " attach the model too"
            )
        moved = attachment.moved()
        rows = [
            row
            for row in self._rows(self._parameters)
            if row[0].requires_grad and id(row[0]) in moved
        ]
        if not rows:
            return None
        value = pull(rows, self.strength)
        if self.constant and attachment.optimizer is self._optimizers()[0]:
            value += self.strength * self.constant
        return value

    def _warn(self) -> None:
        importance = self.importance
        if importance is not None and self._parameters is not None and self._attached:
            warn_of_divergence(
                importance, self._parameters, self._optimizers(), self.strength, self._warned
            )
