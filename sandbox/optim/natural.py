"""Natural gradient descent with the exact Fisher matrix of a few samples.

Derivation: ``docs/derivations/gram_natural_gradient.md``.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sandbox.network.columns import fisher_columns
from sandbox.network.layers import Bias, FactorLayer, factor_dtype
from sandbox.network.output_gradients import Index, Labels, Likelihood
from sandbox.optim._gram import DampedRoot, NotFiniteError
from sandbox.optim._input_watch import InputMemory, InputWatch, accepted
from sandbox.optim._layerwise import LayerwiseOptimizer, Nonfinite
from theory.checks import as_integer, one_of

__all__ = ["NaturalGradient"]

LOG = logging.getLogger("sandbox.optim")


class NaturalGradient(LayerwiseOptimizer):
    r"""Descent along the gradient times the damped inverse of a Fisher matrix.

    **Equation.** With m the heavy-ball sum of raw gradients g and F the Fisher matrix of
    some inputs at the present weights, :class:`sandbox.optim.fisher.SampledFisher`:

    .. math:: m \leftarrow \mu m + g, \qquad
              \theta \leftarrow (1 - \eta w)\,\theta - \eta\,(F + \lambda)^{-1} m .

    F and g should come from independent samples, as :math:`\mathbb{E}[\hat F^{-1} \hat g] \ne
    \mathbb{E}[\hat F^{-1}]\,\mathbb{E}[\hat g]`. Give the batch for F to :meth:`observe`
    before each step. Without it F is that of the *previous* step's inputs, at the weights
    after that step, with labels of the model's own; the very first step, which has no
    previous one, takes its own batch. F is evaluated as the step begins, with the model in
    evaluation mode, and is exact for its samples: there is no moving average.

    Nothing of the size of samples times parameters is formed for linear layers: the solution
    comes from the Gram matrix of the samples' gradients, or from F itself where there are
    fewer parameters than columns, factorised in float64. What fails there is tried again
    with ten times the damping and logged by ``logging.getLogger("sandbox.optim")``.

    **Shapes and units.** Losses are means over samples, and so is F, so that lr and damping
    need no translation between batch sizes. lr / damping is the step size of gradient
    descent that infinite damping leads to. A bias is the last column of its layer's matrix.

    **Accumulated gradients.** The inputs of all passes between two steps whose backward pass
    was run count as one batch. They are kept as copies until the step after the next one.

    **Mixed precision.** F is computed in the parameters' precision outside autocast, with
    factors of float32 at least; gradients must be unscaled before the step, as
    ``torch.amp.GradScaler.step`` does.

    Parameters
    ----------
    model : torch.nn.Module
        Called with one tensor (sample, ...), returning one (sample, output); each layer with
        a factor rule (``torch.nn.Linear``, ``torch.nn.Conv2d`` with one group) at most once.
    lr : float
        eta, >= 0.
    damping : float
        lambda, > 0, in the units of F.
    fisher : {"sampled", "full"}
        One label a sample, drawn from the model, or the expectation over all labels, which
        makes F the Gauss-Newton matrix at (classes - 1) times as many columns.
    blocks : {"full", "layer"}
        The whole F, or its diagonal blocks, one a layer.
    momentum : float
        mu, in [0, 1).
    weight_decay : float
        w, >= 0, decoupled.
    likelihood : {"categorical", "gaussian"}
        Of cross-entropy, or of half the squared error with unit variance, summed over outputs
        and averaged over samples.
    fisher_samples : int or None
        How many inputs F is made of, the first of the batch; None for all.
    bias : {"augment", "fallback"}
        Whether biases belong to F or to the fallback.
    fallback : mapping or None
        Optimiser and settings for parameters without a factor rule, such as
        ``{"optimizer": "sgd", "lr": 0.01}``; F does not see them. None refuses such a model.
    skip : collection of str
        Names of layers to leave to the fallback.
    nonfinite : {"raise", "skip"}
        What becomes of a step whose gradient, loss or Fisher matrix is not finite.
    maximize : bool
        Whether to ascend.
    seed : int
        Of the labels' own generator.

    Attributes
    ----------
    columns : index or None
        Which of the model's outputs the labels belong to; None for all. May be set between
        steps.
    closure : str
        "none": gradients are there before ``step``; the training loop asks.

    Raises
    ------
    ValueError
        If a setting is out of range, or a parameter has no rule and there is no fallback.

    References
    ----------
    Amari (1998), doi:10.1162/089976698300017746; Benzing (2022), arXiv:2201.12250, section 2
    and appendix I.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 2, bias=False, dtype=torch.float64)
    >>> optimizer = NaturalGradient(model, lr=0.1, damping=0.01)
    >>> inputs = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    >>> torch.nn.functional.cross_entropy(model(inputs), torch.tensor([0, 1])).backward()
    >>> optimizer.observe(torch.tensor([[1.0, -1.0]], dtype=torch.float64))
    >>> optimizer.step()
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        damping: float,
        *,
        fisher: Labels = "sampled",
        blocks: Literal["full", "layer"] = "full",
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        likelihood: Likelihood = "categorical",
        fisher_samples: int | None = None,
        bias: Bias = "augment",
        fallback: Mapping[str, Any] | None = None,
        skip: Collection[str] = (),
        nonfinite: Nonfinite = "raise",
        maximize: bool = False,
        seed: int = 0,
    ) -> None:
        one_of("fisher", fisher, ("sampled", "full"))
        one_of("blocks", blocks, ("full", "layer"))
        one_of("likelihood", likelihood, ("categorical", "gaussian"))
        self.fisher, self.blocks, self.likelihood = fisher, blocks, likelihood
        self.fisher_samples = (
            None if fisher_samples is None else as_integer("fisher_samples", fisher_samples, low=1)
        )
        self.seed = as_integer("seed", seed, low=0)
        self.columns: Index | None = None
        super().__init__(
            model,
            lr,
            damping,
            T=1,
            S=1,
            decay=0.0,
            momentum=momentum,
            weight_decay=weight_decay,
            maximize=maximize,
            bias=bias,
            nonfinite=nonfinite,
            skip=skip,
            fallback=fallback,
        )
        self._generator: Any = torch.Generator(self._device).manual_seed(self.seed)

    @property
    def _device(self) -> torch.device:
        """Where the layers are."""
        return self.layers[0].module.weight.device

    # ---- inputs

    def _forget(self) -> None:
        """Begin with no inputs."""
        super()._forget()
        self._memory = InputMemory(self.fisher_samples)
        self._roots: list[tuple[list[FactorLayer], DampedRoot]] = []

    def _watch(self) -> None:
        """Hang the hook on the model."""
        self._capture: Any = InputWatch(self.model, self._seen, self.fisher_samples)
        self._finalizer = weakref.finalize(self, self._capture.remove)
        self._finalizer.atexit = False

    def _seen(self, inputs: Tensor) -> None:
        """Take the inputs of a pass."""
        self._memory.see(inputs)

    def _drop(self) -> None:
        """Forget the inputs of this step."""
        self._memory.pending = []

    def observe(self, inputs: Tensor) -> None:
        """Take inputs, independent of the gradient's, for the next step's Fisher matrix.

        Several calls before a step make one batch. The matrix is computed in the step, at the
        weights as they are then; the model is tried on the first sample at once.

        Parameters
        ----------
        inputs : Tensor
            (sample, ...), as the model takes them; kept as a copy.

        Raises
        ------
        ValueError
            If they are no finite tensor, or the model does not take them.
        """
        given = accepted(self.model, inputs, self._device)
        self._memory.observed.append(given[: self.fisher_samples].clone())

    # ---- the step

    def _finite(self, tensors: Sequence[tuple[str, Tensor]]) -> bool:
        """Tell whether the step can be done; factorise the Fisher matrix if so."""
        if not super()._finite(tensors):
            return False
        active = [
            layer for layer in self.layers if any(p.grad is not None for p in layer.parameters)
        ]
        if not active:
            return True
        try:
            self._factorise(active)
        except NotFiniteError as problem:
            self._memory.pass_on()
            if self.nonfinite == "raise":
                raise
            LOG.warning("%s; the step is left out", problem)
            return False
        except Exception:
            self._drop()
            raise
        return True

    def _factorise(self, active: list[FactorLayer]) -> None:
        """Compute the Fisher matrix's root at the present weights, and its factors."""
        columns = fisher_columns(
            self.model,
            active,
            self._memory.required(),
            self.fisher,
            self.likelihood,
            self._generator,
            self.columns,
        )
        every = list(range(len(active)))
        damping = float(self.param_groups[0]["damping"])
        self._roots = []
        with torch.autocast(self._device.type, enabled=False):
            for part in [every] if self.blocks == "full" else [[i] for i in every]:
                layers = [active[i] for i in part]
                called = ", ".join(layer.called for layer in layers)
                root = DampedRoot([columns[i] for i in part], damping, called)
                self._roots.append((layers, root))

    def _move_layers(self, group: dict[str, Any]) -> None:
        """Move the parameters of all layers that have a gradient."""
        roots, self._roots = self._roots, []
        every = [p for layers, _ in roots for layer in layers for p in layer.parameters]
        moved = [p for p in every if p.grad is not None]
        if not moved:
            return
        if group["weight_decay"]:
            torch._foreach_mul_(moved, 1 - group["lr"] * group["weight_decay"])
        gradients = [p.grad for p in moved if p.grad is not None]
        sources = self._with_momentum(moved, gradients, float(group["momentum"]))
        kind = factor_dtype(moved[0].dtype)
        # in a layer whose other parameter has a gradient, none counts as one of 0
        wide = {id(p): torch.zeros_like(p, dtype=kind) for p in every if p.grad is None}
        wide |= {id(p): source.to(kind) for p, source in zip(moved, sources, strict=True)}
        scale = float(group["lr"]) if group["maximize"] else -float(group["lr"])
        with torch.autocast(self._device.type, enabled=False):
            for layers, root in roots:
                updates = root([_matrix(layer, wide) for layer in layers])
                for layer, update in zip(layers, updates, strict=True):
                    for p, part in zip(layer.parameters, layer.split(update), strict=True):
                        if p.grad is not None:
                            p.add_(part, alpha=scale)

    def _advance(self) -> None:
        """Count the step."""
        self.steps += 1
        self._memory.pass_on()

    # ---- state

    def reset(self) -> None:
        """Forget momentum, inputs and the step count; labels are drawn from the seed again."""
        super().reset()
        self._generator.manual_seed(self.seed)

    def memory_usage(self) -> dict[str, int]:
        """Return bytes held by ``"inputs"``, and ``"total"``.

        Returns
        -------
        dict
            Bytes, by what holds them.
        """
        return dict.fromkeys(("inputs", "total"), self._memory.bytes())

    def factor_state(self) -> dict[str, Any]:
        """Return kept inputs, the step count and the state of the labels' generator.

        Returns
        -------
        dict
            Tensors are not copied.
        """
        return {
            "steps": self.steps,
            "layers": [[layer.name, layer.out, layer.columns] for layer in self.layers],
            "inputs": self._memory.state_dict(),
            "generator": self._generator.get_state(),
        }

    def load_factor_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`factor_state` gave, bit for bit.

        Parameters
        ----------
        state : mapping
            From an object of this kind, for a model with the same layers.

        Raises
        ------
        ValueError
            If it belongs to other layers.
        """
        mine = [[layer.name, layer.out, layer.columns] for layer in self.layers]
        theirs = [list(layer) for layer in state.get("layers", ())]
        if theirs != mine:
            raise ValueError(f"a state of the layers {theirs}: the model has {mine}")
        self._forget()
        self.steps = int(state["steps"])
        self._memory.load_state_dict(state["inputs"], self._device)
        self._generator.set_state(state["generator"].cpu())


def _matrix(layer: FactorLayer, tensors: Mapping[int, Tensor]) -> Tensor:
    """Return a layer's matrix from tensors by the ids of its parameters."""
    return layer.matrix(*(tensors[id(p)] for p in layer.parameters))
