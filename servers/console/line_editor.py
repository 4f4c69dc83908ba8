"""A line editor for one terminal: keys in, edited lines and what to show out. Pure: no input or output of its own.

Keys as in every shell: left, right, home, end, backspace, delete, Ctrl-A B C D E F H K L N P U W, up and down for
history. The line is a list of characters, the terminal one row; a line longer than the row simply wraps.
"""

from __future__ import annotations

import unicodedata
from dataclasses import InitVar, dataclass, field
from enum import Enum
from typing import Final

from libsel4py.interfaces.console import MAX_LINE_BYTES
from servers.console.keys import Key, Keys

MAX_LINE: Final = MAX_LINE_BYTES  # of UTF-8; more are refused with a bell
MAX_HISTORY: Final = 500  # lines
BELL: Final = "\a"
NEW_LINE: Final = "\r\n"
ERASE_ROW: Final = "\r\x1b[K"


class Ending(Enum):
    """How a line came to its end."""

    LINE = "line"
    INTERRUPTED = "interrupted"  # Ctrl-C
    END_OF_INPUT = "end of input"  # Ctrl-D on an empty line, or the terminal is gone


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    ending: Ending = Ending.LINE


def columns(text: str) -> int:
    """How many columns of a terminal the text takes: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


@dataclass(slots=True)
class LineEditor:
    """The line being typed, its cursor, and the history that it offers.

    One editor serves all lines of a terminal, since a key may begin in one line's bytes and end in the next one's.
    ``after_return``: what was typed before ended with a carriage return.
    """

    echo: bool = True
    prompt: str = ""
    history: list[str] = field(default_factory=list)
    after_return: InitVar[bool] = False
    _keys: Keys = field(default_factory=Keys)
    _line: list[str] = field(default_factory=list)
    _cursor: int = 0
    _at: int = 0
    _stash: str = ""

    def __post_init__(self, after_return: bool) -> None:
        self._keys = Keys(_after_return=after_return)

    def begin(self, prompt: str, echo: bool = True, history: list[str] | None = None) -> str:
        """Start a new line; returns what to show.

        Args:
            echo: show what is typed. history: former lines, oldest first; the new one is added.
        """
        self.prompt, self.echo = prompt, echo
        self.history = [] if history is None else history
        self._clear()
        return prompt

    def feed(self, data: bytes) -> tuple[str, list[Line]]:
        """Take typed bytes; returns what to show and the lines that were ended. Behind a line comes an empty one."""
        shown: list[str] = []
        lines: list[Line] = []
        for key in self._keys.feed(data):
            text, line = self._key(key)
            if self.echo or line is not None:
                shown.append(text)
            if line is not None:
                lines.append(line)
        return "".join(shown), lines

    def close(self) -> tuple[str, Line]:
        """No more will be typed: the line is what was typed of it; the end of the input, if that is nothing."""
        return self._finish(Ending.LINE if self._line else Ending.END_OF_INPUT)

    @property
    def text(self) -> str:
        """The line so far."""
        return "".join(self._line)

    def hide(self) -> str:
        """What to show to take the line away, so that other output can be written in its place."""
        return ERASE_ROW

    def show(self) -> str:
        """What to show to bring prompt, line and cursor back."""
        return self.prompt + (self.text + self._back() if self.echo else "")

    def _back(self) -> str:
        """Move from the line's end to the cursor."""
        width = columns("".join(self._line[self._cursor :]))
        return f"\x1b[{width}D" if width else ""

    def _key(self, key: Key) -> tuple[str, Line | None]:
        match key.command:
            case "" if key.text:
                return self._insert(key.text), None
            case "enter":
                return self._finish(Ending.LINE)
            case "interrupt":
                return self._finish(Ending.INTERRUPTED)
            case "end_of_input" if not self._line:
                return self._finish(Ending.END_OF_INPUT)
            case "" | "end_of_input":
                return BELL, None
            case "up" | "down":
                return self._recall(-1 if key.command == "up" else 1), None
            case _:
                self._edit(key.command)
                return self._redraw(), None

    def _insert(self, character: str) -> str:
        if len(self._line) >= MAX_LINE // 4 and len(self.text.encode()) + len(character.encode()) > MAX_LINE:
            return BELL
        self._line.insert(self._cursor, character)
        self._cursor += 1
        return character + "".join(self._line[self._cursor :]) + self._back()

    def _edit(self, command: str) -> None:
        line, cursor = self._line, self._cursor
        match command:
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
                start = "".join(line[:cursor]).rstrip().rfind(" ") + 1
                del line[start:cursor]
                self._cursor = start

    def _recall(self, step: int) -> str:
        at = self._at + step
        if not 0 <= at <= len(self.history):
            return BELL
        if self._at == len(self.history):
            self._stash = self.text
        self._at = at
        self._line[:] = self.history[at] if at < len(self.history) else self._stash
        self._cursor = len(self._line)
        return self._redraw()

    def _redraw(self) -> str:
        return self.hide() + self.show()

    def _finish(self, ending: Ending) -> tuple[str, Line]:
        text = self.text
        if ending is Ending.LINE and text.strip() and (not self.history or self.history[-1] != text):
            self.history.append(text)
            del self.history[:-MAX_HISTORY]
        self._clear()
        suffix = "^C" if ending is Ending.INTERRUPTED else ""
        return suffix + NEW_LINE, Line(text if ending is Ending.LINE else "", ending)

    def _clear(self) -> None:
        self._line.clear()
        self._cursor = 0
        self._at = len(self.history)
        self._stash = ""
