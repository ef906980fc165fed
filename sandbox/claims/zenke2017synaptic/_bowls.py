"""Descent on quadratic losses from several starts at once, watched by synaptic intelligence."""

from __future__ import annotations

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from sandbox.regularisers import QuadraticPenalty, SynapticIntelligence

__all__ = ["Bowl", "turned_hessian"]


def turned_hessian(curvatures: tuple[float, ...], generator: np.random.Generator) -> ndarray:
    """Return a Hessian with these eigenvalues and random eigenvectors."""
    turn, _ = np.linalg.qr(generator.normal(size=(len(curvatures), len(curvatures))))
    return np.asarray(turn @ np.diag(curvatures) @ turn.T)


class Bowl:
    """Weights that descend a quadratic loss from every row of starts, all in one model.

    Parameters
    ----------
    hessian : ndarray
        (weight, weight), positive definite; the minimum is at 0.
    starts : ndarray
        (start, weight); the loss is the sum over starts.
    """

    def __init__(self, hessian: ndarray, starts: ndarray) -> None:
        self.hessian, self.starts = torch.tensor(hessian), torch.tensor(starts)
        self.model = nn.Linear(starts.shape[1], len(starts), bias=False).double()
        self.put(starts)

    def put(self, weights: ndarray) -> None:
        """Put the weights somewhere."""
        with torch.no_grad():
            self.model.weight.copy_(torch.as_tensor(weights))

    def loss(self) -> Tensor:
        """Return the loss at the weights, with its graph."""
        weight = self.model.weight
        return ((weight @ self.hessian) * weight).sum() / 2

    def descend(self, rate: float, steps: int) -> SynapticIntelligence:
        """Descend from the starts; return what watched."""
        self.put(self.starts.numpy())
        optimizer = torch.optim.SGD(self.model.parameters(), lr=rate)
        tracker = SynapticIntelligence(self.model, optimizer)
        for _ in range(steps):
            optimizer.zero_grad()
            torch.autograd.backward(self.loss())
            optimizer.step()
        tracker.remove()
        return tracker

    def surrogate(self, tracker: SynapticIntelligence, damping: float) -> QuadraticPenalty:
        """Return the penalty of strength 1 round the weights as they are."""
        tracker.xi = damping  # enters where path sums are divided, not before
        penalty = QuadraticPenalty(1.0)
        penalty.consolidate(tracker.importance(), self.model)
        return penalty

    @torch.no_grad()
    def values(self, weights: ndarray, penalty: QuadraticPenalty) -> tuple[float, float]:
        """Return loss and penalty at some weights."""
        self.put(weights)
        return self.loss().item(), penalty.penalty(self.model).item()
