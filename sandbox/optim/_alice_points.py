"""Gradients of one minibatch at several points: same random numbers, everything put back."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

import torch
from torch import Tensor, nn

from theory.checks import shown

__all__ = ["Closure", "Gradients", "Points", "SignStream"]

Closure = Callable[[], "Tensor | float"]
Gradients = list["Tensor | None"]


class SignStream:
    """Random signs with a generator of their own, the same on every device.

    The generator's state is kept as a tensor: it copies, pickles and travels in a state_dict.

    Parameters
    ----------
    seed : int
        Where the stream starts.
    """

    def __init__(self, seed: int) -> None:
        self.state = torch.Generator().manual_seed(seed).get_state()

    def fork(self) -> SignStream:
        """Return a stream that goes on from here while this one stays."""
        other = copy.copy(self)
        other.state = self.state.clone()
        return other

    def draw(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return signs shaped as the parameters."""
        generator = torch.Generator()
        generator.set_state(self.state)
        signs = []
        for parameter in parameters:
            # eight signs a byte: a CPU draws slowly, and the way to a GPU is long
            size = math.ceil(parameter.numel() / 8)
            drawn = torch.randint(0, 256, (size, 1), generator=generator, dtype=torch.uint8)
            places = torch.arange(8, dtype=torch.uint8, device=parameter.device)
            bits = (drawn.to(parameter.device) >> places) & 1
            flat = bits.flatten()[: parameter.numel()].to(parameter.dtype)
            signs.append((2 * flat - 1).reshape(parameter.shape))
        self.state = generator.get_state()
        return signs


class Points:
    """Evaluates a closure with the parameters at several points.

    Every evaluation starts from the same state of torch's random generators. On leaving, the
    parameters are where they were; the generators have moved by one evaluation, and the
    buffers of the model, if there is one, are those after the evaluation last kept.

    Parameters
    ----------
    parameters : sequence of Tensor
        What is moved.
    closure : callable
        Zeroes gradients, computes the loss, calls backward, returns the loss.
    model : torch.nn.Module or None
        Whose buffers are put back after an evaluation that is not kept.
    """

    def __init__(
        self, parameters: Sequence[Tensor], closure: Closure, model: nn.Module | None
    ) -> None:
        self.parameters, self.closure = parameters, closure
        self.centre = [p.detach().clone() for p in parameters]
        self.model = model
        self.loss: Tensor | None = None
        self.finite: Tensor | bool = True

    def __enter__(self) -> Points:
        self._devices = sorted({p.device for p in self.parameters if p.is_cuda}, key=str)
        self._random = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._devices)]
        self._values = {name: b.detach().clone() for name, b in self._buffers()}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._move(self.centre)
        if error is not None:
            self.restore_buffers()

    def gradients(self, places: Sequence[Tensor], *, keep: bool = False) -> Gradients:
        """Return gradients at a point, copied unless this evaluation is the one kept.

        Parameters
        ----------
        places : sequence of Tensor
            Where the parameters are put.
        keep : bool
            Whether buffers may stay as the evaluation leaves them.

        Returns
        -------
        list of Tensor or None
            One a parameter; None where the loss does not depend on it.

        Raises
        ------
        ValueError
            If the closure returns no number, or gradients are sparse.
        """
        self.same_randomness()
        self._move(places)
        with torch.enable_grad():
            loss = self.closure()
        try:
            self.loss = torch.as_tensor(loss).detach()
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"closure() = {shown(loss)}: must return the loss, a number") from None
        if self.loss.numel() != 1:
            raise ValueError(
                f"closure() has shape {tuple(self.loss.shape)}: must return the loss, a number"
            )
        if not keep:
            self.restore_buffers()
        found: Gradients = []
        finite: Tensor | bool = self.loss.isfinite().all()
        for parameter in self.parameters:
            slope = parameter.grad
            if slope is not None and slope.layout != torch.strided:
                raise ValueError("closure() made sparse gradients: Alice needs dense ones")
            if slope is not None:
                finite = finite & slope.isfinite().all().to(self.loss.device)
            found.append(slope if slope is None or keep else slope.detach().clone())
        self.finite = finite & self.finite
        return found

    @property
    def seen(self) -> Tensor:
        """The loss of the last evaluation."""
        assert self.loss is not None
        return self.loss

    def same_randomness(self) -> None:
        """Put torch's random generators back to where they were on entering."""
        torch.set_rng_state(self._random[0])
        for device, state in zip(self._devices, self._random[1:], strict=True):
            torch.cuda.set_rng_state(state, device)

    def restore_buffers(self) -> None:
        """Put the model's buffers back to what they were on entering."""
        for name, buffer in self._buffers():
            buffer.copy_(self._values[name])

    def _buffers(self) -> Iterable[tuple[str, Tensor]]:
        return () if self.model is None else self.model.named_buffers()

    def _move(self, places: Sequence[Tensor]) -> None:
        for parameter, place in zip(self.parameters, places, strict=True):
            parameter.copy_(place)
