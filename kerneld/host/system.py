"""A running system: machine, kernel, processes, devices' back ends and the management socket, joined together.

It ends when the initial task's process ends (with that status), when `down` is asked for (status 0), when the zygote
is gone, at a bug of the kernel (status 70), or when RAM is not what it must be after another kernel has died (status
73). Nothing here decides what a task may do.

A bug ends the system, and a kernel that was killed does not: what is rolled back would be asked for again at once, and
meet the same bug in the next kernel.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from hw.clock import host_microseconds
from hw.devices.block import Block
from hw.devices.clock import Clock
from hw.devices.disk import Disk
from hw.devices.disk_image import DiskImage
from hw.devices.entropy import Entropy
from hw.devices.framebuffer import Framebuffer
from hw.devices.net import Net
from hw.devices.net_frames import NetFrames
from hw.devices.pty import PtyBackend, open_terminal
from hw.devices.refresh import Refresh
from hw.devices.serial_line import SerialBackend, SerialLine
from hw.devices.stdio import stdio_backend
from hw.devices.timer import ClockTimer
from hw.devices.transfers import Transfers
from hw.devices.uart import Uart
from hw.devices.virtio import VirtioDevice
from hw.devices.virtio_registers import Cause
from hw.machine import BackendKind, DeviceDescription, Machine, RamLayout
from kerneld import boot, budgets, layout
from kerneld.entry import Entry
from kerneld.host.budget_alarms import BudgetAlarms
from kerneld.host.channels import Channels
from kerneld.host.core_time import VirtualAlarms, core_time
from kerneld.host.fd_store import FdStore, Inheritance
from kerneld.host.kept_trace import kept_trace
from kerneld.host.kernel_log import KernelLog, LineKind
from kerneld.host.management import Management
from kerneld.host.mappings import Mappings
from kerneld.host.options import KernelOptions
from kerneld.host.processes import Processes
from kerneld.host.recovery import Recovery, Unsound
from kerneld.host.zygote_link import ZygoteLink
from kerneld.kernel import Kernel
from kerneld.objects.io_space import translate
from kerneld.outbox import Message, Tell
from kerneld.records import KernelRecord, SchedContext, Tcb, ThreadState
from kerneld.service import Service
from libsel4py import abi

KERNEL_BUG: Final = 70  # EX_SOFTWARE
ZYGOTE_LOST: Final = 71  # EX_OSERR
UNSOUND: Final = 73
RAM_LAYOUT: Final = RamLayout(
    layout.UNDO_LOG,
    layout.UNDO_LOG_BYTES,
    layout.DEVICE_RECORDS,
    layout.DEVICE_RECORD_BYTES,
    layout.DEVICE_RECORD_COUNT,
)
Backend = ClockTimer | Disk | NetFrames | Refresh | SerialBackend | Transfers


class System:
    """One system, from boot (or from RAM as an earlier kernel left it) to its end.

    ``restored``: called once all is as it is to be, before other threads and sockets are made.
    """

    def __init__(
        self,
        options: KernelOptions,
        inherited: Inheritance,
        monitor: socket.socket | None,
        loop: asyncio.AbstractEventLoop,
        restored: Callable[[], None] = lambda: None,
    ) -> None:
        self.options = options
        self.loop = loop
        self.started_us = host_microseconds()
        self.recovery_us = 0
        self.capabilities = ""  # the graph as the last kernel has left it (survey.digest)
        self._inherited = inherited
        self._restored = restored
        self._end: asyncio.Future[int] = loop.create_future()
        now = self._now_us if options.step_us else host_microseconds
        self.machine = Machine.on_memory(options.machine, options.ram_fd, RAM_LAYOUT, now)
        self.ram = self.machine.ram
        self.store = FdStore(monitor, loop)
        service = Service() if options.step_us else Service(lambda: time.thread_time_ns() // 1000)
        self.mappings = Mappings(self.ram, options.ram_fd, self.store, loop, options.machine.ram_bytes, service)
        self.mappings.restore_memory(inherited)
        self.ram.recover()
        self._boot(options.description)
        self.kernel = Kernel(self.ram, self.machine.bus, self._processor_time, host_microseconds)
        self.mappings.shares.use_limit(self._limit)
        self.machine.iommu.use_translation(lambda device, address: translate(self.ram, device, address), keep=True)
        self.kernel.core.io_changed = self.machine.iommu.forget
        self.kernel.core.service = service
        if not options.step_us:
            self.kernel.core.waiting_time = lambda tcb: self.processes.waiting_time(tcb)
        self.machine.bus.set_kick(self._kick)
        self.machine.bus.turn_of = service.turn_of
        self.initial = self.kernel.core.kernel.initial_tcb
        self.was_up = False
        self.entry = Entry(
            self.kernel,
            self.machine.bus,
            loop,
            self._carry_out,
            self._fatal,
            options.poll_ns,
            self._wait_for_memory,
            self.mappings.make_ahead,
            self.mappings.first_maps,
            lambda channels: self.channels.gone(channels),
        )
        self.processes = Processes(self.ram, loop, self.mappings, options.images, self.entry, self, self.store)
        virtual = VirtualAlarms(self._budget_due_us) if options.step_us else None
        self.budget_alarms: VirtualAlarms | BudgetAlarms
        if self.kernel.core.kernel.cores:
            self.kernel.core.trace = kept_trace(self.ram, self.store, inherited)
        if virtual is not None:
            self.budget_alarms = virtual
            self.kernel.core.take_due = virtual.take_due
        else:
            self.budget_alarms = BudgetAlarms(loop, self._budget_due_us, self._look_at_budget, self._sleeps)
        settle = self.entry.settle_now if options.step_us else self.entry.settle
        self.entry.use_time(core_time(self.kernel, self.machine.bus, loop, virtual, settle))
        self.channels = Channels(
            self.ram, loop, self.store, self.processes.threads, self._channel_failed, self.entry.ends
        )
        self.zygote = ZygoteLink(
            socket.socket(fileno=options.zygote_fd), loop, self.processes.exited, self._zygote_lost
        )
        self.processes.use_zygote(self.zygote)
        self.management = Management(self, options.folder)
        self._log = KernelLog(sys.stdout.fileno(), loop, lambda text: self.event("log", text=text))
        self._backends: dict[int, Backend] = {}

    async def run(self) -> int:
        """Run the system; returns its exit status."""
        self.loop.set_exception_handler(lambda loop, context: self._loop_failed(context))
        self.loop.add_signal_handler(signal.SIGTERM, self.end, 0)
        self.loop.add_signal_handler(signal.SIGUSR1, self._stop)
        try:
            if self.options.restarts:
                self.channels.restore_pages(self._inherited)
                Recovery(self, self._inherited).run()
            self._restored()
            for number, device in enumerate(self.options.machine.devices):
                self._join_backend(number, device)
            self._inherited.forget_all(self.store)
            self.entry.settle()
            if self.options.restarts:
                self.loop.call_soon(self.management.open)  # tasks wait for the first turn already
            else:
                self.management.open()
            self._runs()
            return await self._end
        except Unsound as unsound:
            self.log(LineKind.SYSTEM, f"the system ends: {unsound}")
            self.end(UNSOUND)
            return UNSOUND
        except ConnectionError:
            self._zygote_lost()
            return ZYGOTE_LOST
        finally:
            self._close()

    def _runs(self) -> None:
        self.store.say("runs")
        if self.options.restarts:
            self.recovery_us = (time.monotonic_ns() - self.options.noticed_ns) // 1000
            text = f"the kernel was started again, for the {self.options.restarts}th time, after {self.recovery_us} us"
            self.log(LineKind.SYSTEM, text)

    def end(self, status: int) -> None:
        """End the system with this exit status. The first call counts."""
        if not self._end.done():
            # Whatever becomes of this process now: the monitor replaces none that has ended its system.
            self.store.say("ended", status=status)
            self._end.set_result(status)

    @property
    def is_up(self) -> bool:
        """Whether the initial task has got as far as to wait for others: what it builds is built."""
        if not self.was_up and self.initial is not None:
            waiting = (ThreadState.BLOCKED_ON_RECEIVE, ThreadState.BLOCKED_ON_NOTIFICATION)
            self.was_up = self.initial.state in waiting
        return self.was_up

    def back_end(self, number: int) -> Backend | None:
        """What carries out the work of the device of this number."""
        return self._backends.get(number)

    # --- what Processes reports ----------------------------------------------------------------------------

    def died(self, tcb: Tcb, status: int) -> None:
        """The thread's process has ended with this wait status."""
        if tcb == self.initial:
            code = os.waitstatus_to_exitcode(status)
            self.end(code if code >= 0 else 128 - code)
            return
        self.kernel.died(tcb, status)
        self.entry.settle()

    def reaped(self, tcb: Tcb) -> None:
        """The process is gone, with all that it had mapped."""
        self.kernel.reaped(tcb)

    def event(self, kind: str, **details: object) -> None:
        """Tell whoever listens."""
        self.management.publish({"event": kind, **details})

    def log(self, kind: LineKind, text: str) -> None:
        """Tell the kernel's log, and whoever listens."""
        self._log.write(kind, text)

    # --- joining -------------------------------------------------------------------------------------------

    def _boot(self, description: bytes) -> None:
        if self.ram.word(layout.HEADER_MAGIC) == layout.MAGIC:
            return
        self.machine.power_on()
        parameters = boot.BootParameters(
            self.options.machine.ram_bytes,
            image=0,
            arguments=(abi.BOOT_INFO_ADDRESS,),
            description=description,
            devices=tuple(
                boot.DeviceRegion(memory.address, memory.size_bits)
                for memory in self.options.machine.device_memory
                if memory is not None
            ),
            device_count=len(self.options.machine.devices),
            vspace_bits=self.options.initial_memory_bits,
            cores=self.options.cores,
            step_us=self.options.step_us,
        )
        boot.boot(self.ram, parameters)

    def _join_backend(self, number: int, description: DeviceDescription) -> None:
        device = self.machine.bus.devices[number]
        if isinstance(device, VirtioDevice):
            device.failed = partial(self._device_failed, description.name)
        if isinstance(device, Clock) and self.options.step_us:
            return  # it fires by virtual time (host/core_time.py)
        if isinstance(device, Clock):
            self._backends[number] = ClockTimer(self.loop, self.machine.bus, device, self.entry.settle)
        elif isinstance(device, Entropy):
            self._backends[number] = Transfers(self.loop, self.machine.bus, device, self.entry.settle)
        elif isinstance(device, Framebuffer):
            self._backends[number] = Refresh(self.loop, self.machine.bus, device, self.entry.settle)
        elif isinstance(device, Block):
            witness = kept_witness(description, self.store, self._inherited, self.log)
            medium = DiskImage(description.descriptor, self.entry.attention, witness)
            self._backends[number] = Disk(self.loop, self.machine.bus, device, medium, self.entry.settle)
        elif isinstance(device, Net):
            frames = description.descriptor
            made = NetFrames(self.loop, self.machine.bus, device, frames, self.entry.settle)
            self._backends[number] = made
            self.entry.kicked[number] = made.kicked_in_c
        elif isinstance(device, Uart):
            line = SerialLine(self.machine.bus, device, self.entry.settle)
            if description.backend is BackendKind.STDIO:
                source, target = self.options.console_in, self.options.console_out
                self._backends[number] = stdio_backend(
                    self.loop, line, source, target, lambda: self.end(0), self._output_lost
                )
            elif description.backend is BackendKind.PTY:
                terminal = kept_terminal(description.name, self.store, self._inherited)
                self._backends[number] = PtyBackend(self.loop, line, self._pty_link(description), terminal)

    def _output_lost(self, error: int) -> None:
        self.store.say("lost", error=error)

    def _pty_link(self, description: DeviceDescription) -> Path:
        """`console` for the first UART on a pseudo-terminal; further ones by their names."""
        ptys = [device for device in self.options.machine.devices if device.backend is BackendKind.PTY]
        return self.options.folder / ("console" if ptys[0] is description else f"console-{description.name}")

    def _carry_out(self, message: Message) -> None:
        match message.kind:
            case Tell.MAP | Tell.UNMAP:  # first, as the commonest
                self.processes.carry_out_mapping(message)
            case Tell.FRAME_GONE:
                self.processes.frame_gone(message.subject)
                self.mappings.gone(message.subject)
            case Tell.CHANNEL_OPEN | Tell.RECEIVER_DIED:
                self.channels.carry_out(message)
            case Tell.WATCH:
                self.budget_alarms.watch(message.subject)
            case Tell.UNWATCH:
                self.budget_alarms.forget(message.subject)
            case Tell.DEVICE:
                if backend := self._backends.get(message.subject):
                    backend.kicked()
                    self.entry.host_is_due()
            case _:
                self.processes.carry_out(message)

    def _kick(self, number: int) -> None:
        self.kernel.outbox.tell(Tell.DEVICE, number)
        self.kernel.core.service.rang(number)

    def _device_failed(self, name: str, cause: Cause) -> None:
        text = f"device {name} needs a reset, for what its driver has done: {cause.explanation}"
        self.loop.call_soon(self.log, LineKind.DEVICE, text)

    def _channel_failed(self, channel: int) -> None:
        self.kernel.channel_failed(channel)
        self.entry.settle()

    def _limit(self, vspace: int, limited: bool) -> None:
        if self.kernel.limit(vspace, limited):
            self.entry.settle()

    def _wait_for_memory(self, tcb: int, then: Callable[[], None]) -> bool:
        thread = self.processes.threads.get(tcb)
        return self.mappings.wait(None if thread is None else thread.process, then)

    def _now_us(self) -> int:
        """Virtual time."""
        return KernelRecord.of(self.ram).virtual_us

    def _processor_time(self, tcb: int) -> int:
        return self.processes.processor_time(tcb)

    def _budget_due_us(self, context: int) -> int:
        return budgets.due_us(self.kernel.core, SchedContext(self.ram, context))

    def _look_at_budget(self, context: int) -> None:
        self.kernel.look_at_budget(context)
        self.entry.settle()

    def _sleeps(self, context: int) -> bool:
        return budgets.has_slept(self.kernel.core, SchedContext(self.ram, context))

    def _stop(self) -> None:
        """Another kernel is to take over. Between two transactions, as everything that the loop calls; all is kept."""
        os._exit(0)

    # --- the end -------------------------------------------------------------------------------------------

    def _zygote_lost(self) -> None:
        self.log(LineKind.SYSTEM, "the zygote has ended; no task can be started or reaped any more")
        self.end(ZYGOTE_LOST)

    def _fatal(self, error: BaseException) -> None:
        """A bug of the kernel: what it was doing is rolled back, and nothing more is done."""
        if self.ram.in_transaction:
            self.ram.recover()
        text = "".join(traceback.format_exception(error))
        print(text, file=sys.stderr, flush=True)
        self.management.publish({"event": "bug", "text": text})
        self.end(KERNEL_BUG)

    def _loop_failed(self, context: dict[str, object]) -> None:
        error = context.get("exception")
        self._fatal(error if isinstance(error, BaseException) else RuntimeError(str(context.get("message"))))

    def _close(self) -> None:
        self.entry.end()
        for backend in self._backends.values():
            backend.close()
        self.processes.close()
        self.zygote.close()
        self.budget_alarms.close()
        self._log.close()
        self.management.close()
        self.channels.close()
        self.mappings.close()
        self.store.close()


