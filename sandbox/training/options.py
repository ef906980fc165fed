"""Options of the optimisers that ``sandbox train`` offers: whose they are, defaults, ranges."""

# annotations are objects here: the parser reads them in the module of the class that inherits them
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_type_hints

from cyclopts import Group, Parameter

from sandbox.training._words import numbers, whole
from sandbox.training.names import OptimizerName

__all__ = ["OptimizerOptions"]

_optimizer = Group("Optimiser", sort_key=5)
_factors = Group("Preconditioning: foof, kfac, natural, curvature", sort_key=6)
_others = Group("Parameters that muon, foof, kfac and natural leave out", sort_key=7)
_alice = Group("Alice", sort_key=8)


Pair = Annotated[
    tuple[float, ...] | None,
    Parameter(group=_optimizer, converter=numbers, n_tokens=1, accepts_keys=False, negative=()),
]
Number = Annotated[float | None, Parameter(group=_optimizer)]
FactorNumber = Annotated[float | None, Parameter(group=_factors)]
FactorWhole = Annotated[int | None, Parameter(group=_factors, converter=whole)]
AliceNumber = Annotated[float | None, Parameter(group=_alice)]


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """The optimiser and its options; None stands for its own default, named in each line.

    An option of another optimiser is refused.

    Parameters
    ----------
    optimizer : str
        Update rule. sgd: gradient descent; adam, adamw: scaled by the root of its second
        moment; muon: orthonormalised momentum; foof: gradient descent on neurons; kfac:
        Kronecker-factored curvature; natural: natural gradient, the Fisher matrix of one batch;
        alice: curvature and glass density (Duersch et al. 2024), without a step in its
        first 1 / (1 - the first of --betas) steps, which only measure; curvature: exact
        curvature correction, which decomposes a matrix of (batch x outputs) by (parameters) in
        every step: for small networks.
    lr : float
        Learning rate: 0.1 (sgd, kfac), 0.001 (adam, adamw), 0.02 (muon), 0.3 (foof),
        0.03 (natural), 0.005 (alice), 0.2 (curvature).
    momentum : float
        Factor of the running sum of gradients: 0.0 (sgd, foof, kfac, natural), 0.95 (muon).
    weight_decay : float
        Coefficient of an L2 term in the gradient (sgd, adam, alice), or of a decay beside it
        (all others but curvature, which has none); 0.0.
    betas : tuple of float
        adam, adamw, alice: factors of the two moving averages, 0.9,0.999.
    damping : float
        Added to the factor or matrix that is inverted: 1.0 (foof), 0.3 (kfac), 0.1 (natural,
        curvature).
    power : float
        foof, kfac: root of every factor's inverse, 1.0; curvature: of the curvature's, 0.5.
    factor_scaling : str
        foof, kfac: mean over samples (mean), or as in the program of Benzing (2022), which
        sums over the batch in linear layers (paper): damping and lr then mean something else;
        mean.
    sharing : str
        foof, kfac: positions of a convolution as samples (expand), or averaged (reduce); expand.
    refresh_every : int
        foof, kfac: steps from one inversion to the next (T in the papers); 10.
    collect : int
        foof, kfac: how many of them enter the factors, the last ones (S); 1.
    factor_decay : float
        foof, kfac: share of the past in the factors' moving average, 0.95.
    factor_samples : int
        foof, kfac, natural: samples of a batch that factors or the Fisher matrix are made of;
        all of them.
    bias_rule : str
        foof, kfac, natural: biases as a further column of the weights (augment), or with the
        parameters left out (fallback); augment.
    side : str
        foof, kfac: precondition gradients after the backward pass (gradient), or the layers'
        inputs within it, which is cheaper for small batches (activation); gradient.
    rule : str
        kfac: damping of the two factors (heuristic), of their product (standard), or the
        latter with the transposed basis that was published (standard-published); heuristic.
    fisher : str
        kfac: labels drawn from the model (sampled), all of them (exact), or those of the data
        (empirical); natural: sampled or all of them (full); sampled.
    output_factor : bool
        kfac: whether the factor of the output gradients counts; true.
    blocks : str
        natural, curvature: the whole matrix (full), or a block for every layer (layer); full.
    scale : float
        curvature: prefactor of the correction; 1 with --blocks full, else the number of
        layers to the power of minus --power.
    fallback : str
        foof, kfac, natural: what trains parameters without a factor rule, such as those of batch
        normalisation: adamw, sgd, or none to refuse such a network; adamw. muon, which takes
        matrices alone, leaves all others to adamw.
    fallback_lr : float
        muon, foof, kfac, natural: learning rate of these parameters, 0.001.
    lr_min : float
        Lower bound on a step, in the units of --bounds; 0.0.
    lr_max : float
        Upper bound on a step, in the same; twice the learning rate.
    quick_steps : int
        Steps without curvature between two with it, which cost three times as much; 3.
    hessian : str
        Curvature as mean modulus (abs), as root mean square (rms), or left out (off); abs.
    glass : bool
        Whether the density of glass counts; true.
    bounds : str
        The bounds are those of Adam's steps (adam), of gradient descent with momentum (sgdm),
        or the same for all (fixed); adam.
    omega : float
        How many steps ahead gradients are taken, 1.0.
    phi : float
        How many of those steps are taken; --omega times (1 - the first of --betas), where the
        look-ahead is exact.
    """

    optimizer: Annotated[OptimizerName, Parameter(group=_optimizer)] = "sgd"
    lr: Number = None
    momentum: Number = None
    weight_decay: Number = None
    betas: Pair = None
    damping: FactorNumber = None
    power: FactorNumber = None
    factor_scaling: Annotated[Literal["mean", "paper"] | None, Parameter(group=_factors)] = None
    sharing: Annotated[Literal["expand", "reduce"] | None, Parameter(group=_factors)] = None
    refresh_every: FactorWhole = None
    collect: FactorWhole = None
    factor_decay: FactorNumber = None
    factor_samples: FactorWhole = None
    bias_rule: Annotated[Literal["augment", "fallback"] | None, Parameter(group=_factors)] = None
    side: Annotated[Literal["gradient", "activation"] | None, Parameter(group=_factors)] = None
    rule: Annotated[
        Literal["heuristic", "standard", "standard-published"] | None, Parameter(group=_factors)
    ] = None
    fisher: Annotated[
        Literal["sampled", "exact", "empirical", "full"] | None, Parameter(group=_factors)
    ] = None
    output_factor: Annotated[bool | None, Parameter(group=_factors)] = None
    blocks: Annotated[Literal["full", "layer"] | None, Parameter(group=_factors)] = None
    scale: FactorNumber = None
    fallback: Annotated[Literal["adamw", "sgd", "none"] | None, Parameter(group=_others)] = None
    fallback_lr: Annotated[float | None, Parameter(group=_others)] = None
    lr_min: AliceNumber = None
    lr_max: AliceNumber = None
    quick_steps: Annotated[int | None, Parameter(group=_alice, converter=whole)] = None
    hessian: Annotated[Literal["abs", "rms", "off"] | None, Parameter(group=_alice)] = None
    glass: Annotated[bool | None, Parameter(group=_alice)] = None
    bounds: Annotated[Literal["adam", "sgdm", "fixed"] | None, Parameter(group=_alice)] = None
    omega: AliceNumber = None
    phi: AliceNumber = None


