"""The machine as the SDK sees it: the functions of `hw.cpu`, and the one place where they are bound.

Rules: nothing else in the SDK imports `hw.cpu`. The import happens at the first use, so that all of the SDK can be
loaded, checked and tested where there is no machine; `installed` puts another machine in its place.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

if TYPE_CHECKING:
    from libsel4py.mapping import Mapping

Completion = tuple[int, int, int, int, int, int, int]  # status, badge, info, MR0..MR3
Words = tuple[int, int, int, int, int]  # info, MR0..MR3
Answer = int | bytes | Words  # what a server answers: a number, a message of bytes, or words
Request = tuple[int, int, int, int | bytes, int, int, int]  # a completion, or one with all bytes in the place of MR0
# op, cptr, info, words 0..8, caps 0..3; a reply object's address of a ReplyRecv
BatchEntry = (
    tuple[int, int, int, tuple[int, ...], tuple[int, ...]] | tuple[int, int, int, tuple[int, ...], tuple[int, ...], int]
)
ThreadEntry = Callable[[int, int, int, int, int, int, int, int], int | None]  # thread, image, six words; exit status


class Cpu(Protocol):
    """The user's half of the machine, as `hw.cpu` gives it; every function is of the calling thread."""

    def trap(
        self,
        op: int,
        cptr: int,
        info: int,
        mr0: int,
        mr1: int,
        mr2: int,
        mr3: int,
        reply: int = ...,
        dest: int = ...,
        timeout_ns: int = ...,
        /,
    ) -> Completion: ...
    def call(
        self, cptr: int, info: int, mr0: int, mr1: int, mr2: int, mr3: int, timeout_ns: int = ..., /
    ) -> Completion:
        """As `trap` with CALL; nothing that a call does not need is looked at."""

    def reply_recv(
        self, cptr: int, info: int, mr0: int, mr1: int, mr2: int, mr3: int, reply: int, timeout_ns: int = ..., /
    ) -> Completion:
        """As `trap` with REPLY_RECV."""

    def recv(self, cptr: int, reply: int, timeout_ns: int = ..., /) -> Completion:
        """As `trap` with RECV."""

    def call_numbers(
        self, cptr: int, info: int, shape: int, timeout_ns: int, /, *numbers: int
    ) -> int | bytes | Completion | None:
        """As `call`, with up to four numbers as words, and the reply as a value.

        Args:
            shape: `abi.ValueKind` of the result, then of each number (SIGNED or WORD), VALUE_KIND_BITS each from bit 0.
        Returns:
            What a plain reply of that kind says: an int, a bool, 0 for NOTHING, bytes. The completion, where the reply
            is another one. None, with nothing sent, where a number does not fit.
        """

    def call_bytes(
        self, cptr: int, info: int, result: int, timeout_ns: int, data: bytes, /
    ) -> int | bytes | Completion | None:
        """As `call_numbers`, with a message as `message_put` packs it. ``info`` without the length. None, with nothing
        sent, where there are more than 952 bytes."""

    def answer_recv(self, cptr: int, answer: Answer, reply: int, /) -> Request:
        """As `reply_recv`; a number answers as a signed word, bytes with label 0.

        A message of bytes that fill all of its words, more than four, and that brings no capability comes with the
        bytes in the place of MR0, and zeros behind. Raises TypeError, OverflowError: the answer is none of these.
        """

    def serve(
        self, cptr: int, answer: Answer | None, reply: int, loop: object, server: object, receive: object, /
    ) -> tuple[int, Any, int]:
        """As `answer_recv`, or `recv` where there is no answer, and again with what the method answers that the message
        is for, until something is unusual (`abi.Served`).

        Args:
            loop: its ``caller`` and ``entry`` (`dispatch.Entry`) are set before a method is called.
            server: its ``connections`` are looked at, and whether the word that ``changes`` is an array of is the same.
            receive: whose ``slot`` must stand ready for the next receive (`task.ReceiveSlot`); None: that of nobody.
        Returns:
            REQUEST, a `Request`, 0: of nobody, or nothing, that is known. ANSWER, an `Answer`, 0: it has not been sent,
            since there are changes, no slot is ready, `detach` was called, or other threads are to have a turn. RAISED,
            an exception, info: of a method.
        """

    def kernel_trap(
        self,
        op: int,
        cptr: int,
        info: int,
        mr0: int,
        mr1: int,
        mr2: int,
        mr3: int,
        reply: int = ...,
        dest: int = ...,
        timeout_ns: int = ...,
        /,
    ) -> Completion:
        """As `trap`, and never by a channel: for calls whose reply may bring a capability."""

    def batch(self, entries: Sequence[BatchEntry], /) -> list[Completion]: ...
    def message_write(self, first: int, words: bytes, /) -> None: ...
    def message_read(self, first: int, count: int, /) -> bytes: ...
    def message_put(self, label: int, data: bytes, /) -> Words:
        """Bytes as a message (`libsel4py.wire`): info and MR0..MR3, the rest in the message area.

        Raises:
            ValueError: more than 952 bytes.
        """

    def message_get(self, info: int, mr0: int, mr1: int, mr2: int, mr3: int, /) -> bytes | None:
        """The bytes of such a message that this thread has just received; None if it is shorter than it claims."""

    def set_caps(self, cap0: int, cap1: int, cap2: int, /) -> None: ...
    def badges(self) -> tuple[int, int, int]: ...
    def set_receive(self, cnode: int, index: int, depth: int, /) -> None: ...
    def set_thread_entry(self, entry: ThreadEntry, /) -> None: ...

    # channels (docs/guide/components.md, "Fast calls")

    def channel_bind(self, cptr: int, number: int, timeout_ns: int = ..., /) -> None:
        """Let this thread's calls (or signals) on ``cptr`` go by the channel that it has just connected.

        Raises:
            LookupError: its page has not come in that time. OSError: no memory, or as many are bound as can be.
        """

    def channel_unbind(self, cptr: int, /) -> bool:
        """Let them go through the kernel again; False if nothing was bound."""

    def channel_listen(self, cptr: int, /) -> None:
        """Let this thread's receives on ``cptr`` look at its channels, after LISTEN; 0, before LISTEN 0: none more.

        Raises:
            OSError: this host cannot wait for several words (Linux before 5.16).
        """

    def detach(self) -> int:
        """Take the request that this thread's last receive brought out of its hands, to be answered later.

        Returns its handle; 0 if it came through the kernel, is no call, or has been answered or detached already.
        """

    def answer(self, handle: int, info: int, mr0: int, mr1: int, mr2: int, mr3: int, /) -> bool:
        """Answer a detached request, from any thread; False if none is owed any more. Words 4.. as for a `trap`."""

    def signal_many(self, cptrs: Sequence[int], /) -> None:
        """Signal each of these notifications."""

    def set_upgrade(self, threshold: int, callback: Callable[[int], object] | None, /) -> None:
        """Call ``callback(cptr)`` at the entry of each ``threshold``-th slow CALL on a candidate.

        It runs on the thread that calls, which may trap in it: the message area (words, capabilities, badges) comes
        back as it was. Calls of a thread in which the candidate is bound, and those by `kernel_trap`, are not counted.
        Candidates, counts and the one callback (None for none) are the process's.
        """

    def candidate(self, cptr: int, /) -> None:
        """Let `set_upgrade` count the calls on ``cptr``."""

    def forget_candidate(self, cptr: int, /) -> None:
        """Count them no more: the capability there is about to be another."""

    def channel_statistics(self) -> tuple[int, int, int, int, int]:
        """Of this thread: calls made by channel, requests taken by channel, sleeps, messages from the kernel, calls
        abandoned."""

    # memory

    def Mapping(self, address: int, size: int, writable: bool, /) -> Mapping:
        """A view of what is, or will be, mapped at these addresses (`libsel4py.mapping`).

        Raises:
            ValueError: not all of them are among the addresses at which the kernel maps frames.
        """


