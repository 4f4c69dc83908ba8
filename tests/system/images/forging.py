"""The initial task that judges `forger`: grants it little, lets it try, and looks at what arrived. Ends with 0 if that
is what was granted and no more.

All that the forger says, and all its faults, come to one endpoint: faults with the child's number as badge, messages
with the badge of the capability that they were sent by, which the kernel alone puts there.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from libsel4py import abi
from libsel4py.abi import ExceptionNumber, FaultLabel, ObjectType, Rights
from libsel4py.capabilities import CNode, Endpoint
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.syscalls import Message, Received
from tests.system.images import forger
from tests.system.images.family import Child, Parent

BADGE, BADGE_AGAIN = 0x501, 0x502


@dataclass(frozen=True)
class Confined:
    """A child with a capability space of its own; ``inbox`` is the judge's end of the endpoint that it receives on."""

    number: int
    child: Child
    inbox: Endpoint

    def start(self, scene: object, how: int = 0) -> None:
        self.child.start(next(at for at, each in enumerate(forger.SCENES) if each is scene), how)


class Judge(Parent):
    """Makes confined children and hears them."""

    def confined(self) -> Confined:
        child = self.child()
        number = self._children
        cnode = CNode(self.make(ObjectType.CNODE, forger.RADIX))
        inbox, signal = self.make(ObjectType.ENDPOINT), self.make(ObjectType.NOTIFICATION)
        for slot, source, badge, rights in (
            (forger.TO_JUDGE, self._endpoint, BADGE, Rights.WRITE | Rights.GRANT_REPLY),
            (forger.REPLY, self.make(ObjectType.REPLY), 0, Rights.ALL),
            (forger.SIGNAL, signal, 1, Rights.WRITE),
            (forger.INBOX, inbox, 0, Rights.READ),
            (forger.TO_JUDGE_AGAIN, self._endpoint, BADGE_AGAIN, Rights.WRITE),
        ):
            if badge:
                cnode.mint(slot, self.cnode, source, badge, rights, dest_depth=forger.RADIX)
            else:
                cnode.copy(slot, self.cnode, source, rights, dest_depth=forger.RADIX)
        guard = abi.cnode_cap_data(0, abi.WORD_BITS - forger.RADIX)
        fault = self.slots.allocate()
        self.cnode.mint(fault, self.cnode, self._endpoint, number)
        child.tcb.set_space(Endpoint(fault), cnode, guard, child.vspace, 0)
        return Confined(number, child, Endpoint(inbox))

    def end(self, confined: Confined) -> None:
        """Destroy a child that has faulted: a resume would only carry its system call out again."""
        self.free(confined.child)
        self.memory.free(confined.child.vspace.cptr)

    def next(self) -> Received:
        return Endpoint(self._endpoint).recv(self._reply)

    def answer(self) -> None:
        self._reply.send(Message())

    def messages(self, until: int) -> list[Received]:
        """All messages up to the first with this label, which is answered too. A fault is none: the test ends."""
        found = [self.next()]
        while found[-1].label != until:
            assert found[-1].badge in (BADGE, BADGE_AGAIN), found[-1]
            found.append(Endpoint(self._endpoint).reply_recv(Message(), self._reply))
        self.answer()
        return found

    def ensure_ended_well(self) -> None:
        _, status = self.wait_death()
        assert status == 0, f"the forger ended with wait status {status}"


def labels(messages: list[Received]) -> list[tuple[int, int]]:
    return [(message.badge, message.label) for message in messages]


def guess(judge: Judge) -> None:
    judge.confined().start(forger.guess)
    found = judge.messages(forger.DONE)
    assert labels(found) == [(BADGE, forger.READY), (BADGE, forger.CONTROL), (BADGE, forger.DONE)], found
    judge.ensure_ended_well()


