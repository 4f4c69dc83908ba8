"""Every link in the documentation leads somewhere, and every file that it names is there."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

TREE = Path(__file__).parents[3]
FOLDERS = ("kerneld", "hw", "libsel4py", "servers", "apps", "deploy", "tests", "bench", "docs")
PAGES = sorted(
    path
    for folder in (TREE, *(TREE / name for name in FOLDERS))
    for path in (folder.glob("*.md") if folder == TREE else folder.rglob("*.md"))
)
CODE = re.compile(r"^```.*?^```$|^(?: {4}[^\n]*\n)+", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
QUOTED = re.compile(r"`([^`\n]+)`")
PLACEHOLDER = re.compile(r"NAME|TASK|FILE|<|…")


def _anchors(page: Path) -> set[str]:
    """The names that headings give, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def broken_links(page: Path) -> list[str]:
    """Relative links of a page whose file or heading does not exist."""
    broken = []
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = page if not file else (page.parent / file).resolve()
        if not found.exists() or (anchor and anchor not in _anchors(found)):
            broken.append(target)
    return broken


def missing_files(page: Path) -> list[str]:
    """Paths in backticks that begin with one of our folders and name nothing. `*` and `{a,b}` are patterns."""
    missing = []
    for quoted in QUOTED.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        name = quoted.split()[0].rstrip(":,;").partition(":")[0]
        if name.partition("/")[0] not in FOLDERS or "/" not in name or PLACEHOLDER.search(name):
            continue
        missing += [path for path in _expanded(name) if not any(TREE.glob(path.rstrip("/")))]
    return missing


def _expanded(name: str) -> list[str]:
    parts = re.split(r"\{([^}]*)\}", name)
    choices = [part.split(",") if number % 2 else [part] for number, part in enumerate(parts)]
    return ["".join(choice) for choice in itertools.product(*choices)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TREE)))
def test_links_resolve(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TREE)))
def test_named_files_exist(page: Path) -> None:
    assert missing_files(page) == []


def test_what_is_broken_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A head\n[a](#a-head) [b](#b) [c](none.md) [d](https://example.org)\n`kerneld/none.py` `hw/{ram,no}.py`\n"
    )
    assert broken_links(page) == ["#b", "none.md"]
    assert missing_files(page) == ["kerneld/none.py", "hw/no.py"]


def test_every_page_of_docs_can_be_reached_from_its_index() -> None:
    seen: set[Path] = set()
    todo = [TREE / "docs" / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        links = LINK.findall(page.read_text(encoding="utf-8"))
        todo += [
            (page.parent / link.partition("#")[0]).resolve() for link in links if not link.startswith(("#", "http"))
        ]
    assert sorted(set((TREE / "docs").rglob("*.md")) - seen) == []
