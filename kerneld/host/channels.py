"""Channels' pages: made for the client, handed to it and to those who listen, and taken away from all of them.

A page is a memfd of its own, sealed against growing: to truncate it takes the memory away from whoever has it mapped,
and nothing can bring it back. Its first words are written before it is handed out; from then on nobody here maps or
writes it, since tasks do, and nothing is read of it but where the client says that it ran (_fastpath/withdraw.c). Where
a page cannot be made or handed over the kernel is told, and severs the channel.

Rules. A channel's address names its page; it is forgotten (`gone`) before its memory is used again. A client is told of
a receiver's end when that one can store no more: an answer that came later would overwrite the next call's. So its
process is gone by then, or has given the receiver's page back, where another of its threads goes on to listen.
A client that sleeps on a page which is taken away does not see that by itself. Where it can be it is woken by a signal,
since its keeper, which wakes it too, has a way to go; but not while that one has been told of other ends.

The monitor keeps, for a kernel that is started again, `channel:ADDRESS`, the page, and `died:ADDRESS:LISTENER` for as
long as a client is to be told of a receiver's end: which page, and who has it still. Who has which page otherwise is
known from RAM. A page without a byte was taken away.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast

from hw.ram import Ram
from kerneld.host.channel_mail import Handing
from kerneld.host.descriptors import leaves_for_tasks
from kerneld.host.fd_store import FdStore, Inheritance
from kerneld.host.process import Phase, Process, Thread
from kerneld.outbox import Message, Tell
from kerneld.records import CapType, Channel
from libsel4py import abi
from libsel4py.abi import ChannelRole

SEALS: Final = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
CLIENT: Final = 0  # in place of a listener's number
NOBODY: Final = array("q", (-1,))  # in place of a process's `pidfd`


@dataclass(slots=True, eq=False)
class Page:
    """A channel's page.

    Attributes:
        handed: to which threads, as which listener, in order.
        ending: whom of these it is being taken back from.
        died: listeners of whose end the client is to be told, as is kept.
    """

    descriptor: int
    handed: dict[tuple[Thread, int], None] = field(default_factory=dict)
    ending: set[tuple[Thread, int]] = field(default_factory=set)
    died: set[int] = field(default_factory=set)


class Channels:
    """The pages, by their channels' addresses.

    Args:
        threads: those that have a process, by TCB address.
        failed: told the address of a channel whose page cannot be handed out, once the tells at hand are done.
        ends: by channel, its page's descriptor, and the `pidfd` of the process whose first thread may sleep on it.
            Whoever takes the page away takes it out: the fast path for what it severs, before it is told of here.
    """

    def __init__(
        self,
        ram: Ram,
        loop: asyncio.AbstractEventLoop,
        store: FdStore,
        threads: Mapping[int, Thread],
        failed: Callable[[int], None],
        ends: dict[int, tuple[int, array[int]]],
    ) -> None:
        self._ram = ram
        self._loop = loop
        self._store = store
        self._threads = threads
        self._failed = failed
        self._pages: dict[int, Page] = {}
        self._ends = ends

    def __len__(self) -> int:
        return len(self._pages)

    def carry_out(self, message: Message) -> None:
        """Do one tell about channels."""
        match message.kind:
            case Tell.CHANNEL_OPEN:
                self._open(Channel(self._ram, message.subject), message.detail, message.more)
            case Tell.RECEIVER_DIED:
                self._receiver_died(Channel(self._ram, message.subject), message.more)

    def gone(self, channels: Sequence[int]) -> None:
        """These, by address, were severed: all pages are taken away, then each thread's keeper hears of its own."""
        ends: dict[Thread, list[int]] = {}
        sleepers: dict[Thread, None] = {}
        for address in channels:
            page = self._pages.pop(address, None)
            if page is None:
                continue
            channel = Channel(self._ram, address)
            number = channel.number
            for listener in tuple(page.died):
                self._forget_end(channel, page, listener)
            if page.descriptor >= 0:
                if self._ends.pop(address, None) is not None:
                    os.ftruncate(page.descriptor, 0)
                    sleepers.update((thread, None) for thread, role in page.handed if role == CLIENT)
                os.close(page.descriptor)
                page.descriptor = -1
                self._store.drop(_key(channel))
            for thread, _ in page.handed:
                ends.setdefault(thread, []).append(number)
        for thread in sleepers:
            if not thread.process.channel_mail.tells_ends:
                thread.process.have_look(thread)
        for thread, numbers in ends.items():
            if not _has_ended(thread):
                thread.process.channel_mail.close(thread.number, numbers)

    def restore_pages(self, inherited: Inheritance) -> None:
        """The pages that a kernel before this one has made."""
        for name, kept in inherited.take_all("channel"):
            if os.fstat(kept.descriptor).st_size:
                self._add(int(name, 16), Page(kept.descriptor))
            else:
                self._store.drop(kept.key)
                os.close(kept.descriptor)

    def restore(
        self,
        channel: Channel,
        holders: Iterable[tuple[int, int]],
        again: Collection[tuple[int, int]],
        owed: Collection[Process],
    ) -> None:
        """Who has a channel's page: TCBs, and their numbers as listeners.

        ``again``: those of them to whom it may not have been handed yet. ``owed``: whoever was not told everything.
        """
        is_new = channel.address not in self._pages
        for tcb, listener in holders:
            thread = self._threads.get(tcb)
            if is_new or (tcb, listener) in again or (thread is not None and thread.process in owed):
                self._open(channel, tcb, listener)
            elif thread is not None:
                self.was_handed(channel.address, thread, listener)

    def was_handed(self, channel: int, thread: Thread, listener: int) -> None:
        """A kernel before this one has handed the thread the page."""
        page = self._pages.get(channel)
        if page is not None and not _has_ended(thread):
            self._note(channel, page, thread, listener)
            thread.process.channel_mail.was_handed(thread.number, Channel(self._ram, channel).number)

    def restore_ends(self, inherited: Inheritance, find: Callable[[int, int], Thread | None]) -> None:
        """Go on to tell clients of receivers' ends. ``find``: a thread, by its process's start and its number."""
        for name, kept in inherited.take_all("died"):
            channel, listener = int(name.partition(":")[0], 16), int(name.partition(":")[2])
            inode, holders = cast(tuple[int, list[tuple[int, int]]], kept.note)
            page = self._pages.get(channel)
            if page is None or os.fstat(page.descriptor).st_ino != inode:
                self._store.drop(kept.key)
                continue
            for start, number in holders:
                if (thread := find(start, number)) is not None:
                    self.was_handed(channel, thread, listener)
            self._receiver_died(Channel(self._ram, channel), listener)

    def close(self) -> None:
        """Close the descriptors; processes keep what they have mapped."""
        for page in self._pages.values():
            if page.descriptor >= 0:
                os.close(page.descriptor)
        self._pages.clear()
        self._ends.clear()

    # --- tells

    def _open(self, channel: Channel, tcb: int, listener: int) -> None:
        page = self._pages.get(channel.address)
        if page is None:
            page = self._make(channel)
            self._add(channel.address, page)
        thread = self._threads.get(tcb)
        if thread is None or page.descriptor < 0:
            return  # the kernel will hear of the thread's end; or it hears that there is no page
        page.handed = {each: None for each in page.handed if not each[0].process.is_gone}
        if (thread, listener) in page.handed:
            return
        self._note(channel.address, page, thread, listener)
        handing = Handing(thread.number, channel.number, _role(channel, listener), channel.slot.word1, listener)
        thread.process.channel_mail.open(handing, lambda: page.descriptor, partial(self._fail, channel, page))

    def _receiver_died(self, channel: Channel, listener: int) -> None:
        page = self._pages.get(channel.address)
        if page is None:
            return
        holders = [each for each in page.handed if each[1] == listener and not each[0].process.is_gone]
        if page.descriptor >= 0:
            who = [(thread.process.start, thread.number) for thread, _ in holders]
            page.died.add(listener)
            self._store.note(_end_key(channel, listener), (os.fstat(page.descriptor).st_ino, who))
        if not holders:
            self._tell_client(channel, page, listener)
        for thread, _ in holders:
            if (thread, listener) not in page.ending:
                page.ending.add((thread, listener))
                taken_back = partial(self._taken_back, channel, page, thread, listener)
                failed = partial(self._fail, channel, page)
                thread.process.channel_mail.take_back(thread.number, channel.number, taken_back, failed)

    def _taken_back(self, channel: Channel, page: Page, thread: Thread, listener: int) -> None:
        page.ending.discard((thread, listener))
        page.handed.pop((thread, listener), None)
        if self._pages.get(channel.address) is page:
            self._tell_client(channel, page, listener)

    def _tell_client(self, channel: Channel, page: Page, listener: int) -> None:
        told = partial(self._forget_end, channel, page, listener)
        clients = [thread for thread, role in page.handed if role == CLIENT and not _has_ended(thread)]
        for thread in clients:
            failed = partial(self._fail, channel, page)
            thread.process.channel_mail.receiver_died(thread.number, channel.number, listener, failed, told)
        if not clients:
            told()

    def _forget_end(self, channel: Channel, page: Page, listener: int) -> None:
        """The client knows, or is connected no more: what lies at the channel's address may be another one by then."""
        if listener in page.died:
            page.died.discard(listener)
            self._store.drop(_end_key(channel, listener))

    # --- pages

    def _add(self, channel: int, page: Page) -> None:
        self._pages[channel] = page
        if page.descriptor >= 0:
            self._ends[channel] = page.descriptor, NOBODY

    def _note(self, channel: int, page: Page, thread: Thread, listener: int) -> None:
        """The thread has the page from now on, or will have."""
        page.handed[thread, listener] = None
        if listener == CLIENT and not thread.number and channel in self._ends:
            self._ends[channel] = page.descriptor, thread.process.pidfd

    def _make(self, channel: Channel) -> Page:
        try:
            page = Page(_new_page(f"sel4py-channel-{channel.number}"))
        except OSError:  # this client's trouble alone: its calls go by the kernel
            page = Page(-1)
            self._fail(channel, page)
        else:
            self._store.keep(_key(channel), page.descriptor)
        return page

    def _fail(self, channel: Channel, page: Page) -> None:
        self._loop.call_soon(self._report, channel, page)

    def _report(self, channel: Channel, page: Page) -> None:
        """Unless the channel was severed meanwhile: what lies at its address may be another object by now."""
        if self._pages.get(channel.address) is page:
            self._failed(channel.address)


def _new_page(name: str) -> int:
    """A page as nobody has used it yet. Raises OSError where the host has no descriptor or memory for it."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        if not leaves_for_tasks(descriptor):
            raise OSError(errno.EMFILE, "the descriptors that are left are for tasks")
        os.ftruncate(descriptor, abi.CHANNEL_BYTES)
        for offset, word in abi.CHANNEL_UNUSED.items():
            os.pwrite(descriptor, struct.pack("<I", word), offset)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _role(channel: Channel, listener: int) -> ChannelRole:
    calls = channel.slot.cap_type == CapType.ENDPOINT
    if listener == CLIENT:
        return ChannelRole.CLIENT if calls else ChannelRole.SIGNALLER
    return ChannelRole.SERVER if calls else ChannelRole.WAITER


def _key(channel: Channel) -> str:
    return f"channel:{channel.address:x}"


def _end_key(channel: Channel, listener: int) -> str:
    return f"died:{channel.address:x}:{listener}"


def _has_ended(thread: Thread) -> bool:
    return thread.orphan or thread.process.phase is Phase.ENDING
