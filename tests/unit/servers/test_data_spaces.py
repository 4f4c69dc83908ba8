"""The server of data spaces of memory and files: what clients leave behind, and what one of them can keep it from."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress

import pytest

from libsel4py import InvalidMessage
from libsel4py.abi import ObjectType
from libsel4py.capabilities import Endpoint, Notification
from libsel4py.environment import Connection
from libsel4py.files import RawFile
from libsel4py.interfaces.data_space import AT_POSITION, DataGone, DataSpaces, NoRoom, OpenData, OpenFlags
from libsel4py.interfaces.memory_object import MemoryObject
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.testing import connect
from servers.dataspaces import main as module
from servers.dataspaces.main import MOST_WAITS, Main, Memory
from servers.ramfs.main import Main as RamFS

BOTH = OpenFlags.READ | OpenFlags.WRITE
PAGE = 4096


@pytest.fixture
def main() -> Main:
    return Main()


@pytest.fixture
def server(main: Main) -> Iterator[DataSpaces]:
    with connect(main, interface=DataSpaces) as made:
        yield made


def test_one_that_cannot_be_closed_in_order_keeps_no_other_open(
    main: Main, server: DataSpaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (OpenData(server.open("memory", BOTH, PAGE)) for _ in range(2))
    second.write(0, b"kept")
    close = Memory.close

    def close_badly(memory: Memory) -> None:
        close(memory)
        if not memory.pages.bytes % (2 * PAGE):
            raise NoRoom("what was written is lost")

    monkeypatch.setattr(Memory, "close", close_badly)
    first.expand(2 * PAGE)
    with pytest.raises(NoRoom, match="is lost"):
        server.close_all()
    for each in (first, second):
        with pytest.raises(DataGone):
            each.size()
    assert main._charged("test") == 0


def test_what_was_mapped_and_hidden_is_kept_in_mind_no_more(main: Main, server: DataSpaces) -> None:
    space = OpenData(server.open("memory", BOTH, PAGE))
    for _ in range(100):
        shown = MemoryObject(space.memory(True))
        shown.init(None)
        shown.terminate()
    assert main._data is not None
    assert len(main._data.of("test")[0].objects) <= 1
    assert len(main.server.connections) <= 6


def test_pagers_that_begin_again_and_again_take_no_slots(main: Main, server: DataSpaces) -> None:
    """Each brings what it is to be signalled by, which memory of this server has no use for."""
    task = main.task
    bell = Notification(task.memory.allocate(ObjectType.NOTIFICATION).start)
    space = OpenData(server.open("memory", BOTH, PAGE))
    shown = MemoryObject(space.memory(True))
    shown.init(bell)
    free = task.slots.free_count
    for _ in range(100):
        shown.init(bell)
    assert task.slots.free_count == free
    shown.terminate()
    for _ in range(100):
        memory = space.memory(True)
        other = MemoryObject(memory)
        other.init(bell)
        other.terminate()
        task.delete(memory)
    assert task.slots.free_count >= free - 1  # a receive slot stands ready


def test_sources_that_do_not_answer_are_asked_no_more(
    main: Main, server: DataSpaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many data spaces are opened for them, by however many names."""
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    for number in range(MOST_WAITS + 2):
        nobody = Endpoint(main.task.memory.allocate(ObjectType.ENDPOINT).start)
        space = OpenData(server.open("memory", BOTH, PAGE))
        space.init_data(nobody, 0)
        with pytest.raises(NoRoom, match="cannot be had" if number < MOST_WAITS else "asked nothing more"):
            space.read(0, 8)
        space.close()
    assert main._waits["test"] == MOST_WAITS
    assert OpenData(server.open("memory", BOTH, PAGE)).read(0, 8) == bytes(8)


def test_behind_the_end_of_all_data_spaces_are_zeroes_and_nobody_is_asked(main: Main, server: DataSpaces) -> None:
    """Also where the offset would mean the source's position, or be no word."""
    space = OpenData(server.open("memory", BOTH, 2 * PAGE))
    space.init_data(Endpoint(main.task.memory.allocate(ObjectType.ENDPOINT).start), AT_POSITION)
    assert space.read(0, 8) == bytes(8)
    space.write(PAGE + 3, b"end")
    assert space.read(PAGE, 7) == b"\0\0\0end\0"
    assert not main._waits


def test_a_server_whose_slots_are_used_up_goes_on_and_refuses_capabilities(main: Main, server: DataSpaces) -> None:
    first, second = (OpenData(server.open("memory", BOTH, PAGE)) for _ in range(2))
    nobody = Endpoint(main.task.memory.allocate(ObjectType.ENDPOINT).start)
    slots, used = main.task.slots, list[int]()
    with suppress(OutOfSlots):
        while True:
            used.append(slots.allocate())
    first.init_data(nobody, 0)  # takes the last one
    assert second.size() == PAGE
    with pytest.raises(InvalidMessage, match="no slot free"):
        second.init_data(nobody, 0)
    slots.free(used.pop())
    second.init_data(nobody, 0)
    for slot in used:
        slots.free(slot)


def test_a_file_that_cannot_be_closed_in_order_keeps_no_other_open(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its medium fails when it is to have what was written last."""
    close = RawFile.close

    def close_badly(file: RawFile) -> None:
        was_open = not file.closed
        close(file)
        if was_open and file.name == "a":
            raise OSError(errno.EIO, "Input/output error", "a")

    with connect(main, interface=DataSpaces, uses={"files": RamFS}) as server:
        main.task.environment.connections["files"] = Connection(0, "")
        bad, good = (OpenData(server.open(f"files/{name}", BOTH | OpenFlags.CREATE, 0)) for name in ("a", "b"))
        monkeypatch.setattr(RawFile, "close", close_badly)
        with pytest.raises(NoRoom, match="Input/output error"):
            server.close_all()
        for each in (bad, good):
            with pytest.raises(DataGone):
                each.size()
        assert main._charged("test") == 0


def test_files_that_were_closed_leave_nothing_behind(main: Main) -> None:
    with connect(main, interface=DataSpaces, uses={"files": RamFS}) as server:
        main.task.environment.connections["files"] = Connection(0, "")
        for _ in range(100):
            OpenData(server.open("files/a", BOTH | OpenFlags.CREATE, 0)).close()
        assert len(main._contents) <= 1
        assert main._data is not None
        assert main._data.of("test") == []
