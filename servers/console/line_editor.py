"""A line editor for one terminal: bytes in, edited lines and what to show out. Pure: no input or output of its own.

Keys as in every shell: left, right, home, end, backspace, delete, Ctrl-A B C D E F H K L N P U W, up and down for
history. The line is a list of characters, the terminal one row; a line longer than the row simply wraps.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from enum import Enum

MAX_LINE = 4096  # characters; more are refused with a bell
MAX_HISTORY = 500  # lines
BELL = "\a"

ESCAPES = {
    "[A": "up",
    "[B": "down",
    "[C": "right",
    "[D": "left",
    "[H": "home",
    "[F": "end",
    "OH": "home",
    "OF": "end",
    "[1~": "home",
    "[3~": "delete",
    "[4~": "end",
}
CONTROLS = {
    "\x01": "home",
    "\x02": "left",
    "\x05": "end",
    "\x06": "right",
    "\x08": "backspace",
    "\x0b": "kill",
    "\x0c": "redraw",
    "\x0e": "down",
    "\x10": "up",
    "\x15": "kill_all",
    "\x17": "kill_word",
    "\x7f": "backspace",
    "\x03": "interrupt",
    "\x04": "end_of_input",
    "\r": "enter",
    "\n": "enter",
}


class Ending(Enum):
    """How a line came to its end."""

    LINE = "line"
    INTERRUPTED = "interrupted"  # Ctrl-C
    END_OF_INPUT = "end of input"  # Ctrl-D on an empty line, or the terminal is gone


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    ending: Ending = Ending.LINE


@dataclass(slots=True)
class LineEditor:
    """The line being typed, its cursor, and the history."""

    echo: bool = True
    prompt: str = ""
    history: list[str] = field(default_factory=list)
    _line: list[str] = field(default_factory=list)
    _cursor: int = 0
    _at: int = 0
    _escape: str | None = None
    _stash: str = ""
    _last: str = ""
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def begin(self, prompt: str) -> str:
        """Start a new line; returns what to show."""
        self.prompt = prompt
        self._line.clear()
        self._cursor = 0
        self._at = len(self.history)
        return prompt + "".join(self._line)

    def feed(self, data: bytes) -> tuple[str, list[Line]]:
        """Take typed bytes; returns what to show and the lines that were ended."""
        shown: list[str] = []
        lines: list[Line] = []
        for character in self._decoder.decode(data):
            text, line = self._key(character)
            if self.echo:
                shown.append(text)
            if line is not None:
                lines.append(line)
        return "".join(shown), lines

    def hide(self) -> str:
        """What to show to take the line away, so that other output can be written in its place."""
        return "\r\x1b[K" if self.echo else ""

    def show(self) -> str:
        """What to show to bring prompt, line and cursor back."""
        back = len(self._line) - self._cursor
        return self.prompt + ("".join(self._line) + (f"\x1b[{back}D" if back else "") if self.echo else "")

    def _key(self, character: str) -> tuple[str, Line | None]:
        if self._escape is not None:
            return self._continue_escape(character), None
        if character == "\x1b":
            self._escape = ""
            return "", None
        previous, self._last = self._last, character
        if character == "\n" and previous == "\r":
            return "", None
        name = CONTROLS.get(character)
        if name is not None:
            return self._command(name)
        if not character.isprintable():
            return BELL, None
        return self._insert(character), None

    def _continue_escape(self, character: str) -> str:
        sequence = (self._escape or "") + character
        if sequence in ESCAPES:
            self._escape = None
            return self._command(ESCAPES[sequence])[0]
        unfinished = sequence in ("[", "O") or (sequence[0] == "[" and character in "0123456789;" and len(sequence) < 8)
        self._escape = sequence if unfinished else None
        return ""

    def _insert(self, character: str) -> str:
        if len(self._line) >= MAX_LINE:
            return BELL
        self._line.insert(self._cursor, character)
        self._cursor += 1
        rest = "".join(self._line[self._cursor :])
        return character + (rest + f"\x1b[{len(rest)}D" if rest else "")

    def _command(self, name: str) -> tuple[str, Line | None]:
        match name:
            case "enter":
                return self._finish(Ending.LINE)
            case "interrupt":
                return self._finish(Ending.INTERRUPTED)
            case "end_of_input" if not self._line:
                return self._finish(Ending.END_OF_INPUT)
            case "end_of_input":
                return BELL, None
            case "up" | "down":
                return self._recall(-1 if name == "up" else 1), None
            case _:
                self._edit(name)
                return self._redraw(), None

    def _edit(self, name: str) -> None:
        line, cursor = self._line, self._cursor
        match name:
            case "left":
                self._cursor = max(cursor - 1, 0)
            case "right":
                self._cursor = min(cursor + 1, len(line))
            case "home":
                self._cursor = 0
            case "end":
                self._cursor = len(line)
            case "backspace" if cursor:
                del line[cursor - 1]
                self._cursor -= 1
            case "delete":
                del line[cursor : cursor + 1]
            case "kill":
                del line[cursor:]
            case "kill_all":
                line.clear()
                self._cursor = 0
            case "kill_word":
                start = len("".join(line[:cursor]).rstrip().rpartition(" ")[0])
                start += 1 if start else 0
                del line[start:cursor]
                self._cursor = start

    def _recall(self, step: int) -> str:
        at = self._at + step
        if not 0 <= at <= len(self.history):
            return BELL
        if self._at == len(self.history):
            self._stash = "".join(self._line)
        self._at = at
        self._line[:] = self.history[at] if at < len(self.history) else self._stash
        self._cursor = len(self._line)
        return self._redraw()

    def _redraw(self) -> str:
        return self.hide() + self.show()

    def _finish(self, ending: Ending) -> tuple[str, Line | None]:
        text = "".join(self._line)
        if ending is Ending.LINE and text.strip() and (not self.history or self.history[-1] != text):
            self.history.append(text)
            del self.history[:-MAX_HISTORY]
        self._line.clear()
        self._cursor = 0
        self._at = len(self.history)
        suffix = {Ending.LINE: "", Ending.INTERRUPTED: "^C", Ending.END_OF_INPUT: ""}[ending]
        return suffix + "\r\n", Line(text if ending is Ending.LINE else "", ending)
