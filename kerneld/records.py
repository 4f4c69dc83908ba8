"""Every record that RAM holds: layout and fields, one declaration an object type.

What each field means stands beside it; who may change it is the file of that name in `objects/`. A reference is an
address, 0 for none. Readers: `inspect`, `fsck`, the manual.

Sizes (bytes): slot 32, TCB 2048, endpoint 32, notification 64, reply 32, channel 8192, scheduling context 128 and
refills, VSpace 4096 or a 64th of its untyped, death notice 128. Frames and untyped memory hold no record: all about
them is in their capabilities.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from hw.ram import Bits, Ram, Record, Ref, Word
from kerneld import layout
from libsel4py import abi
from libsel4py.abi import CapType as CapType

LOW_BITS: Final = 31
ADDRESS_MASK: Final = abi.WORD_MASK ^ LOW_BITS
CHANNEL_MASK: Final = abi.WORD_MASK ^ (1 << abi.FIXED_SIZE_BITS[abi.ObjectType.CHANNEL]) - 1
NODE_MASK: Final = (1 << 40) - 32
MAPPING_TABLE_MIN_BYTES: Final = 4096
MAPPING_TABLE_SHARE: Final = 64  # one byte of so many of a space's memory is its table's
LISTENER_MASK: Final = (1 << 40) - (1 << abi.FIXED_SIZE_BITS[abi.ObjectType.TCB])


class Slot(Record):
    """A capability and its place in the derivation order. caps.py explains the two capability words."""

    __slots__ = ()
    SIZE: Final = 32

    word0 = Word(0)
    word1 = Word(8)
    prev: Ref[Slot] = Ref(16, lambda: Slot)
    next: Ref[Slot] = Ref(24, lambda: Slot, ADDRESS_MASK)
    revocable = Bits(24, 1, 1)  # copies of the capability are its children, not its siblings
    first_badged = Bits(24, 0, 1)
    watched = Bits(24, 2, 1)  # a death notice watches its copies, of which there are some
    mdb_word = Word(24)

    # what the capability words say, for readers that need one part only
    cap_type = Bits(0, 59, 5)
    object = Bits(0, 0, 40)
    rights = Bits(0, 40, 4)
    bound = Bits(0, 44, 1)  # endpoint, notification: a channel, or a listening thread, hangs on this very slot
    can_write = Bits(0, 40, 1)
    can_read = Bits(0, 41, 1)
    can_grant = Bits(0, 42, 1)
    can_grant_reply = Bits(0, 43, 1)


class ThreadState(IntEnum):
    INACTIVE = 0
    RUNNING = 1
    RESTART = 2  # its saved system call is to be carried out (again)
    BLOCKED_ON_RECEIVE = 3
    BLOCKED_ON_SEND = 4
    BLOCKED_ON_REPLY = 5
    BLOCKED_ON_NOTIFICATION = 6


class TcbSlot(IntEnum):
    """Capabilities inside a TCB."""

    CSPACE = 0
    VSPACE = 1
    BUFFER = 2
    FAULT_HANDLER = 3
    TIMEOUT_HANDLER = 4
    LISTEN = 5  # the endpoint or notification whose channels it takes; bound while its process may have their pages


TCB_SLOTS: Final = len(TcbSlot)


class ProcessState(IntEnum):
    """What the host has been told about a thread's process."""

    NONE = 0  # never started, or ended and reaped
    LIVE = 1
    STOPPED = 2  # started, and held by the kernel because it must not run


