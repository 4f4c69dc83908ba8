"""What root writes into a task's events, for a person who wonders why it is gone."""

from __future__ import annotations

import pytest

from servers.root.supervisor import where_to_read


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, ""),
        (1, ": `sel4py logs kv` has what it wrote"),
        (125, ": `sel4py logs kv` has what it wrote"),
        (126, ": it could not be started, and `sel4py logs zygote` says why"),
        (137, ""),
    ],
)
def test_says_where_the_reason_stands(status: int, expected: str) -> None:
    assert where_to_read("kv", status) == expected
