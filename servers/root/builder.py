"""Builds a system from its description: every task's objects, then exactly the connections that stand there.

Rules: nothing is granted that the description does not name. All tasks' objects exist before the first connection is
placed, and all connections before the first task runs. Badges come from the description; root's own endpoint tells its
callers apart by `Kind` and the task's number (`running_task.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from libsel4py import environment
from libsel4py.abi import ObjectType, Rights
from libsel4py.capabilities import Endpoint
from libsel4py.description import NAMES_INTERFACE, Assigned, Device, Grant, System, Task
from libsel4py.environment import (
    HEARTBEAT_SIGNAL,
    PAGED_BADGE,
    SIGNAL_BADGE,
    Connection,
    Environment,
    Heartbeat,
    Paged,
    Provided,
    Slot,
)
from libsel4py.interfaces.lifecycle import fault_badge
from servers.root import objects as task_objects
from servers.root.authority import Authority
from servers.root.objects import PlacedDevice, TaskObjects
from servers.root.running_task import THREAD_SHIFT, Kind, RunningTask, badge_of

SYSTEM_NAME: Final = "system"
SYSTEM_INTERFACE: Final = "libsel4py.interfaces.system:System"
PULSE: Final = 1  # what a signal of a pulse sets
LIFECYCLE_NAME: Final = "lifecycle"
LIFECYCLE_INTERFACE: Final = "libsel4py.interfaces.lifecycle:Lifecycle"


def _paged_badge(number: int, thread: int) -> int:
    """What a pager knows the faults of a task's thread by."""
    return PAGED_BADGE | thread << THREAD_SHIFT | number


@dataclass(slots=True)
class _Layout:
    """Slots of one task's CNode as they are handed out."""

    next_slot: int = Slot.FIRST_CONNECTION
    named: dict[int, str] = field(default_factory=dict)

    def take(self, what: str) -> int:
        slot = self.next_slot
        self.next_slot += 1
        self.named[slot] = what
        return slot


