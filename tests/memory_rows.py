"""What `inspect memory` answers, checked: everything adds up to RAM, to the byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def walk(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Each row, before what was made from it."""
    for row in rows:
        yield row
        yield from walk(row.get("children", ()))


def check_sums(memory: Mapping[str, Any]) -> None:
    """Every sum that is promised, from the rows alone; and that no byte is in two objects."""
    roots = memory["untyped"]
    outside = memory["kernel"] + memory["lost"]
    assert memory["lost"] >= 0
    assert outside + sum(row["bytes"] for row in roots) == memory["ram"]
    assert outside + memory["padding"] + memory["free"] + sum(memory["by_type"].values()) == memory["ram"]
    assert outside + sum(memory["paid_by_task"].values()) == memory["ram"]
    check_apart(roots, memory["kernel"], memory["ram"])
    rows = list(walk(roots))
    for row in rows:
        if row["type"] == "UNTYPED":
            assert row["made"] == sum(child["bytes"] for child in row["children"])
            assert min(row["made"], row["padding"], row["free"]) >= 0, row
            assert row["made"] + row["padding"] + row["free"] == row["bytes"]
            at = int(row["address"], 16)
            check_apart(row["children"], at, at + row["bytes"])
    assert memory["padding"] == sum(row.get("padding", 0) for row in rows)
    assert memory["free"] == sum(row.get("free", 0) for row in rows)


def check_apart(rows: Iterable[Mapping[str, Any]], start: int, end: int) -> None:
    """All lie in a range, and none overlaps another."""
    for row in rows:
        at = int(row["address"], 16)
        assert start <= at, row
        start = at + row["bytes"]
    assert start <= end
