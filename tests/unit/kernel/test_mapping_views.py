"""What people are told of mappings: by EXPLAIN where one is refused, and by `sel4py inspect`."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest

from deploy.cli import inspect as inspect_command
from kerneld import explain, inspection
from libsel4py.abi import MAPPING_END, InitialSlot, Rights
from tests.harness import Machine
from tests.mapping_scene import BASE, PAGE, ROOT_SPACE, MappingScene

FAR = BASE + (1 << 30)


@pytest.fixture
def scene(machine: Machine) -> MappingScene:
    return MappingScene(machine)


def why(scene: MappingScene) -> str:
    return explain.last_refusal(scene.machine.kernel.core, scene.machine.root.tcb)


def test_a_refused_map_says_what_would_have_worked(scene: MappingScene) -> None:
    frame = scene.mapped(BASE + PAGE)
    for number, (address, target, said) in enumerate(
        (
            (FAR, scene.space, r"mapped at 0x100000001000; unmap it, or map a copy of it\. It is argument 0"),
            (BASE + PAGE, ROOT_SPACE, r"mapped in another space; .*It is capability argument 1"),
            (BASE + PAGE, InitialSlot.CNODE, "into a VSpace, and this capability is none"),
        )
    ):
        scene.map(frame, address, space=target)
        assert re.search(f"Frame.map .*{said}", why(scene)), (number, why(scene))
    assert "mapped at 0x100000001000, Read+Write" in why(scene)
    other = scene.frame(13)
    for address, said in (
        (MAPPING_END, "frames are mapped at 0x100000000000..0x500000000000, not at 0x500000000000"),
        (BASE + PAGE, "a frame of 8192 bytes is mapped at a multiple of that, not at 0x100000001000"),
        (BASE, "a frame is mapped at 0x100000001000..0x100000002000 already; unmap that first"),
    ):
        scene.map(other, address)
        assert said in why(scene)


def test_a_full_table_says_how_to_have_more(machine: Machine) -> None:
    machine.check = False
    scene = MappingScene(machine)
    for number in range(scene.record().mapping_capacity + 1):
        scene.map(scene.frame(), BASE + number * PAGE)
    assert "the VSpace has room for 124 mappings; one that is made larger has more" in why(scene)


def test_the_view_of_address_spaces(scene: MappingScene) -> None:
    machine = scene.machine
    frame = scene.mapped(FAR, 13, Rights.READ)
    rows = [cast("dict[str, Any]", row) for row in inspection.vspaces(machine.ram)]
    views = {row["vspace"]: row for row in rows}
    mine = views[f"0x{scene.record().address:x}"]
    assert (mine["table"], mine["private"], mine["room"], mine["threads"]) == (PAGE, 0, 124, [])
    assert mine["mappings"] == [
        {
            "address": f"0x{FAR:x}",
            "bytes": 2 * PAGE,
            "rights": "r",
            "frame": f"0x{scene.cap(frame).object:x}",
            "held_by": f"root:{frame}",
        }
    ]
    roots = views[f"0x{scene.record(ROOT_SPACE).address:x}"]
    assert roots["threads"] == ["root"]
    assert roots["table"] + roots["private"] == 1 << machine.vspace_bits
    assert [each["held_by"] for each in roots["mappings"]] == [f"root:{int(InitialSlot.BOOT_INFO_FRAME)}"]
    assert f"mapped at 0x{FAR:x} of VSpace" in str(inspection.cspaces(machine.ram))


def test_the_view_of_a_damaged_table_ends(scene: MappingScene) -> None:
    for number in range(3):
        scene.mapped(BASE + number * PAGE)
    root = scene.record().root
    assert root is not None
    with scene.machine.ram.transaction():
        root.lower = root
        root.higher = None
    assert inspection.vspaces(scene.machine.ram)


def test_the_command_offers_every_view() -> None:
    assert set(inspect_command._WHAT) == {*inspection.VIEWS, "devices", "kernel"}  # which are not in RAM
