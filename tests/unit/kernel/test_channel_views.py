"""What people are told of channels, and that the fast path leaves signals to listeners alone."""

from __future__ import annotations

from typing import Any, cast

import pytest

from kerneld import explain, inspection
from kerneld.kernel import Kernel
from libsel4py import abi
from libsel4py.abi import Label, ObjectType, Syscall
from tests.channel_scene import CHANNEL, ENDPOINT, NOTIFICATION, ChannelScene
from tests.conformance.scenes import got
from tests.harness import Machine, TwinKernel


@pytest.fixture
def scene() -> ChannelScene:
    return ChannelScene(Machine())


def test_why_says_what_a_thread_waits_for_on_its_own(scene: ChannelScene) -> None:
    scene.connected()
    core = scene.machine.kernel.core
    at = f"0x{scene.endpoint_record().address:x}"
    assert explain.why(core, scene.server.tcb) == (
        "server may run: the kernel waits for its next system call. It listens to endpoint "
        f"{at}, and waits on its own for what comes by 1 channels."
    )
    assert "It has 1 channels, and waits on its own for the answer" in explain.why(core, scene.client.tcb)


def test_who_is_connected_can_send(scene: ChannelScene) -> None:
    """By the channel's copy, when its own capability is gone."""
    scene.connected()
    scene.machine.root.call(scene.client.cnode, Label.CNODE_DELETE, (ENDPOINT, 8))
    scene.server.syscall(Syscall.LISTEN, NOTIFICATION)
    assert scene.server.syscall(Syscall.RECV, 2, reply=scene.server.reply) is None
    assert "client" in explain.why(scene.machine.kernel.core, scene.server.tcb)


def test_a_refused_listen_is_explained(scene: ChannelScene) -> None:
    scene.listen()
    scene.listen(cptr=NOTIFICATION)
    text = explain.last_refusal(scene.machine.kernel.core, scene.server.tcb)
    assert text.startswith("LISTEN on capability address 0x3 was refused (ILLEGAL_OPERATION): the thread listens")


def test_a_refused_connect_is_explained(scene: ChannelScene) -> None:
    scene.connect()
    text = explain.last_refusal(scene.machine.kernel.core, scene.client.tcb)
    assert text.startswith(
        "Channel.connect on capability address 0xa was refused (ILLEGAL_OPERATION): no receiver takes"
    )


def test_queues_show_who_listens(scene: ChannelScene) -> None:
    scene.connected()
    rows = [cast("dict[str, Any]", row) for row in inspection.queues(scene.machine.ram)]
    (row,) = [row for row in rows if row["listening"]]
    assert row["object"] == f"ENDPOINT 0x{scene.endpoint_record().address:x}"
    assert (row["channels"], [each["task"] for each in row["listening"]]) == (1, ["server"])


def test_places_of_bound_capabilities_have_names(scene: ChannelScene) -> None:
    channel = scene.connected()
    tree = str(inspection.untyped_tree(scene.machine.ram))
    assert f"channel 0x{channel.address:x}" in tree
    assert "server (TCB listen)" in tree
    assert cast("dict[str, Any]", inspection.memory(scene.machine.ram))["by_type"]["CHANNEL"] == 1 << 13
    assert any(
        "CHANNEL at" in slot["capability"]
        for node in inspection.cspaces(scene.machine.ram)
        for slot in cast("dict[str, Any]", node)["capabilities"]
    )


def test_a_damaged_or_severed_channel_is_shown_all_the_same(scene: ChannelScene) -> None:
    channel = scene.connected()
    scene.client.call(CHANNEL, Label.CHANNEL_DISCONNECT)
    assert f"0x{channel.address:x}" in str(inspection.untyped_tree(scene.machine.ram))


