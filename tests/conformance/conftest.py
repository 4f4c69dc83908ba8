"""A booted machine for each conformance test, whose invariants are checked after every transaction of the test.

Making a thread takes a dozen invocations. They are the subject of `test_tcb.py` and of the error tests; as part of a
scene they are checked as a whole.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Machine, Thread


class StagedMachine(Machine):
    """A machine that checks the invariants once when a thread has been made."""

    def thread(self, name: str, **options: Any) -> Thread:
        was_checked, self.check = self.check, False
        made = super().thread(name, **options)
        self.check = was_checked
        if was_checked:
            self.assert_invariants()
        return made


@pytest.fixture
def machine() -> Machine:
    return StagedMachine()
