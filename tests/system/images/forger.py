"""A hostile task: a boot image that tries to reach what it was not granted, by raw system calls and raw memory.

What it holds is `GRANTED`. Its first argument is what it tries, the second how. It ends with 0 where it found the world
as it should be; the judge (`forging.py`) looks at what arrived on the other side.
"""

from __future__ import annotations

import ctypes
import os
import random
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from libsel4py import abi
from libsel4py.abi import Error, Syscall
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.identify import identify
from libsel4py.lowlevel.syscalls import Message
from tests.system.images import trespass
from tests.system.images.behaviour import DOORBELL, trap_frame

RADIX: Final = 6
TO_JUDGE, REPLY, SIGNAL, INBOX, TO_JUDGE_AGAIN, EMPTY = 1, 2, 3, 4, 8, 5
GRANTED: Final = {
    TO_JUDGE: ("ENDPOINT", "WP"),
    REPLY: ("REPLY", "RWGP"),
    SIGNAL: ("NOTIFICATION", "W"),
    INBOX: ("ENDPOINT", "R"),
    TO_JUDGE_AGAIN: ("ENDPOINT", "W"),
}
READY, CONTROL, DONE, FORGED, ASK, GO_ON = 0x701, 0x702, 0x703, 0x704, 0x705, 0x706
SLOTS: Final = 4096
RANDOM_ADDRESSES: Final = 1000
RACES: Final = 300
RING_SPINS: Final = 2_000_000


def tell(label: int, *words: int) -> tuple[int, ...]:
    return syscalls.call(TO_JUDGE, Message(label, words)).words


def guessed() -> list[int]:
    """Addresses to try, in a fixed order."""
    source = random.Random(4711)
    flipped = [granted ^ 1 << bit for granted in GRANTED for bit in range(64)]
    return [*range(SLOTS), *flipped, *(source.getrandbits(64) for _ in range(RANDOM_ADDRESSES))]


def guess(_how: int) -> None:
    """Every address is what was granted there, or nothing; what is sent to nothing arrives nowhere."""
    tell(READY)
    for cptr in guessed():
        found = identify(cptr)
        assert (found.type, found.rights) == GRANTED.get(cptr, ("NULL", "")), hex(cptr)
        if cptr not in GRANTED:
            syscalls.nb_send(cptr, Message(FORGED, (cptr,)))
    # The judge waits since it answered READY, so this one arrives.
    syscalls.nb_send(TO_JUDGE, Message(CONTROL))
    tell(DONE)


def call_sample() -> list[int]:
    """Addresses that are called, each by a child of its own because most of the calls fault."""
    return [0, EMPTY, 9, 63, 64, SLOTS - 1, TO_JUDGE | 1 << 6, TO_JUDGE | 1 << 63, abi.WORD_MASK]


def call(how: int) -> None:
    assert syscalls.call(call_sample()[how], Message(FORGED)).label == Error.INVALID_CAPABILITY


class RawRing:
    """The thread's own ring, written as memory: after this, `hw.cpu` is out of step and not used any more."""

    def __init__(self) -> None:
        self.frame = trap_frame()

    def word(self, offset: int) -> ctypes.c_uint32:
        return ctypes.c_uint32.from_address(self.frame + offset)

    def place(self, index: int, op: int, cptr: int, label: int, word: int = 0) -> None:
        info = abi.message_info(label, 1)
        entry = struct.pack("<iI7Q", op, 0, cptr, info, word, 0, 0, 0, index)[: abi.RING_ENTRY_BYTES]
        self.write(index, entry)

    def write(self, index: int, entry: bytes) -> None:
        ctypes.memmove(self.at(index), entry, len(entry))

    def at(self, index: int) -> int:
        return self.frame + abi.SUBMIT_RING + index % abi.RING_ENTRIES * abi.RING_ENTRY_BYTES

    def publish(self, produced: int) -> None:
        self.word(abi.SUBMIT_PRODUCED).value = produced & 0xFFFFFFFF
        os.eventfd_write(DOORBELL, 1)

    def wait(self, offset: int, count: int) -> None:
        """Until the kernel's index has come this far."""
        for _ in range(RING_SPINS):
            if self.word(offset).value == count & 0xFFFFFFFF:
                return
            os.sched_yield()
        raise TimeoutError(f"the index at {offset:#x} is {self.word(offset).value}, and not {count}")

    def run(self, op: int, cptr: int, label: int, word: int = 0) -> None:
        """One whole system call."""
        index = self.word(abi.SUBMIT_PRODUCED).value
        self.place(index, op, cptr, label, word)
        self.publish(index + 1)
        self.wait(abi.COMPLETE_PRODUCED, index + 1)


