"""PL* along a training run: the tangent kernel's spectrum, the rate, the length of the path."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sandbox.landscape._measure import Point, Watched, measure
from sandbox.landscape._path import Path
from sandbox.landscape._trace import COLUMNS, Trace
from sandbox.landscape._verdict import SLACK, PLVerdict, loss_scale, radii, reasons, scale_of
from sandbox.landscape.tangent import tangent_kernel
from theory.checks import as_integer, as_number

__all__ = ["COLUMNS", "PLMonitor", "PLVerdict", "Trace", "Watched", "loss_scale"]


class PLMonitor:
    r"""Watch the tangent kernel, the rate and the path of a training run on fixed samples.

    **Equation.** With :math:`L = \tfrac12 |F(w) - y|^2`, summed over samples and outputs, and
    :math:`K = DF\,DF^\top`: :math:`\mu_t = \lambda_{\min}(K(w_t))`, the PL ratio
    :math:`|\nabla L|^2/(2L) \ge \mu_t`, the bound :math:`L(w_t) \le L(w_0) \prod_{s<t} (1 -
    \eta_s \mu_s)`, and the path :math:`\sum_s |w_{s+1} - w_s|`.

    The bound is that of gradient descent on L, :math:`\eta` the learning rate times
    :func:`loss_scale`. Whether a step is one is measured after every record: the step must be
    :math:`-\eta \nabla L`. Momentum, mini-batches, penalties, dropout or other data end the
    bound, and the verdict notes why. Between two records the smaller of their :math:`\mu`
    is taken.

    This certifies nothing: K is known at the recorded points of one path, not on a ball, and
    so is the Lipschitz constant. Certificates are :func:`theory.plstar.certify_pl`'s; the
    verdict here is "held" or "broken".

    **Shapes and units.** Inputs (sample, ...), targets (sample,) class numbers, which count as
    one-hot vectors, or (sample, output) values. A record costs a kernel and its eigenvalues,
    (samples x outputs)³; every step costs a copy of the parameters.

    Parameters
    ----------
    inputs, targets : Tensor
        All that is trained on. Copied to the device and type of the model.
    every : int
        Steps between two records; the start and the end are always recorded.
    loss_scale : float or None
        Loss that the optimiser minimises, over L; None: that of the run's ``plan.loss``.
    kernel : callable
        :func:`~sandbox.landscape.tangent.tangent_kernel`, in blocks by ``functools.partial``,
        or :func:`~sandbox.landscape.tangent.dense_tangent_kernel`.

    Attributes
    ----------
    trace : Trace
        The records, columns as :data:`COLUMNS`.

    Raises
    ------
    ValueError
        If inputs and targets do not fit or are not finite, or a number is out of range.

    References
    ----------
    Liu, Zhu & Belkin (2022), theorems 1 and 6, arXiv:2003.00307. The radii of flow and descent:
    derived here, see :func:`theory.descent_rates.path_length_radius`.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> net = nn.Linear(2, 1, bias=False).double()
    >>> x, y = torch.eye(2).double(), torch.tensor([[1.0], [2.0]]).double()
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    >>> now = SimpleNamespace(model=net, optimizer=optimizer, step=0)
    >>> monitor = PLMonitor(x, y, loss_scale=1.0)
    >>> monitor.start(now)
    >>> for now.step in (1, 2):
    ...     optimizer.zero_grad()
    ...     (0.5 * (net(x) - y).square().sum()).backward()
    ...     _ = optimizer.step()
    ...     monitor.after_step(now)
    >>> monitor.end(now)
    >>> L = monitor.trace.column("loss")
    >>> (L / L[0]).round(6).tolist(), monitor.verdict().word
    ([1.0, 0.25, 0.0625], 'held')
    >>> bound = monitor.trace.column("bound")
    >>> (bound / L[0]).round(6).tolist()
    [1.0, 0.5, 0.25]
    """

    def __init__(
        self,
        inputs: Any,
        targets: Any,
        *,
        every: int = 1,
        loss_scale: float | None = None,
        kernel: Callable[[nn.Module, Tensor], Tensor] = tangent_kernel,
    ) -> None:
        self.inputs, self.targets = torch.as_tensor(inputs), torch.as_tensor(targets)
        if self.inputs.ndim < 2 or not len(self.inputs) or self.targets.ndim == 0:
            raise ValueError(
                f"inputs of shape {tuple(self.inputs.shape)}, targets {tuple(self.targets.shape)}:"
                " must be (sample, ...), with at least one sample"
            )
        if len(self.targets) != len(self.inputs):
            raise ValueError(f"targets hold {len(self.targets)} samples, inputs {len(self.inputs)}")
        if not (self.inputs.isfinite().all() and self.targets.isfinite().all()):
            raise ValueError("inputs and targets hold entries that are not finite")
        self.every = as_integer("every", every, low=1)
        self.scale = (
            None
            if loss_scale is None
            else as_number("loss_scale", loss_scale, low=0.0, open_low=True)
        )
        self.kernel = kernel
        self.trace = Trace()
        self._broken: dict[str, str] = {}
        self._notes: dict[str, str] = {}
        self._path = Path()

    def hooks(self) -> dict[str, Callable[[Any], None]]:
        """Return what the training loop is given as ``hooks``.

        To go on after an interruption, give it ``stateful={"PL*": monitor}`` too.

        Returns
        -------
        dict
            Functions by event: start, resume, step and end.
        """
        return {
            "start": self.start,
            "resume": self.resume,
            "step": self.after_step,
            "end": self.end,
        }

    def start(self, now: Watched) -> None:
        """Record the start of a run.

        Parameters
        ----------
        now : Watched
            The run.

        Raises
        ------
        ValueError
            If there are records already, the loss is unknown, not a squared error or not
            finite, or model and data do not fit.
        """
        if len(self.trace):
            raise ValueError("monitor holds the records of a run: make a new one for another run")
        if self.scale is None:
            self.scale = scale_of(getattr(now, "plan", None), len(self.inputs))
        self._path.start(now.model)
        self._record(now)

    def resume(self, now: Watched) -> None:
        """Check, once a saved run has been read, that the monitor's state was read with it.

        Parameters
        ----------
        now : Watched
            The run.

        Raises
        ------
        ValueError
            If it was not.
        """
        if not len(self.trace):
            raise ValueError(
                f"monitor has no records of the {now.step} steps before: give the training loop"
                " stateful={'PL*': monitor}, also when the run is first started"
            )

    def after_step(self, now: Watched) -> None:
        """Measure a step of the optimiser; record where it led if it is time to.

        Parameters
        ----------
        now : Watched
            The run, after the step.

        Raises
        ------
        ValueError
            If the run was never started.
        """
        if not len(self.trace):
            raise ValueError("monitor was not started: call start(now) before the first step")
        rates = {float(group["lr"]) for group in now.optimizer.param_groups}
        assert self.scale is not None
        wrong = self._path.step(now.model, self.scale * max(rates))
        if len(rates) > 1:
            self._note("method", "parameter groups have different learning rates: no bound")
        elif wrong or any(group.get("momentum") for group in now.optimizer.param_groups):
            # the first step of momentum is one of gradient descent
            self._note("method", f"step {now.step} {wrong or 'has momentum: no bound'}")
        if now.step % self.every == 0:
            self._record(now)

    def end(self, now: Watched) -> None:
        """Record the end of a run, unless its last step was recorded.

        Parameters
        ----------
        now : Watched
            The run.
        """
        if len(self.trace) and self.trace.rows[-1]["step"] != now.step:
            self._record(now)

    def radii(self) -> dict[str, float]:
        r"""Return the radii that path and distance are held against.

        **Equation.** With the least :math:`\mu` and the largest :math:`L_F^2 =
        \lambda_{\max}` of the records: least distance :math:`|r_0|/L_F`, flow
        :math:`|r_0|/\sqrt\mu`, descent :math:`2|r_0|/\sqrt\mu`, theorem :math:`2 L_F
        |r_0|/\mu`.

        **Shapes and units.** Distances in the parameters. Infinite where K was singular.

        Returns
        -------
        dict
            Keys "least distance", "flow", "descent" and "theorem".

        Raises
        ------
        ValueError
            If nothing was recorded.
        """
        mu, lipschitz = self._extremes()
        return radii(mu, lipschitz, math.sqrt(2 * self.trace.rows[0]["loss"]))

    def verdict(self) -> PLVerdict:
        """Return whether the picture held so far, and if not, why.

        Returns
        -------
        PLVerdict
            Broken if K was singular, the loss not finite, rising or above its bound, the PL
            ratio below the least eigenvalue, or the path longer than 2|r0| / sqrt(mu). A rise is
            judged of gradient descent only, bound and path where nothing is noted.

        Raises
        ------
        ValueError
            If nothing was recorded.
        """
        mu, lipschitz = self._extremes()
        broken = dict(self._broken)
        longest = self.radii()["descent"]
        length = self._path.length
        if length > longest * (1 + SLACK) and not self._notes:
            broken["path"] = (
                f"the path, {length:.6g}, is longer than 2|r0| / sqrt(mu) = {longest:.6g}"
            )
        word: Literal["held", "broken"] = "broken" if broken else "held"
        return PLVerdict(word, tuple(broken.values()), tuple(self._notes.values()), mu, lipschitz)

    def state_dict(self) -> dict[str, Any]:
        """Return everything seen so far as a tree for a checkpoint.

        Returns
        -------
        dict
            Plain data, arrays and tensors.
        """
        return {
            "trace": self.trace.state_dict(),
            "scale": self.scale,
            "broken": dict(self._broken),
            "notes": dict(self._notes),
            "path": self._path.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state of a checkpoint.

        Parameters
        ----------
        state : dict
            What :meth:`state_dict` gave.
        """
        self.trace.load_state_dict(state["trace"])
        self._path.load_state_dict(state["path"])
        self.scale = state["scale"]
        self._broken, self._notes = dict(state["broken"]), dict(state["notes"])

    def _record(self, now: Watched) -> None:
        """Add a row; remember the gradient that the next step is held against."""
        rows = self.trace.rows
        largest = max((row["lambda_max"] for row in rows), default=0.0)
        point = measure(now.model, self.inputs, self.targets, self.kernel, largest)
        if not rows and not math.isfinite(point.loss):
            raise ValueError(f"the loss at the start is {point.loss}: has the model diverged?")
        bound = self._bound(point) if rows else point.loss
        before = rows[-1]["loss"] if rows and "method" not in self._notes else math.inf
        row = {
            "step": now.step,
            "loss": point.loss,
            "lambda_min": point.lambda_min,
            "lambda_max": point.lambda_max,
            "pl_ratio": point.ratio,
            "bound": bound,
            "path": self._path.length,
            "distance": self._path.distance,
        }
        rows.append(row)
        self._path.expect(point.slope)
        for kind, words in reasons(point, bound, before, now.step).items():
            self._broken.setdefault(kind, words)

    def _bound(self, point: Point) -> float:
        """Return the bound here, from that of the last record and the steps since."""
        last = self.trace.rows[-1]
        mu = max(0.0, min(last["lambda_min"], point.lambda_min))
        steepest = max(self._path.rates, default=0.0) * max(last["lambda_max"], point.lambda_max)
        if steepest > 1 + SLACK:
            at = int(last["step"]) + len(self._path.rates)
            self._note(
                "step size",
                f"step size x lambda_max = {steepest:.6g} > 1 up to step {at}: steps too large"
                " for the bound",
            )
        if self._notes or not math.isfinite(point.loss):
            return math.nan
        factor = math.prod(max(0.0, 1 - rate * mu) for rate in self._path.rates)
        return last["bound"] * factor

    def _note(self, kind: str, words: str) -> None:
        self._notes.setdefault(kind, words)

    def _extremes(self) -> tuple[float, float]:
        """Return the least mu and the largest Lipschitz constant of the records."""
        if not len(self.trace):
            raise ValueError("monitor holds no records: nothing has been watched yet")
        least = [row["lambda_min"] for row in self.trace.rows if not math.isnan(row["lambda_min"])]
        most = [row["lambda_max"] for row in self.trace.rows if not math.isnan(row["lambda_max"])]
        mu = 0.0 if "singular" in self._broken else min(least, default=0.0)
        return mu, math.sqrt(max(most, default=0.0))
