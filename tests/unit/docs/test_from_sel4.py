"""The page for who comes from seL4: what it names is there, and it names all of seL4's methods."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import libsel4py
from libsel4py.abi import INVOCATIONS

TREE = Path(__file__).parents[3]
PAGE = (TREE / "docs" / "guide" / "from_sel4.md").read_text(encoding="utf-8")
OURS = 64  # labels from here on are sel4py's own
FROM_SEL4 = {"Frame.map_io"}  # one of seL4's whose label is none of those that the build has


def _methods() -> set[str]:
    """`Class.method` in the page, of classes of the SDK."""
    named = re.findall(r"`(\w+)\.(\w+)(?:\([^`]*)?`", PAGE)
    return {f"{owner}.{name}" for owner, name in named if isinstance(getattr(libsel4py, owner, None), type)}


def test_every_method_that_it_names_exists() -> None:
    found = _methods()
    assert len(found) > 50
    for each in found:
        owner, _, name = each.partition(".")
        assert callable(getattr(getattr(libsel4py, owner), name)), each


def test_it_names_every_method_that_is_sel4s() -> None:
    theirs = {f"{each.object}.{each.name}" for each in INVOCATIONS.values() if each.label < OURS}
    assert theirs | FROM_SEL4 <= _methods()


def test_every_function_that_it_says_to_read_is_in_its_file() -> None:
    rows = [row for row in PAGE.splitlines() if re.match(r"\| \d+ \|", row)]
    minutes = sum(int(row.split("|")[1]) for row in rows)
    assert minutes == 60
    for row in rows:
        for part in row.split("|")[2].split("`kerneld/")[1:]:
            module = importlib.import_module("kerneld." + part.partition(".py")[0].replace("/", "."))
            for name in re.findall(r"`(\w+(?:\.\w+)?)`", part):
                found: object = module
                for step in name.split("."):
                    found = getattr(found, step)
                assert callable(found)
