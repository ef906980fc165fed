"""What the tests of claims share: runs at the quick scale, in this process."""

import pytest

from sandbox.bench.claim import Run
from sandbox.bench.sweep import SerialExecutor
from theory.streams import Streams


@pytest.fixture
def run(tmp_path):
    return Run("quick", Streams(0), "cpu", SerialExecutor(), tmp_path)


@pytest.fixture
def other_run(tmp_path):
    """Run on another seed than the one on record."""
    return Run("quick", Streams(20240611), "cpu", SerialExecutor(), tmp_path)
