"""Frames in real processes: what a task can do with what is mapped, and what is left when it is taken away."""

from __future__ import annotations

import pytest

from tests.system.conftest import Boot
from tests.system.images import mapper

TOUCHER = "tests.system.images.toucher"
MAPPER = "tests.system.images.mapper"
SLOW = ("thousand",)
SCENES = [
    pytest.param(scene.__name__, marks=pytest.mark.slow if scene.__name__ in SLOW else (), id=scene.__name__)
    for scene in mapper.SCENES
]
RAM_BYTES = {"many": 1 << 28, "thousand": 1 << 36, "hundred": 1 << 33}


@pytest.mark.parametrize("scene", SCENES)
def test_scene(boot: Boot, scene: str) -> None:
    system = boot(scene, TOUCHER, image=MAPPER, ram_bytes=RAM_BYTES.get(scene, 1 << 30))
    assert system.wait() == 0, system.log("root") + system.log("kerneld")
