"""Multiplications in one step of training a layer, by optimiser."""

from __future__ import annotations

from dataclasses import dataclass

from theory.checks import as_integer, one_of

__all__ = ["StepCost", "step_cost"]

RULES = ("sgd", "foof", "foof-activation", "kfac", "kfac-activation", "natural")


@dataclass(frozen=True, slots=True)
class StepCost:
    """Multiplications in one step of one layer, on average over steps.

    Parameters
    ----------
    passes : float
        Forward and backward passes of the loss.
    factors : float
        Covariances of the batch, or the Gram matrix, with the passes they need.
    inverse : float
        Inverting them, spread over the steps that the inverse is used for.
    apply : float
        Preconditioning.
    """

    passes: float
    factors: float
    inverse: float
    apply: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.passes + self.factors + self.inverse + self.apply


def step_cost(
    fan_in: int,
    fan_out: int,
    batch: int,
    *,
    rule: str,
    T: int = 1,
    S: int = 1,
    samples: int | None = None,
    first: bool = False,
) -> StepCost:
    r"""Count the multiplications of one training step of a dense layer.

    **Equation.** With m inputs, n outputs and B samples the passes cost 3Bmn, or 2Bmn in the first
    layer, which hands no gradient on. Beside them, as factors / inverse / apply:

    - ``sgd``: 0 / 0 / 0
    - ``foof``: :math:`B m^2 S/T` / :math:`m^3/(2T)` / :math:`n m^2`
    - ``foof-activation``: the same, but :math:`\min(B, n)\, m^2` to apply
    - ``kfac``: :math:`B (m^2 + n^2 + mn) S/T` / :math:`(m^3 + n^3)/(2T)` / :math:`n m^2 + n^2 m`
    - ``kfac-activation``: the same, but :math:`\min(B, n)\, m^2 + \min(B, m)\, n^2` to apply
    - ``natural``: :math:`2 D m n + D^2 (m + n)` / 0 / :math:`2 D m n`

    An inverse is a Cholesky factorisation, :math:`m^3/6`, and what makes the inverse of it,
    :math:`m^3/3`. The term Bmn of ``kfac`` is the second backward pass, for sampled labels;
    nothing passes back through the first layer. Natural gradient draws D samples of their own; the
    one solve of all layers together, :math:`D^3/6`, is not in here. Symmetric products may be had
    for half.

    **Shapes and units.** Multiplications.

    Parameters
    ----------
    fan_in, fan_out : int
        m and n, a bias counted as an input.
    batch : int
        B.
    rule : {"sgd", "foof", "foof-activation", "kfac", "kfac-activation", "natural"}
        The optimiser; "activation" preconditions the rows that the gradient is made of, in the
        backward pass, where they are fewer than the gradient's own.
    T, S : int
        Steps between refreshes, and how many of them feed the factors.
    samples : int or None
        D, for ``natural``; None: B.
    first : bool
        Whether the layer is the first of its network.

    Returns
    -------
    StepCost
        The parts and their sum.

    Raises
    ------
    ValueError
        If a number is not positive, S exceeds T, or the rule is unknown.

    References
    ----------
    Derived here, from the sizes of the products.

    Examples
    --------
    >>> cost = step_cost(1000, 1000, 100, rule="foof", T=10)
    >>> cost.apply / cost.passes, round(cost.total / cost.passes, 2)
    (3.3333333333333335, 4.53)
    """
    m, n = as_integer("fan_in", fan_in, low=1), as_integer("fan_out", fan_out, low=1)
    b = as_integer("batch", batch, low=1)
    every = as_integer("T", T, low=1)
    share = as_integer("S", S, low=1, high=every) / every
    one_of("rule", rule, RULES)
    drawn = b if samples is None else as_integer("samples", samples, low=1)
    back = 0 if first else 1
    passes = (2.0 + back) * b * m * n
    if rule == "sgd":
        return StepCost(passes, 0.0, 0.0, 0.0)
    if rule == "natural":
        return StepCost(
            passes, (1.0 + back) * drawn * m * n + drawn**2 * (m + n), 0.0, 2.0 * drawn * m * n
        )
    activation = rule.endswith("-activation")
    applied = (min(b, n) if activation else n) * m * m
    if rule.startswith("foof"):
        return StepCost(passes, share * b * m * m, m**3 / (2 * every), float(applied))
    applied += (min(b, m) if activation else m) * n * n
    factors = share * b * (m * m + n * n + back * m * n)
    return StepCost(passes, factors, (m**3 + n**3) / (2 * every), float(applied))
