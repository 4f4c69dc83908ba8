"""When calls go by a channel, what a channel cannot carry, and what happens when one is refused or taken away."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from libsel4py import (
    Channel,
    Endpoint,
    IllegalOperation,
    InvalidMessage,
    RemoteError,
    ServerDied,
    Untyped,
)
from libsel4py.abi import Error, Label, ObjectType, Syscall
from libsel4py.channels import CHANNEL_COST, RETRY_CALLS, THRESHOLD, Channels
from libsel4py.environment import ChannelUse, Connection, Environment
from libsel4py.errors import TooManyDeferred
from libsel4py.interface import verify
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.machine import machine
from libsel4py.lowlevel.syscalls import Message
from libsel4py.runtime import make
from libsel4py.task import Task
from libsel4py.testing import Events, TestSystem, in_background
from libsel4py.testing.fake_objects import FakeEndpoint, FakeUntyped
from tests.unit.sdk.running import SHELL, Running, make_server, running
from tests.unit.sdk.services import Middle, OutOfPaint, Painter, Studio

SECONDS = 10.0


class Client:
    """A client of a running server, and its task's channels."""

    def __init__(self, up: Running, fake: TestSystem) -> None:
        self.up, self.fake = up, fake
        self.endpoint = up.client(SHELL)
        self.studio = Studio(self.endpoint)
        self.studio.nothing()  # the server waits, and so it has said that it listens

    @property
    def channels(self) -> Channels:
        return self.fake.first_task.channels

    @property
    def by_channel(self) -> int:
        return self.channels.statistics().calls

    def call(self, times: int) -> None:
        for number in range(times):
            assert self.studio.add(number, 1) == number + 1

    def upgrade(self) -> None:
        self.channels.offer(self.endpoint, ChannelUse.ALWAYS)
        assert self.channels.statistics().connected == 1

    def sever(self) -> None:
        """What the kernel does when the capability is revoked that it rests on."""
        for channel in self.fake.kernel.objects.channels():
            channel.target = None


@pytest.fixture
def client(up: Running, fake: TestSystem) -> Client:
    return Client(up, fake)


def free_bytes(fake: TestSystem) -> int:
    return fake.first_task.memory.statistics().free_bytes


def attempts(fake: TestSystem) -> int:
    return [label for _, label, _, _ in fake.kernel.objects.invocations].count(Label.CHANNEL_CONNECT)


# --- when ----------------------------------------------------------------------------------------------------------


def test_a_connection_that_is_called_often_goes_by_a_channel(client: Client, fake: TestSystem) -> None:
    free = free_bytes(fake)
    client.channels.offer(client.endpoint, ChannelUse.AUTO)
    client.call(THRESHOLD - 1)
    assert (client.by_channel, free_bytes(fake)) == (0, free)
    client.call(1)
    assert (client.by_channel, free_bytes(fake)) == (1, free - CHANNEL_COST)
    client.call(3 * THRESHOLD)
    assert client.by_channel == 3 * THRESHOLD + 1
    assert attempts(fake) == 1


def test_what_is_declared_always_goes_by_a_channel_from_its_first_call(client: Client) -> None:
    client.channels.offer(client.endpoint, ChannelUse.ALWAYS)
    client.call(1)
    assert client.by_channel == 1


def test_what_is_declared_never_stays_on_the_slow_path(client: Client, fake: TestSystem) -> None:
    client.channels.offer(client.endpoint, ChannelUse.NEVER)
    client.call(2 * THRESHOLD)
    assert (client.by_channel, attempts(fake)) == (0, 0)


def test_a_channel_is_one_threads_own(client: Client) -> None:
    client.upgrade()

    def elsewhere() -> tuple[int, int]:
        client.call(THRESHOLD - 1)
        before = client.by_channel
        client.call(2)
        return before, client.by_channel

    assert in_background(elsewhere).result(10) == (0, 2)
    assert client.by_channel == 0
    assert client.channels.statistics().connected == 1