_ROLLING = {"momentum": 0.0, "weight_decay": 0.0}
_LAYERED: dict[str, Any] = {
    **_ROLLING,
    "factor_samples": None,
    "bias_rule": "augment",
    "fallback": "adamw",
    "fallback_lr": 0.001,
}
_FACTORED: dict[str, Any] = {
    **_LAYERED,
    "power": 1.0,
    "factor_scaling": "mean",
    "sharing": "expand",
    "refresh_every": 10,
    "collect": 1,
    "factor_decay": 0.95,
    "side": "gradient",
}
_KFAC = {"rule": "heuristic", "fisher": "sampled", "output_factor": True}
_ADAM: dict[str, Any] = {"lr": 0.001, "weight_decay": 0.0, "betas": (0.9, 0.999)}
_ALICE: dict[str, Any] = {
    "lr_min": 0.0,
    "lr_max": None,
    "quick_steps": 3,
    "hessian": "abs",
    "glass": True,
    "bounds": "adam",
    "omega": 1.0,
    "phi": None,
}

OPTIONS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.1, **_ROLLING},
    "adam": _ADAM,
    "adamw": _ADAM,
    "muon": {"lr": 0.02, **_ROLLING, "momentum": 0.95, "fallback_lr": 0.001},
    "foof": {"lr": 0.3, "damping": 1.0, **_FACTORED},
    "kfac": {"lr": 0.1, "damping": 0.3, **_FACTORED, **_KFAC},
    "natural": {"lr": 0.03, "damping": 0.1, **_LAYERED, "fisher": "sampled", "blocks": "full"},
    "alice": {**_ADAM, **_ALICE, "lr": 0.005},
    "curvature": {"lr": 0.2, "damping": 0.1, "power": 0.5, "blocks": "full", "scale": None},
}
"""What every optimiser can be told, with its defaults; None where it finds its own."""

