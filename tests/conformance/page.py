"""A page of docs/ that is made of the tests: written, or with ``--check`` compared with what it is to be."""

from __future__ import annotations

import sys
from pathlib import Path


def keep(path: Path, text: str, content: str) -> int:
    """The exit status: 1 where the page was to be checked, and is stale. ``content``: what was written, for people."""
    if "--check" in sys.argv:
        stale = not path.exists() or path.read_text() != text
        if stale:
            print(f"{path.name} is stale; `make docs` writes it anew", file=sys.stderr)
        return int(stale)
    path.write_text(text)
    print(f"{path.name}: {content}")
    return 0