AGAIN, BACK, AHEAD, CONSUMED = range(4)


def replay(how: int) -> None:
    """The same entry again is a call of its own; an index that lies is a fault, or nothing."""
    ring = RawRing()
    ring.run(Syscall.CALL, TO_JUDGE, CONTROL, how)
    used = ring.word(abi.SUBMIT_PRODUCED).value
    match how:
        case _ if how == AGAIN:
            ring.write(used, ctypes.string_at(ring.at(used - 1), abi.RING_ENTRY_BYTES))
            ring.publish(used + 1)
            ring.wait(abi.COMPLETE_PRODUCED, used + 1)
        case _ if how == BACK:
            ring.publish(used - 1)
            threading.Event().wait()
        case _ if how == AHEAD:
            ring.publish(used + abi.RING_ENTRIES + 1)
            threading.Event().wait()
        case _:
            # The kernel's own words: it counts in its records, and reads none of them back.
            ring.word(abi.SUBMIT_CONSUMED).value = 0
            ring.word(abi.COMPLETE_CONSUMED).value = 12345
            for _ in range(100):
                os.eventfd_write(DOORBELL, 1)
    if how == CONSUMED:
        ring.run(Syscall.CALL, TO_JUDGE, DONE, how)


def edit(_how: int) -> None:
    """An entry that was taken is not read again; one that was not is whatever it is when it is taken."""
    ring = RawRing()
    start = ring.word(abi.SUBMIT_PRODUCED).value
    ring.place(start, Syscall.WAIT, INBOX, 0)  # nobody sends there: it blocks
    ring.place(start + 1, Syscall.NB_SEND, TO_JUDGE, FORGED, 1)
    ring.place(start + 2, Syscall.CALL, TO_JUDGE, CONTROL, 2)
    ring.publish(start + 3)
    ring.wait(abi.SUBMIT_CONSUMED, start + 1)
    ring.place(start, Syscall.NB_SEND, TO_JUDGE, FORGED, 3)
    ring.place(start + 1, Syscall.CANCEL, 0, 0)
    os.eventfd_write(DOORBELL, 1)
    ring.wait(abi.COMPLETE_PRODUCED, start + 3)
    ring.run(Syscall.CALL, TO_JUDGE, DONE)


def race(_how: int) -> None:
    """Entries that a second thread edits all the time, between an address that was granted and one that was not."""
    ring = RawRing()
    running = True

    def flip() -> None:
        while running:
            for cptr in (EMPTY, TO_JUDGE | 1 << 40, TO_JUDGE_AGAIN, TO_JUDGE):
                for index in range(abi.RING_ENTRIES):
                    ctypes.c_uint64.from_address(ring.at(index) + abi.ENTRY_CPTR).value = cptr

    editor = threading.Thread(target=flip)
    editor.start()
    for number in range(RACES):
        ring.run(Syscall.NB_SEND, TO_JUDGE, CONTROL, number)
    running = False
    editor.join()
    ring.run(Syscall.CALL, TO_JUDGE, DONE)


