"""Receives that nobody has sent to, and signals that the bound thread hears of, by the fast path.

The harness carries each out by the slow path too, and compares RAM.
"""

from __future__ import annotations

from array import array

import pytest

from hw import ring
from hw.ram import Interrupted
from kerneld import _fastpath
from kerneld.kernel import Kernel
from kerneld.outbox import Tell
from kerneld.records import Endpoint, Tcb, ThreadState
from libsel4py import abi
from libsel4py.abi import Label, ObjectType, Rights, Status, Syscall
from tests.channel_scene import ENDPOINT, NOTIFICATION, RECEIVER, ChannelScene
from tests.harness import Machine, Thread, TwinKernel, take_fast_after_each_store

SIGNALS = (Syscall.CALL, Syscall.SEND, Syscall.NB_SEND)
BADGE = 4  # of the client's notification capability


@pytest.fixture
def scene(machine: Machine) -> ChannelScene:
    """A server whose notification is bound to it, and a client that can call and signal it."""
    return bound(machine)


def bound(machine: Machine) -> ChannelScene:
    scene = ChannelScene(machine)
    machine.root.call(scene.server.cap, Label.TCB_BIND_NOTIFICATION, (), [scene.notification])
    return scene


def receive(scene: ChannelScene, op: Syscall = Syscall.RECV, tag: int = 0) -> None:
    scene.server.syscall(op, RECEIVER, 77, (1, 2, 3, 4), reply=scene.server.reply, tag=tag)


def fast(scene: ChannelScene, thread: Thread, *submission: object, **more: int) -> bool:
    """Whether a system call of the thread's is the fast path's."""
    before = TwinKernel.fast_takes
    thread.syscall(*submission, **more)  # type: ignore[arg-type]
    return TwinKernel.fast_takes == before + 1


@pytest.mark.parametrize("op", [Syscall.RECV, Syscall.NB_RECV])
def test_a_receive_takes_signals(scene: ChannelScene, op: Syscall) -> None:
    for _ in range(2):
        scene.client.syscall(Syscall.NB_SEND, NOTIFICATION)
    server = scene.server
    assert fast(scene, server, op, RECEIVER, 77, (1, 2, 3, 4), reply=server.reply, tag=9) is True
    assert server.state is ThreadState.RUNNING
    assert not scene.notification_record().state
    assert not scene.notification_record().signals


def test_what_a_receive_of_signals_ends_with(scene: ChannelScene) -> None:
    scene.client.syscall(Syscall.NB_SEND, NOTIFICATION)
    done = scene.server.syscall(Syscall.RECV, RECEIVER, 77, (1, 2, 3, 4), reply=scene.server.reply, tag=9)
    assert done is not None
    assert (done.status, done.badge, done.info, done.registers, done.tag) == (Status.DONE, BADGE, 77, (1, 2, 3, 4), 9)


def test_a_poll_finds_nothing(scene: ChannelScene) -> None:
    before = TwinKernel.fast_takes
    done = scene.server.syscall(Syscall.NB_RECV, RECEIVER, 77, (1, 2, 3, 4), reply=scene.server.reply, tag=9)
    assert done is not None
    assert (done.status, done.badge, done.info, done.tag) == (Status.EMPTY, 0, 77, 9)
    assert TwinKernel.fast_takes == before + 1


def test_a_receive_waits(scene: ChannelScene) -> None:
    server = scene.server
    assert fast(scene, server, Syscall.RECV, RECEIVER, reply=server.reply)
    assert server.state is ThreadState.BLOCKED_ON_RECEIVE
    assert scene.endpoint_record().head == server.tcb
    assert scene.client.syscall(Syscall.CALL, ENDPOINT, words=(5,)) is None
    request = server.completion()
    assert request is not None
    assert request.words == (5,)


def test_without_a_bound_notification_as_well(machine: Machine) -> None:
    scene = ChannelScene(machine)
    assert fast(scene, scene.server, Syscall.RECV, RECEIVER, reply=scene.server.reply)
    assert scene.server.state is ThreadState.BLOCKED_ON_RECEIVE


