"""``sel4py inspect memory`` for people: who pays for how much, and the untyped tree with what is alike folded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from deploy.cli.rendering import line, table

Row = Mapping[str, Any]
COLUMNS: Final = ("what", "address", "bytes", "made", "padding", "free", "paid by", "held by")
HOLDERS: Final = 3  # named of one row; of more it is said how many there are


def show_memory(found: Mapping[str, Any]) -> None:
    """Prints the answer to ``inspect memory``."""
    line(f"ram: {found['ram']} bytes")
    parts = [("the kernel's own records", found["kernel"]), ("lost", found["lost"])]
    paid, held = found["paid_by_task"], found["held_by_task"]
    parts += [(f"paid by {task}", size) for task, size in paid.items()]
    table(("where", "bytes"), [*parts, ("sum", sum(size for _, size in parts))], "  ")
    kinds = [*found["by_type"].items(), ("free", found["free"]), ("padding", found["padding"])]
    line("by type:")
    table(("type", "bytes"), kinds, "  ")
    line("objects that each capability space holds (what several hold counts for each):")
    table(("task", "bytes"), list(held.items()), "  ")
    for title, rows in (("untyped memory and what was made from it:", "untyped"), ("devices:", "devices")):
        if found[rows]:
            line(title)
            table(COLUMNS, list(_lines(found[rows])), "  ")


def _lines(rows: Sequence[Row], depth: int = 0, payer: str | None = None) -> Iterator[tuple[object, ...]]:
    """A line for each row that says something; one for all neighbours that are alike and have no children."""
    for group in _alike(list(_telling(rows, payer))):
        first = group[0]
        count = f"{len(group)} × " if len(group) > 1 else ""
        yield (
            "  " * depth + count + first["type"],
            first["address"],
            sum(row["bytes"] for row in group),
            *(first.get(part) for part in ("made", "padding", "free")),
            first["paid_by"],
            _holders(group),
        )
        if first.get("children"):
            yield from _lines(first["children"], depth + 1, first["paid_by"])


def _telling(rows: Sequence[Row], payer: str | None) -> Iterator[Row]:
    """The rows; in the place of memory that its owner only cut into parts, and all of which is in use, its parts."""
    for row in rows:
        parts = row.get("children")
        if parts and row["paid_by"] == payer and not row["padding"] and not row["free"]:
            yield from _telling(parts, payer)
        else:
            yield row


def _alike(rows: Sequence[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        if group and not (_can_fold(group[0]) and _can_fold(row) and _kind(group[0]) == _kind(row)):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _can_fold(row: Row) -> bool:
    return bool(row["type"] != "UNTYPED")


def _kind(row: Row) -> tuple[object, ...]:
    return row["type"], row["bytes"], row["paid_by"]


def _holders(group: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name.partition(":")[0] for row in group for name in row["held_by"]))
    more = f" and {len(names) - HOLDERS} more" if len(names) > HOLDERS else ""
    return ", ".join(names[:HOLDERS]) + more
