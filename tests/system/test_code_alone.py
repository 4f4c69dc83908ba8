"""A task can read the code that it runs, and no other file of the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from hw.cpu import sandbox_layers
from tests.system.conftest import Boot
from tests.system.images.reading import NO_CODE, can_read

pytestmark = pytest.mark.skipif(not sandbox_layers().landlock, reason="this host has no Landlock")


def test_a_task_reads_code_alone(boot: Boot) -> None:
    assert all(can_read(Path(place)) for place in NO_CODE)
    system = boot(image="tests.system.images.reading", readable=())
    assert system.wait() == 0, system.logs()
