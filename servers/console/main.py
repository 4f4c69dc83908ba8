"""The console: one terminal shared by several clients, with line editing, echo and history.

Must be given: a connection ``serial``, and one more thread (``threads = 1``), which waits for typed bytes while the
first one answers clients. Readers take turns in the order in which they asked; output of any client appears above the
line being typed. What is typed while nobody reads waits here, `MAX_TYPED_AHEAD` bytes at most, and beyond that in the
serial driver: nothing is lost.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from libsel4py import component, set_thread_entry, uses
from libsel4py.context import DEFER, ReplyToken
from libsel4py.interfaces.console import Console, EndOfInput, Interrupted
from libsel4py.interfaces.serial import Serial
from servers.console.line_editor import Ending, Line, LineEditor

MAX_TYPED_AHEAD = 4096  # bytes
COLUMNS = 80


@dataclass(slots=True)
class Reader:
    """A client that waits for a line."""

    token: ReplyToken
    prompt: str
    echo: bool
    history: list[str] = field(default_factory=list)


@component
class Main(Console):
    """One terminal."""

    serial = uses(Serial)

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._readers: deque[Reader] = deque()
        self._histories: dict[int, list[str]] = {}
        self._editor: LineEditor | None = None
        self._typed = bytearray()
        self._closed = False

    def start(self) -> None:
        set_thread_entry(self._read_terminal)

    def columns(self) -> int:
        return COLUMNS

    def write_piece(self, text: str) -> None:
        with self._lock:
            shown = text.replace("\n", "\r\n")
            if self._editor is not None:
                newline = "" if text.endswith("\n") else "\r\n"
                shown = self._editor.hide() + shown + newline + self._editor.show()
            self.serial.write(shown.encode())

    def read_line(self, prompt: str, echo: bool = True, history: bool = True) -> str:
        with self._lock:
            kept = self._histories.setdefault(self.caller.badge, []) if history else []
            self._readers.append(Reader(self.defer_reply(), prompt, echo, kept))
            self._go_on()
        return DEFER

    def _read_terminal(self) -> None:
        """The second thread: typed bytes, until the line closes."""
        while True:
            data = self.serial.read()
            with self._lock:
                self._closed = not data
                self._typed += data
                self._go_on()
                self._lock.wait_for(lambda: len(self._typed) < MAX_TYPED_AHEAD)
            if not data:
                return

    def _go_on(self) -> None:
        """Serve readers from what was typed. Called with the lock held."""
        while self._readers:
            reader = self._readers[0]
            if self._editor is None:
                self._editor = LineEditor(echo=reader.echo, history=reader.history)
                self._show(self._editor.begin(reader.prompt))
            line = self._next_line(self._editor)
            if line is None:
                return
            self._editor = None
            self._readers.popleft()
            self._lock.notify_all()
            _answer(reader.token, line)

    def _next_line(self, editor: LineEditor) -> Line | None:
        """The next finished line; None if more must be typed."""
        while self._typed:
            typed = bytes(self._typed[:1])
            del self._typed[:1]
            shown, lines = editor.feed(typed)
            self._show(shown)
            if lines:
                return lines[0]
        return Line("", Ending.END_OF_INPUT) if self._closed else None

    def _show(self, text: str) -> None:
        if text:
            self.serial.write(text.encode())


def _answer(token: ReplyToken, line: Line) -> None:
    match line.ending:
        case Ending.LINE:
            token.complete(line.text)
        case Ending.INTERRUPTED:
            token.fail(Interrupted("Ctrl-C"))
        case Ending.END_OF_INPUT:
            token.fail(EndOfInput("the input has ended"))
