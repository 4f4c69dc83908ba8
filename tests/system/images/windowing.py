"""A task that lays out its memory by windows, by the scene that its description names; ends with 0 if all went well."""

from __future__ import annotations

from libsel4py import Component, RemoteError, component, uses
from libsel4py.abi import ObjectType, VMFault
from libsel4py.capabilities import Endpoint
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.errors import InvalidMessage
from libsel4py.interfaces.pager import PagerStatistics
from libsel4py.interfaces.windows import BadWindow, MemoryWindow, ProvidedWindow, Windows
from libsel4py.mapping import map_memory
from tests.system.images.failing import failing_with
from tests.system.images.store import Contents
from tests.system.images.windowed import Taker

PAGE = 4096
AT = PAGED_ADDRESS + 16 * PAGE


@component
class Main(Component):
    windows = uses(Windows)
    pager = uses(PagerStatistics)
    store = uses(Contents)
    taker = uses(Taker)

    def run(self) -> int:
        self.size = self.task.environment.paged_bytes
        self.memory = map_memory(PAGED_ADDRESS, self.size, True)
        getattr(self, str(self.task.environment.configuration["scene"]))()
        return 0

    def make(self, address: int = AT, pages: int = 4) -> MemoryWindow:
        window = MemoryWindow(self.windows.create(address, pages * PAGE))
        window.zero()
        return window

    @property
    def object(self) -> Endpoint:
        """The capability of the other task's memory object."""
        return Endpoint(self.task.environment.connections["object"].cptr)

    def faults(self, address: int, *, write: bool = False) -> bool:
        """Whether a guarded access fails."""
        offset = address - PAGED_ADDRESS
        try:
            if write:
                self.memory.write(offset, b"!")
            else:
                self.memory.read(offset, 1)
        except VMFault:
            return True
        return False

    def layout(self) -> None:
        """Windows are made, found, resized and deleted; outside of them, and in empty ones, each access faults."""
        assert self.faults(AT)
        empty = MemoryWindow(self.windows.create(AT, 4 * PAGE))
        assert self.faults(AT)
        empty.zero()
        self.memory.write(AT - PAGED_ADDRESS, b"0" * 4 * PAGE)
        assert self.faults(AT - 1)
        assert self.faults(AT + 4 * PAGE, write=True)
        for address, size in ((AT + PAGE, PAGE), (AT - PAGE, 2 * PAGE), (AT + 8 * PAGE, 5), (AT + 8 * PAGE, 0)):
            with failing_with(BadWindow):
                self.windows.create(address, size)
        for address in (PAGED_ADDRESS - PAGE, PAGED_ADDRESS + self.size, (1 << 64) - PAGE):
            with failing_with(BadWindow, match="within"):
                self.windows.create(address, PAGE)
        found = MemoryWindow(self.windows.get(AT + 2 * PAGE + 7))
        assert found.bounds() == (AT, 4 * PAGE)
        with failing_with(BadWindow):
            self.windows.get(AT + 4 * PAGE)
        found.resize(2 * PAGE)
        assert not self.faults(AT + 2 * PAGE - 1)
        assert self.faults(AT + 2 * PAGE)
        assert self.faults(AT + 3 * PAGE, write=True)
        beside = self.make(AT + 2 * PAGE, 1)
        with failing_with(BadWindow, match="overlap"):
            found.resize(3 * PAGE)
        beside.delete()
        found.resize(5 * PAGE)
        assert self.memory.read(AT + 3 * PAGE - PAGED_ADDRESS, PAGE) == b"0" * PAGE
        assert self.memory.read(AT + 4 * PAGE - PAGED_ADDRESS, PAGE) == bytes(PAGE)
        empty.delete()
        assert self.faults(AT)
        assert self.faults(AT + 4 * PAGE)
        for call in (empty.bounds, found.hide, beside.zero):
            with failing_with(BadWindow, match="gone"):
                call()
        for _ in range(33):  # neither memory, slots (4,096) nor windows (32) are used up by those that are gone
            window = self.make(pages=64)
            self.memory.write(AT - PAGED_ADDRESS, b"1" * 64 * PAGE)
            window.delete()
        for number in range(32):
            self.make(PAGED_ADDRESS + number * PAGE, 1)
        with failing_with(BadWindow, match="32 windows"):
            self.windows.create(PAGED_ADDRESS + 40 * PAGE, PAGE)

    def shown(self) -> None:
        """Each window has its own pager: one shows another task's object, one this server's memory."""
        own, theirs = self.make(), MemoryWindow(self.windows.create(AT + 8 * PAGE, 2 * PAGE))
        theirs.show(self.object, 0, True)
        with failing_with(BadWindow, match="hide it first"):
            own.show(self.object, 0, True)
        another = MemoryWindow(self.windows.create(AT + 12 * PAGE, PAGE))
        with failing_with(BadWindow, match="shows this object already"):
            another.show(self.object, 0, True)
        there = AT + 8 * PAGE - PAGED_ADDRESS
        first = self.memory.read(there, 4)
        self.memory.write(AT - PAGED_ADDRESS, b"mine")
        assert self.memory.read(there, 4) == first
        self.memory.write(there, b"told")
        theirs.hide()
        assert self.store.read(0, 4) == b"told"
        assert self.faults(AT + 8 * PAGE)
        assert not self.faults(AT)

    def sent(self) -> None:
        """What is sent is the receiver's as it was: moved, and the sender's accesses fault; or copied on write."""
        window = self.make()
        self.memory.write(AT - PAGED_ADDRESS, b"as it was" + bytes(4 * PAGE - 13) + b"tail")
        parcel = window.send("taker", False)
        self.memory.write(AT - PAGED_ADDRESS, b"AS IT IS ")  # before it is taken
        place = self.taker.take(parcel)
        assert self.taker.read(place, 9) == b"as it was"
        self.memory.write(AT + PAGE - PAGED_ADDRESS, b"later")  # and after
        assert self.taker.read(place + PAGE, 5) == bytes(5)
        self.taker.write(place + 2 * PAGE, b"theirs")
        assert self.memory.read(AT + 2 * PAGE - PAGED_ADDRESS, 6) == bytes(6)
        assert self.taker.read(place + 4 * PAGE - 4, 4) == b"tail"
        self.taker.drop()
        with failing_with(RemoteError, match="VMFault"):
            self.taker.read(place, 1)
        assert self.memory.read(AT - PAGED_ADDRESS, 9) == b"AS IT IS "

        copied = self.pager.statistics().free_bytes
        parcel = window.send("taker", True)
        assert self.faults(AT)
        assert self.faults(AT + 4 * PAGE - 1, write=True)
        with failing_with(BadWindow, match="gone"):
            window.bounds()
        place = self.taker.take(parcel)
        assert self.taker.read(place, 9) == b"AS IT IS "
        assert self.taker.read(place + PAGE, 5) == b"later"
        assert self.pager.statistics().free_bytes >= copied - PAGE  # capabilities take some; no page was copied
        for wrong in (parcel, parcel + 1, 0):
            with failing_with(BadWindow, match="not for"):
                self.windows.take(wrong)
        with failing_with(BadWindow, match="not for"):
            self.taker.take(parcel)

    def bounded(self) -> None:
        """What nobody takes is bounded, and only its receiver can take it."""
        window = self.make()
        self.memory.write(AT - PAGED_ADDRESS, b"secret")
        parcels = [window.send("taker", False) for _ in range(8)]
        with failing_with(BadWindow, match="8 parcels"):
            window.send("taker", False)
        with failing_with(BadWindow, match="not for"):
            self.windows.take(parcels[0])
        with failing_with(BadWindow, match="no task"):
            window.send("nobody", False)
        assert self.taker.read(self.taker.take(parcels[7]), 6) == b"secret"
        self.uses.system.kill("taker")  # what was on its way to it goes with it
        with failing_with(BadWindow, match="not for"):
            self.taker.take(parcels[0])
        assert self.taker.read(self.taker.take(window.send("taker", True)), 6) == b"secret"

    def copied(self) -> None:
        """Copies of copies keep pages for those above them: of those that live there are few, and what ends goes."""
        free = self.pager.statistics().free_bytes
        window = self.make(pages=1)
        for number in range(20):
            self.memory.write(AT - PAGED_ADDRESS, b"%4d" % number)
            MemoryWindow(self.windows.take(window.send(self.task.name, False))).delete()
        assert self.pager.statistics().free_bytes >= free - 3 * PAGE  # a page, what it was first, and capabilities
        copies = []
        for number in range(15):
            self.memory.write(AT - PAGED_ADDRESS, b"%4d" % number)
            copies.append(MemoryWindow(self.windows.take(window.send(self.task.name, False))))
        with failing_with(BadWindow, match="a copy of a copy, 16 times"):
            window.send(self.task.name, False)
        for number, copy in enumerate(copies):
            assert self.memory.read(copy.bounds()[0] - PAGED_ADDRESS, 4) == b"%4d" % number
        for copy in copies[5:12]:
            copy.delete()
        MemoryWindow(self.windows.take(window.send(self.task.name, False))).delete()
        assert self.memory.read(AT - PAGED_ADDRESS, 4) == b"  14"
        for each in (window, *copies[:5], *copies[12:]):
            each.delete()
        assert self.pager.statistics().free_bytes >= free - PAGE  # capabilities take some

    def hostile(self) -> None:
        """Who is to provide what a window shows can do that alone, and nobody has the server do what he could not."""
        window = self.make()
        self.memory.write(AT - PAGED_ADDRESS, b"private")
        assert self.taker.use(window.provided()) == ""
        assert "not shown" in self.taker.hide()
        assert self.memory.read(AT - PAGED_ADDRESS, 7) == b"private"
        assert (
            self.taker.use(self.windows.get(AT)) == "provided resize copy move"
        )  # his window: so that is not handed on
        assert self.faults(AT)

        shown = MemoryWindow(self.windows.create(AT, 2 * PAGE))
        for wrong in (
            Endpoint(self.task.notification.cptr),
            Endpoint(self.task.environment.connections["windows"].cptr),
            Endpoint(self.task.environment.connections["taker"].cptr),
            self.windows.get(AT),
            shown.provided(),
        ):
            with failing_with((BadWindow, InvalidMessage)):
                shown.show(wrong, 0, True)
            assert self.faults(AT)
        provider = ProvidedWindow(shown.provided())
        provider.show(self.object, 0, False)
        assert self.memory.read(AT - PAGED_ADDRESS, 4) == self.store.read(0, 4)
        assert self.faults(AT, write=True)
        for deallocate in (False, True):
            with failing_with(BadWindow, match="not this server's to send"):
                shown.send("taker", deallocate)
        assert self.memory.read(AT - PAGED_ADDRESS, 4) == self.store.read(0, 4)
        assert self.store.written() == []
        provider.hide()
        assert self.faults(AT)
        shown.delete()
        with failing_with(BadWindow, match="gone"):
            provider.bounds()

    def silent(self) -> None:
        """Objects that never answer: three of them, and none is asked any more; the pager's others go on."""
        kept = self.make()
        self.memory.write(AT - PAGED_ADDRESS, b"kept")
        nobody = Endpoint(self.task.memory.allocate(ObjectType.ENDPOINT).start)
        theirs = MemoryWindow(self.windows.create(AT + 8 * PAGE, PAGE))
        for _ in range(3):
            with failing_with(BadWindow):
                theirs.show(nobody, 0, True)
        with failing_with(BadWindow, match="wait 3 times"):
            theirs.show(nobody, 0, True)
        with failing_with(BadWindow, match="wait 3 times"):
            theirs.show(self.object, 0, True)
        assert self.faults(AT + 8 * PAGE)
        theirs.zero()
        assert not self.faults(AT + 8 * PAGE)
        assert self.memory.read(AT - PAGED_ADDRESS, 4) == b"kept"
        assert self.taker.read(self.taker.take(kept.send("taker", True)), 4) == b"kept"

    def silent_provider(self) -> None:
        """Who provides what a window shows, and does not answer, costs its task nothing that it shows itself."""
        own = MemoryWindow(self.windows.create(AT, PAGE))
        own.show(self.object, 0, True)
        self.memory.write(AT - PAGED_ADDRESS, b"mine")
        nobody = Endpoint(self.task.memory.allocate(ObjectType.ENDPOINT).start)
        provider = ProvidedWindow(MemoryWindow(self.windows.create(AT + 8 * PAGE, PAGE)).provided())
        for _ in range(3):
            with failing_with(BadWindow):
                provider.show(nobody, 0, True)
        with failing_with(BadWindow, match="providers show let this pager wait 3 times"):
            provider.show(nobody, 0, True)
        assert self.memory.read(AT - PAGED_ADDRESS, 4) == b"mine"
        own.hide()
        assert self.store.read(0, 4) == b"mine"

    def stray(self) -> None:
        """An access that is not guarded, outside of all windows: this ends the process."""
        with memoryview(self.memory) as view:
            view[0] = 1
