"""A system description that was checked: what the root server builds a system from.

The supervisor (``deploy.description``) reads TOML, refuses what is wrong, fills in what was left out, and packs the
result as msgpack into BootInfo (chunk ``abi.BOOT_INFO_EXTRA_SYSTEM``). Rules of these values:

- they are complete: every default is filled in, every badge is chosen, and every reference names something that exists;
- ``System.tasks`` stands in start order: a task comes after the tasks that it uses, unless that use is ``late``;
- they hold names and numbers only, nothing of the host (no path, no descriptor).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from libsel4py.abi import Rights
from libsel4py.environment import ChannelUse

ROOT_IMAGE: Final = "servers.root.main"  # boot image 0: the initial task
NAMES_INTERFACE: Final = "libsel4py.interfaces.names:Names"


class Restart(Enum):
    """When a task that has ended is started again."""

    NEVER = "never"
    ALWAYS = "always"
    ON_FAILURE = "on-failure"  # only when the wait status is not that of exit(0)


class Strategy(Enum):
    """Which tasks of a group are started again when one of them has failed. The names are Erlang/OTP's."""

    ONE_FOR_ONE = "one_for_one"  # that one alone
    REST_FOR_ONE = "rest_for_one"  # that one, and those of the group that start after it
    ONE_FOR_ALL = "one_for_all"  # all of them


class GiveUp(Enum):
    """What follows when a group has failed more often than its intensity allows."""

    LEAVE = "leave"  # the one that failed last stays as it is, until somebody looks after it
    RESTART_GROUP = "restart_group"  # all of the group begin anew; where that does not help, as `LEAVE`
    END_SYSTEM = "end_system"


class DeviceType(Enum):
    UART = "uart"  # 16550A
    CLOCK = "clock"
    ENTROPY = "entropy"
    VIRTIO_BLOCK = "virtio-block"
    VIRTIO_NET = "virtio-net"
    FRAMEBUFFER = "framebuffer"


class Backend(Enum):
    """Where a UART's bytes go on the host."""

    STDIO = "stdio"
    PTY = "pty"


class Grant(Enum):
    """An authority of the initial task that a task is given a copy of."""

    SYSTEM_INFORMATION = "system-information"
    LIFECYCLE = "lifecycle"  # to start and end all others, whose faults and ends it hears of: of one task at most
    SCHED_CONTROL = "sched-control"
    DOMAIN = "domain"


PORT_COUNTS: Final[dict[DeviceType, int]] = {
    DeviceType.UART: 8,
    DeviceType.CLOCK: 8,
    DeviceType.ENTROPY: 32,
    DeviceType.VIRTIO_BLOCK: 0x200,
    DeviceType.VIRTIO_NET: 0x200,
    DeviceType.FRAMEBUFFER: 4,
}
# What cannot even start ends within some milliseconds, and starting it again for ever would take a processor from
# the others; a fault that comes now and then (ten times in ten seconds is still survived) is what restarts are for.
INTENSITY: Final = 10
PERIOD_US: Final = 10_000_000
BACKOFF_LIMIT_US: Final = 30_000_000  # MINIX's
STOP_TIMEOUT_US: Final = 2_000_000  # MINIX's
FIRST_HEARTBEAT_US: Final = 10_000_000  # MINIX's
RECOVERY_TIMEOUT_US: Final = 1_000_000
# Those that reach memory by an IOSpace.
DMA_DEVICES: Final = (DeviceType.ENTROPY, DeviceType.VIRTIO_BLOCK, DeviceType.VIRTIO_NET)


