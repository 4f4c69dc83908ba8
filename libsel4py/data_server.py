"""What a server does to have its things opened as data spaces (`libsel4py.interfaces.data_space`).

    class Main(Clock, DataServer):
        data_space_name = "timer"

        def data_space(self, name: str, how: OpenFlags, size: int) -> Content:
            return Timer(self)

`Content` is what stands behind an open data space; a server overrides what it has, and all else is refused. Rules: who
calls is known by the badge of the capability, which is given once. A client has `MOST_OPEN` data spaces at most, which
are counted for the connection by which they were opened, whoever uses them. They end with this process; those of a
client that has died stay until its next life says `close_all`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from libsel4py.badges import Badges
from libsel4py.capabilities import Endpoint, Frame, Notification
from libsel4py.context import Component
from libsel4py.interfaces.data_space import (
    AT_POSITION,
    MOST_OPEN,
    PIECE_BYTES,
    DataGone,
    DataSpaceError,
    DataSpaces,
    NoRoom,
    NoSuchData,
    NotPossible,
    OpenData,
    OpenFlags,
    Whence,
)
from libsel4py.interfaces.memory_object import Answer, Attributes, DataError, LockRequest, MemoryObject
from libsel4py.lowlevel.machine import Words
from libsel4py.server import Server, Stranger
from libsel4py.wire import put_failure


class Content:
    """What an open data space stands for. Its server overrides what it has."""

    has_offsets = True  # that reading and writing look at

    def read(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes. It may defer its reply, which is bytes then."""
        raise NotPossible("this data space cannot be read")

    def write(self, offset: int, data: bytes) -> int:
        """How many bytes were taken. It may defer its reply, which is that number then."""
        raise NotPossible("this data space cannot be written")

    def size(self) -> int:
        """Bytes."""
        raise NotPossible("this data space has no size")

    def expand(self, size: int) -> None:
        """Make it longer."""
        raise NotPossible("this data space cannot be made longer")

    def memory(self, can_write: bool) -> MemoryObject:
        """Its contents as a memory object, another one each time. Raises DataError: there are too many."""
        raise NotPossible("this data space is no memory, and cannot be mapped")

    def init_data(self, source: Endpoint, offset: int) -> None:
        """Have its first contents from elsewhere; ``source`` is its own from now on."""
        raise NotPossible("this data space has contents already")

    def close(self) -> None:
        """It is used no more. Who waits for it is to be let go (`DataGone`), as what comes then is for others."""


@dataclass(slots=True, eq=False)
class Opened:
    """One open data space. ``objects`` are the badges of its memory objects."""

    content: Content
    flags: OpenFlags
    owner: str
    badge: int
    position: int = 0
    objects: list[int] = field(default_factory=list)


class DataService(OpenData):
    """Answers what comes by the capabilities of open data spaces.

    Args:
        component: whose server hands them out.
    """

    def __init__(self, component: Component) -> None:
        super().__init__()
        self._component = component
        self._served_by = component.server
        self._badges = Badges(self._served_by.endpoint, component.task)
        self._opened: dict[int, Opened] = {}
        self._objects = _Objects(self._served_by)
        self._served_by.provide(self, OpenData)
        self._served_by.provide(self._objects, MemoryObject)
        self._served_by.on_stranger(_after(self._served_by.stranger))

    def of(self, owner: str) -> list[Opened]:
        """What a client has open."""
        return [each for each in self._opened.values() if each.owner == owner]

    def add(self, content: Content, how: OpenFlags, owner: str) -> Endpoint:
        """The capability of a data space that a client opens."""
        opened = Opened(content, how, owner, self._badges.new())
        self._opened[opened.badge] = opened
        self._served_by.add_client(opened.badge, owner, OpenData)
        return self._badges.directory(opened.badge)

    def read_piece(self, offset: int, length: int) -> bytes:
        opened = self._for(OpenFlags.READ)
        length = min(length, PIECE_BYTES)
        if not opened.content.has_offsets:
            return opened.content.read(0, length)
        data = opened.content.read(_at(opened, offset), length)
        if offset == AT_POSITION:
            opened.position += len(data)
        return data

    def write_piece(self, offset: int, data: bytes) -> int:
        opened = self._for(OpenFlags.WRITE)
        data = data[:PIECE_BYTES]
        if not opened.content.has_offsets:
            return opened.content.write(0, data)
        taken = opened.content.write(_at(opened, offset), data)
        if offset == AT_POSITION:
            opened.position += taken
        return taken

    def seek(self, offset: int, whence: int) -> int:
        opened = self._for(OpenFlags.NONE)
        size = opened.content.size()
        if whence not in list(Whence):
            raise NotPossible(f"whence {whence} is neither START (0), POSITION (1) nor END (2)")
        position = offset + (0, opened.position, size)[whence]
        if not 0 <= position < AT_POSITION:
            raise NotPossible(f"position {position} is none: the data space has {size} bytes")
        opened.position = position
        return position

    def size(self) -> int:
        return self._for(OpenFlags.NONE).content.size()

    def expand(self, size: int) -> None:
        content = self._for(OpenFlags.WRITE).content
        if size <= content.size():
            raise NotPossible(f"it has {content.size()} bytes already")
        content.expand(size)

    def memory(self, can_write: bool) -> Endpoint:
        opened = self._for(OpenFlags.READ | (OpenFlags.WRITE if can_write else OpenFlags.NONE))
        try:
            source = opened.content.memory(can_write)
        except DataError as error:
            raise NoRoom(str(error)) from error
        badge = self._badges.new()
        opened.objects = [*filter(self._objects.has, opened.objects), badge]
        self._objects.add(badge, source)
        self._served_by.add_client(badge, f"a pager of {opened.owner}'s", MemoryObject)
        return self._badges.directory(badge)

    def init_data(self, source: Endpoint, offset: int) -> None:
        self._for(OpenFlags.WRITE).content.init_data(source, offset)

    def close(self) -> None:
        self.end(self._for(OpenFlags.NONE))

    def end(self, opened: Opened) -> None:
        """Close a data space."""
        del self._opened[opened.badge]
        self._served_by.remove_client(opened.badge)
        for badge in opened.objects:
            self._objects.forget(badge)
        opened.content.close()

    def end_all(self, owner: str) -> None:
        """Close all that a client has open. Raises what the first one raised that could not be closed in order."""
        failures: list[DataSpaceError] = []
        for each in self.of(owner):
            try:
                self.end(each)
            except DataSpaceError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _for(self, wanted: OpenFlags) -> Opened:
        opened = self._opened[self.caller.badge]
        if wanted & ~opened.flags:
            raise NotPossible(f"it was not opened for this: {wanted & ~opened.flags!r} is missing")
        return opened