# Receiving: each of these faults but the last, which the judge answers.
RECEIVES: Final = (
    (Syscall.RECV, TO_JUDGE, REPLY),
    (Syscall.NB_RECV, TO_JUDGE, REPLY),
    (Syscall.WAIT, SIGNAL, 0),
    (Syscall.NB_WAIT, SIGNAL, 0),
    (Syscall.RECV, EMPTY, REPLY),
    (Syscall.RECV, REPLY, REPLY),
    (Syscall.RECV, INBOX, EMPTY),
    (Syscall.RECV, INBOX, TO_JUDGE),
)


def receive(how: int) -> None:
    if how < len(RECEIVES):
        op, cptr, reply = RECEIVES[how]
        syscalls.machine.trap(op, cptr, 0, 0, 0, 0, 0, reply, 0, -1)
        return
    tell(ASK)
    came = syscalls.recv(INBOX, REPLY)
    assert (came.label, came.words) == (GO_ON, (5,)), came
    syscalls.send(REPLY, Message(GO_ON, (6,)))


def send(_how: int) -> None:
    """Sending by what lacks the right is refused; replying to nobody, and handing on without Grant, does nothing."""
    tell(READY)
    assert syscalls.call(INBOX, Message(FORGED)).label == Error.INVALID_CAPABILITY
    syscalls.nb_send(INBOX, Message(FORGED))
    syscalls.send(REPLY, Message(FORGED))
    tell(CONTROL)
    syscalls.call(TO_JUDGE, Message(DONE, (), (INBOX,)))


def victim(_how: int) -> None:
    """Answers the judge through its inbox, and counts what comes; ends when it is told to."""
    received = syscalls.recv(INBOX, REPLY)
    count = 1
    while received.label != DONE:
        received = syscalls.reply_recv(INBOX, Message(0, (count,)), REPLY)
        count += 1
    syscalls.send(REPLY, Message(0, (count,)))


def others() -> Iterator[int]:
    """The processes of this system but this one: tasks, zygote, kernel, monitor; or, in a pid namespace, all there."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    zygote = os.getppid()
    if not zygote:
        yield from parents.keys() - {os.getpid()}
        return
    monitor = parents[zygote]
    yield from (pid for pid, parent in parents.items() if parent in (zygote, monitor) and pid != os.getpid())
    yield monitor


def host(_how: int) -> None:
    """What Linux would give another process: not its descriptors, not its memory, not its threads."""
    open_on = {number: os.readlink(f"/proc/self/fd/{number}") for number in _own_descriptors()}
    control = DOORBELL + 1
    (awake,) = open_on.keys() - {0, 1, 2, DOORBELL, control}
    assert awake <= control + 1, open_on
    assert open_on[0] == "/dev/null"
    assert open_on[1] == open_on[2]
    assert open_on[DOORBELL] == "anon_inode:[eventfd]", open_on
    assert open_on[control].startswith("socket:"), open_on
    assert open_on[awake] == "anon_inode:[eventfd]", open_on
    os.eventfd_write(awake, 7)
    assert os.eventfd_read(awake) == 7  # nobody else's: a place for a socket that the kernel may send
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:" in line]
    assert len(mapped) == 1, mapped
    assert "sel4py-frame" in mapped[0], mapped
    found = list(others())
    assert len(found) >= (5 if os.getppid() else 2), found
    gentle = tuple(way for way in trespass.WAYS if way not in trespass.DEADLY)
    ways = {pid: trespass.worked(pid, gentle) for pid in found}
    assert not any(ways.values()), ways
    for number in {*range(control + 1, 1024)} - {awake}:
        try:
            os.eventfd_write(number, 1)
        except OSError:
            continue
        raise AssertionError(f"descriptor {number} is an eventfd that can be written")
    for _ in range(1000):
        os.eventfd_write(DOORBELL, 1)
    tell(DONE)


def _own_descriptors() -> list[int]:
    found = []
    for number in range(1024):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found


SCENES: Final = (guess, call, replay, edit, race, receive, send, victim, host)


def main(what: int, how: int, *_rest: int) -> None:
    SCENES[what](how)