class Display(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a framebuffer shows: pixels of a line, lines, and how many pictures its memory holds."""

    width: int
    height: int
    pictures: int = 1


class Device(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A device of the machine: its I/O ports ``first_port..last_port`` and its interrupt line.

    ``memory`` is the bytes (a power of two) of the memory that it has; 0: it has none. With ``maps_registers`` that is
    a page of its registers, the same as at its ports.
    """

    name: str
    type: DeviceType
    first_port: int
    last_port: int
    irq: int
    backend: Backend | None = None
    display: Display | None = None
    memory: int = 0
    maps_registers: bool = False


class Provide(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An endpoint that a task receives on. ``interface`` is ``module:Class``."""

    name: str
    interface: str


class Use(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A capability to another task's endpoint: under ``name`` here, ``task.provided`` there.

    ``badge`` is in 1..2**63-1 and differs between all clients of one task, directory entries included: all that a task
    provides comes in at one endpoint. With ``complains`` an answer that does not decode is a complaint of that task.
    """

    name: str
    task: str
    provided: str
    interface: str
    badge: int
    rights: int = int(Rights.WRITE | Rights.GRANT_REPLY)
    late: bool = False
    channel: ChannelUse = ChannelUse.AUTO
    complains: bool = False


class Assigned(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A machine's device (``device``) that a task drives, under the task's own ``name`` for it.

    ``io_space`` is the bytes (a power of two) of the IOSpace by which it does DMA; 0: it does none.
    """

    name: str
    device: str
    io_space: int = 0


class Task(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One task. Sizes in bytes (powers of two; ``pool`` may be 0), times in microseconds.

    Its CNode has 2**``slot_bits`` slots.

    ``threads`` counts the TCBs beside the first one. ``names`` is what this task can look up at the names server.
    ``config`` is handed to the component as it stands. ``pager`` is the task that answers its page faults, which gives
    it ``paged`` bytes at `environment.PAGED_ADDRESS`; an empty name means that it has none. ``state`` bytes (a power of
    two, or 0) and the capabilities in ``state_slots`` slots of its CNode outlive its process.

    It is not started while one that it ``depends`` on is down. Every ``heartbeat_us`` it is asked whether it still
    serves (0: never); for its first answer it has ``first_heartbeat_us`` from its start. One that is to stop has
    ``stop_timeout_us`` to do so by itself. With ``standby`` a second process of it, with as much memory, waits to take
    over. ``core`` is the virtual core that its threads run on, where the system has any. ``host_calls`` names host
    system calls that the sandbox lets its boot image make although no task needs them. ``images`` are boot images that
    it may start in threads which it makes itself. ``reply_rights`` are those of its reply objects: without GRANT no
    capability goes along with its answers. It has ``spare_replies`` beside the first, for calls that it answers later.
    ``complains_of`` are the tasks of whose answers it may complain to the reincarnation server. ``versions`` are boot
    images that it can be updated to.
    """

    name: str
    image: str
    priority: int
    max_priority: int
    memory: int
    pool: int
    budget_us: int
    period_us: int
    slot_bits: int = 10
    threads: int = 0
    restart: Restart = Restart.NEVER
    essential: bool = False
    provides: tuple[Provide, ...] = ()
    uses: tuple[Use, ...] = ()
    names: tuple[Use, ...] = ()
    devices: tuple[Assigned, ...] = ()
    grants: tuple[Grant, ...] = ()
    config: dict[str, object] = {}
    pager: str = ""
    paged: int = 0
    state: int = 0
    state_slots: int = 0
    depends: tuple[str, ...] = ()
    heartbeat_us: int = 0
    first_heartbeat_us: int = FIRST_HEARTBEAT_US
    stop_timeout_us: int = STOP_TIMEOUT_US
    standby: bool = False
    core: int = 0
    host_calls: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    reply_rights: int = int(Rights.WRITE | Rights.GRANT)
    spare_replies: int = 0
    complains_of: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


class Group(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Tasks that are supervised together, in start order; times in microseconds.

    More than ``intensity`` failures of theirs within ``period_us`` are too many. The first failure is followed by a
    restart at once; others in a row wait for twice, four times, … ``backoff_us``, ``backoff_limit_us`` at most.
    With ``recovery`` that task is asked what is to follow, and has ``recovery_timeout_us`` to say so.
    """

    name: str
    tasks: tuple[str, ...]
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = INTENSITY
    period_us: int = PERIOD_US
    backoff_us: int = 0
    backoff_limit_us: int = BACKOFF_LIMIT_US
    give_up: GiveUp = GiveUp.LEAVE
    recovery: str = ""
    recovery_timeout_us: int = RECOVERY_TIMEOUT_US

    @property
    def is_each_alone(self) -> bool:
        """Whether a task's failure ends no other one."""
        return self.strategy is Strategy.ONE_FOR_ONE or len(self.tasks) == 1


class Client(msgspec.Struct, frozen=True):
    """Who calls an endpoint, told apart by badge. ``directory`` says that it gets there by looking it up."""

    task: str
    use: Use
    directory: bool


class System(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A whole system. ``tasks`` stands in start order. A task that is in no group is one by itself (`group`)."""

    name: str
    ram: int
    devices: tuple[Device, ...]
    tasks: tuple[Task, ...]
    groups: tuple[Group, ...] = ()
    cores: int = 0  # virtual cores; 0: the host shares out the processors
    step_us: int = 0  # microseconds of virtual time that a system call takes; 0: time is the host's

    @property
    def images(self) -> tuple[str, ...]:
        """The machine's table of boot images: root's first, then each module once, in start order."""
        started = (image for task in self.tasks for image in (*task.images, *task.versions))
        return tuple(dict.fromkeys((ROOT_IMAGE, *(task.image for task in self.tasks), *started)))

    def image_index(self, image: str) -> int:
        """What a TCB's instruction pointer is set to, to start ``image``. Raises ValueError if no task uses it."""
        return self.images.index(image)

    def task(self, name: str) -> Task:
        """Raises KeyError if there is no such task."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(f"no task {name!r}; there are {', '.join(task.name for task in self.tasks)}")

    @property
    def reincarnation(self) -> Task | None:
        """The task that supervises the others; None if root does so by itself."""
        return next((task for task in self.tasks if Grant.LIFECYCLE in task.grants), None)

    def group(self, task: str) -> Group:
        """The group that a task is in."""
        return next((group for group in self.groups if task in group.tasks), Group(task, (task,)))

    def device(self, name: str) -> Device:
        """Raises KeyError if there is no such device."""
        for device in self.devices:
            if device.name == name:
                return device
        raise KeyError(f"no device {name!r}; there are {', '.join(device.name for device in self.devices) or 'none'}")

    def device_number(self, name: str) -> int:
        """What the machine calls the device. Raises ValueError if there is no such device."""
        return [device.name for device in self.devices].index(name)

    def clients(self, task: str, provided: str) -> tuple[Client, ...]:
        """All that may call the endpoint ``provided`` of ``task``, in start order."""
        return tuple(
            Client(client.name, use, directory)
            for client in self.tasks
            for directory, uses in ((False, client.uses), (True, client.names))
            for use in uses
            if (use.task, use.provided) == (task, provided)
        )

    def pack(self) -> bytes:
        """As msgpack, for BootInfo."""
        return msgspec.msgpack.encode(self)


class CorruptDescription(ValueError):
    """The bytes are not a packed system description."""


def unpack(data: bytes) -> System:
    """The system that ``System.pack`` packed. Raises CorruptDescription, with where and what, on any other bytes."""
    try:
        return msgspec.msgpack.decode(data, type=System)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise CorruptDescription(f"this is no packed system description: {error}") from error
