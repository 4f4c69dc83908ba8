"""The guide to files: its program runs, and its tables say what the code does."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

from libsel4py.filesystem.locks import MOST_WAITING
from libsel4py.filesystem.session_table import SESSIONS_OF_A_GRANT
from libsel4py.filesystem.watches import MOST_CHANGES, MOST_WATCHES
from libsel4py.interfaces.file import HANDLE_BYTES, MOST_HANDLES
from libsel4py.testing import connect, run, system
from servers.ramfs.main import Main

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "files.md"
TEXT = GUIDE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_first_program_runs() -> None:
    names: dict[str, Any] = {"__name__": "tests.unit.docs.test_files_guide"}
    exec(compile(blocks("python")[0], str(GUIDE), "exec"), names)
    with system(), connect(Main) as disk:
        assert run(names["Main"], uses={"disk": disk}) == 0
        assert disk.stat("notes.txt").size == len("hello\n")


def test_the_description_is_toml() -> None:
    tasks = tomllib.loads(blocks("toml")[0])["task"]
    assert tasks["editor"]["uses"]["disk"]["rights"] == "wgp"


def test_all_examples_are_python() -> None:
    for example in blocks("python"):
        compile(textwrap.dedent(example), str(GUIDE), "exec")


def test_the_bounds_are_those_of_the_code() -> None:
    for number, what in (
        (SESSIONS_OF_A_GRANT, "of one capability"),
        (MOST_HANDLES, "and at most {}"),
        (HANDLE_BYTES, "its pool / {} bytes"),
        (MOST_WATCHES, "{} of them watches"),
        (MOST_CHANGES, "with {} changes each"),
        (MOST_WAITING, "{} for one file"),
    ):
        wanted = what.format(number) if "{}" in what else f"{number} {what}"
        assert wanted in TEXT, wanted
