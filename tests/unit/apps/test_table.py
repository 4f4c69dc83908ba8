"""Tables, sizes and durations for people."""

from __future__ import annotations

import pytest

from apps.shell.table import seconds, size, table


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_to_the_right() -> None:
    assert table(("name", "count"), [("a", 5), ("longer", 1000)]) == "name    count\na           5\nlonger   1000\n"


def test_a_table_without_rows_is_its_headings() -> None:
    assert table(("name", "count"), []) == "name  count\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (100, "100"), (1024, "1K"), (1025, "1025"), (33 << 20, "33M"), (3 << 30, "3G"), (1 << 40, "1024G")],
)
def test_sizes_stay_exact(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0.0 us"), (1500, "1.5 us"), (999_949, "999.9 us"), (1_000_000, "1.0 ms"), (2_500_000_000, "2.50 s")],
)
def test_durations_have_a_unit_that_suits_them(nanoseconds: int, text: str) -> None:
    assert seconds(nanoseconds) == text