def test_the_runtime_offers_what_a_component_uses(client: Client, fake: TestSystem) -> None:
    cptr = client.endpoint.cptr
    connections = {
        "studio": Connection(cptr, f"{Studio.__module__}:Studio", ChannelUse.ALWAYS),
        "other": Connection(client.up.client(SHELL).cptr, f"{Studio.__module__}:Studio", ChannelUse.NEVER),
    }
    task = fake.task(Environment("middle", connections))
    middle = make(Middle, task)
    assert middle.studio.add(1, 2) == 3
    assert middle.uses.other.add(1, 2) == 3
    assert set(fake.kernel.candidates) == {cptr}
    assert task.channels.statistics().calls == 1


def test_the_message_of_the_call_that_is_upgraded_arrives_whole(client: Client) -> None:
    client.channels.offer(client.endpoint, ChannelUse.AUTO)
    for number in range(2 * THRESHOLD):
        data = bytes([number]) * 900
        assert client.studio.echo(data) == data
    assert client.by_channel == THRESHOLD + 1


# --- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "error"),
    [
        (Label.CHANNEL_CONNECT, Error.ILLEGAL_OPERATION),
        (Label.CHANNEL_CONNECT, Error.INVALID_CAPABILITY),
        (Label.CHANNEL_CONNECT, Error.RANGE_ERROR),
        (Label.UNTYPED_RETYPE, Error.NOT_ENOUGH_MEMORY),
    ],
)
def test_a_refusal_leaves_the_caller_alone_and_is_not_tried_again_soon(
    client: Client, fake: TestSystem, label: Label, error: Error
) -> None:
    free, slots = free_bytes(fake), fake.slots.free_count
    fake.kernel.objects.refuse(label, error)
    client.channels.offer(client.endpoint, ChannelUse.AUTO)
    client.call(THRESHOLD + RETRY_CALLS - 1)
    assert (client.by_channel, client.channels.statistics().refused) == (0, 1)
    assert (free_bytes(fake), fake.slots.free_count) == (free, slots)
    fake.kernel.objects.refuse(label, Error.NO_ERROR)
    client.call(1)
    assert (client.by_channel, client.channels.statistics().connected) == (1, 1)


def test_what_is_declared_always_is_tried_again_soon(client: Client, fake: TestSystem) -> None:
    fake.kernel.objects.refuse(Label.CHANNEL_CONNECT, Error.ILLEGAL_OPERATION)
    client.channels.offer(client.endpoint, ChannelUse.ALWAYS)
    fake.kernel.objects.refuse(Label.CHANNEL_CONNECT, Error.NO_ERROR)
    client.call(THRESHOLD)
    assert client.by_channel == 1


@pytest.mark.usefixtures("pageless")
def test_a_page_that_does_not_come_is_a_refusal(client: Client, fake: TestSystem) -> None:
    free = free_bytes(fake)
    client.channels.offer(client.endpoint, ChannelUse.ALWAYS)
    client.call(1)
    assert (client.by_channel, client.channels.statistics().refused) == (0, 1)
    assert (free_bytes(fake), fake.kernel.objects.channels()) == (free, [])


def test_no_free_slot_is_a_refusal(client: Client, fake: TestSystem) -> None:
    taken = [fake.slots.allocate() for _ in range(fake.slots.free_count)]
    client.channels.offer(client.endpoint, ChannelUse.ALWAYS)
    client.call(1)
    assert (client.by_channel, client.channels.statistics().refused) == (0, 1)
    assert len(taken) > 0


def test_nobody_listens_to_a_server_that_takes_no_channels(fake: TestSystem) -> None:
    endpoint = Endpoint(fake.new(FakeEndpoint()))
    fake.first_task.channels.offer(endpoint, ChannelUse.ALWAYS)
    statistics = fake.first_task.channels.statistics()
    assert (statistics.connected, statistics.refused) == (0, 1)


