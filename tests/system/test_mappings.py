"""Frames mapped into real processes by a real kernel: there when they are touched, and gone when they are lost."""

from __future__ import annotations

import os

import pytest

from tests.system.conftest import Boot, Booted

IMAGE, CHILD = "tests.system.images.mapping", "tests.system.images.mapped"


def run(boot: Boot, scene: str) -> Booted:
    system = boot(scene, CHILD, image=IMAGE)
    assert system.wait() == 0, system.logs()
    return system


@pytest.mark.parametrize("scene", ["keep", "often", "many", "share", "revoke"])
def test_frames(boot: Boot, scene: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    run(boot, scene)
    assert len(os.listdir("/proc/self/fd")) <= before
