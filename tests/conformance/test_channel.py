"""Channel: Connect and Disconnect, and what severs a channel. An object of sel4py; docs/manual/channel.md."""

from __future__ import annotations

import pytest

from kerneld import caps
from kerneld.channels import is_connected
from kerneld.outbox import Tell
from libsel4py import abi
from libsel4py.abi import CHANNELS_PER_TARGET, CHANNELS_PER_THREAD, Error, Label, ObjectType, Rights, Syscall
from tests.channel_scene import CHANNEL, ENDPOINT, NOTIFICATION, RECEIVER, ChannelScene
from tests.conformance.scenes import got, held, is_empty
from tests.harness import Machine, Thread

SPARE = 40


@pytest.fixture
def scene(machine: Machine) -> ChannelScene:
    return ChannelScene(machine)


def opened(scene: ChannelScene) -> list[tuple[int, int]]:
    """To whom the host was told to hand a page, and as which listener."""
    return [(tell.detail, tell.more) for tell in scene.told() if tell.kind is Tell.CHANNEL_OPEN]


def test_CHANNEL0001_connect(scene: ChannelScene) -> None:
    """Connect answers the channel's number; the page is handed to the calling thread and to those who listen."""
    number = scene.listen()
    scene.machine.tells.clear()
    assert scene.connect() == scene.channel().address >> 13
    assert opened(scene) == [(scene.client.tcb.address, 0), (scene.server.tcb.address, number)]


def test_CHANNEL0002_holds_a_copy(scene: ChannelScene) -> None:
    """A connected channel holds a copy of the capability, with its badge and rights, whose source may be deleted."""
    channel = scene.connected()
    scene.machine.root.call(scene.client.cnode, Label.CNODE_DELETE, (ENDPOINT, 8))
    kept = caps.read(channel.slot)
    assert (kept.object, kept.badge, kept.rights) == (scene.endpoint_record().address, 7, Rights.ALL)
    assert is_connected(channel)
    assert scene.told() == []


def test_CHANNEL0003_order_of_checks(scene: ChannelScene) -> None:
    """Connect checks: label, extra capability, connected already, type and rights, listeners."""
    client, machine = scene.client, scene.machine
    assert client.invoke(CHANNEL, 99)[0] == Error.ILLEGAL_OPERATION
    assert client.invoke(CHANNEL, Label.CHANNEL_CONNECT) == (Error.TRUNCATED_MESSAGE, ())
    for rights in (Rights.READ, Rights.WRITE, Rights.READ | Rights.GRANT, Rights.GRANT | Rights.GRANT_REPLY):
        machine.grant(client, scene.way, SPARE, rights)
        assert client.invoke(CHANNEL, Label.CHANNEL_CONNECT, (), [SPARE]) == (Error.INVALID_CAPABILITY, (1,))
        machine.root.call(client.cnode, Label.CNODE_DELETE, (SPARE, 8))
    for other in (CHANNEL, SPARE, client.reply):
        assert client.invoke(CHANNEL, Label.CHANNEL_CONNECT, (), [other]) == (Error.INVALID_CAPABILITY, (1,))
    assert client.invoke(CHANNEL, Label.CHANNEL_CONNECT, (), [ENDPOINT]) == (Error.ILLEGAL_OPERATION, ())
    scene.connected()
    assert client.invoke(CHANNEL, Label.CHANNEL_CONNECT, (), [SPARE]) == (Error.ILLEGAL_OPERATION, ())


@pytest.mark.parametrize("rights", [Rights.WRITE | Rights.GRANT, Rights.WRITE | Rights.GRANT_REPLY])
def test_CHANNEL0004_rights_for_an_endpoint(scene: ChannelScene, rights: Rights) -> None:
    """Write, with Grant or GrantReply, suffices for an endpoint."""
    scene.listen()
    scene.machine.grant(scene.client, scene.way, SPARE, rights)
    assert scene.connect(cptr=SPARE) > 0


