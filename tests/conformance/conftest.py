"""A booted machine for each conformance test, whose invariants are checked after every transaction."""

from __future__ import annotations

import pytest

from tests.harness import Machine


@pytest.fixture
def machine() -> Machine:
    return Machine()