_FUNCTIONS: Final = (
    "trap",
    "call",
    "reply_recv",
    "recv",
    "call_numbers",
    "call_bytes",
    "answer_recv",
    "serve",
    "batch",
    "message_write",
    "message_read",
    "message_put",
    "message_get",
    "set_caps",
    "badges",
    "set_receive",
    "set_thread_entry",
    "kernel_trap",
    "channel_bind",
    "channel_unbind",
    "channel_listen",
    "detach",
    "answer",
    "signal_many",
    "set_upgrade",
    "candidate",
    "forget_candidate",
    "channel_statistics",
    "Mapping",
)


class _Machine:
    """Holder of the machine's functions. A trap looks its function up here each time, so it must cost a slot only."""

    __slots__ = _FUNCTIONS


def _load_then(name: str) -> Callable[..., object]:
    """A function that binds `hw.cpu` when it is called first, and then does what it is named for."""

    def load(*arguments: object) -> object:
        _bind(importlib.import_module("hw.cpu"))
        function: Callable[..., object] = getattr(_machine, name)
        return function(*arguments)

    return load


def _bind(cpu: object) -> None:
    functions = [getattr(cpu, name) for name in _FUNCTIONS]
    for name, function in zip(_FUNCTIONS, functions, strict=True):
        setattr(_machine, name, function)


_machine = _Machine()
for _name in _FUNCTIONS:
    setattr(_machine, _name, _load_then(_name))
machine: Final[Cpu] = cast(Cpu, _machine)


@contextmanager
def installed(cpu: Cpu) -> Iterator[Cpu]:
    """Run the block on another machine (tests); the former one comes back afterwards."""
    former = [getattr(_machine, name) for name in _FUNCTIONS]
    _bind(cpu)
    try:
        yield cpu
    finally:
        for name, function in zip(_FUNCTIONS, former, strict=True):
            setattr(_machine, name, function)