class Builder:
    """Makes the tasks of one system."""

    def __init__(self, authority: Authority, system: System, endpoint: Endpoint) -> None:
        self._authority = authority
        self._system = system
        self._endpoint = endpoint
        self._objects: dict[str, TaskObjects] = {}
        self._pulses: dict[str, int] = {}

    def build(self) -> list[RunningTask]:
        """All tasks, complete and not yet started, in start order. Raises NotEnoughMemory and other KernelErrors."""
        for task in self._system.tasks:
            self._objects[task.name] = task_objects.make_objects(self._authority, task)
            if task.heartbeat_us:
                self._pulses[task.name] = self._authority.make(task.name, ObjectType.NOTIFICATION)
        return [self._complete(number, task) for number, task in enumerate(self._system.tasks)]

    def _complete(self, number: int, task: Task) -> RunningTask:
        made = self._objects[task.name]
        own = self._fault_endpoints(number, len(made.threads))
        home = self._supervised_endpoints(number, task, len(made.threads)) or own
        paged = self._paged_endpoints(number, task, len(made.threads))
        faults = paged or home
        task_objects.configure_threads(self._authority, task, made, faults)
        task_objects.place_fixed(self._authority, made, self._endpoint, badge_of(Kind.PARENT, number))
        layout = _Layout()
        environment_of_task = self._connect(number, task, made, layout)
        image = self._system.image_index(task.image)
        fixed = [slot for slot in Slot if slot and (slot < Slot.TAKEOVER or (slot is Slot.TAKEOVER and task.standby))]
        named = {slot.value: slot.name.lower() for slot in fixed} | layout.named
        running = RunningTask(number, task, image, made, environment_of_task, named, faults, own, paged, home)
        running.standby_faults = self._rooms(number, made)
        return running

    def _rooms(self, number: int, made: TaskObjects) -> Endpoint | None:
        """Fill what a process has that stands by; returns where its faults go. None if none is to."""
        rights = Rights.WRITE | Rights.GRANT_REPLY
        if made.spare is None:
            return None
        for waiting in (made.body.waiting, made.spare.waiting):
            assert waiting is not None
            room, root, depth = waiting.room, self._authority.cnode, task_objects.ROOM_BITS
            badge = badge_of(Kind.STANDBY, number)
            room.mint(Slot.PARENT, root, self._endpoint.cptr, badge, rights, dest_depth=depth)
            room.copy(Slot.TAKEOVER, root, waiting.takeover.cptr, Rights.READ, dest_depth=depth)
        return self._mint(self._endpoint, badge_of(Kind.STANDBY_FAULT, number))

    def _fault_endpoints(self, number: int, count: int) -> tuple[Endpoint, ...]:
        """Root's endpoint, badged for the faults of each thread."""
        return tuple(self._mint(self._endpoint, badge_of(Kind.FAULT, number, thread)) for thread in range(count))

    def _supervisor_of(self, task: Task) -> Endpoint | None:
        """The endpoint of the reincarnation server; None where root itself supervises the task, or is told first."""
        reincarnation = self._system.reincarnation
        if reincarnation is None or reincarnation is task or self._system.group(task.name).is_each_alone:
            return None
        return self._objects[reincarnation.name].endpoint

    def _supervised_endpoints(self, number: int, task: Task, count: int) -> tuple[Endpoint, ...]:
        """The reincarnation server's endpoint, badged for the faults of each thread; nothing if root is told."""
        supervisor = self._supervisor_of(task)
        if supervisor is None:
            return ()
        return tuple(self._mint(supervisor, fault_badge(number, thread)) for thread in range(count))

    def _paged_endpoints(self, number: int, task: Task, count: int) -> tuple[Endpoint, ...]:
        """The endpoint of its pager, badged for the faults of each thread; nothing if it has none."""
        if not task.pager:
            return ()
        pager = self._objects[task.pager].endpoint
        if pager is None:
            raise ValueError(f"task {task.pager} provides nothing: the description was not checked")
        return tuple(self._mint(pager, _paged_badge(number, thread)) for thread in range(count))

    def _mint(self, endpoint: Endpoint, badge: int) -> Endpoint:
        root, slot = self._authority.cnode, self._authority.slots.allocate()
        root.mint(slot, root, endpoint.cptr, badge)
        return Endpoint(slot)

    def _paged(self, task: Task, made: TaskObjects, layout: _Layout) -> dict[str, Paged]:
        """The tasks that this one is the pager of: their spaces, and their supervisor's endpoint for what it does not
        answer."""
        paged = {}
        for number, client in enumerate(self._system.tasks):
            if client.pager != task.name:
                continue
            objects = self._objects[client.name]
            vspace = layout.take(f"address space of {client.name}")
            task_objects.place(self._authority, made, vspace, objects.vspace.cptr)
            supervisors = {}
            for thread in range(len(objects.threads)):
                slot = layout.take(f"supervisor of {client.name}, thread {thread}")
                supervisor, badge = self._supervisor_of(client), fault_badge(number, thread)
                if supervisor is None:
                    supervisor, badge = self._endpoint, badge_of(Kind.FAULT, number, thread)
                rights = Rights.WRITE | Rights.GRANT_REPLY
                task_objects.place(self._authority, made, slot, supervisor.cptr, rights, badge)
                supervisors[_paged_badge(number, thread)] = slot
            paged[client.name] = Paged(vspace, supervisors, client.paged)
        return paged

    def _connect(self, number: int, task: Task, made: TaskObjects, layout: _Layout) -> Environment:
        connections = self._uses(task, made, layout)
        authorities = self._grants(number, task, made, layout)
        if Grant.SYSTEM_INFORMATION.value in authorities:
            system = authorities[Grant.SYSTEM_INFORMATION.value]
            connections[SYSTEM_NAME] = Connection(system, SYSTEM_INTERFACE)
        if Grant.LIFECYCLE.value in authorities:
            connections[LIFECYCLE_NAME] = Connection(authorities[Grant.LIFECYCLE.value], LIFECYCLE_INTERFACE)
        provides = self._provides(task, made, layout)
        devices = self._devices(task, made, layout)
        paged = self._paged(task, made, layout)
        pulse = self._pulse(task, made, layout)
        heartbeats = self._heartbeats(made, layout) if Grant.LIFECYCLE in task.grants else {}
        if any(provided.interface == NAMES_INTERFACE for provided in provides.values()):
            connections |= self._directory(made, layout)
        spare_replies = self._spare_replies(made, layout)
        state, first_state_slot = self._state(task, made, layout)
        return Environment(
            name=task.name,
            connections=connections,
            provides=provides,
            devices=devices,
            authorities=authorities,
            first_free_slot=layout.next_slot,
            free_slots=(1 << task.slot_bits) - layout.next_slot,
            pool_bits=task.pool.bit_length() - 1 if task.pool else 0,
            worker_threads=task.threads,
            configuration=task.config,  # type: ignore[arg-type]  # checked by the supervisor to be plain values
            paged=paged,
            paged_bytes=task.paged,
            state=state,
            state_bytes=task.state,
            first_state_slot=first_state_slot,
            state_slots=task.state_slots,
            pulse=pulse,
            heartbeats=heartbeats,
            images={image: self._system.image_index(image) for image in task.images},
            spare_replies=spare_replies,
        )

    def _spare_replies(self, made: TaskObjects, layout: _Layout) -> tuple[int, ...]:
        slots = []
        for number, reply in enumerate(made.spare_replies, 1):
            slots.append(layout.take(f"spare reply {number}"))
            task_objects.place(self._authority, made, slots[-1], reply, made.reply_rights)
        return tuple(slots)

    def _state(self, task: Task, made: TaskObjects, layout: _Layout) -> tuple[int, int]:
        """The slots of what outlives its processes: its frame (0: it has none), and the first of those that it fills.

        They lie below the free ones, which are emptied at its end.
        """
        frame = 0
        if made.state:
            frame = layout.take("state")
            task_objects.place(self._authority, made, frame, made.state)
        first = layout.next_slot if task.state_slots else 0
        for number in range(task.state_slots):
            layout.take(f"state: capability {number}")
        return frame, first

    def _pulse(self, task: Task, made: TaskObjects, layout: _Layout) -> int:
        """The slot of what the task says by that it serves; 0 if it is never asked."""
        if task.name not in self._pulses:
            return 0
        slot = layout.take("its pulse")
        task_objects.place(self._authority, made, slot, self._pulses[task.name], Rights.WRITE, PULSE)
        return slot

    def _heartbeats(self, made: TaskObjects, layout: _Layout) -> dict[int, Heartbeat]:
        """What the reincarnation server asks tasks by, and learns their answers from. Root asks that server itself."""
        heartbeats = {}
        for number, task in enumerate(self._system.tasks):
            if task.name not in self._pulses or Grant.LIFECYCLE in task.grants:
                continue
            asking, pulse = layout.take(f"heartbeat of {task.name}"), layout.take(f"pulse of {task.name}")
            notification, badge = self._objects[task.name].notification.cptr, SIGNAL_BADGE | HEARTBEAT_SIGNAL
            task_objects.place(self._authority, made, asking, notification, Rights.WRITE, badge)
            task_objects.place(self._authority, made, pulse, self._pulses[task.name], Rights.READ)
            heartbeats[number] = Heartbeat(asking, pulse)
        return heartbeats

    def _uses(self, task: Task, made: TaskObjects, layout: _Layout) -> dict[str, Connection]:
        connections = {}
        for use in task.uses:
            slot = layout.take(f"{use.name} ({use.task}.{use.provided})")
            self._place_endpoint(made, slot, use.task, use.rights, use.badge)
            connections[use.name] = Connection(slot, use.interface, use.channel, use.task if use.complains else "")
        return connections

    def _place_endpoint(self, made: TaskObjects, slot: int, server: str, rights: int, badge: int) -> None:
        endpoint = self._objects[server].endpoint
        if endpoint is None:
            raise ValueError(f"task {server} provides nothing: the description was not checked")
        task_objects.place(self._authority, made, slot, endpoint.cptr, Rights(rights), badge)

    def _provides(self, task: Task, made: TaskObjects, layout: _Layout) -> dict[str, Provided]:
        if made.endpoint is None:
            return {}
        slot = layout.take("endpoint that it serves")
        task_objects.place(self._authority, made, slot, made.endpoint.cptr)
        provides = {}
        for provide in task.provides:
            clients = {client.use.badge: client.task for client in self._system.clients(task.name, provide.name)}
            provides[provide.name] = Provided(slot, provide.interface, clients)
        return provides

    def _devices(self, task: Task, made: TaskObjects, layout: _Layout) -> dict[str, environment.Device]:
        devices = {}
        for bit, assigned in enumerate(task.devices):
            device = self._system.device(assigned.device)
            ports = layout.take(f"{assigned.name}: I/O ports {device.first_port:#x}-{device.last_port:#x}")
            handler = layout.take(f"{assigned.name}: interrupt {device.irq}")
            placed = PlacedDevice(ports, handler, device.first_port, device.last_port, device.irq, 1 << bit)
            if device.memory:
                memory = layout.take(f"{assigned.name}: memory of {device.memory} bytes")
                placed = replace(placed, memory=memory, untyped=self._device_memory(device))
            task_objects.place_device(self._authority, made, placed)
            io_space = self._place_io_space(made, assigned, layout)
            devices[assigned.name] = environment.Device(
                irq_handler=handler,
                signal=1 << bit,
                io_port=ports,
                first_port=device.first_port,
                last_port=device.last_port,
                io_space=io_space,
                memory=placed.memory,
                memory_bytes=device.memory,
            )
        return devices

    def _device_memory(self, device: Device) -> int:
        """Root's slot of the device's memory."""
        having = [each.name for each in self._system.devices if each.memory]
        return self._authority.device_memory[having.index(device.name)].cptr

    def _place_io_space(self, made: TaskObjects, assigned: Assigned, layout: _Layout) -> int:
        """The slot of the IOSpace by which the device does DMA from now on; 0 if the task has none for it."""
        space = made.io_spaces.get(assigned.name)
        if space is None:
            return 0
        self._authority.io_space_control.assign(self._system.device_number(assigned.device), space)
        slot = layout.take(f"{assigned.name}: IOSpace")
        task_objects.place(self._authority, made, slot, space.cptr)
        return slot

    def _grants(self, number: int, task: Task, made: TaskObjects, layout: _Layout) -> dict[str, int]:
        """Slots of the further authorities, by the grant's name."""
        authority = self._authority
        slots = {}
        for grant in task.grants:
            slots[grant.value] = slot = layout.take(grant.value)
            match grant:
                case Grant.SYSTEM_INFORMATION:
                    badge = badge_of(Kind.SYSTEM, number)
                    rights = Rights.WRITE | Rights.GRANT_REPLY
                    task_objects.place(authority, made, slot, self._endpoint.cptr, rights, badge)
                case Grant.LIFECYCLE:
                    badge = badge_of(Kind.LIFECYCLE, number)
                    rights = Rights.WRITE | Rights.GRANT_REPLY
                    task_objects.place(authority, made, slot, self._endpoint.cptr, rights, badge)
                case Grant.SCHED_CONTROL:
                    task_objects.place(authority, made, slot, authority.sched_control.cptr)
                case Grant.DOMAIN:
                    task_objects.place(authority, made, slot, authority.domain.cptr)
        return slots

    def _directory(self, made: TaskObjects, layout: _Layout) -> dict[str, Connection]:
        """What clients may look up, as connections ``CLIENT/NAME`` of the names server."""
        connections = {}
        for client in self._system.tasks:
            for use in client.names:
                slot = layout.take(f"for {client.name}: {use.name} ({use.task}.{use.provided})")
                self._place_endpoint(made, slot, use.task, use.rights, use.badge)
                connections[f"{client.name}/{use.name}"] = Connection(slot, use.interface)
        return connections
