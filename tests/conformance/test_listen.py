"""LISTEN, hints and EMPTY: what a thread does that receives by channels and by the kernel. docs/manual/channel.md."""

from __future__ import annotations

import struct

import pytest

from kerneld.channels import is_connected
from kerneld.outbox import Tell
from libsel4py import abi
from libsel4py.abi import (
    CHANNEL_LISTENER_MAX,
    LISTENERS_PER_ENDPOINT,
    Error,
    FaultLabel,
    Label,
    ObjectType,
    Rights,
    Status,
    Syscall,
)
from tests.channel_scene import CHANNEL, ENDPOINT, NOTIFICATION, RECEIVER, ChannelScene, answer
from tests.conformance.scenes import FREE, bound, faulting, got, next_fault
from tests.harness import Machine, Thread


@pytest.fixture
def scene(machine: Machine) -> ChannelScene:
    return ChannelScene(machine)


def bind(scene: ChannelScene) -> None:
    scene.machine.root.call(scene.server.cap, Label.TCB_BIND_NOTIFICATION, (), [scene.notification])


def hints(thread: Thread) -> int:
    """What the thread's trap frame says."""
    (count,) = struct.unpack("<I", thread.machine.ram.read(thread.tcb.trap_frame + abi.RECEIVE_HINT, 4))
    return int(count)


def restart(scene: ChannelScene) -> None:
    """The server's process ends, is reaped, and begins again."""
    scene.machine.died(scene.server, 9)
    scene.machine.kernel.reaped(scene.server.tcb)
    scene.machine.root.call(scene.server.cap, Label.TCB_RESUME)


# --- LISTEN


def test_LISTEN0001_numbers(scene: ChannelScene) -> None:
    """LISTEN answers the listener's number, which counts up per endpoint."""
    second = scene.receiver("second")
    assert (scene.listen(), scene.listen(second)) == (1, 2)


def test_LISTEN0002_numbers_wrap(scene: ChannelScene) -> None:
    """Numbers wrap at 4095, skip 0 and those in use."""
    second, third = scene.receiver("second"), scene.receiver("third")
    assert scene.listen() == 1
    with scene.machine.ram.transaction():
        scene.endpoint_record().last_listener = CHANNEL_LISTENER_MAX - 1
    assert scene.listen(second) == CHANNEL_LISTENER_MAX
    assert scene.listen(third) == 2


def test_LISTEN0003_existing_channels(scene: ChannelScene) -> None:
    """A thread that begins to listen is handed the pages of all channels that are connected there."""
    channel = scene.connected()
    second = scene.receiver("second")
    scene.machine.tells.clear()
    number = scene.listen(second)
    assert [tuple(tell) for tell in scene.told()] == [(Tell.CHANNEL_OPEN, channel.address, second.tcb.address, number)]


@pytest.mark.parametrize("cptr", [FREE, CHANNEL, ENDPOINT])
def test_LISTEN0004_type_and_right(scene: ChannelScene, cptr: int) -> None:
    """What is neither endpoint nor notification, or lacks Read: InvalidCapability(0)."""
    scene.machine.grant(scene.server, scene.way, ENDPOINT, Rights.WRITE)
    done = got(scene.server.syscall(Syscall.LISTEN, cptr))
    assert (done.label, done.words) == (Error.INVALID_CAPABILITY, (0,))


def test_LISTEN0005_unresolved(machine: Machine) -> None:
    """An address that does not resolve is a fault, as in a call."""
    thread, endpoint = faulting(machine)
    assert thread.syscall(Syscall.LISTEN, 1 << 60) is None
    fault = got(next_fault(machine, endpoint))
    assert (fault.label, fault.words[1:3]) == (FaultLabel.CAP_FAULT, (1 << 60, 0))


def test_LISTEN0006_one_object_a_thread(scene: ChannelScene) -> None:
    """A thread listens to one object: IllegalOperation for another, until it has stopped."""
    scene.listen()
    assert scene.listen(cptr=NOTIFICATION) == -Error.ILLEGAL_OPERATION
    assert got(scene.server.syscall(Syscall.LISTEN, 0)).info == 0
    assert scene.listen(cptr=NOTIFICATION) == 1


def test_LISTEN0007_again(scene: ChannelScene) -> None:
    """LISTEN to the same object again keeps the number, and hands the pages out again."""
    channel = scene.connected()
    assert scene.listen() == 1
    assert [(tell.kind, tell.subject) for tell in scene.told()] == [(Tell.CHANNEL_OPEN, channel.address)]
    assert is_connected(channel)