def test_CHANNEL0005_rights_for_a_notification(scene: ChannelScene) -> None:
    """Write suffices for a notification, and Read does not."""
    assert scene.listen(cptr=NOTIFICATION) > 0
    scene.machine.grant(scene.client, scene.notification, SPARE, Rights.READ)
    assert scene.connect(cptr=SPARE) == -Error.INVALID_CAPABILITY
    assert scene.connect(cptr=NOTIFICATION) > 0


def test_CHANNEL0006_the_calling_thread_is_the_client(scene: ChannelScene) -> None:
    """The client is the thread that connects, whoever made the channel."""
    scene.listen()
    other = scene.sender("other", channels=0)
    scene.machine.grant(other, scene.machine.copy(scene.machine.retype(ObjectType.CHANNEL)), CHANNEL)
    assert scene.connect(other) > 0
    assert scene.channel(other).client == other.tcb


def test_CHANNEL0007_connects_again(scene: ChannelScene) -> None:
    """After Disconnect a channel can be connected again, to something else as well; Disconnect twice is refused."""
    channel = scene.connected()
    assert scene.client.invoke(CHANNEL, Label.CHANNEL_DISCONNECT) == (0, ())
    assert scene.kinds() == [Tell.CHANNEL_GONE]
    assert not channel.slot.word0
    assert scene.client.invoke(CHANNEL, Label.CHANNEL_DISCONNECT) == (Error.ILLEGAL_OPERATION, ())
    assert scene.connect() == channel.number


def test_CHANNEL0008_revocation(scene: ChannelScene) -> None:
    """Revoking what the capability was derived from severs the channel."""
    channel = scene.connected()
    scene.machine.revoke(scene.way)
    assert [(tell.kind, tell.subject) for tell in scene.told()] == [(Tell.CHANNEL_GONE, channel.address)]
    assert not is_connected(channel)
    assert not channel.slot.word0
    assert scene.endpoint_record().channels is None
    assert scene.client.tcb.channels is None


def test_CHANNEL0009_revocation_of_another_badge(scene: ChannelScene) -> None:
    """Revoking a capability with another badge does not."""
    other = scene.machine.copy(scene.endpoint, badge=8)
    channel = scene.connected()
    scene.machine.revoke(other)
    assert is_connected(channel)


def test_CHANNEL0010_deletion(scene: ChannelScene) -> None:
    """Deleting the last capability to the channel severs it; while a copy exists it stays."""
    scene.connected()
    node = scene.client.cnode
    scene.machine.root.call(node, Label.CNODE_COPY, (SPARE, 8, CHANNEL, 8, Rights.ALL), [node])
    scene.machine.root.call(node, Label.CNODE_DELETE, (CHANNEL, 8))
    assert scene.told() == []
    scene.machine.root.call(node, Label.CNODE_DELETE, (SPARE, 8))
    assert scene.kinds() == [Tell.CHANNEL_GONE]


def test_CHANNEL0011_its_memory_goes(machine: Machine) -> None:
    """Revoking the memory that the channel was made of severs it, and the memory can be used again."""
    scene = ChannelScene(machine)
    pool = machine.retype(ObjectType.UNTYPED, 13)
    made = machine.retype(ObjectType.CHANNEL, untyped=pool)
    machine.grant(scene.client, made, SPARE)
    scene.listen()
    assert scene.connect(channel=SPARE) > 0
    machine.tells.clear()
    machine.revoke(pool)
    assert scene.kinds() == [Tell.CHANNEL_GONE]
    assert is_empty(machine, made)
    again = machine.retype(ObjectType.FRAME, 13, untyped=pool)
    assert machine.ram.read(held(machine, again).object, 1 << 13) == bytes(1 << 13)


def test_CHANNEL0012_the_clients_process_ends(scene: ChannelScene) -> None:
    """The end of the client's process severs its channels."""
    scene.connected()
    scene.machine.died(scene.client, 9)
    assert Tell.CHANNEL_GONE in scene.kinds()
    assert scene.client.tcb.channels is None


