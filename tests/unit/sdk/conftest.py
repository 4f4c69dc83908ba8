"""A fake kernel for each SDK test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libsel4py.testing import TestSystem, system


@pytest.fixture
def fake() -> Iterator[TestSystem]:
    with system() as made:
        yield made