def test_LISTEN0008_a_notifications_listener(scene: ChannelScene) -> None:
    """A notification has one listener: IllegalOperation for another thread, or when it is bound to another."""
    second = scene.receiver("second")
    assert scene.listen(cptr=NOTIFICATION) == 1
    assert scene.listen(second, NOTIFICATION) == -Error.ILLEGAL_OPERATION
    scene.server.syscall(Syscall.LISTEN, 0)
    bind(scene)
    assert scene.listen(second, NOTIFICATION) == -Error.ILLEGAL_OPERATION
    assert scene.listen(cptr=NOTIFICATION) == 2


def test_LISTEN0009_listeners_of_an_endpoint(scene: ChannelScene) -> None:
    """An endpoint has at most 8 listeners: RangeError(0, 8); one that listens already is not counted twice."""
    threads = [scene.receiver(f"receiver{number}") for number in range(LISTENERS_PER_ENDPOINT)]
    for thread in threads:
        assert scene.listen(thread) > 0
    done = got(scene.server.syscall(Syscall.LISTEN, RECEIVER))
    assert (done.label, done.words) == (Error.RANGE_ERROR, (0, LISTENERS_PER_ENDPOINT))
    assert scene.listen(threads[3]) == 4


def test_LISTEN0010_bound_notification(scene: ChannelScene) -> None:
    """A thread that listens to an endpoint listens to the notification bound to it as well."""
    assert scene.connect(cptr=NOTIFICATION) == -Error.ILLEGAL_OPERATION
    bind(scene)
    assert scene.connect(cptr=NOTIFICATION) == -Error.ILLEGAL_OPERATION
    number = scene.listen()
    scene.machine.tells.clear()
    assert scene.connect(cptr=NOTIFICATION) > 0
    opened = [(tell.detail, tell.more) for tell in scene.told()]
    assert opened == [(scene.client.tcb.address, 0), (scene.server.tcb.address, number)]


def test_LISTEN0011_binding_another(scene: ChannelScene) -> None:
    """A notification that one thread listens to cannot be bound to another: IllegalOperation."""
    second = scene.receiver("second")
    scene.listen(cptr=NOTIFICATION)
    root = scene.machine.root
    refused = root.invoke(second.cap, Label.TCB_BIND_NOTIFICATION, (), [scene.notification])
    assert refused == (Error.ILLEGAL_OPERATION, ())
    bind(scene)


def test_LISTEN0012_unbinding(scene: ChannelScene) -> None:
    """Unbinding the notification severs its channels: nobody takes signals by them any more."""
    bind(scene)
    scene.listen()
    scene.connect(cptr=NOTIFICATION)
    scene.machine.tells.clear()
    scene.machine.root.call(scene.server.cap, Label.TCB_UNBIND_NOTIFICATION)
    assert scene.kinds() == [Tell.CHANNEL_GONE]


# --- the end of listening


def test_LISTEN0013_the_process_ends(scene: ChannelScene) -> None:
    """The end of a listener's process severs nothing; the clients learn which listener has ended."""
    channel = scene.connected()
    scene.machine.died(scene.server, 9)
    told = [tell for tell in scene.told() if tell.kind is not Tell.HINT]
    assert [(tell.kind, tell.subject, tell.more) for tell in told] == [(Tell.RECEIVER_DIED, channel.address, 1)]
    assert is_connected(channel)


def test_LISTEN0014_a_new_life(scene: ChannelScene) -> None:
    """The thread's next life listens again, under a new number, and is handed all channels."""
    channel = scene.connected()
    restart(scene)
    scene.machine.tells.clear()
    assert scene.listen() == 2
    assert [tuple(tell) for tell in scene.told()] == [(Tell.CHANNEL_OPEN, channel.address, scene.server.tcb.address, 2)]


def test_LISTEN0015_nobody_listens_meanwhile(scene: ChannelScene) -> None:
    """Between the two lives nobody can connect."""
    scene.connected()
    scene.more_channels(scene.client, 1, 1)
    restart(scene)
    assert scene.connect(channel=CHANNEL + 1) == -Error.ILLEGAL_OPERATION
    scene.listen()
    assert scene.connect(channel=CHANNEL + 1) > 0


def test_LISTEN0016_revocation(scene: ChannelScene) -> None:
    """Revoking the listener's capability takes all pages away from it: the channels are severed."""
    machine = scene.machine
    machine.root.call(scene.server.cnode, Label.CNODE_DELETE, (RECEIVER, 8))
    own = machine.copy(scene.endpoint, badge=99)
    machine.grant(scene.server, own, RECEIVER)
    channel = scene.connected()
    machine.revoke(own)
    assert scene.kinds() == [Tell.CHANNEL_GONE]
    assert not is_connected(channel)
    assert not scene.listen_slot().word0
    assert scene.server.tcb.listener == 0


