"""Ctrl-C in the shell: what runs ends, and nothing else."""

from __future__ import annotations

import queue
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from apps.shell.interrupts import SIGNAL, Interrupts
from libsel4py.errors import RemoteError, ServerDied
from libsel4py.testing import in_background
from tests.unit.apps.shell_fakes import Script

SECONDS = 10.0


class Keys(Script):
    """A console that says of each command that is asked for what the test has put there."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: queue.Queue[int] = queue.Queue()
        self.says: queue.Queue[bool | Exception] = queue.Queue()
        self.ended: list[int] = []
        self.is_leaving = False

    def wait_interrupt(self, command: int) -> bool:
        self.asked.put(command)
        said = self.says.get()
        if self.is_leaving:
            raise SystemExit
        if isinstance(said, Exception):
            raise said
        return said

    def end_command(self, command: int) -> None:
        self.ended.append(command)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def interrupts(keys: Keys) -> Iterator[Interrupts]:
    former = signal.getsignal(SIGNAL)
    made = Interrupts()
    rung: queue.Queue[None] = queue.Queue()
    made.begin(keys, lambda: rung.put(None), rung.get)

    def watch() -> None:
        with pytest.raises(SystemExit):
            made.watch()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield made
    finally:
        signal.signal(SIGNAL, former)
        keys.is_leaving = True
        keys.says.put(False)
        made.run(lambda: None)
        watching.join(SECONDS)
        assert not watching.is_alive()


@pytest.fixture
def wait_for_ever() -> Iterator[Callable[[], None]]:
    """Waits, and hears a signal that comes when it is just about to sleep as well."""
    heard, told = socket.socketpair()
    with heard, told:
        told.setblocking(False)
        former = signal.set_wakeup_fd(told.fileno())

        def wait() -> None:
            while select.select([heard], [], [], SECONDS)[0]:
                heard.recv(16)  # of a former signal, or of one whose handler runs now
            pytest.fail("nobody has ended it")

        yield wait
        signal.set_wakeup_fd(former)


def test_a_command_that_waits_is_ended_and_the_next_one_runs(
    interrupts: Interrupts, keys: Keys, wait_for_ever: Callable[[], None]
) -> None:
    for _ in range(3):
        keys.says.put(True)
        with pytest.raises(KeyboardInterrupt):
            interrupts.run(wait_for_ever)
        keys.says.put(False)
    ran = []
    interrupts.run(lambda: ran.append(1))
    assert ran == [1]
    assert keys.ended == sorted(set(keys.ended))


def test_what_is_told_of_a_command_that_is_over_ends_none(interrupts: Interrupts, keys: Keys) -> None:
    ran = []
    interrupts.run(lambda: None)
    first = keys.asked.get(timeout=SECONDS)

    def command() -> None:
        keys.says.put(True)  # of the first one, by a console that does not know that it is over
        assert keys.asked.get(timeout=SECONDS) > first
        ran.append(1)

    interrupts.run(command)
    assert ran == [1]


@pytest.mark.parametrize("said", [ServerDied("the console was killed"), RemoteError("Console", "a bug"), False])
def test_a_console_that_cannot_say_is_asked_in_the_next_command(
    interrupts: Interrupts, keys: Keys, said: bool | Exception
) -> None:
    def command() -> None:
        keys.asked.get(timeout=SECONDS)
        keys.says.put(said)

    for _ in range(2):
        interrupts.run(command)


def test_without_a_console_commands_run() -> None:
    ran = in_background(lambda: Interrupts().run(lambda: None))
    ran.result(SECONDS)
