"""An initial task whose children attack by the memory that they have mapped; it ends with 0 if it went on well."""

from __future__ import annotations

import ctypes
import time

from libsel4py import abi
from libsel4py.abi import FaultLabel
from libsel4py.capabilities import Frame, VSpace
from libsel4py.errors import NotEnoughMemory, Timeout
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.syscalls import Message
from tests.system.images import hostile_mapped
from tests.system.images.family import Child
from tests.system.images.mapping import BASE, BOTH, OWN, PAGE, READ, Frames, word

MOST_US = 400_000  # that a call may take on a host that has two processors, and ten tasks that want them


class Victim(Frames):
    """Answers faults."""

    def resolve(self) -> None:
        """The instruction of the last one is to be tried again."""
        self._reply.send(Message())


def worst_call(parent: Victim, child: Child, calls: int = 300) -> tuple[int, int]:
    """Microseconds: of a system call that asks the kernel for little, as a rule and at the worst."""
    took = []
    for _ in range(calls):
        begun = time.monotonic_ns()
        child.context.consumed()
        took.append((time.monotonic_ns() - begun) // 1000)
    return sorted(took)[calls // 2], max(took)


def retries(parent: Victim) -> None:
    """Six tasks say FAULT without an end, of memory that they have."""
    idle = parent.child()
    print("alone", *worst_call(parent, idle), flush=True)
    for _ in range(6):
        child = parent.child()
        parent.frame().map(BASE, READ, vspace=child.vspace)
        child.start(hostile_mapped.RETRY, BASE)
    usual, worst = worst_call(parent, idle)
    print("flooded", usual, worst, flush=True)
    assert worst < MOST_US, worst


def wild(parent: Victim) -> None:
    """Faults of senseless words: each is told as it is, and answered with a label of 0."""
    child = parent.child()
    child.start(hostile_mapped.WILD, BASE, 7)
    for _ in range(500):
        number, label, words = parent.wait_fault()
        assert (number, label) == (1, FaultLabel.VM_FAULT), (number, label, words)
        assert words[1] in hostile_mapped.WORDS
        parent.resolve()


def never(parent: Victim) -> None:
    """A pager that maps nothing answers for ever: its client goes round, and nobody else is kept waiting."""
    idle = parent.child()
    child = parent.child()
    child.start(hostile_mapped.COUNT, BASE)
    for _ in range(300):
        _, label, words = parent.wait_fault()
        assert (label, words[1]) == (FaultLabel.VM_FAULT, BASE)
        parent.resolve()
    print("calls", *worst_call(parent, idle), flush=True)


def losses(parent: Victim, what: int) -> list[int]:
    """What each of twenty losses takes, in microseconds, where a child has the frame as well."""
    frame = parent.frame()
    own, childs = parent.copy(frame), parent.copy(frame)
    child = parent.child()
    childs.map(BASE, BOTH, vspace=child.vspace)
    frame.map(BASE, BOTH, vspace=OWN)
    child.start(what, BASE)
    while not word(BASE).value:
        time.sleep(0.01)
    took = []
    for _ in range(20):
        own.map(BASE + PAGE, BOTH, vspace=OWN)
        word(BASE + PAGE).value += 0
        own.map(BASE + PAGE, READ, vspace=OWN)
        begun = time.monotonic_ns()
        own.unmap()
        frame.unmap()
        took.append((time.monotonic_ns() - begun) // 1000)
        frame.map(BASE, BOTH, vspace=OWN)
    print("a loss", took, flush=True)
    assert max(took) < MOST_US, took
    return took


def deaf(parent: Victim) -> None:
    """A holder that answers hardly any message delays another's loss by 50 ms and the exchange, but not often."""
    took = losses(parent, hostile_mapped.NO_KEEPER)
    assert sorted(took)[5] < 40_000, took
    try:
        received = parent.receive(timeout=0.001)
    except Timeout:
        return
    raise AssertionError(f"it has not lived until then: {received}")


def lying(parent: Victim) -> None:
    """One that answers what was not asked is ended."""
    losses(parent, hostile_mapped.WRONG_ANSWERS)
    assert parent.wait_death() == (1, 9)


def own_trap_frame(parent: Victim) -> None:
    """A task's trap frame is mapped into it a second time, and taken away: it goes on with it."""
    child = parent.child()
    again = parent.copy(child.frame)
    frame = parent.frame()
    frame.map(BASE, BOTH, vspace=child.vspace)
    own = parent.copy(frame)
    own.map(BASE, BOTH, vspace=OWN)
    child.start(hostile_mapped.COUNT, BASE)
    for _ in range(50):
        again.map(BASE + (1 << 20), BOTH, vspace=child.vspace)
        again.unmap()
    before = word(BASE).value
    while word(BASE).value == before:
        time.sleep(0.001)


def storm(parent: Victim) -> None:
    """Eight threads of a process touch the same pages, each of which is mapped when one is told of; who told of it is
    answered, or stopped and resumed."""
    pages = 128
    first = parent.child()
    threads = [first, *(parent.child(first.vspace) for _ in range(7))]
    for thread in threads:
        thread.start(hostile_mapped.TOUCH, BASE, pages * PAGE)
    mapped: dict[int, Frame] = {}
    alive = len(threads)
    told = 0
    while alive:
        number, label, words = parent.wait_fault()
        if label != FaultLabel.VM_FAULT:
            assert words[4] == 0, words
            alive = 0 if number == 1 else alive - 1
            continue
        address = words[1] & -PAGE
        told += 1
        if address not in mapped:
            mapped[address] = parent.frame()
            mapped[address].map(address, BOTH, vspace=first.vspace)
        if told % 3 == 0:
            threads[number - 1].tcb.suspend()
            threads[number - 1].tcb.resume()
        else:
            parent.resolve()
    assert len(mapped) == pages, len(mapped)


def deleted(parent: Victim) -> None:
    """Threads are deleted while they fault, and while what they touch is exchanged."""
    frame = parent.frame()
    for number in range(40):
        childs, own = parent.copy(frame), parent.copy(frame)
        child = parent.child()
        if number % 2:
            childs.map(BASE, BOTH, vspace=child.vspace)
        own.map(BASE, BOTH, vspace=OWN)
        child.start(hostile_mapped.COUNT, BASE)
        if number % 2:
            while not word(BASE).value:
                time.sleep(0.001)
            word(BASE).value = 0
            own.unmap()
        else:
            assert parent.wait_fault()[1] == FaultLabel.VM_FAULT
        parent.free(child)
        parent.memory.free(child.vspace.cptr)
        parent.cnode.revoke(frame.cptr)


def hoard(parent: Victim) -> None:
    """More frames are mapped for a task than the host has descriptors for: who does that is refused. A task that is
    started with so many is ended. The others go on."""
    idle, greedy, full = parent.child(), parent.child(), parent.child()
    own = parent.frame()
    own.map(BASE, BOTH, vspace=OWN)
    word(BASE).value = 7
    frames = [parent.frame() for _ in range(600)]
    seen = parent.copy(frames[0])
    seen.map(BASE + PAGE, READ, vspace=OWN)
    frames[0].map(BASE, BOTH, vspace=greedy.vspace)
    greedy.start(hostile_mapped.COUNT, BASE)
    mapped = map_until_refused(frames, greedy.vspace)
    before = word(BASE + PAGE).value
    while word(BASE + PAGE).value == before:
        continue
    parent.free(greedy)
    seen.unmap()
    for frame in frames[:mapped]:
        frame.unmap()
    assert map_until_refused(frames, full.vspace) == len(frames)
    full.start(hostile_mapped.COUNT, BASE)
    assert parent.wait_death() == (3, 9)
    assert word(BASE).value == 7
    for _ in range(3):
        other = parent.frame()
        other.map(BASE + PAGE, BOTH, vspace=OWN)
        word(BASE + PAGE).value = 8
        other.unmap()
    idle.start(hostile_mapped.RETURN, 0, 3)
    assert parent.wait_death() == (1, 3 << 8)
    print("calls", *worst_call(parent, idle), flush=True)


def map_until_refused(frames: list[Frame], vspace: VSpace) -> int:
    """How many could be mapped."""
    for number, frame in enumerate(frames):
        try:
            frame.map(BASE + number * PAGE, BOTH, vspace=vspace)
        except NotEnoughMemory:
            return number
    return len(frames)


def large(parent: Victim) -> None:
    """A frame of 256 MiB that is full is lost and exchanged, and becomes free: nobody else waits for long."""
    size_bits, others = 28, BASE + (1 << 30)
    child = parent.child()
    frame = parent.frame(size_bits)
    own, again = parent.copy(frame), parent.copy(frame)
    own.map(BASE, BOTH, vspace=OWN)
    ctypes.memset(BASE, 1, 1 << size_bits)
    again.map(others, READ, vspace=OWN)
    assert word(others).value
    child.start(hostile_mapped.CALLS)
    time.sleep(0.1)
    begun = time.monotonic_ns()
    own.unmap()
    middle = time.monotonic_ns()
    assert word(others + (1 << size_bits) - 8).value
    parent.memory.free(frame.cptr)
    end = time.monotonic_ns()
    print("exchanged in", (middle - begun) // 1_000_000, "ms, freed in", (end - middle) // 1_000_000, "ms", flush=True)
    number, status = parent.wait_death()
    print("worst call of another task:", status >> 8, "ms", flush=True)
    assert (number, status >> 8 < 100) == (1, True), status


def plain(parent: Victim, what: int = hostile_mapped.PLAIN) -> None:
    """What one holder maps and loses, again and again, is no end to another's thread that has no trap frame."""
    frame = parent.frame()
    own, childs, first = parent.copy(frame), parent.copy(frame), parent.copy(frame)
    child = parent.child()
    first.map(BASE + PAGE, BOTH, vspace=OWN)
    childs.map(BASE, BOTH, vspace=child.vspace)
    child.start(what, BASE)
    while not word(BASE + PAGE).value:
        time.sleep(0.001)
    first.unmap()
    for _ in range(100):
        own.map(BASE, BOTH, vspace=OWN)
        before = word(BASE).value
        own.unmap()
        own.map(BASE, READ, vspace=OWN)
        until = time.monotonic() + 5
        while word(BASE).value == before and time.monotonic() < until:
            time.sleep(0.0001)
        assert word(BASE).value > before
        own.unmap()
    own.map(BASE, BOTH, vspace=OWN)
    word(BASE + 8).value = 1
    assert parent.wait_death() == (1, 0)


def plain_guarded(parent: Victim) -> None:
    plain(parent, hostile_mapped.PLAIN_GUARDED)


_ALL = (retries, wild, never, deaf, lying, own_trap_frame, storm, deleted, hoard, large, plain, plain_guarded)
SCENES = {each.__name__: each for each in _ALL}


def main(boot_info_address: int, *_: int) -> None:
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS))
    SCENES[info.system_description.decode()](Victim(info))
