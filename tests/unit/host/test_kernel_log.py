"""The kernel's log about hostile tasks: no line of theirs is more than a line, and a crowd of them is a few."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kerneld.host.kernel_log import BURST, LONGEST, PERIOD_S, KernelLog, LineKind, clean
from kerneld.outbox import Tell
from tests.unit.host.table import Reports, Table, Timers

HOSTILE = "\x1b[2Jroot\r\nfake\u202e\x9b"  # clears a terminal, begins a line, turns text round


class Written:
    """A log in a file. `lines` without their times."""

    def __init__(self, file: Path) -> None:
        self.timers = Timers()
        self.published: list[str] = []
        self._file = file
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.log = KernelLog(self._descriptor, self.timers, self.published.append)

    @property
    def lines(self) -> list[str]:
        return [line.partition(" ")[2] for line in self._file.read_text("utf-8").split("\n")[:-1]]

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    log = Written(tmp_path / "kerneld.log")
    yield log
    log.close()


def test_a_line_holds_nothing_that_a_terminal_obeys(written: Written) -> None:
    written.log.write(LineKind.END, f"{HOSTILE} is ended")
    written.log.write(LineKind.END, "café läuft")
    written.log.write(LineKind.END, "\udc80")
    assert written.lines == [r"\x1b[2Jroot\r\nfake\u202e\x9b is ended", "café läuft", r"\udc80"]
    assert written.published == written.lines


@pytest.mark.parametrize("text", ["x" * 10_000, "\0" * 10_000])
def test_a_line_is_of_bounded_length(text: str) -> None:
    assert len(clean(text)) == LONGEST
    assert clean(text).endswith("…")


def test_a_crowd_of_lines_becomes_a_few_and_a_number(written: Written) -> None:
    for number in range(1000):
        written.log.write(LineKind.START, f"failure {number}")
    assert written.lines == [f"failure {number}" for number in range(BURST)]
    written.log.write(LineKind.END, "of another kind")
    assert written.lines[BURST:] == ["of another kind"]
    written.timers.pass_seconds(PERIOD_S)
    assert written.lines[BURST + 1 :] == [f"{1000 - BURST} similar lines left out; the last one: failure 999"]
    written.log.write(LineKind.START, "one more")
    assert len(written.lines) == BURST + 2
    written.timers.pass_seconds(PERIOD_S)
    assert written.lines[-1] == "1 similar line left out; the last one: one more"
    written.timers.pass_seconds(BURST * PERIOD_S)
    written.log.write(LineKind.START, "after a rest")
    assert written.lines[-1] == "after a rest"


def test_lines_without_end_are_one_in_a_period(written: Written) -> None:
    for _ in range(100):
        for _ in range(50):
            written.log.write(LineKind.START, "again")
        written.timers.pass_seconds(PERIOD_S)
    assert len(written.lines) <= BURST + 100


def test_what_was_left_out_is_told_at_the_end(written: Written) -> None:
    for number in range(BURST + 5):
        written.log.write(LineKind.START, f"failure {number}")
    written.log.close()
    assert written.lines[BURST:] == ["5 similar lines left out; the last one: failure 24"]
    written.timers.pass_seconds(PERIOD_S)
    assert len(written.lines) == BURST + 1


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        KernelLog(descriptor, Timers()).write(LineKind.END, "lost")
    finally:
        os.close(descriptor)


class Logged(Reports):
    """Lines go to the log."""

    def __init__(self, log: KernelLog) -> None:
        super().__init__()
        self._log = log

    def log(self, kind: LineKind, text: str) -> None:
        self._log.write(kind, text)


def test_starts_that_fail_without_end_do_not_fill_the_log(written: Written) -> None:
    """A thread without an image that is resumed again and again, with a name to spoil the log."""
    reports = Logged(written.log)

    async def crowd() -> None:
        table = Table(asyncio.get_running_loop(), reports)
        thread = table.machine.thread("thread", own_vspace=True)
        table.name(thread, HOSTILE)
        with table.machine.ram.transaction():
            thread.tcb.rip = 99
        for _ in range(500):
            table.tell(Tell.START, thread)
            await asyncio.sleep(0)
        table.close()

    asyncio.run(crowd())
    assert len(reports.deaths) == 500
    assert len(written.lines) == BURST
    assert set(written.lines) == {r"\x1b[2Jroot\r\nfake\u202e\x9b cannot start: it has no boot image 99"}
