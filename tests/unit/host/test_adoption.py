"""What a kernel that is started again does with processes that nothing was kept of."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import msgpack
import pytest

from hw.kernel_process import MESSAGE_BYTES
from kerneld.host.adoption import Adoption, end_unknown
from kerneld.host.fd_store import FdStore, Inheritance, Kept
from kerneld.host.process import Process
from kerneld.host.zygote_link import Census
from tests.harness import Machine


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


def test_the_monitor_forgets_processes_that_the_zygote_does_not_know() -> None:
    """One that was asked for and not made, and one whose end was done with in the kernel's last moment."""

    async def within() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = {f"{key}:3" for key in ("process", "ending", "mail")} | {"thread:3:0", "thread:3:7"}
        inherited = Inheritance(
            [Kept(key, None, os.memfd_create(key) if key[:2] in ("pr", "th") else -1) for key in sorted(kept)]
        )
        with ours, theirs:
            store = FdStore(ours, loop)
            adoption = Adoption(Machine(check=False).ram, loop, store, _nobody, _nobody, 1)
            assert adoption.find(inherited, Census({}, {})) == []
            store.note("last", None)  # what was dropped is told before
            dropped = msgpack.unpackb(theirs.recv(MESSAGE_BYTES))
            assert (dropped["op"], set(dropped["keys"])) == ("drop", kept)
            store.close()

    asyncio.run(within())


def _nobody(process: Process, _: object) -> None:
    raise AssertionError(f"there is no {process}")
