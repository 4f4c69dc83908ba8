"""Processes that devices stand on: started again on their descriptors when they end, but not for ever, and ended."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Sequence

from hw.helpers import MOST_STARTS, Helper, Helpers, Process


def start(name: str, arguments: Sequence[str], descriptors: Sequence[int]) -> Process:
    """A process that writes a byte to its descriptor, and ends when a byte comes on its input."""
    code = f"import os, sys; os.write({descriptors[0]}, b'x'); os.read({descriptors[1]}, 1); sys.exit(3)"
    process = subprocess.Popen([sys.executable, "-c", code], pass_fds=descriptors)
    return process, os.pidfd_open(process.pid)


def ended(pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(20_000)


def test_it_is_started_again_a_few_times() -> None:
    told, tell = os.pipe()
    reads, writes = os.pipe()
    helpers = Helpers(start)
    pidfd: int | None = helpers.start(Helper("network.net0", "none", (), (tell, reads)))
    for count in range(1, MOST_STARTS + 1):
        assert pidfd is not None
        assert list(helpers.descriptors) == [pidfd]
        assert os.read(told, 1) == b"x"
        os.write(writes, b"e")
        ended(pidfd)
        said, pidfd = helpers.ended(pidfd)
        assert said.startswith("network.net0 ended with status 3")
        assert said.endswith("stays ended") == (count == MOST_STARTS)
    assert pidfd is None
    for descriptor in (told, tell, reads, writes):
        os.close(descriptor)


def test_it_is_ended_with_the_system() -> None:
    told, tell = os.pipe()
    reads, writes = os.pipe()
    helpers = Helpers(start)
    helpers.start(Helper("network.net0", "none", (), (tell, reads)))
    assert os.read(told, 1) == b"x"
    (process,) = (process for _, process in helpers._running.values())
    helpers.close()
    assert process.returncode is not None
    assert not helpers.descriptors
    for descriptor in (told, tell, reads, writes):
        os.close(descriptor)
