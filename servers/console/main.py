"""The console: one terminal shared by several clients, with line editing, echo and history.

Must be given: a connection ``serial``, and one more thread (``threads = 1``), which waits for typed bytes while the
first one answers clients. Readers take turns in the order in which they asked. While a line is being typed, output
appears above it, line by line: what has no newline yet is kept until it comes, or until the line is finished. What is
typed while nobody reads waits here, `MAX_TYPED_AHEAD` bytes at most, and beyond that in the serial driver: nothing is
lost, but what stands before a Ctrl-C that a client waits for (`foreground.py`). When the serial driver dies, what it
had not answered is asked of its successor again. Clients' texts and prompts are shown as they are, but for what is no
text: nobody gives the terminal commands by them.

The terminal is a data space as well (`libsel4py.interfaces.data_space`), by the name ``console``: each open one reads
lines as a client of its own.

With ``state`` (256K), so it is with this process: what was typed, the line being typed with it, and histories are kept
(`kept.py`), and a line is handed out in the record that keeps it no more. Reads of the serial line go by a lane that is
kept as well, so that bytes which a dead console was being handed are its successor's.
"""

from __future__ import annotations

import codecs
import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

from libsel4py import ServerDied, component, set_thread_entry, uses
from libsel4py.context import DEFER, ReplyToken
from libsel4py.data_server import Content, DataServer
from libsel4py.errors import RequestForgotten
from libsel4py.interface import on_lane
from libsel4py.interfaces.console import Console, EndOfInput, Interrupted
from libsel4py.interfaces.data_space import MOST_OPEN, DataGone, OpenFlags
from libsel4py.interfaces.serial import Serial
from libsel4py.request_ids import Lane
from libsel4py.signature import Word
from libsel4py.state import ensure_state
from servers.console.foreground import Foreground
from servers.console.kept import STATE_BYTES, Session
from servers.console.line_editor import ERASE_ROW, NEW_LINE, Ending, Line, LineEditor

MAX_TYPED_AHEAD: Final = 4096  # bytes
MAX_UNFINISHED: Final = 4096  # characters of all clients' output that wait for their newline
COLUMNS: Final = 80
LEAST_CLIENTS: Final = 4


@dataclass(slots=True)
class Reader:
    """A client that waits for a line."""

    token: ReplyToken
    prompt: str
    echo: bool
    history: list[str]
    data: Terminal | None = None  # who is handed bytes of the line, and how many at most
    most: int = 0


class Terminal(Content):
    """The terminal as a data space: lines with their newlines, and text."""

    has_offsets = False

    def __init__(self, console: Main) -> None:
        self._console = console
        self.rest = b""  # of a line that was longer than what was asked for
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a piece may end within a character

    def read(self, offset: int, length: int) -> bytes:
        if self.rest:
            return self.take(length)
        self._console.read_data(self, length)
        return DEFER

    def take(self, most: int) -> bytes:
        piece, self.rest = self.rest[:most], self.rest[most:]
        return piece

    def write(self, offset: int, data: bytes) -> int:
        self._console.write_piece(self._decoder.decode(data))
        return len(data)

    def close(self) -> None:
        self._console.let_go(self)


