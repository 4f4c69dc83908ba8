"""The sections of a description, each read on its own: what is wrong with one key, seen alone, is found here.

What concerns several keys or tasks at once stands in ``crosscheck.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from deploy.displays import read_display
from deploy.host_devices import HostPart, read_disk
from deploy.host_network import read_network
from deploy.problems import dotted, suggest
from deploy.quantities import format_size
from deploy.reader import Table, kind
from deploy.scanner import Path
from hw.machine import REGISTERS_BITS
from kerneld.layout import CORES_HIGH
from libsel4py import abi
from libsel4py.abi import Rights
from libsel4py.description import (
    PORT_COUNTS,
    Assigned,
    Backend,
    Device,
    DeviceType,
    Grant,
    Provide,
    Restart,
)
from libsel4py.environment import SIGNAL_BADGE, ChannelUse

KIB: Final = 1 << 10
_IMAGE: Final = "'package.module'"
_INTERFACE: Final = "'package.module:Class'"
MIB: Final = 1 << 20
RAM_DEFAULT: Final = 256 * MIB
RAM_LOW, RAM_HIGH = 128 * MIB, 1 << abi.UNTYPED_MAX_BITS
MEMORY_DEFAULT: Final = 32 * MIB
MEMORY_LOW: Final = 4 * MIB  # what a Python process needs to load anything at all
POOL_DEFAULT: Final = 1 * MIB
PRIORITY_DEFAULT: Final = 100
PRIORITY_HIGH: Final = abi.PRIORITIES - 2  # root alone runs at the highest
IO_SPACE_LOW, IO_SPACE_HIGH = 1 << abi.IO_SPACE_MIN_BITS, 1 << 30
SLICE_DEFAULT_US: Final = 10_000
STATE_LOW, STATE_HIGH = 1 << abi.FRAME_MIN_BITS, 1 << abi.FRAME_MAX_BITS  # one frame
STATE_SLOTS_HIGH: Final = 1024
THREADS_HIGH: Final = 63
HEARTBEAT_LOW_US: Final = 10_000  # oftener, and a busy machine looks like a hung server
HEARTBEAT_HIGH_US: Final = 3_600_000_000
SLOT_BITS_DEFAULT, SLOT_BITS_LOW, SLOT_BITS_HIGH = 10, 7, 16
BADGE_HIGH: Final = SIGNAL_BADGE - 1
RIGHT_LETTERS: Final = {"r": Rights.READ, "w": Rights.WRITE, "g": Rights.GRANT, "p": Rights.GRANT_REPLY}
REPLY_RIGHTS: Final = {"w": Rights.WRITE, "wg": Rights.WRITE | Rights.GRANT}
SPARE_REPLIES_HIGH: Final = 64
CLIENT_RIGHTS: Final = Rights.WRITE | Rights.GRANT_REPLY


@dataclass(frozen=True, slots=True)
class UseDraft:
    """A connection as it was written: its target may not exist, its badge and interface may be open."""

    name: str
    task: str
    provided: str
    interface: str | None
    badge: int | None
    rights: int
    late: bool
    channel: ChannelUse
    complains: bool
    path: Path


@dataclass(frozen=True, slots=True)
class TaskDraft:
    """A task as it was written."""

    name: str
    path: Path
    image: str
    priority: int
    max_priority: int
    memory: int
    pool: int
    budget_us: int
    period_us: int
    slot_bits: int
    threads: int
    restart: Restart
    essential: bool
    provides: tuple[Provide, ...]
    uses: tuple[UseDraft, ...]
    names: tuple[UseDraft, ...]
    devices: tuple[Assigned, ...]
    grants: tuple[Grant, ...]
    config: dict[str, object]
    pager: str = ""
    paged: int = 0
    state: int = 0
    state_slots: int = 0
    depends: tuple[str, ...] = ()
    heartbeat_us: int = 0
    first_heartbeat_us: int = 0
    stop_timeout_us: int | None = None
    standby: bool = False
    core: int = 0
    host_calls: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    reply_rights: int = int(REPLY_RIGHTS["wg"])
    spare_replies: int = 0
    complains_of: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


def leads_to_supervisor(use: UseDraft, by_name: Mapping[str, TaskDraft], interface: str) -> bool:
    """Whether a connection is to this interface of a task that supervises the others."""
    target = by_name.get(use.task)
    provides = target.provides if target is not None and Grant.LIFECYCLE in target.grants else ()
    return any(each.name == use.provided and each.interface == interface for each in provides)


def read_devices(machine: Table) -> tuple[tuple[Device, ...], dict[str, HostPart]]:
    """The machine's devices, and what those of the host stand on, by name."""
    host_parts: dict[str, HostPart] = {}
    devices = [_device(name, table, host_parts) for name, table in machine.named_tables("devices").items()]
    return tuple(devices), host_parts


