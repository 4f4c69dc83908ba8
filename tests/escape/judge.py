"""The initial task that carries attempts out: each in a process of its own, with little in its capability space.

Its description is JSON: numbers of attempts (`task.CORPUS`), whether they are granted what it takes to succeed, and
whether they are watched. It writes a line for each: its number, then how it ended. If they are watched, it asks behind
each what an attempt must not have touched: the witness, who answers as before and saw no badge but those that were
given out; the canary, a frame that the attempt may only read; a notification, of which the attempt may raise one bit.
It ends with HELD if all that held.
"""

from __future__ import annotations

import ctypes
import json
from typing import Final

from libsel4py import abi
from libsel4py.abi import ExceptionNumber, FaultLabel, InitialSlot, ObjectType, Rights
from libsel4py.capabilities import CNode, Endpoint, Frame, Notification, VSpace
from libsel4py.errors import KernelError, Timeout
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots, task
from tests.system.images.family import Child, Parent

JUDGE_BADGE: Final = 0x77
HELD, HARMED = 40, 41  # exit statuses: a system that ends with 0 keeps no logs
SECONDS: Final = 20.0  # that an attempt has to come to its end, of which a busy host may take most; none takes them all
WITNESS_SECONDS: Final = 20.0
CANARY_AT: Final = abi.MAPPING_BASE + (1 << 32)
SIGNAL_BADGE: Final = 1
ONLY_ONE: Final = ((slots.IRQ_CONTROL, InitialSlot.IRQ_CONTROL), (slots.IO_PORTS, InitialSlot.IO_PORT_CONTROL))
SOME: Final = Rights.WRITE | Rights.GRANT_REPLY


