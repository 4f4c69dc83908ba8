# mypy: disable-error-code="empty-body"
"""A hostile task: on order it uses up what it can reach, lets go of it when it is refused, and begins again.

Each attack does so much as one round of it can before it looks at the clock, and returns how often it did its deed.
"""

from __future__ import annotations

import _thread
import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import ExitStack

from bench.tasks import channel
from libsel4py import Interface, NotEnoughMemory, RangeError, component, oneway
from libsel4py.abi import MAPPING_END, Error, ObjectType, PageFault, Syscall, info_label, message_info
from libsel4py.capabilities import Channel, Endpoint
from libsel4py.dataspace import DataSpace
from libsel4py.lowlevel.syscalls import FOREVER_NS, machine

RUN = 16  # messages or faults between two looks at the clock
STACK_BYTES = 256 << 10
HASHES = 500  # without the interpreter's lock
BLOCK_BYTES = 1 << 20
FRAME_BYTES = 64 << 10
INFO = message_info(1, 4)


class Exhausting(Interface):
    """Attacks on order."""

    @oneway
    def begin(self, attack: str, stop_ns: int) -> None:
        """Attack until that time (`time.perf_counter_ns`, which all processes of a host share)."""

    def deeds(self) -> int:
        """How many threads, blocks, descriptors, messages, faults or channels there were. Waits for the end."""


@component
class Main(Exhausting):
    """The attacks."""

    def start(self) -> None:
        self._deeds = self._stop_ns = 0
        self._attacks: dict[str, Callable[[], int]] = {
            "forks": self._forks,
            "memory": self._memory,
            "descriptors": self._descriptors,
            "messages": lambda: self._messages("other"),
            "messages_to_its_server": lambda: self._messages("far"),
            "faults": self._faults,
            "channels": self._channels,
        }

    def begin(self, attack: str, stop_ns: int) -> None:
        round_of, self._stop_ns, self._deeds = self._attacks[attack], stop_ns, 0
        while not self._is_over():
            with contextlib.suppress(MemoryError):  # by its own doing, wherever that meets it
                self._deeds += round_of()

    def deeds(self) -> int:
        return self._deeds

    def _is_over(self) -> bool:
        return time.perf_counter_ns() >= self._stop_ns

    def _forks(self) -> int:
        """Processes, which the sandbox refuses, and then threads until they are refused as well, all of which compute.

        Not by `threading`, which waits for ever for a thread that had no memory to begin with.
        """
        with contextlib.suppress(PermissionError):
            os.fork()
            raise RuntimeError("a task could fork")
        before, started, gate = _thread._count(), 0, _thread.allocate_lock()
        _thread.stack_size(STACK_BYTES)
        with gate, contextlib.suppress(RuntimeError, MemoryError):
            while not self._is_over():
                _thread.start_new_thread(self._compute, (gate,))
                started += 1
        while _thread._count() > before:
            time.sleep(0)
        return started

    def _compute(self, gate: _thread.LockType) -> None:
        with gate:
            pass
        while not self._is_over():
            hashlib.pbkdf2_hmac("sha256", b"", b"", HASHES)

    def _memory(self) -> int:
        """The process's own memory, and frames of the pool, each written to."""
        blocks: list[bytes] = []
        with contextlib.suppress(MemoryError):
            while not self._is_over():
                blocks.append(b"x" * BLOCK_BYTES)
        spaces: list[DataSpace] = []
        try:
            while not self._is_over():
                spaces.append(DataSpace.allocate(FRAME_BYTES, self.task))
                spaces[-1].attach().write(0, b"x")
        except (NotEnoughMemory, MemoryError):
            pass
        finally:
            for space in spaces:
                space.close()
        return len(blocks) + len(spaces)

    def _descriptors(self) -> int:
        held: list[int] = []
        try:
            while not self._is_over():
                held += os.pipe()
                held.append(os.dup(held[0]))
        except OSError:
            pass
        finally:
            for descriptor in held:
                os.close(descriptor)
        return len(held)

    def _messages(self, name: str) -> int:
        """To a server, through the kernel: those that ask for no answer, and those that do."""
        trap, server = machine.trap, self.task.environment.connections[name].cptr
        for _ in range(RUN):
            trap(Syscall.NB_SEND, server, INFO, 1, 2, 3, 4, 0, 0, FOREVER_NS)
        trap(Syscall.CALL, server, INFO, 1, 2, 3, 4, 0, 0, FOREVER_NS)
        return RUN + 1

    def _faults(self) -> int:
        """Of guarded accesses, which do not stop the thread: each goes to root, who refuses it."""
        for _ in range(RUN):
            machine.trap(Syscall.FAULT, 0, 0, MAPPING_END - 4096, 0, PageFault.GUARDED, 0, 0, 0, FOREVER_NS)
        return RUN

    def _channels(self) -> int:
        """To the pair's own server, until the kernel refuses one; each is used."""
        task, near = self.task, self.task.environment.connections["near"].cptr
        opened: list[tuple[Endpoint, Channel]] = []
        try:
            while not self._is_over():
                opened.append(self._open(near))
                status, _, info, *_ = machine.call(opened[-1][0].cptr, INFO, 1, 2, 3, 4)
                if status or info_label(info) == Error.INVALID_CAPABILITY:
                    raise RuntimeError("a channel is refused")
        except (NotEnoughMemory, RangeError):
            pass  # as many as a thread can have
        finally:
            for copy, each in opened:
                channel.disconnect(task, copy, each)
                task.delete(copy)
        return len(opened)

    def _open(self, server: int) -> tuple[Endpoint, Channel]:
        """Another copy of the capability, with a channel of its own; nothing is left of one that is refused."""
        task, copy = self.task, Endpoint(self.task.slots.allocate())
        task.cnode.copy(copy.cptr, task.cnode, server)
        with ExitStack() as undo:
            undo.callback(task.delete, copy)
            each = Channel(task.memory.allocate(ObjectType.CHANNEL).start)
            undo.callback(task.memory.free, each.cptr)
            copy.connect(each)
            undo.pop_all()
        return copy, each
