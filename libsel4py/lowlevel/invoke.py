"""Invocation of kernel objects by the ABI table: arguments by name, refusals as exceptions.

Rules: the table (`libsel4py.abi.INVOCATIONS`) decides order and number of words and capabilities; nothing about a
single method stands here. An invocation is a Call whose reply's label is an error code (manual, section 10.1).

An explanation must be asked for at once, since the next system call changes what there is to explain; it costs
one more trap per refusal. Programs that expect many refusals switch it off with `set_explanations`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from libsel4py import abi
from libsel4py.abi import INVOCATIONS, MESSAGE_MAX_LENGTH, Label, Syscall
from libsel4py.errors import KernelError, kernel_error
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message, Received

NULL_CPTR = 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """One invocation, ready to be sent: the capability, the row of the table, the message."""

    cptr: int
    row: abi.Invocation
    message: Message

    @property
    def name(self) -> str:
        return f"{self.row.object}.{self.row.name}"


Recorder = Callable[[Prepared], tuple[int, ...]]


class _PerThread(threading.local):
    recorder: Recorder | None = None


per_thread = _PerThread()
_explanations = True


def set_explanations(enabled: bool) -> bool:
    """Ask the kernel to explain each refusal, or not; returns the former setting. Applies to the whole task."""
    global _explanations
    former, _explanations = _explanations, enabled
    return former


def prepare(cptr: int, label: Label, extra_words: tuple[int, ...] = (), /, **arguments: int) -> Prepared:
    """Pack arguments by the table. Each is a word, or the address of a capability (0 for none).

    Args:
        extra_words: the words behind the named ones, for methods that the table marks ``variable``.
    Raises:
        TypeError: an argument is missing or not in the table.
        ValueError: a word does not fit 64 bits, or the message is too long.
    """
    row = INVOCATIONS[label]
    expected = {*row.words, *row.caps}
    if arguments.keys() != expected:
        wrong = ", ".join(sorted(arguments.keys() ^ expected))
        raise TypeError(f"{row.object}.{row.name} takes {', '.join((*row.words, *row.caps))}; check {wrong}")
    if extra_words and not row.variable:
        raise TypeError(f"{row.object}.{row.name} takes no words behind the named ones")
    words = tuple(_word(row, name, arguments[name]) for name in row.words) + extra_words
    if len(words) > MESSAGE_MAX_LENGTH:
        raise ValueError(f"{row.object}.{row.name}: {len(words)} words; a message holds {MESSAGE_MAX_LENGTH}")
    return Prepared(cptr, row, Message(label, words, tuple(arguments[name] for name in row.caps)))


def _word(row: abi.Invocation, name: str, value: int) -> int:
    if not 0 <= value <= abi.WORD_MASK:
        raise ValueError(f"{row.object}.{row.name}: {name}={value} does not fit 64 bits unsigned")
    return int(value)


def invoke(cptr: int, label: Label, extra_words: tuple[int, ...] = (), /, **arguments: int) -> tuple[int, ...]:
    """Invoke a method of the kernel object that ``cptr`` names; returns the reply's words.

    Inside `Batch.queue` the invocation is queued instead.

    Raises:
        KernelError: the kernel refused; which subclass says why.
        TypeError, ValueError: as `prepare`.
    """
    prepared = prepare(cptr, label, extra_words, **arguments)
    recorder = per_thread.recorder
    if recorder is not None:
        return recorder(prepared)
    received = syscalls.unpack(
        syscalls.machine.trap(Syscall.CALL, cptr, *syscalls.pack(prepared.message), 0, 0, syscalls.FOREVER_NS),
        prepared.name,
    )
    if received.label:
        raise refusal(prepared, received)
    return received.words


def refusal(prepared: Prepared, received: Received) -> KernelError:
    """The exception for a refused invocation, explained by the kernel if explanations are on."""
    return kernel_error(received.label, received.words, prepared.name, explanation())


def explanation() -> str:
    """Why the calling thread's last system call was refused; empty if explanations are off."""
    return syscalls.explain() if _explanations else ""
