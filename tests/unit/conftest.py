"""What was open before a test is not its tasks' (cpu_peer.py), and a file of tests leaves nothing open."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import site
from collections.abc import Iterator
from typing import Final

import pytest

from tests.unit import cpu_peer

_SELECT_TAKES: Final = 1024
_THOUSANDS: Final = 4096
_INSTALLED = tuple(os.path.join(os.path.realpath(folder), "") for folder in site.getsitepackages())


@pytest.fixture(autouse=True)
def _open_before() -> None:
    cpu_peer.begin_test()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """This process may have thousands of descriptors, as kernels and monitors may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < _THOUSANDS:
        pytest.skip(f"the host lets this process have {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def high_numbers(many_descriptors: None) -> Iterator[None]:
    """So many descriptors are open that the next ones have numbers which select(2) does not take."""
    opened = [os.open(os.devnull, os.O_RDONLY)]
    while opened[-1] < _SELECT_TAKES:
        opened.append(os.dup(opened[0]))
    yield
    for descriptor in opened:
        os.close(descriptor)


class _Descriptors:
    """The process's own that are open when the first test of a file begins: a file leaves no more than that.

    An import's are open before, since all files are collected first; a module's fixtures close theirs with the file.
    A session's fixture would have to open its own before the first test. Files of installed libraries do not count:
    they may keep theirs, as matplotlib does with the fonts of its first picture.
    """

    def __init__(self) -> None:
        self._open: dict[str, str] = self._now()

    @staticmethod
    def _now() -> dict[str, str]:
        found: dict[str, str] = {}
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the folder's own has gone
                found[name] = os.readlink(f"/proc/self/fd/{name}")
        return {name: file for name, file in found.items() if not file.startswith(_INSTALLED)}

    def left(self) -> list[str]:
        """What was opened since and is open still; nothing where no more are open than then."""
        gc.collect()
        now = self._now()
        new = sorted(file for name, file in now.items() if self._open.get(name) != file)
        return new if len(now) > len(self._open) else []


_descriptors: pytest.StashKey[_Descriptors] = pytest.StashKey()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Behind the last test of a file, which has let go of its fixtures' values."""
    stash = item.config.stash
    if _descriptors not in stash:
        stash[_descriptors] = _Descriptors()
    yield
    if nextitem is None or nextitem.path != item.path:
        left = stash[_descriptors].left()
        del stash[_descriptors]
        if left:
            _report_left(item, left)


def _report_left(item: pytest.Item, left: list[str]) -> None:
    """An error of the file's last test, beside its own outcome."""
    said = f"{item.path.name} leaves descriptors open that it, or what it has called, has to close: {', '.join(left)}"
    report = pytest.TestReport(item.nodeid, item.location, {}, "failed", said, "teardown")
    item.ihook.pytest_runtest_logreport(report=report)
