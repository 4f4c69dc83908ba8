"""An initial task that maps frames, loses them, and lets a child lose none; it ends with 0 if all went as it should."""

from __future__ import annotations

import ctypes
import time

from libsel4py import abi
from libsel4py.abi import FaultLabel, InitialSlot, ObjectType, Rights
from libsel4py.capabilities import Frame, VSpace
from libsel4py.errors import NotEnoughMemory
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.syscalls import explain
from tests.system.images import mapped
from tests.system.images.family import Child, Parent

BASE = abi.MAPPING_BASE + (1 << 32)
PAGE = 4096
OWN = VSpace(InitialSlot.VSPACE)
BOTH, READ = Rights.READ | Rights.WRITE, Rights.READ


def word(address: int) -> ctypes.c_uint64:
    return ctypes.c_uint64.from_address(address)


class Frames(Parent):
    """Makes frames, and second capabilities of them."""

    def frame(self, size_bits: int = 12) -> Frame:
        return Frame(self.make(ObjectType.FRAME, size_bits))

    def copy(self, frame: Frame) -> Frame:
        slot = self.slots.allocate()
        self.cnode.copy(slot, self.cnode, frame.cptr)
        return Frame(slot)


def keep(parent: Frames) -> None:
    """What a frame holds goes with it, from one address to another, and from one size of rights to another."""
    for size_bits in (12, 16, 24):
        frame = parent.frame(size_bits)
        frame.map(BASE, BOTH, vspace=OWN)
        end = BASE + (1 << size_bits) - 8
        word(BASE).value, word(end).value = 7, 8
        frame.map(BASE, READ, vspace=OWN)
        assert (word(BASE).value, word(end).value) == (7, 8)
        frame.unmap()
        frame.map(BASE + (1 << 32), BOTH, vspace=OWN)
        assert (word(BASE + (1 << 32)).value, word(end + (1 << 32)).value) == (7, 8)
        frame.unmap()


def sizes(parent: Frames) -> None:
    """Each power of two up to 1 GiB is one frame, all of it memory, at an address of its own."""
    for size_bits in range(abi.FRAME_MAX_BITS, abi.FRAME_MIN_BITS - 1, -1):
        frame = parent.frame(size_bits)
        assert frame.get_address() % (1 << size_bits) == 0
        frame.map(BASE, BOTH, vspace=OWN)
        places = [BASE, BASE + (1 << size_bits - 1), BASE + (1 << size_bits) - 8]
        assert [word(place).value for place in places] == [0, 0, 0]
        for number, place in enumerate(places):
            word(place).value = size_bits + number
        frame.unmap()
        frame.map(BASE, READ, vspace=OWN)
        assert [word(place).value - size_bits for place in places] == [0, 1, 2]
        frame.unmap()


def often(parent: Frames) -> None:
    """A thousand losses of what somebody else goes on to hold."""
    frame = parent.frame()
    other = parent.copy(frame)
    frame.map(BASE, BOTH, vspace=OWN)
    begun = time.monotonic_ns()
    for number in range(1000):
        word(BASE).value = number
        other.map(BASE + PAGE, READ, vspace=OWN)
        assert word(BASE + PAGE).value == number
        frame.unmap()
        assert word(BASE + PAGE).value == number
        frame.map(BASE, BOTH, vspace=OWN)
        other.unmap()
    print(f"{(time.monotonic_ns() - begun) // 4_000_000} us a change", flush=True)


def many(parent: Frames) -> None:
    """As many frames at once as this task has slots for, all there."""
    slots = parent.memory.allocate(ObjectType.FRAME, 12, 250)
    frames = [Frame(slot) for slot in slots]
    for _ in range(13):
        frames += [Frame(slot) for slot in parent.memory.allocate(ObjectType.FRAME, 12, 250)]
    for number, frame in enumerate(frames):
        frame.map(BASE + number * PAGE, BOTH if number % 2 else READ, vspace=OWN)
    for number in range(1, len(frames), 2):
        word(BASE + number * PAGE).value = number
    assert sum(word(BASE + number * PAGE).value for number in range(len(frames))) == (len(frames) // 2) ** 2
    print(f"{len(frames)} frames", flush=True)


def share(parent: Frames) -> None:
    """A child counts in a frame that it finds mapped; this task maps and loses the frame again and again meanwhile."""
    frame = parent.frame()
    own, childs = parent.copy(frame), parent.copy(frame)
    child: Child = parent.child()
    childs.map(BASE, BOTH, vspace=child.vspace)
    child.start(mapped.COUNT, BASE)
    own.map(BASE, BOTH, vspace=OWN)
    while not word(BASE).value:
        continue
    for _ in range(200):
        before = word(BASE).value
        own.unmap()
        own.map(BASE, BOTH, vspace=OWN)
        while word(BASE).value == before:
            continue
    word(BASE + 8).value = 1
    assert parent.wait_death() == (1, 0)
    assert word(BASE).value == word(BASE + 16).value


def revoke(parent: Frames) -> None:
    """A child's mapping is revoked while it stores: it faults, nothing changes, and by the next one it goes on."""
    frame = parent.frame()
    child, childs = parent.child(), parent.copy(frame)
    frame.map(BASE, BOTH, vspace=OWN)
    word(BASE).value = 1
    childs.map(BASE, BOTH, vspace=child.vspace)
    child.start(mapped.COUNT, BASE)
    while word(BASE).value == 1:
        continue
    parent.cnode.revoke(frame.cptr)
    before = word(BASE).value
    number, label, (_, address, *_) = parent.wait_fault()
    assert (number, label) == (1, FaultLabel.VM_FAULT)
    assert BASE <= address < BASE + PAGE
    for _ in range(1000):
        assert word(BASE).value == before
    parent.copy(frame).map(BASE, BOTH, vspace=child.vspace)
    parent.answer()
    while word(BASE).value == before:
        continue
    word(BASE + 8).value = 1
    assert parent.wait_death() == (1, 0)
    assert word(BASE).value == word(BASE + 16).value + 1


def greedy(parent: Frames) -> None:
    """This task maps frames until it is refused one. That is its trouble alone: a child is started, and has memory."""
    frames: list[Frame] = []
    refused = None
    while refused is None:
        frames.append(parent.frame())
        try:
            frames[-1].map(BASE + len(frames) * PAGE, BOTH, vspace=OWN)
        except NotEnoughMemory as error:
            refused = error
    print(f"{len(frames) - 1} frames: {refused}", flush=True)
    assert "limit of open files" in explain(), explain()
    word(BASE + PAGE).value = 7
    child = parent.child()
    for number in range(8):
        parent.frame().map(BASE + number * PAGE, BOTH, vspace=child.vspace)
    child.start(mapped.WRITE, BASE, 8)
    assert parent.wait_death() == (1, 0)
    assert word(BASE + PAGE).value == 7
    for frame in frames[1 : len(frames) // 4]:
        frame.unmap()
    frames[-1].map(BASE, BOTH, vspace=OWN)
    word(BASE).value = 8


SCENES = {scene.__name__: scene for scene in (keep, sizes, often, many, share, revoke, greedy)}


def main(boot_info_address: int, *_: int) -> None:
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS))
    SCENES[info.system_description.decode()](Frames(info))
