"""The settings that were published with the presynaptic rule, by name, and their networks."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from synapses.ablations import Ablation
from synapses.consolidation import PresynapticOptimizer
from synapses.networks import Averaged, stochastic_mlp
from synapses.rule import PresynapticRule
from theory.checks import shown
from theory.streams import Streams

__all__ = ["PRESETS", "Preset", "preset"]

Experiment: TypeAlias = Literal["energy", "permuted", "split", "perceptron"]
Source: TypeAlias = Literal["paper", "program"]
Variant: TypeAlias = Literal["printed", "program"]
Method: TypeAlias = Literal["presynaptic", "sgd", "adam"]

MNIST = (784, 200, 200, 10)
PARITY = (784, 200, 200, 2)
DECAYS = (0.0, 0.001, 0.005, 0.01, 0.05, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One experiment's settings, as printed in the paper or as the authors' program has them.

    Parameters
    ----------
    experiment : {"energy", "permuted", "split", "perceptron"}
        What they are for.
    source : {"paper", "program"}
        Where the two differ, whose numbers these are.
    widths : tuple of int
        Layer sizes, inputs first.
    learning_rate : float
        Of the strengths; eta_0 where 1 - p modulates it.
    epochs, batch_size, tasks : int
        Epochs a task, samples a step, number of tasks.
    rule : PresynapticRule or None
        None for a control without one.
    method : {"presynaptic", "sgd", "adam"}
        What moves the strengths.
    release_probability : float or None
        At the start; None where nothing is stochastic.
    ablation : Ablation or None
        What the layers lack.
    weight_decays : tuple of float
        The coefficients that were tried.
    samples : int
        Networks whose softmax is averaged in a test.
    about : str
        What else to know.
    """

    experiment: Experiment
    source: Source
    widths: tuple[int, ...]
    learning_rate: float
    epochs: int
    batch_size: int
    tasks: int
    rule: PresynapticRule | None = None
    method: Method = "presynaptic"
    release_probability: float | None = 0.25
    ablation: Ablation | None = None
    weight_decays: tuple[float, ...] = (0.0,)
    samples: int = 10
    about: str = ""

    def network(
        self,
        *,
        streams: Streams,
        index: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> nn.Module:
        """Return the network, which is tested by the mean of ``samples`` draws.

        Parameters
        ----------
        streams : Streams
            Where the weights are drawn from.
        index : int
            Which network.
        dtype : torch.dtype
            Type of the parameters.
        device : torch.device or str
            Where they live.

        Returns
        -------
        torch.nn.Module
            Fresh; of ``sandbox.training.models.mlp``'s weights if that is given the same streams.

        Raises
        ------
        ValueError
            For the perceptron, whose output is a sign and whose masks are drawn a pattern.
        """
        if self.experiment == "perceptron":
            raise ValueError(
                "experiment = 'perceptron': has one layer and a sign for its output; it is computed"
                " by the claims of schug2021presynaptic, not built as a network"
            )
        network = stochastic_mlp(
            self.widths,
            streams=streams,
            index=index,
            release_probability=self.release_probability,
            ablation=self.ablation,
            dtype=dtype,
            device=device,
        )
        return network if self.release_probability is None else Averaged(network, self.samples)

    def optimizer(self, model: nn.Module, weight_decay: float = 0.0) -> Optimizer:
        """Return what trains the network.

        Parameters
        ----------
        model : torch.nn.Module
            As :meth:`network` builds it.
        weight_decay : float
            One of ``weight_decays``, or another.

        Returns
        -------
        torch.optim.Optimizer
            Fresh. Biases stay fixed under the rule and are trained by the others.
        """
        if self.rule is not None:
            return PresynapticOptimizer(model, self.rule, self.learning_rate, weight_decay)
        kind = SGD if self.method == "sgd" else Adam
        return kind(model.parameters(), self.learning_rate, weight_decay=weight_decay)


def _rule(
    up: float,
    down: float,
    freeze: float,
    variant: Variant = "program",
    *,
    modulated: bool = True,
    limit: float = 0.001,
) -> PresynapticRule:
    """Return a rule in the order of the tables."""
    return PresynapticRule(
        up, down, limit, p_freeze=freeze, variant=variant, rate_modulation=modulated
    )


def _main() -> dict[str, Preset]:
    """Return the main experiments."""
    found: dict[str, Preset] = {}
    sources: tuple[tuple[Source, Variant, float, float], ...] = (
        ("paper", "printed", 0.0516, 0.0520),
        ("program", "program", 0.0520, 0.0516),
    )
    for source, variant, up, down in sources:
        about = "the freezing threshold is the program's: the paper prints none for this network"
        common: dict[str, Any] = {"source": source, "batch_size": 100}
        found[f"energy/{source}"] = Preset(
            experiment="energy",
            widths=MNIST,
            learning_rate=0.05,
            epochs=50,
            tasks=1,
            rule=_rule(0.07, 0.07, 1.0, variant, modulated=False),
            weight_decays=DECAYS,
            **common,
        )
        common |= {"rule": _rule(up, down, 0.9353, variant), "epochs": 10}
        common["about"] = about if source == "paper" else ""
        found[f"permuted/{source}"] = Preset(
            experiment="permuted", widths=MNIST, learning_rate=0.01, tasks=10, **common
        )
        found[f"split/{source}"] = Preset(
            experiment="split", widths=PARITY, learning_rate=0.001, tasks=5, **common
        )
    found["perceptron"] = Preset(
        experiment="perceptron",
        source="program",
        widths=(1000, 1),
        learning_rate=1.0,
        epochs=25,
        batch_size=5,
        tasks=5,
        rule=_rule(0.2, 0.2, 0.9, limit=0.1),
        about="the notebook also cuts p off at 0.9, where this rule may reach 0.92",
    )
    return found


def _controls() -> dict[str, Preset]:
    """Return networks without the rule."""
    energy: dict[str, Any] = {"experiment": "energy", "epochs": 50, "weight_decays": DECAYS}
    common: dict[str, Any] = {"source": "program", "batch_size": 100, "method": "sgd"}
    plain: dict[str, Any] = common | {"release_probability": None, "samples": 1}
    once = "all tasks at once"
    permuted = plain | {"experiment": "permuted", "widths": MNIST, "tasks": 10, "epochs": 10}
    split = plain | {"experiment": "split", "widths": PARITY, "tasks": 5, "epochs": 10}
    adam: dict[str, Any] = {"method": "adam"}
    return {
        "energy/deterministic": Preset(
            **(plain | energy), widths=MNIST, tasks=1, learning_rate=0.08
        ),
        "energy/fixed release": Preset(
            **(common | energy),
            widths=MNIST,
            tasks=1,
            learning_rate=0.05,
            release_probability=0.4,
            about="0.4 is the mean release probability after learning",
        ),
        "permuted/plain, mnist": Preset(**permuted, learning_rate=1e-3),
        "permuted/plain, fashion-mnist": Preset(**(permuted | adam), learning_rate=1e-6),
        "permuted/joint": Preset(**(permuted | adam), learning_rate=1e-3, about=once),
        "split/plain, mnist": Preset(**(split | adam), learning_rate=1e-6),
        "split/plain, fashion-mnist": Preset(**split, learning_rate=1e-4),
        "split/joint": Preset(**(split | adam), learning_rate=1e-3, about=once),
    }


TUNED: dict[str, dict[str, tuple[float, float, float]]] = {
    "permuted": {
        "full": (0.04460148, 0.04021639, 0.94791622),
        "no freezing": (0.04522727, 0.04378614, 1.0),
        "no freezing, no rate modulation": (0.09202317, 0.02954858, 1.0),
        "no rate modulation": (0.08535058, 0.03559312, 0.92272659),
        "ghost": (0.0571483, 0.05188978, 0.92943784),
        "clean ghost": (0.0571483, 0.05188978, 0.92943784),
        "unnormalised": (0.09712197, 0.02752443, 0.91279887),
    },
    "split": {
        "full": (0.05835393, 0.0624703, 0.94452875),
        "no freezing": (0.06543912, 0.08590142, 1.0),
        "no freezing, no rate modulation": (0.01798108, 0.09587958, 1.0),
        "no rate modulation": (0.04199989, 0.0506991, 0.94187781),
        "ghost": (0.09764242, 0.09833934, 0.9466155),
        "clean ghost": (0.09764242, 0.09833934, 0.9466155),
        "unnormalised": (0.09717001, 0.02838338, 0.9499824),
    },
}
"""p_up, p_down and p_freeze of the ablations, which the authors tuned one by one (the clean
ghost, which is not theirs, has the ghost's)."""

LACKING: dict[str, Ablation] = {
    "ghost": "ghost",
    "clean ghost": "clean ghost",
    "unnormalised": "unnormalised",
}


def _ablations() -> dict[str, Preset]:
    """Return the ablations."""
    about = {
        "unnormalised": "in the program, not in the paper",
        "clean ghost": "a control of ours, under the settings of the ghost",
    }
    found: dict[str, Preset] = {}
    mains = _main()
    for name in TUNED:
        main = mains[f"{name}/program"]
        for lacking, numbers in TUNED[name].items():
            found[f"{name}/ablation, {lacking}"] = replace(
                main,
                rule=_rule(*numbers, modulated="no rate modulation" not in lacking),
                ablation=LACKING.get(lacking),
                release_probability=0.5 if lacking.endswith("ghost") else 0.25,
                about=about.get(lacking, ""),
            )
    return found


PRESETS: dict[str, Preset] = _main() | _controls() | _ablations()
"""Settings by name; ``experiment/paper`` and ``experiment/program`` are the main ones."""


def preset(name: str) -> Preset:
    """Return published settings by name.

    Parameters
    ----------
    name : str
        A key of :data:`PRESETS`.

    Returns
    -------
    Preset
        Frozen; ``dataclasses.replace`` makes a smaller one of it.

    Raises
    ------
    ValueError
        If there is none of this name; the message names the nearest.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884, and their program
    (github.com/smonsays/presynaptic-stochasticity).

    Examples
    --------
    >>> preset("permuted/paper").rule.p_up, preset("permuted/program").rule.p_up
    (0.0516, 0.052)
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(str(name), PRESETS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"name = {shown(name)}: must be one of {', '.join(PRESETS)}; the nearest is {near!r}"
        )
    return PRESETS[name]
