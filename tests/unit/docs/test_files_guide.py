"""The guide to files: its program runs, and its tables say what the code does."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

from libsel4py.files import Files
from libsel4py.filesystem.locks import MOST_WAITING
from libsel4py.filesystem.session_table import SESSIONS_OF_A_GRANT
from libsel4py.filesystem.watches import MOST_CHANGES, MOST_WATCHES
from libsel4py.interfaces.file import HANDLE_BYTES, MOST_HANDLES
from libsel4py.interfaces.mapped_files import MOST_MAPPINGS
from libsel4py.pagers.file_store import PATIENCE
from libsel4py.pagers.service import FILE_BYTES
from libsel4py.testing import connect, run, system
from servers.ramfs.main import Main
from tests.unit.sdk.eager_pager import EagerPager

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


def test_the_program_that_maps_a_file_runs() -> None:
    names: dict[str, Any] = {"__name__": "tests.unit.docs.test_files_guide"}
    (example,) = [each for each in blocks("python") if "files.map(" in each]
    exec(compile(example, str(GUIDE), "exec"), names)
    with (
        system(),
        connect(Main, configuration={"bytes": 1 << 20, "pager": "test"}) as disk,
        connect(EagerPager, uses={"disk": disk}) as maps,
    ):
        for count in (1, 2):
            assert run(names["Main"], uses={"disk": disk, "maps": maps}) == 0
            with Files(disk) as files:
                assert files.path("table").read_bytes()[8 * 7000 :][:8] == count.to_bytes(8, "little")


def test_the_descriptions_are_toml() -> None:
    first, mapping = (tomllib.loads(each)["task"] for each in blocks("toml")[:2])
    assert first["editor"]["uses"]["disk"]["rights"] == mapping["counter"]["uses"]["maps"]["rights"] == "wgp"
    assert mapping["disk"]["config"]["pager"] in mapping


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
        (MOST_MAPPINGS, "At most {} mappings a task"),
        (int(PATIENCE), "takes more than {} s"),
        (FILE_BYTES >> 10, "`files` bytes of them ({} KiB)"),
    ):
        wanted = what.format(number) if "{}" in what else f"{number} {what}"
        assert wanted in TEXT, wanted