def call(judge: Judge) -> None:
    """A call to what does not resolve is a fault with its address; to an empty slot, a refusal; and nothing else."""
    for how, cptr in enumerate(forger.call_sample()):
        child = judge.confined()
        child.start(forger.call, how)
        if cptr >> forger.RADIX:
            number, label, words = judge.wait_fault()
            assert (number, label, words[1], words[2]) == (child.number, FaultLabel.CAP_FAULT, cptr, 0), (cptr, words)
        else:
            judge.ensure_ended_well()
        judge.end(child)


def replay(judge: Judge) -> None:
    for how in (forger.AGAIN, forger.BACK, forger.AHEAD, forger.CONSUMED):
        child = judge.confined()
        child.start(forger.replay, how)
        first = judge.next()
        assert (first.badge, first.label, first.words) == (BADGE, forger.CONTROL, (how,)), first
        judge.answer()
        second = judge.next()
        if how in (forger.BACK, forger.AHEAD):
            assert (second.badge, second.label) == (child.number, FaultLabel.USER_EXCEPTION), second
            assert second.words[3] == ExceptionNumber.RING_OVERRUN, second
        else:
            expected = forger.CONTROL if how == forger.AGAIN else forger.DONE
            assert (second.badge, second.label, second.words) == (BADGE, expected, (how,)), second
            judge.answer()
            judge.ensure_ended_well()
        judge.end(child)


def edit(judge: Judge) -> None:
    judge.confined().start(forger.edit)
    found = judge.messages(forger.DONE)
    assert [(each.badge, each.label, each.words[0]) for each in found] == [
        (BADGE, forger.CONTROL, 2),
        (BADGE, forger.DONE, 0),
    ], found
    judge.ensure_ended_well()


def race(judge: Judge) -> None:
    judge.confined().start(forger.race)
    found = judge.messages(forger.DONE)
    assert {each.badge for each in found} <= {BADGE, BADGE_AGAIN}
    assert {each.label for each in found} <= {forger.CONTROL, forger.DONE}
    # The control: the edits do act, on calls of its own.
    assert len(found) <= forger.RACES or BADGE_AGAIN in {each.badge for each in found}, "no edit came in time"
    numbers = [each.words[0] for each in found[:-1]]
    assert numbers == sorted(set(numbers)), numbers
    judge.ensure_ended_well()


def receive(judge: Judge) -> None:
    for how in range(len(forger.RECEIVES)):
        child = judge.confined()
        child.start(forger.receive, how)
        number, label, words = judge.wait_fault()
        assert (number, label, words[2]) == (child.number, FaultLabel.CAP_FAULT, 1), (how, label, words)
        judge.end(child)
    child = judge.confined()
    child.start(forger.receive, len(forger.RECEIVES))
    asked = judge.next()
    assert (asked.badge, asked.label) == (BADGE, forger.ASK), asked
    judge.answer()
    answer = child.inbox.call(Message(forger.GO_ON, (5,)))
    assert (answer.label, answer.words) == (forger.GO_ON, (6,)), answer
    judge.ensure_ended_well()


def send(judge: Judge) -> None:
    judge.confined().start(forger.send)
    found = judge.messages(forger.DONE)
    assert labels(found) == [(BADGE, forger.READY), (BADGE, forger.CONTROL), (BADGE, forger.DONE)], found
    assert (found[-1].extra_caps, found[-1].caps_unwrapped) == (0, 0), found[-1]
    judge.ensure_ended_well()


def host(judge: Judge) -> None:
    """Beside another task, which must hear of nothing but the judge's two calls."""
    other = judge.confined()
    other.start(forger.victim)
    assert other.inbox.call(Message(forger.READY)).words == (1,)
    judge.confined().start(forger.host)
    found = judge.messages(forger.DONE)
    assert labels(found) == [(BADGE, forger.DONE)], found
    judge.ensure_ended_well()
    assert other.inbox.call(Message(forger.DONE)).words == (2,)
    judge.ensure_ended_well()


SCENES = (guess, call, replay, edit, race, receive, send, host)


def main(boot_info_address: int, *_: int) -> None:
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS))
    scenes = {scene.__name__: scene for scene in SCENES}
    scenes[info.system_description.decode()](Judge(info))
