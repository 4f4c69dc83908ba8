"""The SDK against the pure kernel: what the fake kernel cannot vouch for. Invariants hold after every transaction."""

from __future__ import annotations

import queue
import random
from collections.abc import Iterator

import pytest

from kerneld.outbox import Tell
from kerneld.records import TcbSlot
from libsel4py import (
    AlignmentError,
    Channel,
    DeleteFirst,
    Endpoint,
    Frame,
    IllegalOperation,
    InvalidArgument,
    InvalidCapability,
    InvalidMessage,
    NotEnoughMemory,
    Notification,
    RangeError,
    Reply,
    Timeout,
    Untyped,
    VSpace,
    abi,
    with_timeout,
)
from libsel4py.abi import InitialSlot, ObjectType, Rights
from libsel4py.capabilities import TCB
from libsel4py.environment import ChannelUse, Environment
from libsel4py.interface import endpoint_of
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.cspace import SlotAllocator
from libsel4py.lowlevel.identify import occupied_slots
from libsel4py.lowlevel.syscalls import Message, wait_and_listen
from libsel4py.lowlevel.untyped import UntypedAllocator
from libsel4py.server import Server
from libsel4py.server_loop import listening, wait_to_serve
from libsel4py.task import Task, as_task
from tests.harness import Machine
from tests.unit.sdk.kernel_cpu import FREE_SLOTS, OWN_REPLY_SLOT, ROOT_CNODE, Bench, bench
from tests.unit.sdk.services import OutOfPaint, Painter, Studio

SERVED, BADGE = 20, 77


@pytest.fixture
def board() -> Iterator[Bench]:
    with bench(Machine(description=b"a description")) as made:
        yield made


def test_boot_info_of_a_real_boot_is_understood(board: Bench) -> None:
    address = board.machine.slot(InitialSlot.BOOT_INFO_FRAME).object
    info = bootinfo.parse(board.machine.ram.read(address, 1 << abi.BOOT_INFO_FRAME_BITS))
    assert info.system_description == b"a description"
    assert info.cnode_bits == abi.INITIAL_CNODE_BITS
    assert sum(1 << each.size_bits for each in info.untyped if not each.is_device) > 4 << 20
    assert info.untyped[0].untyped.cptr == board.machine.untyped


def _allocator(board: Bench, bits: int = 18) -> tuple[UntypedAllocator, SlotAllocator]:
    pool = board.machine.retype(ObjectType.UNTYPED, bits)
    slots = SlotAllocator(board.machine.new_slots(600), 600)
    allocator = UntypedAllocator(ROOT_CNODE, slots)
    allocator.add(Untyped(pool), bits)
    return allocator, slots


def test_the_buddy_allocator_and_the_kernel_agree(board: Bench) -> None:
    allocator, slots = _allocator(board)
    chooser, held = random.Random(2), list[int]()
    sizes = {ObjectType.CNODE: 4, ObjectType.FRAME: 14, ObjectType.SCHED_CONTEXT: 8, ObjectType.UNTYPED: 6}
    kinds = [*sizes, ObjectType.ENDPOINT, ObjectType.TCB, ObjectType.NOTIFICATION, ObjectType.REPLY]
    for _ in range(60):
        if held and chooser.random() < 0.4:
            allocator.free(held.pop(chooser.randrange(len(held))))
        else:
            kind = chooser.choice(kinds)
            held.append(allocator.allocate(kind, sizes.get(kind, 0), chooser.randint(1, 3)).start)
    for slot in held:
        allocator.free(slot)
    assert allocator.statistics().largest_free_bytes == 1 << 18
    assert slots.free_count == 600
    assert allocator.allocate(ObjectType.FRAME, 18).start
    with pytest.raises(NotEnoughMemory, match="0 of 262144 bytes are free"):
        allocator.allocate(ObjectType.ENDPOINT)


