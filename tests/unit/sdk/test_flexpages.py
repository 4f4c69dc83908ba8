"""L4's map, grant and unmap on the pure kernel: what the mapping database says is what the kernel lets through."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress

import pytest

from libsel4py import Frame
from libsel4py.capabilities import VSpace
from libsel4py.errors import InvalidArgument
from libsel4py.pagers.flexpages import READ, WRITE, Flexpage, MappingDatabase, NotMapped, SpaceId, overlap
from libsel4py.pagers.frames import Wanted
from tests.unit.sdk.paging import BASE, PAGE, Client, PagingBoard, paging_board

A, B, C, D = (SpaceId(number) for number in range(4))
ONE = Flexpage(BASE, 12)
RW = READ | WRITE


class Spaces:
    """Four spaces and a database of their pages."""

    def __init__(self, board: PagingBoard) -> None:
        self.board = board
        self.clients: dict[SpaceId, Client] = {}
        self.database = MappingDatabase(board.frames)
        for number in (A, B, C, D):
            self.clients[number] = board.client(f"space {number}")
            self.database.add_space(number, self.clients[number].vspace)

    def page(self, space: SpaceId = A, address: int = BASE, rights: int = RW) -> Frame:
        """A page of the owner's that a space is handed."""
        made = self.board.frames.new(12)
        self.database.insert(made, space, address, rights)
        return made

    def rights(self, address: int = BASE) -> list[int]:
        """What each space may do, by the kernel's table, in L4's bits; the database must say the same."""
        found = []
        for number, client in self.clients.items():
            kernel = client.rights(address)
            found.append((READ if kernel & 2 else 0) | (WRITE if kernel & 1 else 0))
            assert self.database.rights(number, address) == found[-1]
        return found


@pytest.fixture
def spaces() -> Iterator[Spaces]:
    with paging_board() as board:
        yield Spaces(board)


class Anything:
    """Frames that the kernel refuses nothing of."""

    def __init__(self) -> None:
        self.dropped = 0

    def map(self, wanted: list[Wanted]) -> list[Frame]:
        return [Frame(each.address >> 12) for each in wanted]

    def remap(self, changes: list[tuple[Frame, Wanted]]) -> list[None]:
        return [None for _ in changes]

    def drop_all(self, frames: list[Frame]) -> None:
        self.dropped += len(frames)


def test_however_long_a_page_is_mapped_to_and_fro_it_is_taken_back() -> None:
    """Two tasks that map it to each other again and again, so that its owner could not have it back, nor end."""
    frames, often = Anything(), 3000
    database = MappingDatabase(frames)  # type: ignore[arg-type]  # what is called of it
    for number in (A, B, C):
        database.add_space(number, VSpace(0))

    def map_to_and_fro() -> None:
        database.map(A, ONE, B, BASE)
        for turn in range(1, often):
            source, target = (B, C) if turn % 2 else (C, B)
            come, gone = BASE + (turn - 1) // 2 * PAGE, BASE + turn // 2 * PAGE
            assert database.map(source, Flexpage(come, 12), target, gone) == 1

    page = Frame(1)
    database.insert(page, A, BASE, RW)
    map_to_and_fro()
    assert database.unmap(A, ONE) == RW
    assert frames.dropped == often
    map_to_and_fro()
    database.remove_space(A)
    assert frames.dropped == 2 * often + 1
    assert database.take_unused() == [page]


def _chain(spaces: Spaces) -> Frame:
    """A has a page, mapped it on to B, and B to C."""
    page = spaces.page()
    spaces.database.map(A, ONE, B, BASE)
    spaces.database.map(B, ONE, C, BASE)
    return page


def test_unmapping_write_takes_it_from_all_behind_and_leaves_reading(spaces: Spaces) -> None:
    _chain(spaces)
    assert spaces.rights() == [RW, RW, RW, 0]
    spaces.database.unmap(A, Flexpage(BASE, 12, WRITE))
    assert spaces.rights() == [RW, READ, READ, 0]


def test_flush_takes_the_page_from_the_space_itself_as_well(spaces: Spaces) -> None:
    _chain(spaces)
    spaces.database.unmap(A, ONE, own=True)
    assert spaces.rights() == [0, 0, 0, 0]
    with pytest.raises(NotMapped, match="space 0"):
        spaces.database.node(A, BASE)


def test_unmap_in_the_middle_leaves_those_before(spaces: Spaces) -> None:
    _chain(spaces)
    spaces.database.unmap(B, ONE)
    assert spaces.rights() == [RW, RW, 0, 0]


