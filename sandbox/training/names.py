"""Names that settings may take, apart from torch so that the command line starts quickly."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = [
    "Activation",
    "AverageKind",
    "DataName",
    "Evaluated",
    "Initialisation",
    "LossName",
    "ModelName",
    "OptimizerName",
    "Precision",
    "Scenario",
    "ScheduleName",
    "StreamName",
]

Activation: TypeAlias = Literal["relu", "tanh", "sigmoid", "gelu", "linear"]
AverageKind: TypeAlias = Literal["exponential", "tail"]
DataName: TypeAlias = Literal["digits", "fashion-mnist", "mnist", "mnist-5k", "cifar10"]
Evaluated: TypeAlias = Literal["current", "seen", "all"]
Initialisation: TypeAlias = Literal[
    "torch", "kaiming-normal", "kaiming-uniform", "glorot-normal", "glorot-uniform", "orthogonal"
]
LossName: TypeAlias = Literal["cross-entropy", "squared", "reconstruction"]
ModelName: TypeAlias = Literal["mlp", "cnn", "autoencoder", "vgg11", "wrn18"]
OptimizerName: TypeAlias = Literal[
    "sgd", "adam", "adamw", "muon", "foof", "kfac", "natural", "alice", "curvature"
]
Precision: TypeAlias = Literal["full", "bfloat16-mixed"]
Scenario: TypeAlias = Literal["domain", "task", "class"]
ScheduleName: TypeAlias = Literal["constant", "linear", "cosine", "step"]
StreamName: TypeAlias = Literal["single", "split", "permuted", "continuous-permuted"]
