"""The kernel's end of the zygote's socket, where the zygote is slow and the host has no descriptor left."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import suppress
from itertools import count

import pytest

from kerneld.host.zygote_link import StartRequest, ZygoteLink


def nobody(*_: object) -> None:
    raise AssertionError("nothing was asked for")


def test_a_start_for_which_there_is_no_descriptor_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link = ZygoteLink(ours, asyncio.get_running_loop(), nobody, nobody)
        with theirs:
            with suppress(BlockingIOError):
                while True:
                    ours.send(bytes(1 << 10))
            before = os.listdir("/proc/self/fd")
            duplicate, calls = os.dup, count()

            def dup(descriptor: int) -> int:
                if next(calls):
                    raise OSError(errno.EMFILE, "Too many open files")
                return duplicate(descriptor)

            monkeypatch.setattr(os, "dup", dup)
            with pytest.raises(OSError, match="Too many open files"):
                link.start(StartRequest(1, "image", 0, "name", (), 0, 0, 1, 2), nobody, nobody)
            assert link.asked == 0
            assert os.listdir("/proc/self/fd") == before
            link.close()

    asyncio.run(work())
