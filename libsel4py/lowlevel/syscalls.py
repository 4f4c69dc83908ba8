"""The eleven system calls as functions, and sel4py's own.

Rules: message words 0..3 travel in registers, the rest in the thread's message area, as seL4 does on x86_64.

Timeouts are seconds (float) and None waits for ever; a call that is not complete by then is cancelled whole and
raises `Timeout`. Source: seL4 Reference Manual (MCS), sections 2.2, 4.2 and 10.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from libsel4py import abi
from libsel4py.abi import MESSAGE_MAX_EXTRA_CAPS, MESSAGE_MAX_LENGTH, MESSAGE_REGISTERS, WORD_BYTES, Status, Syscall
from libsel4py.errors import ServerDied, Timeout, kernel_error
from libsel4py.lowlevel.machine import BatchEntry as BatchEntry
from libsel4py.lowlevel.machine import Completion as Completion
from libsel4py.lowlevel.machine import Cpu as Cpu
from libsel4py.lowlevel.machine import ThreadEntry as ThreadEntry
from libsel4py.lowlevel.machine import installed as installed
from libsel4py.lowlevel.machine import machine as machine

FOREVER_NS: Final = -1
_BEYOND_NS: Final = 1 << 63
_LABEL_SHIFT: Final = 12
_ALL_BUT_LABEL: Final = (1 << _LABEL_SHIFT) - 1  # of an info word


class TrapArguments(NamedTuple):
    """What a trap takes, in order."""

    op: int
    cptr: int
    info: int
    mr0: int
    mr1: int
    mr2: int
    mr3: int
    reply: int = 0
    dest: int = 0
    timeout_ns: int = FOREVER_NS

    @property
    def registers(self) -> tuple[int, int, int, int]:
        return self[3:7]


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: label, at most 120 words, at most 3 capability addresses."""

    label: int = 0
    words: tuple[int, ...] = ()
    caps: tuple[int, ...] = ()


class Received(NamedTuple):
    """What came in. ``badge`` is the sender's; bit n of ``caps_unwrapped`` says that ``badges[n]`` stands for
    capability n, which named the endpoint itself; other capabilities (``extra_caps``) went to the receive slot."""

    badge: int
    label: int
    words: tuple[int, ...]
    extra_caps: int
    caps_unwrapped: int
    badges: tuple[int, int, int]


def nanoseconds(timeout: float | None) -> int:
    """A ``timeout=`` in seconds as the machine takes it. What is beyond its 292 years is for ever.

    Raises:
        ValueError: it is negative, or no number.
    """
    if timeout is None:
        return FOREVER_NS
    if not timeout >= 0:  # as NaN is not
        raise ValueError(f"timeout {timeout} s is negative or no number: use None to wait for ever, 0 to look once")
    wait = timeout * 1_000_000_000
    return FOREVER_NS if wait >= _BEYOND_NS else int(wait)