@component
class Main(Console, DataServer):
    """One terminal."""

    data_space_name = "console"
    serial = uses(Serial)

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._readers: deque[Reader] = deque()
        ensure_state(self.task, STATE_BYTES)
        self._kept = self.kept(Session)
        session = self._kept.value
        self._histories = session.read_histories()
        self._unfinished = dict(session.unfinished)
        self._foreground = Foreground(session.foreground)
        self._editor = LineEditor(after_return=session.after_return)
        self._editing = False
        self._line = bytearray()  # typed bytes that the editor has of the line being edited
        self._typed = bytearray(session.typed)
        self._redraws = session.editing  # a former life's line stands on the terminal
        self._last = b"\r" if session.after_return else b""
        self._reads = False
        self._closed = False

    def start(self) -> None:
        clients = {each.caller.name for each in self.server.connections.values()}
        # Each may wait for Ctrl-C, and for a line by itself and by each of its data spaces.
        self.server.allow_deferred((MOST_OPEN + 2) * max(LEAST_CLIENTS, len(clients)))
        set_thread_entry(self.read_terminal)

    def columns(self) -> int:
        return COLUMNS

    def write_piece(self, text: str) -> None:
        text = text if text.isprintable() else _plain(text)
        with self._lock:
            if not self._editing:
                self._show(self._erased() + _on_terminal(text))
                return
            before = self._unfinished.pop(self.caller.badge, "")
            lines, newline, rest = (before + text).rpartition("\n")
            if len(rest) + sum(map(len, self._unfinished.values())) > MAX_UNFINISHED:
                lines, newline, rest = lines + newline + rest, "\n", ""
            if rest:
                self._unfinished[self.caller.badge] = rest
            if newline:
                self._show(self._editor.hide() + _on_terminal(lines + newline) + self._editor.show())
            self._note()

    def data_space(self, name: str, how: OpenFlags, size: int) -> Content:
        return Terminal(self)

    def read_data(self, data: Terminal, most: int) -> None:
        """Wait for a line, for a reader of the data space."""
        self._read("", echo=True, history=False, data=data, most=most)

    def let_go(self, data: Terminal) -> None:
        """Who reads by this data space, if anybody does, is handed nothing any more."""
        with self._lock:
            reader = next((each for each in self._readers if each.data is data), None)
            if reader is not None:
                self._abandon(reader.token.caller.badge, DataGone("the data space was closed"))
                self._go_on()

    def read_line(self, prompt: str, echo: bool = True, history: bool = True) -> str:
        self._read(prompt, echo=echo, history=history)
        return DEFER

    def _read(self, prompt: str, *, echo: bool, history: bool, data: Terminal | None = None, most: int = 0) -> None:
        with self._lock:
            # A prompt that comes before the first read could be answered before it: to a console that is no more.
            self._lock.wait_for(lambda: self._reads)
            caller = self.caller.badge
            kept = self._histories.setdefault(caller, []) if history and echo else []
            token = self.defer_reply()
            self._abandon(caller)
            self._readers.append(Reader(token, _plain(prompt), echo, kept, data, most))
            self._go_on()

    def wait_interrupt(self, command: Word) -> bool:
        with self._lock:
            if self._foreground.is_over(self.caller.badge, command):
                return False
            self._foreground.wait(command, self.defer_reply())
            self._interrupt()
        return DEFER

    def end_command(self, command: Word) -> None:
        with self._lock:
            self._foreground.end(self.caller.badge, command)

    def read_terminal(self) -> None:
        """The second thread: typed bytes, until the line closes."""
        with self._lock:
            self._reads = True
            self._lock.notify_all()
        lane, serial = self._lane_to_read_by()
        while not self._closed:
            try:
                data = serial.read()
            except RequestForgotten:
                self._kept.value.lane_name = 0  # the driver has no state: what it was asked then is nobody's
                lane, serial = self._lane_to_read_by()
                continue
            except ServerDied:
                lane.unanswered = True
                continue
            with self._lock:
                self._closed = not data
                self._typed += data
                self._keep(lane)
                self._go_on()
                self._lock.wait_for(lambda: len(self._typed) < MAX_TYPED_AHEAD)

    def _lane_to_read_by(self) -> tuple[Lane, Serial]:
        with self._lock, self._kept.lock:
            lane = self._kept.value.lane()
            self._kept.commit()
        return lane, on_lane(self.serial, lane)

    def _keep(self, lane: Lane | None = None) -> None:
        """Make durable what is typed and shown, and that a lane's last request is answered."""
        with self._kept.lock:  # the other thread's methods end with what is noted here
            self._note()
            if lane is not None:
                self._kept.value.read_by(lane)
            self._kept.commit()

    def _note(self) -> None:
        state = self._kept.value
        if len(self._line) > MAX_TYPED_AHEAD:  # keys that moved and deleted: what they have led to is enough
            self._line[:] = self._editor.text.encode()
        state.typed = bytes(self._line + self._typed)
        state.editing = self._editing
        state.unfinished = dict(self._unfinished)
        state.after_return = self._last == b"\r"
        state.foreground = self._foreground.client
        state.write_histories(self._histories)

    def _erased(self) -> str:
        """What takes away the line that a former life has left on the terminal."""
        redraws, self._redraws = self._redraws, False
        return ERASE_ROW if redraws else ""

    def _abandon(self, badge: int, why: Exception | None = None) -> None:
        """A client reads one line at a time: one that asks again was started anew, or has given up its former call.

        What was typed of that line is the next reader's.
        """
        for position, reader in enumerate(self._readers):
            if reader.token.caller.badge == badge:
                del self._readers[position]
                if position == 0 and self._editing:
                    self._typed[:0] = self._editor.text.encode()
                    self._line.clear()
                    self._finish(NEW_LINE)
                with self._kept.lock:
                    self._note()
                    reader.token.fail(why or Interrupted("this client asked for another line"))
                return

    def _go_on(self) -> None:
        """Serve readers from what was typed. Called with the lock held."""
        while self._readers:
            reader = self._readers[0]
            shown = ""
            if not self._editing:
                self._editing = True
                shown = self._erased() + self._editor.begin(reader.prompt, reader.echo, reader.history)
                self._keep()
            text, line = self._next_line()
            if line is None:
                self._show(shown + text)
                break
            self._finish(shown + text)
            self._readers.popleft()
            self._foreground.client = reader.token.caller.badge
            with self._kept.lock:
                self._note()
                _answer(reader, line)
        self._interrupt()
        self._lock.notify_all()

    def _interrupt(self) -> None:
        """Tell whoever is to hear of a Ctrl-C that no reader will be given."""
        token = None if self._readers else self._foreground.interrupted(self._typed)
        if token is not None:
            self._show("^C" + NEW_LINE)
            with self._kept.lock:
                self._note()
                token.complete(True)

    def _next_line(self) -> tuple[str, Line | None]:
        """What to show of what was typed, and the line that it finishes; None if more must be typed."""
        shown = ""
        for count, byte in enumerate(self._typed, 1):
            text, lines = self._editor.feed(bytes([byte]))
            shown += text
            if lines:
                self._last = bytes([byte])
                self._line.clear()
                del self._typed[:count]
                return shown, lines[0]
        self._line += self._typed
        self._typed.clear()
        if not self._closed:
            return shown, None
        self._line.clear()
        text, line = self._editor.close()
        return shown + text, line

    def _finish(self, shown: str) -> None:
        """The line is no longer edited: show what had to wait for that."""
        self._editing = False
        waiting = "".join(self._unfinished.values())
        self._unfinished.clear()
        self._show(shown + _on_terminal(waiting))

    def _show(self, text: str) -> None:
        """Show text. If the driver dies of it, all or a part of it may appear twice: better than not at all."""
        data = text.encode()
        while data:
            try:
                self.serial.write(data)
                return
            except ServerDied:
                continue


def _on_terminal(text: str) -> str:
    return text.replace("\n", NEW_LINE)


def _plain(text: str) -> str:
    """What cannot be shown, escaped: commands to a terminal change what others see there, and make it answer as if
    somebody had typed that."""
    return "".join(each if each.isprintable() or each in "\n\t" else _escaped(ord(each)) for each in text)


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"


def _answer(reader: Reader, line: Line) -> None:
    token, data = reader.token, reader.data
    match line.ending:
        case Ending.LINE if data is not None:
            data.rest = line.text.encode() + b"\n"
            token.complete(data.take(reader.most))
        case Ending.END_OF_INPUT if data is not None:
            token.complete(b"")
        case Ending.LINE:
            token.complete(line.text)
        case Ending.INTERRUPTED:
            token.fail(Interrupted("Ctrl-C"))
        case Ending.END_OF_INPUT:
            token.fail(EndOfInput("the input has ended"))