class Tcb(Record):
    """A thread."""

    __slots__ = ()
    SIZE: Final = 1 << abi.FIXED_SIZE_BITS[abi.ObjectType.TCB]

    state = Word(192)
    priority = Word(200)
    mcp = Word(208)  # maximum controlled priority
    domain = Word(216)
    flags = Word(224)
    process = Word(232)  # ProcessState
    sched_context: Ref[SchedContext] = Ref(240, lambda: SchedContext)
    bound_notification: Ref[Notification] = Ref(248, lambda: Notification)
    reply: Ref[Reply] = Ref(256, lambda: Reply)  # receiving: what to fill; waiting for a reply: what holds it
    blocked_on = Word(264)  # endpoint or notification address
    queue_prev: Ref[Tcb] = Ref(272, lambda: Tcb)  # in that object's queue
    queue_next: Ref[Tcb] = Ref(280, lambda: Tcb)
    block_badge = Word(288)  # of the endpoint capability that it sends by
    block_can_grant = Bits(296, 0, 1)
    block_can_grant_reply = Bits(296, 1, 1)
    block_is_call = Bits(296, 2, 1)
    restart_queued = Bits(296, 3, 1)  # is in the kernel's restart queue
    in_trap = Bits(296, 4, 1)  # a system call is saved below and not completed
    told_pending = Bits(296, 5, 1)  # a completion is recorded and not yet published to the trap frame
    takes_memory = Bits(296, 6, 1)  # its system call may have taken memory from processes: DELIVER will say so
    waits_turn = Bits(296, 8, 1)  # it could run, and another thread has its virtual core (cores/schedule.py)
    block_word = Word(296)
    yield_to: Ref[SchedContext] = Ref(304, lambda: SchedContext)
    restart_next: Ref[Tcb] = Ref(312, lambda: Tcb)

    fault_label = Word(320)  # FaultLabel; NULL_FAULT when it has none
    FAULT_WORDS: Final = 328  # 6 words, as failures.Fault
    fault_word0 = Word(328)
    fault_word1 = Word(336)
    fault_word2 = Word(344)
    fault_word3 = Word(352)
    fault_word4 = Word(360)
    fault_word5 = Word(368)

    REGISTERS: Final = 376  # 20 words, abi.REGISTER_NAMES
    rip = Word(376)

    # the system call in progress, as copied from its ring entry (hw.ring.take_into writes these nine words)
    TRAP: Final = 536
    op = Word(536)  # i32 as a 64-bit word, two's complement
    entry_flags = Word(544)
    cptr = Word(552)
    info = Word(560)
    mr0 = Word(568)
    mr1 = Word(576)
    mr2 = Word(584)
    mr3 = Word(592)
    tag = Word(600)
    TAIL: Final = 608  # 8 words: reply, dest, mr4..mr7, cap0, cap1
    reply_cptr = Word(608)
    dest_cptr = Word(616)

    consumed = Word(672)  # submissions taken
    produced = Word(680)  # completions made
    # the completion to tell (hw.ring.deliver publishes it after the commit)
    TOLD: Final = 688
    told_status = Word(688)
    told_badge = Word(696)
    told_info = Word(704)
    told_mr0 = Word(712)
    told_mr1 = Word(720)
    told_mr2 = Word(728)
    told_mr3 = Word(736)
    told_tag = Word(744)
    TOLD_MESSAGE: Final = 752  # 120 words; those from 4 on go to the message area
    TOLD_CAPS_OR_BADGES: Final = 1712  # 3 words
    told_area = Word(1736)  # how many message words go to the area | 1 << 32 if the badges do too

    NAME: Final = 1744  # 32 bytes, zero-padded UTF-8
    NAME_BYTES: Final = abi.THREAD_NAME_BYTES
    vspace_next: Ref[Tcb] = Ref(1776, lambda: Tcb)  # the threads of one address space
    consumed_us = Word(1784)  # processor time of the thread when it was last charged
    vspace_prev: Ref[Tcb] = Ref(1792, lambda: Tcb)
    restart_prev: Ref[Tcb] = Ref(1800, lambda: Tcb)
    listen_prev: Ref[Tcb] = Ref(1808, lambda: Tcb)  # the threads that listen to one endpoint (listening.py)
    listen_next: Ref[Tcb] = Ref(1816, lambda: Tcb)
    listener = Word(1824)  # its number among them; 0 while it does not listen
    channels: Ref[Channel] = Ref(1832, lambda: Channel, CHANNEL_MASK)  # that it calls by
    channel_count = Bits(1832, 0, 8)
    ready_next: Ref[Tcb] = Ref(1984, lambda: Tcb)  # in the queue of those that wait for their turn (cores/ready.py)
    ready_prev: Ref[Tcb] = Ref(1992, lambda: Tcb)
    ready_at = Word(2000)  # which queue or virtual core that is (cores/record.py); 0: none
    virtual_us = Word(2008)  # processor time that it has used, where time is virtual
    # of those of one priority that wait in a queue: of the first the last, of the last the first (queues.py)
    run_last: Ref[Tcb] = Ref(2016, lambda: Tcb)
    run_first: Ref[Tcb] = Ref(2024, lambda: Tcb)
    waited_us = Word(1840)  # for a processor, while it was to run, when it was last charged; under a budget only

    def slot(self, index: TcbSlot) -> Slot:
        return Slot(self.ram, self.address + index * Slot.SIZE)

    @property
    def trap_frame(self) -> int:
        """Physical address of the thread's trap frame, 0 if it has none."""
        buffer = self.slot(TcbSlot.BUFFER)
        return buffer.object if buffer.cap_type == CapType.FRAME else 0

    @property
    def name(self) -> str:
        return self.ram.read(self.address + self.NAME, self.NAME_BYTES).rstrip(b"\0").decode("utf-8", "replace")


