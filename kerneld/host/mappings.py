"""Frames in processes: who is handed what, and how it is taken away.

Carries out the tells MAP, UNMAP and FRAME_GONE. What a process has mapped is what its VSpace's table says
(`kerneld/mapping_table.py`); a process that starts is handed all of it. Losing a mapping is enforced and not asked for:
the memory that a process has more of than it may is exchanged (`frame_refill.py`), and whoever asked for it hears only
when that is done (`wait`).

A thread's trap frame cannot be exchanged under it: where another process loses a mapping of one, those threads'
processes are ended.

A kernel that is started again restores them by what RAM and the monitor have of them (former_mappings.py).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import islice
from typing import Final

from hw.ram import Ram
from kerneld.host.barrier import Barrier
from kerneld.host.chores import Chores, Piece
from kerneld.host.fd_store import FdStore, Inheritance
from kerneld.host.first_maps import FirstMaps
from kerneld.host.former_mappings import UNKNOWN, FormerMappings
from kerneld.host.frame_memory import CHUNK, FrameMemory
from kerneld.host.frame_refill import Refill
from kerneld.host.frame_room import FrameRoom
from kerneld.host.frame_shares import FrameShares
from kerneld.host.frame_stock import SIZE
from kerneld.host.frame_use import READ, WRITE, FrameUse, Holding, access, kept_name
from kerneld.host.map_mail import Handed
from kerneld.host.process import Phase, Process
from kerneld.host.withdrawals import Withdrawals
from kerneld.service import Service

HANDED_AT_A_TIME: Final = 16  # mappings of one frame
FORGOTTEN_AT_A_TIME: Final = 64  # of a process that ends


class Mappings:
    """The frames that processes have mapped, and their memory.

    Args:
        devices_from: of `FrameMemory`. service: by which long work is paid for.
    Attributes:
        first_maps: mappings that the fast path makes.
        shares: who pays for the frames' memory.
    """

    def __init__(
        self,
        ram: Ram,
        ram_fd: int,
        store: FdStore,
        loop: asyncio.AbstractEventLoop,
        devices_from: int | None = None,
        service: Service | None = None,
    ) -> None:
        self._loop = loop
        self._chores = Chores(loop, service or Service())
        self._barrier = Barrier()
        self._store = store
        self._withdrawals = Withdrawals(self._chores, self._barrier, store)
        self._memory = FrameMemory(ram, ram_fd, store, self._withdrawals.begin, devices_from)
        self._uses: dict[int, FrameUse] = {}  # by the frame's physical address
        self._held: dict[Process, dict[int, FrameUse]] = {}  # by the address of the mapping
        self._kept: dict[Process, set[FrameUse]] = {}  # trap frames of its own that it has lost and goes on to have
        self._scheduled: dict[Refill, None] = {}  # not begun yet: losses of one turn make one
        self._outliving: set[Process] = set()  # killed ones, as far as the barrier waits for them
        self._room = FrameRoom(self._memory, lambda address: self._attached(address))
        self.shares = FrameShares(loop, self._room.left)
        self.first_maps = FirstMaps(self._memory, self._uses, self._note_first)
        self._former = FormerMappings(self._memory, store, self._uses, self._held, self.shares, self._has_left)
        self._attached: Callable[[int], Collection[Process]] = lambda frame: ()
        self._losing: Callable[[int], None] = lambda frame: None

    def use_attached(self, attached: Callable[[int], Collection[Process]], losing: Callable[[int], None]) -> None:
        """Whose trap frame the frame at a physical address is; what is done before it is exchanged."""
        self._attached = attached
        self._losing = losing

    def __len__(self) -> int:
        return len(self._memory)

    @property
    def stocked(self) -> int:
        """Descriptors of what was made ahead for frames."""
        return self._memory.stocked

    @property
    def stocked_untold(self) -> int:
        """How many of them the monitor does not keep yet."""
        return self._memory.stocked_untold

    def make_ahead(self) -> bool:
        """Do a little of what a next frame will need. False if there was nothing to do."""
        return self._memory.make_ahead()

    def own_memory(self) -> Iterator[tuple[int, int, int]]:
        """Physical address, descriptor and bytes of each frame that has memory of its own."""
        return self._memory.own_memory()

    # --- trap frames

    def frame_fd(self, address: int, size: int) -> int:
        """The memfd of a frame that becomes a trap frame. It stays ours: duplicate it, or attach it to a message.

        Raises:
            ValueError: another size was given before. OSError: the host has no more descriptors, mappings or memory.
        """
        use = self._uses.get(address)
        if use is not None and use.refill is not None:
            use.refill.hurry()
        self._room.is_used(address)
        self._room.give_own(address, size)
        return self._memory.descriptor(address, size)

    def detached(self, address: int) -> None:
        """A thread has the frame as its trap frame no more. Its memory is given back if need be, as others' is."""
        if address in self._memory and address not in self._uses:
            self._room.is_idle(address, self._memory.size(address))

    # --- what the kernel tells

    def map(self, process: Process, address: int, rights: int, frame: int, size: int) -> None:
        """The process has the frame mapped, with these rights. Twice does no harm."""
        held = self._held.setdefault(process, {})
        use = held.get(address)
        if use is not None:
            before = use.holdings[process, address]
            if (use.address, use.size, before.rights) == (frame, size, rights):
                return
            if use.address != frame or before.rights & WRITE & ~rights:
                self.unmap(process, address)
        use = self._uses.get(frame)
        if use is None:
            if rights & WRITE and self._try_map_first(process, address, rights, frame, size):
                return
            use = self._uses[frame] = FrameUse(frame, size)
        self._room.is_used(frame)
        held[address] = use
        use.add(process, address, rights)
        self.shares.settle(use)
        self._advance(use, process)

    def _try_map_first(self, process: Process, address: int, rights: int, frame: int, size: int) -> bool:
        """As `map`, of a small frame that nobody has had: nobody loses anything, and it is handed at once.

        False, and nothing was done, where it is another frame, or the host has nothing for it.
        """
        if self.shares.is_beyond(process):
            return False
        try:
            descriptor = self._memory.give_fresh(frame, size)
        except OSError:  # it is tried again, in as many ways as there are
            return False
        if descriptor < 0:
            return False
        # Sent before it is noted here: a thread waits for it.
        sent = process.map_mail.try_map(address, size, rights, descriptor)
        use = self._note_first(process, address, rights, frame)
        if not sent:
            process.map_mail.map(address, size, rights, partial(self._open, use, use.holdings[process, address]))
        elif process.phase is Phase.ENDING:  # it has not taken it, and was ended for that
            self.ends(process)
        else:
            self.first_maps.arm(process)
        return True

    def _note_first(self, process: Process, address: int, rights: int, frame: int) -> FrameUse:
        """A process that may write it was handed a small frame that nobody has had."""
        use = self._uses[frame] = self._held.setdefault(process, {})[address] = FrameUse(frame, SIZE)
        use.add_first(process, address, rights)
        self.shares.charge(process)
        return use

    def unmap(self, process: Process, address: int) -> None:
        """The process has nothing mapped there any more. Twice does no harm."""
        use = self._held.get(process, {}).pop(address, None)
        if use is None:
            return
        holding = use.remove(process, address)
        self.shares.settle(use)
        if holding is not None and holding.rights & WRITE and not (use.refill is not None and use.refill.asks(holding)):
            use.leaving[process, address] = holding
            process.map_mail.unmap(address, use.size, partial(self._has_left, use, holding))
        elif holding is not None and holding.rights:
            process.map_mail.unmap(address, use.size)
        if self._uses.get(use.address) is use:
            self._advance(use, process)

    def _has_left(self, use: FrameUse, holding: Holding) -> None:
        """The keeper says that nothing is mapped there any more, or never was; or the process ended."""
        place = holding.process, holding.address
        if use.leaving.get(place) is holding:
            del use.leaving[place]
        if use.refill is not None:
            use.refill.answered(holding)

    def gone(self, address: int) -> None:
        """The frame was destroyed: whoever has it mapped loses it."""
        use = self._uses.get(address)
        if use is not None and use.refill is not None and self._memory.is_device(address):
            use.refill.finish_move()
        use = self._uses.pop(address, None)
        if use is not None:
            self.shares.gone(use)
            for holding in use.holdings.values():
                if holding.process.phase is Phase.ENDING:
                    continue
                self._held.get(holding.process, {}).pop(holding.address, None)
                holding.process.map_mail.unmap(holding.address, use.size)
            for process in use.given:
                if (kept := self._kept.get(process)) is not None:
                    kept.discard(use)
            if use.refill is not None:
                use.refill.abandon()
            if use.noted[0]:
                self._store.drop(kept_name(address))
        self._room.is_used(address)
        self._memory.gone(address)
        self.shares.freed()

    # --- processes

    def ride(self, process: Process, address: int, frame: int, size: int) -> int:
        """A process that is asked for finds the frame mapped, to read. Returns a descriptor that the caller closes.

        Raises:
            OSError: as `frame_fd`.
        """
        self.frame_fd(frame, size)
        use = self._uses.setdefault(frame, FrameUse(frame, size))
        holding = use.add(process, address, READ)
        self.shares.settle(use)
        use.hand(holding)
        self._held.setdefault(process, {})[address] = use
        process.map_mail.begins_with(address, size)
        return self._open(use, holding).descriptor

    def begins(self, process: Process) -> None:
        """A process that is asked for; what it has mapped is handed to it from now on."""
        self.shares.begins(process)

    def later(self, piece: Piece) -> None:
        """Do long work a piece at a time (chores.py)."""
        self._chores.add(piece)

    def ends(self, process: Process) -> None:
        """The process is killed, or is gone: what it had mapped goes with it. Twice does no harm."""
        self.first_maps.forget(process)
        self.shares.ends(process)
        for use in self._kept.pop(process, ()):
            use.given.pop(process, None)
            if self._uses.get(use.address) is use:
                self._advance(use)
        held = self._held.pop(process, None)
        if held is not None:
            self._chores.add(partial(self._forget_some, process, held))

    def outlives(self, process: Process) -> None:
        """The process was killed, and may run still: who takes memory away hears of it when it is `gone_process`."""
        if process not in self._outliving:
            self._outliving.add(process)
            self._barrier.begin(process)

    def gone_process(self, process: Process) -> None:
        """It is reaped. Twice does no harm."""
        if process in self._outliving:
            self._outliving.discard(process)
            self._barrier.end(process)

    def _forget_some(self, process: Process, held: dict[int, FrameUse]) -> bool:
        for _ in range(min(len(held), FORGOTTEN_AT_A_TIME)):
            address, use = held.popitem()
            use.remove(process, address)
            self.shares.settle(use)
            use.given.pop(process, None)
            if use.refill is not None:
                use.refill.forget(process)
            if self._uses.get(use.address) is use:
                self._advance(use, process)
        return bool(held)

    # --- waiting

    def wait(self, process: Process | None, then: Callable[[], None]) -> bool:
        """Call `then` once what was lost so far is taken away, and the process was told all of what it has.

        False, and no call, if that is so now. What one small frame takes is done at once: to hold a completion and to
        come back to it takes longer.
        """
        if len(self._scheduled) == 1:
            (refill,) = self._scheduled
            if refill.use.size <= CHUNK:
                self._begin(refill)
        if self._barrier.wait(partial(self._then, process, then)):
            return True
        return process is not None and process.map_mail.when_sent(then)

    def _then(self, process: Process | None, then: Callable[[], None]) -> None:
        if process is None or not process.map_mail.when_sent(then):
            then()

    def close(self) -> None:
        """Close the descriptors; the mappings stay until the window is unmapped."""
        self._chores.close()
        for use in self._uses.values():
            if use.refill is not None:
                use.refill.close()
        self._memory.close()
        self._withdrawals.close()
        self._uses.clear()

    # --- a kernel before this one

    def restore_memory(self, inherited: Inheritance) -> None:
        """The frames' memory is as it was."""
        self._memory.restore(inherited)
        self._former.take(inherited)

    def lost(self, process: Process | None, frame: int, size: int) -> None:
        """The tell is not carried out that the process has a frame mapped no more."""
        if process is None or process not in self._attached(frame):
            self._former.lost(frame, size)

    def restore(self, process: Process, owed: bool) -> None:
        """The process has mapped what its table says. ``owed``: it was not told all of that, or of what it has not."""
        self._former.restore(process, owed)

    def finish_restore(self) -> None:
        """All processes are restored: go on with what was under way."""
        for use in self._former.settle():
            self._schedule(use)
        for use in tuple(self._uses.values()):
            if use.unhanded or use.noted == UNKNOWN:
                self._advance(use)
        for address, _, size in self._memory.own_memory():
            if address not in self._uses:
                self._room.is_idle(address, size)

    # --- one frame

    def _begin(self, refill: Refill) -> bool:
        """Always False: it is a chore's only piece."""
        self._scheduled.pop(refill, None)
        return refill.begin()

    def _advance(self, use: FrameUse, *changed: Process) -> None:
        """Do what is to be done next for a frame. ``changed``: whose mappings of it have."""
        if use.refill is None:
            self._do_next(use, *changed)
        self._note(use)

    def _note(self, use: FrameUse) -> None:
        """Have it kept if something is under way."""
        now = use.under_way
        if now == use.noted or self._uses.get(use.address, use) is not use:
            return
        use.noted = now
        if now[0]:
            self._store.note(kept_name(use.address), (use.size, now[1]))
        else:
            self._store.drop(kept_name(use.address))

    def _do_next(self, use: FrameUse, *changed: Process) -> None:
        lost = [process for process in changed if use.has_lost(process)]
        attached = set(self._attached(use.address)) if lost else set()
        for process in attached.intersection(lost):
            self._kept.setdefault(process, set()).add(use)
        if not attached.issuperset(lost):
            self._schedule(use)
        elif use.is_wanted and use.address not in self._memory and self._ends_beyond(use):
            return
        elif use.is_wanted and use.address not in self._memory and use.size > CHUNK:
            use.refill = self._new_refill(use)
            use.refill.begin()
        elif use.is_wanted and not self._has_memory(use):
            return
        elif use.is_unused:
            del self._uses[use.address]
            self._room.is_idle(use.address, use.size)
            self.shares.freed()
        elif self._hand_some(use):
            self._barrier.begin(use)
            self._chores.add(partial(self._hand_more, use))

    def _ends_beyond(self, use: FrameUse) -> bool:
        """Whether who pays for the frame, which needs memory, has far more than its share: it is ended."""
        payer = use.payer
        if payer is None or not self.shares.is_beyond(payer):
            return False
        payer.refuse(f"it has {self.shares[payer]} frames mapped, far more than its share of what the host has")
        return True

    def _has_memory(self, use: FrameUse) -> bool:
        """Give the frame, of a chunk at the most, a memfd if it has none: nobody is to be asked, nor to wait for it.

        False if the host has nothing for it; those who hold it are ended.
        """
        try:
            self._room.give_own(use.address, use.size)
        except OSError as error:
            self._refuse(use, error)
            return False
        return True

    def _schedule(self, use: FrameUse) -> None:
        """Somebody is to lose it."""
        refill = use.refill = self._new_refill(use)
        self._scheduled[refill] = None
        self._chores.add(partial(self._begin, refill))

    def _new_refill(self, use: FrameUse) -> Refill:
        refill = Refill(use, self._memory, self._loop, self._chores, self._losing, self._refilled, self._barrier.end)
        self._barrier.begin(refill)
        return refill

    def _refilled(self, refill: Refill) -> None:
        use = refill.use
        use.refill = None
        if refill.error is None or self._room.make():
            self._advance(use, *use.given)
        else:
            self._refuse(use, refill.error)

    def _hand_some(self, use: FrameUse) -> bool:
        """Hand the frame to the next of those who wait for it. False if that were all, or it is exchanged."""
        if use.refill is not None or self._uses.get(use.address) is not use:
            return False
        for holding in list(islice(use.unhanded, HANDED_AT_A_TIME)):
            use.hand(holding)
            hand = partial(self._open, use, holding)
            holding.process.map_mail.map(holding.address, use.size, holding.rights, hand)
            if use.refill is not None:  # a process that could not be told is ended
                return False
        return bool(use.unhanded)

    def _hand_more(self, use: FrameUse) -> bool:
        if self._hand_some(use):
            return True
        self._note(use)
        self._barrier.end(use)
        return False

    def _open(self, use: FrameUse, holding: Holding) -> Handed:
        """A descriptor of the frame's memory for a process.

        Without Write it is another opening of the file, for reading: what is mapped by it cannot be made writable
        (mprotect(2)), and a task has no way to open the file a second time (hw/_cpu/filter.c).
        """
        own = self._memory.descriptor(use.address, use.size)
        given = access(holding.rights)
        use.given[holding.process] = use.given.get(holding.process, 0) | given
        if given & WRITE:
            return Handed(own, opened=False)
        return Handed(os.open(f"/proc/self/fd/{own}", os.O_RDONLY | os.O_CLOEXEC), opened=True)

    def _refuse(self, use: FrameUse, error: OSError) -> None:
        """The host has no memory for the frame: those who cannot be given what they hold are ended."""
        for process in dict.fromkeys(each.process for each in use.unhanded):
            if process.phase is not Phase.ENDING:
                process.refuse(f"the host has nothing for the memory at {use.address:#x} that it has mapped: {error}")