POSITIVE = {"lr", "damping", "power", "scale", "fallback_lr", "lr_max", "omega", "phi"}
"""Numbers that must not be 0."""

LOOSE = {("curvature", "damping"), ("curvature", "power")}
"""Where they may be: there are pseudo-inverses, and the power 0 is gradient descent."""

BELOW_ONE = {"momentum", "factor_decay"}
"""Numbers in [0, 1)."""

LEAST = {"refresh_every": 1, "collect": 1, "factor_samples": 1, "quick_steps": 0}
"""Smallest values of whole numbers."""

FISHERS = {"kfac": ("sampled", "exact", "empirical"), "natural": ("sampled", "full")}
"""Estimates of the Fisher matrix that each can take."""


def check_options(given: OptimizerOptions) -> dict[str, Any]:
    """Return an optimiser's options, its own defaults filled in.

    Parameters
    ----------
    given : OptimizerOptions
        What was asked for.

    Returns
    -------
    dict
        A value for every option; None for those of other optimisers.

    Raises
    ------
    ValueError
        If an option belongs to other optimisers, or its value does not fit.
    """
    from theory.checks import one_of, shown

    name = one_of("optimizer", given.optimizer, tuple(OPTIONS))
    own, found = OPTIONS[name], {}
    hints = get_type_hints(OptimizerOptions)
    for field in fields(OptimizerOptions):
        if field.name == "optimizer":
            continue
        value = getattr(given, field.name)
        if field.name not in own and value is not None:
            if value != 0 or field.name not in _ROLLING:  # none of it is what all others have
                owners = [other for other, options in OPTIONS.items() if field.name in options]
                raise ValueError(
                    f"{field.name} = {shown(value)}: {name} has none; it is for {', '.join(owners)}"
                )
            value = None
        elif field.name in own:
            value = own[field.name] if value is None else value
        checked = None if value is None else _fitting(field.name, value, hints[field.name], name)
        found[field.name] = checked
    if given.fallback == "none":
        if given.fallback_lr is not None:
            raise ValueError(
                f"fallback_lr = {shown(given.fallback_lr)}: fallback 'none' trains nothing; set"
                " fallback to adamw or sgd"
            )
        found["fallback_lr"] = None
    _check_together(name, found)
    return found


def _fitting(name: str, value: Any, hint: Any, optimizer: str) -> Any:
    """Return an option's value if it is of its type and in its range."""
    from theory.checks import as_integer, as_number, one_of, shown

    kind = next(kind for kind in get_args(hint) if kind is not type(None))
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} = {shown(value)}: must be true or false")
        return value
    if kind is int:
        return as_integer(name, value, low=LEAST[name])
    if kind is float:
        open_low = name in POSITIVE and (optimizer, name) not in LOOSE
        below = name in BELOW_ONE
        high = 1.0 if below or (name == "power" and optimizer == "curvature") else math.inf
        return as_number(
            name, value, low=0.0, open_low=open_low, high=high, open_high=below or high == math.inf,
        )  # fmt: skip
    if name == "betas":
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise ValueError(f"betas = {shown(value)}: must be two numbers, as in 0.9,0.999")
        return tuple(
            as_number(f"betas[{i}]", beta, low=0.0, high=1.0, open_high=True)
            for i, beta in enumerate(value)
        )
    return one_of(name, value, FISHERS[optimizer] if name == "fisher" else get_args(kind))


def _check_together(name: str, found: Mapping[str, Any]) -> None:
    """Refuse options that contradict each other."""
    if found["collect"] is not None and found["collect"] > found["refresh_every"]:
        raise ValueError(
            f"collect = {found['collect']}: must not exceed refresh_every ="
            f" {found['refresh_every']}, the steps that there are to collect from"
        )
    if name == "alice" and found["lr_max"] is not None and found["lr_max"] < found["lr_min"]:
        raise ValueError(
            f"lr_max = {found['lr_max']}: must not be below lr_min = {found['lr_min']}"
        )
