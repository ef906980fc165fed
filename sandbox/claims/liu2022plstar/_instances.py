"""Systems in two writings: the theory room's, to be certified, and the experiments' own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from sandbox.bench import Run
from sandbox.claims.liu2022plstar._experiments import Chain, LinearSystem, System, TanhNetwork
from theory.descent_rates import theorem_radius
from theory.plstar import Certificate, certify_pl
from theory.tangent_models import DeepLinear, Linear, RandomFeatures, TangentModel, TwoLayer

__all__ = ["MATRIX", "TARGETS", "Instance", "chain", "linear", "tanh_network", "theorem_ball"]

MATRIX = np.array([[1.0, 2, 0, 1, 0], [0, 1, 1, 0, 2], [2, 0, 1, 1, 1]])
TARGETS = np.array([1.0, 2.0, 3.0])


class Instance(NamedTuple):
    """A start from which a system is solved."""

    name: str
    model: TangentModel
    system: System
    start: ndarray
    targets: ndarray

    @property
    def certificate(self) -> Certificate:
        """The certificate of the smallest ball."""
        return certify_pl(self.model, self.start, self.targets)


def linear(name: str, matrix: ndarray, targets: ndarray) -> Instance:
    """Return linear equations, to be solved from 0."""
    return Instance(name, Linear(matrix), LinearSystem(matrix), np.zeros(matrix.shape[1]), targets)


def features(name: str, run: Run, samples: int, width: int) -> Instance:
    """Return random tanh features of random inputs, to be fitted from 0."""
    generator = run.seeds.generator("features", width)
    inputs = generator.standard_normal((samples, 3))
    directions = generator.standard_normal((width, 3))
    system = LinearSystem(np.tanh(inputs @ directions.T) / np.sqrt(width))
    targets = generator.standard_normal(samples)
    return Instance(name, RandomFeatures(inputs, directions), system, np.zeros(width), targets)


def chain(name: str, start: tuple[float, ...], target: float) -> Instance:
    """Return the product of weights, one equation."""
    model = DeepLinear([[1.0]], (1,) * len(start))
    return Instance(name, model, Chain(), np.array(start), np.array([target]))


def tanh_network(name: str, run: Run, width: int, residual: float, index: int = 0) -> Instance:
    """Return a network of two orthonormal inputs, its targets away from its outputs by so much."""
    generator = run.seeds.generator("tanh networks", index)
    signs = generator.choice([-1.0, 1.0], width)
    system = TanhNetwork(np.eye(2), signs)
    start = generator.standard_normal(2 * width)
    angle = generator.uniform(0, 2 * np.pi)
    targets = system.output(start) + residual * np.array([np.cos(angle), np.sin(angle)])
    return Instance(name, TwoLayer(np.eye(2), width, outer=signs), system, start, targets)


def theorem_ball(instance: Instance) -> Certificate:
    """Return the certificate of the least ball with the radius of the paper's theorem 6."""
    radius = 1e-9
    while True:
        found = certify_pl(instance.model, instance.start, instance.targets, radius=radius)
        needed = theorem_radius(found.lipschitz, found.residual, found.mu)
        if needed <= radius:
            return found
        radius = needed * (1 + 1e-9)
