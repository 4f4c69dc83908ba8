"""Tasks that attack by the memory that they have mapped, or have not: the others and the kernel go on."""

from __future__ import annotations

import pytest

from tests.system.conftest import Boot

HOSTILE, VICTIM = "tests.system.images.hostile_mapped", "tests.system.images.mapping_victim"
SCENES = ("retries", "wild", "never", "deaf", "lying", "own_trap_frame", "storm", "deleted", "plain", "plain_guarded")


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.timeout(60)
def test_memory(boot: Boot, scene: str) -> None:
    system = boot(scene, HOSTILE, image=VICTIM)
    assert system.wait() == 0, system.logs()


def test_a_hoarder_is_refused_or_ended_and_the_others_go_on(boot: Boot) -> None:
    system = boot("hoard", HOSTILE, image=VICTIM, descriptors=512)
    assert system.wait() == 0, system.logs()


def test_a_large_frame_keeps_nobody_else_waiting(boot: Boot) -> None:
    system = boot("large", HOSTILE, image=VICTIM, ram_bytes=2 << 30)
    assert system.wait() == 0, system.logs()
