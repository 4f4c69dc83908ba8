"""What stays to the end is no garbage collection's matter any more: what the collection of tests has made, and what is
to be told of tests that are over. Otherwise each garbage collection of a long run takes a tenth of a second.

Nor does what is started here ignore Ctrl-C, where all of this runs in the background (a shell's job), that its terminal
goes, where there is none (nohup), or that its children end.

And no example of a property fails because it, or its making, took long: the host has others' work to do, too.

Where Python leaves assertions out nothing runs: no test would show anything.

Where the host's folder for what is temporary has a long name another one is taken: sockets' addresses have 107 bytes.
"""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

MOST_TEMPORARY: Final = 24  # bytes; below it are pytest's folders, with the user's and the test's name, and a socket's
if len(os.fsencode(tempfile.gettempdir())) > MOST_TEMPORARY:
    tempfile.tempdir = os.environ["TMPDIR"] = "/tmp"

settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)  # others' is as at first
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def pytest_configure() -> None:
    if not __debug__:
        raise pytest.UsageError("tests are made of assertions, which PYTHONOPTIMIZE leaves out: unset it")


def _put_aside() -> None:
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    _put_aside()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Behind the last test of a file, which has let go of its fixtures' values: none of them stays for good."""
    yield
    if nextitem is None or nextitem.path != item.path:
        _put_aside()
