"""A disk that fails at a chosen operation, for code that writes through sandbox.bench.files."""

import os
from pathlib import Path

from sandbox.bench import files

OPERATIONS = ("open", "write", "fsync", "close")


class BrokenDisk:
    """Count file operations, and let one of them fail: before it is done, or half done.

    Only what :mod:`sandbox.bench.files` does is touched, and renames.
    """

    def __init__(self, monkeypatch, fails_at=None):
        self.seen, self.fails_at = [], fails_at
        monkeypatch.setattr(files, "os", self)
        monkeypatch.setattr(Path, "replace", self._guarded("replace", Path.replace))

    def __getattr__(self, name):
        found = getattr(os, name)
        return self._guarded(name, found) if name in OPERATIONS else found

    def _guarded(self, name, operation):
        def guarded(*arguments):
            self.seen.append(name)
            if len(self.seen) - 1 == self.fails_at:
                if name == "write":
                    operation(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                elif name == "close":  # Linux closes a file even when it reports an error
                    operation(*arguments)
                raise OSError(5, f"Input/output error in {name}")
            return operation(*arguments)

        return guarded
