"""Layers whose weights are one matrix: their input rows, output slopes, and parameters as it."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import Parameter, is_lazy

from theory.checks import one_of, shown

__all__ = ["Bias", "FactorLayer", "factor_dtype", "factor_layers", "split_params"]

Bias: TypeAlias = Literal["augment", "fallback"]
"""A bias is the last column of its layer's matrix, or left to the fallback."""


def factor_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the type that factors of tensors of this type are kept in: float32 at least."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@dataclass(frozen=True, slots=True, eq=False)
class FactorLayer:
    r"""A linear or convolutional layer seen as one matrix that multiplies rows.

    **Equation.** At every position p of every sample n, :math:`b_{np} = W a_{np}`. A linear
    layer that is fed (sample, feature) has one position; a convolution has one for every
    pixel of its output, and :math:`a_{np}` is the patch beneath it.

    **Shapes and units.** W is (out, column): a row for every output, a column for every
    input, and one more for the bias where it is augmented, whose input is 1.

    Parameters
    ----------
    name : str
        Path of the module in the model; ``""`` is the model itself.
    module : torch.nn.Linear or torch.nn.Conv2d
        The layer.
    augmented : bool
        Whether the bias is the last column of the matrix.

    References
    ----------
    Grosse & Martens (2016), arXiv:1602.01407, for convolutions as products of patches.

    Examples
    --------
    >>> layer = FactorLayer("", torch.nn.Linear(2, 1), augmented=True)
    >>> layer.rows(torch.tensor([[3.0, 5.0]])).tolist()
    [[[3.0, 5.0, 1.0]]]
    """

    name: str
    module: nn.Linear | nn.Conv2d
    augmented: bool

    @property
    def parameters(self) -> list[Tensor]:
        """What the matrix is made of: the weight, and the bias where it is augmented."""
        if self.augmented:
            assert self.module.bias is not None
            return [self.module.weight, self.module.bias]
        return [self.module.weight]

    @property
    def out(self) -> int:
        """Rows of the matrix."""
        return self.module.weight.shape[0]

    @property
    def fan_in(self) -> int:
        """Columns of the matrix without that of the bias."""
        return math.prod(self.module.weight.shape[1:])

    @property
    def columns(self) -> int:
        """Columns of the matrix."""
        return self.fan_in + self.augmented

    @property
    def called(self) -> str:
        """The layer in words, for messages."""
        kind = type(self.module).__name__
        return f"layer {self.name!r} ({kind})" if self.name else f"the model ({kind})"

    def samples(self, inputs: Tensor) -> Tensor:
        """Return the layer's input with a sample dimension, added where there was none."""
        single = 3 if isinstance(self.module, nn.Conv2d) else 1
        return inputs[None] if inputs.ndim == single else inputs

    def rows(self, inputs: Tensor) -> Float[Tensor, "sample position column"]:
        """Return what the matrix multiplies, from what the layer was fed.

        Parameters
        ----------
        inputs : Tensor
            (sample, ..., feature) for a linear layer, (sample, channel, height, width) for
            a convolution; a single sample may come without its dimension.

        Returns
        -------
        Tensor
            The rows, in the inputs' dtype, with a last 1 where the bias is augmented.
        """
        found = self.plain_rows(inputs)
        if self.augmented:
            return torch.cat([found, found.new_ones(*found.shape[:2], 1)], dim=2)
        return found

    def plain_rows(self, inputs: Tensor) -> Float[Tensor, "sample position fan_in"]:
        """Return the rows without the 1 of the bias; a view of the inputs for linear layers.

        Parameters
        ----------
        inputs : Tensor
            As for :meth:`rows`.

        Returns
        -------
        Tensor
            The rows.
        """
        inputs = self.samples(inputs)
        if isinstance(self.module, nn.Linear):
            if inputs.ndim == 2:
                return inputs[:, None]
            return inputs.flatten(1, -2)
        conv = self.module
        padding: Any = conv.padding
        if conv.padding_mode != "zeros" or isinstance(padding, str):
            mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
            around = conv._reversed_padding_repeated_twice
            inputs, padding = nn.functional.pad(inputs, around, mode=mode), 0
        patches = nn.functional.unfold(
            inputs,
            conv.kernel_size,
            dilation=conv.dilation,
            padding=padding,
            stride=conv.stride,
        )
        return patches.transpose(1, 2)

    def slopes(self, output_gradient: Tensor) -> Float[Tensor, "sample position out"]:
        """Return a gradient in the layer's output as rows, in the order of :meth:`rows`.

        Parameters
        ----------
        output_gradient : Tensor
            Shaped as the output of the layer.

        Returns
        -------
        Tensor
            The slopes, a view where possible.
        """
        given = self.samples(output_gradient)
        if isinstance(self.module, nn.Conv2d):
            return given.flatten(2).transpose(1, 2)
        return given[:, None] if given.ndim == 2 else given.flatten(1, -2)

    def matrix(
        self, weight_like: Tensor, bias_like: Tensor | None = None
    ) -> Float[Tensor, "out column"]:
        """Return tensors shaped as the parameters as one matrix.

        Parameters
        ----------
        weight_like : Tensor
            Shaped as the weight.
        bias_like : Tensor or None
            Shaped as the bias; needed where it is augmented.

        Returns
        -------
        Tensor
            A view of the weight's tensor where there is no bias in the matrix.
        """
        flat = weight_like.reshape(self.out, self.fan_in)
        if not self.augmented:
            return flat
        assert bias_like is not None
        return torch.cat([flat, bias_like[:, None]], dim=1)

    def split(self, matrix: Float[Tensor, "out column"]) -> list[Tensor]:
        """Return a matrix as tensors shaped as :attr:`parameters`; views where possible.

        Parameters
        ----------
        matrix : Tensor
            One entry for every entry of the parameters.

        Returns
        -------
        list of Tensor
            The weight's part, and the bias's where it is augmented.
        """
        weight = matrix[:, : self.fan_in].reshape(self.module.weight.shape)
        return [weight, matrix[:, self.fan_in]] if self.augmented else [weight]


