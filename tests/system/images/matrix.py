"""An initial task that tries the whole product: rights x access x what becomes of the mapping before the access.

Each cell has a frame of its own, mapped into a child of `toucher`, and into a second process, the witness, which reads
and writes it. All cells of one happening are laid, the thing happens once, and then each is tried. It asserts what the
child sees, or which VM fault it has; that its access is carried out, with what the frame held, once it may be; and what
the witness still has. It ends with 0 if all cells hold; its log names the first that does not.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from libsel4py import abi
from libsel4py.abi import ObjectType, PageFault, Rights
from libsel4py.capabilities import TCB, CNode, Frame, Reply, Untyped
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.syscalls import Message
from tests.system.images.mapper import BASE, IS_WRITE, PAGE, READ_WRITE, TOUCHED, Child, Home, Parent
from tests.system.images.toucher import C_READ, C_WRITE, EXECUTE, MAP, READ, WRITE

RIGHTS: Final = (Rights.NONE, Rights.READ, Rights.WRITE, READ_WRITE)
ACCESSES: Final = (READ, WRITE, C_READ, C_WRITE, EXECUTE)
NAMES: Final = {READ: "load", WRITE: "store", C_READ: "C read", C_WRITE: "C write", EXECUTE: "execute"}
OLD, NEW = 0xC3, 0x5A  # what the witness has written: a `ret`; what the child writes
OTHER: Final = BASE + (1 << 30)  # where the other holders have it
BLOCK_BITS: Final = 26  # of the task that maps: its address space is a quarter of it
TABLE_BITS: Final = 5  # its CNode
VSPACE_SLOT: Final = 3  # there: the child's address space; the frames follow


After: TypeAlias = Callable[[Rights], Rights | None]


def unchanged(rights: Rights) -> Rights | None:
    return rights


def gone(rights: Rights) -> Rights | None:
    return None


@dataclass(frozen=True)
class Cell:
    """``master`` is the parent of all capabilities to the frame, mapped nowhere; ``frame`` is the child's mapping."""

    number: int
    rights: Rights
    access: int
    master: Frame
    frame: Frame
    seen: Frame
    held: Frame

    @property
    def address(self) -> int:
        return BASE + self.number * PAGE

    @property
    def slot(self) -> int:
        """Of the frame, in the CNode of the task that maps."""
        return VSPACE_SLOT + 1 + self.number

    @property
    def elsewhere(self) -> int:
        return OTHER + self.number * PAGE


