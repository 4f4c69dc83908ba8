"""What a task finds when it starts: fixed slots of its CNode, and what its parent tells it about the others.

Rules: root and the component runtime share this page and nothing else. Slot numbers are fixed; everything that
differs from task to task comes in an `Environment`, the answer of `Parent.environment()`.

Badges: an endpoint badge is a connection number below 2**63, so a server learns from it which client and which
interface is meant. A notification badge has `SIGNAL_BADGE` set (and one bit more for its source), so that a
receive on the endpoint tells a signal of the bound notification from a message.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

import msgspec

SIGNAL_BADGE: Final = 1 << 63
# Bits of a task's notification badge, 0 to 62: those of its description, and above them those of the SDK.
SIGNAL_SOURCES: Final = 52  # bits 0..51
DEATH_FIRST_BIT: Final = 52
DEATH_BITS: Final = 8  # bits 52..59: a signal says which eighth of the task's death notices to read
STOP_SIGNAL: Final = 1 << 60  # the task is to end, by itself
HEARTBEAT_SIGNAL: Final = 1 << 61  # the task is to signal its pulse, if it serves
SERVER_SIGNAL: Final = 1 << 62  # somebody rings the task's server (`bell.py`)
PAGED_ADDRESS: Final = 0x3000_0000_0000  # where a task that has a pager finds the memory that it is paged
PAGED_BADGE: Final = 1 << 62  # set in the badges of faults that a pager is told; connections have lower ones
COMPLAINTS_INTERFACE: Final = "libsel4py.interfaces.complaints:Complaints"
CNODE_DEPTH: Final = 64  # every slot of a task's own CNode is named by its index with this depth


class Slot(IntEnum):
    """First slots of a task's CNode."""

    NULL = 0
    TCB = 1
    CNODE = 2
    VSPACE = 3
    PARENT = 4
    REPLY = 5
    POOL = 6
    NOTIFICATION = 7
    SCHED_CONTEXT = 8
    TAKEOVER = 9  # of a task that a process stands by for: what that one waits for
    FIRST_CONNECTION = 16


Scalar = bool | int | float | str
Value = Scalar | list[Scalar] | dict[str, Scalar]


class ChannelUse(Enum):
    """Whether calls of a connection go by a channel, without the kernel."""

    AUTO = "auto"  # once a thread has called often
    ALWAYS = "always"  # from the first call on
    NEVER = "never"


class Connection(msgspec.Struct, frozen=True):
    """Something that this task may use: the badged endpoint capability, and the interface spoken there.

    ``complains_of``: the task that is complained of when an answer does not decode; "": nobody is.
    """

    cptr: int
    interface: str
    channel: ChannelUse = ChannelUse.AUTO
    complains_of: str = ""


class Provided(msgspec.Struct, frozen=True):
    """Something that this task answers. All that it provides comes in at one endpoint, told apart by badge.

    ``clients`` gives the client's name by badge. ``cptr`` is the endpoint to receive on.
    """

    cptr: int
    interface: str
    clients: dict[int, str] = {}


class Device(msgspec.Struct, frozen=True):
    """A device's capabilities; an address of 0 means that the device has no such thing.

    ``signal`` is the bits (without SIGNAL_BADGE) that its interrupt sets in this task's notification. ``memory`` is the
    untyped memory of its ``memory_bytes`` bytes: frames are made from it, and no other objects.
    """

    irq_handler: int = 0
    signal: int = 0
    io_port: int = 0
    first_port: int = 0
    last_port: int = 0
    io_space: int = 0
    memory: int = 0
    memory_bytes: int = 0


class Paged(msgspec.Struct, frozen=True):
    """A task whose page faults this task answers.

    ``vspace`` is the capability to its address space, ``supervisors`` gives for the badge of each thread's faults the
    endpoint to which all its other faults are passed on, in the order of the threads, and ``size`` counts the bytes at
    `PAGED_ADDRESS`. ``outlived``: the badges of those threads that have run since a former life of this task, if any:
    what that had brought them is gone.
    """

    vspace: int
    supervisors: dict[int, int]
    size: int
    outlived: tuple[int, ...] = ()


class Heartbeat(msgspec.Struct, frozen=True):
    """How a supervised task is asked whether it serves: its ``notification`` is signalled, and it signals ``pulse``."""

    notification: int
    pulse: int


class Environment(msgspec.Struct, frozen=True):
    """A task's world, by the names that its system description uses.

    Attributes:
        connections: by local name. provides: by the name of the provided interface. devices: by local name.
        signals: bits in the task's notification by name, for sources that are no device (timers, other tasks).
        authorities: slots of further capabilities that the description grants, by the grant's name.
        first_free_slot, free_slots: the run of empty slots in the task's CNode.
        pool_bits: log2 of the bytes of the untyped in Slot.POOL; 0 if there is none.
        worker_threads: how many threads beside the first root will start for this task (`libsel4py.aio`).
        configuration: the description's settings for this task.
        paged: the tasks that it is the pager of, by name. paged_bytes: what it is paged itself, at `PAGED_ADDRESS`.
        state, state_bytes: the frame whose contents its next life finds (`libsel4py.state`); 0 if there is none.
        first_state_slot, state_slots: slots whose capabilities its next life finds.
        pulse: the notification that it signals when it is asked whether it serves; 0: it is never asked.
        heartbeats: the tasks that it asks so, by number; none but the reincarnation server does.
        images: numbers of the boot images that it may start in threads which it makes itself, by module.
        spare_replies: slots of reply objects beside `Slot.REPLY`, for calls that are answered later.
        stands_by: another process serves; this one waits for `Slot.TAKEOVER`, and has nothing else until then.
    """

    name: str
    connections: dict[str, Connection] = {}
    provides: dict[str, Provided] = {}
    devices: dict[str, Device] = {}
    signals: dict[str, int] = {}
    authorities: dict[str, int] = {}
    first_free_slot: int = 0
    free_slots: int = 0
    pool_bits: int = 0
    worker_threads: int = 0
    configuration: dict[str, Value] = {}
    paged: dict[str, Paged] = {}
    paged_bytes: int = 0
    state: int = 0
    state_bytes: int = 0
    first_state_slot: int = 0
    state_slots: int = 0
    pulse: int = 0
    heartbeats: dict[int, Heartbeat] = {}
    stands_by: bool = False
    images: dict[str, int] = {}
    spare_replies: tuple[int, ...] = ()