def kept_terminal(name: str, store: FdStore, inherited: Inheritance) -> tuple[int, int]:
    """Both ends of a UART's pseudo-terminal: those that a kernel before this one has made, or new ones."""
    keys = f"terminal:{name}", f"terminal-end:{name}"
    kept = [inherited.take(key) for key in keys]
    ours, theirs = kept
    if ours is not None and theirs is not None:
        return ours.descriptor, theirs.descriptor
    made = open_terminal()
    for key, descriptor in zip(keys, made, strict=True):
        store.keep(key, descriptor)
    return made


def kept_witness(
    disk: DeviceDescription, store: FdStore, inherited: Inheritance, log: Callable[[LineKind, str], None]
) -> int:
    """A disk's witness (`DiskImage`) that a kernel before this one has left; -1: there was none, or it left none."""
    key = f"witness:{disk.name}"
    kept = inherited.take(key)
    if kept is not None:
        return kept.descriptor
    try:
        opened = os.open(f"/proc/self/fd/{disk.descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        log(LineKind.DEVICE, f"{disk.name}: a flush that fails while the kernel dies may not be told of: {error}")
        return -1
    store.keep(key, opened)
    os.close(opened)
    return -1


async def run(
    options: KernelOptions, inherited: Inheritance, monitor: socket.socket, restored: Callable[[], None] = lambda: None
) -> int:
    """Run the system that the options say; returns its exit status. ``restored``: of `System`."""
    with monitor:
        return await System(options, inherited, monitor, asyncio.get_running_loop(), restored).run()