def place(words: tuple[int, ...], caps: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Put words 4.. and capabilities into the thread's message area; returns MR0..MR3.

    Raises:
        ValueError: a word behind the fourth does not fit 64 bits unsigned.
    """
    if caps:
        machine.set_caps(*(*caps, 0, 0, 0)[:MESSAGE_MAX_EXTRA_CAPS])
    if len(words) > MESSAGE_REGISTERS:
        try:
            rest = struct.pack(f"<{len(words) - MESSAGE_REGISTERS}Q", *words[MESSAGE_REGISTERS:])
        except struct.error as error:
            raise ValueError(f"a message word does not fit 64 bits unsigned: {error}") from error
        machine.message_write(MESSAGE_REGISTERS, rest)
    padded = (*words, 0, 0, 0, 0)
    return padded[0], padded[1], padded[2], padded[3]


def pack(message: Message) -> tuple[int, int, int, int, int]:
    """As `place`, for a whole message; returns info and MR0..MR3.

    Raises:
        ValueError: more than 120 words or 3 capabilities, or a word outside 0..2**64-1.
    """
    info = abi.message_info(message.label, len(message.words), len(message.caps))
    if not info & _ALL_BUT_LABEL:
        return info, 0, 0, 0, 0
    for word in message.words[:MESSAGE_REGISTERS]:
        if not 0 <= word <= abi.WORD_MASK:
            raise ValueError(f"message word {word} does not fit 64 bits unsigned")
    return info, *place(message.words, message.caps)


def unpack(completion: Completion, what: str) -> Received:
    """A completion as a message, copied out of the message area once.

    Raises:
        Timeout: the system call was cancelled. ServerDied: a call by channel lost its server.
    """
    info = completion[2]
    rest = info & _ALL_BUT_LABEL
    if not completion[0] and rest <= MESSAGE_REGISTERS:  # the commonest: a length, and all words in registers
        return Received(completion[1], info >> _LABEL_SHIFT, completion[3 : 3 + rest], 0, 0, (0, 0, 0))
    status, badge, info, *registers = completion
    if status == Status.CANCELLED:
        raise Timeout(f"{what} was cancelled before anything was transferred")
    if status == Status.SERVER_DIED:
        raise server_died(what)
    length = min(abi.info_length(info), MESSAGE_MAX_LENGTH)
    words = tuple(registers[:length])
    if length > MESSAGE_REGISTERS:
        count = length - MESSAGE_REGISTERS
        words += struct.unpack(f"<{count}Q", machine.message_read(MESSAGE_REGISTERS, count))
    extra, unwrapped = abi.info_extra_caps(info), abi.info_caps_unwrapped(info)
    badges = machine.badges() if unwrapped else (0, 0, 0)
    return Received(badge, abi.info_label(info), words, extra, unwrapped, badges)


def server_died(what: str) -> ServerDied:
    """The exception for Status.SERVER_DIED."""
    return ServerDied(f"{what}: the server died after it had taken the request, which may have been carried out")


def call(cptr: int, message: Message, timeout: float | None = None) -> Received:
    """Send and wait for the reply. On a kernel object the reply's label is an error code (see `invoke`)."""
    return unpack(machine.call(cptr, *pack(message), nanoseconds(timeout)), "Call")


def send(cptr: int, message: Message, timeout: float | None = None) -> None:
    """Send, and wait until a receiver has it. seL4 reports no error: a message without Write right is dropped."""
    status = machine.trap(Syscall.SEND, cptr, *pack(message), 0, 0, nanoseconds(timeout))[0]
    if status == Status.CANCELLED:
        raise Timeout("Send was cancelled: no receiver took the message in time")


def nb_send(cptr: int, message: Message) -> None:
    """Send if a receiver waits now; otherwise drop the message silently, as seL4 does."""
    machine.trap(Syscall.NB_SEND, cptr, *pack(message), 0, 0, FOREVER_NS)


def recv(cptr: int, reply: int, timeout: float | None = None) -> Received:
    """Wait for a message on an endpoint (or a signal on a notification); a caller waits in reply object ``reply``."""
    return unpack(machine.recv(cptr, reply, nanoseconds(timeout)), "Recv")


def nb_recv(cptr: int, reply: int) -> Received | None:
    """Take a waiting message; None if there is none."""
    completion = machine.trap(Syscall.NB_RECV, cptr, 0, 0, 0, 0, 0, reply, 0, FOREVER_NS)
    return None if completion[0] == Status.EMPTY else unpack(completion, "NBRecv")


def reply_recv(cptr: int, message: Message, reply: int, timeout: float | None = None) -> Received:
    """Answer the caller in ``reply`` and wait for the next message with the same reply object, in one step."""
    completion = machine.reply_recv(cptr, *pack(message), reply, nanoseconds(timeout))
    return unpack(completion, "ReplyRecv")


def nb_send_recv(dest: int, message: Message, cptr: int, reply: int, timeout: float | None = None) -> Received:
    """Send to ``dest`` if somebody waits there, then receive on ``cptr``."""
    completion = machine.trap(Syscall.NB_SEND_RECV, cptr, *pack(message), reply, dest, nanoseconds(timeout))
    return unpack(completion, "NBSendRecv")


def nb_send_wait(dest: int, message: Message, cptr: int, timeout: float | None = None) -> Received:
    """As `nb_send_recv`, but the receive has no reply object."""
    completion = machine.trap(Syscall.NB_SEND_WAIT, cptr, *pack(message), 0, dest, nanoseconds(timeout))
    return unpack(completion, "NBSendWait")


def wait(cptr: int, timeout: float | None = None) -> Received:
    """Receive without a reply object: for notifications. A Call that arrives so cannot be answered."""
    return unpack(machine.trap(Syscall.WAIT, cptr, 0, 0, 0, 0, 0, 0, 0, nanoseconds(timeout)), "Wait")


def nb_wait(cptr: int) -> Received | None:
    """Look once, as `wait`; None when nothing is there."""
    completion = machine.trap(Syscall.NB_WAIT, cptr, 0, 0, 0, 0, 0, 0, 0, FOREVER_NS)
    return None if completion[0] == Status.EMPTY else unpack(completion, "NBWait")


def listen(cptr: int) -> int:
    """sel4py's own: this thread takes the channels of this endpoint or notification from now on; 0: of none any more.

    Returns the number that it has among the endpoint's listeners. Its receives there look at the channels, too.

    Raises:
        InvalidCapability: neither endpoint nor notification, or without Read. RangeError: it has its listeners.
        IllegalOperation: the thread listens elsewhere, or the notification is another thread's.
        OSError: this host cannot wait for channels (Linux before 5.16).
    """
    if not cptr:
        machine.channel_listen(0)  # nothing is taken or answered any more when the kernel says so to the clients
    completion = machine.trap(Syscall.LISTEN, cptr, 0, 0, 0, 0, 0, 0, 0, FOREVER_NS)
    answer = unpack(completion, "Listen")
    if answer.label:
        raise kernel_error(answer.label, answer.words, "Listen", explain())
    _look_at_channels(cptr)
    return answer.words[0] if answer.words else 0


def wait_and_listen(notification: int, cptr: int) -> bool:
    """Wait for a signal, and `listen` to what is at ``cptr`` by then: both by one trap, so that the kernel does the
    second as soon as the first is done, before the thread has woken.

    No signal handler of the process runs meanwhile. Returns whether the thread listens.
    """
    _, listened = machine.batch([(Syscall.WAIT, notification, 0, (), ()), (Syscall.LISTEN, cptr, 0, (), ())])
    if listened[0] or listened[2] >> _LABEL_SHIFT:
        return False
    try:
        _look_at_channels(cptr)
    except OSError:
        return False
    return True


def _look_at_channels(cptr: int) -> None:
    """Behind a LISTEN, which is taken back if this host cannot wait for channels (OSError)."""
    try:
        machine.channel_listen(cptr)
    except OSError:
        machine.trap(Syscall.LISTEN, 0, 0, 0, 0, 0, 0, 0, 0, FOREVER_NS)
        raise


def yield_now() -> None:
    """Give up what is left of this scheduling context's head refill."""
    machine.trap(Syscall.YIELD, 0, 0, 0, 0, 0, 0, 0, 0, FOREVER_NS)


def exit_thread(status: int) -> None:
    """sel4py's own: this thread has ended. Its fault endpoint is told (DEATH); returns only on a fake machine."""
    machine.trap(Syscall.EXIT, 0, abi.message_info(0, 1), status & abi.WORD_MASK, 0, 0, 0, 0, 0, FOREVER_NS)


def explain() -> str:
    """sel4py's own: why this thread's last refused system call was refused, in words; empty if nothing is known.

    The reply's word 0 counts the text's bytes (UTF-8), which start at message word 1.
    """
    status, _, info, count, *registers = machine.trap(Syscall.EXPLAIN, 0, 0, 0, 0, 0, 0, 0, 0, FOREVER_NS)
    length = min(abi.info_length(info), MESSAGE_MAX_LENGTH)
    if status != Status.DONE or length <= 1:
        return ""
    data = struct.pack(f"<{MESSAGE_REGISTERS - 1}Q", *registers)
    if length > MESSAGE_REGISTERS:
        data += machine.message_read(MESSAGE_REGISTERS, length - MESSAGE_REGISTERS)
    return data[: min(count, (length - 1) * WORD_BYTES)].decode("utf-8", "replace")
