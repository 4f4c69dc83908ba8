"""Tasks that attack the kernel: nobody gains authority by it, and the system goes on."""

from __future__ import annotations

import pytest

from tests.system.conftest import Boot, Booted, wait_gone
from tests.system.kernel_storm import name_of
from tests.system.test_boot_host import wait_row

ATTACKER = "tests.system.images.attacker"
VICTIM = "tests.system.images.victim"
RAM_BYTES = 2 << 30


def attacked(boot: Boot, scene: str, descriptors: int = 0) -> Booted:
    return boot(scene, ATTACKER, image=VICTIM, ram_bytes=RAM_BYTES, descriptors=descriptors)


def test_a_destroyed_trap_frame_is_not_written_to(boot: Boot) -> None:
    system = attacked(boot, "destroyed_frame")
    assert system.wait() == 0, system.logs()


@pytest.mark.timeout(30)
def test_a_process_that_has_exited_ends_with_its_tcb(boot: Boot) -> None:
    system = attacked(boot, "exited")
    wait_row(system, "witness")
    assert wait_gone(*(pid for pid in system.pids() if name_of(pid) == "attacker"))
    assert system.ask("fsck") == []
    system.ask("down")
    assert system.wait() == 0, system.logs()


def test_the_kernel_outlives_its_descriptors(boot: Boot) -> None:
    system = attacked(boot, "descriptors", descriptors=192)
    assert system.wait() == 0, system.logs()
