"""An initial task whose children, boot image 1 (`working`), have budgets. It ends with 0 if these are held to."""

from __future__ import annotations

import ctypes
import time

from libsel4py import abi
from libsel4py.abi import FaultLabel, ObjectType
from libsel4py.capabilities import Endpoint, Notification, Reply
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.syscalls import Message
from tests.system.images import working
from tests.system.images.family import Child, Parent

PERIOD_US = 100_000
DONE = 10  # the priority of a child that tells so that all has been done
SERVER, FIRST, SECOND = 11, 12, 13


def share(parent: Parent, percent: int) -> None:
    """A child that never stops."""
    child = parent.child()
    parent.give(child, percent * PERIOD_US // 100, PERIOD_US)
    child.start(working.SPIN)
    parent.receive()


def finish(parent: Parent) -> None:
    """A child whose work takes several refills comes to its end; this task then waits for its own."""
    child = parent.child()
    parent.give(child, 20_000, 2 * PERIOD_US)
    child.start(working.WORK, 100_000)
    assert parent.wait_death() == (1, 0)
    parent.receive()


def lowered(parent: Parent) -> None:
    """A child whose priority is changed once it runs."""
    child = parent.child()
    child.start(working.ASK, parent.address(FIRST), 0, 0, 0)
    assert parent.receive().badge == FIRST
    parent.set_priority(child, 10)
    parent.receive()


def jobs(parent: Parent, count: int) -> None:
    """Two that never stop, and one that has 10 ms to do in each 100 ms."""
    for _ in range(2):
        parent.child().start(working.SPIN)
    child = parent.child()
    parent.give(child, 15_000, PERIOD_US)
    idle, reply = parent.make(ObjectType.ENDPOINT), parent.make(ObjectType.REPLY)
    child.start(working.JOBS, parent.address(FIRST), idle, reply, count, 10_000 << 32 | PERIOD_US)
    late, longest = parent.receive().words[:2]
    print(f"{count} jobs, {late} late, the longest took {longest} us", flush=True)
    parent.set_priority(child, DONE)
    parent.receive()


def asleep(parent: Parent, what: int, count: int) -> None:
    """So many with budgets, which sleep as the host knows it. The last one's priority tells."""
    children = [parent.child() for _ in range(count)]
    for child in children:
        parent.give(child, 4000, 20_000)
        child.start(what, parent.address(FIRST))
        assert parent.receive().badge == FIRST
    parent.set_priority(children[-1], DONE)
    parent.receive()


class Server:
    """A passive server: a child that has no time of its own once it waits."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._ready = Notification(parent.make(ObjectType.NOTIFICATION))  # a message would be dropped before it waits
        self.endpoint = Endpoint(parent.make(ObjectType.ENDPOINT))
        self.reply = Reply(parent.make(ObjectType.REPLY))
        self.child = self.begin()

    def begin(self) -> Child:
        parent = self._parent
        self.child = parent.child()
        self.child.tcb.set_timeout_endpoint(Endpoint(parent.address(SERVER)))
        self.child.start(working.SERVE, self._ready.cptr, self.endpoint.cptr, self.reply.cptr)
        self._ready.wait()
        self.child.context.unbind_object(self.child.tcb)
        return self.child


def client(parent: Parent, server: Server, badge: int, count: int, amount: int) -> Child:
    """Has said that it is about to ask, and waits for an answer to that."""
    child = parent.child()
    child.start(working.ASK, parent.address(badge), server.endpoint.cptr, count, amount)
    return child


def charge(parent: Parent, first_us: int, second_us: int, count: int) -> None:
    """What a passive server does for each of two clients is charged to that one."""
    server = Server(parent)
    clients: dict[int, Child] = {}
    for badge, amount in ((FIRST, first_us), (SECOND, second_us)):
        clients[badge] = client(parent, server, badge, count, amount)
        assert parent.receive().badge == badge
        clients[badge].context.consumed()
        parent.answer()
    used = {}
    for _ in clients:
        message = parent.receive()
        used[message.badge] = clients[message.badge].context.consumed()
    for badge, amount in ((FIRST, first_us), (SECOND, second_us)):
        found = used[badge] / (count * amount)
        print(f"charged {found:.3f} of what was asked for", flush=True)
        assert abs(found - 1) < 0.05, f"charged {found:.3f} of what was asked for"


def recover(parent: Parent) -> None:
    """A server that hangs uses up its client's budget. Who hears of that answers the client and starts it anew."""
    server = Server(parent)
    child = client(parent, server, FIRST, 1, working.STUCK)
    assert parent.receive().badge == FIRST
    child.context.consumed()
    parent.give(child, 20_000, PERIOD_US, badge=FIRST)
    before = child.context.consumed()  # it looks for its answer for a while, on a processor
    parent.answer()
    message = parent.receive()
    assert (message.badge, message.label, message.words[0]) == (SERVER, FaultLabel.TIMEOUT, FIRST)
    assert before + message.words[1] >= 18_000, (before, message.words)
    server.reply.send(Message(working.GIVEN_UP))
    parent.free(server.child)
    message = parent.receive()
    assert (message.badge, message.label) == (FIRST, working.GIVEN_UP), message
    server.begin()
    again = client(parent, server, SECOND, 1, 1000)
    assert parent.receive().badge == SECOND
    parent.answer()
    message = parent.receive()
    assert (message.badge, message.label) == (SECOND, 0), message
    again.context.consumed()


def resume(parent: Parent) -> None:
    """Whoever hears that a budget is used up can give more, and let the thread go on."""
    child = parent.child()
    parent.give(child, 10_000, 60_000_000, badge=5)
    child.tcb.set_timeout_endpoint(Endpoint(parent.address(SERVER)))
    child.start(working.WORK, 50_000)
    message = parent.receive()
    assert (message.badge, message.label, message.words[0]) == (SERVER, FaultLabel.TIMEOUT, 5), message
    parent.give(child, 1_000_000, 60_000_000)
    parent.answer()
    assert parent.wait_death() == (1, 0)


def yields(parent: Parent) -> None:
    """A thread that yields waits for its next refill: of the two that its context has room for, each comes once in a
    period, also the small one of what a system call has used."""
    child = parent.child()
    child.start(working.YIELDS, parent.address(FIRST), 10)
    assert parent.receive().badge == FIRST
    begin = time.monotonic_ns()
    parent.give(child, 5000, 20_000, extra=0)
    parent.answer()
    parent.receive()
    took = (time.monotonic_ns() - begin) // 1000
    assert took >= 10 // 2 * 20_000, took


def main(boot_info_address: int, *_: int) -> None:
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS))
    scenes = {
        scene.__name__: scene for scene in (share, finish, lowered, jobs, asleep, charge, recover, resume, yields)
    }
    name, *numbers = info.system_description.decode().split()
    scenes[name](Parent(info), *map(int, numbers))
