"""The binary interface between a task and the kernel: the one table.

Everything that two sides must agree on stands here once: system calls, error codes, fault labels, object
types, the message-info word, invocation labels with their arguments, and the layout of a thread's trap frame.
The C header (``python -m hw.header``), the kernel's decoders, the SDK's stubs and the manual are made from it
or are compared with it by a test.

Numbers follow seL4's MCS API for x86_64 wherever seL4 has the thing (seL4 Reference Manual 13, `object-api.xml`,
`syscall.xml`); what is sel4py's own is marked so. This module imports nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

WORD_BYTES: Final = 8
WORD_BITS: Final = 64
WORD_MASK: Final = (1 << WORD_BITS) - 1

# --- system calls ------------------------------------------------------------------------------------------


class Syscall(IntEnum):
    """The eleven MCS system calls, and below -31 the few that are sel4py's own."""

    CALL = -1
    REPLY_RECV = -2
    NB_SEND_RECV = -3
    NB_SEND_WAIT = -4
    SEND = -5
    NB_SEND = -6
    RECV = -7
    NB_RECV = -8
    WAIT = -9
    NB_WAIT = -10
    YIELD = -11
    # sel4py's own, no capability needed, no effect on anybody else:
    CANCEL = -32  # end this thread's own blocked system call (status CANCELLED); how time-outs are built
    EXIT = -34  # this thread has ended; MR0 = exit status. Its fault endpoint is told (ExceptionNumber.DEATH)
    IDENTIFY = -35  # what the capability at cptr is: MR0 = its type (kerneld CapType), MR1 = rights, MR2 = size bits
    # with two words, of a CNode: the types of MR1 slots from MR0 on, IDENTIFIED_SLOTS at most; of a TCB: its fault
    # with three, of a CNode: where it has come to, and index << 8 | type of each of these slots that is not empty
    EXPLAIN = -33  # text of why this thread's last refused system call was refused, into its message area
    FAULT = -37  # an instruction touched managed memory that is not there: MR0 = address, MR1 = instruction pointer,
    # MR2 = PageFault, MR3 = what a plain load or store would do, for a device's registers: value | width in bytes
    # << ACCESS_WIDTH_SHIFT, or 0. Completes when the handler has answered, or at once; MR0 = FaultAnswer, MR1 = value
    LISTEN = -36  # take channels of the endpoint or notification at cptr from now on (0: of none); MR0 = number


class Status(IntEnum):
    """First word of a completion."""

    DONE = 0
    CANCELLED = 1  # the system call was ended by CANCEL before anything was transferred
    EMPTY = 2  # a polling receive found nothing
    SERVER_DIED = 3  # a call by channel: its server ended after it had taken the request, which may have run


class Error(IntEnum):
    """seL4_Error: the label of a kernel object's reply."""

    NO_ERROR = 0
    INVALID_ARGUMENT = 1  # MR0 = argument number
    INVALID_CAPABILITY = 2  # MR0 = capability argument number, 0 is the invoked one
    ILLEGAL_OPERATION = 3
    RANGE_ERROR = 4  # MR0 = smallest, MR1 = largest allowed
    ALIGNMENT_ERROR = 5
    FAILED_LOOKUP = 6  # MR0 = 1 if the source was looked up, MR1 = LookupFailure, MR2.. = its description
    TRUNCATED_MESSAGE = 7
    DELETE_FIRST = 8
    REVOKE_FIRST = 9
    NOT_ENOUGH_MEMORY = 10  # MR0 = bytes left in the untyped


class LookupFailureKind(IntEnum):
    """Why a capability address did not resolve, with its description words."""

    NO_FAILURE = 0
    INVALID_ROOT = 1
    MISSING_CAPABILITY = 2  # bits left
    DEPTH_MISMATCH = 3  # bits left, bits found
    GUARD_MISMATCH = 4  # bits left, guard found, guard bits found


class FaultLabel(IntEnum):
    """Label of a fault message."""

    NULL_FAULT = 0
    CAP_FAULT = 1
    UNKNOWN_SYSCALL = 2
    USER_EXCEPTION = 3
    DEBUG_EXCEPTION = 4
    TIMEOUT = 5
    VM_FAULT = 6


class ExceptionNumber(IntEnum):
    """``Number`` of a USER_EXCEPTION message. Below 256 they are x86's own."""

    DIVIDE_ERROR = 0
    INVALID_OPCODE = 6
    GENERAL_PROTECTION = 13
    # sel4py's own:
    DEATH = 256  # the process ended; Code = wait status as of waitpid(2)
    RING_OVERRUN = 257  # the trap frame's submission index is impossible; Code = the index
    UNHANDLED_EXCEPTION = 258  # the boot image raised; the text is in the task's log


class PageFault(IntFlag):
    """FSR of a VM_FAULT message: x86's page-fault error code, and what is sel4py's own."""

    NONE = 0
    PRESENT = 1  # something is mapped there, with fewer rights
    WRITE = 2
    USER = 4
    FETCH = 16
    GUARDED = 1 << 16  # by a guarded access, which can fail: where nobody resolves it, it raises instead of stopping


