"""Two claims, one of which kills its own process."""

import os
import signal

from sandbox.bench import Comparison, Paper, Run

PAPER = Paper("killed2026process", bibtex="@misc{killed, title={Killed}}")


@PAPER.claim("first", says="It is finished before anybody is killed.", tag="standard")
def first(run: Run) -> Comparison:
    return Comparison("one", 1.0, 1.0, 0.0, "integers")


@PAPER.claim("suicidal", says="Its process is killed.", tag="standard")
def suicidal(run: Run) -> Comparison:
    os.kill(os.getpid(), signal.SIGKILL)
    return Comparison("one", 1.0, 1.0, 0.0, "never reached")
