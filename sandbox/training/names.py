"""Names that settings may take, apart from torch so that the command line starts quickly."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = [
    "Activation",
    "DataName",
    "Evaluated",
    "Initialisation",
    "LossName",
    "ModelName",
    "OptimizerName",
    "Scenario",
    "ScheduleName",
    "StreamName",
]

Activation: TypeAlias = Literal["relu", "tanh", "sigmoid", "gelu", "linear"]
DataName: TypeAlias = Literal["digits", "fashion-mnist", "mnist", "mnist-5k", "cifar10"]
Evaluated: TypeAlias = Literal["current", "seen", "all"]
Initialisation: TypeAlias = Literal[
    "torch", "kaiming-normal", "kaiming-uniform", "glorot-normal", "glorot-uniform", "orthogonal"
]
LossName: TypeAlias = Literal["cross-entropy", "squared", "reconstruction"]
ModelName: TypeAlias = Literal["mlp", "cnn", "autoencoder"]
OptimizerName: TypeAlias = Literal["sgd", "adam", "adamw"]
Scenario: TypeAlias = Literal["domain", "task", "class"]
ScheduleName: TypeAlias = Literal["constant", "linear", "cosine", "step"]
StreamName: TypeAlias = Literal["single", "split", "permuted", "continuous-permuted"]
