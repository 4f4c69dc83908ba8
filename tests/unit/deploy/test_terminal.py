"""Joining a console: bytes both ways, and the ways to leave."""

from __future__ import annotations

import contextlib
import os
import pty
import termios
import threading
import tty
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from deploy.terminal import join


@dataclass(frozen=True)
class Ends:
    """A console's two ends, and pipes in place of this process's streams."""

    system: int
    console: int
    typed: int
    source: int
    sink: int
    printed: int


@pytest.fixture
def ends() -> Iterator[Ends]:
    system, console = pty.openpty()
    tty.setraw(console)
    source, typed = os.pipe()
    printed, sink = os.pipe()
    opened = Ends(system, console, typed, source, sink, printed)
    yield opened
    for descriptor in (system, console, typed, source, sink, printed):
        with contextlib.suppress(OSError):  # a test may have closed it
            os.close(descriptor)


def joined(ends: Ends) -> threading.Thread:
    thread = threading.Thread(target=join, args=(ends.console, ends.source, ends.sink))
    thread.start()
    return thread


def test_bytes_pass_both_ways_until_ctrl_bracket(ends: Ends) -> None:
    thread = joined(ends)
    os.write(ends.system, b"sel4py> ")
    assert os.read(ends.printed, 100) == b"sel4py> "
    os.write(ends.typed, b"ps\n\x03")
    assert os.read(ends.system, 100) == b"ps\n\x03"
    os.write(ends.typed, b"x\x1dnever")
    thread.join(10)
    assert not thread.is_alive()
    assert os.read(ends.system, 100) == b"x"


def test_leaves_at_the_end_of_input(ends: Ends) -> None:
    thread = joined(ends)
    os.close(ends.typed)
    thread.join(10)
    assert not thread.is_alive()


def test_leaves_when_the_system_closes_its_end(ends: Ends) -> None:
    thread = joined(ends)
    os.close(ends.system)
    thread.join(10)
    assert not thread.is_alive()


def test_the_terminal_is_as_it_was(ends: Ends) -> None:
    person, terminal = pty.openpty()
    try:
        before = termios.tcgetattr(terminal)
        thread = threading.Thread(target=join, args=(ends.console, terminal, ends.sink))
        os.write(ends.system, b"ready")
        thread.start()
        assert os.read(ends.printed, 100) == b"ready"
        assert not termios.tcgetattr(terminal)[3] & termios.ICANON
        os.write(person, b"\x1d")
        thread.join(10)
        assert termios.tcgetattr(terminal) == before
    finally:
        os.close(person)
        os.close(terminal)
