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

from deploy.terminal import Unanswered, converse, join


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


class Shell(threading.Thread):
    """Answers each line that is typed, of these, in pieces; then it ends the console."""

    def __init__(self, system: int, answers: dict[bytes, list[bytes]]) -> None:
        super().__init__()
        self._system, self._answers = system, answers
        self.typed: list[bytes] = []

    def run(self) -> None:
        with open(os.dup(self._system), "rb", buffering=0) as lines:
            while self._answers:
                self.typed.append(lines.readline())
                for piece in self._answers.pop(self.typed[-1]):
                    os.write(self._system, piece)
        os.close(self._system)


def test_each_line_is_typed_behind_the_answer_to_the_one_before(ends: Ends) -> None:
    os.write(ends.system, b"welcome\nsel4py> ")
    shell = Shell(ends.system, {b"one\n": [b"1\nsel4", b"py> "], b"two\n": [b"2\nsel4py>", b" "], b"exit\n": []})
    shell.start()
    converse(ends.console, [b"one\n", b"two", b"exit\n"], b"sel4py> ", 20, ends.sink)
    shell.join(10)
    assert shell.typed == [b"one\n", b"two\n", b"exit\n"]
    assert os.read(ends.printed, 1000) == b"welcome\nsel4py> 1\nsel4py> 2\nsel4py> "


def test_a_line_that_is_not_answered_is_told(ends: Ends) -> None:
    with pytest.raises(Unanswered, match=r"'> ' did not come within 0\.01 s behind 'one'"):
        converse(ends.console, [b"one\n", b"two\n"], b"> ", 0.01, ends.sink)
    assert os.read(ends.system, 100) == b"one\n"


def test_lines_that_are_left_when_the_console_ends_are_told(ends: Ends) -> None:
    shell = Shell(ends.system, {b"exit\n": []})
    shell.start()
    with pytest.raises(Unanswered, match="the console ended before 'two' was typed"):
        converse(ends.console, [b"exit\n", b"two\n"], b"> ", 20, ends.sink)
    shell.join(10)


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
