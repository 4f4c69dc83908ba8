"""A program's end of files as memory: what it says to the pager, and what goes wrong, as Python's errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from libsel4py.files import Files
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.mapped_files import MappedFiles
from libsel4py.testing import TestSystem, connect, restart, system
from servers.ramfs.main import Main
from tests.unit.sdk.eager_pager import EagerPager

PAGE = 4096
TEXT = bytes(range(250)) * 40  # 10,000 bytes


class Board:
    """Files, and the pager that maps them."""

    def __init__(self, made: TestSystem, files: Files, maps: MappedFiles) -> None:
        self.made, self.files, self.maps = made, files, maps

    def free(self) -> tuple[int, int]:
        task = self.made.first_task
        return task.memory.statistics().free_bytes, task.addresses.free_bytes


@pytest.fixture
def board() -> Iterator[Board]:
    with (
        system() as made,
        connect(Main, configuration={"bytes": 8 << 20, "pager": "test"}) as disk,
        connect(EagerPager, uses={"disk": disk}) as maps,
        Files(disk, made.first_task) as files,
    ):
        files.path("f").write_bytes(TEXT)
        with files.map("f", maps):
            """The pager has its session from here on."""
        yield Board(made, files, maps)


def test_it_has_the_bytes_and_what_is_stored_is_flushed(board: Board) -> None:
    free = board.free()
    with board.files.map("f", board.maps, writable=True) as file:
        assert (file.name, len(file.memory)) == ("f", len(TEXT))
        assert file.memory.read(0, len(TEXT)) == TEXT
        file.memory.write(2 * PAGE, b"stored")
        file.flush(2 * PAGE, 6)
        assert board.files.path("f").read_bytes()[2 * PAGE :] == b"stored" + TEXT[2 * PAGE + 6 :]
        with memoryview(file.memory) as view:
            view[0] = 99
    assert board.files.path("f").read_bytes()[0] == 99
    assert board.free() == free
    file.close()


def test_a_part_and_what_is_none(board: Board) -> None:
    with board.files.map("f", board.maps, PAGE, 10) as file:
        assert file.memory.read(0, 10) == TEXT[PAGE : PAGE + 10]
        for offset, length in ((-1, None), (0, 11), (11, None), (5, 6), (0, -1)):
            with pytest.raises(ValueError, match="not all in"):
                file.flush(offset, length)
    free = board.free()
    for offset, length in ((1, None), (-PAGE, None), (3 * PAGE, None), (0, 0), (0, -5), (0, len(TEXT) + 1)):
        with pytest.raises(ValueError, match="from a multiple of 4096 on"):
            board.files.map("f", board.maps, offset, length)
    with pytest.raises(ValueError, match="copy"):
        board.files.map("f", board.maps, writable=True, copy=True)
    with pytest.raises(FileNotFoundError):
        board.files.map("nowhere", board.maps)
    assert board.free() == free


def test_what_a_reader_or_a_copy_has_is_not_written(board: Board) -> None:
    with board.files.map("f", board.maps) as file, pytest.raises(TypeError):
        file.memory.write(0, b"x")
    with board.files.map("f", board.maps, copy=True) as copy:
        copy.memory.write(0, b"mine")
    assert board.files.path("f").read_bytes() == TEXT


def test_it_ends_when_nobody_uses_its_memory_and_not_before(board: Board) -> None:
    file = board.files.map("f", board.maps, writable=True)
    with memoryview(file.memory) as view:
        with pytest.raises(BufferError):
            file.close()
        view[:3] = b"yes"
    file.close()
    assert board.files.path("f").read_bytes()[:3] == b"yes"
    with pytest.raises(ValueError, match="released"):
        file.memory.read(0, 1)


def test_what_the_pager_refuses_leaves_nothing(board: Board) -> None:
    board.files.path("large").write_bytes(bytes((1 << 20) + 1))
    free = board.free()
    with pytest.raises(ValueError, match="a large file"):
        board.files.map("large", board.maps)
    assert board.free() == free


def test_a_file_is_opened_again_when_its_server_was_started_again_meanwhile(board: Board) -> None:
    raw = board.files.open_raw("f")
    restart(board.files._mounts[""].directory)
    with pytest.raises(OSError, match="Stale"):  # it was in the server's memory
        raw.hand_over(lambda each: board.maps.map(each, 1 << 45, 0, 1, 0))
    board.files.path("f").write_bytes(b"of the next life")
    with board.files.map("f", board.maps) as file:
        assert file.memory.read(0, 16) == b"of the next life"


def test_a_mapping_of_a_former_life_says_so_and_is_closed(board: Board) -> None:
    free = board.made.first_task.addresses.free_bytes
    file = board.files.map("f", board.maps, writable=True)
    restart(board.maps)
    for act in (file.flush, file.refresh, file.close):
        with pytest.raises(OSError, match="Stale") as told:
            act()
        assert (told.value.errno, told.value.filename) == (errno.ESTALE, "f")
    assert board.made.first_task.addresses.free_bytes == free
    assert endpoint_of(board.maps).cptr
