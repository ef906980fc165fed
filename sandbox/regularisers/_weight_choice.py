"""Which of a network's parameters count as weights to be made sparse, pruned or coded."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from theory.checks import shown

__all__ = ["chosen_weights", "refuse_not_finite"]


def chosen_weights(model: nn.Module, *, biases: bool, frozen: bool) -> dict[str, Tensor]:
    """Return weights by name: two dimensions or more, unless vectors are wanted, too.

    Parameters
    ----------
    model : torch.nn.Module
        The network; tied weights count once.
    biases : bool
        Whether biases and gains, with fewer than two dimensions, count.
    frozen : bool
        Whether weights that are not trained count.

    Returns
    -------
    dict of str to Tensor
        In the order of ``model.named_parameters()``.

    Raises
    ------
    ValueError
        If the model is none, is not initialised yet, or has no such weight.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model = {shown(model)}: must be a torch.nn.Module")
    if not isinstance(biases, bool):
        raise ValueError(f"biases = {shown(biases)}: must be True or False")
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise ValueError(
                f"{name} is not initialised yet: send one batch through the model beforehand"
            )
        # what torch.func puts in a parameter's place may have no gradient of its own
        stands_in = not isinstance(parameter, nn.Parameter)
        counts = frozen or stands_in or parameter.requires_grad
        if counts and parameter.is_floating_point() and (biases or parameter.ndim >= 2):
            found[name] = parameter
    if not found:
        kind = "parameter" if biases else "weight of two dimensions or more"
        trained = "" if frozen else " trained"
        remedy = "" if biases else "; biases=True takes vectors, too"
        raise ValueError(f"model = {shown(model)}: has no{trained} {kind}{remedy}")
    return found


def refuse_not_finite(name: str, weight: Tensor) -> None:
    """Raise if a weight is infinite or not a number."""
    if not bool(weight.isfinite().all()):
        raise ValueError(f"{name} has weights that are not finite: nothing can be made of them")