def test_what_was_granted_is_still_reached_by_the_root(spaces: Spaces) -> None:
    page = _chain(spaces)
    assert spaces.database.grant(B, ONE, D, BASE) == 1
    assert spaces.rights() == [RW, 0, RW, RW]
    spaces.database.unmap(A, Flexpage(BASE, 12, WRITE))
    assert spaces.rights() == [RW, 0, READ, READ]
    spaces.database.revoke(page)
    assert spaces.rights() == [0, 0, 0, 0]


def test_rights_only_shrink_on_the_way(spaces: Spaces) -> None:
    spaces.page()
    spaces.database.map(A, Flexpage(BASE, 12, READ), B, BASE)
    spaces.database.map(B, Flexpage(BASE, 12, RW | 1), C, BASE)
    assert spaces.rights() == [RW, READ, READ, 0]
    spaces.database.map(B, Flexpage(BASE, 12, WRITE), D, BASE)
    assert spaces.rights() == [RW, READ, READ, 0]


def test_mapping_again_adds_rights_but_to_nobody_behind(spaces: Spaces) -> None:
    spaces.page()
    spaces.database.map(A, Flexpage(BASE, 12, READ), B, BASE)
    spaces.database.map(B, ONE, C, BASE)
    spaces.database.map(A, ONE, B, BASE)
    assert spaces.rights() == [RW, RW, READ, 0]


def test_granting_with_fewer_rights_takes_them_from_all_behind(spaces: Spaces) -> None:
    _chain(spaces)
    spaces.database.grant(A, Flexpage(BASE, 12, READ), D, BASE)
    assert spaces.rights() == [0, READ, READ, READ]


def test_another_page_at_the_same_address_takes_the_place_of_the_former(spaces: Spaces) -> None:
    _chain(spaces)
    spaces.page(D)
    before = spaces.clients[B].physical(BASE)
    spaces.database.map(D, ONE, B, BASE)
    assert spaces.clients[B].physical(BASE) != before
    assert spaces.rights() == [RW, RW, 0, RW]


def test_a_page_cannot_come_of_itself(spaces: Spaces) -> None:
    _chain(spaces)
    for act in (spaces.database.map, spaces.database.grant):
        with pytest.raises(ValueError, match="came of"):
            act(C, ONE, A, BASE)
    assert spaces.rights() == [RW, RW, RW, 0]


def test_who_maps_pages_over_each_other_keeps_none_that_is_taken_back(spaces: Spaces) -> None:
    """B maps two pages one further in its own space: the second is gone when its turn comes, and is not sent."""
    database, second = spaces.database, Flexpage(BASE + PAGE, 12)
    for number in range(2):
        spaces.page(A, BASE + number * PAGE)
    database.map(A, Flexpage(BASE, 13), B, BASE)
    assert database.map(B, Flexpage(BASE, 13), B, BASE + PAGE) == 1
    assert spaces.rights(BASE + 2 * PAGE) == [0, 0, 0, 0]
    assert spaces.clients[B].physical(BASE + PAGE) == spaces.clients[A].physical(BASE)
    database.unmap(A, ONE)
    assert [spaces.rights(BASE + number * PAGE) for number in range(3)] == [[RW, 0, 0, 0], [RW, 0, 0, 0], [0, 0, 0, 0]]
    database.map(A, second, B, BASE + PAGE)
    assert spaces.rights(BASE + PAGE) == [RW, RW, 0, 0]


def test_a_page_that_its_sender_loses_on_the_way_is_not_sent(spaces: Spaces) -> None:
    """A's second page came of what its first one takes the place of."""
    for act, ended in ((spaces.database.map, 1), (spaces.database.grant, 2)):
        spaces.page(B)
        spaces.page(A)
        spaces.database.map(B, ONE, A, BASE + PAGE)
        free = spaces.board.slots.free_count
        assert act(A, Flexpage(BASE, 13), B, BASE) == 1
        assert spaces.rights(BASE + PAGE) == [0, 0, 0, 0]
        assert spaces.board.slots.free_count == free + ended
        spaces.database.unmap(A, ONE, own=True)
        spaces.database.unmap(B, ONE, own=True)
        assert spaces.rights() == [0, 0, 0, 0]


def test_pages_that_came_of_each_other_are_taken_back_at_once(spaces: Spaces) -> None:
    page, free = spaces.page(), spaces.board.slots.free_count
    spaces.database.map(A, ONE, A, BASE + PAGE)
    spaces.database.map(A, Flexpage(BASE + PAGE, 12), B, BASE)
    assert spaces.database.unmap(A, Flexpage(BASE, 13), own=True) == RW
    assert [spaces.rights(BASE + number * PAGE) for number in range(2)] == [[0, 0, 0, 0], [0, 0, 0, 0]]
    assert spaces.board.slots.free_count == free + 1
    assert spaces.database.take_unused() == [page]


