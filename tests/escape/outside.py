"""Attempts in ordinary processes, each forked for itself: where nothing stops them.

    python -m tests.escape.outside PATH...

The stage is in the environment. A line for each: its path and its wait status.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable

from tests.escape.attempt import Attempt, corpus, run
from tests.escape.stage import Stage, given

SECONDS = 20


def run_outside(attempt: Attempt, stage: Stage) -> int:
    """The wait status of the process in which it was carried out; it is ended by SIGALRM where it does not end."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        leave_strays(stage)
        signal.alarm(SECONDS)
        status = run(attempt, stage)
        sys.stdout.flush()
        os._exit(status)
    return os.waitpid(pid, 0)[1]


def leave_strays(stage: Stage) -> None:
    """What a careless system would leave to its tasks: a file, a folder, and what is typed."""
    os.memfd_create("stray")
    os.open(stage.folder, os.O_RDONLY | os.O_DIRECTORY)
    reader, writer = os.pipe()
    os.write(writer, b"typed")
    os.dup2(reader, 0)
    os.dup2(os.memfd_create("log"), 1)


def main(paths: Iterable[str]) -> None:
    stage = given()
    chosen = set(paths)
    for attempt in corpus():
        if attempt.path in chosen:
            print("ended", attempt.path, run_outside(attempt, stage), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
