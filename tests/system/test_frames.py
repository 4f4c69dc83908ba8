"""Frames in real processes: there when they are touched; what a task can do with them; and what is left when they are
taken away."""

from __future__ import annotations

import os
import re

import pytest

from bench.booted import SYSTEMS, BootedSystem
from tests.system.conftest import Boot
from tests.system.images import mapper

TOUCHER = "tests.system.images.toucher"
MAPPER = "tests.system.images.mapper"
MATRIX = "tests.system.images.matrix"
MAPPING, MAPPED = "tests.system.images.mapping", "tests.system.images.mapped"
RAM_BYTES = 1 << 30


@pytest.mark.parametrize("scene", [scene.__name__ for scene in mapper.SCENES])
def test_scene(boot: Boot, scene: str) -> None:
    system = boot(scene, TOUCHER, image=MAPPER, ram_bytes=RAM_BYTES)
    assert system.wait() == 0, system.log("root") + system.log("kerneld")


def test_rights_by_accesses_by_what_happens_before(boot: Boot) -> None:
    """180 cells in one system: 4 rights, 5 kinds of access, 9 things that happen."""
    system = boot("", TOUCHER, image=MATRIX, ram_bytes=RAM_BYTES)
    assert system.wait() == 0, system.log("root") + system.log("kerneld")


def test_a_nested_fault_is_told_apart_from_a_bug(boot: Boot) -> None:
    system = boot("nested", TOUCHER, image=MAPPER, ram_bytes=RAM_BYTES)
    assert system.wait() == mapper.KEEPS_LOGS, system.logs()
    ends = [line for line in system.logs().splitlines() if "the process ends" in line]
    assert len(ends) == 2, ends
    nested, wild = sorted(ends, key=lambda line: "no such memory" in line)
    # memmove begins at either end of the page, as its source lies.
    meanwhile = f", while its fault at address 0x{mapper.BASE // mapper.PAGE:x}[0-9a-f]{{3}} was being resolved: "
    assert f" read from address {mapper.BASE + mapper.PAGE:#x}, " in nested
    assert re.search(f"{meanwhile}the memory is not there", nested), nested
    assert " read from address 0x8, " in wild
    assert re.search(f"{meanwhile}the process has no such memory there", wild), wild


@pytest.mark.parametrize("tasks", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_frame_that_many_tasks_share_is_taken_from_all(tasks: int) -> None:
    """The driver reads it in each, revokes it, and has each access after that fault to its handler."""
    with BootedSystem(SYSTEMS / "paging.toml") as system:
        assert system.order(f"revoke {tasks}")["faults"] == tasks


@pytest.mark.parametrize("scene", ["keep", "often", "many", "share", "revoke"])
def test_frames_come_and_go(boot: Boot, scene: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    system = boot(scene, MAPPED, image=MAPPING)
    assert system.wait() == 0, system.logs()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_frames_have_all_sizes_up_to_a_gibibyte(boot: Boot) -> None:
    system = boot("sizes", MAPPED, image=MAPPING, ram_bytes=4 << 30)
    assert system.wait() == 0, system.logs()


def test_who_has_used_up_its_share_of_the_hosts_descriptors_is_refused_and_nobody_else(boot: Boot) -> None:
    system = boot("greedy", MAPPED, image=MAPPING, descriptors=1024)
    assert system.wait() == 0, system.logs()