def test_a_space_that_ends_takes_what_it_mapped_on_with_it(spaces: Spaces) -> None:
    _chain(spaces)
    spaces.database.remove_space(B)
    del spaces.clients[B]
    assert spaces.rights() == [RW, 0, 0]


def test_the_owner_hears_of_pages_that_nobody_has_any_more(spaces: Spaces) -> None:
    first, second = spaces.page(), spaces.page(A, BASE + PAGE)
    spaces.database.map(A, ONE, B, BASE)
    spaces.database.grant(B, ONE, C, BASE)
    assert spaces.database.take_unused() == []
    spaces.database.unmap(A, ONE, own=True)
    spaces.database.unmap(A, Flexpage(BASE + PAGE, 12), own=True)
    spaces.database.insert(second, B, BASE, RW)  # somebody has it again before the owner asks
    assert spaces.database.take_unused() == [first]
    assert spaces.database.take_unused() == []
    spaces.board.frames.free(first)
    spaces.database.revoke(second)
    assert spaces.database.take_unused() == []
    third = spaces.board.frames.new(12)
    with pytest.raises(InvalidArgument):
        spaces.database.insert(third, A, 0x1000, RW)
    assert spaces.database.take_unused() == [third]


def test_a_larger_flexpage_maps_the_pages_that_are_there(spaces: Spaces) -> None:
    for number in (0, 2, 3):
        spaces.page(A, BASE + number * PAGE)
    assert spaces.database.map(A, Flexpage(BASE, 14), B, BASE + (1 << 20)) == 3
    assert [spaces.clients[B].rights(BASE + (1 << 20) + number * PAGE) for number in range(4)] == [3, 0, 3, 3]
    spaces.database.unmap(A, Flexpage(BASE, 40), own=True)
    assert not any(spaces.clients[B].rights(BASE + (1 << 20) + number * PAGE) for number in range(4))


def test_what_the_kernel_refuses_changes_nothing(spaces: Spaces) -> None:
    spaces.page()
    free = spaces.board.slots.free_count
    with pytest.raises(InvalidArgument):
        spaces.database.map(A, ONE, B, 0x1000)
    assert spaces.board.slots.free_count == free
    assert spaces.rights() == [RW, 0, 0, 0]


def test_random_maps_grants_and_unmaps_agree_with_the_kernel(spaces: Spaces) -> None:
    chooser = random.Random(4)
    addresses = [BASE, BASE + PAGE]
    for number, address in enumerate(addresses):
        spaces.page(SpaceId(number), address)
    free = spaces.board.slots.free_count
    seen = [BASE + number * PAGE for number in range(4)]
    for _ in range(120):
        source, target = chooser.choice((A, B, C, D)), chooser.choice((A, B, C, D))
        base, size_bits = chooser.choice(((BASE, 12), (BASE + PAGE, 12), (BASE, 13)))
        page = Flexpage(base, size_bits, chooser.choice((READ, RW, RW, WRITE)))
        with suppress(ValueError):  # a page cannot come of itself
            match chooser.randrange(5):
                case 0 | 1:
                    spaces.database.map(source, page, target, chooser.choice(seen[:3]))
                case 2:
                    spaces.database.grant(source, page, target, chooser.choice(seen[:3]))
                case 3:
                    spaces.database.unmap(source, page)
                case _:
                    spaces.database.unmap(source, Flexpage(base, size_bits, WRITE), own=True)
        mapped = sum(right > 0 for address in seen for right in spaces.rights(address))
        assert spaces.board.slots.free_count == free + 2 - mapped


@pytest.mark.parametrize(
    ("send", "window", "hot_spot", "expected"),
    [
        (Flexpage(0x4000, 12), Flexpage(0x8000, 12), 0x123, (0x4000, 0x8000, 0x1000)),
        (Flexpage(0x4000, 12), Flexpage(0x8000, 14), 0x2FFF, (0x4000, 0xA000, 0x1000)),
        (Flexpage(0x4000, 14), Flexpage(0x8000, 12), 0x3010, (0x7000, 0x8000, 0x1000)),
        (Flexpage(0x4000, 12), Flexpage(0x8000, 14), 0xFFFF_F000, (0x4000, 0xB000, 0x1000)),
    ],
)
def test_the_hot_spot_chooses_where_sizes_differ(
    send: Flexpage, window: Flexpage, hot_spot: int, expected: tuple[int, int, int]
) -> None:
    assert overlap(send, window, hot_spot) == expected


def test_flexpages_travel_as_l4_words() -> None:
    page = Flexpage(0x1234_5000, 12, 5)
    assert Flexpage.of(page.word()) == page
    assert page.word() == 0x1234_5000 | 12 << 4 | 5
    for word in (0, 5 << 4, 0x1400 | 12 << 4, 63 << 4):
        with pytest.raises(ValueError, match="flexpage"):
            Flexpage.of(word)
