"""Data and models for training."""

from sandbox.training.data import Dataset, load, one_hot, split

__all__ = ["Dataset", "load", "one_hot", "split"]