def test_refusals_carry_payload_and_the_kernels_explanation(board: Bench) -> None:
    endpoint = board.machine.retype(ObjectType.ENDPOINT)
    with pytest.raises(DeleteFirst) as occupied:
        ROOT_CNODE.copy(endpoint, ROOT_CNODE, endpoint)
    assert occupied.value.explanation
    with pytest.raises(RangeError) as depth:
        ROOT_CNODE.delete(endpoint, depth=65)
    assert (depth.value.minimum, depth.value.maximum) == (1, 64)
    with pytest.raises(NotEnoughMemory) as small:
        Untyped(board.machine.untyped).retype(ObjectType.UNTYPED, 30, ROOT_CNODE, board.machine.new_slots())
    assert small.value.bytes_left > 0


def test_frames_are_mapped_remapped_and_unmapped(board: Bench) -> None:
    space = VSpace(InitialSlot.VSPACE)
    first = board.machine.retype(ObjectType.FRAME, 12, 2)
    frame, other = Frame(first), Frame(first + 1)
    address = abi.MAPPING_BASE + (1 << 30)
    frame.map(address, vspace=space)
    frame.map(address, Rights.READ, vspace=space)
    with pytest.raises(DeleteFirst) as taken:
        other.map(address, vspace=space)
    assert "unmap that first" in taken.value.explanation
    with pytest.raises(InvalidArgument) as elsewhere:
        frame.map(address + 4096, vspace=space)
    assert "unmap it, or map a copy of it" in elsewhere.value.explanation
    with pytest.raises(AlignmentError):
        other.map(address + 8, vspace=space)
    frame.unmap()
    other.map(address, vspace=space)


def test_frames_are_mapped_by_batch(board: Bench) -> None:
    first = board.machine.retype(ObjectType.FRAME, 12, 64)
    address = abi.MAPPING_BASE + (1 << 30)
    with Batch() as batch:
        for each in range(64):
            batch.queue(Frame(first + each).map, address + each * 4096, vspace=VSpace(InitialSlot.VSPACE))
    assert len(board.machine.told(Tell.MAP)) == 64 + 1  # and BootInfo


def test_a_batch_of_copies_is_carried_out(board: Bench) -> None:
    source = board.machine.retype(ObjectType.ENDPOINT)
    first = board.machine.new_slots(64)
    with Batch(check=False) as batch:
        copies = [batch.queue(ROOT_CNODE.copy, first + each, ROOT_CNODE, source, Rights.READ) for each in range(64)]
        again = batch.queue(ROOT_CNODE.copy, first, ROOT_CNODE, source)
    assert [copy.result() for copy in copies] == [None] * 64
    assert isinstance(again.error(), DeleteFirst)


def test_invocations_with_three_capabilities_go_by_a_batch(board: Bench) -> None:
    """One by each trap, in order with the others: each names another space, and the last one stays."""
    own = TCB(InitialSlot.TCB)
    handler, slot = board.machine.retype(ObjectType.ENDPOINT), board.machine.new_slots(1)
    with Batch() as batch:
        batch.queue(own.set_space, None, ROOT_CNODE, 0, VSpace(InitialSlot.VSPACE), 0)
        batch.queue(ROOT_CNODE.mint, slot, ROOT_CNODE, handler, 7)
        batch.queue(own.set_space, Endpoint(slot), ROOT_CNODE, 0, VSpace(InitialSlot.VSPACE), 0)
    assert board.machine.root.tcb.slot(TcbSlot.FAULT_HANDLER).word1 == 7


