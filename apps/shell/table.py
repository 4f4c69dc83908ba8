"""Plain text for a terminal: aligned columns and sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as their widest cell; numbers to the right. Ends with a newline."""
    cells = [[str(value) for value in row] for row in rows]
    numeric = [bool(cells) and all(_is_number(row[column]) for row in cells) for column in range(len(headings))]
    widths = [max(len(text) for text in column) for column in zip(headings, *cells, strict=True)]
    lines = [list(headings), *cells]
    return "".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def _is_number(text: str) -> bool:
    return text[:1].isdigit()


def size(count: int) -> str:
    """Bytes in the largest unit that leaves a whole number: 4K, 16M, 100."""
    for unit, shift in (("G", 30), ("M", 20), ("K", 10)):
        if count and count % (1 << shift) == 0:
            return f"{count >> shift}{unit}"
    return str(count)


def seconds(nanoseconds: int) -> str:
    """A duration for people."""
    if nanoseconds < 1_000_000:
        return f"{nanoseconds / 1000:.1f} us"
    if nanoseconds < 1_000_000_000:
        return f"{nanoseconds / 1e6:.1f} ms"
    return f"{nanoseconds / 1e9:.2f} s"
