"""What was open before a test is not its tasks' (cpu_peer.py)."""

from __future__ import annotations

import pytest

from tests.unit import cpu_peer


@pytest.fixture(autouse=True)
def _open_before() -> None:
    cpu_peer.begin_test()
