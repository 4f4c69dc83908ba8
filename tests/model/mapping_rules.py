"""Rules of the state machine that map and unmap frames, for processes and devices; other rules move and delete them."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights, Syscall
from tests.model.actors import Actors
from tests.model.strategies import actors
from tests.model.world import FIRST_OWNED, WINDOW, WINDOW_SLOTS

PAGE = 4096
FREE = abi.MAPPING_BASE + (1 << abi.BOOT_INFO_FRAME_BITS)  # behind BootInfo

windows = st.integers(WINDOW, WINDOW + WINDOW_SLOTS - 1)
frames = st.one_of(windows, windows, windows, st.sampled_from((InitialSlot.BOOT_INFO_FRAME, FIRST_OWNED + 24, 1)))
spaces = st.one_of(st.just(InitialSlot.VSPACE), st.just(InitialSlot.VSPACE), windows)
pages = st.integers(0, 5).map(lambda number: FREE + number * PAGE)
edges = st.sampled_from((abi.MAPPING_BASE, abi.MAPPING_END - PAGE, abi.MAPPING_END, 0, FREE + 1, abi.WORD_MASK))
addresses = st.one_of(pages, pages, pages, pages, edges)
io_addresses = st.one_of(st.integers(0, 3).map(lambda number: number * PAGE), st.sampled_from((1, abi.IO_MAPPING_END)))
access = st.sampled_from((Rights.READ | Rights.WRITE,) * 2 + (Rights.READ, Rights.WRITE, 0, abi.WORD_MASK))
attributes = st.sampled_from((0, 0, 2, 9))


class MappingRules(Actors):
    """Frame.map and unmap, by the manager and by workers that were given frames."""

    @rule(slot=windows, bits=st.sampled_from((12, 12, 13)))
    def make_frame(self, slot: int, bits: int) -> None:
        words = (ObjectType.FRAME, bits, 0, 0, slot, 1)
        self.manage(self.owned.pool, Label.UNTYPED_RETYPE, words, (InitialSlot.CNODE,))

    @rule(slot=windows)
    def make_space(self, slot: int) -> None:
        words = (ObjectType.VSPACE, abi.VSPACE_MIN_BITS, 0, 0, slot, 1)
        self.manage(self.owned.pool, Label.UNTYPED_RETYPE, words, (InitialSlot.CNODE,))

    @rule(frame=frames, address=addresses, rights=access, how=attributes, space=spaces)
    def map_frame(self, frame: int, address: int, rights: int, how: int, space: int) -> None:
        self.manage(frame, Label.FRAME_MAP, (address, rights, how), (space,))

    @rule(slots=st.permutations(range(WINDOW, WINDOW + WINDOW_SLOTS)), address=pages, rights=access)
    def map_new_frame(self, slots: list[int], address: int, rights: int) -> None:
        """A frame, and a copy of it, mapped side by side."""
        self.make_frame(slots[0], 12)
        words = (slots[1], abi.WORD_BITS, slots[0], abi.WORD_BITS, Rights.ALL)
        self.manage(InitialSlot.CNODE, Label.CNODE_COPY, words, (InitialSlot.CNODE,))
        for number, slot in enumerate(slots[:2]):
            self.map_frame(slot, address + number * PAGE, rights, 0, InitialSlot.VSPACE)

    @rule(slot=windows, device=st.sampled_from((0, 1, 2, abi.WORD_MASK)))
    def make_io_space(self, slot: int, device: int) -> None:
        words = (ObjectType.IO_SPACE, abi.IO_SPACE_MIN_BITS, 0, 0, slot, 1)
        self.manage(self.owned.pool, Label.UNTYPED_RETYPE, words, (InitialSlot.CNODE,))
        self.assign(slot, device)

    @rule(space=windows, device=st.sampled_from((0, 1, 2)))
    def assign(self, space: int, device: int) -> None:
        self.manage(InitialSlot.IO_SPACE, Label.IO_SPACE_CONTROL_ASSIGN, (device,), (space,))

    @rule(frame=frames, address=io_addresses, rights=access, space=windows)
    def map_frame_for_a_device(self, frame: int, address: int, rights: int, space: int) -> None:
        self.manage(frame, Label.FRAME_MAP_IO, (rights, address), (space,))

    @rule(
        slots=st.permutations(range(WINDOW, WINDOW + WINDOW_SLOTS)),
        device=st.sampled_from((0, 1)),
        address=io_addresses,
        rights=access,
    )
    def map_new_frame_for_a_device(self, slots: list[int], device: int, address: int, rights: int) -> None:
        self.make_io_space(slots[0], device)
        self.make_frame(slots[1], 12)
        self.map_frame_for_a_device(slots[1], address, rights, slots[0])

    @rule(frame=frames)
    def unmap_frame(self, frame: int) -> None:
        self.manage(frame, Label.FRAME_UNMAP)

    @rule(number=actors, frame=st.integers(9, 15), address=addresses, space=st.integers(9, 15), unmap=st.booleans())
    def worker_maps(self, number: int, frame: int, address: int, space: int, unmap: bool) -> None:
        label, words = (Label.FRAME_UNMAP, ()) if unmap else (Label.FRAME_MAP, (address, Rights.ALL, 0))
        info = abi.message_info(label, len(words), 1)
        self.act(number, Syscall.CALL, cptr=frame, info=info, words=words, caps=(space,))
