"""The listener of forbidden calls on its way out of a process that enters its sandbox."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
from pathlib import Path

from hw.cpu import DEFAULT_OPEN_FILES, Report, enter_sandbox
from tests.unit.cpu_peer import close_what_was_open_before

USER = 4243  # whose processes have no descriptor on its way but this test's
NUMBER = 7
EACH = 16  # descriptors a message
SECONDS = 20


def test_a_plain_users_process_waits_while_too_many_descriptors_are_on_their_way() -> None:
    """The host counts those of all the user's processes against what the process itself may have open."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    receiving, sending = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, receiving, sending:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                close_what_was_open_before()
                if os.getuid() == 0:
                    os.setresgid(USER, USER, USER)
                    os.setresuid(USER, USER, USER)
                for _ in range(2 * DEFAULT_OPEN_FILES // EACH):
                    socket.send_fds(sending, [b"x"], [sending.fileno()] * EACH)
                resource.setrlimit(resource.RLIMIT_NOFILE, (DEFAULT_OPEN_FILES, DEFAULT_OPEN_FILES))  # a host's own
                enter_sandbox(1 << 30, report=Report(os.dup(theirs.fileno()), NUMBER))
                status = 0
            finally:
                os._exit(status)
        ended = os.pidfd_open(child)
        try:
            while "Seccomp:\t2" not in Path(f"/proc/{child}/status").read_text():
                assert not select.select([ended], [], [], 0)[0], "it did not come so far"
            assert select.select([ended, ours], [], [], 0.05)[0] == []
            for _ in range(2 * DEFAULT_OPEN_FILES // EACH):
                for each in socket.recv_fds(receiving, 1, EACH)[1]:
                    os.close(each)
            assert select.select([ours], [], [], SECONDS)[0]
            data, listeners, *_ = socket.recv_fds(ours, 8, 1)
            assert int.from_bytes(data, "little") == NUMBER
            assert len(listeners) == 1
            assert select.select([ended], [], [], SECONDS)[0]
            os.close(*listeners)
        finally:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
            os.close(ended)
            _, status = os.waitpid(child, 0)
        assert status == 0
