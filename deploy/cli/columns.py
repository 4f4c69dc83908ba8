"""A table's cells, made to fit the terminal: long ones go on in further lines, and words and numbers stay whole.

Rules: nothing is left out but columns in which no row has anything. Lines end behind a space or a mark that joins words
(`BLOCKED_ON_` / `RECEIVE`), the widest columns first. A table whose words do not fit is as wide as they are, and the
terminal breaks its lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

GAP: Final = 2  # characters between two columns
MOST_WHOLE: Final = 40  # a word that is longer may be broken anywhere
_PIECES: Final = re.compile(r"\s*\S*?[_.,/:](?!\d)|\s*\S+")


def pieces(text: str) -> list[str]:
    """The text in parts behind which a line may end; blanks stand at a part's beginning."""
    found: list[str] = []
    for piece in _PIECES.findall(text):
        found += [piece[at : at + MOST_WHOLE] for at in range(0, len(piece), MOST_WHOLE)]
    return found


def wrapped(text: str, width: int) -> str:
    """The text in lines of at most ``width`` characters, or as long as a part is. Its own indentation stays."""
    lines = [""]
    for at, piece in enumerate(pieces(text)):
        if at and len(lines[-1]) + len(piece) > width:
            lines.append(piece.lstrip())
        else:
            lines[-1] += piece
    return "\n".join(lines)


def without_empty(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """The columns in which some row has something, or all if there are no rows."""
    used = [at for at in range(len(columns)) if not cells or any(row[at] not in ("", "-") for row in cells)]
    return [columns[at] for at in used], [[row[at] for at in used] for row in cells]


def least_width(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    """How wide the narrowest table is in which no word is broken."""
    return sum(_narrowest(columns, cells)) + GAP * (len(columns) - 1)


def fitted(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """The cells with their lines broken, so that the table has ``width`` characters if its words let it."""
    least = _narrowest(columns, cells)
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    room = max(width - GAP * (len(columns) - 1), sum(least))
    while sum(widths) > room:
        widest = max((at for at in range(len(widths)) if widths[at] > least[at]), key=widths.__getitem__)
        widths[widest] -= 1
    return [[wrapped(text, most) for text, most in zip(row, widths, strict=True)] for row in cells]


def _narrowest(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    rows = ([len(heading) for heading in columns], *([_longest(text) for text in row] for row in cells))
    return [max(column) for column in zip(*rows, strict=True)]


def _longest(text: str) -> int:
    found = pieces(text)
    return max([*map(len, found[:1]), *(len(piece.lstrip()) for piece in found)], default=0)