def test_channels_leave_half_of_the_pool_to_the_component(up: Running, fake: TestSystem) -> None:
    Studio(up.client(SHELL)).nothing()
    task = Task(Environment("small", first_free_slot=3000, free_slots=100))
    pool_bits = CHANNEL_COST.bit_length() + 1  # four times a channel's cost
    task.memory.add(Untyped(fake.new(FakeUntyped(pool_bits))), pool_bits)
    for _ in range(4):
        task.channels.offer(up.client(SHELL), ChannelUse.ALWAYS)
    statistics = task.channels.statistics()
    assert (statistics.connected, statistics.refused) == (2, 2)
    assert task.memory.statistics().free_bytes == 2 * CHANNEL_COST
    assert task.memory.allocate(ObjectType.UNTYPED, CHANNEL_COST.bit_length()).start


# --- taken away ----------------------------------------------------------------------------------------------------


def test_a_severed_channel_is_given_back_before_another_is_tried(client: Client, fake: TestSystem) -> None:
    client.upgrade()
    free = free_bytes(fake)
    client.call(5)
    client.sever()
    client.call(THRESHOLD - 1)
    assert client.by_channel == 5
    client.call(1)
    assert client.by_channel == 6
    assert free_bytes(fake) == free
    assert len(fake.kernel.objects.channels()) == 1
    assert client.channels.statistics().severed == 1


def test_a_severed_channel_that_is_not_replaced_costs_nothing(client: Client, fake: TestSystem) -> None:
    free = free_bytes(fake)
    client.channels.offer(client.endpoint, ChannelUse.AUTO)
    client.call(THRESHOLD)
    client.sever()
    fake.kernel.objects.refuse(Label.CHANNEL_CONNECT, Error.ILLEGAL_OPERATION)
    client.call(2 * THRESHOLD)
    assert (free_bytes(fake), client.channels.statistics().connected) == (free, 0)


def test_a_deleted_capabilitys_slot_is_bound_to_nothing(client: Client, fake: TestSystem) -> None:
    slot = fake.slots.allocate()
    fake.kernel.objects.derive(client.endpoint.cptr, slot)
    channel = Channel(fake.first_task.memory.allocate(ObjectType.CHANNEL).start)
    Endpoint(slot).connect(channel)
    assert Studio(Endpoint(slot)).add(1, 2) == 3
    assert client.by_channel == 1
    fake.first_task.delete(Endpoint(slot))
    other = FakeEndpoint()
    fake.kernel.objects.put(slot, other)
    with pytest.raises(TimeoutError):
        Endpoint(slot).call(Message(1), timeout=0)
    assert client.by_channel == 1


def test_calls_by_a_deleted_capabilitys_slot_are_counted_no_more(client: Client, fake: TestSystem) -> None:
    """Its next capability may be one that is invoked to make a channel."""
    slot = fake.slots.allocate()
    fake.kernel.objects.derive(client.endpoint.cptr, slot)
    client.channels.offer(Endpoint(slot), ChannelUse.ALWAYS)
    assert slot in fake.kernel.candidates
    fake.first_task.delete(Endpoint(slot))
    assert slot not in fake.kernel.candidates


