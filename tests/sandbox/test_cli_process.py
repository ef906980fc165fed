"""The command line as a process: its streams, its signals, and how a stopped run goes on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / "claims_fixture"
SLOW, NOISY, PLAIN, KILLED = (
    str(FIXTURES / f"{name}.py") for name in ("slow", "noisy", "plain", "killed")
)
# the console script's own words; Ctrl-C works even where the parent shell ignores it
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from sandbox.cli import main; main()"
)

pytestmark = pytest.mark.usefixtures("somewhere_else")


def program(*arguments):
    """Run the command line in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    # with buffers, as users have them: what is left in one must not come out at the end
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)


def test_list_loads_none_of_the_heavy_packages():
    heavy = ("torch", "numba", "sympy", "matplotlib", "brian2", "pyarrow", "scipy", "numpy")
    script = (
        "import sys, atexit; from sandbox.cli import main\n"
        f"atexit.register(lambda: print([m for m in {heavy} if m in sys.modules], file=sys.stderr))"
        "\nmain(['list'])"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    print(f"sandbox list: {time.perf_counter() - start:.2f} s of wall time")
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"
    assert "huh2020curvature" in done.stdout


def test_a_reader_that_has_left_is_no_traceback():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "list"], stdout=write, stderr=subprocess.PIPE, timeout=60
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 1


def test_json_has_stdout_to_itself_and_all_claims_are_run(tmp_path):
    done = program("run", NOISY, "--json", "--workers", "2")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["verdict"] for row in rows] == ["holds", "error", "fails"]
    assert done.returncode == 1
    for noise in (
        "imported",
        "run",
        "swept",
        "system call",
        "compiled code",
        "at last",
        "at the very",
    ):
        assert f"noise: {noise}" in done.stderr
    assert "\r" not in done.stderr  # no progress bar: this is no terminal


def test_claims_side_by_side_find_the_same_in_the_same_order():
    alone, beside = (
        program("run", PLAIN, "--json", "--out", f"by-{workers}", "--workers", workers)
        for workers in (1, 2)
    )
    rows = [[json.loads(line) for line in done.stdout.splitlines()] for done in (alone, beside)]
    for row in (*rows[0], *rows[1]):
        del row["seconds"]
    assert rows[0] == rows[1]
    assert [row["verdict"] for row in rows[1]] == [
        "holds", "fails", "inconclusive", "error", "skipped", "fails",
    ]  # fmt: skip
    assert alone.returncode == beside.returncode == 1
    again = program("run", PLAIN, "--out", "by-2")
    assert again.stdout.count("known)") == 4  # errors and skipped claims are tried again


def test_a_killed_worker_is_told_and_what_was_finished_is_kept():
    done = program("run", KILLED, "--workers", "2")
    assert done.returncode == 1
    assert "a worker was killed, running killed2026process/" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def start():
    """Return a function that starts a run with the slow sweep; none outlives the test."""
    started = []

    def start_one(*arguments, **environment):
        command = [sys.executable, "-c", PROGRAM, "run", SLOW, *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
            env={**os.environ, "SWEEP_TRACE": "trace", **environment},
        )  # fmt: skip
        started.append(process)
        return process

    yield start_one
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def traced():
    """Return what the slow sweep has begun so far: items and processes."""
    lines = Path("trace").read_text().splitlines() if Path("trace").exists() else []
    return [[int(word) for word in line.split()] for line in lines if line.count(" ") == 1]


def kept_pieces():
    return {int(path.stem) for path in Path("runs/unfinished").rglob("*.npz")}


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


# Ctrl-C in a terminal reaches the workers too; `kill` only the process that it names
@pytest.mark.parametrize(
    ("how", "workers", "everyone", "stuck_from"),
    [
        (signal.SIGINT, 1, True, 4),
        (signal.SIGINT, 2, True, 15),  # one worker is idle when it comes
        (signal.SIGINT, 2, False, 4),
        (signal.SIGKILL, 2, False, 4),
    ],
)
def test_a_run_stopped_half_way_goes_on_where_it_was(
    how, workers, everyone, stuck_from, start, sandbox, quick, monkeypatch
):
    first = start("--workers", str(workers), "--json", SWEEP_STUCK_FROM=str(stuck_from))
    wait_until(lambda: kept_pieces() == set(range(stuck_from)))
    wait_until(lambda: len(traced()) == min(stuck_from + workers, 16))
    (os.killpg if everyone else os.kill)(first.pid, how)
    out, err = first.communicate(timeout=30)  # half of what a piece would still take
    assert out == ""
    if how is signal.SIGINT:
        assert first.returncode == 130
        assert err.strip().startswith("sandbox: stopped; finished results are kept")
    else:
        assert first.returncode == -signal.SIGKILL
    # no worker outlives the run
    wait_until(lambda: not any(alive(process) for _, process in traced()), 20)
    begun = len(traced())

    monkeypatch.setenv("SWEEP_TRACE", "trace")
    code, out, _ = sandbox("run", SLOW)
    assert (code, out.split()[:2]) == (0, ["holds", "slow2026sweep/squares"])
    assert [item for item, _ in traced()[begun:]] == list(range(stuck_from, 16))
    assert not list(Path("runs/unfinished").iterdir())
    assert "; known)" in sandbox("run", SLOW)[1]
