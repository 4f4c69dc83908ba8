"""The line editor: what each key does to the line, and that the terminal shows just that line.

`Screen` is the terminal's row: it understands what the editor sends, so that tests look at what a person would see.
"""

from __future__ import annotations

import random
import re
import unicodedata

import pytest

from libsel4py.results import encode
from libsel4py.wire import MAX_BYTES
from servers.console import line_editor
from servers.console.line_editor import BELL, Ending, Line, LineEditor, columns

PROMPT = "> "
LEFT, RIGHT, UP, DOWN = b"\x1b[D", b"\x1b[C", b"\x1b[A", b"\x1b[B"
SHOWN = re.compile(r"\x1b\[(\d*)([A-Z])|.|[\r\n]", re.DOTALL)


class Screen:
    """One row of a terminal, without an end; rows above it in `above`."""

    def __init__(self) -> None:
        self.row: list[str] = []
        self.at = 0
        self.above: list[str] = []
        self.bells = 0

    def show(self, text: str) -> None:
        for found in SHOWN.finditer(text):
            match found.group(0):
                case "\r":
                    self.at = 0
                case "\n":
                    self.above.append("".join(self.row))
                    self.row = []
                case "\a":
                    self.bells += 1
                case "\x1b[K":
                    del self.row[self.at :]
                case move if found.group(2) == "D":
                    self.at -= int(found.group(1))
                    assert self.at >= 0, move
                case character:
                    assert found.group(2) is None, character
                    self._put(character)

    def _put(self, character: str) -> None:
        if unicodedata.combining(character):
            self.row[self.at - 1] += character
            return
        cells = [character, *[""] * (columns(character) - 1)]
        self.row[self.at : self.at + len(cells)] = cells
        self.at += len(cells)

    @property
    def text(self) -> str:
        return "".join(self.row)


class Typist:
    """An editor and its screen."""

    def __init__(self, *history: str, echo: bool = True) -> None:
        self.editor = LineEditor()
        self.screen = Screen()
        self.kept = list(history)
        self.begin(echo)

    def begin(self, echo: bool = True) -> None:
        self.screen.show(self.editor.begin(PROMPT, echo, self.kept))

    def type(self, data: bytes) -> list[Line]:
        shown, lines = self.editor.feed(data)
        self.screen.show(shown)
        if not lines and self.editor.echo:
            assert self.screen.text == PROMPT + self.editor.text
        return lines

    @property
    def cursor(self) -> int:
        return self.screen.at - len(PROMPT)


@pytest.mark.parametrize(
    ("typed", "line", "cursor"),
    [
        (b"abc", "abc", 3),
        (b"abc" + LEFT, "abc", 2),
        (b"abc" + LEFT * 5, "abc", 0),
        (b"abc" + LEFT + RIGHT * 3, "abc", 3),
        (b"abc" + LEFT + b"X", "abXc", 3),
        (b"abc\x01X", "Xabc", 1),
        (b"abc\x01\x05X", "abcX", 4),
        (b"abc\x1b[HX\x1b[FY", "XabcY", 5),
        (b"abc\x1b[1~X\x1b[4~Y", "XabcY", 5),
        (b"abc\x1bOHX\x1bOFY", "XabcY", 5),
        (b"abc\x02\x02\x06X", "abXc", 3),
        (b"abc\x7f", "ab", 2),
        (b"abc\x08", "ab", 2),
        (b"abc" + LEFT + b"\x7f", "ac", 1),
        (b"\x7fa", "a", 1),
        (b"abc\x01\x1b[3~", "bc", 0),
        (b"abc\x1b[3~", "abc", 3),
        (b"abc" + LEFT * 2 + b"\x0b", "a", 1),
        (b"abc" + LEFT + b"\x15", "", 0),
        (b"one two  \x17", "one ", 4),
        (b" one\x17", " ", 1),
        (b"one\x17\x17", "", 0),
        (b"one two" + LEFT * 3 + b"\x17", "two", 0),
        (b"abc\x0c", "abc", 3),
    ],
)
def test_keys_edit_the_line(typed: bytes, line: str, cursor: int) -> None:
    typist = Typist()
    typist.type(typed)
    assert (typist.editor.text, typist.cursor) == (line, cursor)
    assert typist.type(b"\r") == [Line(line)]
    assert typist.screen.above == [PROMPT + line]


def test_any_keys_leave_the_screen_as_the_line_is() -> None:
    chooser = random.Random(5)
    keys = [LEFT, RIGHT, UP, DOWN, b"\x01", b"\x05", b"\x7f", b"\x1b[3~", b"\x0b", b"\x17", b" ", b"a", "世".encode()]
    for _ in range(50):
        typist = Typist("former line", "短い行")
        for _ in range(60):
            typist.type(chooser.choice(keys))


