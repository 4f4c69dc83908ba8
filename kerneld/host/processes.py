"""Tasks as processes: carries out what the kernel tells about threads, and tells the kernel of their ends.

A VSpace is a process: its first thread to start is the process's own, further ones are asked of its keeper. A TCB's
new life waits until the process of its last one is reaped. Processes are ended by their pidfds alone.

What is started has a number, its start, that nothing else ever had, and is kept (process_notes.py): a kernel that is
started again adopts it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from hw.ram import Ram
from kerneld.host import told_mappings
from kerneld.host.adoption import Adopted
from kerneld.host.attached import Attached
from kerneld.host.death_hints import DeathHints
from kerneld.host.descriptors import make_doorbell
from kerneld.host.endings import Endings
from kerneld.host.fd_store import FdStore
from kerneld.host.kernel_log import LineKind
from kerneld.host.linux import look_ahead, tells_wait_status, wait_status_of_ending
from kerneld.host.lives import Lives, cause_of
from kerneld.host.mappings import Mappings
from kerneld.host.process import Phase, Process, Thread
from kerneld.host.process_notes import ProcessNotes
from kerneld.host.registers import arguments, frame_bytes, free_name, start_request, task_name, vspace_of
from kerneld.host.reports import Reports, Rings
from kerneld.host.second_looks import SecondLooks
from kerneld.host.zygote_link import ZygoteLink
from kerneld.outbox import Message, Outbox, Tell
from kerneld.records import KernelRecord, ProcessState, Tcb
from libsel4py import abi

CANNOT_START: Final = 126 << 8  # wait status of a process that could not be made, as a shell has it
LOOK_S: Final = 0.01  # from a start to the first look at the process, which nobody waits for
_LINES: Final = bytes(abi.KERNEL_LINE + 64 - abi.TASK_LINE)


class Processes:
    """The table of processes and threads."""

    def __init__(
        self,
        ram: Ram,
        loop: asyncio.AbstractEventLoop,
        mappings: Mappings,
        images: Sequence[str],
        rings: Rings,
        reports: Reports,
        store: FdStore | None = None,
    ) -> None:
        self._ram = ram
        self._loop = loop
        self._mappings = mappings
        self._images = images
        self._rings = rings
        self._reports = reports
        self._zygote: ZygoteLink | None = None
        self.threads: dict[int, Thread] = {}
        self._by_vspace: dict[int, Process] = {}
        self._by_start: dict[int, Process] = {}
        self._endings = Endings()
        self._attached = Attached()
        self._refused: set[int] = set()
        self.told = partial(told_mappings.tell_threads, ram)
        self.lives = Lives()
        self._outbox = Outbox(ram)
        self._store = store or FdStore(None, loop)
        self._notes = ProcessNotes(self._store)
        self._hints = DeathHints(ram, loop, self.hinted)
        self._looks = SecondLooks(loop, self.hinted)
        self._told_status: bool | None = None  # whether the host tells how a process ends that is not reaped
        mappings.use_attached(self._attached.processes, self._losing_frame)

    def use_zygote(self, zygote: ZygoteLink) -> None:
        self._zygote = zygote

    def __iter__(self) -> Iterator[Process]:
        return iter((*self._by_vspace.values(), *self._endings))

    def name_anew(self) -> None:
        """Call those that have stood by for a task, and whose threads are called as that one's by now, like it."""
        for process in self._by_vspace.values():
            if not process.stands_by or not process.threads or process.threads[0].orphan:
                continue
            name = process.threads[0].tcb.name
            if not name or name.endswith(abi.STANDBY_SUFFIX):
                continue
            self.lives.end(process.name, process.life)
            taken = {each.name for each in self._by_vspace.values() if each is not process}
            process.name, process.stands_by = free_name(name, taken), False
            process.life = self.lives.begin(process.name)
            self._notes.process(process)

    def processor_time(self, tcb: int) -> int:
        """Microseconds of processor time that the thread has used in this life."""
        return thread.process.processor_time(thread) if (thread := self.threads.get(tcb)) else 0

    def waiting_time(self, tcb: int) -> int:
        """Microseconds that the thread was to run in this life, and had no processor."""
        return thread.process.waiting_time(thread) if (thread := self.threads.get(tcb)) else 0

    # --- what the kernel tells -----------------------------------------------------------------------------

    def carry_out(self, message: Message) -> None:
        """Do one tell. Those that are not about threads are somebody else's."""
        match message.kind:
            case Tell.START:
                self._start(Tcb(self._ram, message.subject), message.more or self._outbox.next_start())
            case Tell.STOP:
                self._hold(message.subject, True)
            case Tell.CONTINUE:
                self._hold(message.subject, False)
            case Tell.PRIORITY:
                if (thread := self.threads.get(message.subject)) is not None:
                    thread.process.renice(thread)
            case Tell.KILL:
                self._kill(message.subject)
            case Tell.VSPACE_GONE:
                self._vspace_gone(message.subject)
            case Tell.TRAP_FRAME:
                self._trap_frame(message.subject)

    def carry_out_mapping(self, message: Message) -> None:
        """A tell MAP or UNMAP. A process that starts later is handed what its table says by then."""
        if (process := self._by_vspace.get(message.subject)) is not None:
            told_mappings.carry_out(self._mappings, process, message)

    def kill_task(self, tcb: int) -> None:
        """End the process of a thread, as if it had crashed: the kernel hears of it when it is reaped."""
        self._end(self.threads[tcb].process, "killed by request")

    def _start(self, tcb: Tcb, start: int) -> None:
        if tcb.address in self.threads:
            if start and self.threads[tcb.address].start == start:
                return  # the kernel before this one has begun that
            self._kill(tcb.address)  # it has ended by the system call EXIT, and the TCB gets a new life
        space = vspace_of(tcb)
        if self._endings.try_wait(tcb, space):
            return
        number = tcb.rip
        if not space or not tcb.trap_frame or number >= len(self._images):
            missing = "address space" if not space else "trap frame" if not tcb.trap_frame else f"boot image {number}"
            self._refuse(tcb, f"it has no {missing}")
            return
        process = self._by_vspace.get(space)
        try:
            if process is None:
                self._start_process(tcb, space, number, start)
            else:
                self._start_thread(tcb, process, number, start)
        except OSError as error:  # the host has no more descriptors, memory or mappings: this task's trouble alone
            self._forget(tcb)
            self._refuse(tcb, str(error))

    def _start_process(self, tcb: Tcb, vspace: int, number: int, start: int) -> None:
        image = self._images[number]
        self.name_anew()
        name = free_name(tcb.name or task_name(image), {process.name for process in self._by_vspace.values()})
        life = self.lives.begin(name)
        process = Process(vspace, name, image, life, self._loop, self.disobeyed, self.told, start, self._store)
        process.former = self.lives.cause(name)
        self._by_vspace[vspace] = process
        self._by_start[start] = process
        thread = self._new_thread(tcb, process, start)
        self._notes.process(process)
        assert self._zygote is not None
        request = start_request(thread, number, self._mappings)
        try:
            self._zygote.start(
                request,
                lambda pid, pidfd: self._started(process, pid, pidfd),
                lambda error: self._failed(process, error),
            )
        finally:
            for descriptor in request.map_fds:
                os.close(descriptor)
        process.release_control_end()
        self._watch(process)

    def _start_thread(self, tcb: Tcb, process: Process, number: int, start: int) -> None:
        self._ask_for_thread(self._new_thread(tcb, process, start), number)

    def _ask_for_thread(self, thread: Thread, number: int) -> None:
        tcb = thread.tcb
        thread.process.control.thread(
            thread.number,
            number,
            arguments(tcb),
            self._mappings.frame_fd(tcb.trap_frame, frame_bytes(tcb)),
            thread.doorbell,
            lambda error, tid: self._thread_answer(thread, error, tid),
        )

    def _new_thread(self, tcb: Tcb, process: Process, start: int) -> Thread:
        frame = tcb.trap_frame
        doorbell = make_doorbell(self._zygote.asked if self._zygote is not None else 0)
        thread = Thread(tcb, process, process.next_number, frame, doorbell, start)
        process.next_number += 1
        process.map_mail.disarm()
        process.threads.append(thread)
        self.threads[tcb.address] = thread
        # The kernel counts from 0 for a new life; the frame may still hold what its last owner wrote.
        self._mappings.frame_fd(frame, frame_bytes(tcb))
        self._ram.poke(frame + abi.TASK_LINE, _LINES)
        told_mappings.tell_thread(self._ram, thread, process.map_mail.sent)
        self._notes.thread(thread)
        self._attached.add(thread)
        self._rings.open(thread)
        return thread

    def _close_rings(self, thread: Thread) -> None:
        """Nothing of the kernel's looks at its trap frame any more. Twice does no harm."""
        if thread.doorbell < 0:
            return
        self._rings.close(thread)
        self._attached.remove(thread)
        self._mappings.detached(thread.frame)

    def _hold(self, tcb: int, held: bool) -> None:
        thread = self.threads.get(tcb)
        if thread is None:
            return
        thread.held = held
        thread.process.settle()
        if not held:
            self._rings.look(thread)

    def _kill(self, tcb: int) -> None:
        self._endings.wait_no_more(tcb)
        self._refused.discard(tcb)
        thread = self.threads.pop(tcb, None)
        if thread is None:
            return
        self._close_rings(thread)
        thread.close()
        thread.orphan = thread.held = True
        self._notes.orphaned(thread)
        process = thread.process
        if all(each.orphan for each in process.threads):
            self._end(process, "ended by who has its TCB")
        else:
            process.settle()

    def _vspace_gone(self, vspace: int) -> None:
        if (process := self._by_vspace.get(vspace)) is not None:
            self._end(process, "its VSpace was deleted")

    def _trap_frame(self, tcb: int) -> None:
        """A live thread goes on with the frame that it attached to; without it, it can never trap again."""
        thread = self.threads.get(tcb)
        if thread is not None and thread.tcb.trap_frame != thread.frame:
            self._lost_frame(thread, "replaced")

    def frame_gone(self, frame: int) -> None:
        """The frame at this physical address was destroyed: what comes to lie there is no trap frame."""
        for thread in self._attached.to(frame):
            self._lost_frame(thread, "destroyed")

    def _losing_frame(self, frame: int) -> None:
        """Another process has lost a mapping of a trap frame: the memory that it has is taken from everybody."""
        for thread in self._attached.to(frame):
            self._lost_frame(thread, "taken from another process")

    def _lost_frame(self, thread: Thread, how: str) -> None:
        self._close_rings(thread)
        self._reports.log(LineKind.END, f"{thread.process.name} is ended: its trap frame was {how} while it ran")
        self._end(thread.process, f"its trap frame was {how}")

    def _end(self, process: Process, why: str) -> None:
        process.ended_by = process.ended_by or why
        self._leave(process)
        if process not in self._endings:
            self._notes.ending(process)
            self._endings.add(process)
        process.kill()
        self._mappings.ends(process)
        # A system call that ends it, and takes from it what another is to have, ends itself when it runs no more.
        if process.may_run:
            self._mappings.outlives(process)

    def _leave(self, process: Process) -> None:
        """Its VSpace and its name may have another process. Twice does no harm."""
        if self._by_vspace.get(process.vspace) is process:
            del self._by_vspace[process.vspace]
            self.lives.end(process.name, process.life)

    # --- what the host tells -------------------------------------------------------------------------------

    def _started(self, process: Process, pid: int, pidfd: int) -> None:
        process.started(pid, pidfd)
        for thread, tid in process.take_early_answers():
            self._thread_answer(thread, 0, tid)
        self._learn(pid)
        self._loop.call_later(LOOK_S, look_ahead, pid)
        self._reports.event("started", task=process.name, pid=pid, image=process.image)

    def _learn(self, pid: int) -> None:
        """Of the first process that runs, for all."""
        if self._told_status is None:
            self._told_status = tells_wait_status(pid)

    def _failed(self, process: Process, error: str) -> None:
        self._reports.log(LineKind.START, f"{process.name} did not start: {error}")
        self._reap(process, CANNOT_START)

    def _watch(self, process: Process) -> None:
        """Hear of its end early."""
        first = next((each for each in process.threads if not each.number and not each.orphan), None)
        if first is not None:
            self._hints.watch(process.start, first.frame)

    def hinted(self, start: int) -> None:
        """A process may have ended, which it may say itself: Linux knows. If it has, and tells how, it is as if it were
        reaped, but for the memory that the host goes on to take down.

        Not so the initial task's: all tasks die with the zygote, and whether it was that, or this task's own end that
        ends the system, only the zygote can say."""
        process = self._by_start.get(start)
        if process is None or not process.pid or self._is_initial(process):
            return
        status = wait_status_of_ending(process.pid) if process.ensure_ended() else None
        if status is None:
            self._looks.ask(start)
        elif status or self._told_status:
            assert self._zygote is not None
            tried = self._zygote.tried(start)
            self._ended(start, signal.SIGSYS if tried else status, tried)
            # The zygote knows it still: a kernel after this one would adopt it, with a TCB that may be gone by then.
            self._store.tell_dropped()

    def _is_initial(self, process: Process) -> bool:
        initial = KernelRecord.of(self._ram).initial_tcb
        return any(thread.tcb == initial for thread in process.threads)

    def exited(self, start: int, status: int, tried: str = "") -> None:
        """The zygote has reaped a process. ``tried``: the forbidden host system call that it was killed for."""
        self._ended(start, status, tried)
        assert self._zygote is not None
        self._zygote.forget(start)

    def _ended(self, start: int, status: int, tried: str) -> None:
        if (process := self._by_start.get(start)) is not None:
            if tried:
                process.ended_by = f"killed for trying the host system call {tried}"
                self._reports.log(LineKind.END, f"{process.name} (process {process.pid}) was {process.ended_by}")
            self._reap(process, status)

    def _reap(self, process: Process, status: int) -> None:
        waiting = self._endings.gone(process)
        self._by_start.pop(process.start, None)
        self._hints.forget(process.start)
        self._looks.forget(process.start)
        self._leave(process)
        process.phase = Phase.ENDING
        self.lives.reaped(process.name, process.ended_by or cause_of(status))
        living = [thread for thread in process.threads if not thread.orphan]
        for thread in living:
            self._close_rings(thread)
            self.threads.pop(thread.tcb.address, None)
        # First of all its supervisor is told, since somebody may wait for the next life.
        for thread in living:
            # One that has ended by EXIT before has been reported already.
            if thread.tcb.process != ProcessState.NONE:
                self._reports.died(thread.tcb, status)
        process.close()
        self._mappings.ends(process)
        self._mappings.gone_process(process)
        self._reports.event("died", task=process.name, pid=process.pid, status=status)
        for thread in living:
            self._reports.reaped(thread.tcb)
        self._notes.forget(process.start, [thread.number for thread in process.threads])
        for tcb in waiting:
            if self._endings.waits(tcb.address):
                self._start(tcb, self._outbox.next_start())

    def _thread_answer(self, thread: Thread, error: int, tid: int) -> None:
        if thread.orphan:
            return
        if not error and thread.process.phase is Phase.STARTING:
            thread.process.early_answers.append((thread, tid))
            return
        if not error:
            thread.process.identify(thread, tid)
            self._notes.identified(thread)
            return
        if error == errno.EEXIST:
            return  # the kernel before this one had asked for it, and has not read the answer
        name = errno.errorcode.get(error, str(error))
        self._reports.log(LineKind.START, f"{thread.process.name}: a thread did not start: {name}")
        self._forget(thread.tcb)
        self._reports.died(thread.tcb, CANNOT_START)

    def _refuse(self, tcb: Tcb, why: str) -> None:
        """The kernel hears of it as of a death, once the tells of this transaction are done."""
        self._reports.log(LineKind.START, f"{tcb.name or 'a task'} cannot start: {why}")
        self._refused.add(tcb.address)
        self._loop.call_soon(self._report_refused, tcb)

    def _report_refused(self, tcb: Tcb) -> None:
        if tcb.address in self._refused:
            self._refused.discard(tcb.address)
            self._reports.died(tcb, CANNOT_START)

    def _forget(self, tcb: Tcb) -> None:
        """Undo a start that failed half-way."""
        thread = self.threads.pop(tcb.address, None)
        if thread is not None:
            self._close_rings(thread)
            thread.process.threads.remove(thread)
            thread.orphan = True
            self._notes.refused(thread)
            thread.close()
        if (unused := self._by_vspace.get(vspace_of(tcb))) is not None and not unused.threads:
            self._leave(unused)
            unused.phase = Phase.ENDING
            self._by_start.pop(unused.start, None)
            self._notes.forget(unused.start, ())
            unused.close()
            self._mappings.ends(unused)

    # --- a kernel before this one ----------------------------------------------------------------------------

    def adopt(self, found: Sequence[Adopted]) -> None:
        """Take over processes, those that have ended as well; then let those run that may."""
        for each in found:
            process = each.process
            self._by_start[process.start] = process
            if each.ending or all(thread.orphan for thread in process.threads):
                self._endings.add(process)
            else:
                self._by_vspace[process.vspace] = process
            for thread in process.threads:
                if not thread.orphan:
                    self.threads[thread.tcb.address] = thread
                    self._attached.add(thread)
                    self._rings.open(thread)
        for each in found:
            if each.pidfd >= 0:
                self._adopt(each)

    def _adopt(self, adopted: Adopted) -> None:
        process = adopted.process
        if process in self._endings:
            process.kill()
            process.started(adopted.pid, adopted.pidfd)
            return
        process.map_mail.go_on_from(told_mappings.told(self._ram, process))
        process.adopt(adopted.pid, adopted.pidfd)
        self._watch(process)
        self._learn(adopted.pid)
        if process.next_number < 2:
            return
        for thread in process.threads:
            if not thread.orphan:
                process.identify_again(thread, adopted.tids.get(thread, 0 if thread.number else process.pid))
                if thread.number and thread not in adopted.tids and thread.tcb.process != ProcessState.NONE:
                    self._ask_for_thread(thread, thread.tcb.rip)

    def settle_owed(self, owed: Iterable[Process]) -> None:
        """They were told again what they were owed."""
        for process in owed:
            process.keep_owed()

    def finish_adoption(self, found: Sequence[Adopted], tcbs: Iterable[Tcb]) -> None:
        """Do what the ends of those mean that have ended; start what is to run (any of `tcbs`) and was not started."""
        assert self._zygote is not None
        for each in found:
            if each.pidfd < 0:
                self._reap(each.process, each.status)
                self._zygote.forget(each.process.start)
        for tcb in tcbs:
            if (
                tcb.process != ProcessState.NONE
                and tcb.address not in self.threads
                and not self._endings.waits(tcb.address)
            ):
                self._start(tcb, self._outbox.next_start())
                if tcb.process == ProcessState.STOPPED:
                    self._hold(tcb.address, True)

    def disobeyed(self, process: Process, what: str) -> None:
        """It is ended, and people are told why."""
        self._reports.log(LineKind.END, f"{process.name} (process {process.pid}) is ended: {what}")
        self._end(process, what)

    def close(self) -> None:
        """End all processes and let go of all descriptors. The zygote's end reaps what is left."""
        self._hints.close()
        self._looks.close()
        for process in tuple(self):
            process.kill()
            for thread in process.threads:
                self._close_rings(thread)
            process.close()
        self.threads.clear()
        self._by_vspace.clear()
        self._endings.clear()
