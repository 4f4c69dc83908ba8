"""Frames in real processes: what a task can do with what is mapped, and what is left when it is taken away."""

from __future__ import annotations

import pytest

from bench.booted import SYSTEMS, BootedSystem
from tests.system.conftest import Boot
from tests.system.images import mapper

TOUCHER = "tests.system.images.toucher"
MAPPER = "tests.system.images.mapper"
RAM_BYTES = 1 << 30


@pytest.mark.parametrize("scene", [scene.__name__ for scene in mapper.SCENES])
def test_scene(boot: Boot, scene: str) -> None:
    system = boot(scene, TOUCHER, image=MAPPER, ram_bytes=RAM_BYTES)
    assert system.wait() == 0, system.log("root") + system.log("kerneld")


@pytest.mark.parametrize("tasks", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_frame_that_many_tasks_share_is_taken_from_all(tasks: int) -> None:
    """The driver reads it in each, revokes it, and has each access after that fault to its handler."""
    with BootedSystem(SYSTEMS / "paging.toml") as system:
        assert system.order(f"revoke {tasks}")["faults"] == tasks