class DataServer(DataSpaces):
    """A component that has data spaces: it says which by `data_space`."""

    data_space_name: ClassVar[str] = ""  # of the only one; "" if there are others
    _data: DataService | None = None

    def data_space(self, name: str, how: OpenFlags, size: int) -> Content:
        """What a name stands for. Raises NoSuchData, NoRoom."""
        raise NotImplementedError(f"{type(self).__name__} says nothing of its data spaces")

    def _service(self) -> DataService:
        if self._data is None:
            self._data = DataService(self)
        return self._data

    def open(self, name: str, flags: int, size: int) -> Endpoint:
        if flags & ~0b111 or not flags & (OpenFlags.READ | OpenFlags.WRITE):
            raise NoSuchData(f"a data space is opened to be read, written or both; flags {flags:#x} say neither")
        if self.data_space_name and name != self.data_space_name:
            raise NoSuchData(f"no data space {name!r} is here: there is {self.data_space_name!r}")
        service, owner, how = self._service(), self.caller.name, OpenFlags(flags)
        if len(service.of(owner)) >= MOST_OPEN:
            raise NoRoom(f"{owner} has {MOST_OPEN} data spaces open: close one")
        return service.add(self.data_space(name, how, size), how, owner)

    def close_all(self) -> None:
        self._service().end_all(self.caller.name)


class _Objects(MemoryObject):
    """The memory objects of open data spaces, by badge."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._served_by = server
        self._by_badge: dict[int, MemoryObject] = {}

    def add(self, badge: int, source: MemoryObject) -> None:
        self._by_badge[badge] = source

    def has(self, badge: int) -> bool:
        """Whether somebody may use it still."""
        return badge in self._by_badge

    def forget(self, badge: int) -> None:
        """Nobody is to use it any more; nothing happens if that is so."""
        if self._by_badge.pop(badge, None) is not None:
            self._served_by.remove_client(badge)

    def _one(self) -> MemoryObject:
        return self._by_badge[self.caller.badge]

    def init(self, wake: Notification | None) -> int:
        return self._one().init(wake)

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        return self._one().data_request(offset, length, access)

    def data_unlock(self, offset: int, length: int, access: int) -> Answer:
        return self._one().data_unlock(offset, length, access)

    def data_return(self, offset: int, length: int, frame: Frame, dirty: bool, keep: bool) -> None:
        self._one().data_return(offset, length, frame, dirty, keep)

    def lock_next(self) -> LockRequest | None:
        return self._one().lock_next()

    def lock_completed(self, ticket: int) -> None:
        self._one().lock_completed(ticket)

    def attributes(self) -> Attributes:
        return self._one().attributes()

    def change_completed(self, attributes: Attributes) -> None:
        self._one().change_completed(attributes)

    def terminate(self) -> None:
        self._one().terminate()
        self.forget(self.caller.badge)


def _at(opened: Opened, offset: int) -> int:
    return opened.position if offset == AT_POSITION else offset


def _after(former: Stranger | None) -> Stranger:
    """Who answers badges that are no client's: whoever did, or that what the capability stood for is gone."""

    def stranger(badge: int, label: int, words: tuple[int, ...]) -> Words | None:
        if former is not None:
            return former(badge, label, words)
        return put_failure(DataGone("the data space is closed"), ())

    return stranger