class EndpointState(IntEnum):
    IDLE = 0
    SEND = 1
    RECEIVE = 2


class Endpoint(Record):
    """A queue of threads that all send, or all receive."""

    __slots__ = ()
    SIZE: Final = 1 << abi.FIXED_SIZE_BITS[abi.ObjectType.ENDPOINT]

    head: Ref[Tcb] = Ref(0, lambda: Tcb)
    tail: Ref[Tcb] = Ref(8, lambda: Tcb, ADDRESS_MASK)
    state = Bits(8, 0, 2)
    channels: Ref[Channel] = Ref(16, lambda: Channel, CHANNEL_MASK)  # connected to it
    channel_count = Bits(16, 0, 8)
    listeners: Ref[Tcb] = Ref(24, lambda: Tcb, LISTENER_MASK)
    last_listener = Bits(24, 40, 12)  # the number that was given last


class NotificationState(IntEnum):
    IDLE = 0
    WAITING = 1
    ACTIVE = 2


class Notification(Record):
    """A word of signals, and a queue of threads that wait for it."""

    __slots__ = ()
    SIZE: Final = 1 << abi.FIXED_SIZE_BITS[abi.ObjectType.NOTIFICATION]

    state = Word(0)
    signals = Word(8)
    head: Ref[Tcb] = Ref(16, lambda: Tcb)
    tail: Ref[Tcb] = Ref(24, lambda: Tcb)
    bound_tcb: Ref[Tcb] = Ref(32, lambda: Tcb)
    sched_context: Ref[SchedContext] = Ref(40, lambda: SchedContext)
    channels: Ref[Channel] = Ref(48, lambda: Channel, CHANNEL_MASK)  # connected to it
    channel_count = Bits(48, 0, 8)
    listeners: Ref[Tcb] = Ref(56, lambda: Tcb, LISTENER_MASK)  # one at most
    last_listener = Bits(56, 40, 12)


class Channel(Record):
    """A page that a client and those who listen share: who they are. The page itself is no part of RAM."""

    __slots__ = ()
    SIZE: Final = 1 << abi.FIXED_SIZE_BITS[abi.ObjectType.CHANNEL]
    SLOTS: Final = 1  # at its start: the endpoint or notification that it is connected to; bound while it is

    client: Ref[Tcb] = Ref(32, lambda: Tcb)
    client_prev: Ref[Channel] = Ref(40, lambda: Channel)  # the channels of one client
    client_next: Ref[Channel] = Ref(48, lambda: Channel)
    target_prev: Ref[Channel] = Ref(56, lambda: Channel)  # the channels to one endpoint or notification
    target_next: Ref[Channel] = Ref(64, lambda: Channel)

    @property
    def slot(self) -> Slot:
        return Slot(self.ram, self.address)

    @property
    def number(self) -> int:
        """What processes call it by: unique in the machine while the object lives."""
        return self.address >> abi.FIXED_SIZE_BITS[abi.ObjectType.CHANNEL]


class Reply(Record):
    """Who waits for a reply, and its place in the chain of donations."""

    __slots__ = ()
    SIZE: Final = 1 << abi.FIXED_SIZE_BITS[abi.ObjectType.REPLY]

    tcb: Ref[Tcb] = Ref(0, lambda: Tcb)
    prev: Ref[Reply] = Ref(8, lambda: Reply)  # towards the first caller
    next_word = Word(16)  # towards the head of the call stack: a Reply, or with bit 0 the SchedContext it is head of
    can_grant = Word(24)


