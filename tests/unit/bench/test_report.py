"""How the findings are shown and written."""

import io
import json

import pytest
from rich.console import Console

from bench.report import Report, duration, join, print_report, summary, write_json
from bench.rounds import Goal, Series

HOLDS = Goal("first", 1.0, 1.0, 2.0, at_most=True)
MISSED = Goal("second", 3.0, 3.0, 2.0, at_most=True)
STATED = Goal("third", 9.0, 9.0, float("inf"), at_most=True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.0, "2.00 s"),
        (1.5e-3, "1.50 ms"),
        (4.2e-6, "4.20 us"),
        (0.9e-6, "900 ns"),
        (50.04e-9, "50.0 ns"),
        (0.4e-9, "0.4 ns"),
    ],
)
def test_a_duration_has_a_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def test_the_summary_counts_bounded_goals_alone():
    assert summary([HOLDS, MISSED, STATED]) == "1 of 2 goals hold; missed: second"
    assert summary([HOLDS, STATED]) == "1 of 1 goals hold"


def test_what_was_not_measured_is_said():
    written = io.StringIO()
    report = Report([Series("call", (1e-6,))], [MISSED], notes=["gRPC: pip install -e '.[bench]'"], facts=["a fact"])
    print_report(report, Console(file=written, width=100))
    text = written.getvalue()
    assert "not measured: gRPC: pip install -e '.[bench]'" in text
    assert "a fact" in text
    assert "0 of 1 goals hold; missed: second" in text


def test_the_parts_of_a_run_are_written_as_one(tmp_path):
    first = Report([Series("a", (1.0, 2.0))], [HOLDS], notes=["n"])
    second = Report([Series("b", (3.0,))], [STATED], facts=["f"], curves={"b": {0: 1e-6, 960: 2e-6}})
    write_json(join([first, second]), tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text())
    assert [each["name"] for each in content["series"]] == ["a", "b"]
    assert [each["holds"] for each in content["goals"]] == [True, True]
    assert content["curves"] == {"b": {"0": 1e-6, "960": 2e-6}}
    assert (content["notes"], content["facts"]) == (["n"], ["f"])