def test_LISTEN0017_stopping(scene: ChannelScene) -> None:
    """So does the thread's own wish to stop, by LISTEN of address 0; without listening it does nothing."""
    assert got(scene.server.syscall(Syscall.LISTEN, 0)).label == 0
    scene.connected()
    assert got(scene.server.syscall(Syscall.LISTEN, 0)).label == 0
    assert scene.kinds() == [Tell.CHANNEL_GONE]


def test_LISTEN0018_another_thread_of_the_process(scene: ChannelScene) -> None:
    """Unless another thread of the same process listens there, which keeps the pages."""
    first, second = scene.receiver("first", own_vspace=False), scene.receiver("second", own_vspace=False)
    assert (scene.listen(first), scene.listen(second)) == (1, 2)
    assert scene.connect() > 0
    channel = scene.channel()
    scene.machine.tells.clear()
    assert got(first.syscall(Syscall.LISTEN, 0)).label == 0
    assert [(tell.kind, tell.more) for tell in scene.told()] == [(Tell.RECEIVER_DIED, 1)]
    assert is_connected(channel)
    assert got(second.syscall(Syscall.LISTEN, 0)).label == 0
    assert scene.kinds() == [Tell.CHANNEL_GONE]


def test_LISTEN0019_the_thread_is_destroyed_with_its_process(scene: ChannelScene) -> None:
    """The end of a process's only thread ends the process, so nothing is severed."""
    channel = scene.connected()
    scene.machine.root.call(scene.server.cnode, Label.CNODE_DELETE, (250, 8))
    scene.machine.delete(scene.server.cap)
    assert scene.kinds() == [Tell.RECEIVER_DIED]
    assert is_connected(channel)


def test_LISTEN0020_the_thread_is_destroyed_in_a_process_that_goes_on(scene: ChannelScene) -> None:
    """The end of one thread of a process that goes on severs the channels that no other of its threads listens to."""
    listener = scene.receiver("listener", own_vspace=False)
    assert scene.listen(listener) > 0
    assert scene.connect() > 0
    scene.machine.tells.clear()
    scene.machine.root.call(listener.cnode, Label.CNODE_DELETE, (250, 8))
    scene.machine.delete(listener.cap)
    assert scene.kinds() == [Tell.CHANNEL_GONE]


def test_LISTEN0021_revocation_after_exit(scene: ChannelScene) -> None:
    """After EXIT there may be a process that has the pages: revoking the capability still severs the channels."""
    machine = scene.machine
    machine.root.call(scene.server.cnode, Label.CNODE_DELETE, (RECEIVER, 8))
    own = machine.copy(scene.endpoint, badge=99)
    machine.grant(scene.server, own, RECEIVER)
    channel = scene.connected()
    assert scene.server.syscall(Syscall.EXIT) is None
    assert is_connected(channel)
    machine.tells.clear()
    machine.revoke(own)
    assert scene.kinds() == [Tell.CHANNEL_GONE]


def test_LISTEN0022_revocation_after_the_process_was_reaped(scene: ChannelScene) -> None:
    """Once the process is reaped nobody has the pages, and the channels wait for whoever listens next."""
    machine = scene.machine
    machine.root.call(scene.server.cnode, Label.CNODE_DELETE, (RECEIVER, 8))
    own = machine.copy(scene.endpoint, badge=99)
    machine.grant(scene.server, own, RECEIVER)
    channel = scene.connected()
    machine.died(scene.server, 9)
    machine.kernel.reaped(scene.server.tcb)
    machine.revoke(own)
    assert is_connected(channel)
    second = scene.receiver("second")
    machine.tells.clear()
    assert scene.listen(second) == 2
    assert [tell.subject for tell in scene.told()] == [channel.address]


# --- hints


def test_LISTEN0023_hint_of_a_sender(scene: ChannelScene) -> None:
    """A sender that is queued where a thread listens gives a hint to every listener."""
    second = scene.receiver("second")
    scene.listen()
    scene.listen(second)
    scene.machine.tells.clear()
    assert scene.client.syscall(Syscall.CALL, ENDPOINT) is None
    assert {tell.subject for tell in scene.told()} == {scene.server.tcb.address, second.tcb.address}
    assert (hints(scene.server), hints(second)) == (1, 1)


