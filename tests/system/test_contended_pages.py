"""Threads of one process fault at once, on the same and on neighbouring pages, while somebody takes the frames away.

Also while the kernel is killed again and again. What they read is what it should be.
"""

from __future__ import annotations

import pytest

from tests.system.conftest import Boot
from tests.system.images import contended
from tests.system.test_kernel_restart import weather

CHILD = "tests.system.images.contending"
RAM_BYTES = 1 << 30
KILLS = 40


@pytest.mark.parametrize("scene", contended.SCENES)
def test_nothing_of_before_is_seen_and_nothing_is_lost(boot: Boot, scene: str) -> None:
    system = boot(scene, CHILD, image=contended.__name__, ram_bytes=RAM_BYTES)
    assert system.wait() == 0, system.logs()


@pytest.mark.parametrize("scene", contended.SCENES)
def test_nor_where_the_kernel_is_killed_meanwhile(boot: Boot, scene: str) -> None:
    assert weather(boot, ("contended", scene, "contending"), 7, KILLS) > 0
