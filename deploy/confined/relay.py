"""Joins this process's standard streams to a program's line while its system runs.

Rules. What the program writes is another's: at a terminal, what would command it is shown and not obeyed. A reader that
has gone ends the run, as a closed pipe would end any program.
"""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from deploy.whole_output import write_whole
from libsel4py.streams import MTU, Stream, head, take_apart

MOST_BYTES: Final = 1 << 16  # of a frame
MOST_WANTED: Final = 64  # pieces of input at one time: a hostile program is not read for without end
_COMMANDS: Final = re.compile(rb"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")


def harmless(data: bytes) -> bytes:
    """Text for a terminal with what would command it spelled out: ``\\x1b``."""
    return _COMMANDS.sub(lambda found: b"".join(b"\\x%02x" % byte for byte in found[0][-1:]), data)


@dataclass
class Kept:
    """What a program wrote, up to so many bytes of each stream."""

    most: int
    data: dict[Stream, bytearray] = field(default_factory=lambda: {each: bytearray() for each in Stream})
    lost: int = 0

    def write(self, stream: Stream, data: bytes) -> None:
        room = self.most - len(self.data[stream])
        self.data[stream] += data[:room]
        self.lost += len(data) - min(room, len(data))

    def text(self, stream: Stream) -> str:
        return self.data[stream].decode(errors="replace")


def to_streams(escapes: bool) -> Callable[[Stream, bytes], None]:
    """Writes what comes to this process's standard output and standard error. Raises BrokenPipeError, NotWritten."""
    terminals = {descriptor for descriptor in (1, 2) if os.isatty(descriptor)}

    def write(stream: Stream, data: bytes) -> None:
        descriptor = 2 if stream is Stream.ERROR else 1
        write_whole(descriptor, data if escapes or descriptor not in terminals else harmless(data))

    return write


class TimeIsUp(Exception):
    """The program has run for as long as it may."""


class Relay:
    """One program's streams.

    Args:
        line: the other end of its frames. write: takes what it writes. source: where its input comes from.
    Attributes:
        ended: the program has come to its end by itself. whole: and its files have all that it wrote.
    """

    def __init__(self, line: socket.socket, write: Callable[[Stream, bytes], None], source: int) -> None:
        self.ended = False
        self.whole = True
        self._line = line
        self._write = write
        self._source = source
        self._wanted = 0
        self._last = self._sent = 0
        line.setblocking(True)

    def run(self, deadline: float | None) -> None:
        """Pass bytes both ways until the system has closed its end. ``deadline``: of `time.monotonic`.

        Raises:
            TimeIsUp. OSError, NotWritten: a stream of this process failed.
        """
        while True:
            watched = [self._line.fileno(), *([self._source] if self._wanted else [])]
            poll = select.poll()
            for descriptor in watched:
                poll.register(descriptor, select.POLLIN)
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = [descriptor for descriptor, _ in poll.poll(None if left is None else left * 1000)]
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeIsUp
            if self._source in ready:
                self._give_input()
            if self._line.fileno() in ready and not self._take():
                return

    def _give_input(self) -> None:
        self._wanted -= 1
        self._send(Stream.INPUT, os.read(self._source, MTU))

    def _send(self, stream: Stream, data: bytes) -> None:
        self._sent += 1
        try:
            self._line.send(head(stream, self._sent) + data)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            self._wanted = 0  # the system has ended, which the next look at the line tells

    def _take(self) -> bool:
        """Whether there was a frame; or, at the end, none."""
        try:
            data = self._line.recv(MOST_BYTES)
        except ConnectionResetError:
            return False
        frame = take_apart(data)
        if frame is None or frame.number <= self._last:  # what is no frame of a stream, or was here already
            return bool(data)
        self._last = frame.number
        match frame.stream:
            case Stream.OUTPUT | Stream.ERROR:
                self._write(frame.stream, frame.data)
            case Stream.WANTED:
                self._wanted = min(self._wanted + 1, MOST_WANTED)
            case Stream.END:
                self.ended = True
                self.whole = not frame.data
                self._send(Stream.END, b"")
            case Stream.INPUT:
                pass
        return True