@pytest.mark.parametrize("op", [Syscall.RECV, Syscall.NB_RECV])
def test_a_receive_that_somebody_waits_at_is_slow(scene: ChannelScene, op: Syscall) -> None:
    server, another = scene.server, scene.receiver("another")
    assert scene.client.syscall(Syscall.CALL, ENDPOINT) is None
    assert not fast(scene, server, op, RECEIVER, reply=server.reply)  # a message is there
    assert not fast(scene, server, op, RECEIVER, reply=server.reply)  # and its caller waits for the reply object
    another.syscall(Syscall.RECV, RECEIVER, reply=another.reply)
    assert not fast(scene, scene.receiver("third"), op, RECEIVER, reply=another.reply)


def test_a_receive_without_the_right_is_slow(machine: Machine) -> None:
    scene = ChannelScene(machine)
    thread = machine.thread("deaf")
    machine.grant(thread, scene.endpoint, RECEIVER, Rights.WRITE)
    assert not fast(scene, thread, Syscall.RECV, RECEIVER, reply=thread.reply)
    assert not fast(scene, scene.server, Syscall.RECV, RECEIVER, reply=99)


@pytest.mark.parametrize("op", SIGNALS)
def test_a_signal_ends_the_bound_thread_s_receive(scene: ChannelScene, op: Syscall) -> None:
    receive(scene, tag=9)
    assert fast(scene, scene.client, op, NOTIFICATION)
    done = scene.server.completion()
    assert done is not None
    assert (done.status, done.badge, done.info, done.registers, done.tag) == (Status.DONE, BADGE, 77, (1, 2, 3, 4), 9)
    assert scene.server.state is ThreadState.RUNNING
    assert scene.endpoint_record().head is None
    assert not scene.notification_record().state
    receive(scene)
    assert scene.server.state is ThreadState.BLOCKED_ON_RECEIVE


@pytest.mark.parametrize("place", range(3))
def test_from_anywhere_in_the_queue(machine: Machine, place: int) -> None:
    scene = bound(machine)
    threads = [scene.receiver(f"other {number}") for number in range(2)]
    threads.insert(place, scene.server)
    for thread in threads:
        thread.syscall(Syscall.RECV, RECEIVER, reply=thread.reply)
    assert fast(scene, scene.client, Syscall.NB_SEND, NOTIFICATION)
    assert scene.server.state is ThreadState.RUNNING
    threads.remove(scene.server)
    endpoint = scene.endpoint_record()
    assert (endpoint.head, endpoint.tail) == (threads[0].tcb, threads[1].tcb)
    for number, thread in enumerate(threads):
        assert scene.client.syscall(Syscall.SEND, ENDPOINT, words=(number,)) is not None
        found = thread.completion()
        assert found is not None
        assert found.words == (number,)


def test_who_looks_at_channels_is_told_that_something_came(scene: ChannelScene) -> None:
    assert scene.listen() > 0
    scene.machine.tells.clear()
    assert fast(scene, scene.client, Syscall.NB_SEND, NOTIFICATION)
    assert scene.kinds() == [Tell.HINT]
    assert fast(scene, scene.client, Syscall.NB_SEND, NOTIFICATION)  # signals are there already
    assert scene.kinds() == []


def test_who_listens_and_waits_is_woken_and_not_hinted(scene: ChannelScene) -> None:
    assert scene.listen() > 0
    receive(scene)
    scene.machine.tells.clear()
    assert fast(scene, scene.client, Syscall.NB_SEND, NOTIFICATION)
    assert scene.kinds() == []
    assert scene.server.completion() is not None


def test_every_store_can_be_interrupted(machine: Machine) -> None:
    scene = bound(machine)
    server, client = scene.server, scene.client
    machine.check = False
    stores = []
    for thread, op in (
        (server, Syscall.NB_RECV),
        (server, Syscall.RECV),
        (client, Syscall.NB_SEND),
        (client, Syscall.NB_SEND),
        (server, Syscall.RECV),
    ):
        cptr = RECEIVER if thread is server else NOTIFICATION
        thread.submit(op, cptr, 0, (1, 2, 3, 4), reply=server.reply if thread is server else 0, tag=7)
        stores.append(take_fast_after_each_store(machine, thread.tcb))
    assert min(stores) > 5


