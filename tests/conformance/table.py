"""Write docs/conformance.md from the conformance tests: ``python -m tests.conformance.table [--check]``.

A conformance test is a function named ``test_GROUP0001_what`` (an upper-case group and four digits, never reused) whose
docstring's first line is the sentence that it shows. Ids are stable: a test that goes leaves a gap.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from tests.conformance.page import keep

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "conformance.md"
NAME = re.compile(r"test_([A-Z_]+)(\d{4})_\w+")

HEAD = """# Conformance

What sel4py shows of seL4's published behaviour (MCS API), by stable id. Made by `make docs` from `tests/conformance/`;
each row is a test. Where sel4py differs on purpose, see [CAVEATS](CAVEATS.md).
"""


def rows() -> list[tuple[str, str, str, str]]:
    """(group, id, sentence, file) of every conformance test, sorted by id."""
    found = []
    for path in sorted(FOLDER.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match = NAME.fullmatch(node.name) if isinstance(node, ast.FunctionDef) else None
            if match and isinstance(node, ast.FunctionDef):
                document = ast.get_docstring(node)
                if not document:
                    raise SystemExit(f"{path.name}: {node.name} has no docstring; its first line is its sentence")
                found.append((match[1], match[1] + match[2], document.splitlines()[0], path.name))
    ids = [row[1] for row in found]
    twice = {name for name in ids if ids.count(name) > 1}
    if twice:
        raise SystemExit(f"these conformance ids are used twice: {', '.join(sorted(twice))}")
    return sorted(found, key=lambda row: row[1])


def page() -> str:
    """The whole page."""
    table = rows()
    groups = dict.fromkeys(row[0] for row in table)
    parts = [HEAD, f"\n{len(table)} tests in {len(groups)} groups.\n"]
    for group in groups:
        parts.append(f"\n## {group}\n\n| id | what it shows | file |\n| --- | --- | --- |\n")
        parts += [f"| {id_} | {sentence} | `{file}` |\n" for name, id_, sentence, file in table if name == group]
    return "".join(parts)


def main() -> int:
    return keep(PAGE, page(), f"{len(rows())} conformance tests")


if __name__ == "__main__":
    sys.exit(main())
