"""How results are printed for people, where standard output is no terminal."""

from __future__ import annotations

import re

import pytest

from deploy.cli.columns import wrapped
from deploy.cli.rendering import cell, printable, show


def shown(capsys: pytest.CaptureFixture[str], result: object) -> list[str]:
    show(result)
    return capsys.readouterr().out.splitlines()


def test_rows_become_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, [{"a": 1, "b": None}, {"a": "long", "c": True}]) == [
        "a     b  c",
        "1     -  -",
        "long  -  yes",
    ]


def test_children_become_a_tree(capsys: pytest.CaptureFixture[str]) -> None:
    tree = [{"at": "0x0", "bits": 28, "children": [{"at": "0x0", "bits": 5, "children": []}]}, {"at": "0x9", "bits": 3}]
    assert shown(capsys, tree) == ["at     bits", "0x0    28", "  0x0  5", "0x9    3"]


def test_rows_that_hold_tables_become_headings(capsys: pytest.CaptureFixture[str]) -> None:
    full = {"cnode": "0x6", "slots": 2, "holds": [{"slot": 1, "cap": "TCB"}]}
    rows = [full, {"cnode": "0x7", "slots": 1, "holds": []}]
    assert shown(capsys, rows) == ["cnode=0x6 slots=2", "  slot  cap", "  1     TCB", "cnode=0x7 slots=1 holds=-"]


def test_mappings_and_lists_become_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, {"ram": 5, "by": {"x": 1}, "none": []}) == ["ram: 5", "by:", "  x: 1", "none: -"]
    assert shown(capsys, ["one", "two"]) == ["one", "two"]
    assert shown(capsys, None) == []


def test_control_characters_are_written_out() -> None:
    assert printable("a\nb\tc\x1b\x00é\u202e") == "a\nb\tc\\x1b\\x00é\\u202e"
    assert cell({"k": "\x07"}) == "k=\\x07"


def test_a_narrow_terminal_leaves_nothing_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm")  # the width of a dumb one is not asked for
    rows = [{"state": "BLOCKED_ON_RECEIVE", "image": "servers.console.main"}]
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown(capsys, rows)]
    assert any("─" in line for line in lines), "framed, as on a terminal"
    assert max(map(len, lines)) <= 30
    assert [line.split() for line in lines[-2:]] == [["BLOCKED_ON_", "servers."], ["RECEIVE", "console.main"]]


def test_words_and_numbers_stay_whole_and_empty_columns_are_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    rows = [
        {"name": name, "pid": 15498, "budget": "", "blocked_on": "receives on endpoint 0x54ea0", "cause": None}
        for name in ("console", "shell")
    ]
    lines = shown(capsys, rows)
    assert "budget" not in lines[0]
    assert "cause" not in lines[0]
    assert max(map(len, lines[1:])) <= 40
    assert lines[2].split() == ["console", "15498", "receives", "on", "endpoint"]
    assert lines[3].split() == ["0x54ea0"]


def test_one_row_that_does_not_fit_is_a_line_for_each_of_its_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    assert shown(capsys, [{"frames": 1000000, "restarts": 0, "turns": 7}]) == [
        "frames: 1000000",
        "restarts: 0",
        "turns: 7",
    ]


def test_a_tree_keeps_its_indentation_where_lines_are_broken() -> None:
    assert wrapped("    UNTYPED", 4) == "    UNTYPED"
    assert wrapped("root:39, root (TCB buffer)", 12) == "root:39,\nroot (TCB\nbuffer)"
    assert wrapped("1.25", 2) == "1.25"
    assert wrapped("x" * 100, 8).replace("\n", "") == "x" * 100