class FaultAnswer(IntEnum):
    """Word 0 of FAULT's completion."""

    AGAIN = 0  # carry the instruction out again
    NOBODY = 1  # a GUARDED access that nobody resolves
    DONE = 2  # the kernel has done it, at a device's register: word 1 is what was loaded; go on behind the instruction


ACCESS_WIDTH_SHIFT: Final = 32
ACCESS_WIDTHS: Final = (1, 2, 4)  # bytes of a device's registers


class VMFault(Exception):
    """What a guarded access raises: it touched memory that is not there, and nobody brought it.

    Attributes:
        address: of the byte, in this process. kind: what the access was to do, "read" or "write".
    """

    def __init__(self, address: int, kind: str) -> None:
        super().__init__(address, kind)
        self.address = address
        self.kind = kind

    def __str__(self) -> str:
        return f"no memory at 0x{self.address:x} to {self.kind}, and no pager gave any"


# --- words -------------------------------------------------------------------------------------------------

MESSAGE_REGISTERS: Final = 4  # seL4_FastMessageRegisters
MESSAGE_MAX_LENGTH: Final = 120  # words
MESSAGE_MAX_EXTRA_CAPS: Final = 3
IDENTIFIED_SLOTS: Final = 896  # of a CNode, by one IDENTIFY: a byte each fits the reply
OCCUPIED_SLOTS: Final = MESSAGE_MAX_LENGTH - 1  # likewise, of those that are not empty
OCCUPIED_LOOKS: Final = 4096  # slots that are looked at for them
LABEL_BITS: Final = 52
LABEL_MAX: Final = (1 << LABEL_BITS) - 1


class Rights(IntFlag):
    """seL4_CapRights word."""

    NONE = 0
    WRITE = 1
    READ = 2
    GRANT = 4
    GRANT_REPLY = 8
    ALL = 15


def message_info(label: int = 0, length: int = 0, extra_caps: int = 0, caps_unwrapped: int = 0) -> int:
    """Pack a message-info word: label 52 | capsUnwrapped 3 | extraCaps 2 | length 7.

    Args:
        label: 0..2**52-1. length: words, 0..120. extra_caps: 0..3. caps_unwrapped: bit n for capability n.
    Raises:
        ValueError: a field does not fit.
    """
    if not 0 <= label <= LABEL_MAX:
        raise ValueError(f"label {label} does not fit {LABEL_BITS} bits")
    if not 0 <= length <= MESSAGE_MAX_LENGTH:
        raise ValueError(f"message length {length} is not in 0..{MESSAGE_MAX_LENGTH} words")
    if not 0 <= extra_caps <= MESSAGE_MAX_EXTRA_CAPS or not 0 <= caps_unwrapped <= 7:
        raise ValueError(f"extra_caps {extra_caps} is not in 0..{MESSAGE_MAX_EXTRA_CAPS}")
    return label << 12 | caps_unwrapped << 9 | extra_caps << 7 | length


def info_label(info: int) -> int:
    return info >> 12


def info_caps_unwrapped(info: int) -> int:
    return info >> 9 & 7


def info_extra_caps(info: int) -> int:
    return info >> 7 & 3


def info_length(info: int) -> int:
    return info & 127


def cnode_cap_data(guard: int, guard_size: int) -> int:
    """Pack a CNode_CapData word: guard 58 (high) | guardSize 6 (low)."""
    return (guard << 6 | guard_size) & WORD_MASK


# --- values ------------------------------------------------------------------------------------------------

VALUE_KIND_BITS: Final = 3


class ValueKind(IntEnum):
    """What the machine makes of a message word, or of a whole message: between a task and its own machine alone."""

    SIGNED = 0
    WORD = 1
    TRUTH = 2
    NOTHING = 3  # no word
    BYTES = 4  # the whole message


class Served(IntEnum):
    """Why the machine's server loop comes back: between a task and its own machine alone."""

    REQUEST = 0  # one that it does not know
    ANSWER = 1  # one that it has not sent
    RAISED = 2  # what the method raised


# --- objects -----------------------------------------------------------------------------------------------


class ObjectType(IntEnum):
    """``type`` of Untyped_Retype. 0-6 are seL4's generic ones; seL4's paging structures have no counterpart."""

    UNTYPED = 0
    TCB = 1
    ENDPOINT = 2
    NOTIFICATION = 3
    CNODE = 4
    SCHED_CONTEXT = 5
    REPLY = 6
    FRAME = 7
    VSPACE = 8
    CHANNEL = 9
    IO_SPACE = 10
    DEATH_NOTICE = 11


class DeathNoticeState(IntEnum):
    """What DeathNotice_Read answers."""

    IDLE = 0  # it watches nothing
    WATCHING = 1
    DESTROYED = 2  # the last capability to what it watched has been deleted
    PROCESS_ENDED = 3  # the thread's process has ended; the TCB lives on
    NO_COPIES = 4  # nothing is left that was derived from the capability whose copies it watched