class Judge(Parent):
    """Makes the scene, and for each attempt a task."""

    def __init__(self, info: bootinfo.BootInfo) -> None:
        super().__init__(info)
        self.info = info
        self.failed = False
        self.served = self.make(ObjectType.ENDPOINT)
        self.asking = self.badged(self.served, JUDGE_BADGE)
        self.signal = self.make(ObjectType.NOTIFICATION)
        self.canary = Frame(self.make(ObjectType.FRAME, 12))
        self.canary.map(CANARY_AT, Rights.READ | Rights.WRITE, vspace=VSpace(InitialSlot.VSPACE))
        self.spread()
        self.victim = self.child()
        self.victim_cnode = CNode(self.make(ObjectType.CNODE, slots.RADIX))
        self.start_witness()

    def badged(self, source: int, badge: int) -> Endpoint:
        slot = self.slots.allocate()
        self.cnode.mint(slot, self.cnode, source, badge)
        return Endpoint(slot)

    def spread(self) -> None:
        ctypes.memset(CANARY_AT, slots.PATTERN, 1 << 12)

    def space(self, child: Child, number: int, cnode: CNode) -> None:
        """The child's own capability space, and its fault endpoint, with its number as the badge."""
        guard = abi.cnode_cap_data(0, abi.WORD_BITS - slots.RADIX)
        fault = self.badged(self._endpoint, number)
        child.tcb.set_space(fault, cnode, guard, child.vspace, 0)

    def start_witness(self) -> None:
        child = self.child()
        cnode = CNode(self.make(ObjectType.CNODE, slots.RADIX))
        cnode.copy(task.SERVED, self.cnode, self.served, Rights.READ, dest_depth=slots.RADIX)
        cnode.copy(task.LISTENED, self.cnode, self.make(ObjectType.REPLY), dest_depth=slots.RADIX)
        self.witness = self._children
        self.space(child, self.witness, cnode)
        child.start(task.WITNESS, JUDGE_BADGE)

    def attempt(self, number: int, *, granted: bool) -> str:
        """Carry one out; how it ended."""
        child = self.child()
        name = self._children
        made: list[int] = [child.vspace.cptr, child.context.cptr]
        cnode = CNode(self.make(ObjectType.CNODE, slots.RADIX))
        self.fill(child, cnode, made, granted)
        self.space(child, name, cnode)
        child.start(task.ATTEMPT, number)
        ended = self.end_of(name)
        if granted:
            for slot, only in ONLY_ONE:
                self.cnode.move(only, cnode, slot, src_depth=slots.RADIX)
        for cptr in (*made, cnode.cptr):
            self.memory.free(cptr)
        self.free(child)
        return ended

    def fill(self, child: Child, cnode: CNode, made: list[int], granted: bool) -> None:
        every = Rights.ALL
        memory = self.make(ObjectType.UNTYPED, slots.MEMORY_BITS)
        inbox, reply, sent = (self.make(kind) for kind in (ObjectType.ENDPOINT, ObjectType.REPLY, ObjectType.ENDPOINT))
        made += [memory, inbox, reply, sent]
        rows = [
            (slots.WITNESS, self.served, every if granted else SOME, slots.BADGE if not granted else 0),
            (slots.REPLY, reply, every, 0),
            (slots.SIGNAL, self.signal, every if granted else Rights.WRITE, 0 if granted else SIGNAL_BADGE),
            (slots.INBOX, inbox, every if granted else Rights.READ, 0),
            (slots.CANARY, self.canary.cptr, every if granted else Rights.READ, 0),
            (slots.OWN_CNODE, cnode.cptr, every, 0),
            (slots.OWN_TCB, child.tcb.cptr, every, 0),
            (slots.OWN_VSPACE, child.vspace.cptr, every, 0),
            (slots.OWN_MEMORY, memory, every, 0),
            (slots.OWN_CONTEXT, child.context.cptr, every, 0),
        ]
        if granted:
            larger = self.make(ObjectType.UNTYPED, slots.MEMORY_BITS + 4)
            made.append(larger)
            rows += [
                (slots.VICTIM, self.victim.tcb.cptr, every, 0),
                (slots.VICTIM_CNODE, self.victim_cnode.cptr, every, 0),
                (slots.VICTIM_VSPACE, self.victim.vspace.cptr, every, 0),
                (slots.VICTIM_CONTEXT, self.victim.context.cptr, every, 0),
                (slots.JUDGE, InitialSlot.TCB, every, 0),
                (slots.MEMORY, larger, every, 0),
                (slots.SCHED_CONTROL, self.info.sched_control.start, every, 0),
                (slots.DOMAIN, InitialSlot.DOMAIN, every, 0),
            ]
            for slot, only in ONLY_ONE:
                cnode.move(slot, self.cnode, only, dest_depth=slots.RADIX)
        for slot, source, rights, badge in rows:
            if badge:
                cnode.mint(slot, self.cnode, source, badge, rights, dest_depth=slots.RADIX)
            else:
                cnode.copy(slot, self.cnode, source, rights, dest_depth=slots.RADIX)

    def end_of(self, name: int) -> str:
        """How the child with this number ended: `status N`, `fault LABEL NUMBER`, or `timeout`."""
        while True:
            try:
                message = Endpoint(self._endpoint).recv(self._reply, SECONDS)
            except Timeout:
                return "timeout"
            if message.badge == self.witness:
                self.fail(f"the witness has faulted: {message}")
                return "timeout"
            if message.badge == name:
                break
        if message.label == FaultLabel.USER_EXCEPTION and message.words[3] == ExceptionNumber.DEATH:
            return f"status {message.words[4]}"
        kind = message.words[3] if message.label == FaultLabel.USER_EXCEPTION else 0
        return f"fault {FaultLabel(message.label).name} {kind}"

    def fail(self, text: str) -> None:
        print("harm", text, flush=True)
        self.failed = True

    def look(self, path: str) -> None:
        """What the attempt must not have touched."""
        try:
            answer = self.asking.call(Message(task.CHECK), WITNESS_SECONDS)
        except (Timeout, KernelError) as error:
            self.fail(f"{path}: the witness does not answer any more: {error!r}")
        else:
            if answer.label != task.CHECK or answer.words[1]:
                self.fail(f"{path}: the witness answers {answer}")
        if ctypes.string_at(CANARY_AT, 1 << 12) != bytes([slots.PATTERN]) * (1 << 12):
            self.fail(f"{path}: the canary was written")
            self.spread()
        if (raised := Notification(self.signal).poll()) & ~SIGNAL_BADGE:
            self.fail(f"{path}: signals {raised:#x} were raised")

    def forgive(self) -> None:
        """Make good what a granted attempt has done."""
        self.asking.call(Message(task.CHECK), WITNESS_SECONDS)
        self.spread()
        Notification(self.signal).poll()


def main(boot_info_address: int, *_: int) -> int:
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS))
    order = json.loads(info.system_description)
    judge = Judge(info)
    for number in order["numbers"]:
        print("ended", number, judge.attempt(number, granted=order["granted"]), flush=True)
        if order["watched"]:
            judge.look(task.CORPUS[number].path)
        else:
            judge.forgive()
    return HARMED if judge.failed else HELD
