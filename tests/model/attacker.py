"""What hostile tasks write: random and nearly valid bytes in every place that a task can write.

All randomness comes from one seed. Most of it has the form of what the kernel expects: noise alone does not get far.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from libsel4py import abi
from libsel4py.abi import Label, Syscall
from tests.harness import OWN_CNODE, OWN_REPLY, OWN_SCHED_CONTEXT, OWN_TCB, THREAD_CNODE_BITS, Thread
from tests.model.hostile import (
    BELL,
    CHANNEL,
    FRAME,
    HOSTILE,
    IO_SPACE,
    OTHER_TCB,
    PAGE,
    POOL,
    SHARED,
    SPACE,
    VICTIM,
    VICTIM_BELL,
    Arena,
)

FREE = tuple(range(9, 17))  # slots that begin empty
SLOTS = (
    SHARED,
    BELL,
    POOL,
    OTHER_TCB,
    VICTIM,
    VICTIM_BELL,
    FRAME,
    SPACE,
    CHANNEL,
    *FREE,
    OWN_TCB,
    OWN_CNODE,
    OWN_REPLY,
)
OPS = tuple(Syscall)
RECEIVING = (
    Syscall.RECV,
    Syscall.REPLY_RECV,
    Syscall.NB_RECV,
    Syscall.WAIT,
    Syscall.NB_WAIT,
    Syscall.NB_SEND_RECV,
    Syscall.LISTEN,
)
RARELY = (Syscall.EXIT, Syscall.SEND)
SIZES = (4, 6, 8, 12, 14)


@dataclass(frozen=True, slots=True)
class Form:
    """The methods of one type: their labels, capabilities that have them, and those that they take."""

    labels: tuple[int, ...]
    targets: tuple[int, ...]
    caps: tuple[int, ...]


ANYTHING = Form((*Label, 0, 99, abi.LABEL_MAX), SLOTS, SLOTS)
FORMS = (
    Form((Label.UNTYPED_RETYPE,), (POOL, POOL, 9, 10), (OWN_CNODE, OWN_CNODE, 11)),
    Form(tuple(range(Label.CNODE_REVOKE, Label.CNODE_ROTATE + 1)), (OWN_CNODE,), (OWN_CNODE, OWN_CNODE, 11)),
    Form(tuple(range(Label.CNODE_COPY, Label.CNODE_ROTATE + 1)), (OWN_CNODE,), (OWN_CNODE,)),
    Form(
        (*range(Label.TCB_READ_REGISTERS, Label.TCB_SET_FLAGS + 1), Label.TCB_SET_NAME, Label.TCB_EXPLAIN),
        (OWN_TCB, OTHER_TCB, OTHER_TCB, 9, 11),
        (OWN_TCB, OTHER_TCB, BELL, SHARED, OWN_CNODE, SPACE, FRAME, OWN_SCHED_CONTEXT, 9, 10),
    ),
    Form(
        tuple(range(Label.SCHED_CONTEXT_BIND, Label.SCHED_CONTEXT_YIELD_TO + 1)),
        (OWN_SCHED_CONTEXT, OWN_SCHED_CONTEXT, 9, 12),
        (OTHER_TCB, OWN_TCB, BELL, 9),
    ),
    Form((0, 1, 2), (SHARED, VICTIM, BELL, VICTIM_BELL), SLOTS),
    Form(
        (Label.CHANNEL_CONNECT,) * 3 + (Label.CHANNEL_DISCONNECT,),
        (CHANNEL, CHANNEL, 9),
        (SHARED, SHARED, BELL, VICTIM),
    ),
    Form(
        (Label.FRAME_MAP,) * 4 + (Label.FRAME_UNMAP,),
        (PAGE, PAGE, FRAME, 9, 10, 11),
        (SPACE, SPACE, SPACE, 9, OWN_TCB),
    ),
    Form(
        (Label.FRAME_MAP_IO,) * 4 + (Label.FRAME_UNMAP,),
        (PAGE, FRAME, 9, 10, 11),
        (IO_SPACE, IO_SPACE, 9, SPACE),
    ),
    ANYTHING,
)


@dataclass(slots=True)
class Attacker:
    """Writes entries. What it writes depends on its seed alone."""

    arena: Arena
    random: random.Random

    def attack(self) -> bool:
        """One batch from one hostile thread, and what the kernel makes of it. False if none is left that can act."""
        order = self.random.sample(self.arena.hostile, HOSTILE)
        thread = next((each for each in order if self.arena.ready(each)), None)
        if thread is None:
            return False
        kind = self.random.random()
        if kind < 0.02:
            self._impossible_index(thread)
        elif kind < 0.05:
            self._noise(thread)
        else:
            for _ in range(self.random.choice((1, 1, 1, 2, 2, 4, 8, 64))):
                self._entry(thread)
        self.arena.run()
        return True

    # --- words

    def _cptr(self) -> int:
        pick = self.random.random()
        if pick < 0.95:
            return self.random.choice(SLOTS)
        if pick < 0.97:
            return self.random.choice(SLOTS) | 1 << self.random.randrange(8, 64)
        return self.random.getrandbits(self.random.choice((8, 16, 64)))

    def _among(self, likely: tuple[int, ...]) -> int:
        return self.random.choice(likely) if self.random.random() < 0.9 else self._cptr()

    def _word(self) -> int:
        pick = self.random.random()
        if pick < 0.4:
            return self.random.randrange(16)
        if pick < 0.6:
            return self.random.choice((THREAD_CNODE_BITS, 64, 1, 63, 65, 12, 14, 99, 100, 255, 256))
        if pick < 0.8:
            return self.random.choice(SLOTS)
        if pick < 0.85:
            return self.random.choice((0, abi.WORD_MASK, 1 << 63, 1 << 40, 1 << 39))
        return self.random.getrandbits(self.random.choice((10, 20, 32, 64)))

    def _words(self, label: int) -> list[int]:
        """Words for an invocation, mostly of the form that it wants."""
        words = [self._word() for _ in range(10)]
        if self.random.random() < 0.15:
            return words
        to, source, pivot = self.random.choice(FREE), self.random.choice(SLOTS), self.random.choice(SLOTS)
        depth = THREAD_CNODE_BITS
        if label == Label.UNTYPED_RETYPE:
            count = self.random.choice((1, 1, 1, 2, 3, 256))
            words[:6] = [self.random.randrange(len(abi.ObjectType)), self.random.choice(SIZES), 0, 0, to, count]
        elif label == Label.CNODE_ROTATE:
            words[:8] = [to, depth, 0, pivot, depth, 0, source, depth]
        elif Label.CNODE_COPY <= label <= Label.CNODE_MUTATE:
            words[:5] = [to, depth, source, depth, self.random.choice((15, 15, 3, self._word()))]
        elif Label.CNODE_REVOKE <= label <= Label.CNODE_CANCEL_BADGED_SENDS:
            words[:2] = [self.random.choice((to, to, source)), depth]
        elif label == Label.FRAME_MAP:
            words[:3] = [self._address(), self.random.choice((3, 3, 2, 1, 0, 15)), self.random.choice((0, 7, 1 << 40))]
        elif label == Label.FRAME_MAP_IO:
            words[:2] = [self.random.choice((3, 2, 1, 0)), self._address() - abi.MAPPING_BASE & abi.WORD_MASK]
        elif label in (Label.TCB_CONFIGURE, Label.TCB_SET_SPACE, Label.TCB_SET_IPC_BUFFER):
            words[:3] = [abi.cnode_cap_data(0, abi.WORD_BITS - depth), 0, 0]
        return words

    def _address(self) -> int:
        """Where to map: mostly where it can be, among few places."""
        pick = self.random.random()
        if pick < 0.8:
            return abi.MAPPING_BASE + self.random.randrange(16) * 4096
        if pick < 0.9:
            return abi.MAPPING_END - self.random.choice((0, 1, 4096, 8192, 1 << 14))
        return self._word()

    def _info(self, form: Form) -> int:
        if self.random.random() < 0.04:
            return self.random.getrandbits(64)
        label = self.random.choice(form.labels) if self.random.random() < 0.97 else self.random.getrandbits(52)
        length = self.random.choice((0, 1, 4, 6, 8, 8, 8, 10, 10, self.random.randrange(128)))
        return label << 12 | self.random.choice((0, 1, 2, 2, 3, 3)) << 7 | length

    def _op(self) -> int:
        pick = self.random.random()
        if pick < 0.03:
            return Syscall.LISTEN
        if pick < 0.06:
            return Syscall.FAULT
        if pick < 0.65:
            return Syscall.CALL
        if pick < 0.95:
            op: int = self.random.choice(OPS)
            return op if op not in RARELY or self.random.random() < 0.2 else Syscall.NB_SEND
        return self.random.choice((-12, 0, 1, -(1 << 31), (1 << 31) - 1, self.random.getrandbits(31)))

    # --- places

    def _entry(self, thread: Thread) -> None:
        """One submission: entry, tail, message area, capability addresses and receive slot as raw words."""
        machine, frame = self.arena.machine, thread.tcb.trap_frame
        (produced,) = struct.unpack("<I", machine.ram.read(frame + abi.SUBMIT_PRODUCED, 4))
        at = produced % abi.RING_ENTRIES * abi.RING_ENTRY_BYTES
        form = self.random.choice(FORMS)
        op, info = self._op(), self._info(form)
        words = self._words(info >> 12)
        if op == Syscall.FAULT and self.random.random() < 0.9:  # the tail of a page, an instruction, what it did
            words[:3] = [
                self._address() + self._word() % 4096 & abi.WORD_MASK,
                self._word(),
                self.random.getrandbits(20),
            ]
        flags = self.random.choice((0, 2, 2, 2, 2, 3, self.random.getrandbits(32)))
        cptr = self.random.choice((SHARED, BELL)) if op in RECEIVING else self._among(form.targets)
        entry = struct.pack("<iI7Q", op, flags, cptr, info, *words[:4], self.random.getrandbits(64))
        caps = [self._among(form.caps) for _ in range(3)]
        tail = (self._among((OWN_REPLY,)), self._cptr(), *words[4:8], *caps[:2])
        machine.ram.poke(frame + abi.SUBMIT_RING + at, entry)
        machine.poke_words(frame + abi.SUBMIT_TAILS + at, tail)
        machine.poke_words(frame + abi.IPC_MESSAGE + 4 * abi.WORD_BYTES, words[4:])
        machine.poke_words(frame + abi.IPC_CAPS_OR_BADGES, (*caps, *self._receive_slot()))
        machine.ram.poke(frame + abi.SUBMIT_PRODUCED, struct.pack("<I", produced + 1 & 0xFFFFFFFF))

    def _receive_slot(self) -> tuple[int, int, int]:
        if self.random.random() < 0.2:
            return (self._cptr(), self._word(), self._word())
        return (OWN_CNODE, self.random.choice(FREE), THREAD_CNODE_BITS)

    def _impossible_index(self, thread: Thread) -> None:
        index = self.random.getrandbits(32)
        self.arena.machine.ram.poke(thread.tcb.trap_frame + abi.SUBMIT_PRODUCED, struct.pack("<I", index))

    def _noise(self, thread: Thread) -> None:
        """The whole frame, with an index that the kernel believes, or not even that."""
        ram, frame = self.arena.machine.ram, thread.tcb.trap_frame
        ram.poke(frame, self.random.randbytes(1 << abi.TRAP_FRAME_BITS))
        if self.random.random() < 0.8:
            produced = thread.tcb.consumed + self.random.randrange(1, abi.RING_ENTRIES)
            ram.poke(frame + abi.SUBMIT_PRODUCED, struct.pack("<I", produced & 0xFFFFFFFF))
