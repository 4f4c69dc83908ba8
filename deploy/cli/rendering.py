"""Results as people read them: tables, trees and lines.

Rules: what another process wrote goes through ``printable``, so that no text can command the terminal. On a terminal
tables fit it (`columns.py`), with a line below their headings; elsewhere columns are aligned by spaces, a header line
first, and nothing is cut or left out.
"""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

CHILDREN: Final = "children"  # rows under this key are rows of the same table, one level down
Row = Mapping[str, Any]


def printable(text: str) -> str:
    """The text with control and format characters, other than newline and tab, written out."""
    return "".join(each if each.isprintable() or each in "\n\t" else _escape(ord(each)) for each in text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def line(text: str) -> None:
    """Prints one line, or several, for people."""
    click.echo(printable(text))


def warning(text: str) -> None:
    """Prints what nobody must miss, in red on a terminal."""
    click.secho(printable(text), fg="red")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "") -> None:
    """Prints a table."""
    cells = [[cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _terminal_table(columns, cells, indent)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in ([*columns], *cells):
        click.echo(indent + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _terminal_table(columns: Sequence[str], cells: Sequence[Sequence[str]], indent: str) -> None:
    from deploy.cli.columns import GAP, fitted, least_width, without_empty

    columns, cells = without_empty(columns, cells)
    width = shutil.get_terminal_size().columns - len(indent)
    if len(cells) == 1 and least_width(columns, cells) > width:
        for column, text in zip(columns, cells[0], strict=True):
            line(f"{indent}{column}: {text}")
        return
    rows = [[text.split("\n") for text in row] for row in fitted(columns, cells, width)]
    widths = [max(map(len, (columns[at], *itertools.chain(*(row[at] for row in rows))))) for at in range(len(columns))]

    def joined(texts: Sequence[str]) -> str:
        padded = (text.ljust(width) for text, width in zip(texts, widths, strict=True))
        return indent + (" " * GAP).join(padded).rstrip()

    click.secho(joined(columns), bold=True)
    click.echo(indent + "─" * min(width, sum(widths) + GAP * (len(widths) - 1)))
    for row in rows:
        for texts in itertools.zip_longest(*row, fillvalue=""):
            click.echo(joined(texts))


def cell(value: object) -> str:
    """One value in a table."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return " ".join(f"{key}={cell(inner)}" for key, inner in value.items())
        case list() | tuple():
            return ", ".join(map(cell, value)) or "-"
        case _:
            return printable(str(value))


def show(result: object, indent: str = "") -> None:
    """Prints any result: rows as a table or a tree, a mapping as lines, text as it stands."""
    match result:
        case None:
            return
        case []:
            line(f"{indent}none")
        case list() if _is_rows(result):
            _show_rows(result, indent)
        case list():
            for each in result:
                show(each, indent)
        case Mapping():
            for key, value in result.items():
                if isinstance(value, Mapping | list) and value:
                    line(f"{indent}{key}:")
                    show(value, indent + "  ")
                else:
                    line(f"{indent}{key}: {cell(value)}")
        case _:
            line(f"{indent}{cell(result)}")


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _show_rows(rows: Sequence[Row], indent: str) -> None:
    """A tree becomes one table, its first column indented; rows that hold tables of their own become a heading each."""
    inner = [key for row in rows for key, value in row.items() if key != CHILDREN and _is_rows(value)]
    if inner:
        for row in rows:
            line(indent + cell({key: value for key, value in row.items() if not _is_rows(value)}))
            for value in filter(_is_rows, row.values()):
                show(value, indent + "  ")
        return
    flat = list(_flatten(rows, 0))
    columns = list(dict.fromkeys(str(key) for _, row in flat for key in row if key != CHILDREN))
    first = columns[0]
    cells = [[row.get(column) for column in columns] for _, row in flat]
    for (depth, row), values in zip(flat, cells, strict=True):
        values[0] = "  " * depth + cell(row.get(first))
    table(columns, cells, indent)


def _flatten(rows: Sequence[Row], depth: int) -> Iterator[tuple[int, Row]]:
    for row in rows:
        yield depth, row
        children = row.get(CHILDREN)
        if isinstance(children, list) and _is_rows(children):
            yield from _flatten(children, depth + 1)
