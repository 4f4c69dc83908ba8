"""The console on a real terminal: keys reach the shell, and Ctrl-] ends the system."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
from pathlib import Path

from tests.system.conftest import ROOT, SECONDS


def read_until(terminal: int, text: bytes) -> bytes:
    """What the terminal shows, up to this text. Raises AssertionError if it does not come."""
    shown = b""
    while text not in shown:
        assert select.select([terminal], [], [], SECONDS)[0], shown
        shown += os.read(terminal, 4096)
    return shown


def test_keys_reach_the_shell_and_the_escape_ends_the_system(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        environment = {
            **os.environ,
            "SEL4PY_RUNTIME_DIR": str(tmp_path / "run"),
            "SEL4PY_STATE_DIR": str(tmp_path / "state"),
        }
        os.execve(sys.executable, [sys.executable, "-m", "deploy.cli", "up", "workstation"], environment)
    pidfd = os.pidfd_open(pid)
    try:
        read_until(terminal, b"sel4py> ")
        os.write(terminal, b"ping 10\r")
        read_until(terminal, b"10 calls to pong")
        os.write(terminal, b"\x1d")
        assert select.select([pidfd], [], [], SECONDS)[0]
        assert os.waitpid(pid, 0)[1] == 0
        pid = 0
    finally:
        if pid:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(pidfd)
        os.close(terminal)
