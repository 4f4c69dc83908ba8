"""Rules of the state machine that map and unmap frames, for processes and devices, and move and end what is mapped."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights, Syscall
from tests.model.actors import Actors
from tests.model.strategies import actors
from tests.model.world import FIRST_OWNED, PAGE_COUNT, PAGES, SPACE, WINDOW, WINDOW_SLOTS, WORKER_BITS

PAGE = 4096
FREE = abi.MAPPING_BASE + (1 << abi.BOOT_INFO_FRAME_BITS)  # behind BootInfo

windows = st.integers(WINDOW, WINDOW + WINDOW_SLOTS - 1)
owned_pages = st.integers(PAGES, PAGES + PAGE_COUNT - 1)
others = st.sampled_from((InitialSlot.BOOT_INFO_FRAME, FIRST_OWNED + 24, 1))
frames = st.one_of(owned_pages, owned_pages, owned_pages, windows, others)
spaces = st.one_of(st.sampled_from((InitialSlot.VSPACE, SPACE, SPACE)), windows)
places = st.integers(0, 7).map(lambda number: FREE + number * PAGE)
edges = st.sampled_from((abi.MAPPING_BASE, abi.MAPPING_END - PAGE, abi.MAPPING_END, 0, FREE + 1, abi.WORD_MASK))
addresses = st.one_of(places, places, places, places, edges)
io_addresses = st.one_of(st.integers(0, 3).map(lambda number: number * PAGE), st.sampled_from((1, abi.IO_MAPPING_END)))
access = st.sampled_from((Rights.READ | Rights.WRITE,) * 2 + (Rights.READ, Rights.WRITE, 0, abi.WORD_MASK))
attributes = st.sampled_from((0, 0, 2, 9))
worker_slots = st.integers(9, 13)


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

    @rule(order=st.permutations(range(PAGE_COUNT)), space=st.sampled_from((InitialSlot.VSPACE, SPACE, SPACE)))
    def map_all(self, order: list[int], space: int) -> None:
        for place, number in enumerate(order):
            self.map_frame(PAGES + number, FREE + place * PAGE, Rights.ALL, 0, space)

    @rule(frame=owned_pages, rights=access)
    def map_again(self, frame: int, rights: int) -> None:
        """Where it is mapped, with other rights."""
        holding = self.pair.system.tree.at(self.pair.place(frame))
        if holding is not None and holding.mapped is not None:
            space = SPACE if holding.mapped.space != self.pair.address(InitialSlot.VSPACE) else InitialSlot.VSPACE
            self.map_frame(frame, holding.mapped.address, rights, 0, space)

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

    @rule(frame=owned_pages, copy=windows, address=places, rights=access)
    def map_copy(self, frame: int, copy: int, address: int, rights: int) -> None:
        words = (copy, abi.WORD_BITS, frame, abi.WORD_BITS, Rights.ALL)
        self.manage(InitialSlot.CNODE, Label.CNODE_COPY, words, (InitialSlot.CNODE,))
        self.map_frame(copy, address, rights, 0, SPACE)

    @rule(slots=st.permutations(range(PAGES, PAGES + PAGE_COUNT)), swaps=st.booleans())
    def rotate_pages(self, slots: list[int], swaps: bool) -> None:
        first, pivot, third = slots[:3]
        words = (first if swaps else third, 64, 0, pivot, 64, 0, first, 64)
        self.manage(InitialSlot.CNODE, Label.CNODE_ROTATE, words, (InitialSlot.CNODE, InitialSlot.CNODE))

    @rule(frame=owned_pages, to=st.one_of(owned_pages, windows), back=st.booleans())
    def move_page(self, frame: int, to: int, back: bool) -> None:
        source, destination = (to, frame) if back else (frame, to)
        words = (destination, abi.WORD_BITS, source, abi.WORD_BITS)
        self.manage(InitialSlot.CNODE, Label.CNODE_MOVE, words, (InitialSlot.CNODE,))

    @rule(frame=owned_pages, label=st.sampled_from((Label.CNODE_REVOKE, Label.CNODE_REVOKE, Label.CNODE_DELETE)))
    def end_page(self, frame: int, label: Label) -> None:
        self.manage(InitialSlot.CNODE, label, (frame, abi.WORD_BITS))

    @rule()
    def end_space(self) -> None:
        self.manage(InitialSlot.CNODE, Label.CNODE_DELETE, (SPACE, abi.WORD_BITS))

    @rule(number=actors, frame=owned_pages, slot=worker_slots, moves=st.booleans())
    def give_page(self, number: int, frame: int, slot: int, moves: bool) -> None:
        """A worker gets a page, which may be mapped, and the VSpace."""
        node = self.owned.nodes[number]
        label, more = (Label.CNODE_MOVE, ()) if moves else (Label.CNODE_COPY, (Rights.ALL,))
        self.manage(node, label, (slot, WORKER_BITS, frame, abi.WORD_BITS, *more), (InitialSlot.CNODE,))
        words = (slot + 1, WORKER_BITS, SPACE, abi.WORD_BITS, Rights.ALL)
        self.manage(node, Label.CNODE_COPY, words, (InitialSlot.CNODE,))

    @rule(number=actors, frame=worker_slots, address=addresses, rights=access, unmaps=st.booleans())
    def worker_maps(self, number: int, frame: int, address: int, rights: int, unmaps: bool) -> None:
        label, words = (Label.FRAME_UNMAP, ()) if unmaps else (Label.FRAME_MAP, (address, rights, 0))
        info = abi.message_info(label, len(words), 1)
        self.act(number, Syscall.CALL, cptr=frame, info=info, words=words, caps=(frame + 1,))
