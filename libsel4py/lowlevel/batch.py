"""Many invocations for the price of one trap.

    with Batch() as batch:
        copies = [batch.queue(cnode.copy, slot, 64, cnode, source, 64, Rights.READ) for slot in slots]
    for copy in copies:
        copy.result()

Rules: an entry carries at most 8 message words and 2 capabilities, since it travels in the ring and not in the
message area; results past the fourth word are dropped by the kernel. One of a trap's entries may have 3 capabilities
and 4 words, by the message area; a further one waits for the next trap. Entries run in order, and a refused entry
does not stop those behind it. Nothing is sent if the block raises.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Generic, NoReturn, ParamSpec, TypeVar

from libsel4py import abi
from libsel4py.abi import RING_ENTRIES, TAIL_CAP_SLOTS, TAIL_MESSAGE_WORDS, Status, Syscall
from libsel4py.errors import KernelError, kernel_error
from libsel4py.lowlevel.invoke import Prepared, per_thread
from libsel4py.lowlevel.syscalls import BatchEntry, Completion, Message, Received, machine, unpack

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Answer = TypeVar("Answer", covariant=True)
_CALL: Final = int(Syscall.CALL)
_NB_SEND: Final = int(Syscall.NB_SEND)
_REPLY_RECV: Final = int(Syscall.REPLY_RECV)
BATCH_WORDS: Final = abi.MESSAGE_REGISTERS + TAIL_MESSAGE_WORDS


class _Recorded(BaseException):
    """Leaves the queued method at the point where it would have trapped."""


class Pending(Generic[Result]):
    """The outcome of one queued invocation, known once the batch has been submitted."""

    def __init__(self, prepared: Prepared, finish: Callable[[], Result]) -> None:
        self._prepared = prepared
        self._finish = finish
        self._completion: Completion | None = None

    def complete(self, completion: Completion) -> None:
        """Called by the batch."""
        self._completion = completion

    def error(self) -> KernelError | None:
        """Why the kernel refused it, or None if it did not. A batched refusal carries no explanation."""
        status, _, info, *words = self._completed()
        if status != Status.DONE:
            return KernelError(status, invocation=f"{self._prepared.name} (cancelled)")
        label = abi.info_label(info)
        return kernel_error(label, tuple(words), self._prepared.name) if label else None

    def result(self) -> Result:
        """What the method returns.

        Raises:
            KernelError: the kernel refused this entry.
            RuntimeError: the batch has not been submitted.
        """
        error = self.error()
        if error is not None:
            raise error
        _, _, info, *words = self._completed()
        reply = tuple(words[: abi.info_length(info)])
        former, per_thread.recorder = per_thread.recorder, lambda _: reply
        try:
            return self._finish()
        finally:
            per_thread.recorder = former

    def _completed(self) -> Completion:
        if self._completion is None:
            raise RuntimeError(f"{self._prepared.name} is queued: leave the batch's block before asking for its result")
        return self._completion


class Asked(Generic[Answer]):
    """The answer to one queued question, known once the batch has been submitted.

    Args:
        read: makes the answer of a completion.
    """

    def __init__(self, read: Callable[[Completion], Answer]) -> None:
        self._read = read
        self._completion: Completion | None = None

    def complete(self, completion: Completion) -> None:
        """Called by the batch."""
        self._completion = completion

    def error(self) -> None:
        return None

    def result(self) -> Answer:
        """The answer. Raises RuntimeError: the batch has not been submitted."""
        if self._completion is None:
            raise RuntimeError("the question is queued: leave the batch's block before asking for the answer")
        return self._read(self._completion)


class _Unasked:
    """An entry that may be refused, or a message that nobody may have wanted: what has become of it is not told."""

    def complete(self, completion: Completion) -> None:
        """Called by the batch."""

    def error(self) -> None:
        return None


class Batch:
    """A queue of invocations that is submitted when its block ends.

    Args:
        check: raise the first refusal at the block's end (after all entries ran). With False, ask each `Pending`.
    """

    def __init__(self, *, check: bool = True) -> None:
        self._check = check
        self._entries: list[BatchEntry] = []
        self._pending: list[Pending[object] | Asked[object] | _Unasked] = []

    def queue(
        self, method: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Pending[Result]:
        """Queue one capability method with its arguments.

        Raises:
            ValueError: it does not fit an entry, or the method made no invocation.
            TypeError: as the method itself.
        """
        recorded: list[Prepared] = []

        def record(prepared: Prepared) -> NoReturn:
            recorded.append(prepared)
            raise _Recorded

        former, per_thread.recorder = per_thread.recorder, record
        try:
            method(*args, **kwargs)
        except _Recorded:
            return self._append(recorded[0], lambda: method(*args, **kwargs))
        finally:
            per_thread.recorder = former
        raise ValueError(f"{method!r} is no kernel invocation: only methods of kernel objects can be batched")

    def queue_prepared(self, prepared: Prepared) -> Pending[None]:
        """As `queue`, of an invocation that is ready and whose reply has no words.

        Raises:
            ValueError: it does not fit an entry. OverflowError, by the trap: a word is none.
        """
        return self._append(prepared, _nothing)

    def queue_try(
        self, method: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> None:
        """As `queue`, of what may be refused: nobody is told, also by a batch that checks."""
        self.queue(method, *args, **kwargs)
        self._pending[-1] = _Unasked()

    def queue_send(self, cptr: int, message: Message) -> None:
        """Queue a message that is dropped where nobody waits for it: an answer by a reply object, most often.

        Raises:
            ValueError: it does not fit an entry.
        """
        if len(message.words) > BATCH_WORDS or message.caps:
            raise ValueError(f"a batched message has {BATCH_WORDS} words at most and no capability: send it by itself")
        info = abi.message_info(message.label, len(message.words))
        self._entries.append((_NB_SEND, cptr, info, message.words, ()))
        self._pending.append(_Unasked())

    def ask(self, op: Syscall, cptr: int, asked: Asked[object]) -> None:
        """Queue a question about the capability at an address, whose answer has 4 words at most."""
        self._entries.append((int(op), cptr, 0, (), ()))
        self._pending.append(asked)

    def extend(self, other: Batch) -> None:
        """Queue all that another batch has queued, which may have been long ago; that one has nothing afterwards."""
        self._entries += other._entries
        self._pending += other._pending
        other._entries, other._pending = [], []

    def _append(self, prepared: Prepared, finish: Callable[[], Result]) -> Pending[Result]:
        most = BATCH_WORDS if len(prepared.caps) <= TAIL_CAP_SLOTS else abi.MESSAGE_REGISTERS
        if len(prepared.words) > most:
            raise ValueError(
                f"{prepared.name} sends {len(prepared.words)} words and {len(prepared.caps)} capabilities; a batched "
                f"invocation has room for {most} words with so many: call it outside of the batch"
            )
        self._entries.append((_CALL, prepared.cptr, prepared.info, prepared.words, prepared.caps))
        pending = Pending(prepared, finish)
        self._pending.append(pending)  # type: ignore[arg-type]  # only complete() and error() are used on it
        return pending

    def submit(self) -> None:
        """Trap with what is queued (64 entries a trap, one of 3 capabilities), and fill in the outcomes.

        Raises:
            KernelError: the first refusal, if the batch checks; a note says which entry it was.
        """
        for index, waiting in enumerate(pending := self._run()):
            error = waiting.error() if self._check else None
            if error is not None:
                error.add_note(f"entry {index} of {len(pending)} in a batch; the entries behind it were executed")
                raise error

    def reply_recv(self, endpoint: int, message: Message, reply: int) -> Received:
        """Submit what is queued; then answer the caller in ``reply`` and wait for the next message, by the same trap.

        So a pager maps and answers at once. What was refused is told by the `Pending`s alone, which are all filled in
        when the message has come. Not for a thread that listens to channels: it hears of no call by one. Nothing ends
        the wait, no signal's handler either.

        Raises:
            ValueError: the answer does not fit an entry.
        """
        if len(message.words) > abi.MESSAGE_REGISTERS or message.caps:
            raise ValueError(
                f"a batched answer has {abi.MESSAGE_REGISTERS} words at most and no capability: send it by itself"
            )
        info = abi.message_info(message.label, len(message.words))
        received: Asked[Received] = Asked(lambda completion: unpack(completion, "ReplyRecv"))
        self._entries.append((_REPLY_RECV, endpoint, info, message.words, (), reply))
        self._pending.append(received)
        self._run()
        return received.result()

    def _run(self) -> list[Pending[object] | Asked[object] | _Unasked]:
        """Trap with what is queued; what is filled in."""
        entries, pending = self._entries, self._pending
        self._entries, self._pending = [], []
        first = 0
        while first < len(entries):
            completions = machine.batch(_of_one_trap(entries, first))
            for waiting, completion in zip(pending[first:], completions, strict=False):
                waiting.complete(completion)
            first += len(completions)
        return pending

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.submit()
        self._entries, self._pending = [], []


def _nothing() -> None:
    """What such a method returns."""


def _of_one_trap(entries: list[BatchEntry], first: int) -> list[BatchEntry]:
    """The entries from this one on that go by one trap."""
    taken = entries[first : first + RING_ENTRIES]
    wide = [index for index, entry in enumerate(taken) if len(entry[4]) > TAIL_CAP_SLOTS]
    return taken[: wide[1]] if len(wide) > 1 else taken
