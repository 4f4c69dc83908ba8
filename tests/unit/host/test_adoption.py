"""What a kernel that is started again does with processes that nothing was kept of."""

from __future__ import annotations

import os
import signal

import pytest

from kerneld.host.adoption import end_unknown
from kerneld.host.zygote_link import Census


def sleeping() -> tuple[int, int]:
    """The pid and pidfd of a child that sleeps."""
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    return pid, os.pidfd_open(pid)


def test_those_that_nothing_was_kept_of_are_ended_also_where_one_is_reaped_by_then() -> None:
    reaped, running = sleeping(), sleeping()
    os.kill(reaped[0], signal.SIGKILL)
    os.waitpid(reaped[0], 0)
    try:
        end_unknown(Census({1: reaped, 2: running}, {}))
        assert os.waitstatus_to_exitcode(os.waitpid(running[0], 0)[1]) == -signal.SIGKILL
    except ProcessLookupError:
        os.kill(running[0], signal.SIGKILL)
        os.waitpid(running[0], 0)
        raise
    for _, pidfd in (reaped, running):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(pidfd)
