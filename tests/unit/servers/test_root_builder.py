"""What root gives a task is exactly what the description grants: each capability with its object, rights and badge."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kerneld.caps import Cap
from kerneld.records import CapType, TcbSlot
from libsel4py import description
from libsel4py.abi import InitialSlot, Rights
from libsel4py.description import Assigned, Grant, Group, Provide, Restart, Strategy, Task, Use
from libsel4py.environment import HEARTBEAT_SIGNAL, SIGNAL_BADGE, ChannelUse, Connection, Environment, Slot
from libsel4py.interfaces.lifecycle import fault_source
from servers.root.running_task import Kind, Sender, badge_of
from tests.unit.servers.root_board import ENTROPY, NAMES, PING, RAM_BYTES, SCREEN, UART, Root, root, task

CALL = Rights.WRITE | Rights.GRANT_REPLY
FIXED = {slot: slot.name for slot in Slot if Slot.NULL < slot < Slot.TAKEOVER}
ENDPOINT_LIKE = (CapType.ENDPOINT, CapType.NOTIFICATION)

SERVER = task("server", provides=(Provide("one", PING), Provide("two", PING)))
NAMES_SERVER = task("names", provides=(Provide("names", NAMES),))


def use(name: str, provided: str, badge: int, interface: str = PING, rights: int = CALL) -> Use:
    server, _, endpoint = provided.partition(".")
    return Use(name, server, endpoint, interface, badge, rights)


def beyond_fixed(board: Root, name: str) -> dict[int, Cap]:
    """All that a task holds behind the slots that every task has."""
    return {slot: cap for slot, cap in board.held(name).items() if slot not in FIXED}


def test_a_task_without_connections_holds_its_own_objects_and_nothing_else() -> None:
    with root(task("alone")) as board:
        held, objects = board.held("alone"), board.running("alone").objects
        assert set(held) == set(FIXED)
        own = {
            Slot.TCB: objects.main.tcb.cptr,
            Slot.CNODE: objects.cnode.cptr,
            Slot.VSPACE: objects.vspace.cptr,
            Slot.REPLY: objects.reply,
            Slot.NOTIFICATION: objects.notification.cptr,
            Slot.SCHED_CONTEXT: objects.main.sched_context.cptr,
        }
        assert {slot: held[slot].object for slot in own} == {slot: board.cap(cptr).object for slot, cptr in own.items()}
        parent = held[Slot.PARENT]
        assert (parent.object, parent.rights) == (board.cap(board.endpoint.cptr).object, CALL)
        assert Sender.of(parent.badge) == Sender(Kind.PARENT, 0, 0)
        assert (held[Slot.POOL].type, held[Slot.POOL].size_bits) == (CapType.UNTYPED, 14)
        assert board.running("alone").environment == Environment(
            "alone", first_free_slot=16, free_slots=128 - 16, pool_bits=14
        )


def test_a_task_without_a_pool_has_none() -> None:
    with root(task("poor", pool=0)) as board:
        assert set(board.held("poor")) == set(FIXED) - {Slot.POOL}
        assert board.running("poor").environment.pool_bits == 0


def test_a_task_whose_answers_carry_no_capabilities_has_no_reply_object_that_grants() -> None:
    rights = int(Rights.WRITE)
    with root(task("plain", pool=0, reply_rights=rights, spare_replies=2), task("usual")) as board:
        held, spare = board.held("plain"), board.running("plain").environment.spare_replies
        assert spare == (16, 17)
        replies = {slot: cap for slot, cap in held.items() if cap.type is CapType.REPLY}
        assert set(replies) == {Slot.REPLY, *spare}
        assert len({cap.object for cap in replies.values()}) == len(replies)
        assert [cap.rights & Rights.GRANT for cap in replies.values()] == [0] * len(replies)
        assert board.held("usual")[Slot.REPLY].rights & Rights.GRANT


def test_its_cnode_resolves_whole_addresses() -> None:
    with root(task("alone", slot_bits=9)) as board:
        own = board.held("alone")[Slot.CNODE]
        assert (own.radix, own.guard_size, own.guard) == (9, 55, 0)


def test_connections_have_their_rights_and_badges() -> None:
    client = task("client", uses=(use("a", "server.one", 7), use("b", "server.two", 8, rights=Rights.ALL)), provides=())
    with root(SERVER, client) as board:
        objects = board.running("server").objects
        assert objects.endpoint is not None
        endpoint = board.cap(objects.endpoint.cptr).object
        assert {
            slot: (cap.type, cap.object, cap.badge, cap.rights) for slot, cap in beyond_fixed(board, "client").items()
        } == {
            16: (CapType.ENDPOINT, endpoint, 7, CALL),
            17: (CapType.ENDPOINT, endpoint, 8, Rights.ALL),
        }
        served = beyond_fixed(board, "server")
        assert {slot: (cap.object, cap.badge, cap.rights) for slot, cap in served.items()} == {
            16: (endpoint, 0, Rights.ALL)
        }
        environment = board.running("client").environment
        assert environment.connections == {"a": Connection(16, PING), "b": Connection(17, PING)}
        provides = board.running("server").environment.provides
        assert {name: (each.cptr, each.clients) for name, each in provides.items()} == {
            "one": (16, {7: "client"}),
            "two": (16, {8: "client"}),
        }


def test_a_task_is_told_which_connections_go_by_a_channel() -> None:
    uses = tuple(
        Use(each.value, "server", "one", PING, number, channel=each) for number, each in enumerate(ChannelUse, 1)
    )
    with root(SERVER, task("client", uses=uses)) as board:
        connections = board.running("client").environment.connections
        assert {name: connection.channel.value for name, connection in connections.items()} == {
            "auto": "auto",
            "always": "always",
            "never": "never",
        }


def test_the_names_server_holds_for_each_client_what_that_may_look_up() -> None:
    client = task("client", uses=(use("names", "names.names", 1, NAMES),), names=(use("svc", "server.one", 9),))
    with root(SERVER, NAMES_SERVER, client) as board:
        assert list(beyond_fixed(board, "client")) == [16]
        environment = board.running("names").environment
        connection = environment.connections["client/svc"]
        cap = board.held("names")[connection.cptr]
        assert (cap.badge, cap.rights) == (9, CALL)
        assert set(beyond_fixed(board, "names")) == {environment.provides["names"].cptr, connection.cptr}
        assert board.running("server").environment.provides["one"].clients == {9: "client"}


@pytest.mark.parametrize("grant", Grant)
def test_a_grant_is_one_capability_more(grant: Grant) -> None:
    with root(task("granted", grants=(grant,)), task("other")) as board:
        found = beyond_fixed(board, "granted")
        assert list(found) == [16]
        expected = {
            Grant.SYSTEM_INFORMATION: board.cap(board.endpoint.cptr).object,
            Grant.LIFECYCLE: board.cap(board.endpoint.cptr).object,
            Grant.SCHED_CONTROL: board.cap(board.authority.sched_control.cptr).object,
            Grant.DOMAIN: board.cap(InitialSlot.DOMAIN).object,
        }
        assert found[16].object == expected[grant]
        assert board.running("granted").environment.authorities == {grant.value: 16}
        if grant is Grant.SYSTEM_INFORMATION:
            assert Sender.of(found[16].badge) == Sender(Kind.SYSTEM, 0, 0)
            assert found[16].rights == CALL
            assert board.running("granted").environment.connections["system"].cptr == 16
        if grant is Grant.LIFECYCLE:
            assert Sender.of(found[16].badge) == Sender(Kind.LIFECYCLE, 0, 0)
            assert board.running("granted").environment.connections["lifecycle"].cptr == 16
        assert beyond_fixed(board, "other") == {}


def test_faults_of_tasks_that_end_together_go_to_the_reincarnation_server_and_others_to_root() -> None:
    supervising = task("first", grants=(Grant.LIFECYCLE,), provides=(Provide("one", PING),))
    group = Group("g", ("it", "alone"), Strategy.ONE_FOR_ALL)
    tasks = supervising, task("it", threads=1), task("other"), task("alone")
    with root(*tasks, groups=(group,)) as board:
        objects = board.running("first").objects
        assert objects.endpoint is not None
        theirs, ours = (board.cap(cptr).object for cptr in (objects.endpoint.cptr, board.endpoint.cptr))
        handlers = [board.tcb("it", thread).slot(TcbSlot.FAULT_HANDLER) for thread in range(2)]
        assert [(each.object, fault_source(each.word1)) for each in handlers] == [(theirs, (1, 0)), (theirs, (1, 1))]
        for number, name in ((0, "first"), (2, "other")):  # nothing ends with it: root is told, and may go ahead
            handler = board.tcb(name).slot(TcbSlot.FAULT_HANDLER)
            assert (handler.object, handler.word1) == (ours, badge_of(Kind.FAULT, number))


def test_a_task_with_heartbeats_and_the_reincarnation_server_share_its_pulse() -> None:
    supervising = task("first", grants=(Grant.LIFECYCLE,), provides=(Provide("one", PING),))
    with root(supervising, task("it", heartbeat_us=1000), task("other")) as board:
        pulse = board.running("it").environment.pulse
        assert board.running("first").environment.heartbeats.keys() == {1}
        asked = board.running("first").environment.heartbeats[1]
        theirs, ours = board.held("first"), board.held("it")[pulse]
        assert (theirs[asked.pulse].object, theirs[asked.pulse].rights) == (ours.object, Rights.READ)
        assert (ours.rights, ours.badge) == (Rights.WRITE, 1)  # a signal without a badge would leave no trace
        notification = board.cap(board.running("it").objects.notification.cptr).object
        asking = theirs[asked.notification]
        assert (asking.object, asking.badge) == (notification, SIGNAL_BADGE | HEARTBEAT_SIGNAL)
        assert asking.rights == Rights.WRITE
        assert board.running("other").environment.pulse == 0


def test_a_driver_gets_its_ports_and_its_line_and_the_line_its_notification() -> None:
    driver = task("driver", devices=(Assigned("uart", "uart0"),))
    with root(driver, task("other"), devices=(UART,)) as board:
        device = board.running("driver").environment.devices["uart"]
        found = beyond_fixed(board, "driver")
        assert {slot: cap.type for slot, cap in found.items()} == {
            device.io_port: CapType.IO_PORT,
            device.irq_handler: CapType.IRQ_HANDLER,
        }
        ports = found[device.io_port]
        assert (ports.first_port, ports.last_port, found[device.irq_handler].irq) == (0x3F8, 0x3FF, 4)
        assert (device.first_port, device.last_port, device.signal) == (0x3F8, 0x3FF, 1)
        line = board.machine.kernel.core.kernel.irq_slot(4)
        notification = board.cap(board.running("driver").objects.notification.cptr).object
        assert (line.object, line.word1) == (notification, SIGNAL_BADGE | 1)
        board.machine.interrupt(4)
        assert beyond_fixed(board, "other") == {}


def test_a_driver_of_a_device_that_does_dma_gets_the_device_s_io_space() -> None:
    driver = task("driver", devices=(Assigned("rng", "entropy0", io_space=8192),))
    with root(driver, task("other"), devices=(UART, ENTROPY)) as board:
        device = board.running("driver").environment.devices["rng"]
        found = beyond_fixed(board, "driver")
        assert found[device.io_space].type is CapType.IO_SPACE
        assert found[device.io_space].size_bits == 13
        space = board.machine.kernel.core.kernel.io_space(1)  # entropy0 is the machine's second device
        assert space is not None
        assert space.address == found[device.io_space].object
        assert space.device == 1
        assert board.machine.kernel.core.kernel.io_space(0) is None
        assert beyond_fixed(board, "other") == {}


def test_a_driver_gets_its_device_s_memory_and_nobody_else_does() -> None:
    other = replace(SCREEN, name="screen1", first_port=0x300, last_port=0x303, irq=7, memory=1 << 20)
    driver = task("driver", devices=(Assigned("screen", "screen1"),))
    with root(driver, task("one", devices=(Assigned("s", "screen0"),)), devices=(UART, SCREEN, other)) as board:
        device = board.running("driver").environment.devices["screen"]
        memory = beyond_fixed(board, "driver")[device.memory]
        assert (memory.type, memory.is_device, memory.object) == (CapType.UNTYPED, True, RAM_BYTES + (2 << 32))
        assert 1 << memory.size_bits == device.memory_bytes == 1 << 20
        theirs = board.running("one").environment.devices["s"]
        assert board.held("one")[theirs.memory].object == RAM_BYTES + (1 << 32)
        assert (theirs.memory_bytes, theirs.io_space) == (1 << 15, 0)


def test_threads_have_spaces_priorities_and_fault_handlers_of_their_own() -> None:
    with root(task("three", threads=2, priority=42, max_priority=43), task("one")) as board:
        running = board.running("three")
        root_endpoint = board.cap(board.endpoint.cptr).object
        frames, contexts = set(), set()
        for number in range(3):
            tcb = board.tcb("three", number)
            assert (tcb.priority, tcb.mcp) == (42, 43)
            assert tcb.slot(TcbSlot.CSPACE).object == board.cap(running.objects.cnode.cptr).object
            assert tcb.slot(TcbSlot.VSPACE).object == board.cap(running.objects.vspace.cptr).object
            handler = tcb.slot(TcbSlot.FAULT_HANDLER)
            assert (handler.object, handler.word1) == (root_endpoint, badge_of(Kind.FAULT, 0, number))
            assert tcb.name == ("three" if number == 0 else f"three.{number}")
            frames.add(tcb.trap_frame)
            contexts.add(tcb.sched_context)
        assert len(frames) == len(contexts) == 3
        assert board.running("three").environment.worker_threads == 2


def test_tasks_are_told_apart_by_badge() -> None:
    seen = {badge_of(kind, number, thread) for kind in Kind for number in range(50) for thread in range(3)}
    assert len(seen) == len(Kind) * 150
    assert max(seen) < SIGNAL_BADGE
    for kind in Kind:
        assert Sender.of(badge_of(kind, 1234, 63)) == Sender(kind, 1234, 63)


def test_nothing_of_the_making_is_left_in_roots_cspace() -> None:
    """Every slot that root has taken holds something: an object, or a badged endpoint for faults."""
    driver = task("driver", devices=(Assigned("uart", "uart0"),), threads=1, provides=(Provide("one", PING),))
    with root(driver, devices=(UART,)) as board:
        slots = board.authority.slots
        info = range(board.machine.next_slot - 1, 1 << 12)
        taken = [
            slot for slot in info if slots._first <= slot < slots._first + slots._count and not slots.is_free(slot)
        ]
        moved = [slot for slot in taken if board.cap(slot).is_null]
        assert moved == [board.running("driver").objects.pool]  # it was handed over


def test_the_workstation_is_built_as_it_stands() -> None:
    """The whole description, packed and unpacked as root gets it: no slot of any task is filled without a reason."""
    tasks: tuple[Task, ...] = (
        task(
            "serial", provides=(Provide("serial", PING),), devices=(Assigned("uart", "uart0"),), restart=Restart.ALWAYS
        ),
        task("console", provides=(Provide("console", PING),), uses=(use("serial", "serial.serial", 1),), threads=1),
        NAMES_SERVER,
        task(
            "shell",
            uses=(use("console", "console.console", 1), use("names", "names.names", 1, NAMES)),
            names=(use("serial", "serial.serial", 2),),
            grants=(Grant.SYSTEM_INFORMATION,),
            essential=True,
        ),
    )
    packed = description.System("test", 1 << 26, (UART,), tasks).pack()
    with root(*description.unpack(packed).tasks, devices=(UART,)) as board:
        for running in board.tasks:
            assert set(board.held(running.task.name)) == set(running.capabilities)
            assert max(running.capabilities) < running.environment.first_free_slot