def test_a_batch_ends_with_an_answer_and_the_next_message(board: Bench) -> None:
    endpoint, source = board.machine.retype(ObjectType.ENDPOINT), board.machine.retype(ObjectType.NOTIFICATION)
    reply, slot = Reply(board.machine.retype(ObjectType.REPLY)), board.machine.new_slots(1)
    answers: queue.Queue[tuple[int, ...]] = queue.Queue()

    def work(task: Task) -> None:
        for words in ((1,), tuple(range(20))):
            answers.put(Endpoint(SERVED).call(Message(0, words)).words)

    thread = board.thread("client")
    board.machine.grant(thread, endpoint, SERVED)
    board.start(thread, Task(Environment("client", first_free_slot=FREE_SLOTS[0], free_slots=FREE_SLOTS[1])), work)
    assert Endpoint(endpoint).recv(reply).words == (1,)
    batch = Batch()
    copies = [batch.queue(ROOT_CNODE.copy, slot, ROOT_CNODE, source) for _ in range(2)]
    assert batch.reply_recv(endpoint, Message(0, (3, 4)), reply.cptr).words == tuple(range(20))
    assert copies[0].error() is None
    assert isinstance(copies[1].error(), DeleteFirst)
    assert answers.get(timeout=60) == (3, 4)
    reply.send(Message(0, (5,)))
    assert answers.get(timeout=60) == (5,)
    with pytest.raises(ValueError, match="by itself"):
        batch.reply_recv(endpoint, Message(0, (0,) * 5), reply.cptr)


def test_what_is_only_tried_may_be_refused_in_a_batch_that_checks(board: Bench) -> None:
    source, slot = board.machine.retype(ObjectType.ENDPOINT), board.machine.new_slots(1)
    with Batch() as batch:
        batch.queue(ROOT_CNODE.copy, slot, ROOT_CNODE, source)
        batch.queue_try(ROOT_CNODE.copy, slot, ROOT_CNODE, source)
        batch.queue(ROOT_CNODE.delete, slot)


def _serve(board: Bench, painter: Painter) -> tuple[Studio, Task]:
    """A server thread of the machine, and a client of it for the initial task."""
    endpoint = board.machine.retype(ObjectType.ENDPOINT)
    environment = Environment("painter", first_free_slot=FREE_SLOTS[0], free_slots=FREE_SLOTS[1])

    def work(task: Task) -> None:
        painter._task = task
        server = Server(Endpoint(SERVED), task)
        server.provide(painter, Studio, clients={BADGE: "root"})
        server.serve(Reply(OWN_REPLY_SLOT))

    thread = board.thread("painter")
    board.machine.grant(thread, endpoint, SERVED)
    client = board.machine.copy(endpoint, badge=BADGE)
    task = Task(Environment("root", first_free_slot=board.machine.new_slots(50), free_slots=50))
    board.start(thread, Task(environment), work)  # from here on two threads would run the kernel at once
    return Studio(Endpoint(client)), task


def test_interface_calls_travel_through_the_kernel(board: Bench) -> None:
    studio, task = _serve(board, Painter())
    with as_task(task):
        assert [studio.add(number, -1) for number in range(3)] == [-1, 0, 1]
        assert studio.who() == (BADGE, "root")
        for size in (0, 20, 23, 24, 100, 948):
            assert studio.echo(b"x" * size) == b"x" * size
        assert studio.repeat("0123456789", 500) == ["0123456789"] * 500
        with pytest.raises(OutOfPaint):
            studio.fail("service")


def test_a_channel_whose_page_does_not_come_leaves_nothing(board: Bench) -> None:
    pool = board.machine.retype(ObjectType.UNTYPED, 16)
    studio, task = _serve(board, Painter())
    with as_task(task):
        task.memory.add(Untyped(pool), 16)
        slots = task.slots.free_count
        assert studio.add(0, 0) == 0
        task.channels.offer(endpoint_of(studio), ChannelUse.ALWAYS)
        statistics = task.channels.statistics()
        assert (statistics.connected, statistics.refused) == (0, 1)
        assert task.memory.statistics().largest_free_bytes == 1 << 16
        assert task.slots.free_count == slots
        assert studio.add(0, 1) == 1


