"""The descriptions that come with the tree are right, and are what the documentation says they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.description import PACKED_LIMIT, SYSTEMS, find, load
from deploy.modules import TREE
from libsel4py.description import Backend, GiveUp, Group, unpack

SHIPPED = sorted(SYSTEMS.glob("*.toml"))
PROGRAMS = {"confined": "owner"}  # systems that run by themselves to their end, and the task whose end that is


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_description_is_right(path: Path) -> None:
    description = load(path)
    assert find(path.stem) == path
    assert unpack(description.pack()) == description.system
    assert len(description.pack()) < PACKED_LIMIT // 8


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_person_can_talk_to_it_and_end_it(path: Path) -> None:
    system = load(path).system
    essential = [task.name for task in system.tasks if task.essential]
    if path.stem in PROGRAMS:
        assert essential == [PROGRAMS[path.stem]]
        return
    assert [device.name for device in system.devices if device.backend is Backend.STDIO]
    assert essential == ["shell"]


def test_the_guide_names_every_key_of_a_task() -> None:
    guide = (TREE / "docs" / "guide" / "descriptions.md").read_text()
    section = guide[guide.index("## [task.NAME]") : guide.index("### uses and names")]
    told = {key for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    source = (TREE / "deploy" / "sections.py").read_text()
    body = source[source.index("def read_task(") : source.index("def _connections(")]
    body += source[source.index("def _grants(") :]
    read = set(re.findall(r"table\.\w+\(\"(\w+)\"", body))
    assert told == read


def test_the_guide_names_every_key_of_a_group() -> None:
    guide = (TREE / "docs" / "guide" / "descriptions.md").read_text()
    section = guide[guide.index("## [group.NAME]") : guide.index("## Memory")]
    told = {key for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    source = (TREE / "deploy" / "groups.py").read_text()
    body = source[source.index("def read_group(") : source.index("def check_supervision(")]
    assert told == set(re.findall(r"table\.(?!report)\w+\(\"(\w+)\"", body))


def test_tasks_of_a_group_stand_in_start_order_with_what_was_written_and_defaults() -> None:
    system = load(SYSTEMS / "workstation.toml").system
    storage = system.group("littlefs")
    assert storage.tasks == ("block", "littlefs", "ramfs", "vfs")
    assert (storage.intensity, storage.backoff_us, storage.give_up) == (100, 0, GiveUp.RESTART_GROUP)
    assert system.group("pong") == Group("pong", ("pong",))
    assert system.reincarnation is system.task("reincarnation")
    assert (system.task("block").heartbeat_us, system.task("block").stop_timeout_us) == (3_000_000, 2_000_000)
