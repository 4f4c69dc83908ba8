"""A kernel that is started again: from RAM, what the monitor has kept, and what the zygote knows, to one that goes on.

RAM says what is to be; the rest is what was done of that. In this order:

1. The open transaction is rolled back (`System` has done that), and the invariants are checked: a kernel does not go on
   with what cannot be.
2. Frames' memory is laid over the window again, and what was moving arrives (`FrameMemory.restore`, before).
3. Processes are adopted: their control sockets, pidfds, doorbells, and whether they may run.
4. Mappings and channels: what their owners have is known, but for those who were owed messages, and for tells that were
   not carried out: these are told again.
5. The tells that are left in the outbox are carried out, from the one on that the last kernel was about.
6. Budgets that were watched are looked at: what was used meanwhile is charged, what was replenished is there.
7. Processes that have ended meanwhile are reaped, those that were not started are started, and completions that were
   held are told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kerneld import channels, fast_survey, invariants, layout, listening
from kerneld.host.adoption import Adopted, Adoption, end_unknown
from kerneld.host.fd_store import Inheritance
from kerneld.host.kernel_log import LineKind
from kerneld.host.process import Process, Thread
from kerneld.host.zygote_link import Census
from kerneld.outbox import Message, Tell
from kerneld.records import CapType, Channel, SchedContext, Tcb
from kerneld.survey import digest
from libsel4py import abi

if TYPE_CHECKING:
    from kerneld.host.system import System

TOLD: Final = 20  # violations that are written to the log
PAGE: Final = (1 << abi.FRAME_MIN_BITS) - 1


class Unsound(Exception):
    """RAM does not hold what must be true."""


class Recovery:
    """Of one system, once. Raises Unsound."""

    def __init__(self, system: System, inherited: Inheritance) -> None:
        self._system = system
        self._inherited = inherited
        self._census = system.zygote.ask_census()  # it answers while this looks at RAM
        self._found = fast_survey.survey(system.ram)
        self._owed: set[Process] = set()

    def run(self) -> None:
        """Do all of it."""
        system = self._system
        self._ensure_sound()
        system.capabilities = digest(self._found)
        census = system.zygote.census(self._census)
        found = self._adopt(census)
        for start in census.ended:
            system.zygote.forget(start)
        end_unknown(census)
        running = [each.process for each in found if each.pidfd >= 0 and not each.ending]
        pending = list(system.kernel.outbox)[system.kernel.outbox.done :]
        self._read_mappings_pending(pending, running)
        for process in running:
            system.mappings.restore(process, process in self._owed)
        self._restore_channels(found, running, pending)
        system.mappings.finish_restore()
        system.processes.settle_owed(self._owed)
        system.entry.settle()
        for context in self._found.of_type(CapType.SCHED_CONTEXT):
            if SchedContext(system.ram, context).watched:
                system.budget_alarms.look_now(context)
        system.processes.finish_adoption(found, list(self._tcbs()))
        system.entry.settle()
        system.entry.go_on(list(self._tcbs()))

    def _ensure_sound(self) -> None:
        version = self._system.ram.word(layout.HEADER_VERSION)
        if version != layout.VERSION:
            raise Unsound(
                f"RAM is laid out as version {version} has it, and this kernel is of version {layout.VERSION}"
            )
        violations = invariants.check(self._system.ram, self._found)
        for each in violations[:TOLD]:
            self._system.log(LineKind.SYSTEM, f"{each.name}: {each.detail} ({each.sentence})")
        if violations:
            raise Unsound(f"{len(violations)} invariants do not hold in RAM as the last kernel has left it")

    def _adopt(self, census: Census) -> list[Adopted]:
        system = self._system
        processes = system.processes
        adoption = Adoption(
            system.ram, system.loop, system.store, processes.disobeyed, processes.told, system.options.restarts
        )
        found = adoption.find(self._inherited, census)
        self._owed = {each.process for each in found if each.owed}
        processes.adopt(found)
        return found

    def _tcbs(self) -> list[Tcb]:
        return [Tcb(self._system.ram, address) for address in self._found.of_type(CapType.TCB)]

    def _read_mappings_pending(self, pending: list[Message], running: list[Process]) -> None:
        by_vspace = {process.vspace: process for process in running}
        for message in pending:
            if message.kind is Tell.MAP or message.kind is Tell.UNMAP:
                process = by_vspace.get(message.subject)
                if process is not None:
                    self._owed.add(process)
                if message.kind is Tell.UNMAP:
                    self._system.mappings.lost(process, message.more & ~PAGE, 1 << (message.more & PAGE))

    def _restore_channels(self, found: list[Adopted], running: list[Process], pending: list[Message]) -> None:
        pages = self._system.channels
        threads = [thread for process in running for thread in process.threads]
        by_number = {(thread.process.start, thread.number): thread for thread in threads}
        by_tcb: dict[int, Thread] = {thread.tcb.address: thread for thread in threads}
        # The page was kept before it was handed to anybody, and a tell says to whom that is still to be done, or again.
        opening = {(each.subject, each.detail, each.more) for each in pending if each.kind is Tell.CHANNEL_OPEN}
        for address in self._found.of_type(CapType.CHANNEL):
            channel = Channel(self._system.ram, address)
            if channels.is_connected(channel):
                again = {holder for holder in _holders(channel) if (address, *holder) in opening}
                pages.restore(channel, _holders(channel), again, self._owed)
        for message in pending:
            if message.kind is Tell.RECEIVER_DIED and message.detail in by_tcb:
                pages.was_handed(message.subject, by_tcb[message.detail], message.more)
        pages.restore_ends(self._inherited, lambda start, number: by_number.get((start, number)))
        severed = [message.subject for message in pending if message.kind is Tell.CHANNEL_GONE]
        pages.gone(severed)  # first: a page that is there when its keeper looks is one that stays
        for process in running if severed else self._owed:
            process.channel_mail.look()


def _holders(channel: Channel) -> list[tuple[int, int]]:
    """Who has the page: TCBs, and their numbers as listeners."""
    target = channels.target_of(channel.slot)
    client = channel.client
    found = [] if client is None else [(client.address, 0)]
    if target is not None:
        found += [(tcb.address, tcb.listener) for tcb in listening.takers(target)]
    return found
