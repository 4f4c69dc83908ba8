"""Invocation of kernel objects by the ABI table: arguments by name, refusals as exceptions.

Rules: the table (`libsel4py.abi.INVOCATIONS`) decides order and number of words and capabilities; nothing about a
single method stands here. An invocation is a Call whose reply's label is an error code (manual, section 10.1).

An explanation must be asked for at once, since the next system call changes what there is to explain; it costs
one more trap per refusal. Programs that expect many refusals switch it off with `set_explanations`.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from libsel4py import abi
from libsel4py.abi import INVOCATIONS, MESSAGE_MAX_LENGTH, MESSAGE_REGISTERS, Label, Syscall
from libsel4py.errors import KernelError, kernel_error
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import FOREVER_NS, Completion, Received, machine

_Pick = Callable[[Mapping[str, int]], tuple[int, ...]]


class Prepared(NamedTuple):
    """One invocation, ready to be sent: the capability, the row of the table, the message."""

    cptr: int
    row: abi.Invocation
    info: int
    words: tuple[int, ...]
    caps: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.row.object}.{self.row.name}"


class _Plan(NamedTuple):
    """A row of the table, made ready for packing: how to pick words and capabilities out of the arguments."""

    row: abi.Invocation
    pick_words: _Pick
    pick_caps: _Pick
    arity: int
    info: int


def _picker(names: tuple[str, ...]) -> _Pick:
    match names:
        case ():
            return lambda arguments: ()
        case (name,):
            return lambda arguments: (arguments[name],)
    return operator.itemgetter(*names)


_PLANS: Final = {
    int(label): _Plan(
        row,
        _picker(row.words),
        _picker(row.caps),
        len(row.words) + len(row.caps),
        abi.message_info(row.label, len(row.words), len(row.caps)),
    )
    for label, row in INVOCATIONS.items()
}
_CALL: Final = int(Syscall.CALL)
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
    row, pick_words, pick_caps, arity, info = _PLANS[label]
    try:
        words, caps = pick_words(arguments), pick_caps(arguments)
    except KeyError:
        raise _wrong_arguments(row, arguments) from None
    if len(arguments) != arity:
        raise _wrong_arguments(row, arguments)
    if extra_words:
        if not row.variable:
            raise TypeError(f"{row.object}.{row.name} takes no words behind the named ones")
        words += extra_words
        info += len(extra_words)
    if words and (min(words) < 0 or max(words) > abi.WORD_MASK or len(words) > MESSAGE_MAX_LENGTH):
        raise _wrong_word(row, words)
    return Prepared(cptr, row, info, words, caps)


def _wrong_arguments(row: abi.Invocation, arguments: Mapping[str, int]) -> TypeError:
    expected = (*row.words, *row.caps)
    wrong = ", ".join(sorted(arguments.keys() ^ set(expected)))
    return TypeError(f"{row.object}.{row.name} takes {', '.join(expected) or 'no argument'}; check {wrong}")


def _wrong_word(row: abi.Invocation, words: tuple[int, ...]) -> ValueError:
    for index, word in enumerate(words):
        if not 0 <= word <= abi.WORD_MASK:
            name = row.words[index] if index < len(row.words) else f"word {index}"
            return ValueError(f"{row.object}.{row.name}: {name}={word} does not fit 64 bits unsigned")
    return ValueError(f"{row.object}.{row.name}: {len(words)} words; a message holds {MESSAGE_MAX_LENGTH}")


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
    message = syscalls.place(prepared.words, prepared.caps)
    completion = machine.trap(_CALL, cptr, prepared.info, *message, 0, 0, FOREVER_NS)
    info = completion[2]
    if not completion[0] and info <= MESSAGE_REGISTERS:  # label 0, all words in registers
        return completion[3 : 3 + info]
    return _result(prepared, completion)


def _result(prepared: Prepared, completion: Completion) -> tuple[int, ...]:
    received = syscalls.unpack(completion, prepared.name)
    if received.label:
        raise refusal(prepared, received)
    return received.words


def ready(label: Label) -> Callable[[int, int, int], None]:
    """A method of two words and no result, made ready: called with the capability and the words, in the table's order.

    It does what `invoke` does, and looks nothing up by name. Who revokes has most often slept before: little of the
    program is in the processor's caches then, and each look costs a microsecond.
    """
    first, second = INVOCATIONS[label].words
    info = _PLANS[label].info

    def prepared(cptr: int, mr0: int, mr1: int) -> Prepared:
        return prepare(cptr, label, **{first: mr0, second: mr1})

    def invoke_ready(cptr: int, mr0: int, mr1: int) -> None:
        recorder = per_thread.recorder
        if recorder is not None:
            recorder(prepared(cptr, mr0, mr1))
            return
        try:
            completion = machine.trap(_CALL, cptr, info, mr0, mr1, 0, 0, 0, 0, FOREVER_NS)
        except OverflowError:
            prepared(cptr, mr0, mr1)  # raises ValueError, unless the error is of a signal's handler
            raise
        if completion[0] or completion[2]:
            _result(prepared(cptr, mr0, mr1), completion)

    return invoke_ready


def refusal(prepared: Prepared, received: Received) -> KernelError:
    """The exception for a refused invocation, explained by the kernel if explanations are on."""
    return kernel_error(received.label, received.words, prepared.name, explanation())


def explanation() -> str:
    """Why the calling thread's last system call was refused; empty if explanations are off."""
    return syscalls.explain() if _explanations else ""
