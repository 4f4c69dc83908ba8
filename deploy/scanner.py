"""Where in a TOML file each key stands: path → line.

``tomllib`` gives values without positions; people need ``file:line``. Rule: the text was parsed by ``tomllib`` before
it comes here, so this scanner finds its way and judges nothing.
"""

from __future__ import annotations

import tomllib
from typing import Final

Path = tuple[str | int, ...]
_TRIPLES: Final = ('"""', "'''")


def line_numbers(text: str) -> dict[Path, int]:
    """The line (from 1) of every table, key and array element of ``text``, which must be valid TOML.

    A table that was only implied by a longer header has the line of that header.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {(): 1}
        self._counted = 0
        self._line = 1
        self._elements: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        self.skip_blank()
        while self.at < len(self.text):
            if self.text.startswith("[", self.at):
                table = self.header()
            else:
                self.pair(table)
            self.skip_blank()

    def header(self) -> Path:
        is_array = self.text.startswith("[[", self.at)
        line = self.line()
        self.at += 2 if is_array else 1
        path = self.latest(self.key())
        if is_array:
            index = self._elements.get(path, -1) + 1
            self._elements[path] = index
            path = (*path, index)
        self.mark(path, line)
        self.at = self.text.index("]", self.at) + (2 if is_array else 1)
        return path

    def latest(self, key: tuple[str, ...]) -> Path:
        """The key with the index of the newest element behind every array of tables on the way."""
        path: Path = ()
        for position, part in enumerate(key):
            path = (*path, part)
            if position < len(key) - 1 and path in self._elements:
                path = (*path, self._elements[path])
        return path

    def pair(self, table: Path) -> None:
        line = self.line()
        path = (*table, *self.key())
        self.mark(path, line)
        self.at = self.text.index("=", self.at) + 1
        self.value(path)

    def key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self.skip_blank()
            if self.text[self.at] in "\"'":
                start = self.at
                self.string()
                parts.append(str(tomllib.loads("key = " + self.text[start : self.at])["key"]))
            else:
                start = self.at
                while self.text[self.at].isalnum() or self.text[self.at] in "-_":
                    self.at += 1
                parts.append(self.text[start : self.at])
            self.skip_blank()
            if self.text[self.at] != ".":
                return tuple(parts)
            self.at += 1

    def value(self, path: Path) -> None:
        self.skip_blank()
        match self.text[self.at]:
            case '"' | "'":
                self.string()
            case "[":
                self.array(path)
            case "{":
                self.inline_table(path)
            case _:
                while self.at < len(self.text) and self.text[self.at] not in ",]}#\n":
                    self.at += 1

    def string(self) -> None:
        triple = self.text[self.at : self.at + 3]
        quote = triple if triple in _TRIPLES else self.text[self.at]
        self.at += len(quote)
        while not self.text.startswith(quote, self.at):
            self.at += 2 if quote[0] == '"' and self.text[self.at] == "\\" else 1
        self.at += len(quote)
        # A multi-line string may end in up to two quotes of its own before the closing three.
        while len(quote) == 3 and self.text.startswith(quote[0], self.at):
            self.at += 1

    def array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while not self.closes("]"):
            self.mark((*path, index), self.line())
            self.value((*path, index))
            index += 1

    def inline_table(self, path: Path) -> None:
        self.at += 1
        while not self.closes("}"):
            self.pair(path)

    def closes(self, bracket: str) -> bool:
        """Passes a comma; True once the bracket was passed."""
        self.skip_blank()
        if self.text[self.at] == ",":
            self.at += 1
            self.skip_blank()
        if self.text[self.at] != bracket:
            return False
        self.at += 1
        return True

    def mark(self, path: Path, line: int) -> None:
        for length in range(1, len(path)):
            self.lines.setdefault(path[:length], line)
        self.lines[path] = line

    def line(self) -> int:
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

    def skip_blank(self) -> None:
        while self.at < len(self.text):
            if self.text[self.at].isspace():
                self.at += 1
            elif self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return
