"""The kernel is killed: another one takes its place, and tasks notice a delay at the most."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping

import pytest

from deploy.management import Management
from tests.system.supervisor import PROMPT, Supervisor, Terminal

KILLS = 5


class Kernel:
    """The kernel of a running system, whichever process that is."""

    def __init__(self, sel4py: Supervisor, name: str = "workstation") -> None:
        self._folder = sel4py.folder / name

    def status(self) -> Mapping[str, object]:
        with Management(self._folder, 60) as management:
            status = management.request("status")
        assert isinstance(status, Mapping)
        return status

    def kill(self) -> None:
        """Kill it, and return when the next one serves."""
        killed = int(str(self.status()["pid"]))
        pidfd = os.pidfd_open(killed)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        while self.status()["pid"] == killed:
            continue

    def sound(self) -> bool:
        with Management(self._folder, 60) as management:
            return management.request("fsck") == []


@pytest.fixture
def terminal(sel4py: Supervisor) -> Iterator[Terminal]:
    terminal = sel4py.terminal("up", "workstation")
    terminal.until(PROMPT)
    yield terminal
    terminal.type(b"exit 6\r")
    assert terminal.wait() == 6


def pids(sel4py: Supervisor) -> dict[tuple[object, object], object]:
    return {(row["name"], row["thread"]): row["pid"] for row in sel4py.rows("ps")}


def test_an_idle_system_does_not_notice(sel4py: Supervisor, terminal: Terminal) -> None:
    before = pids(sel4py)
    kernel = Kernel(sel4py)
    for number in range(1, KILLS + 1):
        kernel.kill()
        status = kernel.status()
        assert status["kernel_restarts"] == number
        assert kernel.sound()
        terminal.type(f"call pong ping {number}\r".encode())
        terminal.until(f"\n{number}\r".encode())
        terminal.until(PROMPT)
    assert pids(sel4py) == before
