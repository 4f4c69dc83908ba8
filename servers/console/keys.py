"""What keys a terminal's bytes mean: text, control characters and escape sequences, in pieces of any size.

Sources: ECMA-48 (control sequences end with a byte from @ to ~), xterm's control sequences for the cursor keys.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

LONGEST_ESCAPE: Final = 64  # characters; what goes on longer is no key

ESCAPES: Final = {
    "[A": "up",
    "[B": "down",
    "[C": "right",
    "[D": "left",
    "[H": "home",
    "[F": "end",
    "OA": "up",
    "OB": "down",
    "OC": "right",
    "OD": "left",
    "OH": "home",
    "OF": "end",
    "[1~": "home",
    "[3~": "delete",
    "[4~": "end",
}
CONTROLS: Final = {
    "\x01": "home",
    "\x02": "left",
    "\x03": "interrupt",
    "\x04": "end_of_input",
    "\x05": "end",
    "\x06": "right",
    "\x08": "backspace",
    "\n": "enter",
    "\x0b": "kill",
    "\x0c": "redraw",
    "\r": "enter",
    "\x0e": "down",
    "\x10": "up",
    "\x15": "kill_all",
    "\x17": "kill_word",
    "\x7f": "backspace",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key: the name of a command, or a character to insert. Neither is a key that means nothing here."""

    command: str = ""
    text: str = ""


@dataclass(slots=True)
class Keys:
    """The keys in a stream of bytes. A sequence may be split over any number of pieces.

    What is no UTF-8 counts as U+FFFD. CR, LF and CR LF are one "enter" each. A control character ends an unfinished
    escape sequence and is itself.
    """

    _escape: str | None = None
    _after_return: bool = False
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def feed(self, data: bytes) -> Iterator[Key]:
        """The keys that these bytes complete."""
        for character in self._decoder.decode(data):
            key = self._key(character)
            if key is not None:
                yield key

    def _key(self, character: str) -> Key | None:
        after_return, self._after_return = self._after_return, character == "\r"
        if character == "\n" and after_return:
            return None
        if character == "\x1b":
            self._escape = ""
            return None
        if self._escape is not None and character.isprintable():
            return self._continue_escape(self._escape + character)
        self._escape = None
        if character in CONTROLS:
            return Key(command=CONTROLS[character])
        return Key(text=character) if character.isprintable() else Key()

    def _continue_escape(self, sequence: str) -> Key | None:
        finished = sequence not in ("[", "O", "[[") and (sequence[0] != "[" or "@" <= sequence[-1] <= "~")
        if not finished and len(sequence) < LONGEST_ESCAPE:
            self._escape = sequence
            return None
        self._escape = None
        return Key(command=ESCAPES[sequence]) if sequence in ESCAPES else None
