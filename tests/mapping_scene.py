"""A machine without processes in which frames are mapped: what tests of mappings need."""

from __future__ import annotations

from typing import Final

from kerneld import caps, mapping_table
from kerneld.caps import Cap
from kerneld.mapping_table import Mapping
from kerneld.outbox import Message, Tell
from kerneld.records import VSpace
from libsel4py.abi import MAPPING_BASE, Error, InitialSlot, Label, ObjectType, Rights
from tests.harness import Machine

PAGE: Final = 4096
BASE: Final = MAPPING_BASE
READ_WRITE: Final = Rights.READ | Rights.WRITE


class MappingScene:
    """The initial task, and a VSpace that no thread is in.

    Attributes:
        space: slot of the VSpace's capability in the initial task's CNode.
    """

    def __init__(self, machine: Machine | None = None, space_bits: int = 12) -> None:
        self.machine = machine or Machine()
        self.space = self.machine.retype(ObjectType.VSPACE, space_bits)
        self.machine.tells.clear()

    def frame(self, size_bits: int = 12, count: int = 1) -> int:
        return self.machine.retype(ObjectType.FRAME, size_bits, count)

    def map(
        self, frame: int, address: int = BASE, rights: int = READ_WRITE, attributes: int = 0, space: int | None = None
    ) -> tuple[Error, tuple[int, ...]]:
        """Frame.map by the initial task; the error and its words."""
        target = self.space if space is None else space
        error, words = self.machine.root.invoke(frame, Label.FRAME_MAP, (address, rights, attributes), [target])
        return Error(error), words

    def mapped(self, address: int = BASE, size_bits: int = 12, rights: int = READ_WRITE) -> int:
        """The slot of a new frame's capability, which is mapped."""
        frame = self.frame(size_bits)
        assert self.map(frame, address, rights) == (Error.NO_ERROR, ())
        return frame

    def unmap(self, frame: int) -> None:
        self.machine.root.call(frame, Label.FRAME_UNMAP)

    def cap(self, slot: int) -> Cap:
        return caps.read(self.machine.slot(slot))

    def record(self, space: int | None = None) -> VSpace:
        return VSpace(self.machine.ram, self.machine.slot(self.space if space is None else space).object)

    def table(self, space: int | None = None) -> list[Mapping]:
        return list(mapping_table.walk(self.record(space)))

    def new_tells(self) -> list[Message]:
        """What the host was told about mappings since the last look."""
        told = [each for each in self.machine.tells if each.kind in (Tell.MAP, Tell.UNMAP)]
        self.machine.tells.clear()
        return told

    def tell(self, kind: Tell, frame: Cap, address: int, rights: int, space: int | None = None) -> Message:
        """The message that says so."""
        return Message(kind, self.record(space).address, address | rights, frame.object | frame.frame_size_bits)


ROOT_SPACE: Final = InitialSlot.VSPACE