def test_CHANNEL0013_the_client_exits(scene: ChannelScene) -> None:
    """So does EXIT."""
    scene.connected()
    assert scene.client.syscall(Syscall.EXIT) is None
    assert Tell.CHANNEL_GONE in scene.kinds()


def test_CHANNEL0014_the_client_is_destroyed(scene: ChannelScene) -> None:
    """So does the end of the client's TCB."""
    channel = scene.connected()
    scene.machine.root.call(scene.client.cnode, Label.CNODE_DELETE, (250, 8))
    scene.machine.delete(scene.client.cap)
    assert scene.kinds() == [Tell.CHANNEL_GONE]
    assert channel.client is None


def test_CHANNEL0015_another_address_space(scene: ChannelScene) -> None:
    """So does another address space for the client."""
    scene.connected()
    space = scene.machine.retype(ObjectType.VSPACE, abi.VSPACE_MIN_BITS)
    words = (abi.cnode_cap_data(0, 56), 0)
    scene.machine.root.call(scene.client.cap, Label.TCB_SET_SPACE, words, [0, scene.client.cnode, space])
    assert scene.kinds() == [Tell.CHANNEL_GONE]


def test_CHANNEL0016_suspension(scene: ChannelScene) -> None:
    """Suspending client or server severs nothing: what was posted waits."""
    channel = scene.connected()
    scene.machine.root.call(scene.client.cap, Label.TCB_SUSPEND)
    scene.machine.root.call(scene.server.cap, Label.TCB_SUSPEND)
    assert is_connected(channel)
    assert scene.told() == []


def test_CHANNEL0017_last_capability_of_the_endpoint(scene: ChannelScene) -> None:
    """A channel may hold the last capability to its endpoint; the endpoint ends with the channel."""
    machine = scene.machine
    own = machine.retype(ObjectType.ENDPOINT)
    machine.grant(scene.server, own, SPARE, Rights.READ)
    machine.grant(scene.client, own, SPARE)
    assert scene.listen(cptr=SPARE) > 0
    assert scene.connect(cptr=SPARE) > 0
    channel = scene.channel()
    for thread in (scene.server, scene.client):
        machine.root.call(thread.cnode, Label.CNODE_DELETE, (SPARE, 8))
    machine.delete(own)
    machine.died(scene.server, 9)
    machine.kernel.reaped(scene.server.tcb)
    machine.delete(scene.server.cap)
    assert is_connected(channel)
    machine.tells.clear()
    machine.died(scene.client, 9)
    assert Tell.CHANNEL_GONE in scene.kinds()
    machine.root.call(scene.client.cnode, Label.CNODE_DELETE, (CHANNEL, 8))
    machine.assert_invariants()


def test_CHANNEL0018_channels_of_a_thread(machine: Machine) -> None:
    """A thread has at most 64 channels: RangeError(0, 64)."""
    scene = ChannelScene(machine)
    machine.check = False
    scene.more_channels(scene.client, 1, CHANNELS_PER_THREAD)
    scene.listen()
    for number in range(CHANNELS_PER_THREAD):
        assert scene.connect(channel=CHANNEL + number) > 0
    refused = scene.client.invoke(CHANNEL + CHANNELS_PER_THREAD, Label.CHANNEL_CONNECT, (), [ENDPOINT])
    assert refused == (Error.RANGE_ERROR, (0, CHANNELS_PER_THREAD))
    machine.assert_invariants()


def test_CHANNEL0019_channels_of_an_endpoint(machine: Machine) -> None:
    """An endpoint has at most 120 channels: RangeError(0, 120), before the thread's own limit is looked at."""
    scene = ChannelScene(machine)
    machine.check = False
    scene.listen()
    scene.more_channels(scene.client, 1, CHANNELS_PER_THREAD)
    other = scene.sender("other", channels=CHANNELS_PER_THREAD)
    for number in range(CHANNELS_PER_THREAD):
        assert scene.connect(channel=CHANNEL + number) > 0
    for number in range(CHANNELS_PER_TARGET - CHANNELS_PER_THREAD):
        assert scene.connect(other, channel=CHANNEL + number) > 0
    for thread in (other, scene.client):
        refused = thread.invoke(
            CHANNEL + CHANNELS_PER_THREAD - (thread is other), Label.CHANNEL_CONNECT, (), [ENDPOINT]
        )
        assert refused == (Error.RANGE_ERROR, (0, CHANNELS_PER_TARGET))
    machine.assert_invariants()
    scene.machine.tells.clear()
    machine.revoke(scene.way)
    assert scene.kinds() == [Tell.CHANNEL_GONE] * CHANNELS_PER_TARGET