def rings_of(*threads: Thread) -> array[int]:
    rings = array("Q")
    for thread in threads:
        rings.extend((thread.tcb.trap_frame, thread.tcb.consumed, thread.tcb.address, 0))
    return rings


def serve(machine: Machine, *threads: Thread) -> tuple[int, int, int, int]:
    assert machine.kernel.fast_layout is not None
    return _fastpath.serve(machine.ram, machine.kernel.fast_layout, rings_of(*threads), 0, 0)


def test_the_loop_publishes_both_completions() -> None:
    machine = Machine(check=False)
    scene = bound(machine)
    scene.server.submit(Syscall.RECV, RECEIVER, reply=scene.server.reply, tag=9)
    assert serve(machine, scene.server)[::2] == (-1, 1)
    assert scene.server.completion() is None
    scene.client.submit(Syscall.NB_SEND, NOTIFICATION, tag=8)
    found, _, taken, unwatched = serve(machine, scene.client)
    assert (found, taken, unwatched) == (-1, 1, scene.server.tcb.address)
    for thread, tag in ((scene.server, 9), (scene.client, 8)):
        done = thread.completion()
        assert done is not None
        assert done.tag == tag
    assert not len(machine.kernel.outbox)


def test_the_loop_counts_a_hint() -> None:
    machine = Machine(check=False)
    scene = bound(machine)
    assert scene.listen() > 0
    hints = scene.server.tcb.trap_frame + abi.RECEIVE_HINT
    before = int.from_bytes(machine.ram.read(hints, 4), "little")
    scene.client.submit(Syscall.NB_SEND, NOTIFICATION)
    assert serve(machine, scene.client)[::2] == (-1, 1)
    assert int.from_bytes(machine.ram.read(hints, 4), "little") == before + 1
    assert scene.client.completion() is not None


def test_a_burst_ends_before_a_signal_that_somebody_hears_of() -> None:
    machine = Machine(check=False)
    scene = bound(machine)
    other = machine.retype(ObjectType.NOTIFICATION)
    machine.grant(scene.client, other, 50, badge=1)
    receive(scene)
    scene.client.submit(Syscall.NB_SEND, 50, tag=1)
    scene.client.submit(Syscall.NB_SEND, NOTIFICATION, tag=2)
    scene.client.submit(Syscall.NB_SEND, 50, tag=3)
    found, _, taken, _ = serve(machine, scene.client)
    while found < 0 and taken and scene.client.tcb.consumed < 3:
        found, _, taken, _ = serve(machine, scene.client)
    assert [each.tag for each in iter(scene.client.completion, None)][-3:] == [1, 2, 3]
    assert scene.server.completion() is not None


@pytest.mark.parametrize("made", [False, True])
def test_a_kernel_killed_at_any_store_wakes_once(made: bool) -> None:
    killed = 0
    while True:
        machine = Machine(check=False)
        scene = bound(machine)
        receive(scene, tag=9)
        scene.client.submit(Syscall.NB_SEND, NOTIFICATION, tag=8)
        before = {each.tcb.address: each.tcb.produced for each in (scene.server, scene.client)}
        machine.ram.interrupt_at(killed, made)
        try:
            serve(machine, scene.client)
        except Interrupted:
            pass
        else:
            break
        machine.kernel = Kernel(machine.ram)
        machine.settle()
        machine.run()
        for thread, tag in ((scene.server, 9), (scene.client, 8)):
            assert thread.tcb.produced == before[thread.tcb.address] + 1
            assert ring.produced(machine.ram, thread.tcb.trap_frame) == thread.tcb.produced
            done = thread.completion()
            assert done is not None
            assert done.tag == tag
        killed += 1
    assert killed > 20


def test_an_endpoint_s_record_is_empty_behind_it(scene: ChannelScene) -> None:
    receive(scene)
    scene.client.syscall(Syscall.NB_SEND, NOTIFICATION)
    endpoint: Endpoint = scene.endpoint_record()
    assert (endpoint.head, endpoint.tail, endpoint.state) == (None, None, 0)
    assert Tcb(scene.machine.ram, scene.server.tcb.address).blocked_on == 0
