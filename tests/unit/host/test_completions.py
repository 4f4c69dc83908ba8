"""Completions that wait until memory is taken away: they come once, in time, and only to a thread that may run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from hw import ring
from kerneld.host.completions import Completions
from kerneld.outbox import Message, Tell
from libsel4py.abi import Label, Syscall
from tests.harness import Machine, Thread
from tests.mapping_scene import MappingScene


class Host:
    """The tells of a machine, carried out by the host's part; what waits is let go by the test."""

    def __init__(self) -> None:
        self.machine = Machine(check=False)
        self.scene = MappingScene(self.machine)
        self.frame = self.scene.mapped()
        self.waiting: list[Callable[[], None]] = []
        self.released: list[int] = []
        self.told: list[Message] = []
        self.waits = True
        self.completions = Completions(self.machine.kernel, self.told.append, self._wait, self.released.append)

    def _wait(self, tcb: int, then: Callable[[], None]) -> bool:
        if self.waits:
            self.waiting.append(then)
        return self.waits

    def unmap(self) -> list[int]:
        """The initial task asks to end the mapping. Returns who was given a completion."""
        root = self.machine.root
        root.submit(Syscall.CALL, self.frame, Label.FRAME_UNMAP << 12)
        assert self.machine.kernel.take(root.tcb)
        return list(self.completions.publish())

    def ask(self, thread: Thread, label: Label) -> list[int]:
        """The initial task invokes another thread's TCB. Returns who was given a completion."""
        root = self.machine.root
        root.submit(Syscall.CALL, thread.cap, label << 12)
        assert self.machine.kernel.take(root.tcb)
        return list(self.completions.publish())

    def produced(self, thread: Thread) -> bool:
        """Whether the thread's last completion is in its ring."""
        return ring.produced(self.machine.ram, thread.tcb.trap_frame) == thread.tcb.produced & 0xFFFFFFFF

    def let_go(self) -> None:
        waiting, self.waiting = self.waiting, []
        for then in waiting:
            then()


@pytest.fixture
def host() -> Host:
    return Host()


def test_a_completion_that_took_memory_comes_when_that_is_gone(host: Host) -> None:
    root = host.machine.root
    assert host.unmap() == []
    assert [message.kind for message in host.told] == [Tell.UNMAP]
    assert (host.produced(root), root.tcb.told_pending, len(host.machine.kernel.outbox)) == (False, 1, 0)
    host.let_go()
    assert (host.produced(root), root.tcb.told_pending) == (True, 0)
    assert host.released == [root.tcb.address]


def test_a_completion_comes_at_once_where_nothing_is_to_be_taken(host: Host) -> None:
    host.waits = False
    assert host.unmap() == [host.machine.root.tcb.address]
    assert host.produced(host.machine.root)


def test_nothing_is_taken_from_the_ring_of_a_thread_whose_completion_waits(host: Host) -> None:
    root = host.machine.root
    host.unmap()
    root.submit(Syscall.YIELD)
    assert not host.machine.kernel.take(root.tcb)
    host.let_go()
    assert host.machine.kernel.take(root.tcb)


def test_others_are_served_meanwhile_and_nobody_else_publishes_what_waits(host: Host) -> None:
    root, other = host.machine.root, host.machine.thread("other")
    host.unmap()
    other.submit(Syscall.YIELD)
    assert host.machine.kernel.take(other.tcb)
    assert list(host.completions.publish()) == [other.tcb.address]
    with host.machine.ram.transaction():
        host.machine.kernel.outbox.tell(Tell.DELIVER, root.tcb.address)
    assert list(host.completions.publish()) == []
    assert (host.produced(root), root.tcb.told_pending) == (False, 1)
    host.let_go()
    assert host.produced(root)


def test_a_thread_that_was_stopped_meanwhile_gets_it_when_it_is_resumed(host: Host) -> None:
    """The host lets a thread go on by its completion: one that is not to run must not have it."""
    machine, worker = host.machine, host.machine.thread("worker")
    machine.grant(worker, host.frame, 50)
    worker.submit(Syscall.CALL, 50, Label.FRAME_UNMAP << 12)
    assert machine.kernel.take(worker.tcb)
    assert host.completions.publish() == []
    host.ask(worker, Label.TCB_SUSPEND)
    host.let_go()
    assert (host.produced(worker), worker.tcb.told_pending) == (False, 1)
    assert worker.tcb.address in host.ask(worker, Label.TCB_RESUME)
    assert (host.produced(worker), worker.tcb.told_pending) == (True, 0)
    assert host.released == []


def test_a_thread_that_ends_meanwhile_gets_nothing(host: Host) -> None:
    root = host.machine.root
    host.unmap()
    with host.machine.ram.transaction():
        host.machine.kernel.outbox.tell(Tell.KILL, root.tcb.address)
    host.completions.publish()
    host.let_go()
    assert (host.produced(root), host.released) == (False, [])


def test_whoever_is_told_of_a_servers_death_goes_before_its_clients_by_channel(host: Host) -> None:
    """And once: the tells are carried out in their order behind that."""
    machine, supervisor = host.machine, host.machine.thread("supervisor")
    supervisor.submit(Syscall.YIELD)
    assert machine.kernel.take(supervisor.tcb)
    with machine.ram.transaction():
        machine.kernel.core.kernel.outbox_length = 0
        for channel in (1, 2):
            machine.kernel.outbox.tell(Tell.RECEIVER_DIED, channel)
        machine.kernel.outbox.tell(Tell.DELIVER, supervisor.tcb.address)
    seen: list[bool] = []

    def carry_out(message: Message) -> None:
        assert message.kind is Tell.RECEIVER_DIED
        seen.append(host.produced(supervisor))

    completions = Completions(machine.kernel, carry_out, host._wait, host.released.append)
    assert list(completions.publish()) == [supervisor.tcb.address]
    assert seen == [True, True]
    assert len(machine.kernel.outbox) == 0


def test_ends_of_channels_are_carried_out_together_and_in_their_place(host: Host) -> None:
    """What is told behind them comes behind them. A kernel that dies on the way leaves the rest to the next."""
    machine, worker = host.machine, host.machine.thread("worker")
    worker.submit(Syscall.YIELD)
    assert machine.kernel.take(worker.tcb)
    with machine.ram.transaction():
        machine.kernel.core.kernel.outbox_length = 0
        for channel in (1, 2):
            machine.kernel.outbox.tell(Tell.CHANNEL_GONE, channel)
        machine.kernel.outbox.tell(Tell.DELIVER, worker.tcb.address)
        machine.kernel.outbox.tell(Tell.CHANNEL_GONE, 3)
    done: list[tuple[list[int], bool]] = []

    def gone(channels: Sequence[int]) -> None:
        done.append((list(channels), host.produced(worker)))

    def die_at_the_second(channels: Sequence[int]) -> None:
        if done:
            raise KeyboardInterrupt
        gone(channels)

    def completions(channels_gone: Callable[[Sequence[int]], None]) -> Completions:
        return Completions(machine.kernel, host.told.append, host._wait, host.released.append, channels_gone)

    with pytest.raises(KeyboardInterrupt):
        completions(die_at_the_second).publish()
    assert len(machine.kernel.outbox) == 4
    following = completions(gone)
    assert list(following.publish()) == [worker.tcb.address]
    assert done == [([1, 2], False), ([3], True)]
    assert following.severed
    assert host.told == []
    assert len(machine.kernel.outbox) == 0
