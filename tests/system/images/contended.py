"""An initial task whose child's threads fault at once, on the same and on neighbouring pages, while another child takes
the frames away. It is the pager of all, and looks at what they read.

The scene is the system description's text; the image ends with 0 if all went as it should. What runs meanwhile decides
who is first; nothing here does.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from libsel4py import abi
from libsel4py.abi import FaultLabel
from libsel4py.capabilities import Frame
from libsel4py.capabilities.frame import prepare_map
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.syscalls import Message, Received
from tests.system.images.contending import ADD, DELETE, FILL, PAGE, RESULT, REVOKE, SEEN, UNMAP, WORD
from tests.system.images.mapper import BASE, READ_WRITE, Child, Parent

ROUNDS: Final = 24
TIMES: Final = 20  # that a word is added to, each round


@dataclass(frozen=True)
class Laid:
    """A frame that is mapped. ``taken_by``: what is to be done to which slot for it to be taken away."""

    frame: Frame
    taken_by: tuple[int, int]


class Contention:
    """Threads of one process, and one who takes away what they have. At most one frame is being taken at a time."""

    def __init__(self, parent: Parent, threads: int, make: Callable[[int], Laid]) -> None:
        self._parent = parent
        self._make = make
        first = parent.child()
        self.threads = [first, *(parent.child(first.vspace) for _ in range(threads - 1))]
        self._taker = parent.child()
        self._laid: dict[int, Laid] = {}
        self._taking = 0  # the page
        self._takes_left = 0
        self._turn = 0

    def run(self, what: int, orders: dict[Child, tuple[int, int]], takes: int) -> dict[Child, int]:
        """Each thread touches, all at once; while they do, so many frames are taken away. What each has read."""
        by_number = {child.number: child for child in self.threads}
        found: dict[Child, int] = {}
        self._takes_left = takes
        for child, order in orders.items():
            child.order(what, *order)
        message = self._parent.next()
        while True:
            if message.label == FaultLabel.VM_FAULT:
                message = self._resolve(message)
                continue
            assert message.label == RESULT, message
            if message.badge == self._taker.number:
                del self._laid[self._taking]
                self._taking = 0
            else:
                found[by_number[message.badge]] = message.words[0]
            if len(found) == len(self.threads) and not self._taking:
                return found
            message = self._parent.next()

    def _resolve(self, message: Received) -> Received:
        """Map, where nothing is mapped; answer by the same trap in every other case; the next message."""
        parent, page = self._parent, message.words[1] & -PAGE
        batch = Batch()
        self._turn += 1
        if page not in self._laid:
            laid = self._laid[page] = self._make(page)
            space = self.threads[0].vspace
            if self._turn % 2:
                batch.queue_prepared(prepare_map(laid.frame, page, READ_WRITE, vspace=space))
                answered = batch.reply_recv(parent.endpoint.cptr, Message(), parent.reply.cptr)
                self._take_some()
                return answered
            laid.frame.map(page, READ_WRITE, vspace=space)
            self._take_some()
        return batch.reply_recv(parent.endpoint.cptr, Message(), parent.reply.cptr)

    def _take_some(self) -> None:
        """Have one of the pages taken away, unless that is being done to another one."""
        if not self._takes_left or self._taking:
            return
        self._takes_left -= 1
        pages = sorted(self._laid)
        self._take(pages[self._turn % len(pages)])

    def _take(self, page: int) -> None:
        self._taking = page
        self._taker.order(*self._laid[page].taken_by)

    def take_all(self) -> None:
        """Nothing is mapped any more. No thread touches anything meanwhile."""
        for page in list(self._laid):
            self._take(page)
            message = self._parent.next()
            assert (message.badge, message.label) == (self._taker.number, RESULT), message
            del self._laid[page]
        self._taking = 0


def fresh(parent: Parent, threads: int) -> None:
    """Frames that nobody has had: each page that comes is empty, and has nothing of one that was there before."""
    ways = itertools.cycle((UNMAP, DELETE))

    def make(_: int) -> Laid:
        frame = parent.frame()
        return Laid(frame, (next(ways), frame.cptr))

    contention = Contention(parent, threads, make)
    for turn in range(ROUNDS):
        stamps = {child: 1 + turn % 4 * threads + at for at, child in enumerate(contention.threads)}
        pages = {child: BASE + PAGE * at * (turn % 2) for at, child in enumerate(contention.threads)}
        contention.run(FILL, {child: (pages[child], stamp) for child, stamp in stamps.items()}, 2 * threads)
        read = contention.run(SEEN, {child: (page, 0) for child, page in pages.items()}, threads)
        for child, bits in read.items():
            own = [stamps[child]] if turn % 2 else stamps.values()
            assert not bits & ~sum(1 << byte for byte in (0, *own)), (turn, child.number, hex(bits))
        contention.take_all()


def kept(parent: Parent, threads: int) -> None:
    """Each page has its frame, which is taken away and comes back: no thread's word loses anything."""
    masters: dict[int, Frame] = {}
    ways = itertools.cycle((UNMAP, REVOKE))

    def make(page: int) -> Laid:
        if page not in masters:
            masters[page] = parent.frame()
        master, way = masters[page], next(ways)
        copy = parent.copy(master)
        return Laid(copy, (way, (copy if way == UNMAP else master).cptr))

    contention = Contention(parent, threads, make)
    for turn in range(ROUNDS):
        for apart in (0, PAGE):
            words = {child: BASE + at * (WORD + apart) for at, child in enumerate(contention.threads)}
            read = contention.run(ADD, {child: (word, TIMES) for child, word in words.items()}, 2 * threads)
            first = contention.threads[0]  # its word is the same one in both
            assert {child: count for child, count in read.items() if child is not first} == dict.fromkeys(
                contention.threads[1:], TIMES * (turn + 1)
            )
            assert read[first] == TIMES * (2 * turn + (2 if apart else 1))
        if turn % 2:
            contention.take_all()


SCENES: Final = {
    f"{scene.__name__}_{name}": partial(scene, threads=threads)
    for scene in (fresh, kept)
    for name, threads in (("two", 2), ("eight", 8))
}


def main(boot_info_address: int, *_: int) -> None:
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS))
    SCENES[info.system_description.decode()](Parent(info))
