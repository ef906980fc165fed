r"""Alice: a quasi-Newton step that counts jumps of the gradient beside its slope.

There are two optimisers of this name. This one is that of Duersch et al. (2024),
arXiv:2411.16914, "Curvature in the Looking-Glass", which estimates curvature and glass density
from three gradients. The other, "adaptive low-dimensional subspace estimation" of Gong et al.
(2025), arXiv:2502.07752, a low-rank approximation of the Fisher matrix for language models, has
nothing to do with it and is not here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from sandbox.optim._alice_diagnosis import By, GlassDiagnosis, averaged, labels, sweep
from sandbox.optim._alice_points import Closure, Gradients, Points, SignStream
from sandbox.optim._alice_state import AliceState
from sandbox.optim._alice_update import checked, distance, fresh_state, observe, signed_step
from theory.checks import as_integer, one_of, shown

__all__ = ["Alice", "GlassDiagnosis"]

LOG = logging.getLogger("sandbox.optim")


class Alice(AliceState):
    r"""Steps from gradient, curvature and glass density, bounded as Adam's are.

    Alice of "Curvature in the Looking-Glass" (Duersch et al. 2024), not the low-rank Fisher
    optimiser of the same name (Gong et al. 2025, arXiv:2502.07752).

    **Equation.** Gradients are taken at the look-ahead :math:`\nu`, and on a *sample step* also
    at :math:`\nu \pm \sigma z`, z random signs, sigma = lr. Parameter by parameter,
    :math:`\hat h = (g_+ - g_-)/2\sigma`,
    :math:`\hat\rho = 2 [(g_+ + g_-)/2 - g_0]^2 / \sigma`; G, V, H and R are moving averages of
    :math:`g_0`, :math:`g_0^2`, :math:`|\hat h|` (or :math:`\hat h^2`, whose root then counts)
    and :math:`\hat\rho`, with weights :math:`\min(\beta, (t-1)/t)` for the past, where
    :math:`\beta_3 = 1 - (s+1)(1-\beta_2)` with s = ``quick_steps`` belongs to H and R. After the
    burn-in,

    .. math:: \alpha = \frac{3}{4\pi} \frac{R}{|G| + \epsilon}, \qquad
        d = -\operatorname{sgn}(G)
        \frac{|G|}{\alpha + h + \sqrt{\alpha(\alpha + 2h)} + \epsilon},

    its length clamped to :math:`[lr_{min} f, lr_{max} f]` with f = 1 (``"fixed"``), \|G\|
    (``"sgdm"``) or :math:`|G| / (\sqrt V + \epsilon)` (``"adam"``), NaN to the upper bound; then
    :math:`\nu \leftarrow \mu + \omega d`, :math:`\mu \leftarrow \mu + \varphi d`. The model is
    left at :math:`\mu`. On a quadratic loss an exact G stays exact iff
    :math:`\varphi = \omega (1 - \beta_1)`. Where the upper bound of ``"adam"`` always acts the
    step is Adam's with learning rate :math:`\varphi\, lr_{max}`.

    The first steps up to the burn-in are sample steps that do not move; then every
    (quick_steps + 1)-th is a sample step, of three evaluations, the others have one.

    **Shapes and units.** Parameters float32 or float64, on any device; lr and lr_max in units of
    the parameters (``"adam"``, ``"fixed"``) or, lr_max, of parameter per gradient (``"sgdm"``).

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict
        What to train; every option from ``lr`` to ``sigma`` but ``quick_steps`` may differ
        between groups. Names, if given, are those of :meth:`diagnose`.
    lr : float
        Distance of the probes, and scale of the bounds. Changing a group's ``lr``, as schedules
        do, changes its bounds by the same factor and, without ``sigma``, moves the probes.
    betas : (float, float)
        Of G and of V.
    lr_min, lr_max : float, float or None
        The bounds; None for 2 lr.
    quick_steps : int
        Steps without curvature between two with it.
    hessian : {"abs", "rms", "off"}
        What of the curvature counts.
    glass : bool
        Whether glass counts.
    bounds : {"adam", "sgdm", "fixed"}
        What the bounds are multiplied by.
    omega, phi : float, float or None
        Look-ahead and move, in steps; None for omega (1 - betas[0]), where the look-ahead is
        exact. The published program takes 1 - betas[0], the same at omega = 1.
    weight_decay : (float, float)
        w1, w2 of :math:`w_1 |\nu| + w_2 \nu^2 / 2`, which enters G, and w2 also H (its square,
        for ``"rms"``); not V.
    maximize : bool
        Climb instead; the weight decay still decays.
    eps : float
        Where the size of G or the root of V would divide by 0.
    burn_in : int or None
        Steps before the first move; None for :math:`1 / (1 - \beta_1)` rounded down, of the
        decimal number that beta1 shows. The published program computes in float32 and has 9
        where this has 10, for 0.9: pass 9 to follow it.
    sigma : float or None
        Distance of the probes; None for lr. Where lr reaches 0, sample steps become quick steps.
    scale_bounds : bool
        Whether a changed lr changes the bounds.
    model : torch.nn.Module or None
        Its buffers (running statistics of batch normalisation) are put back after the probes,
        so that they move once a step; None: three times on a sample step, as published. It also
        names the parameters in :meth:`diagnose`.
    nonfinite : {"raise", "skip"}
        What to do where a loss or gradient is not finite; in both cases nothing changes.
    seed : int
        Of the signs, which have a generator of their own and are the same on every device.

    Attributes
    ----------
    closure : str
        "loss": ``step`` is given a function that computes gradients and returns the loss.

    Raises
    ------
    ValueError
        If an option is out of range, options contradict each other, or a parameter is neither
        float32 nor float64.

    References
    ----------
    Duersch, Catanach, Safonov & Wendt (2024), arXiv:2411.16914, and their public program,
    sandialabs/alice; this is written anew, with the exact 3/(4 pi) where it has 0.238732.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    >>> optimizer = Alice([weight], lr=0.1, betas=(0.5, 0.9), lr_max=1e6, phi=1.0, quick_steps=0)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (torch.tensor([0.5, 4.0], dtype=torch.float64) * weight**2).sum()
    ...     loss.backward()
    ...     return loss
    >>> for _ in range(3):  # two of burn-in, and Newton's step
    ...     loss = optimizer.step(closure)
    >>> weight.abs().max().item() < 1e-7
    True
    """

    closure = "loss"

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        lr_min: float = 0.0,
        lr_max: float | None = None,
        quick_steps: int = 3,
        hessian: Literal["abs", "rms", "off"] = "abs",
        glass: bool = True,
        bounds: Literal["adam", "sgdm", "fixed"] = "adam",
        omega: float = 1.0,
        phi: float | None = None,
        weight_decay: tuple[float, float] = (0.0, 0.0),
        maximize: bool = False,
        eps: float = 1e-8,
        burn_in: int | None = None,
        sigma: float | None = None,
        scale_bounds: bool = True,
        model: nn.Module | None = None,
        nonfinite: Literal["raise", "skip"] = "raise",
        seed: int = 0,
    ) -> None:
        if model is not None and not isinstance(model, nn.Module):
            raise ValueError(f"model = {shown(model)}: must be a torch.nn.Module or None")
        self.model = model
        self.nonfinite = one_of("nonfinite", nonfinite, ("raise", "skip"))
        self._signs = SignStream(as_integer("seed", seed, low=0))
        defaults = {
            "lr": lr,
            "betas": betas,
            "lr_min": lr_min,
            "lr_max": lr_max,
            "quick_steps": quick_steps,
            "hessian": hessian,
            "glass": glass,
            "bounds": bounds,
            "omega": omega,
            "phi": phi,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "eps": eps,
            "burn_in": burn_in,
            "sigma": sigma,
            "scale_bounds": scale_bounds,
        }
        checked(defaults)
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]  # not optional
        """Do one step; return the loss at the look-ahead.

        The closure is called once, or three times on a sample step, always for the same
        minibatch: torch's random generators are put back between the calls, and move on by one
        call in all. Other generators (numpy's, Python's) must not be drawn from inside. The
        gradients left behind are those at the look-ahead. Parameters without a gradient stay.

        Parameters
        ----------
        closure : callable
            Zeroes gradients, computes the loss, calls ``backward``, returns the loss.

        Returns
        -------
        Tensor
            The loss, a detached scalar.

        Raises
        ------
        ValueError
            If the closure is missing or returns no number, or gradients are sparse.
        RuntimeError
            If a loss or gradient is not finite and ``nonfinite`` is ``"raise"``.
        """
        if closure is None or not callable(closure):
            raise ValueError(
                f"closure = {shown(closure)}: must be a function that zeroes gradients, computes"
                " the loss, calls backward and returns the loss"
            )
        owned = self._owned()
        sampling = self._samples(owned)
        points = Points([p for _, p in owned], closure, self.model)
        ahead = [
            c + self.state[p]["ahead"] if p in self.state else c
            for (_, p), c in zip(owned, points.centre, strict=True)
        ]
        ends: list[Gradients] = []
        stream = self._signs.fork()
        with points:
            if sampling:
                signs = stream.draw(points.parameters)
                for side in (1, -1):
                    places = [
                        nu + side * distance(group) * z
                        for (group, _), nu, z in zip(owned, ahead, signs, strict=True)
                    ]
                    ends.append(points.gradients(places))
            middle = points.gradients(ahead, keep=True)
        if not bool(points.finite):
            points.restore_buffers()
            if self.nonfinite == "skip":
                LOG.warning("Alice: a loss or gradient is not finite; the step is skipped")
                return points.seen
            raise RuntimeError(
                "a loss or gradient is not finite: training has diverged, or a probe has left the"
                " loss's domain; use a smaller lr or lr_max, or nonfinite='skip'"
            )
        self._signs = stream
        for row, ((group, parameter), nu, slope) in enumerate(
            zip(owned, ahead, middle, strict=True)
        ):
            if slope is None:
                continue
            if parameter not in self.state:
                self.state[parameter] = fresh_state(parameter)
                if not sampling:  # its burn-in begins with the next step
                    continue
            state = self.state[parameter]
            pair = None
            if sampling:
                up, down = ends[0][row], ends[1][row]
                if up is not None and down is not None:
                    pair = (up, down, distance(group))
            observe(state, group, nu, slope, pair)
            if state["step"] > group["burn_in"]:
                move = signed_step(state, group)
                parameter.add_(group["phi"] * move)
                state["ahead"] = (group["omega"] - group["phi"]) * move
        return points.seen

    @torch.no_grad()
    def diagnose(
        self,
        closure: Closure | None = None,
        *,
        sigmas: Sequence[float] | ndarray | None = None,
        directions: int = 8,
        by: By = "layer",
        seed: int = 0,
    ) -> GlassDiagnosis:
        r"""Return, and log, the power laws by which gradients change with the distance.

        With a closure, gradients are taken at the model's weights and at several distances from
        them: 1 + 2 directions len(sigmas) evaluations, after which parameters, gradients,
        torch's random generators, averages and signs are as they were, and buffers if the
        optimiser was given the ``model``. Without, the answer comes from the averages of the
        sample steps so far: the change over sigma (the present one) and over 2 sigma, and hence one
        exponent,
        :math:`2 - \log_2(1 + \langle (g_+ - 2 g_0 + g_-)^2 \rangle / \langle (g_+ - g_-)^2
        \rangle)`.

        Second differences are small: in float32 rounding may hide them.

        Parameters
        ----------
        closure : callable or None
            As :meth:`step`'s, always for one minibatch.
        sigmas : sequence of float or None
            Distances, growing; None for five from a quarter to four times the first group's.
        directions : int
            Random directions, >= 1.
        by : {"layer", "parameter", "group"}
            What is averaged over.
        seed : int
            Of the directions.

        Returns
        -------
        GlassDiagnosis
            Named arrays; without a closure second differences at one distance only.

        Raises
        ------
        ValueError
            If an argument is out of range, or there is no closure and no sample step yet.
        RuntimeError
            If a loss or gradient is not finite.
        """
        one_of("by", by, ("layer", "parameter", "group"))
        under = labels(self.param_groups, self.model, by)
        flat = [(g, p) for g in self.param_groups for p in g["params"]]
        parts = [(g, p, n) for (g, p), n in zip(flat, under, strict=True) if p.requires_grad]
        if closure is None:
            found = averaged(parts, self.state)
        else:
            if not callable(closure):
                raise ValueError(f"closure = {shown(closure)}: must be a function")
            if sigmas is None:
                near = distance(self.param_groups[0])
                sigmas = near * 2.0 ** np.arange(-2, 3)
            parameters, names = [p for _, p, _ in parts], [n for _, _, n in parts]
            found = sweep(parameters, names, closure, self.model, sigmas, directions, seed)
        found.log(LOG)
        return found