def test_a_channel_is_made_though_its_making_makes_many_calls(
    client: Client, fake: TestSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fake.first_task.memory
    allocate = memory.allocate

    def allocating(*arguments: Any, **named: Any) -> Any:
        client.channels.called_often(client.endpoint.cptr)
        return allocate(*arguments, **named)

    monkeypatch.setattr(memory, "allocate", allocating)
    client.channels.offer(client.endpoint, ChannelUse.AUTO)
    in_background(client.channels.called_often, client.endpoint.cptr).result(SECONDS)
    assert attempts(fake) == 1


def test_a_thread_that_ends_leaves_its_channel_to_the_next(client: Client, fake: TestSystem) -> None:
    free = free_bytes(fake)
    client.channels.offer(client.endpoint, ChannelUse.AUTO)
    for _ in range(3):
        thread = threading.Thread(target=client.call, args=(THRESHOLD + 1,))
        thread.start()
        thread.join()
    client.call(THRESHOLD)
    assert len(fake.kernel.objects.channels()) == 1
    assert free_bytes(fake) == free - CHANNEL_COST


def test_another_threads_channel_does_not_outlive_the_capability(client: Client, fake: TestSystem) -> None:
    """The slot's next capability is another: a call there must not reach the former server."""
    slot = fake.slots.allocate()
    fake.kernel.objects.derive(client.endpoint.cptr, slot)
    studio, deleted, connected = Studio(Endpoint(slot)), threading.Event(), threading.Event()

    def elsewhere() -> int:
        client.channels.offer(Endpoint(slot), ChannelUse.ALWAYS)
        assert studio.add(1, 2) == 3
        connected.set()
        assert deleted.wait(10)
        with pytest.raises(TimeoutError):
            Endpoint(slot).call(Message(1), timeout=0)
        return client.by_channel

    free = free_bytes(fake)
    calls = in_background(elsewhere)
    assert connected.wait(10)
    fake.first_task.delete(Endpoint(slot))
    fake.kernel.objects.put(slot, FakeEndpoint())
    deleted.set()
    assert calls.result(10) == 1
    assert free_bytes(fake) == free


@pytest.mark.parametrize("raised", [TimeoutError, KeyError, KeyboardInterrupt])
def test_what_a_signals_handler_raises_meanwhile_is_the_callers(
    client: Client, fake: TestSystem, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException]
) -> None:
    """A handler runs in the midst of connecting, and raises."""

    def bind(cptr: int, number: int, timeout_ns: int = 0, /) -> None:
        raise raised("by a signal's handler")

    free = free_bytes(fake)
    client.channels.offer(client.endpoint, ChannelUse.AUTO)
    client.call(THRESHOLD - 1)
    monkeypatch.setattr(machine, "channel_bind", bind)
    with pytest.raises(raised, match="handler"):
        client.call(1)
    monkeypatch.undo()
    assert (free_bytes(fake), fake.kernel.objects.channels()) == (free, [])
    client.call(THRESHOLD)
    assert client.channels.statistics().connected == 1


# --- what calls may be ---------------------------------------------------------------------------------------------


def test_all_that_an_interface_can_do_works_by_channel(client: Client, painter: Painter, fake: TestSystem) -> None:
    client.upgrade()
    studio = client.studio
    verify(studio)
    assert studio.who() == (SHELL, "shell")
    assert studio.repeat("x" * 100, 100) == ["x" * 100] * 100
    with pytest.raises(OutOfPaint):
        studio.fail("service")
    with pytest.raises(FileNotFoundError):
        studio.fail("declared")
    assert studio.echo(b"") == b""
    before = client.by_channel
    assert before > 10
    studio.note("oneway")
    studio.nothing()
    assert painter.notes == ["oneway"]
    pool = Untyped(fake.new(FakeUntyped(4)))
    assert studio.lend(pool, 3) == 3
    assert painter.pools[0].cptr != pool.cptr
    assert client.by_channel == before + 1


def test_a_method_that_brings_a_capability_goes_through_the_kernel(client: Client, fake: TestSystem) -> None:
    client.upgrade()
    shared = fake.new(FakeEndpoint())

    class Opener(Painter):
        def open(self, name: str) -> Endpoint:
            return Endpoint(shared)

    opener = Opener()
    server, endpoint = make_server(fake, opener)
    with running(fake, server, endpoint) as up:
        capability = up.client(SHELL)
        studio = Studio(capability)
        studio.nothing()
        client.channels.offer(capability, ChannelUse.ALWAYS)
        before = client.by_channel
        received = studio.open("x")
        assert client.by_channel == before
        assert fake.kernel.objects.caps[received.cptr].object is fake.kernel.objects.caps[shared].object
        studio.nothing()
        assert client.by_channel == before + 1


