"""Standard streams that return at once, and that take no more."""

from __future__ import annotations

import os
import threading

import pytest

from deploy.confined.relay import to_streams
from deploy.whole_output import NotWritten, write_whole
from libsel4py.streams import Stream

TEXT = bytes(range(256)) * 2000  # more than a pipe holds


def test_a_pipe_that_returns_at_once_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    writing = threading.Thread(target=write_whole, args=(writer, TEXT))
    writing.start()
    with open(reader, "rb") as answer:
        assert answer.read(len(TEXT)) == TEXT
    writing.join()
    os.close(writer)


def test_a_pipe_that_nobody_reads_is_another_matter() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        write_whole(writer, TEXT)
    os.close(writer)


def test_what_a_program_writes_and_a_full_disk_does_not_take_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr("deploy.confined.relay.write_whole", lambda descriptor, data: write_whole(full, data))
    with pytest.raises(NotWritten, match="the output cannot be written: No space left on device"):
        to_streams(escapes=True)(Stream.OUTPUT, TEXT)
    os.close(full)