def _device(name: str, table: Table, host_parts: dict[str, HostPart]) -> Device:
    device_type, is_known = _device_type(table)
    count = PORT_COUNTS[device_type]
    table.require("port", "the first I/O port, such as 0x3F8")
    first = table.integer("port", 0, 0, abi.IO_PORTS - count)
    table.require("irq", "the interrupt line, such as 4")
    irq = table.integer("irq", 0, 0, abi.IRQS - 1)
    backend = None
    if device_type is DeviceType.UART:
        fallback = "stdio" if is_known else "pty"  # what is no UART takes standard input from none
        backend = Backend(table.string("backend", fallback, tuple(each.value for each in Backend)))
    if device_type is DeviceType.VIRTIO_BLOCK:
        host_parts[name] = read_disk(table)
    if device_type is DeviceType.VIRTIO_NET:
        host_parts[name] = read_network(table)
    maps_registers = device_type is not DeviceType.FRAMEBUFFER and table.boolean("maps_registers")
    display, memory = None, 1 << REGISTERS_BITS if maps_registers else 0
    if device_type is DeviceType.FRAMEBUFFER:
        display, memory = read_display(table)
    if is_known:
        table.finish()
    return Device(name, device_type, first, first + count - 1, irq, backend, display, memory, maps_registers)


def _device_type(table: Table) -> tuple[DeviceType, bool]:
    """What a device is, and whether that is known: a misspelt type is reported, and taken for the one that it is like.

    So what stands beside it is no further mistake.
    """
    table.require("type", "'uart'")
    choices = tuple(each.value for each in DeviceType)
    found = table.string("type", "", choices)
    if not found:
        near = get_close_matches(str(table.values.get("type", "")), choices, 1)
        return (DeviceType(near[0]), True) if near else (DeviceType.UART, False)
    return DeviceType(found), True


def read_task(name: str, table: Table) -> TaskDraft:
    table.require("image", _IMAGE)
    priority = table.integer("priority", PRIORITY_DEFAULT, 0, PRIORITY_HIGH)
    budget, period = _times(table)
    draft = TaskDraft(
        name=name,
        path=table.path,
        image=table.string("image", example=_IMAGE),
        priority=priority,
        max_priority=table.integer("max_priority", priority, 0, PRIORITY_HIGH),
        memory=table.size("memory", MEMORY_DEFAULT, MEMORY_LOW, RAM_HIGH),
        pool=table.size("pool", POOL_DEFAULT, 0, RAM_HIGH),
        budget_us=budget,
        period_us=period,
        slot_bits=table.integer("slot_bits", SLOT_BITS_DEFAULT, SLOT_BITS_LOW, SLOT_BITS_HIGH),
        threads=table.integer("threads", 0, 0, THREADS_HIGH),
        restart=Restart(table.string("restart", "never", tuple(each.value for each in Restart))),
        essential=table.boolean("essential"),
        provides=_provides(table.table("provides")),
        uses=_connections(table.table("uses")),
        names=_connections(table.table("names")),
        devices=_assigned(table.table("devices")),
        grants=_grants(table),
        config=_config(table),
        pager=table.string("pager", ""),
        paged=table.size("paged", 0, 0, RAM_HIGH, power_of_two=False),
        state=table.size("state", 0, STATE_LOW, STATE_HIGH),
        state_slots=table.integer("state_slots", 0, 0, STATE_SLOTS_HIGH),
        depends=table.strings("depends"),
        heartbeat_us=table.duration("heartbeat", 0, HEARTBEAT_LOW_US, HEARTBEAT_HIGH_US),
        first_heartbeat_us=table.duration("first_heartbeat", 0, HEARTBEAT_LOW_US, HEARTBEAT_HIGH_US),
        stop_timeout_us=table.duration("stop_timeout", 0, 0, HEARTBEAT_HIGH_US) if table.has("stop_timeout") else None,
        standby=table.boolean("standby"),
        core=table.integer("core", 0, 0, CORES_HIGH - 1),
        host_calls=table.strings("host_calls"),
        images=table.strings("images"),
        reply_rights=int(REPLY_RIGHTS[table.string("reply_rights", "wg", tuple(REPLY_RIGHTS))]),
        spare_replies=table.integer("spare_replies", 0, 0, SPARE_REPLIES_HIGH),
        complains_of=table.strings("complains_of"),
        versions=table.strings("versions"),
    )
    table.finish()
    return draft


