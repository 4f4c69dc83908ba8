"""The listeners of forbidden host system calls, on their way to the zygote."""

from __future__ import annotations

import os
import resource
import socket

from kerneld.host.forbidden import ForbiddenCalls

NUMBER = (7).to_bytes(8, "little")


def test_a_listener_for_which_there_is_no_descriptor_is_lost_and_the_next_one_is_not() -> None:
    calls = ForbiddenCalls()
    with calls.socket, calls.given, open(os.devnull) as sent:
        socket.send_fds(calls.given, [NUMBER], [sent.fileno()])
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            assert list(calls.receive()) == []
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        socket.send_fds(calls.given, [NUMBER], [sent.fileno()])
        (listener,) = calls.receive()
        assert listener in calls
        assert list(calls.forget(7)) == [listener]
        assert listener not in calls