def test_wide_and_combining_characters_take_their_columns() -> None:
    typist = Typist()
    typist.type("世界e\u0301".encode())
    assert typist.cursor == 5
    typist.type(LEFT * 3)
    assert typist.cursor == 2
    typist.type(b"x")
    assert (typist.editor.text, typist.cursor) == ("世x界e\u0301", 3)


def test_history_is_walked_with_the_unfinished_line_at_its_end() -> None:
    typist = Typist("first", "second")
    seen = []
    typist.type(b"new")
    for key in (UP, UP, UP, DOWN, DOWN, DOWN):
        typist.type(key)
        seen.append(typist.editor.text)
    assert seen == ["second", "first", "first", "second", "new", "new"]
    assert typist.screen.bells == 2


def test_history_keeps_each_line_once_in_a_row_and_no_empty_ones() -> None:
    typist = Typist()
    for line in (b"a", b"a", b"", b"  ", b"b", b"a"):
        typist.type(line + b"\r")
        typist.begin()
    assert typist.kept == ["a", "b", "a"]


def test_history_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_editor, "MAX_HISTORY", 3)
    typist = Typist()
    for number in range(5):
        typist.type(b"%d\r" % number)
        typist.begin()
    assert typist.kept == ["2", "3", "4"]


def test_a_line_has_a_limit_and_more_is_refused_with_a_bell() -> None:
    typist = Typist()
    typist.type(b"x" * line_editor.MAX_LINE)
    assert typist.screen.bells == 0
    typist.type(b"yz")
    assert typist.screen.bells == 2
    assert typist.type(b"\r") == [Line("x" * line_editor.MAX_LINE)]


def test_a_line_of_any_characters_fits_a_message() -> None:
    typist = Typist()
    typist.type("\u20ac".encode() * line_editor.MAX_LINE)
    (line,) = typist.type(b"\r")
    assert len(encode(line.text)) <= MAX_BYTES
    assert len(line.text.encode()) == line_editor.MAX_LINE


def test_control_characters_without_meaning_ring() -> None:
    typist = Typist()
    assert typist.type(b"a\x00\tb") == []
    assert (typist.editor.text, typist.screen.bells) == ("ab", 2)


def test_control_c_ends_the_line_wherever_the_cursor_is() -> None:
    typist = Typist()
    assert typist.type(b"half" + LEFT + b"\x03") == [Line("", Ending.INTERRUPTED)]
    assert typist.screen.above == [PROMPT + "hal^C"]
    assert typist.kept == []


def test_control_d_is_the_end_of_an_empty_line_alone() -> None:
    typist = Typist()
    assert typist.type(b"a\x04") == []
    assert typist.screen.bells == 1
    assert typist.type(b"\x7f\x04") == [Line("", Ending.END_OF_INPUT)]


def test_several_lines_come_from_one_piece() -> None:
    assert Typist().type(b"a\rb\nc\r\nd") == [Line("a"), Line("b"), Line("c")]


def test_a_line_feed_that_comes_with_the_next_line_is_the_former_lines() -> None:
    typist = Typist()
    assert typist.type(b"a\r") == [Line("a")]
    typist.begin()
    assert typist.type(b"\nb\r") == [Line("b")]


def test_the_input_ends_with_what_was_typed_of_a_line() -> None:
    typist = Typist()
    typist.type(b"exit")
    assert typist.editor.close()[1] == Line("exit")
    assert typist.editor.close()[1] == Line("", Ending.END_OF_INPUT)


def test_without_echo_nothing_is_shown_but_the_lines_end() -> None:
    typist = Typist(echo=False)
    shown, lines = typist.editor.feed(b"secret" + LEFT + b"\x7f\x0c\x00" + BELL.encode())
    assert (shown, lines) == ("", [])
    shown, lines = typist.editor.feed(b"\r")
    assert (shown, lines) == ("\r\n", [Line("secrt")])


def test_the_line_is_hidden_and_shown_again_with_its_cursor() -> None:
    typist = Typist()
    typist.type(b"abc" + LEFT)
    typist.screen.show(typist.editor.hide() + "other output\r\n" + typist.editor.show())
    assert typist.screen.above == ["other output"]
    assert (typist.screen.text, typist.cursor) == (PROMPT + "abc", 2)
    typist.begin(echo=False)
    typist.editor.feed(b"secret")
    typist.screen.show(typist.editor.hide() + typist.editor.show())
    assert typist.screen.text == PROMPT
