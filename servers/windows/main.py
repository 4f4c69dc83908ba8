"""The pager of tasks that lay out their paged memory themselves: memory windows (RefOS), out-of-line memory (Mach).

Rules: who calls is known by its connection, and a window by its capability's badge, which is given once and never
again. A window lies in its task's paged memory and overlaps none. What is sent is in a space of nobody's until it is
taken, so the sender cannot change it any more, nor take it back. What a client can make this server keep is bounded:
windows, parcels; frames come from this server's pool, as `libsel4py.pagers.service` has it.

A client names objects by capabilities that it holds, and they are invoked by copies of these: what it could not do by
them this server cannot either. What such an object holds is not copied by this server, whoever asks. Whoever is to
provide a window's contents gets a capability by which these are shown and hidden, and no other (`ProvidedWindow`).
Objects of a task that have let this server wait `MOST_WAITS` times, in vain, are asked nothing more, and it shows no
others until it begins anew: all of this server's tasks wait with it. Those that others show in its windows count for
themselves, so that who provides one window's contents does not cost the task what it shows itself.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from libsel4py import Endpoint, component
from libsel4py.abi import FRAME_MIN_BITS, Rights
from libsel4py.badges import Badges
from libsel4py.capabilities import VSpace
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.interfaces.memory_object import READ_WRITE, MemoryObject
from libsel4py.interfaces.windows import BadWindow, MemoryWindow, ProvidedWindow, Windows
from libsel4py.lowlevel.identify import is_same
from libsel4py.lowlevel.machine import Words
from libsel4py.pagers.anonymous import Anonymous
from libsel4py.pagers.in_use import FAILURES
from libsel4py.pagers.regions import Region, Space
from libsel4py.pagers.service import PagerServer
from libsel4py.pagers.shadow import Shadow
from libsel4py.signature import Word
from libsel4py.wire import put_failure

PAGE_BYTES = 1 << FRAME_MIN_BITS
MOST_WINDOWS = 32  # of one client
MOST_PARCELS = 8  # of one sender, not taken yet
MOST_WAITS = 3  # in vain, for objects that one task shows, in one life of that
MOST_COPIES = 16  # of copies above each other: each keeps pages for those above it


@dataclass(slots=True, eq=False)
class Window:
    """``badge`` of its owner's capability, ``provider`` of that of whoever provides what it shows, if there is one.

    ``region`` is what it shows; ``object`` the capability of another task's object; ``by`` the badge that showed it.
    """

    space: Space
    badge: int
    address: int
    size: int
    region: Region | None = None
    object: Endpoint | None = None
    provider: int | None = None
    by: int | None = None

    @property
    def is_provided(self) -> bool:
        """Whether its provider has shown what it shows."""
        return self.by is not None and self.by == self.provider

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is on its way. ``region`` lies in a space of nobody's."""

    sender: str
    receiver: str
    region: Region


