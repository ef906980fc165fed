"""Tangent kernels of torch networks: layer by layer, and from the whole Jacobian."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sandbox.landscape._layers import (
    LayerFactors,
    as_outputs,
    fitting_inputs,
    layer_factors,
    products,
    refuse_infinite,
    refuse_layers,
    refuse_mixing,
)
from sandbox.network.evaluation import evaluated, in_full_precision
from theory.checks import as_integer

__all__ = ["dense_tangent_kernel", "kernel_matrix", "output_jacobian", "tangent_kernel"]


@in_full_precision
def tangent_kernel(
    module: nn.Module, inputs: Tensor, *, blocks: int | None = None
) -> Float[Tensor, "sample output sample output"]:
    r"""Empirical tangent kernel of a network of linear layers, without its Jacobian.

    **Equation.** :math:`K_{ic,jd} = \nabla_\theta f_c(x_i) \cdot \nabla_\theta f_d(x_j) =
    \sum_l (a^l_i \cdot a^l_j + 1)\, (D^l_{ic} \cdot D^l_{jd})`: layer l is fed :math:`a^l`,
    :math:`D^l_{ic}` is the derivative of output c in its pre-activations, and the 1 belongs to
    its bias. Parameters that do not require a gradient are left out.

    One forward and one backward pass, batched over the outputs, give all :math:`a` and
    :math:`D`; the products cost :math:`(nc)^2 \sum_l m_l` multiplications for n samples, c
    outputs and layers of :math:`m_l` units, where those of the Jacobian's rows cost
    :math:`(nc)^2` times the number of parameters.

    **Shapes and units.** Inputs (sample, ...), kernel (sample, output, sample, output) in the
    type and on the device of the parameters; :func:`kernel_matrix` flattens it. Outputs of
    several dimensions count as one, row by row.

    Parameters
    ----------
    module : torch.nn.Module
        Its trained parameters belong to ``torch.nn.Linear`` layers that are used once and fed
        (sample, feature); what lies between them (activations, ``Flatten``, skip connections,
        frozen layers) treats every sample alone. It is evaluated in evaluation mode, so that
        ``Dropout`` does nothing, and left as it was.
    inputs : Tensor
        The samples, of the parameters' type.
    blocks : int or None
        Samples at once, None for all of them. Beside the kernel itself, the memory is that of
        all :math:`a` and :math:`D`, of one pass over a block, and of one product of blocks.

    Returns
    -------
    Tensor
        The kernel, symmetric up to rounding, without a graph.

    Raises
    ------
    ValueError
        If another kind of layer has trained parameters, a layer is used twice or fed more than
        one row a sample, parameters are tied, outputs of a sample depend on other samples or
        on chance, or anything is not finite.

    References
    ----------
    Jacot, Gabriel & Hongler (2018), arXiv:1806.07572. Sum over layers: Novak, Sohl-Dickstein &
    Schoenholz (2022), arXiv:2206.08720, who call it structured derivatives.

    Examples
    --------
    >>> net = nn.Linear(2, 3).double()
    >>> kernel = tangent_kernel(net, torch.tensor([[1.0, 2.0], [0.0, 1.0]]).double())
    >>> kernel[:, 0, :, 0].tolist(), kernel[0, 0, 1, 1].item()
    ([[6.0, 3.0], [3.0, 2.0]], 0.0)
    """
    inputs = fitting_inputs(module, inputs)
    count = len(inputs)
    size = count if blocks is None else as_integer("blocks", blocks, low=1)
    layers = refuse_layers(module)
    found: list[tuple[slice, dict[str, LayerFactors]]] = []
    width = 0
    with evaluated(module, inputs.device), torch.enable_grad():
        for start in range(0, count, size):
            block = inputs[start : start + size]
            factors, outputs = layer_factors(module, block, layers)
            if not start:
                refuse_mixing(module, block, outputs)
                width = outputs.shape[1]
            found.append((slice(start, start + size), factors))
    kernel = inputs.new_empty(count, width, count, width)
    for number, (above, rows) in enumerate(found):
        for left, columns in found[: number + 1]:
            part = products(rows, columns)
            kernel[above, :, left] = part.permute(1, 0, 3, 2)
            if left != above:
                kernel[left, :, above] = part.permute(3, 2, 1, 0)
    # a sum of squares for every row: whatever is not finite in the factors shows here
    refuse_infinite("tangent_kernel", kernel_matrix(kernel).diagonal().view(count, -1).sum(dim=1))
    return kernel


def output_jacobian(module: nn.Module, inputs: Tensor) -> Float[Tensor, "row parameter"]:
    r"""Jacobian of all outputs of all samples in the trained parameters.

    **Shapes and units.** Rows run over outputs within samples, columns over the entries of the
    trained parameters in the order of ``module.named_parameters()``.

    Parameters
    ----------
    module : torch.nn.Module
        Any that ``torch.func`` can transform and that treats every sample alone; evaluated in
        evaluation mode and left as it was.
    inputs : Tensor
        (sample, ...), of the parameters' type.

    Returns
    -------
    Tensor
        Without a graph.

    Raises
    ------
    ValueError
        If outputs of a sample depend on other samples or on chance, or are not finite.

    Examples
    --------
    >>> net = nn.Linear(2, 1).double()
    >>> output_jacobian(net, torch.tensor([[5.0, 7.0]]).double()).tolist()
    [[5.0, 7.0, 1.0]]
    """
    inputs = fitting_inputs(module, inputs)
    trained = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    return jacobian_at(module, inputs, trained)


@in_full_precision
def jacobian_at(module: nn.Module, inputs: Tensor, values: dict[str, Tensor]) -> Tensor:
    """Return the Jacobian at these values of the trained parameters."""

    def outputs_of(chosen: dict[str, Tensor], sample: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(module, chosen, (sample[None],))
        return found.reshape(-1)

    with evaluated(module, inputs.device), torch.enable_grad():
        with torch.no_grad():
            outputs = torch.func.functional_call(module, values, (inputs,))
        refuse_mixing(module, inputs, as_outputs(outputs, len(inputs)), values)
        slopes = torch.func.vmap(torch.func.jacrev(outputs_of), (None, 0))(values, inputs)
    jacobian = torch.cat([slope.flatten(0, 1).flatten(1) for slope in slopes.values()], dim=1)
    refuse_infinite("output_jacobian", jacobian.detach().sum(dim=1))
    return jacobian.detach()


@in_full_precision
def dense_tangent_kernel(
    module: nn.Module, inputs: Tensor
) -> Float[Tensor, "sample output sample output"]:
    r"""Empirical tangent kernel of any network, from its whole Jacobian.

    **Equation.** :math:`K = J J^\top`; memory and time are those of the Jacobian.

    **Shapes and units.** As :func:`tangent_kernel`, which is hundreds of times faster where it
    applies.

    Parameters
    ----------
    module : torch.nn.Module
        As :func:`output_jacobian` takes: convolutions, normalisations, shared weights, ...
    inputs : Tensor
        (sample, ...), of the parameters' type.

    Returns
    -------
    Tensor
        (sample, output, sample, output).

    Examples
    --------
    >>> layer = nn.Linear(2, 2)
    >>> twice = nn.Sequential(layer, nn.Tanh(), layer)
    >>> dense_tangent_kernel(twice, torch.ones(3, 2)).shape
    torch.Size([3, 2, 3, 2])
    """
    jacobian = output_jacobian(module, inputs)
    samples, width = len(inputs), len(jacobian) // len(inputs)
    return (jacobian @ jacobian.T).view(samples, width, samples, width)


def kernel_matrix(
    kernel: Float[Tensor, "sample output sample output"],
) -> Float[Tensor, "row row"]:
    r"""Return a tangent kernel as a matrix; rows run over outputs within samples.

    **Shapes and units.** (sample, output, sample, output) to (row, row), a view.

    Parameters
    ----------
    kernel : Tensor
        As :func:`tangent_kernel` returns it.

    Returns
    -------
    Tensor
        Row i c + k belongs to output k of sample i, as in ``outputs.reshape(-1)``.

    Raises
    ------
    ValueError
        If the shape is not that of a kernel.

    Examples
    --------
    >>> kernel_matrix(torch.zeros(3, 2, 3, 2)).shape
    torch.Size([6, 6])
    """
    shape = tuple(kernel.shape)
    if len(shape) != 4 or shape[:2] != shape[2:]:
        raise ValueError(
            f"kernel has shape {shape}: must be (sample, output, sample, output), as"
            " tangent_kernel returns it"
        )
    rows = shape[0] * shape[1]
    return kernel.reshape(rows, rows)
