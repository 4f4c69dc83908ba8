"""The same stack without a system around it, over the same switch: two processes, each an application and its stack.

Between them is what is between two systems: two processes of `hw.devices.network_switch` that have found each other by
a path, one of which is the switch.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO

from bench.network.nodes import ROOT
from hw.devices.frame_link import pair_of_sockets

END_SECONDS = 2.0


class OverSwitch:
    """A connection between two processes, in whose folder the switch is. A context manager."""

    def __init__(self, folder: Path, mtu: int) -> None:
        self._ends = ExitStack()
        with ExitStack() as undo:
            undo.push(self._ends)
            sink = self._plugged("sink", folder / f"over-switch-{mtu}", mtu)
            _line(sink.stdout)  # it listens
            source = self._plugged("source", folder / f"over-switch-{mtu}", mtu)
            assert source.stdin is not None
            self._orders, self._answers = source.stdin, source.stdout
            undo.pop_all()

    def turn(self, total: int) -> Callable[[], float]:
        """Sends so many bytes, and returns the seconds until the other side has had the last."""

        def timed() -> float:
            self._orders.write(f"{total}\n")
            self._orders.flush()
            return float(_line(self._answers))

        return timed

    def _plugged(self, role: str, path: Path, mtu: int) -> subprocess.Popen[str]:
        """A process with a stack, and its part of the switch."""
        ours, theirs = pair_of_sockets()
        with ours, theirs:
            self._started("hw.devices.network_switch", ["--path", str(path)], theirs)
            return self._started("bench.network.stack_process", [role, "--mtu", str(mtu)], ours)

    def _started(self, module: str, arguments: Sequence[str], end: socket.socket) -> subprocess.Popen[str]:
        number = end.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--parent", str(os.getpid()), "--frames", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[number],
            cwd=ROOT,
        )
        self._ends.callback(_end, process)
        return process

    def __enter__(self) -> OverSwitch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()


def _line(answers: IO[str] | None) -> str:
    """What a process says next. Raises EOFError: it has ended."""
    assert answers is not None  # it was made with a pipe
    line = answers.readline()
    if not line:
        raise EOFError("a process of the stream over the switch has ended")
    return line


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
