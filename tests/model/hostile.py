"""Where hostile tasks meet a pair that behaves well: who holds what, and what must stay so.

Hostile threads have authority over themselves and some memory, share an endpoint
and a notification with each other, and can send to the well-behaved server and signal its bell: nothing else of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from kerneld import scheduler
from kerneld.records import Slot, TcbSlot
from libsel4py import abi
from libsel4py.abi import Label, ObjectType, Rights, Syscall
from tests.harness import OWN_CNODE, OWN_REPLY, OWN_SCHED_CONTEXT, OWN_TCB, Machine, Thread

HOSTILE = 3
POOL_BITS = 15
# Slots of a hostile thread, beside the harness's fixed ones.
SHARED, BELL, POOL, OTHER_TCB, VICTIM, VICTIM_BELL, FRAME, SPACE = range(1, 9)
CHANNEL, PAGE, IO_SPACE = 17, 18, 19
OWN = (SHARED, BELL, POOL, OTHER_TCB, VICTIM, VICTIM_BELL, FRAME, SPACE, 9, 10, 11, 12)
SLOTS = (*OWN, *OWN, OWN_TCB, OWN_CNODE, OWN_SCHED_CONTEXT, OWN_REPLY)
# Slots of the well-behaved ones.
SERVICE, ANSWERS = 1, 2
GOOD_BADGE, HOSTILE_BADGE = 1, 66
MOST_STEPS = 2000  # transactions that one batch may lead to: 64 entries, each restarted some times


class Stalled(AssertionError):
    """The kernel goes on and on for one batch."""


@dataclass(slots=True)
class Arena:
    """A machine with the hostile and the good.

    Attributes:
        taken: hostile submissions that the kernel has taken.
        belongings: the capabilities of the good and of the initial task, slot by slot.
        shared, bell, victim_bell: slots of the initial task's, with what the arena was made of. handlers: those with
            handlers of interrupt lines, where the arena has any, by line.
    """

    machine: Machine
    hostile: tuple[Thread, ...]
    server: Thread
    client: Thread
    shared: int
    bell: int
    victim_bell: int
    handlers: dict[int, int] = field(default_factory=dict)
    taken: int = 0
    belongings: list[bytes] = field(default_factory=list)

    @classmethod
    def new(cls, machine: Machine) -> Arena:
        retype = machine.retype
        shared, bell, service, victim_bell = (
            retype(ObjectType.ENDPOINT),
            retype(ObjectType.NOTIFICATION),
            retype(ObjectType.ENDPOINT),
            retype(ObjectType.NOTIFICATION),
        )
        handler = machine.copy(shared, badge=77)
        hostile = tuple(machine.thread(f"hostile{n}", fault_endpoint=handler if n else 0) for n in range(HOSTILE))
        for number, thread in enumerate(hostile):
            for slot, source, rights, badge in (
                (SHARED, shared, Rights.ALL, 1 + number),
                (BELL, bell, Rights.ALL, 1 << number),
                (POOL, retype(ObjectType.UNTYPED, POOL_BITS), Rights.ALL, None),
                (OTHER_TCB, hostile[(number + 1) % HOSTILE].cap, Rights.ALL, None),
                (VICTIM, service, Rights.WRITE, HOSTILE_BADGE),
                (VICTIM_BELL, victim_bell, Rights.WRITE, 2),
                (FRAME, retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS), Rights.ALL, None),
                (SPACE, retype(ObjectType.VSPACE, abi.VSPACE_MIN_BITS), Rights.ALL, None),
                (CHANNEL, retype(ObjectType.CHANNEL), Rights.ALL, None),
                (IO_SPACE, retype(ObjectType.IO_SPACE, abi.IO_SPACE_MIN_BITS), Rights.ALL, None),
                (PAGE, retype(ObjectType.FRAME, abi.FRAME_MIN_BITS), Rights.READ | number % 2, None),
            ):
                machine.grant(thread, source, slot, rights, badge)
        server, client = machine.thread("server"), machine.thread("client")
        machine.grant(server, service, SERVICE, Rights.READ)
        machine.grant(client, service, SERVICE, Rights.WRITE | Rights.GRANT_REPLY, GOOD_BADGE)
        machine.root.call(server.cap, Label.TCB_BIND_NOTIFICATION, (), (victim_bell,))
        assert server.syscall(Syscall.RECV, SERVICE, reply=server.reply) is None
        arena = cls(machine, hostile, server, client, shared, bell, victim_bell)
        arena.belongings = arena._belongings()
        return arena

    # --- what must not change

    def _belongings(self) -> list[bytes]:
        """The capability words of all slots that belong to the good and to the initial task."""
        found = []
        for thread in (self.server, self.client, self.machine.root):
            node = thread.tcb.slot(TcbSlot.CSPACE)
            for first, count in ((thread.tcb.address, len(TcbSlot)), (node.object, 1 << node.word0 // (1 << 40) % 64)):
                slots = self.machine.ram.read(first, count * Slot.SIZE)
                found.append(b"".join(slots[at : at + 16] for at in range(0, len(slots), Slot.SIZE)))
        return found

    def check(self) -> None:
        """The invariants hold, the good still have what they had, and are served."""
        self.machine.assert_invariants()
        changed = [
            index
            for index, pair in enumerate(zip(self._belongings(), self.belongings, strict=True))
            if pair[0] != pair[1]
        ]
        assert not changed, "a capability changed over which no hostile thread had authority"
        self.serve_once()

    def serve_once(self) -> None:
        """A call from the good client to the good server, whatever else reaches the server meanwhile."""
        question = self.taken & 0xFFFF
        self.client.submit(Syscall.CALL, SERVICE, abi.message_info(5, 1), (question,))
        self.run()
        for _ in range(8 * HOSTILE):
            request = self.server.completion()
            if request is None:
                break
            words = (request.registers[0] + 1,)
            if request.badge == GOOD_BADGE and request.label == 5:
                answer = partial(self.server.submit, Syscall.REPLY_RECV, SERVICE, abi.message_info(6, 1), words)
            else:
                answer = partial(self.server.submit, Syscall.RECV, SERVICE)
            answer(reply=self.server.reply)
            self.run()
        done = self.client.completion()
        assert done is not None, "the good client's call does not complete"
        assert (done.label, done.registers[0]) == (6, question + 1)

    # --- the kernel's turn

    def run(self) -> None:
        """Let the kernel work; it must come to an end."""
        kernel = self.machine.kernel
        steps = 0
        busy = True
        while busy:
            busy = False
            for thread in list(self.machine.threads.values()):
                while kernel.take(thread.tcb):
                    busy = True
                    steps += 1
                    self.taken += thread in self.hostile
                    self.machine.settle()
                    self._ensure_end(steps)
            while kernel.continue_one():
                busy = True
                steps += 1
                self.machine.settle()
                self._ensure_end(steps)

    def _ensure_end(self, steps: int) -> None:
        if steps > MOST_STEPS:
            raise Stalled(f"{steps} transactions, and no end of one batch")

    def ready(self, thread: Thread) -> bool:
        """Whether the kernel takes what the thread submits; one that has stopped is started anew, if that can be."""
        if self._takes(thread):
            return True
        if thread.tcb.address not in self.machine.threads:
            return False
        self.machine.died(thread, 9)
        root = self.machine.root
        if root.invoke(thread.cap, Label.TCB_SUSPEND)[0]:
            return False
        root.invoke(thread.sched_context, Label.SCHED_CONTEXT_UNBIND)
        root.invoke(thread.sched_context, Label.SCHED_CONTEXT_BIND, (), (thread.cap,))
        root.invoke(thread.cap, Label.TCB_RESUME)
        self.run()
        return self._takes(thread)

    def _takes(self, thread: Thread) -> bool:
        tcb = thread.tcb
        runs = thread.tcb.address in self.machine.threads and scheduler.may_run(tcb)
        return runs and tcb.trap_frame != 0 and not tcb.in_trap and not tcb.told_pending
