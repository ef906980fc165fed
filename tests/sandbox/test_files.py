"""A file holds its old contents or its new, whatever fails; a folder belongs to one process."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from broken_disk import BrokenDisk

from sandbox.bench import files
from sandbox.bench.files import flush, only_process, write_whole

OLD, NEW = b"old" * 5, bytes(range(250))
CHUNK = 64
WHOLE = ["open", *["write"] * 4, "fsync", "close", "replace", "open", "fsync", "close"]
"""What writing 250 bytes by 64 takes: the file, its new name, the folder."""


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(files, "CHUNK", CHUNK)


def test_a_file_is_written_and_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle).st_ino))
    disk, file = BrokenDisk(monkeypatch), tmp_path / "file"
    write_whole(file, NEW)
    assert file.read_bytes() == NEW
    assert disk.seen == WHOLE
    assert flushed == [file.stat().st_ino, tmp_path.stat().st_ino]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def lowest_free_handle():
    """Return what the next file opened would get; it grows if one is left open."""
    handle = os.open(os.devnull, os.O_RDONLY)
    os.close(handle)
    return handle


@pytest.mark.parametrize("before", [None, OLD])
@pytest.mark.parametrize("number", range(len(WHOLE)))
def test_a_fault_anywhere_leaves_the_old_or_the_new(tmp_path, monkeypatch, number, before):
    file = tmp_path / "file"
    if before is not None:
        file.write_bytes(before)
    free = lowest_free_handle()
    with monkeypatch.context() as patch:
        disk = BrokenDisk(patch, number)
        with pytest.raises(OSError, match=f"error in {WHOLE[number]}"):
            write_whole(file, NEW)
    assert disk.seen[: number + 1] == WHOLE[: number + 1]
    found = file.read_bytes() if file.exists() else None
    assert found == (NEW if number > WHOLE.index("replace") else before)
    assert lowest_free_handle() == free
    # whatever was left over is in nobody's way
    write_whole(file, OLD + NEW)
    assert file.read_bytes() == OLD + NEW
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    write, sizes = os.write, []

    def few(handle, data):
        sizes.append(len(data))
        return write(handle, data[:7])

    monkeypatch.setattr(os, "write", few)
    write_whole(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_bytes() == NEW
    assert len(sizes) == -(-len(NEW) // 7)
    assert max(sizes) == CHUNK


@pytest.mark.parametrize("data", [b"", b"x", bytes(CHUNK), bytes(CHUNK + 1)])
def test_any_length_is_written(tmp_path, data):
    write_whole(tmp_path / "file", data)
    assert (tmp_path / "file").read_bytes() == data


def test_only_a_folder_that_exists_is_written_to(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "missing/file", NEW)
    with pytest.raises(FileNotFoundError):
        flush(tmp_path / "missing")


HOLDER = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from sandbox.bench.files import only_process

    with only_process(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
""")


def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(tmp_path):
    folder = tmp_path / "made/if need be"
    with subprocess.Popen([sys.executable, "-c", HOLDER, folder], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"held\n"
            with (
                pytest.raises(BlockingIOError, match=r"if need be: another process is writing"),
                only_process(folder),
            ):
                pytest.fail("held twice")
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait(20)
    with only_process(folder):
        pass


def test_a_folder_is_held_until_the_end_and_not_longer(tmp_path):
    # a second lock file opened by the same process is to the kernel another owner
    with only_process(tmp_path):
        with pytest.raises(BlockingIOError), only_process(tmp_path):
            pytest.fail("held twice")
        # the refused one must not have let go of the first one's lock
        with pytest.raises(BlockingIOError), only_process(tmp_path):
            pytest.fail("held twice")
    with pytest.raises(KeyError), only_process(tmp_path):
        raise KeyError
    with only_process(tmp_path), only_process(tmp_path / "another"):
        pass