class Matrix:
    """One happening's cells. ``child`` touches, ``witness`` and ``other`` hold the frames too."""

    def __init__(self, parent: Parent) -> None:
        self.parent = parent
        self.reply, self.reply_of_witness = parent.reply, Reply(parent.make(ObjectType.REPLY))
        self.child, self.witness, self.other = parent.child(), parent.child(), parent.child()
        self.ended: set[Child] = set()
        self.cells = [self._cell(number, *each) for number, each in enumerate(itertools.product(RIGHTS, ACCESSES))]

    def _cell(self, number: int, rights: Rights, access: int) -> Cell:
        parent, master = self.parent, self.parent.frame()
        cell = Cell(number, rights, access, master, *(parent.copy(master) for _ in range(3)))
        cell.seen.map(cell.elsewhere, READ_WRITE, 0, vspace=self.witness.vspace)
        cell.held.map(cell.elsewhere, READ_WRITE, 0, vspace=self.other.vspace)
        parent.do(self.witness, C_WRITE, cell.elsewhere, OLD)
        return cell

    def lay(self) -> None:
        """Map each into the child, with its cell's rights."""
        for cell in self.cells:
            cell.frame.map(cell.address, cell.rights, 0, vspace=self.child.vspace)

    def lay_by_a_task(self) -> tuple[TCB, CNode, Untyped]:
        """The same, by a task that has the capabilities in a CNode of its own; and what all of it is made of."""
        parent = self.parent
        block, table = Untyped(parent.make(ObjectType.UNTYPED, BLOCK_BITS)), CNode(parent.slots.allocate())
        block.retype(ObjectType.CNODE, TABLE_BITS, parent.cnode, table.cptr)
        task = parent.child(vspace_bits=BLOCK_BITS - 2, home=Home(block, table, TABLE_BITS))
        table.copy(VSPACE_SLOT, parent.cnode, self.child.vspace.cptr, dest_depth=TABLE_BITS)
        for cell in self.cells:
            table.move(cell.slot, parent.cnode, cell.frame.cptr, dest_depth=TABLE_BITS)
            task.order(MAP, cell.address, cell.slot, VSPACE_SLOT, cell.rights)
            parent.result(task)
        return task.tcb, table, block

    # --- what happens; each returns the child's rights then, by those it had: None where nothing is mapped any more ---

    def nothing(self) -> After:
        self.lay()
        return unchanged

    def fewer(self) -> After:
        """Each is mapped again at its place, without the strongest right that it had."""

        def less(rights: Rights) -> Rights:
            return Rights.READ if rights == READ_WRITE else Rights.NONE

        self.lay()
        for cell in self.cells:
            cell.frame.map(cell.address, less(cell.rights), 0, vspace=self.child.vspace)
        return less

    def unmap(self) -> After:
        self.lay()
        for cell in self.cells:
            cell.frame.unmap()
        return gone

    def delete(self) -> After:
        self.lay()
        for cell in self.cells:
            self.parent.cnode.delete(cell.frame.cptr)
        return gone

    def revoke(self) -> After:
        """The parent of all three capabilities is revoked: the witness loses it as well."""
        self.lay()
        for cell in self.cells:
            self.parent.cnode.revoke(cell.master.cptr)
        return gone

    def holder_dies(self) -> After:
        """Another holder's process, and its address space with all mappings in it."""
        self.lay()
        assert self.parent.do(self.other, READ, self.cells[0].elsewhere) == OLD
        self.end(self.other)
        return unchanged

    def mapper_dies(self) -> After:
        """The task that mapped them, and whose capabilities they are mapped by, is destroyed with all that it had."""
        _, _, block = self.lay_by_a_task()
        self.parent.cnode.revoke(block.cptr)
        return gone

    def mapper_stops(self) -> After:
        """Its thread alone is deleted: a mapping is its capability's, whoever has asked for it."""
        tcb, table, _ = self.lay_by_a_task()
        self.parent.cnode.delete(tcb.cptr)
        for cell in self.cells:
            self.parent.cnode.move(cell.frame.cptr, table, cell.slot, src_depth=TABLE_BITS)
        return unchanged

    def child_dies(self) -> After:
        """The child's own process ends by a bug, and a new one is started in the same address space."""
        self.lay()
        self.child.order(READ, 0)
        assert self.parent.next().label == abi.FaultLabel.USER_EXCEPTION
        self.child.tcb.resume()
        return unchanged

    # --- what is seen ---

    def check(self, cell: Cell, rights: Rights | None, was_revoked: bool) -> None:
        parent, access, is_write = self.parent, cell.access, IS_WRITE.get(cell.access, False)
        toucher = parent.child(self.child.vspace) if access == EXECUTE else self.child
        toucher.order(access, cell.address, NEW)
        present = PageFault.NONE if rights is None else PageFault.PRESENT
        has = rights or Rights.NONE
        if access == EXECUTE:
            parent.fault(toucher, cell.address, PageFault.FETCH | present)
            parent.memory.free(toucher.tcb.cptr)  # nothing lets it go on
        elif Rights.READ in has and (Rights.WRITE in has or not is_write):
            assert parent.result(toucher) == (0 if is_write else OLD), "what it read"
        else:
            parent.fault(
                toucher, cell.address, (PageFault.WRITE if is_write else PageFault.NONE) | present, TOUCHED[access]
            )
            self._check_witness(cell, OLD, was_revoked)
            was_revoked = False
            self._give_back(cell, rights)
            parent.reply.send(Message())
            assert parent.result(toucher) == (0 if is_write else OLD), "what it read when it was let"
        self._check_witness(cell, NEW if is_write else OLD, was_revoked)

    def end(self, process: Child) -> None:
        self.ended.add(process)
        for thing in (process.tcb, process.vspace):
            self.parent.memory.free(thing.cptr)

    def _give_back(self, cell: Cell, rights: Rights | None) -> None:
        if rights is not None:
            cell.frame.map(cell.address, READ_WRITE, 0, vspace=self.child.vspace)
        else:
            self.parent.copy(cell.master).map(cell.address, READ_WRITE, 0, vspace=self.child.vspace)

    def _check_witness(self, cell: Cell, value: int, was_revoked: bool) -> None:
        """It has what it had; where the frame was revoked it has lost it, and its holder has the contents."""
        self.parent.reply = self.reply_of_witness  # the child's fault may wait on the other one
        self.witness.order(READ, cell.elsewhere)
        if was_revoked:
            self.parent.fault(self.witness, cell.elsewhere, PageFault.NONE)
            self.parent.copy(cell.master).map(cell.elsewhere, READ_WRITE, 0, vspace=self.witness.vspace)
            self.parent.reply.send(Message())
        assert self.parent.result(self.witness) == value, "what the witness has"
        self.parent.reply = self.reply


HAPPENINGS: Final = (
    Matrix.nothing,
    Matrix.fewer,
    Matrix.unmap,
    Matrix.delete,
    Matrix.revoke,
    Matrix.holder_dies,
    Matrix.mapper_dies,
    Matrix.mapper_stops,
    Matrix.child_dies,
)


def main(boot_info_address: int, *_: int) -> None:
    parent = Parent(bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS)))
    for happening in HAPPENINGS:
        matrix = Matrix(parent)
        after = happening(matrix)
        for cell in matrix.cells:
            try:
                matrix.check(cell, after(cell.rights), happening is Matrix.revoke)
            except AssertionError:
                print(f"{happening.__name__}, {cell.rights!r}, {NAMES[cell.access]}", flush=True)
                raise
        for process in {matrix.child, matrix.witness, matrix.other} - matrix.ended:
            matrix.end(process)
        print(f"{happening.__name__}: {len(matrix.cells)} cells hold", flush=True)
