"""The SDK on the pure kernel, in one process: the machine's user half, as Python threads that act for TCBs.

Each Python thread stands for one thread of `tests.harness.Machine`; a trap writes its ring entry, lets the kernel
run, and waits until its own completion is there (another thread's trap may bring it).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from libsel4py import abi
from libsel4py.abi import IPC_CAPS_OR_BADGES, IPC_MESSAGE, WORD_BYTES, InitialSlot, Syscall
from libsel4py.capabilities import CNode
from libsel4py.environment import Slot
from libsel4py.lowlevel.syscalls import BatchEntry, Completion, ThreadEntry, TrapArguments, installed
from libsel4py.mapping import Mapping
from libsel4py.task import Task, as_task
from libsel4py.testing import in_background
from libsel4py.testing.byte_messages import ByteMessages
from tests.harness import OWN_REPLY, THREAD_CNODE_BITS, Machine, Thread

PATIENCE = 20.0  # seconds
FREE_SLOTS = (100, 100)  # first and count, in each thread's CNode


class KernelCpu(ByteMessages):
    """`Cpu` of the calling Python thread, on a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._local = threading.local()
        self._ran = threading.Condition(threading.RLock())
        self._closed = False

    @contextmanager
    def acting_for(self, thread: Thread) -> Iterator[None]:
        """Let the calling Python thread be this thread of the machine."""
        self._local.thread = thread
        yield
        del self._local.thread

    @property
    def _thread(self) -> Thread:
        thread: Thread = self._local.thread
        return thread

    @property
    def _frame(self) -> int:
        frame: int = self._thread.tcb.trap_frame
        return frame

    def call(self, *arguments: int) -> Completion:
        return self.trap(Syscall.CALL, *arguments[:6], 0, 0, *arguments[6:])

    def reply_recv(self, *arguments: int) -> Completion:
        return self.trap(Syscall.REPLY_RECV, *arguments[:7], 0, *arguments[7:])

    def recv(self, cptr: int, reply: int, *timeout_ns: int) -> Completion:
        return self.trap(Syscall.RECV, cptr, 0, 0, 0, 0, 0, reply, 0, *timeout_ns)

    def trap(self, *arguments: int) -> Completion:
        call = TrapArguments(*arguments)
        with self._ran:
            self._thread.submit(call.op, call.cptr, call.info, call.registers, reply=call.reply, dest=call.dest)
            self._run()
            if call.timeout_ns >= 0 and not self._has_completion(call.timeout_ns / 1e9):
                self._thread.submit(Syscall.CANCEL)
                self._run()
                ended = self._completion()
                self._completion()  # of CANCEL itself
                return ended
            return self._completion()

    def batch(self, entries: Sequence[BatchEntry], /) -> list[Completion]:
        with self._ran:
            for op, cptr, info, words, caps, *reply in entries:
                inline = len(caps) <= abi.TAIL_CAP_SLOTS and not reply
                self._thread.submit(op, cptr, info, words, caps=caps, inline=inline, reply=reply[0] if reply else 0)
            self._run()
            return [self._completion() for _ in entries]

    def _run(self) -> None:
        self.machine.run()
        self._ran.notify_all()

    def _has_completion(self, seconds: float) -> bool:
        thread = self._thread

        def produced() -> bool:
            (count,) = self.machine.ram.read(thread.tcb.trap_frame + abi.COMPLETE_PRODUCED, 4)[:1]
            return self._closed or count != thread.expected & 0xFF

        return self._ran.wait_for(produced, seconds) and not self._closed

    def close(self) -> None:
        """End all waits: threads that serve come back with an error."""
        with self._ran:
            self._closed = True
            self._ran.notify_all()

    def _completion(self) -> Completion:
        if not self._has_completion(PATIENCE):
            raise RuntimeError(f"the system call did not complete: the thread is {self._thread.state.name}")
        done = self._thread.completion()
        assert done is not None
        return (done.status, done.badge, done.info, *done.registers)

    def message_write(self, first: int, words: bytes, /) -> None:
        self.machine.ram.poke(self._frame + IPC_MESSAGE + first * WORD_BYTES, words)

    def message_read(self, first: int, count: int, /) -> bytes:
        return bytes(self.machine.ram.read(self._frame + IPC_MESSAGE + first * WORD_BYTES, count * WORD_BYTES))

    def set_caps(self, cap0: int, cap1: int, cap2: int, /) -> None:
        self.machine.poke_words(self._frame + IPC_CAPS_OR_BADGES, (cap0, cap1, cap2))

    def badges(self) -> tuple[int, int, int]:
        badge0, badge1, badge2 = self.machine.ram.words(self._frame + IPC_CAPS_OR_BADGES, 3)
        return badge0, badge1, badge2

    def set_receive(self, cnode: int, index: int, depth: int, /) -> None:
        self._thread.set_receive(cnode, index, depth)

    def set_thread_entry(self, entry: ThreadEntry, /) -> None:
        raise NotImplementedError("the machine of the tests starts no threads by itself")

    # Channels: the kernel has them, and these threads have no keeper that could take a page.

    kernel_trap = trap

    def channel_bind(self, cptr: int, number: int, timeout_ns: int = 0, /) -> None:
        raise LookupError(f"channel {number} has no page")

    def channel_unbind(self, cptr: int, /) -> bool:
        return False

    def channel_listen(self, cptr: int, /) -> None:
        """All receives are the kernel's."""

    def detach(self) -> int:
        return 0

    def answer(self, handle: int, info: int, mr0: int, mr1: int, mr2: int, mr3: int, /) -> bool:
        raise AssertionError("nothing can have been detached")

    def signal_many(self, cptrs: Sequence[int], /) -> None:
        for cptr in cptrs:
            self.trap(Syscall.SEND, cptr, 0, 0, 0, 0, 0)

    def set_upgrade(self, threshold: int, callback: Callable[[int], object] | None, /) -> None:
        """No call is reported."""

    def candidate(self, cptr: int, /) -> None:
        """No call is reported."""

    def forget_candidate(self, cptr: int, /) -> None:
        """None was counted."""

    def channel_statistics(self) -> tuple[int, int, int, int, int]:
        return 0, 0, 0, 0, 0

    # Memory: the kernel keeps its tables, and these threads have no address space of their own.

    def Mapping(self, address: int, size: int, writable: bool, /) -> Mapping:
        raise NotImplementedError("the threads of the tests see no memory")