class SchedContext(Record):
    """Processor time: a budget in each period, and who runs on it. Times in microseconds."""

    __slots__ = ()
    CORE_SIZE: Final = abi.SCHED_CONTEXT_CORE_BYTES

    period = Word(0)
    budget = Word(8)
    consumed = Word(16)  # since last reported
    badge = Word(24)
    flags = Word(32)  # bit 0: sporadic
    tcb: Ref[Tcb] = Ref(40, lambda: Tcb)
    reply: Ref[Reply] = Ref(48, lambda: Reply)  # head of the call stack
    notification: Ref[Notification] = Ref(56, lambda: Notification)
    yield_from: Ref[Tcb] = Ref(64, lambda: Tcb)
    refill_max = Word(72)  # 0: not configured, so nothing runs on it
    refill_head = Bits(80, 0, 32)  # ring of refills: first, and how many
    refill_count = Bits(80, 32, 31)
    core = Bits(88, 0, 8)
    size_bits = Bits(88, 8, 6)
    postponed = Bits(88, 14, 1)  # its budget is used up: nobody runs on it before its first refill's time
    watched = Bits(88, 15, 1)  # the host has an alarm for it: the kernel will look at it
    REFILLS: Final = 96  # two words each: time, amount; two of them fit the core size (refills.py)


class TreeNode(Record):
    """What a balanced tree needs of a node. balanced_tree.py."""

    __slots__ = ()
    SIZE: Final = 32

    key = Word(0)
    lower: Ref[TreeNode] = Ref(16, lambda: TreeNode, NODE_MASK)
    height = Bits(16, 40, 8)
    higher: Ref[TreeNode] = Ref(24, lambda: TreeNode)


class MappingNode(Record):
    """One mapping, in the balanced tree of its space. mapping_table.py."""

    __slots__ = ()
    SIZE: Final = 32

    where = Word(0)  # address | size bits - 12 in bits 0..4 | rights in 5..6 | attributes in 7..10
    slot: Ref[Slot] = Ref(8, lambda: Slot)  # the frame capability that is mapped; none: the node is free
    lower: Ref[MappingNode] = Ref(16, lambda: MappingNode, NODE_MASK)
    height = Bits(16, 40, 8)  # of the tree below it; 1 without children
    higher: Ref[MappingNode] = Ref(24, lambda: MappingNode)  # of a free node: the next free one


