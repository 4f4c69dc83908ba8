"""A program that lets tasks a, b, c and d map pages to each other, by the scene that its description names."""

from __future__ import annotations

from libsel4py import Component, ServerDied, component, uses
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.interfaces.mapper import NotTaken
from libsel4py.pagers.flexpages import READ, WRITE, Flexpage
from tests.system.images.failing import failing_with
from tests.system.images.mapped_on import Member

RW = READ | WRITE


def page(number: int, rights: int = RW, bits: int = 12) -> int:
    """The word of a flexpage of paged memory, by its number of 4096 bytes."""
    return Flexpage(PAGED_ADDRESS + (number << 12), bits, rights).word()


@component
class Main(Component):
    a = uses(Member)
    b = uses(Member)
    c = uses(Member)
    d = uses(Member)

    def run(self) -> int:
        self.all = [self.a, self.b, self.c, self.d]
        getattr(self, str(self.task.environment.configuration["scene"]))()
        return 0

    def looks(self, number: int = 0) -> list[str]:
        return [member.look(number) for member in self.all]

    def chain(self) -> None:
        """a has written to page 0, mapped it to b, and b to c; all three see the same bytes."""
        self.a.write(0, b"page")
        for receiver, sender in ((self.b, "a"), (self.c, "b"), (self.d, "")):
            receiver.accept(page(0), sender)
        assert self.a.map(page(0), "b", 0) == 1
        assert self.b.map(page(0), "c", 0) == 1
        assert self.looks() == ["rw", "rw", "rw", ""]
        assert self.c.read(0) == b"page"
        self.c.write(0, b"by c")
        assert self.a.read(0) == self.b.read(0) == b"by c"

    def unmap_write(self) -> None:
        self.chain()
        assert self.a.unmap(page(0, WRITE), False) == WRITE
        assert self.looks() == ["rw", "r", "r", ""]
        self.a.write(0, b"still a")
        assert self.c.read(0) == self.b.read(0) == b"still a"
        assert self.a.map(page(0), "b", 0) == 1  # given back to b alone
        assert self.looks() == ["rw", "rw", "r", ""]

    def unmap_middle(self) -> None:
        self.chain()
        self.a.accept(page(0), "c")
        with failing_with(NotTaken, match="came of"):
            self.c.map(page(0), "a", 0)
        assert self.b.unmap(page(0), False) == RW
        assert self.looks() == ["rw", "rw", "", ""]

    def flush(self) -> None:
        self.chain()
        assert self.a.unmap(page(0), True) == RW
        assert self.looks()[1:] == ["", "", ""]
        assert self.a.read(0) == b""  # the owner finds a fresh page
        assert self.looks() == ["rw", "", "", ""]

    def grant(self) -> None:
        """b gives its page to d: it has it no more, c keeps what it had from b, and a's flush reaches both."""
        self.chain()
        assert self.b.grant(page(0), "d", 0) == 1
        assert self.looks() == ["rw", "", "rw", "rw"]
        self.d.write(0, b"by d")
        assert self.a.read(0) == self.c.read(0) == b"by d"
        assert self.a.unmap(page(0, WRITE), False) == WRITE
        assert self.looks() == ["rw", "", "r", "r"]
        assert self.a.unmap(page(0), True) == RW
        assert self.looks()[1:] == ["", "", ""]

    def rights_shrink(self) -> None:
        self.a.write(0, b"mine")
        self.b.accept(page(0), "a")
        self.c.accept(page(0), "b")
        assert self.a.map(page(0, READ), "b", 0) == 1
        assert self.b.map(page(0), "c", 0) == 1
        assert self.looks()[:3] == ["rw", "r", "r"]

    def consent(self) -> None:
        """Nothing appears where nobody asked for it, nor by the hand of one who has it not."""
        self.a.write(0, b"gift")
        with failing_with(NotTaken, match="b takes no pages of a"):
            self.a.map(page(0), "b", 0)
        self.b.accept(page(0), "c")
        with failing_with(NotTaken, match="b takes no pages of a"):
            self.a.grant(page(0), "b", 0)
        assert self.c.map(page(0), "b", 0) == 0  # c has no page
        self.b.accept(page(0), "")
        self.b.accept(0, "")
        with failing_with(NotTaken, match="accept"):
            self.a.map(page(0), "b", 0)
        for bad in (page(16), Flexpage(0x1000_0000_0000, 12).word(), 5, (1 << 64) - 1):
            with failing_with(NotTaken):
                self.b.accept(bad, "")
        with failing_with(NotTaken):
            self.a.map(page(0), "nobody", 0)
        with failing_with(NotTaken):
            self.a.unmap(5, True)
        self.b.unmap(page(0), True)  # it is not b's to take
        assert self.looks() == ["rw", "", "", ""]

    def window(self) -> None:
        """Four pages into a window of eight, at the place that the hot spot says; and one of four out of it."""
        for number in range(4):
            self.a.write(number, b"page %d" % number)
        self.b.accept(page(8, RW, 15), "a")
        assert self.a.map(page(0, RW, 14), "b", 5 << 12) == 4
        assert [self.b.look(number) for number in (8, 11, 12, 15)] == ["", "", "rw", "rw"]
        assert [self.b.read(12 + number) for number in range(4)] == [b"page %d" % number for number in range(4)]
        self.c.accept(page(2), "b")
        assert self.b.map(page(12, READ, 14), "c", 3 << 12) == 1
        assert self.c.read(2) == b"page 3"
        assert self.a.unmap(page(0, RW, 14), True) == RW
        assert (self.b.look(12), self.b.look(15), self.c.look(2)) == ("", "", "")

    def death(self) -> None:
        """A task that ends takes with it what it mapped on; its successor begins with nothing, and takes nothing."""
        self.chain()
        with failing_with(ServerDied):
            self.b.end()
        assert self.looks() == ["rw", "", "", ""]
        with failing_with(NotTaken):
            self.a.map(page(0), "b", 0)
        self.b.accept(page(0), "a")
        self.a.map(page(0), "b", 0)
        assert self.looks() == ["rw", "rw", "", ""]

    def exhausted(self) -> None:
        """Flushed pages are free again: more go through the owner's hands than the mapper has memory for."""
        self.b.accept(page(0, RW, 16), "a")
        for _ in range(6):
            for number in range(16):
                self.a.write(number, b"x")
            assert self.a.map(page(0, RW, 16), "b", 0) == 16
            assert self.b.read(15) == b"x"
            assert self.a.unmap(page(0, RW, 16), True) == RW
