"""What the tests of the command line share."""

import sys

import pytest

from sandbox import cli
from sandbox.bench import runner
from sandbox.training import command
from sandbox.training.history import COLUMNS, History


@pytest.fixture
def somewhere_else(tmp_path, monkeypatch):
    """Work in an empty folder, with a search path of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))


@pytest.fixture
def quick(monkeypatch):
    """Leave out the figures, which take most of the time."""
    monkeypatch.setattr(runner, "_draw", lambda claim, comparisons, folder: None)


@pytest.fixture
def sandbox(capfd):
    """Return a function that runs the command line in this process."""

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        told = capfd.readouterr()
        return ended.value.code, told.out, told.err

    return call


@pytest.fixture
def asked(monkeypatch):
    """Put a recorder in the place of training; return what it was asked for."""
    found = []

    def record(settings, folder, **options):
        found.append((settings, folder, options))
        return History(("a task",), [dict.fromkeys(COLUMNS, 0)])

    monkeypatch.setattr(command, "train", record)
    return found