class MappingSpace(Record):
    """What frames are mapped into: the part that VSpaces and IOSpaces have in common. The table fills the start of the
    object's memory."""

    __slots__ = ()
    NODES: Final = 128  # where the nodes begin

    size_bits = Word(8)
    root: Ref[MappingNode] = Ref(16, lambda: MappingNode)
    mapping_count = Word(24)
    free_nodes: Ref[MappingNode] = Ref(32, lambda: MappingNode)
    nodes_used = Word(40)  # nodes from the start that are, or were, in use: those behind are zero

    @property
    def table_bytes(self) -> int:
        """Bytes of the object that the table takes, this record included."""
        return max(MAPPING_TABLE_MIN_BYTES, (1 << self.size_bits) // MAPPING_TABLE_SHARE)

    @property
    def mapping_capacity(self) -> int:
        """How many mappings the table has room for."""
        return (self.table_bytes - self.NODES) // MappingNode.SIZE


class VSpace(MappingSpace):
    """An address space: a process. Its untyped's size pays for the table of its mappings and its private memory."""

    __slots__ = ()
    RECORD_SIZE: Final = 4096

    threads: Ref[Tcb] = Ref(0, lambda: Tcb)
    limited = Bits(48, 0, 1)  # the host has no more for its process: nothing further is mapped (host/frame_shares.py)

    @property
    def private_bytes(self) -> int:
        """The limit of the process's private memory: what the table leaves."""
        return (1 << self.size_bits) - self.table_bytes


class IoSpace(MappingSpace):
    """What a device sees of memory. All of its memory is the table of its mappings."""

    __slots__ = ()

    device_word = Word(0)  # 0: assigned to none, else the device's number + 1

    @property
    def table_bytes(self) -> int:
        return 1 << self.size_bits

    @property
    def device(self) -> int | None:
        """The number of the device that does DMA by it."""
        word = self.device_word
        return word - 1 if word else None


class DeathNotice(Record):
    """Who is to be told when an object or a process ends. death_notices.py."""

    __slots__ = ()
    SIZE: Final = 1 << abi.FIXED_SIZE_BITS[abi.ObjectType.DEATH_NOTICE]
    SLOTS: Final = 1  # at its start: the notification to signal
    NODE: Final = 32  # a TreeNode, in the kernel's tree while this is the first of a ring that watches

    key = Word(32)  # what it watches: mdb.identity of its capabilities, or a slot's address; 0 for nothing
    before: Ref[DeathNotice] = Ref(40, lambda: DeathNotice)  # in the ring of those that watch the same
    behind: Ref[DeathNotice] = Ref(64, lambda: DeathNotice)
    state = Word(72)  # DeathNoticeState
    status = Word(80)  # PROCESS_ENDED: the wait status
    # of the first of a ring:
    is_first = Bits(88, 0, 1)
    is_telling = Bits(88, 1, 1)  # what the ring watched has ended; those of the ring are still to be told
    reason = Bits(88, 8, 8)  # the state that they will have
    first_word = Word(88)
    telling_before: Ref[DeathNotice] = Ref(96, lambda: DeathNotice)  # in the ring of such firsts
    telling_behind: Ref[DeathNotice] = Ref(104, lambda: DeathNotice)

    @property
    def slot(self) -> Slot:
        return Slot(self.ram, self.address)

    @property
    def node(self) -> int:
        """The address of its TreeNode."""
        return self.address + self.NODE


class OutboxEntry(Record):
    """One thing to tell the host. outbox.py."""

    __slots__ = ()
    SIZE: Final = 32

    kind = Word(0)
    subject = Word(8)
    detail = Word(16)
    more = Word(24)


class IrqState(IntEnum):
    INACTIVE = 0  # no handler capability
    SIGNAL = 1  # handler issued


IRQ_MASKED: Final = 1 << 8  # in the state word: a line that has interrupted stays masked until it is acknowledged
OUTBOX_ENTRIES: Final = 1024


class KernelRecord(Record):
    """The kernel's own state, all of it."""

    __slots__ = ()

    restart_head: Ref[Tcb] = Ref(0, lambda: Tcb)  # threads whose saved system call is to be carried out
    restart_tail: Ref[Tcb] = Ref(8, lambda: Tcb)
    initial_tcb: Ref[Tcb] = Ref(16, lambda: Tcb)
    domain_start = Word(24)
    domain_index = Word(32)
    user_base = Word(40)  # first byte that untyped memory covers
    outbox_length = Word(48)
    clock_us = Word(56)  # clock device: compare value, 0 when off
    device_count = Word(64)  # the machine's devices: numbers below it can be assigned an IOSpace
    outbox_done = Word(72)  # entries of the outbox that the host has carried out
    starts = Word(80)  # processes and threads that the host was told to start, ever
    watched: Ref[TreeNode] = Ref(88, lambda: TreeNode)  # the tree of what death notices watch
    telling: Ref[DeathNotice] = Ref(96, lambda: DeathNotice)  # of those whose object has ended, the first to be told
    cores = Word(176)  # virtual cores; 0: the host shares out the processors
    step_us = Word(184)  # microseconds that a system call takes; 0: time is the host's
    virtual_us = Word(192)  # the time, where it is virtual
    domain_until = Word(200)  # when the domain schedule's present entry ends; 0: it has not begun
    events = Word(208)  # of virtual cores, ever (cores/trace.py)
    IRQ_SLOTS: Final = 0x100  # IRQS slots: notification capabilities
    IRQ_STATES: Final = 0x900  # IRQS words
    IO_SPACES: Final = 0xB00  # a word each device: the address of its IOSpace, 0 for none
    DOMAIN_SCHEDULE: Final = 0x1000  # DOMAIN_SCHEDULE_LENGTH words: domain << 56 | duration
    IO_PORT_BITMAP: Final = 0x2000  # IO_PORTS bits: issued
    OUTBOX: Final = 0x4000

    @classmethod
    def of(cls, ram: Ram) -> KernelRecord:
        return cls(ram, layout.KERNEL_RECORD)

    @property
    def ram_bytes(self) -> int:
        """RAM's size, as the machine header has it. What lies behind is devices' memory."""
        return min(self.ram.word(layout.HEADER_SIZE), self.ram.size)

    def irq_slot(self, irq: int) -> Slot:
        return Slot(self.ram, self.address + self.IRQ_SLOTS + irq * Slot.SIZE)

    def io_space(self, device: int) -> IoSpace | None:
        """The IOSpace that the device of this number, below device_count, does DMA by."""
        address = self.ram.word(self.io_space_word(device))
        return IoSpace(self.ram, address) if address else None

    def io_space_word(self, device: int) -> int:
        return self.address + self.IO_SPACES + device * abi.WORD_BYTES