@component
class Main(PagerServer, Windows, MemoryWindow, ProvidedWindow):
    """The server."""

    def start(self) -> None:
        self._badges = Badges(self.server.endpoint, self.task)
        self._windows: dict[int, Window] = {}  # by their owners' badges
        self._provided: dict[int, Window] = {}  # by their providers'
        self._by_name: dict[str, Space] = {}
        self._parcels: dict[int, Parcel] = {}
        self._numbers = itertools.count(1)
        self._waits: Counter[tuple[str, bool]] = Counter()  # by task, and whether for what others show there
        self.server.provide(self, MemoryWindow)
        self.server.provide(self, ProvidedWindow)
        super().start()

    def attach(self, space: Space) -> None:
        """A task begins: it has no windows."""
        self._by_name[space.name] = space
        for is_provided in (False, True):
            del self._waits[space.name, is_provided]
        for window in self._windows_of(space):
            self._forget(window)
        for number, parcel in list(self._parcels.items()):
            if space.name in (parcel.sender, parcel.receiver):
                del self._parcels[number]
                self.pager.detach(parcel.region)

    def on_stranger(self, badge: int, label: int, words: tuple[int, ...]) -> Words | None:
        """A fault, or a call by the capability of a window that is gone."""
        if self.pager.is_thread(badge):
            return super().on_stranger(badge, label, words)
        return put_failure(BadWindow("the window is gone"), ())

    # --- a task's own -----------------------------------------------------------------------------------------

    def create(self, address: int, size: int) -> Endpoint:
        space = self._space()
        self._ensure_free(space, address, size)
        return self._open(space, address, size)

    def get(self, address: int) -> Endpoint:
        for window in self._windows_of(self._space()):
            if window.address <= address < window.end:
                return self._badges.directory(window.badge)
        raise BadWindow(f"no window of yours is at {address:#x}")

    def take(self, parcel: int) -> Endpoint:
        space, found = self._space(), self._parcels.get(parcel)
        if found is None or found.receiver != space.name:
            raise BadWindow(f"parcel {parcel} is not for {space.name}, or was taken")
        address = self._place(space, found.region.size)
        key = self._open(space, address, found.region.size)
        window = self._windows_of(space)[-1]
        try:
            with _failures():
                self.pager.move(found.region, space, address)
        except BadWindow:
            self._forget(window)
            raise
        window.region, window.by = found.region, window.badge
        del self._parcels[parcel]
        return key

    # --- by a window's capability -----------------------------------------------------------------------------

    def bounds(self) -> tuple[Word, Word]:
        window = self._window()
        return Word(window.address), Word(window.size)

    def provided(self) -> Endpoint:
        window = self._window()
        if window.provider is None:
            window.provider = self._badges.new()
            self._provided[window.provider] = window
            self.server.add_client(
                window.provider, f"the provider of a window of {window.space.name}'s", ProvidedWindow
            )
        return self._badges.directory(window.provider)

    def resize(self, size: int) -> None:
        window = self._window()
        self._ensure_free(window.space, window.address, size, window)
        if window.region is not None:
            self.pager.resize(window.region, size)
        window.size = size

    def zero(self) -> None:
        window = self._ensure_empty()
        limit = PAGED_ADDRESS + self._sizes[window.space.name] - window.address  # as large as it can become
        self._show(window, Anonymous(self.frames, limit), 0, READ_WRITE)

    def show(self, memory: Endpoint, offset: int, can_write: bool) -> None:
        window = self._ensure_empty()
        name, is_provided = window.space.name, self.caller.badge == window.provider
        if self._waits[name, is_provided] >= MOST_WAITS:
            who = f"{name}'s providers show" if is_provided else f"{name} shows"
            raise BadWindow(f"objects that {who} let this pager wait {MOST_WAITS} times: no more of them are shown")
        shown = [each.object.cptr for each in self._windows.values() if each.object is not None]
        if any(is_same(memory.cptr, each) for each in shown):  # an object has one pager, for one region
            raise BadWindow("a window shows this object already: hide that first")
        try:
            self._show(window, MemoryObject(memory), offset, READ_WRITE if can_write else int(Rights.READ))
        except BadWindow as error:
            self._waited(window.space, is_provided, error.__cause__)
            raise
        self.task.receive.unclaimed.discard(memory.cptr)
        window.object = memory

    def hide(self) -> None:
        window = self._window()
        if self.caller.badge == window.provider and window.by not in (None, window.provider):
            raise BadWindow("the window shows what its provider has not shown")
        self._hide(window)

    def send(self, receiver: str, deallocate: bool) -> Word:
        window = self._window()
        sender, region = window.space.name, window.region
        if region is None:
            raise BadWindow("the window shows nothing that could be sent")
        if receiver not in self._by_name:
            raise BadWindow(f"{receiver!r} is no task whose pager is {self.task.name}")
        if sum(each.sender == sender for each in self._parcels.values()) >= MOST_PARCELS:
            raise BadWindow(f"{MOST_PARCELS} parcels of {sender} were not taken yet")
        source = region.residence.source
        if not deallocate and isinstance(source, Shadow) and source.depth >= MOST_COPIES:
            raise BadWindow(f"the window shows a copy of a copy, {MOST_COPIES} times: send it itself")
        nobody = self.pager.add_space(VSpace(0), "a parcel")
        with _failures():
            if region.residence.is_remote:
                raise ValueError("an object of another task is not this server's to send")
            if deallocate:
                self.pager.move(region, nobody, region.address)
                window.region = None
                self._forget(window)
            else:
                region = self.pager.fork(region, nobody)
        number = next(self._numbers)
        self._parcels[number] = Parcel(sender, receiver, region)
        return Word(number)

    def delete(self) -> None:
        window = self._window()
        self._hide(window)
        self._forget(window)

    def object_failed(self, region: Region, error: Exception) -> None:
        window = next((each for each in self._windows_of(region.space) if each.region is region), None)
        self._waited(region.space, window is not None and window.is_provided, error)

    def _waited(self, space: Space, is_provided: bool, error: BaseException | None) -> None:
        """If an object did not answer in time: it is not for ever that all others wait for it."""
        if not isinstance(error, TimeoutError):
            return
        self._waits[space.name, is_provided] += 1
        if self._waits[space.name, is_provided] < MOST_WAITS:
            return
        for window in self._windows_of(space):
            if window.object is not None and window.region is not None and window.is_provided == is_provided:
                window.region.residence.abandon(f"objects that {space.name} shows do not answer")

    # --- what they have in common -----------------------------------------------------------------------------

    def _space(self) -> Space:
        space = self._by_name.get(self.caller.name)
        if space is None:
            raise BadWindow(f"{self.caller.name} has no memory of this pager: its description says no pager = …")
        return space

    def _window(self) -> Window:
        badge = self.caller.badge
        return self._windows[badge] if badge in self._windows else self._provided[badge]

    def _windows_of(self, space: Space) -> list[Window]:
        """The oldest first."""
        return [window for window in self._windows.values() if window.space is space]

    def _ensure_empty(self) -> Window:
        window = self._window()
        if window.region is not None:
            raise BadWindow("the window shows something: hide it first")
        return window

    def _ensure_free(self, space: Space, address: int, size: int, itself: Window | None = None) -> None:
        end = PAGED_ADDRESS + self._sizes[space.name]
        if size <= 0 or (address | size) % PAGE_BYTES or not PAGED_ADDRESS <= address <= end - size:
            raise BadWindow(
                f"{address:#x} + {size:#x} are no whole pages within {PAGED_ADDRESS:#x}..{end:#x}, your paged memory"
            )
        for other in self._windows_of(space):
            if other is not itself and address < other.end and other.address < address + size:
                raise BadWindow(f"{address:#x} + {size:#x} overlap the window {other.address:#x}..{other.end:#x}")

    def _place(self, space: Space, size: int) -> int:
        """The lowest free addresses."""
        address = PAGED_ADDRESS
        for window in sorted(self._windows_of(space), key=lambda each: each.address):
            if address + size <= window.address:
                break
            address = window.end
        self._ensure_free(space, address, size)
        return address

    def _open(self, space: Space, address: int, size: int) -> Endpoint:
        if len(self._windows_of(space)) >= MOST_WINDOWS:
            raise BadWindow(f"{space.name} has {MOST_WINDOWS} windows")
        window = Window(space, self._badges.new(), address, size)
        self._windows[window.badge] = window
        self.server.add_client(window.badge, f"a window of {space.name}'s", MemoryWindow)
        return self._badges.directory(window.badge)

    def _show(self, window: Window, source: MemoryObject, offset: int, rights: int) -> None:
        with _failures():
            window.region = self.pager.attach(
                window.space, window.address, window.size, source, offset, rights, ahead=self._ahead
            )
        window.by = self.caller.badge

    def _hide(self, window: Window) -> None:
        region, window.region, window.by = window.region, None, None
        try:
            if region is not None:
                with _failures():
                    self.pager.detach(region)
        finally:
            self._drop_object(window)

    def _forget(self, window: Window) -> None:
        del self._windows[window.badge]
        self.server.remove_client(window.badge)
        if window.provider is not None:
            del self._provided[window.provider]
            self.server.remove_client(window.provider)
        self._drop_object(window)

    def _drop_object(self, window: Window) -> None:
        memory, window.object = window.object, None
        if memory is not None:
            self.task.delete(memory)


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (ValueError, *FAILURES) as error:
        raise BadWindow(str(error)) from error