class Bench:
    """A machine with the SDK on it. The test itself acts for the initial task."""

    def __init__(self, cpu: KernelCpu) -> None:
        self.cpu = cpu
        self.machine = cpu.machine
        self._running: list[Future[None]] = []

    def thread(self, name: str) -> Thread:
        """A further thread, its CNode laid out as root does it."""
        thread = self.machine.thread(name)
        guard = abi.cnode_cap_data(0, abi.WORD_BITS - THREAD_CNODE_BITS)
        self.machine.grant(thread, thread.cnode, Slot.CNODE, badge=guard)
        return thread

    def start(self, thread: Thread, task: Task, work: Callable[[Task], None]) -> None:
        """Let ``work`` act for a thread, on a Python thread that ends with the bench."""

        def act() -> None:
            with self.cpu.acting_for(thread), as_task(task):
                work(task)

        self._running.append(in_background(act))

    def close(self) -> None:
        """Wait for the threads that `start` made."""
        self.cpu.close()
        for each in self._running:
            each.exception(PATIENCE)


@contextmanager
def bench(machine: Machine) -> Iterator[Bench]:
    """Put the SDK on a machine for the length of the block."""
    cpu = KernelCpu(machine)
    with installed(cpu), cpu.acting_for(machine.root):
        made = Bench(cpu)
        try:
            yield made
        finally:
            made.close()


ROOT_CNODE = CNode(InitialSlot.CNODE)
OWN_REPLY_SLOT = OWN_REPLY
