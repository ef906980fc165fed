"""The presynaptic rule in every engine: the same lessons, learned by each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import nn

from sandbox.claims._brian import quiet_brian
from synapses import PresynapticRule
from synapses.bridge import inject_uniforms, to_brian
from synapses.consolidation import PresynapticOptimizer
from synapses.events import Network, Neurons, simulate
from synapses.layers import StochasticLinear
from theory.streams import Streams

STEP_S = 2.0**-10
"""Time step of spiking engines; a power of two, so that times are exact multiples."""


def every_step(b2: Any, size: int, equations: str = "dummy : 1", **names: Any) -> Any:
    """Return a group all of whose neurons spike at every step."""
    return b2.NeuronGroup(size, equations, threshold="True", reset="", namespace=names)


RATE, DECAY = 0.1, 0.01


@dataclass(frozen=True)
class Lessons:
    """A logistic layer's start, presentations and random numbers; synapses source by source."""

    patterns: ndarray
    """(step, in)."""
    labels: ndarray
    """(step, out)."""
    strength: ndarray
    """(in, out)."""
    uniforms: ndarray
    """(step, synapse)."""

    @classmethod
    def draw(cls, seeds: Streams, uniforms: ndarray, inputs: int, outputs: int) -> Lessons:
        """Draw patterns, labels and the strengths at the start."""
        steps = len(uniforms)
        return cls(
            seeds.generator("patterns").normal(size=(steps, inputs)),
            seeds.generator("labels").integers(0, 2, (steps, outputs)).astype(float),
            seeds.generator("strength").normal(size=(inputs, outputs)) / 4,
            uniforms,
        )


@dataclass(frozen=True)
class Learned:
    """What learning leaves: after every step (step, synapse), and the energy (synapse,)."""

    strength: ndarray
    p: ndarray
    released: ndarray
    energy: ndarray


def error(z: ndarray, label: ndarray) -> ndarray:
    """Return the derivative of the logistic loss in z."""
    return np.asarray(1 / (1 + np.exp(-z)) - label)


def learn_in_numpy(rule: PresynapticRule, lessons: Lessons) -> Learned:
    """Learn by the definition, :meth:`synapses.PresynapticRule.step`."""
    return _learn(rule, lessons, lambda p, row: (row < p.ravel()).reshape(p.shape))


def learn_compiled(rule: PresynapticRule, lessons: Lessons) -> Learned:
    """Learn from what the compiled engine releases, in one short run a presentation."""
    inputs, outputs = lessons.strength.shape
    neurons = Neurons(outputs, 1.0, 0.0, 0.0, 1.0)

    def released(p: ndarray, row: ndarray) -> ndarray:
        """Let all sources spike once; what they send arrives one step later."""
        network = Network(
            neurons,
            indptr=np.concatenate([np.zeros(outputs, int), outputs * np.arange(inputs + 1)]),
            target=np.tile(np.arange(outputs), inputs),
            amplitude_volt=np.zeros(p.size),
            release_probability=p.ravel(),
            delay_s=STEP_S,
            source_rate_hz=np.full(inputs, 1 / STEP_S),
        )
        rows = np.stack([row, row])
        run = simulate(network, 2 * STEP_S, STEP_S, seed=0, uniforms=rows)
        return run.released.reshape(p.shape) > 0

    return _learn(rule, lessons, released)


def _learn(rule: PresynapticRule, lessons: Lessons, release: Any) -> Learned:
    """Learn with releases that ``release(p, row)`` decides on."""
    w, p = lessons.strength, np.full(lessons.strength.shape, rule.p_min)
    history: dict[str, list[ndarray]] = {"w": [], "p": [], "r": [], "e": []}
    for x, label, row in zip(lessons.patterns, lessons.labels, lessons.uniforms, strict=True):
        r = release(p, row)
        e = error(x @ (w * r / p), label)
        history["e"].append(np.abs(w * r / p).ravel())
        w, p = rule.step(w, p, e * x[:, None] * r / p, RATE, DECAY)
        for name, value in (("w", w), ("p", p), ("r", r)):
            history[name].append(value.ravel())
    strengths, chances, releases, energies = map(np.array, history.values())
    return Learned(strengths, chances, releases, energies.sum(axis=0))


def logistic_layer(
    rule: PresynapticRule, lessons: Lessons
) -> tuple[StochasticLinear, PresynapticOptimizer]:
    """Return a torch layer at the start of the lessons, and its optimiser."""
    inputs, outputs = lessons.strength.shape
    layer = StochasticLinear(
        inputs, outputs, bias=False, release_probability=rule.p_min, dtype=torch.float64
    )
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(lessons.strength.T))
    return layer, PresynapticOptimizer(layer, rule, RATE, DECAY)


def learn_in_torch(rule: PresynapticRule, lessons: Lessons) -> Learned:
    """Learn in torch, gradients by autograd."""
    layer, optimizer = logistic_layer(rule, lessons)
    loss = nn.BCEWithLogitsLoss(reduction="sum")
    strengths, chances, releases, energies = [], [], [], []
    with inject_uniforms(layer, lessons.uniforms):
        for x, label in zip(lessons.patterns, lessons.labels, strict=True):
            optimizer.zero_grad()
            old = layer.weight.detach() / layer.release_probability
            loss(layer(torch.tensor(x[None])), torch.tensor(label[None])).backward()
            optimizer.step()
            assert layer.last_mask is not None
            energies.append((old.abs() * layer.last_mask).T.flatten().numpy())
            releases.append(layer.last_mask.T.flatten().numpy() > 0)
            strengths.append(layer.weight.detach().T.flatten().numpy())
            chances.append(layer.release_probability.T.flatten().numpy())
    return Learned(
        np.array(strengths), np.array(chances), np.array(releases), np.sum(energies, axis=0)
    )


def learn_in_brian(rule: PresynapticRule, lessons: Lessons) -> Learned:
    """Learn in brian2, from the torch layer through the bridge; teaching by an equation."""
    layer, optimizer = logistic_layer(rule, lessons)
    inputs, outputs = lessons.strength.shape
    with quiet_brian(STEP_S) as b2:
        step = b2.defaultclock.dt
        pattern = b2.TimedArray(lessons.patterns, dt=step)
        source = every_step(b2, inputs, "rate = pattern(t, i) : 1", pattern=pattern)
        target = b2.NeuronGroup(
            outputs,
            "z : 1\nerror : 1",
            namespace={"label": b2.TimedArray(lessons.labels, dt=step)},
        )
        S = to_brian(
            layer,
            source,
            target,
            optimizer=optimizer,
            teaching="error = 1/(1 + exp(-z)) - label(t, i); z = 0",
            activity="rate",
            uniforms=lessons.uniforms,
        )
        seen = b2.StateMonitor(S, ["strength_syn", "p_syn", "n_rel"], record=True, when="end")
        b2.Network(source, target, S, seen).run(len(lessons.uniforms) * step)
        released = np.diff(seen.n_rel, axis=1, prepend=0).T
        return Learned(seen.strength_syn.T, seen.p_syn.T, released > 0, np.array(S.energy_syn[:]))