def test_a_server_that_has_stopped_takes_no_channels(board: Bench) -> None:
    endpoint = Endpoint(board.machine.retype(ObjectType.ENDPOINT))
    channel = Channel(board.machine.retype(ObjectType.CHANNEL))
    with pytest.raises(IllegalOperation, match="no receiver takes channels"):
        channel.connect(endpoint)
    with listening(endpoint):
        number = channel.connect(endpoint)
        assert number == board.machine.slot(channel.cptr).object >> abi.FIXED_SIZE_BITS[ObjectType.CHANNEL]
        with pytest.raises(IllegalOperation, match="connected already"):
            channel.connect(endpoint)
        channel.disconnect()
        assert channel.connect(endpoint) == number
    with pytest.raises(IllegalOperation, match="not connected"):
        channel.disconnect()
    with pytest.raises(InvalidCapability, match="neither"):
        Channel(board.machine.retype(ObjectType.CHANNEL)).connect(Endpoint(board.machine.untyped))


def test_who_waits_and_listens_does_so_before_it_serves_and_no_longer(board: Bench) -> None:
    endpoint = Endpoint(board.machine.retype(ObjectType.ENDPOINT))
    notification = Notification(board.machine.retype(ObjectType.NOTIFICATION))
    notification.signal()
    wait_to_serve(notification, endpoint)
    assert board.machine.root.tcb.listener
    number = board.machine.root.tcb.listener
    with listening(endpoint):
        assert board.machine.root.tcb.listener == number
    assert not board.machine.root.tcb.listener
    with listening(endpoint):  # as anybody does who serves again
        assert board.machine.root.tcb.listener


def test_who_may_not_listen_has_waited_all_the_same(board: Bench) -> None:
    notification = Notification(board.machine.retype(ObjectType.NOTIFICATION))
    notification.signal()
    assert not wait_and_listen(notification.cptr, board.machine.untyped)
    assert notification.poll() == 0
    assert not board.machine.root.tcb.listener


def test_capabilities_travel_through_the_kernel(board: Bench) -> None:
    painter = Painter()
    first, second, third = (Untyped(board.machine.retype(ObjectType.UNTYPED, 12)) for _ in range(3))
    studio, task = _serve(board, painter)
    with as_task(task):
        assert studio.lend(first, 1) == 1
        assert studio.lend(second, 2) == 2
        assert [each.cptr for each in painter.pools] == [FREE_SLOTS[0], FREE_SLOTS[0] + 1]
        with pytest.raises(OutOfPaint):
            studio.lend(third, -1)
        with pytest.raises(InvalidMessage, match="0 came"):  # an untyped with children cannot travel
            studio.lend(first, 3)
        assert studio.add(1, 1) == 2


def test_time_limits_cancel_a_call_in_the_kernel(board: Bench) -> None:
    idle = Endpoint(board.machine.retype(ObjectType.ENDPOINT))
    studio, task = _serve(board, Painter())
    with as_task(task):
        assert studio.add(0, 0) == 0
        with pytest.raises(Timeout):
            with_timeout(Studio(idle), 0.01).add(1, 1)
        assert studio.add(0, 1) == 1


def test_slots_that_are_not_empty_are_told_in_their_order_and_none_of_what_is_no_cnode(board: Bench) -> None:
    cnode, reply = board.machine.retype(ObjectType.CNODE, 8), board.machine.retype(ObjectType.REPLY)
    assert occupied_slots(cnode, 256) == {}
    for index in (200, 3):
        board.machine.root.call(cnode, abi.Label.CNODE_COPY, (index, 8, reply, 64, 15), [InitialSlot.CNODE])
    assert list(occupied_slots(cnode, 256).items()) == [(3, abi.CapType.REPLY), (200, abi.CapType.REPLY)]
    assert occupied_slots(cnode, 100) == {3: abi.CapType.REPLY}
    for other in (reply, board.machine.new_slots(), 1 << 40):
        assert occupied_slots(other, 256) == {}
