"""The manual's examples do what they say, on the pure kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import libsel4py
from libsel4py import Untyped, abi
from libsel4py.abi import ObjectType
from libsel4py.environment import Environment
from libsel4py.lowlevel.identify import identify
from libsel4py.lowlevel.syscalls import Message
from libsel4py.task import Task, as_task
from tests.harness import Machine
from tests.unit.sdk.kernel_cpu import bench

MANUAL = Path(__file__).parents[3] / "docs" / "manual"
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
POOL_BITS = 18
SLOTS = 300
OBJECTS = [
    "untyped",
    "cnode",
    "tcb",
    "endpoint",
    "notification",
    "reply",
    "sched_context",
    "frame",
    "vspace",
    "irq",
    "io_port",
    "io_space",
    "domain",
    "channel",
    "death_notice",
]


def _names(machine: Machine) -> dict[str, object]:
    """What `docs/manual/README.md` says that an example finds."""
    task = Task(Environment("root", first_free_slot=machine.new_slots(SLOTS), free_slots=SLOTS))
    task.memory.add(Untyped(machine.retype(ObjectType.UNTYPED, POOL_BITS)), POOL_BITS)
    public = {name: getattr(libsel4py, name) for name in libsel4py.__all__}
    numbers = {name: getattr(abi, name) for name in ("ObjectType", "Rights", "InitialSlot", "DeathNoticeState")}
    return {**public, **numbers, "Message": Message, "identify": identify, "task": task}


@pytest.mark.parametrize("page", OBJECTS)
def test_the_examples_of_a_page_run(page: str) -> None:
    examples = EXAMPLE.findall((MANUAL / f"{page}.md").read_text(encoding="utf-8"))
    assert examples, f"{page}.md has no example"
    for example in examples:
        machine = Machine()
        with bench(machine):
            names = _names(machine)
            task = names["task"]
            assert isinstance(task, Task)
            with as_task(task):
                exec(compile(example, f"{page}.md", "exec"), names)


@pytest.mark.parametrize("page", OBJECTS)
def test_a_page_has_the_common_form(page: str) -> None:
    text = (MANUAL / f"{page}.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    own = {"io_space": ["What a device sees"], "frame": ["Registers"]}.get(page, [])
    assert heads == [*own, "Checks", "Its end", "Differences from seL4", "Example"]
    assert text.count("\n| size |") == text.count("\n| capability |") == text.count("\n| methods |") == 1