def test_LISTEN0024_no_hint_for_a_blocked_receiver(scene: ChannelScene) -> None:
    """A listener that is blocked there gets the message, and no hint."""
    scene.listen()
    assert scene.server.syscall(Syscall.RECV, RECEIVER, reply=scene.server.reply) is None
    assert scene.client.syscall(Syscall.CALL, ENDPOINT) is None
    got(scene.server.completion())
    assert hints(scene.server) == 0


def test_LISTEN0025_no_hint_for_what_is_dropped(scene: ChannelScene) -> None:
    """NBSend to a listener that has posted no receive is dropped, as to any thread that does not wait: no hint."""
    scene.listen()
    got(scene.client.syscall(Syscall.NB_SEND, ENDPOINT))
    assert hints(scene.server) == 0
    assert got(scene.server.syscall(Syscall.NB_RECV, RECEIVER, reply=scene.server.reply)).status is Status.EMPTY


@pytest.mark.parametrize("bound_to_it", [False, True])
def test_LISTEN0026_hint_of_a_signal(scene: ChannelScene, bound_to_it: bool) -> None:
    """A signal gives a hint when the notification becomes active, to who listens to it or to the endpoint."""
    if bound_to_it:
        bind(scene)
    scene.listen(cptr=RECEIVER if bound_to_it else NOTIFICATION)
    for _ in range(2):
        got(scene.client.syscall(Syscall.SEND, NOTIFICATION))
    assert hints(scene.server) == 1
    assert got(scene.server.syscall(Syscall.NB_WAIT, NOTIFICATION)).badge == 4
    got(scene.client.syscall(Syscall.SEND, NOTIFICATION))
    assert hints(scene.server) == 2


def test_LISTEN0027_no_hint_without_listening(machine: Machine) -> None:
    """Signals and senders give no hint to threads that do not listen."""
    scene = ChannelScene(machine)
    bind(scene)
    got(scene.client.syscall(Syscall.SEND, NOTIFICATION))
    assert scene.client.syscall(Syscall.SEND, ENDPOINT) is None
    assert Tell.HINT not in scene.kinds()


def test_LISTEN0028_what_waits_already(scene: ChannelScene) -> None:
    """LISTEN gives a hint when something waits already; so does binding a notification that is active."""
    assert scene.client.syscall(Syscall.CALL, ENDPOINT) is None
    scene.listen()
    assert hints(scene.server) == 1
    got(scene.machine.root.syscall(Syscall.SEND, scene.notification))
    bind(scene)
    assert hints(scene.server) == 2


def test_LISTEN0029_hint_of_a_fault(scene: ChannelScene) -> None:
    """A fault that waits for its handler gives a hint to a handler that listens."""
    scene.listen()
    faulter = scene.machine.thread("faulter", fault_endpoint=scene.way)
    assert faulter.syscall(-1000) is None
    assert hints(scene.server) == 1


# --- EMPTY


def test_EMPTY0001_endpoint(scene: ChannelScene) -> None:
    """A polling receive that finds nothing completes with the status EMPTY, badge 0 and its own registers."""
    done = got(scene.server.syscall(Syscall.NB_RECV, RECEIVER, words=(1, 2, 3, 4), reply=scene.server.reply))
    assert (done.status, done.badge, done.registers) == (Status.EMPTY, 0, (1, 2, 3, 4))


def test_EMPTY0002_notification(machine: Machine) -> None:
    """So does one on a notification; a signal with badge 0 is told apart."""
    notification = machine.retype(ObjectType.NOTIFICATION)
    thread, _ = bound(machine, notification)
    assert got(machine.root.syscall(Syscall.NB_WAIT, machine.retype(ObjectType.NOTIFICATION))).status is Status.EMPTY
    got(machine.root.syscall(Syscall.SEND, notification))
    done = got(thread.syscall(Syscall.NB_WAIT, 5))
    assert (done.status, done.badge) == (Status.DONE, 0)


def test_EMPTY0003_unbadged_message(scene: ChannelScene) -> None:
    """An empty message of an unbadged client completes with DONE."""
    machine = scene.machine
    sender = machine.thread("sender")
    machine.grant(sender, scene.endpoint, ENDPOINT)
    assert sender.syscall(Syscall.SEND, ENDPOINT) is None
    done = got(scene.server.syscall(Syscall.NB_RECV, RECEIVER, reply=scene.server.reply))
    assert (done.status, done.badge, done.words) == (Status.DONE, 0, ())


def test_LISTEN0030_answer(scene: ChannelScene) -> None:
    """LISTEN is answered as a call to a kernel object is: label 0 and the number in message register 0."""
    done = got(scene.server.syscall(Syscall.LISTEN, RECEIVER))
    assert (done.status, done.info, answer(done)) == (Status.DONE, abi.message_info(0, 1), 1)