class CapType(IntEnum):
    """What a capability is: five bits of its first word, and what IDENTIFY answers."""

    NULL = 0
    UNTYPED = 1
    ENDPOINT = 2
    NOTIFICATION = 3
    REPLY = 4
    CNODE = 5
    TCB = 6
    SCHED_CONTEXT = 7
    SCHED_CONTROL = 8
    IRQ_CONTROL = 9
    IRQ_HANDLER = 10
    FRAME = 11
    VSPACE = 12
    IO_PORT_CONTROL = 13
    IO_PORT = 14
    DOMAIN = 15
    ZOMBIE = 16
    CHANNEL = 17
    IO_SPACE = 18
    IO_SPACE_CONTROL = 19
    DEATH_NOTICE = 20


SLOT_BITS: Final = 5
FIXED_SIZE_BITS: Final[dict[ObjectType, int]] = {
    ObjectType.TCB: 11,
    ObjectType.ENDPOINT: 5,
    ObjectType.NOTIFICATION: 6,
    ObjectType.REPLY: 5,
    ObjectType.CHANNEL: 13,
    ObjectType.DEATH_NOTICE: 7,
}
UNTYPED_MIN_BITS: Final = 4
UNTYPED_MAX_BITS: Final = 39  # RAM is at most 512 GiB
SCHED_CONTEXT_MIN_BITS: Final = 7
FRAME_MIN_BITS: Final = 12
FRAME_MAX_BITS: Final = 30
VSPACE_MIN_BITS: Final = 12
IO_SPACE_MIN_BITS: Final = 12
MAPPING_BASE: Final = 0x1000_0000_0000  # the addresses of a process at which the kernel maps frames; all else is the
MAPPING_END: Final = 0x5000_0000_0000  # process's own, and a fault there is its bug
IO_MAPPING_END: Final = 1 << 47  # an IOSpace's addresses: 0 up to here
RETYPE_MAX_OBJECTS: Final = 256
SCHED_CONTEXT_CORE_BYTES: Final = 128
REFILL_BYTES: Final = 16


def object_size_bits(object_type: ObjectType, size_bits: int) -> int:
    """Bytes of one object, as a power of two. ``size_bits`` counts for types of variable size only."""
    if object_type is ObjectType.CNODE:
        return size_bits + SLOT_BITS
    return FIXED_SIZE_BITS.get(object_type, size_bits)


THREAD_NAME_BYTES: Final = 32
PRIORITIES: Final = 256
DOMAINS: Final = 16
DOMAIN_SCHEDULE_LENGTH: Final = 256
IRQS: Final = 64
IO_PORTS: Final = 1 << 16
MIN_BUDGET_US: Final = 20  # twice the kernel's worst-case time in seL4; here what two preempted steps may cost
MAX_PERIOD_US: Final = 1 << 40

