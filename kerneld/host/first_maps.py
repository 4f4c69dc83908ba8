"""First mappings of small frames: handed over by the fast path, and noted behind it.

A page fault waits for the host's part of a Map. Where a small frame that nobody has had goes to a live process to which
nothing else waits to be told, and which may write it, the fast path carries that part out by itself, in one C call
(_fastpath/hand.c), and goes on to serve. What it needs to know stands in `shared`; what it has done, in `notes`. A
process whose threads fault has a second socket, by which such a mapping goes to the thread that waits for it: it is
awake next, and nobody else has to be woken (hw/_cpu/awake.c).

Rule: notes are taken (`note`) as soon as the fast path returns. Until then what is said here, in `Mappings`, in
`FrameMemory` and in a process's mail is behind by them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Final, TypeAlias

from kerneld.host.control import MISSED
from kerneld.host.frame_memory import FrameMemory
from kerneld.host.frame_stock import SIZE
from kerneld.host.frame_use import FrameUse
from kerneld.host.process import Process
from libsel4py import abi

# Faults of a process whose threads have no socket to be answered by. Not 0: a kernel before this one may have sent one
# mapping that it told nobody of, and the next one, by the same number, must come to the keeper as well.
MISSED_MOST: Final = 2
_LOW: Final = (1 << abi.FRAME_MIN_BITS) - 1
Note: TypeAlias = tuple[int, int, int, int]  # VSpace, address | Rights, frame | size bits, the message's number
Noted: TypeAlias = Callable[[Process, int, int, int], object]


class FirstMaps:
    """What the fast path may hand, and has handed.

    Args:
        memory: the frames' own memory. uses: by the frame's address, who has it. noted: told the process, the address,
            the rights and the frame of a mapping that the fast path has made.
    Attributes:
        shared: what the fast path takes; None before it may hand anything. notes: what it has done.
    """

    def __init__(self, memory: FrameMemory, uses: dict[int, FrameUse], noted: Noted) -> None:
        self._memory = memory
        self._uses = uses
        self._noted = noted
        self._spaces: dict[int, array[int]] = {}
        self._processes: dict[int, Process] = {}
        self.notes: list[Note] = []
        self.shared: tuple[object, ...] | None = None

    def arm(self, process: Process) -> None:
        """Nothing waits to be told to the process: the fast path hands it mappings, until something else is to be."""
        process.map_mail.arm((thread.frame, thread.tcb.address) for thread in process.threads if thread.doorbell >= 0)
        self._spaces[process.vspace] = process.control.words
        self._processes[process.vspace] = process
        if self.shared is None:
            self.shared = (self._spaces, self.notes, self._uses, *self._memory.shared())

    def forget(self, process: Process) -> None:
        """The process ends."""
        if self._processes.get(process.vspace) is process:
            del self._processes[process.vspace], self._spaces[process.vspace]

    def note(self) -> None:
        """Take what the fast path has done."""
        without_socket: set[Process] = set()
        for space, where, frame, sequence in self.notes:
            process, address = self._processes[space], where & ~_LOW
            self._memory.given(frame & ~_LOW)
            process.map_mail.note_sent(address, SIZE, sequence)
            self._noted(process, address, where & _LOW, frame & ~_LOW)
            if process.control.words[MISSED] >= MISSED_MOST:
                without_socket.add(process)
        self.notes.clear()
        for process in without_socket:  # which may end it, where it takes no messages
            process.control.open_awake()