def test_a_capability_in_an_answer_by_channel_is_lost_and_told(client: Client, fake: TestSystem) -> None:
    """A client that asks by channel for a capability gets none, and the server nothing worse than that."""
    client.upgrade()
    method = Studio.interface_methods["open"]
    answer = client.endpoint.call(Message(method.label, (3, 0x78_01_91)))
    assert answer.extra_caps == 0
    client.call(1)


def test_a_stranger_by_channel_is_answered(fake: TestSystem, painter: Painter) -> None:
    server, endpoint = make_server(fake, painter)
    server.on_stranger(lambda badge, label, words: None)
    with running(fake, server, endpoint) as up:
        Studio(up.client(SHELL)).nothing()
        stranger = up.client(99)
        fake.first_task.channels.offer(stranger, ChannelUse.ALWAYS)
        with pytest.raises(InvalidMessage, match="does not answer you"):
            Studio(stranger).add(1, 1)


# --- the server ----------------------------------------------------------------------------------------------------


def test_deferred_replies_by_channel_take_no_reply_object(
    client: Client, painter: Painter, fake: TestSystem, up: Running
) -> None:
    free = free_bytes(fake)
    upgraded = threading.Barrier(3)

    def wait(name: str) -> str:
        client.upgrade()
        upgraded.wait(10)
        return client.studio.wait_for_ring(name)

    waiting = [in_background(wait, name) for name in ("a", "b")]
    upgraded.wait(10)
    painter.deferred.wait_for(lambda count: count == 2)
    with pytest.raises(TooManyDeferred):
        client.studio.wait_for_ring("one too many")
    assert free_bytes(fake) == free - 2 * CHANNEL_COST
    client.upgrade()
    assert client.studio.add(1, 2) == 3
    painter.ring()
    assert [each.result(10) for each in waiting] == ["ring 1 for shell"] * 2
    painter.deferred = Events()
    last = in_background(client.studio.wait_for_ring, "through the kernel")
    painter.deferred.wait_for(lambda count: count == 1)
    painter.ring()
    assert last.result(10) == "ring 2 for shell"


def test_a_method_that_raises_after_it_deferred_answers_by_channel(client: Client) -> None:
    client.upgrade()
    with pytest.raises(RemoteError, match="changed my mind"):
        client.studio.wait_for_ring("bad")
    client.call(1)


def test_a_server_that_dies_with_a_request_is_told_as_such(client: Client, painter: Painter, fake: TestSystem) -> None:
    def wait() -> str:
        client.upgrade()
        return client.studio.wait_for_ring("x")

    waiting = in_background(wait)
    painter.deferred.wait_for(lambda count: count == 1)
    fake.kernel.end_taken()
    with pytest.raises(ServerDied, match=r"Studio\.wait_for_ring: the server died"):
        waiting.result(10)
    painter.waiting.clear()


def test_a_servers_last_answer_goes_by_the_channel(fake: TestSystem, painter: Painter) -> None:
    server, endpoint = make_server(fake, painter)

    class Stopper(Painter):
        def nothing(self) -> None:
            if self.rings:
                server.stop()

    stopper = Stopper()
    server.connections.clear()
    server.provide(stopper, Studio, clients={SHELL: "shell"})
    with running(fake, server, endpoint) as up:
        client = Client(up, fake)
        client.upgrade()
        stopper.rings = 1
        client.studio.nothing()
        assert client.by_channel == 1
    assert fake.kernel.system_calls[-1] == Syscall.LISTEN


def test_a_server_goes_on_where_channels_are_refused(
    fake: TestSystem, painter: Painter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(cptr: int) -> int:
        raise IllegalOperation(invocation="Listen")

    monkeypatch.setattr(syscalls, "listen", refuse)
    caplog.set_level(logging.DEBUG, "libsel4py.server_loop")
    with running(fake, *make_server(fake, painter)) as up:
        client = Client(up, fake)
        client.channels.offer(client.endpoint, ChannelUse.ALWAYS)
        client.call(3)
        assert client.by_channel == 0
    assert "takes no channels" in caplog.text
