"""Root on the pure kernel: it builds a system of tasks that nobody runs, and the test looks at what each one holds.

What a task's CNode holds is read from RAM, as the kernel has it: root's own book-keeping proves nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from kerneld import caps, threads
from kerneld.boot import DeviceRegion
from kerneld.caps import Cap
from kerneld.records import CapType, ProcessState, Slot, Tcb, ThreadState
from libsel4py import abi
from libsel4py.abi import ExceptionNumber, FaultLabel, InitialSlot, ObjectType
from libsel4py.capabilities import Endpoint, Notification
from libsel4py.description import Device, DeviceType, Display, Group, System, Task
from libsel4py.environment import SIGNAL_BADGE, Environment
from libsel4py.interfaces.lifecycle import ORDERS_SIGNAL
from libsel4py.lowlevel import bootinfo
from libsel4py.task import Task as CurrentTask
from libsel4py.task import as_task
from servers.root.ahead import Ahead
from servers.root.authority import Authority
from servers.root.builder import Builder
from servers.root.lifecycle import LifecycleService
from servers.root.lives import Lives
from servers.root.main import heartbeats_of
from servers.root.orders import Orders
from servers.root.replay import empty_free_slots, replayed
from servers.root.running_task import Kind, RunningTask, Sender
from servers.root.supervisor import Supervisor
from tests.harness import Machine, Thread
from tests.unit.sdk.kernel_cpu import bench

RAM_BYTES: Final = 64 << 20
PING: Final = "libsel4py.interfaces.ping:Ping"
NAMES: Final = "libsel4py.interfaces.names:Names"
UART: Final = Device("uart0", DeviceType.UART, 0x3F8, 0x3FF, 4)
ENTROPY: Final = Device("entropy0", DeviceType.ENTROPY, 0x100, 0x11F, 5)
SCREEN: Final = Device("screen0", DeviceType.FRAMEBUFFER, 0x200, 0x203, 6, display=Display(64, 64), memory=1 << 15)


def task(name: str, **fields: object) -> Task:
    """A small task of a description."""
    plain = {
        "image": "apps.pong.main",
        "priority": 100,
        "max_priority": 100,
        "memory": 1 << 20,
        "pool": 1 << 14,
        "budget_us": 5000,
        "period_us": 5000,
        "slot_bits": 7,
    }
    return Task(name, **{**plain, **fields})  # type: ignore[arg-type]  # fields of the struct, by name


@dataclass
class Clock:
    """Time that goes when it is told to, in seconds."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Root:
    """Root's parts, and the machine below them."""

    def __init__(
        self, machine: Machine, *tasks: Task, devices: tuple[Device, ...] = (), groups: tuple[Group, ...] = ()
    ) -> None:
        self.machine = machine
        machine.delete(machine.root.reply)  # it stands where BootInfo says that slots are free
        self.description = System("test", RAM_BYTES, devices, tasks, groups)
        self.clock = Clock()
        self._build()

    def _build(self) -> None:
        address = self.machine.slot(InitialSlot.BOOT_INFO_FRAME).object
        info = bootinfo.parse(self.machine.ram.read(address, 1 << abi.BOOT_INFO_FRAME_BITS))
        self.authority = Authority.from_boot_info(info)
        self.endpoint = Endpoint(self.authority.make("root", ObjectType.ENDPOINT))
        self.free_slots = self.authority.slots.free_count
        self.tasks = Builder(self.authority, self.description, self.endpoint).build()
        self.lives = Lives(self.authority, self.tasks, self.clock)
        supervising = self.description.reincarnation
        self.reincarnation = next((each for each in self.tasks if each.task is supervising), None)
        self.orders = Orders(None if self.reincarnation is None else self._bell(self.reincarnation), self.clock)
        heartbeats = heartbeats_of(self.authority, self.reincarnation)
        ahead = Ahead(self.tasks)
        self.supervisor = Supervisor(self.lives, self.tasks, self.orders, self.reincarnation, heartbeats, ahead)
        self.lifecycle = LifecycleService(self.authority, self.description, self.tasks, self.lives, self.orders, ahead)

    def resume(self) -> None:
        """As a root that begins anew in a system that was suspended, and knows what it holds by BootInfo alone."""
        slots = range(1 << abi.INITIAL_CNODE_BITS)
        tcbs = {
            slot: Tcb(self.machine.ram, cap.object) for slot in slots if (cap := self.cap(slot)).type == CapType.TCB
        }
        ran = {slot for slot, tcb in tcbs.items() if tcb.process != ProcessState.NONE}
        with replayed(True):
            self._build()
        empty_free_slots(self.authority)
        self.machine.tells.clear()
        self.supervisor.resume_all(ran)

    def _bell(self, reincarnation: RunningTask) -> Notification:
        slot = self.authority.slots.allocate()
        root, notification = self.authority.cnode, reincarnation.objects.notification
        root.mint(slot, root, notification.cptr, SIGNAL_BADGE | ORDERS_SIGNAL)
        return Notification(slot)

    def running(self, name: str) -> RunningTask:
        return next(running for running in self.tasks if running.task.name == name)

    # --- what the kernel has ---

    def cap(self, slot: int) -> Cap:
        """What a slot of root's CNode holds."""
        return caps.read(self.machine.slot(slot))

    def slot_of(self, name: str, slot: int) -> Slot:
        return Slot(self.machine.ram, self.cap(self.running(name).objects.cnode.cptr).object + slot * Slot.SIZE)

    def held(self, name: str) -> dict[int, Cap]:
        """All that a task's CNode holds, by slot."""
        slots = 1 << self.running(name).task.slot_bits
        found = {slot: caps.read(self.slot_of(name, slot)) for slot in range(slots)}
        return {slot: cap for slot, cap in found.items() if not cap.is_null}

    def tcb(self, name: str, thread: int = 0) -> Tcb:
        return Tcb(self.machine.ram, self.cap(self.running(name).objects.threads[thread].tcb.cptr).object)

    # --- what happens to tasks ---

    def lose(self, name: str, status: int, thread: int = 0) -> None:
        """The kernel hears that a thread's process has ended."""
        with self.machine.ram.transaction():
            threads.lose_process(self.machine.kernel.core, self.tcb(name, thread), status)

    def ended(self, name: str, status: int = 0, thread: int = 0) -> None:
        """Root hears that a thread's process has ended with this wait status."""
        words = (0, 0, 0, ExceptionNumber.DEATH, status)
        self.fault(name, FaultLabel.USER_EXCEPTION, words, thread)

    def fault(self, name: str, label: FaultLabel, words: tuple[int, ...], thread: int = 0) -> None:
        sender = Sender(Kind.FAULT, self.running(name).number, thread)
        self.supervisor.fault(sender, label, words)

    def has_started(self, name: str, thread: int = 0) -> bool:
        tcb = self.tcb(name, thread)
        return tcb.process != ProcessState.NONE and tcb.state != ThreadState.INACTIVE

    def act_for(self, name: str, thread: int = 0) -> Thread:
        """Let the test act for a task's thread, which has started."""
        tcb = self.tcb(name, thread)
        actor = Thread(self.machine, tcb, 0, 0, 0, 5)
        self.machine.threads[tcb.address] = actor
        return actor


@contextmanager
def root(
    *tasks: Task, devices: tuple[Device, ...] = (), groups: tuple[Group, ...] = (), check: bool = True
) -> Iterator[Root]:
    """A system that was built from these tasks, and not started. ``check``: invariants after every transaction."""
    memory = tuple(
        DeviceRegion(RAM_BYTES + (number << 32), device.memory.bit_length() - 1)
        for number, device in enumerate(devices)
        if device.memory
    )
    machine = Machine(ram_bytes=RAM_BYTES, check=check, devices=memory, device_count=max(2, len(devices)))
    with bench(machine), as_task(CurrentTask(Environment("root"))):
        yield Root(machine, *tasks, devices=devices, groups=groups)
