"""Fisher matrices of networks from some of their inputs: products, solves, Laplace samples.

Derivations: ``docs/derivations/gram_natural_gradient.md``, ``laplace_samples.md`` and
``fisher_gauss_newton.md`` there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from sandbox.network.columns import LayerColumns, fisher_columns
from sandbox.network.evaluation import as_inputs, in_full_precision
from sandbox.network.layers import FactorLayer, factor_layers
from sandbox.network.output_gradients import Index, Labels, Likelihood
from sandbox.optim._gram import DampedRoot, combined, transposed
from sandbox.optim._laplace import posterior_draws
from sandbox.optim._named_vectors import NamedVectors
from theory.checks import as_integer, as_number, one_of, shown

__all__ = ["SampledFisher"]

Blocks: TypeAlias = Literal["full", "layer"]
"""All of F, or its diagonal blocks."""


class SampledFisher:
    r"""Fisher matrix of a network at some inputs, kept as a root that is never formed.

    **Equation.** With :math:`g_{ny} = \partial (-\log p(y | x_n)) / \partial\theta`,

    .. math:: F = \frac1N \sum_n \mathbb{E}_{y \sim p(\cdot | x_n)}\, g_{ny} g_{ny}^\top
              = G G^\top .

    * ``labels="sampled"``: one y a sample, drawn; G has N columns.
    * ``labels="full"``: the expectation itself, equal to the Gauss-Newton matrix
      :math:`\tfrac1N J^\top H_{out} J`. G has N (C - 1) columns for C classes, those of a
      root of :math:`H_{out} = \operatorname{diag}(p) - p p^\top`, and N C for C values.
    * a tensor of labels: these; the empirical Fisher matrix if they are the data's.

    A column in one layer is :math:`\sum_p e_p a_p^\top`, p running over positions that share
    the weights. All products follow from the rows: :math:`G^\top G = \sum_{layers} (A A^\top)
    \circ (E E^\top)`, :math:`(G^\top u)_i = \sum_{layers} e_i^\top U a_i`, :math:`G w = E^\top
    \operatorname{diag}(w) A`. Per-sample gradients are formed only where positions are many
    (convolutions), some output channels at a time, and for the diagonal there.

    ``blocks="layer"`` leaves out what couples one layer to another.

    **Shapes and units.** Vectors are mappings from the names of the parameters to tensors of
    their shapes. Inputs (sample, ...) as the model takes them; it is evaluated in evaluation
    mode, in its parameters' precision. F is in the units of the mean over samples of the
    per-sample loss, squared, over the parameters squared.

    Make one by :meth:`of`.

    Attributes
    ----------
    names : tuple of str
        Parameters that F covers, in the order of the layers.
    columns : int
        Of G.
    samples : int
        N.

    References
    ----------
    Martens (2020), arXiv:1412.1193; Benzing (2022), arXiv:2201.12250, appendices C and I.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 2, bias=False, dtype=torch.float64)
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> inputs = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    >>> fisher = SampledFisher.of(model, inputs, labels="full")
    >>> {name: part.tolist() for name, part in fisher.diagonal().items()}
    {'weight': [[0.25, 1.0], [0.25, 1.0]]}
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[FactorLayer], columns: Sequence[LayerColumns]
    ) -> None:
        self._layers, self._columns = list(layers), list(columns)
        self._vectors = NamedVectors(model, layers)
        self._roots: dict[tuple[float, str], list[DampedRoot]] = {}
        self.names = tuple(self._vectors.shapes)
        self.columns = columns[0].columns
        self.samples = columns[0].inputs.shape[0]

    @classmethod
    def of(
        cls,
        model: nn.Module,
        inputs: Tensor,
        *,
        labels: Labels | Tensor = "sampled",
        likelihood: Likelihood = "categorical",
        generator: torch.Generator | None = None,
        columns: Index | None = None,
    ) -> SampledFisher:
        """Evaluate a network at some inputs and keep the root of its Fisher matrix.

        Parameters
        ----------
        model : torch.nn.Module
            Whose trained parameters belong to ``torch.nn.Linear`` and ``torch.nn.Conv2d``
            layers, each called once. It is left as it is: modes, gradients, buffers.
        inputs : Tensor
            (sample, ...).
        labels : {"sampled", "full"} or Tensor
            Class numbers (sample,), or values of the outputs' shape.
        likelihood : {"categorical", "gaussian"}
            Of cross-entropy (outputs are logits), or of half the squared error (unit variance).
        generator : torch.Generator or None
            Where labels are drawn from, on the parameters' device; None for torch's own.
        columns : index or None
            Which of the model's outputs count; None for all.

        Returns
        -------
        SampledFisher
            At the parameters as they are now.

        Raises
        ------
        ValueError
            If an argument is wrong, or a trained parameter has no factor rule.
        """
        if not isinstance(model, nn.Module):
            raise ValueError(f"model = {shown(model)}: must be a torch.nn.Module")
        one_of("likelihood", likelihood, ("categorical", "gaussian"))
        if not isinstance(labels, Tensor):
            one_of("labels", labels, ("sampled", "full"))
        layers, rest = factor_layers(model)
        if rest or not layers:
            found = ", ".join(name for name, _ in rest) or "there is none"
            raise ValueError(
                f"model = {type(model).__name__}: needs trained parameters of torch.nn.Linear and"
                f" torch.nn.Conv2d and no others ({found}); freeze these (requires_grad_(False))"
            )
        given = as_inputs(inputs)
        made = fisher_columns(model, layers, given, labels, likelihood, generator, columns)
        return cls(model, layers, made)

    @torch.no_grad()
    @in_full_precision
    def solve(
        self, vector: Mapping[str, Tensor], damping: float, *, blocks: Blocks = "full"
    ) -> dict[str, Tensor]:
        r"""Return (F + damping)^-1 times a vector.

        **Equation.** :math:`\frac1\lambda \left(u - G (\lambda + G^\top G)^{-1} G^\top u\right)`
        where G has no more columns than rows, a Cholesky factor of :math:`\lambda + F`
        otherwise; factorised in float64. If that fails, ten times the damping is tried once;
        both are logged by ``logging.getLogger("sandbox.optim")``.

        Parameters
        ----------
        vector : mapping
            u by the parameters' names.
        damping : float
            lambda, > 0.
        blocks : {"full", "layer"}
            Which F.

        Returns
        -------
        dict
            By the parameters' names.

        Raises
        ------
        ValueError
            If the damping is not positive or the vector does not fit.
        RuntimeError
            If F is not finite or cannot be factorised.

        References
        ----------
        Benzing (2022), arXiv:2201.12250, appendix I.
        """
        damping = as_number("damping", damping, low=0.0, open_low=True)
        matrices = self._vectors.matrices(vector, self._columns[0].slopes)
        found: list[Tensor] = []
        for root, part in zip(self._factors(damping, blocks), self._parts(blocks), strict=True):
            found += root([matrices[i] for i in part])
        return self._vectors.named(found)

    @in_full_precision
    def multiply(
        self, vector: Mapping[str, Tensor], *, blocks: Blocks = "full"
    ) -> dict[str, Tensor]:
        """Return F times a vector; differentiable in the vector.

        Parameters
        ----------
        vector : mapping
            v by the parameters' names.
        blocks : {"full", "layer"}
            Which F.

        Returns
        -------
        dict
            By the parameters' names.
        """
        matrices = self._vectors.matrices(vector, self._columns[0].slopes)
        found: list[Tensor] = []
        for part in self._parts(blocks):
            chosen = [self._columns[i] for i in part]
            found += combined(chosen, transposed(chosen, [matrices[i] for i in part]))
        return self._vectors.named(found)

    @in_full_precision
    def quadratic(self, vector: Mapping[str, Tensor], *, blocks: Blocks = "full") -> Tensor:
        r"""Return v'Fv, a scalar; differentiable in the vector.

        **Equation.** :math:`\|G^\top v\|^2`, so that a penalty around old weights needs no
        diagonal approximation.

        Parameters
        ----------
        vector : mapping
            v by the parameters' names.
        blocks : {"full", "layer"}
            Which F.

        Returns
        -------
        Tensor
            Never negative.
        """
        matrices = self._vectors.matrices(vector, self._columns[0].slopes)
        parts = [
            transposed([self._columns[i] for i in part], [matrices[i] for i in part])
            for part in self._parts(blocks)
        ]
        return torch.stack([part.square().sum() for part in parts]).sum()

    @torch.no_grad()
    @in_full_precision
    def diagonal(self) -> dict[str, Tensor]:
        r"""Return the diagonal of F.

        **Equation.** :math:`(E \circ E)^\top (A \circ A)` where weights are not shared
        between positions.

        Returns
        -------
        dict
            By the parameters' names.
        """
        return self._vectors.named([layer.squares() for layer in self._columns])

    def trace(self) -> float:
        """Return the trace of F.

        Returns
        -------
        float
            Sum of the diagonal.
        """
        return sum(float(part.sum(dtype=torch.float64)) for part in self.diagonal().values())

    @torch.no_grad()
    @in_full_precision
    def laplace_samples(
        self,
        prior_precision: float,
        data_count: float,
        samples: int = 1,
        generator: torch.Generator | None = None,
        *,
        blocks: Blocks = "full",
    ) -> dict[str, Tensor]:
        r"""Draw deviations of the parameters from the Laplace posterior, exactly.

        **Equation.** Covariance :math:`(\Lambda_0 + D F)^{-1}`: with :math:`V = \sqrt{D /
        \Lambda_0}\,G`, :math:`U = 1 + V^\top V`, y and z standard normal, :math:`x = y - V
        U^{-1} (V^\top y + z)` has covariance :math:`(1 + V V^\top)^{-1}`, and
        :math:`\Lambda_0^{-1/2} x` is returned. The only approximation is F's own, from the
        inputs and labels that it is made of.

        **Shapes and units.** Add the deviations to the parameters at which F was taken.

        Parameters
        ----------
        prior_precision : float
            :math:`\Lambda_0 > 0`, in units of one over the parameters squared.
        data_count : float
            D > 0, how many samples the posterior has seen; F is a mean.
        samples : int
            How many to draw.
        generator : torch.Generator or None
            On the parameters' device; None for torch's own.
        blocks : {"full", "layer"}
            Which F.

        Returns
        -------
        dict
            By the parameters' names, one draw a row of the first axis.

        Raises
        ------
        ValueError
            If a number is out of range.
        RuntimeError
            If F is not finite or cannot be factorised; no other damping is tried.

        References
        ----------
        Benzing (2022), arXiv:2201.12250, appendix C.
        """
        prior = as_number("prior_precision", prior_precision, low=0.0, open_low=True)
        count = as_number("data_count", data_count, low=0.0, open_low=True)
        draws = as_integer("samples", samples, low=1)
        parts = self._parts(blocks)
        chosen = [[self._columns[i] for i in part] for part in parts]
        roots = [
            DampedRoot(these, prior / count, self._called(part), dual=True, exact=True)
            for these, part in zip(chosen, parts, strict=True)
        ]
        drawn = posterior_draws(chosen, roots, prior, count, draws, generator)
        made = [self._vectors.named(matrices) for matrices in drawn]
        return {name: torch.stack([one[name] for one in made]) for name in self.names}

    def _parts(self, blocks: str) -> list[list[int]]:
        """Return which layers go together."""
        one_of("blocks", blocks, ("full", "layer"))
        every = list(range(len(self._layers)))
        return [every] if blocks == "full" else [[i] for i in every]

    def _called(self, part: Sequence[int]) -> str:
        """Return the names of some layers."""
        return ", ".join(self._layers[i].called for i in part)

    def _factors(self, damping: float, blocks: str) -> list[DampedRoot]:
        """Return the factorisations, kept until another damping is asked for."""
        parts = self._parts(blocks)
        if (damping, blocks) not in self._roots:
            self._roots = {
                (damping, blocks): [
                    DampedRoot([self._columns[i] for i in part], damping, self._called(part))
                    for part in parts
                ]
            }
        return self._roots[damping, blocks]