REGISTER_NAMES: Final = (
    *("rip", "rsp", "rflags", "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "fs_base", "gs_base"),
)
REGISTERS: Final = 20
REG_RIP, REG_RSP, REG_RFLAGS, REG_RDX, REG_RSI, REG_RDI = 0, 1, 2, 6, 7, 8
ARGUMENT_REGISTERS: Final = (8, 7, 6, 5, 10, 11)  # rdi rsi rdx rcx r8 r9: arguments of a boot image

# --- boot --------------------------------------------------------------------------------------------------


class InitialSlot(IntEnum):
    """Capabilities in the initial task's CNode (manual, chapter 9). Those with no counterpart here stay empty."""

    NULL = 0
    TCB = 1
    CNODE = 2
    VSPACE = 3
    IRQ_CONTROL = 4
    ASID_CONTROL = 5
    ASID_POOL = 6
    IO_PORT_CONTROL = 7
    IO_SPACE = 8
    BOOT_INFO_FRAME = 9
    IPC_BUFFER = 10
    DOMAIN = 11
    SMMU_SID_CONTROL = 12
    SMMU_CB_CONTROL = 13
    SCHED_CONTEXT = 14
    SMC = 15
    FIRST_FREE = 16


INITIAL_CNODE_BITS: Final = 14
INITIAL_PRIORITY: Final = 255
INITIAL_BUDGET_US: Final = 5000
BOOT_INFO_FRAME_BITS: Final = 18
BOOT_INFO_ADDRESS: Final = 0x1000_0000_0000  # where the initial task finds it mapped; also its first argument
BOOT_INFO_MAX_UNTYPED: Final = 230
BOOT_INFO_EXTRA_PADDING: Final = 0
BOOT_INFO_EXTRA_RESUMED: Final = 0x73793472  # slots of the TCBs that ran when the system was suspended, a word each
BOOT_INFO_EXTRA_SYSTEM: Final = 0x73793470  # 'sy4p': the system description, as msgpack; sel4py's own

# BootInfo: word offsets (in words of 8 bytes). A SlotRegion is two words: start, end.
BOOT_INFO_EXTRA_BYTES: Final = 0
BOOT_INFO_NODE: Final = 1
BOOT_INFO_NODES: Final = 2
BOOT_INFO_IPC_BUFFER: Final = 3
BOOT_INFO_EMPTY: Final = 4
BOOT_INFO_CNODE_BITS: Final = 6
BOOT_INFO_DOMAIN: Final = 7
BOOT_INFO_SCHED_CONTROL: Final = 8
BOOT_INFO_UNTYPED: Final = 10
BOOT_INFO_UNTYPED_LIST: Final = 12  # per untyped two words: physical address; size bits | is device << 8
BOOT_INFO_EXTRA: Final = BOOT_INFO_UNTYPED_LIST + 2 * BOOT_INFO_MAX_UNTYPED  # chunks: id, bytes, payload

# --- names ------------------------------------------------------------------------------------------------

STANDBY_SUFFIX: Final = ".standby"  # of the name of a process that stands by for a task of that name

# --- the trap frame ----------------------------------------------------------------------------------------
# One frame a thread: the seL4 IPC buffer, the two rings, one writer a word. Offsets in bytes.

TRAP_FRAME_BITS: Final = 14

IPC_TAG: Final = 0x000
IPC_MESSAGE: Final = 0x008  # 120 words; words 0..3 shadow the registers
IPC_USER_DATA: Final = IPC_MESSAGE + MESSAGE_MAX_LENGTH * WORD_BYTES
IPC_CAPS_OR_BADGES: Final = IPC_USER_DATA + WORD_BYTES  # 3 words
IPC_RECEIVE_CNODE: Final = IPC_CAPS_OR_BADGES + MESSAGE_MAX_EXTRA_CAPS * WORD_BYTES
IPC_RECEIVE_INDEX: Final = IPC_RECEIVE_CNODE + WORD_BYTES
IPC_RECEIVE_DEPTH: Final = IPC_RECEIVE_INDEX + WORD_BYTES
IPC_BUFFER_BYTES: Final = 0x400

RING_ENTRIES: Final = 64
RING_ENTRY_BYTES: Final = 64
TASK_LINE: Final = 0x400  # written by the task alone
SUBMIT_PRODUCED: Final = TASK_LINE + 0  # u32, free-running
COMPLETE_CONSUMED: Final = TASK_LINE + 4  # u32, free-running
TASK_WAITING: Final = TASK_LINE + 8  # u32: not 0 while it sleeps, or will: which COMPLETE_PRODUCED wakes it; 1: any
DEATH_WORD: Final = TASK_LINE + 16  # a robust mutex of the C library's, which the process's first thread holds
KERNEL_LINE: Final = 0x440  # written by the kernel alone
SUBMIT_CONSUMED: Final = KERNEL_LINE + 0  # u32, free-running
COMPLETE_PRODUCED: Final = KERNEL_LINE + 4  # u32, free-running; the futex word
KERNEL_WATCHING: Final = KERNEL_LINE + 8  # u32: 1 while the kernel looks at this ring without a doorbell
RECEIVE_HINT: Final = KERNEL_LINE + 12  # u32: counts what came to be received while the thread listens; a futex word
MAPPINGS_TOLD: Final = KERNEL_LINE + 16  # u32: MAP and UNMAP messages sent to this thread's process so far
SUBMIT_RING: Final = 0x1000
COMPLETE_RING: Final = 0x2000
SUBMIT_TAILS: Final = 0x3000  # per submission entry a second line: what a batched or two-capability call adds

# A submission entry (64 bytes)
ENTRY_OP: Final = 0  # i32 Syscall
ENTRY_FLAGS: Final = 4  # u32 EntryFlags
ENTRY_CPTR: Final = 8
ENTRY_INFO: Final = 16
ENTRY_MR: Final = 24  # 4 words
ENTRY_TAG: Final = 56  # copied to the completion
# Its tail (64 bytes)
TAIL_REPLY: Final = 0  # reply capability of the receiving system calls
TAIL_DEST: Final = 8  # NB_SEND_RECV and NB_SEND_WAIT: where the first phase goes
TAIL_MR: Final = 16  # message words 4..7, with INLINE
TAIL_CAPS: Final = 48  # 2 capability addresses, with INLINE
TAIL_MESSAGE_WORDS: Final = 4
TAIL_CAP_SLOTS: Final = 2
# A completion entry (64 bytes)
COMPLETION_STATUS: Final = 0  # i32 Status
COMPLETION_FLAGS: Final = 4
COMPLETION_BADGE: Final = 8
COMPLETION_INFO: Final = 16
COMPLETION_MR: Final = 24
COMPLETION_TAG: Final = 56


class EntryFlags(IntFlag):
    """Flags of a submission entry."""

    NONE = 0
    INLINE = 1  # words 4..7 and capabilities come from the entry's tail, and results past MR3 are dropped
    HAS_TAIL = 2  # the tail is to be read; without it the tail's words are 0


# --- the channel -------------------------------------------------------------------------------------------
# One page between one client thread and the threads that receive on one endpoint (or notification). A line has one
# writer while a call goes as calls do, so that it crosses between two processors twice; exceptions (a withdrawal, a
# sleep, several servers) swap words. Offsets in bytes. A page that was taken away reads as zeroes: GONE.

CHANNEL_BYTES: Final = 4096
CHANNEL_REQUEST: Final = 0x000  # the client's line
CHANNEL_POSTED: Final = CHANNEL_REQUEST + 0  # u32: sequence << 16 | VALID
CHANNEL_OP: Final = CHANNEL_REQUEST + 4  # u32: ChannelOp
CHANNEL_REPLY: Final = 0x040  # the line of whichever server has taken the request
CHANNEL_DONE: Final = CHANNEL_REPLY + 0  # u32: sequence << 16 | VALID | WAITER; the futex word of the client
CHANNEL_STATUS: Final = CHANNEL_REPLY + 4  # u32: Status
# in both lines:
CHANNEL_INFO: Final = 8
CHANNEL_MR: Final = 16  # 4 words
CHANNEL_CPU: Final = 48  # u32: the processor that the writer ran on
CHANNEL_SIGNALS: Final = 0x080  # u64: the signaller ORs, the waiter takes
CHANNEL_STATE: Final = 0x0C0  # u32: sequence << 16 | listener << 4 | ChannelState; who takes or withdraws compares
CHANNEL_SLEEPERS: Final = 0x100  # u32: how often servers were woken << 1 | SLEEPING; their futex word
CHANNEL_REQUEST_WORDS: Final = 0x400  # message words 4..119
CHANNEL_REPLY_WORDS: Final = 0x800
CHANNEL_LISTENER_SHIFT: Final = 4
CHANNEL_LISTENER_MAX: Final = (1 << 12) - 1
CHANNEL_SEQUENCE_SHIFT: Final = 16
CHANNEL_SLEEPING: Final = 1  # in SLEEPERS: a server will sleep on it; the client adds 1 and wakes all
CHANNEL_WAITER: Final = 1  # in DONE: the client sleeps on it
CHANNEL_VALID: Final = 2  # in POSTED and DONE, so that neither is ever 0

CHANNELS_PER_TARGET: Final = 120  # a receiver waits on 128 words at most (futex_waitv), its own among them
CHANNELS_PER_THREAD: Final = 64
LISTENERS_PER_ENDPOINT: Final = 8


class ChannelState(IntEnum):
    """Low three bits of STATE. A request waits for a server while POSTED's sequence is not STATE's."""

    GONE = 0
    IDLE = 1  # never used, or the request of this sequence was withdrawn
    TAKEN = 2  # a server has it, and then: has answered it


CHANNEL_UNUSED: Final = {  # u32 words of a page that nobody has used, by offset; all else is zero
    CHANNEL_POSTED: CHANNEL_VALID,
    CHANNEL_STATE: ChannelState.IDLE,
    CHANNEL_DONE: CHANNEL_VALID,
}


class ChannelOp(IntEnum):
    """What a request is."""

    CALL = 0
    SEND = 1  # answered as soon as it is taken


# --- invocations -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Invocation:
    """One method of a kernel object: its label, and its arguments in the order of the manual.

    ``words`` become message words 0, 1, …; ``caps`` become extra capabilities 0, 1, …; ``results`` are the
    message words of the reply. ``variable`` marks methods with more words behind the named ones.
    """

    object: str
    name: str
    label: int
    words: tuple[str, ...] = ()
    caps: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    variable: bool = False
    brief: str = ""


class Label(IntEnum):
    """Invocation labels (x86_64 MCS numbers)."""

    UNTYPED_RETYPE = 1
    TCB_READ_REGISTERS = 2
    TCB_WRITE_REGISTERS = 3
    TCB_COPY_REGISTERS = 4
    TCB_CONFIGURE = 5
    TCB_SET_PRIORITY = 6
    TCB_SET_MC_PRIORITY = 7
    TCB_SET_SCHED_PARAMS = 8
    TCB_SET_TIMEOUT_ENDPOINT = 9
    TCB_SET_IPC_BUFFER = 10
    TCB_SET_SPACE = 11
    TCB_SUSPEND = 12
    TCB_RESUME = 13
    TCB_BIND_NOTIFICATION = 14
    TCB_UNBIND_NOTIFICATION = 15
    TCB_SET_TLS_BASE = 16
    TCB_SET_FLAGS = 17
    CNODE_REVOKE = 18
    CNODE_DELETE = 19
    CNODE_CANCEL_BADGED_SENDS = 20
    CNODE_COPY = 21
    CNODE_MINT = 22
    CNODE_MOVE = 23
    CNODE_MUTATE = 24
    CNODE_ROTATE = 25
    IRQ_CONTROL_GET = 26
    IRQ_HANDLER_ACK = 27
    IRQ_HANDLER_SET_NOTIFICATION = 28
    IRQ_HANDLER_CLEAR = 29
    DOMAIN_SET = 30
    DOMAIN_SCHEDULE_CONFIGURE = 31
    DOMAIN_SCHEDULE_SET_START = 32
    SCHED_CONTROL_CONFIGURE_FLAGS = 33
    SCHED_CONTEXT_BIND = 34
    SCHED_CONTEXT_UNBIND = 35
    SCHED_CONTEXT_UNBIND_OBJECT = 36
    SCHED_CONTEXT_CONSUMED = 37
    SCHED_CONTEXT_YIELD_TO = 38
    FRAME_MAP = 45
    FRAME_UNMAP = 46
    FRAME_GET_ADDRESS = 47
    IO_PORT_CONTROL_ISSUE = 50
    IO_PORT_IN8 = 51
    IO_PORT_IN16 = 52
    IO_PORT_IN32 = 53
    IO_PORT_OUT8 = 54
    IO_PORT_OUT16 = 55
    IO_PORT_OUT32 = 56
    TCB_EXPLAIN = 64  # 64 and above are sel4py's own
    TCB_SET_NAME = 65
    CHANNEL_CONNECT = 66
    CHANNEL_DISCONNECT = 67
    FRAME_MAP_IO = 68
    IO_SPACE_CONTROL_ASSIGN = 69
    DEATH_NOTICE_WATCH = 70
    DEATH_NOTICE_CANCEL = 71
    DEATH_NOTICE_READ = 72
    DEATH_NOTICE_WATCH_COPIES = 73


def _table() -> Iterator[Invocation]:
    def row(
        label: Label,
        obj: str,
        name: str,
        words: str = "",
        caps: str = "",
        results: str = "",
        brief: str = "",
        variable: bool = False,
    ) -> Invocation:
        return Invocation(
            obj, name, label, tuple(words.split()), tuple(caps.split()), tuple(results.split()), variable, brief
        )

    destination = "dest_index dest_depth"
    source = "src_index src_depth"
    yield row(
        Label.UNTYPED_RETYPE,
        "Untyped",
        "retype",
        "type size_bits node_index node_depth node_offset num_objects",
        "root",
        brief="Make num_objects objects of one type from this memory, their capabilities in consecutive slots.",
    )
    yield row(
        Label.TCB_READ_REGISTERS,
        "TCB",
        "read_registers",
        "flags count",
        results="registers",
        brief="Read the thread's registers; bit 0 of flags suspends it first.",
    )
    yield row(
        Label.TCB_WRITE_REGISTERS,
        "TCB",
        "write_registers",
        "flags count",
        brief="Write the thread's registers (rip is the boot image); bit 0 of flags resumes it.",
        variable=True,
    )
    yield row(
        Label.TCB_COPY_REGISTERS,
        "TCB",
        "copy_registers",
        "flags",
        "source",
        brief="Copy registers from source. flags: 1 suspend source, 2 resume target, 4 frame, 8 integer.",
    )
    yield row(
        Label.TCB_CONFIGURE,
        "TCB",
        "configure",
        "cspace_root_data vspace_root_data buffer",
        "cspace_root vspace_root buffer_frame",
        brief="Set the thread's capability space, address space and trap frame.",
    )
    yield row(
        Label.TCB_SET_PRIORITY,
        "TCB",
        "set_priority",
        "priority",
        "authority",
        brief="Set the priority, at most authority's maximum controlled priority.",
    )
    yield row(
        Label.TCB_SET_MC_PRIORITY,
        "TCB",
        "set_mc_priority",
        "mcp",
        "authority",
        brief="Set the maximum controlled priority, at most authority's own.",
    )
    yield row(
        Label.TCB_SET_SCHED_PARAMS,
        "TCB",
        "set_sched_params",
        "mcp priority",
        "authority sched_context fault_endpoint",
        brief="Set priorities, scheduling context and fault endpoint at once.",
    )
    yield row(
        Label.TCB_SET_TIMEOUT_ENDPOINT,
        "TCB",
        "set_timeout_endpoint",
        "",
        "timeout_endpoint",
        brief="Set the endpoint that is told when the budget runs out.",
    )
    yield row(
        Label.TCB_SET_IPC_BUFFER,
        "TCB",
        "set_ipc_buffer",
        "buffer",
        "buffer_frame",
        brief="Set the trap frame (IPC buffer and rings).",
    )
    yield row(
        Label.TCB_SET_SPACE,
        "TCB",
        "set_space",
        "cspace_root_data vspace_root_data",
        "fault_endpoint cspace_root vspace_root",
        brief="Set fault endpoint, capability space and address space.",
    )
    yield row(Label.TCB_SUSPEND, "TCB", "suspend", brief="Stop the thread; what it waits for is cancelled.")
    yield row(Label.TCB_RESUME, "TCB", "resume", brief="Let a stopped thread run; a cancelled call starts again.")
    yield row(
        Label.TCB_BIND_NOTIFICATION,
        "TCB",
        "bind_notification",
        "",
        "notification",
        brief="Let signals of this notification end the thread's receive.",
    )
    yield row(Label.TCB_UNBIND_NOTIFICATION, "TCB", "unbind_notification", brief="Undo bind_notification.")
    yield row(Label.TCB_SET_TLS_BASE, "TCB", "set_tls_base", "tls_base", brief="Set register fs_base.")
    yield row(
        Label.TCB_SET_FLAGS,
        "TCB",
        "set_flags",
        "clear set",
        results="flags",
        brief="Change feature flags (1 = FPU disabled) and return them.",
    )
    yield row(
        Label.TCB_SET_NAME,
        "TCB",
        "set_name",
        "name0 name1 name2 name3",
        brief="Name the thread for people: 32 bytes of UTF-8, zero-padded (sel4py's own).",
    )
    yield row(
        Label.TCB_EXPLAIN,
        "TCB",
        "explain",
        results="text",
        brief="Why the thread does not run, as text: its length in bytes, then UTF-8 (sel4py's own).",
    )
    yield row(Label.CNODE_REVOKE, "CNode", "revoke", "index depth", brief="Delete every capability derived from it.")
    yield row(Label.CNODE_DELETE, "CNode", "delete", "index depth", brief="Delete the capability in a slot.")
    yield row(
        Label.CNODE_CANCEL_BADGED_SENDS,
        "CNode",
        "cancel_badged_sends",
        "index depth",
        brief="Abort the sends that wait with this endpoint capability's badge.",
    )
    yield row(
        Label.CNODE_COPY,
        "CNode",
        "copy",
        f"{destination} {source} rights",
        "src_root",
        brief="Copy a capability, with at most the given rights.",
    )
    yield row(
        Label.CNODE_MINT,
        "CNode",
        "mint",
        f"{destination} {source} rights badge",
        "src_root",
        brief="Copy a capability with fewer rights and a badge (or a guard).",
    )
    yield row(Label.CNODE_MOVE, "CNode", "move", f"{destination} {source}", "src_root", brief="Move a capability.")
    yield row(
        Label.CNODE_MUTATE,
        "CNode",
        "mutate",
        f"{destination} {source} badge",
        "src_root",
        brief="Move a CNode capability and set its guard.",
    )
    yield row(
        Label.CNODE_ROTATE,
        "CNode",
        "rotate",
        f"{destination} dest_badge pivot_index pivot_depth pivot_badge {source}",
        "pivot_root src_root",
        brief="Move pivot to dest and src to pivot in one step.",
    )
    yield row(
        Label.IRQ_CONTROL_GET,
        "IRQControl",
        "get",
        "irq index depth",
        "root",
        brief="Make the handler capability of an interrupt line.",
    )
    yield row(Label.IRQ_HANDLER_ACK, "IRQHandler", "ack", brief="Let the line interrupt again.")
    yield row(
        Label.IRQ_HANDLER_SET_NOTIFICATION,
        "IRQHandler",
        "set_notification",
        "",
        "notification",
        brief="Signal this notification when the line interrupts.",
    )
    yield row(Label.IRQ_HANDLER_CLEAR, "IRQHandler", "clear", brief="Undo set_notification.")
    yield row(Label.DOMAIN_SET, "Domain", "set", "domain", "thread", brief="Put a thread into a domain.")
    yield row(
        Label.DOMAIN_SCHEDULE_CONFIGURE,
        "Domain",
        "schedule_configure",
        "index domain duration",
        brief="Write one entry of the domain schedule (duration in microseconds).",
    )
    yield row(
        Label.DOMAIN_SCHEDULE_SET_START,
        "Domain",
        "schedule_set_start",
        "index",
        brief="Start the domain schedule at this entry now.",
    )
    yield row(
        Label.SCHED_CONTROL_CONFIGURE_FLAGS,
        "SchedControl",
        "configure_flags",
        "budget period extra_refills badge flags",
        "sched_context",
        brief="Set budget and period (microseconds) of a scheduling context.",
    )
    yield row(
        Label.SCHED_CONTEXT_BIND, "SchedContext", "bind", "", "object", brief="Bind to a thread or a notification."
    )
    yield row(Label.SCHED_CONTEXT_UNBIND, "SchedContext", "unbind", brief="Unbind from everything.")
    yield row(Label.SCHED_CONTEXT_UNBIND_OBJECT, "SchedContext", "unbind_object", "", "object", brief="Unbind one.")
    yield row(
        Label.SCHED_CONTEXT_CONSUMED,
        "SchedContext",
        "consumed",
        results="consumed",
        brief="Microseconds consumed since the last such call or timeout fault.",
    )
    yield row(
        Label.SCHED_CONTEXT_YIELD_TO,
        "SchedContext",
        "yield_to",
        results="consumed",
        brief="Run this context's thread next; return its consumed microseconds.",
    )
    yield row(
        Label.FRAME_MAP,
        "Frame",
        "map",
        "address rights attributes",
        "vspace",
        brief="Let the VSpace see the frame at this address; again with the same address: with other rights.",
    )
    yield row(Label.FRAME_UNMAP, "Frame", "unmap", brief="End this capability's mapping, if it has one.")
    yield row(
        Label.FRAME_MAP_IO,
        "Frame",
        "map_io",
        "rights address",
        "io_space",
        brief="Let the IOSpace's device reach the frame at this address.",
    )
    yield row(Label.FRAME_GET_ADDRESS, "Frame", "get_address", results="address", brief="Physical address, in bytes.")
    yield row(
        Label.IO_SPACE_CONTROL_ASSIGN,
        "IOSpaceControl",
        "assign",
        "device",
        "io_space",
        brief="Make the IOSpace the one by which the device of this number does DMA.",
    )
    yield row(
        Label.IO_PORT_CONTROL_ISSUE,
        "IOPortControl",
        "issue",
        "first_port last_port index depth",
        "root",
        brief="Make a capability to a range of I/O ports.",
    )
    for bits, read, write in (
        (8, Label.IO_PORT_IN8, Label.IO_PORT_OUT8),
        (16, Label.IO_PORT_IN16, Label.IO_PORT_OUT16),
        (32, Label.IO_PORT_IN32, Label.IO_PORT_OUT32),
    ):
        yield row(read, "IOPort", f"in{bits}", "port", results="result", brief=f"Read {bits} bits.")
        yield row(write, "IOPort", f"out{bits}", "port data", brief=f"Write {bits} bits.")
    yield row(
        Label.CHANNEL_CONNECT,
        "Channel",
        "connect",
        "",
        "target",
        results="number",
        brief="Let the calling thread's calls (or signals) by this capability go by the channel's page; its number.",
    )
    yield row(
        Label.DEATH_NOTICE_WATCH,
        "DeathNotice",
        "watch",
        "",
        "target notification",
        brief="Signal the notification, once, when the target is destroyed or its process ends.",
    )
    yield row(
        Label.DEATH_NOTICE_WATCH_COPIES,
        "DeathNotice",
        "watch_copies",
        "",
        "endpoint notification",
        brief="Signal the notification, once, when nothing is left that was derived from the endpoint capability.",
    )
    yield row(Label.DEATH_NOTICE_CANCEL, "DeathNotice", "cancel", brief="Watch nothing, and forget the notification.")
    yield row(
        Label.DEATH_NOTICE_READ,
        "DeathNotice",
        "read",
        results="state status",
        brief="What has become of the target (DeathNoticeState), and the wait status if its process has ended.",
    )
    yield row(Label.CHANNEL_DISCONNECT, "Channel", "disconnect", brief="Take the channel's page away from both sides.")


INVOCATIONS: Final[dict[Label, Invocation]] = {Label(row.label): row for row in _table()}

# --- control socket ----------------------------------------------------------------------------------------
# From the kernel to a process, SOCK_SEQPACKET, messages of 64 bytes, little-endian; descriptors ride along. Each
# request is obeyed after those before it, and answered by one DONE with its sequence number; those that are QUIET only
# where they fail. End of file ends the process. MAPs and UNMAPs are numbered from 1 on, modulo 2^32, as MAPPINGS_TOLD
# counts them, and done in that order, by whichever socket they come; 0 stands for the next number. sel4py's own.


class ControlOp(IntEnum):
    """First word of a control message."""

    THREAD = 1  # fds: trap frame, doorbell; thread = its new number, image, words = the image's 6 argument words
    PARK = 2  # stop thread; DONE's errno EINPROGRESS: it stops at its next system call; ETIMEDOUT: it does not obey
    UNPARK = 3  # let thread go on
    MAP = 4  # fd: memory; words: address, bytes, rights (abi.Rights WRITE and READ), MapFlags, number
    UNMAP = 5  # words: address, bytes, 0, MapFlags, number
    DONE = 6  # the answer; words: errno, 0 if it worked; of THREAD: the new thread's number at the host
    CHANNEL = 7  # fd: a channel's page for thread; words: number, ChannelRole, badge, listener number
    CHANNEL_CLOSE = 8  # channels are no more; words: two numbers of 32 bits each, the first one low; 0 for none
    RECEIVER_DIED = 9  # words: number, listener number: end what that one had taken
    CHANNELS_LOOK = 10  # all threads' channels whose pages are gone are no more
    AWAKE = 11  # fd: a socket that does not block, by which quiet MAPs come for any thread that is awake


class VmAttributes(IntFlag):
    """Attributes of a mapping, x86's. Memory of the host is write-back whatever they say."""

    DEFAULT = 0
    WRITE_THROUGH = 1
    CACHE_DISABLED = 2
    WRITE_COMBINING = 4


class MapFlags(IntFlag):
    """Fourth word of MAP and UNMAP."""

    NONE = 0
    REPLACE = 1  # MAP over what is mapped there; without it that is refused with EEXIST
    RESERVE = 2  # UNMAP leaves the addresses reserved without access, so that nothing else is mapped there
    QUIET = 4  # MAP is not answered where it works; the next answer to a MAP or UNMAP says that it did


class ChannelRole(IntEnum):
    """What a channel is to the thread that it is handed to."""

    CLIENT = 1  # calls by it
    SERVER = 2  # receives by it
    SIGNALLER = 3  # signals a notification by it
    WAITER = 4  # receives these signals


CONTROL_BYTES: Final = 64
CONTROL_OP: Final = 0  # u32 ControlOp
CONTROL_SEQUENCE: Final = 4  # u32, chosen by the kernel
CONTROL_THREAD: Final = 8  # u32; 0 is the process's first thread
CONTROL_IMAGE: Final = 12  # u32 number of the boot image
CONTROL_WORDS: Final = 16  # 6 words
CONTROL_WORD_COUNT: Final = 6
CONTROL_CLOSED_TOGETHER: Final = 2 * CONTROL_WORD_COUNT  # channels, by one CHANNEL_CLOSE
CONTROL_THREADS: Final = 64  # a process has at most so many threads with a trap frame