def _times(table: Table) -> tuple[int, int]:
    limits = (abi.MIN_BUDGET_US, abi.MAX_PERIOD_US)
    budget = table.duration("budget", SLICE_DEFAULT_US, *limits)
    period = table.duration("period", budget, *limits)
    if table.has("period") and not table.has("budget"):
        table.report("period", "stands without a budget", "say how much of each period the task may run: add budget")
    elif budget > period:
        table.report("budget", "is longer than the period", "a budget is at most its period")
    return budget, period


def _provides(table: Table) -> tuple[Provide, ...]:
    return tuple(Provide(name, table.string(name, example=_INTERFACE)) for name in table.names())


def _assigned(table: Table) -> tuple[Assigned, ...]:
    found = (_assignment(name, table) for name in table.names())
    return tuple(each for each in found if each is not None)


def _assignment(name: str, table: Table) -> Assigned | None:
    value = table.values[name]
    if isinstance(value, str):
        return Assigned(name, table.string(name))
    if not isinstance(value, dict):
        table.report(name, f"is {kind(value)}", "write the machine's name of it, or a table with device and io_space")
        return None
    inner = table.table(name)
    inner.require("device", "the machine's name of it, such as 'entropy0'")
    inner.require("io_space", f"the size of its IOSpace, such as '{format_size(IO_SPACE_LOW)}'")
    device = inner.string("device")
    io_space = inner.size("io_space", IO_SPACE_LOW, IO_SPACE_LOW, IO_SPACE_HIGH)
    inner.finish()
    return Assigned(name, device, io_space)


def _connections(table: Table) -> tuple[UseDraft, ...]:
    drafts = (_connection(name, table) for name in table.names())
    return tuple(draft for draft in drafts if draft is not None)


def _connection(name: str, table: Table) -> UseDraft | None:
    value = table.values[name]
    interface, badge, rights, late, channel, complains = None, None, CLIENT_RIGHTS, False, ChannelUse.AUTO, False
    if isinstance(value, dict):
        inner = table.table(name)
        inner.require("from", "'task.provided'")
        target = inner.string("from")
        interface = inner.string("interface") or None
        badge = inner.integer("badge", 0, 1, BADGE_HIGH) or None
        rights = _rights(inner)
        late = inner.boolean("late")
        channel = ChannelUse(inner.string("channel", channel.value, tuple(each.value for each in ChannelUse)))
        complains = inner.boolean("complains")
        inner.finish()
    elif isinstance(value, str):
        target = value
    else:
        table.report(
            name,
            f"is {kind(value)}",
            "write 'task.provided', or a table with from and what else uses may have",
        )
        return None
    task, dot, provided = target.partition(".")
    if not dot:
        if target:
            table.report(name, f"is {target!r}", "write the task and what it provides: 'task.provided'")
        return None
    path = (*table.path, name)
    return UseDraft(name, task, provided, interface, badge, int(rights), late, channel, complains, path)


def _rights(table: Table) -> Rights:
    letters = table.string("rights", "wp")
    rights = Rights.NONE
    for letter in letters:
        rights |= RIGHT_LETTERS.get(letter, Rights.NONE)
    if not letters or len(set(letters)) < len(letters) or not set(letters) <= set(RIGHT_LETTERS):
        table.report(
            "rights", f"is {letters!r}", "use each of r (read), w (write), g (grant), p (grant reply) once at most"
        )
        return CLIENT_RIGHTS
    return rights


def _grants(table: Table) -> tuple[Grant, ...]:
    known = {grant.value: grant for grant in Grant}
    found: list[Grant] = []
    for index, word in enumerate(table.strings("grants")):
        path = (*table.path, "grants", index)
        if word not in known:
            table.problems.add(path, f"{dotted(path)} is {word!r}, which root cannot grant", suggest(word, known))
        elif known[word] in found:
            table.problems.add(path, f"{dotted(path)} repeats {word!r}", "name each grant once")
        else:
            found.append(known[word])
    return tuple(found)


def _config(table: Table) -> dict[str, object]:
    config = table.table("config")
    for key, value in config.values.items():
        path = (*config.path, key)
        if isinstance(value, dict | list):
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            for place, each in inner:
                _check_scalar(config, (*path, place), each)
        else:
            _check_scalar(config, path, value)
    return dict(config.values)


def _check_scalar(config: Table, path: Path, value: object) -> None:
    """A configuration is ``libsel4py.environment.Value``: msgpack scalars, alone or in one array or table."""
    match value:
        case bool() | str():
            return
        case int() if -(1 << 63) <= value <= abi.WORD_MASK:
            return
        # NaN equals nothing, not even itself after a restart.
        case float() if not math.isnan(value):
            return
        case _:
            config.problems.add(
                path,
                f"{dotted(path)} is {kind(value)} that cannot be handed to a component",
                "use strings, booleans and 64-bit numbers, alone or in one array or table",
            )