def factor_layers(
    model: nn.Module, bias: Bias = "augment", skip: Collection[str] = ()
) -> tuple[list[FactorLayer], list[tuple[str, Parameter]]]:
    """Return the trained layers with a factor rule, and the trained parameters without one.

    A rule exists for :class:`torch.nn.Linear` and for :class:`torch.nn.Conv2d` with one group,
    not for what is derived from them, as that may compute anything. Frozen parameters are
    left out; a bias whose weight is frozen has no matrix to belong to.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    bias : {"augment", "fallback"}
        Whether a bias is the last column of its layer's matrix or a parameter without rule.
    skip : collection of str
        Names of layers, or of modules with all layers in them, that are to be without rule.

    Returns
    -------
    layers : list of FactorLayer
        In the order of ``model.named_modules()``.
    others : list of (str, Parameter)
        Trained parameters without a rule, by name.

    Raises
    ------
    ValueError
        If the model is none, a skipped layer does not exist, parameters are not
        initialised yet, or a layer shares its parameters with another place.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    >>> layers, others = factor_layers(model)
    >>> [layer.name for layer in layers], [name for name, _ in others]
    (['0'], ['1.weight', '1.bias'])
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model = {shown(model)}: must be a torch.nn.Module")
    one_of("bias", bias, ("augment", "fallback"))
    known = [name for name, _ in model.named_modules()]
    for name in skip:
        if name not in known:
            raise ValueError(f"skip = {shown(skip)}: the model has no module {name!r}")
    layers = []
    for name, module in model.named_modules():
        if _is_in(name, skip) or not _has_rule(module):
            continue
        assert isinstance(module, nn.Linear | nn.Conv2d)
        own = module.bias
        augmented = bias == "augment" and own is not None and own.requires_grad
        layers.append(FactorLayer(name, module, augmented))
    taken = {id(p): layer.called for layer in layers for p in layer.parameters}
    places: dict[int, list[str]] = {}
    others: dict[int, tuple[str, Parameter]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if not parameter.requires_grad:
            continue
        if is_lazy(parameter):
            raise ValueError(
                f"{name} is not initialised yet: send one batch through the model beforehand"
            )
        places.setdefault(id(parameter), []).append(name)
        if id(parameter) not in taken:
            others.setdefault(id(parameter), (name, parameter))
    for key, called in taken.items():
        if len(places[key]) > 1:
            raise ValueError(
                f"{called} shares a parameter between {' and '.join(places[key])}: the input"
                " covariance of a weight that is used in two places is not that of either layer;"
                " untie them, or name the layer in skip to leave it to the fallback"
            )
    return layers, list(others.values())


def _is_in(name: str, skip: Collection[str]) -> bool:
    """Tell whether a module is one of those to skip, or in one."""
    return any(name == outer or not outer or name.startswith(f"{outer}.") for outer in skip)


def _has_rule(module: nn.Module) -> bool:
    """Tell whether a module is a layer with a factor rule whose weight is trained."""
    if type(module) is not nn.Linear and type(module) is not nn.Conv2d:
        return False
    # old-style reparametrisations replace the weight by a tensor computed beforehand
    weight = module._parameters.get("weight")
    return bool(
        weight is not None
        and weight.requires_grad
        and weight.is_floating_point()
        and not is_lazy(weight)
        and (type(module) is nn.Linear or module.groups == 1)
    )


def split_params(
    model: nn.Module, bias: Bias = "augment", skip: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return two parameter groups: with an input covariance, and without one.

    Optimisers of matrices such as :class:`torch.optim.Muon` train the first group and leave
    the second to another optimiser; with ``bias="fallback"`` the first holds weights alone.

    Parameters
    ----------
    model : torch.nn.Module
        The network; frozen parameters are left out.
    bias : {"augment", "fallback"}
        Where the biases of linear and convolutional layers belong.
    skip : collection of str
        Names of layers, or of modules with all layers in them, that belong to the second group.

    Returns
    -------
    list of dict
        Two groups with ``params``, ``names`` and ``covariance`` (True, then False); either
        may be empty.

    Raises
    ------
    ValueError
        If a layer with a covariance shares its parameters with another place.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    >>> [(group["names"], group["covariance"]) for group in split_params(model)]
    [(['0.weight', '0.bias'], True), (['1.weight', '1.bias'], False)]
    """
    layers, others = factor_layers(model, bias, skip)
    names = {id(p): name for name, p in model.named_parameters()}
    matrices = [p for layer in layers for p in layer.parameters]
    return [
        {"params": matrices, "names": [names[id(p)] for p in matrices], "covariance": True},
        {
            "params": [p for _, p in others],
            "names": [name for name, _ in others],
            "covariance": False,
        },
    ]