@pytest.mark.parametrize("bound", [False, True])
def test_signals_to_who_listens_are_slow_unless_it_is_bound(scene: ChannelScene, bound: bool) -> None:
    """They give a hint, which the fast path tells the bound thread alone. An active notification gives none."""
    if bound:
        scene.machine.root.call(scene.server.cap, Label.TCB_BIND_NOTIFICATION, (), [scene.notification])
    before = TwinKernel.fast_takes
    got(scene.client.syscall(Syscall.SEND, NOTIFICATION))
    assert TwinKernel.fast_takes == before + 1
    got(scene.server.syscall(Syscall.NB_WAIT, NOTIFICATION))
    scene.listen(cptr=2 if bound else NOTIFICATION)
    before = TwinKernel.fast_takes
    got(scene.client.syscall(Syscall.SEND, NOTIFICATION))
    assert TwinKernel.fast_takes == before + bound
    got(scene.client.syscall(Syscall.SEND, NOTIFICATION))
    assert TwinKernel.fast_takes == before + bound + 1
    got(scene.server.syscall(Syscall.NB_WAIT, NOTIFICATION))
    scene.server.syscall(Syscall.LISTEN, 0)
    before = TwinKernel.fast_takes
    got(scene.client.syscall(Syscall.SEND, NOTIFICATION))
    assert TwinKernel.fast_takes == before + 1


def many_channels(count: int) -> tuple[Machine, ChannelScene]:
    machine = Machine(check=False)
    scene = ChannelScene(machine)
    scene.listen()
    senders = [scene.client] + [scene.sender(f"sender{number}", channels=0) for number in range(2)]
    for number in range(count):
        sender = senders[number // abi.CHANNELS_PER_THREAD]
        scene.more_channels(sender, number % abi.CHANNELS_PER_THREAD, 0 if number == 0 else 1)
        assert scene.connect(sender, channel=CHANNEL + number % abi.CHANNELS_PER_THREAD) > 0
    machine.tells.clear()
    return machine, scene


def take(kernel: Kernel, machine: Machine) -> int:
    """Transactions until nothing is left to do; none may tell more than half of what the outbox holds."""
    count = 0
    while kernel.take(machine.root.tcb) or kernel.continue_one():
        assert len(kernel.outbox) < 512
        machine.settle()
        count += 1
    return count


def test_many_channels_are_severed_in_several_transactions() -> None:
    machine, scene = many_channels(abi.CHANNELS_PER_TARGET)
    info = abi.message_info(Label.CNODE_REVOKE, 2)
    machine.root.submit(Syscall.CALL, abi.InitialSlot.CNODE, info, (scene.way, abi.WORD_BITS))
    assert take(machine.kernel, machine) > 1
    assert scene.endpoint_record().channels is None
    machine.assert_invariants()


def test_stopping_to_listen_to_many_channels_is_preempted_and_ends() -> None:
    machine, scene = many_channels(abi.CHANNELS_PER_TARGET)
    scene.server.submit(Syscall.LISTEN, 0)
    transactions = 0
    while machine.kernel.take(scene.server.tcb) or machine.kernel.continue_one():
        machine.settle()
        machine.assert_invariants()
        transactions += 1
    assert transactions > 1
    assert got(scene.server.completion()).label == 0
    assert scene.endpoint_record().channels is None
    assert not scene.listen_slot().word0


def test_deaths_of_many_threads_in_one_revocation_fit_the_outbox() -> None:
    """Address spaces of listeners and clients go in one revoke."""
    machine = Machine(32 << 20, check=False)
    scene = ChannelScene(machine)
    space = machine.retype(ObjectType.VSPACE, abi.VSPACE_MIN_BITS)
    threads = []
    for number in range(abi.LISTENERS_PER_ENDPOINT):
        thread = scene.receiver(f"listener{number}", own_vspace=False)
        machine.grant(thread, scene.way, ENDPOINT)
        threads.append(thread)
        words = (abi.cnode_cap_data(0, 56), 0)
        machine.root.call(thread.cap, Label.TCB_SET_SPACE, words, [0, thread.cnode, space])
        assert scene.listen(thread) > 0
    for number in range(abi.CHANNELS_PER_TARGET):
        client = threads[number // 30]
        scene.more_channels(client, number % 30, 1)
        assert scene.connect(client, channel=CHANNEL + number % 30) > 0
    info = abi.message_info(Label.CNODE_REVOKE, 2)
    machine.root.submit(Syscall.CALL, abi.InitialSlot.CNODE, info, (space, abi.WORD_BITS))
    take(machine.kernel, machine)
    machine.assert_invariants()
    assert scene.endpoint_record().listeners is None
