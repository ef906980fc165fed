"""Loading Fashion-MNIST, checksums included, against gzip and numpy reading the same files.

Every load has a process of its own, whose imports are not timed. The peer gunzips, reads
and divides by 255, and checks nothing; both end with the same arrays, which is asserted.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from paired import write

from sandbox.training.data import at_hand, load

ROUNDS = 7
LOAD = """
import time
from sandbox.training.data import load
start = time.perf_counter()
load("fashion-mnist")
print(time.perf_counter() - start)
"""
PEER = """
import gzip, time
from pathlib import Path
import numpy as np

def read():
    found = []
    for part in ("train", "t10k"):
        for kind, skip in (("images-idx3", 16), ("labels-idx1", 8)):
            path = Path("/usr/share/datasets/fashion-mnist") / f"{part}-{kind}-ubyte.gz"
            found.append(np.frombuffer(gzip.open(path).read(), np.uint8, offset=skip))
    images, labels, test_images, test_labels = found
    scaled = [
        x.reshape(-1, 784).astype(np.float32) / np.float32(255) for x in (images, test_images)
    ]
    return scaled[0], labels.astype(np.int64), scaled[1], test_labels.astype(np.int64)

start = time.perf_counter()
arrays = read()
print(time.perf_counter() - start)
"""


def timed(program: str) -> float:
    """Run a program in a process of its own and return the seconds it prints."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Measure and write the figures."""
    if "Debian" not in (at_hand("fashion-mnist") or ""):
        sys.exit("needs the Debian package dataset-fashion-mnist")
    dataset = load("fashion-mnist")
    peer: dict = {}
    exec(PEER.replace("print", "str"), peer)
    parts = [dataset.train.inputs, dataset.train.targets, dataset.test.inputs, dataset.test.targets]
    assert all(map(np.array_equal, parts, peer["arrays"])), "results differ"
    programs = {"load": LOAD, "peer": PEER}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, program in programs.items():
            times[name].append(timed(program))
    ratios = np.array(times["load"]) / np.array(times["peer"])
    write(__file__, {
        "seconds_load": float(np.median(times["load"])),
        "seconds_load_extremes": [min(times["load"]), max(times["load"])],
        "seconds_gzip_and_numpy": float(np.median(times["peer"])),
        "ratio": float(np.median(ratios)),
        "rounds": ROUNDS,
    })  # fmt: skip


if __name__ == "__main__":
    main()