def test_CHANNEL0020_first_phase(scene: ChannelScene) -> None:
    """A channel cannot be invoked in the first phase of a double system call."""
    scene.connected()
    info = abi.message_info(Label.CHANNEL_DISCONNECT)
    scene.client.submit(Syscall.NB_SEND_WAIT, NOTIFICATION, info, dest=CHANNEL)
    scene.machine.run()
    assert is_connected(scene.channel())


def test_CHANNEL0021_identify(scene: ChannelScene) -> None:
    """IDENTIFY tells a channel's type and size."""
    done = got(scene.client.syscall(Syscall.IDENTIFY, CHANNEL))
    assert done.words == (abi.CapType.CHANNEL, 0, 13, 0)


def test_CHANNEL0022_a_copy_is_the_same_channel(scene: ChannelScene) -> None:
    """Copies of a channel's capability are siblings, as those of a TCB: revoking one deletes none of the others."""
    scene.connected()
    machine, client = scene.machine, scene.client
    machine.root.call(client.cnode, Label.CNODE_COPY, (SPARE, 8, CHANNEL, 8, 0), [client.cnode])
    machine.root.call(client.cnode, Label.CNODE_REVOKE, (SPARE, 8))
    assert scene.slot_of(client, CHANNEL).word0 == scene.slot_of(client, SPARE).word0
    assert client.invoke(SPARE, Label.CHANNEL_DISCONNECT) == (0, ())


def test_CHANNEL0023_in_a_cnode_that_is_deleted(scene: ChannelScene) -> None:
    """A channel whose last capability lies in a CNode that is deleted is severed."""
    machine = scene.machine
    channel = scene.connected()
    node = machine.retype(ObjectType.CNODE, 4)
    machine.root.call(node, Label.CNODE_MOVE, (3, 4, CHANNEL, 8), [scene.client.cnode])
    machine.tells.clear()
    machine.delete(node)
    assert scene.kinds() == [Tell.CHANNEL_GONE]
    assert not channel.slot.word0


def two_receivers(scene: ChannelScene) -> tuple[Thread, int, int]:
    second = scene.receiver("second")
    return second, scene.listen(), scene.listen(second)


def test_CHANNEL0024_several_receivers(scene: ChannelScene) -> None:
    """Every thread that listens is handed the page, each with a number of its own."""
    second, first_number, second_number = two_receivers(scene)
    assert first_number != second_number
    scene.machine.tells.clear()
    scene.connect()
    expected = {(scene.client.tcb.address, 0)}
    expected |= {(scene.server.tcb.address, first_number), (second.tcb.address, second_number)}
    assert set(opened(scene)) == expected


def test_CHANNEL0025_the_host_cannot_make_the_page(scene: ChannelScene) -> None:
    """Where the host has no page for it, the channel is severed; it can be connected again."""
    channel = scene.connected()
    scene.machine.kernel.channel_failed(channel.address)
    scene.machine.settle()
    assert scene.kinds() == [Tell.CHANNEL_GONE]
    assert scene.connect() == channel.number


def test_CHANNEL0026_calls_by_the_kernel_go_on(scene: ChannelScene) -> None:
    """A connected channel changes nothing for calls by the kernel."""
    scene.connected()
    assert scene.server.syscall(Syscall.RECV, RECEIVER, reply=scene.server.reply) is None
    assert scene.client.syscall(Syscall.CALL, ENDPOINT, words=(1, 2)) is None
    request = got(scene.server.completion())
    assert (request.badge, request.words) == (7, (1, 2))
