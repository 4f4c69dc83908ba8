"""littlefs as a file system for clients: the conformance suite, other people's images, a medium that fails."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from littlefs import LittleFS, lfs
from littlefs.context import UserContext

from libsel4py import component
from libsel4py.errors import InvalidCapability, RemoteError
from libsel4py.filesystem import FileSystemServer
from libsel4py.interfaces.file import DeviceFailed, FileError, Kind, NoSpace, NoSuchFile, StaleHandle
from libsel4py.littlefs import Geometry, LittleFsVolume, MemoryStore, NoFileSystem, StoreFailed, format_store
from libsel4py.littlefs.cache import AHEAD_BYTES
from libsel4py.littlefs.check import check
from libsel4py.littlefs.open_file import LONG_TAIL_BYTES
from libsel4py.testing import connect, in_background, restart, system
from libsel4py.testing.file_system import FILE_SYSTEM_CHECKS, NEEDS_RESTART, Subject, check_file_system

SIZE = 16 << 20
ONE_REPLY = 32  # which the server keeps for the next one that waits; here both have one pool


class FailingStore(MemoryStore):
    """Fails while it is told to, by this exception."""

    failing = False
    failure: Exception = StoreFailed("the disk is gone")

    def read(self, offset: int, size: int, /) -> bytes:
        self._ensure()
        return super().read(offset, size)

    def write(self, pieces: object, /) -> None:
        self._ensure()
        super().write(pieces)  # type: ignore[arg-type]

    def flush(self) -> None:
        self._ensure()
        super().flush()

    def _ensure(self) -> None:
        if self.failing:
            raise self.failure


def made(size: int = SIZE) -> FailingStore:
    store = FailingStore(size)
    format_store(store)
    return store


@pytest.mark.parametrize("name", FILE_SYSTEM_CHECKS)
def test_it_is_a_file_system(name: str) -> None:
    store = made()

    @component
    class Main(FileSystemServer):
        def start(self) -> None:
            self.serve_volume(LittleFsVolume(store))

    with system() as fake, connect(Main) as directory:
        task = fake.first_task
        before = task.memory.statistics().free_bytes
        subject = Subject(directory, task, in_background, restart=lambda: restart(directory))
        assert check_file_system(subject, name) == [name]
        if name not in NEEDS_RESTART:  # the fake system has nobody who clears up behind a server
            assert before - task.memory.statistics().free_bytes <= ONE_REPLY, "the client's memory is not all back"


def plain(data: bytearray, geometry: Geometry) -> LittleFS:
    """The same bytes by the library alone."""
    return LittleFS(UserContext(buffer=data), block_size=geometry.block_bytes, block_count=geometry.blocks, mount=False)


def test_the_plain_library_reads_what_we_write_and_we_what_it_writes() -> None:
    store = made()
    volume = LittleFsVolume(store)
    volume.make_directory("docs")
    big = random.Random(1).randbytes(1_000_000)
    file = volume.open("docs/big", create=True, exclusive=True)
    file.write(0, big)
    file.close()
    volume.close()
    theirs = plain(store.data, Geometry.of(SIZE))
    theirs.mount()
    with theirs.open("docs/big", "rb") as reader:
        assert reader.read() == big
    with theirs.open("docs/small", "wb") as writer:
        writer.write(b"theirs")
    theirs.unmount()
    again = LittleFsVolume(store)
    assert sorted(entry.name for entry in again.list("docs")) == ["big", "small"]
    assert bytes(again.open("docs/small", create=False, exclusive=False).read(0, 100)) == b"theirs"


@pytest.mark.parametrize("block_bytes", [512, 4096, 65536])
def test_an_image_with_blocks_of_another_size_is_read(block_bytes: int) -> None:
    data = bytearray(64 * block_bytes)
    theirs = plain(data, Geometry(block_bytes, 64))
    theirs.format()
    theirs.mount()
    with theirs.open("f", "wb") as writer:
        writer.write(b"x" * 3000)
    theirs.unmount()
    volume = LittleFsVolume(MemoryStore(data=data))
    assert volume.stat("f").size == 3000
    assert volume.space().block_bytes == block_bytes


def test_a_store_without_a_file_system_says_so() -> None:
    with pytest.raises(NoFileSystem, match="disk create"):
        LittleFsVolume(MemoryStore(1 << 20))
    with pytest.raises(ValueError, match="too few"):
        format_store(MemoryStore(4096))


def test_what_is_not_synced_is_not_written_and_what_is_written_is_flushed() -> None:
    store = made()
    volume = LittleFsVolume(store)
    file = volume.open("f", create=True, exclusive=True)
    file.sync()
    store.log = []
    file.write(0, b"x" * 100_000)
    assert None not in store.log
    file.sync()
    assert store.log[-1] is None
    store.log = []
    file.sync()
    assert store.log == []


FAILURES = [StoreFailed("gone"), RemoteError("KeyError", "7"), InvalidCapability(0), MemoryError("no more")]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: type(each).__name__)
def test_whatever_the_store_raises_no_byte_is_made_up_and_no_sync_said_to_be_done(failure: Exception) -> None:
    """littlefs hears of no exception: it would go on as if the store had done what it was asked."""
    store = made()
    store.failure = failure
    volume = LittleFsVolume(store)
    former, new = (random.Random(seed).randbytes(1_000_000) for seed in (1, 2))
    file = volume.open("f", create=True, exclusive=True)
    file.write(0, former)
    volume.close()
    for at in range(0, len(former), 100_000):
        file = LittleFsVolume(store).open("f", create=False, exclusive=False)  # of which nothing is in memory
        store.failing = True
        with pytest.raises(DeviceFailed):
            file.read(at, 4096)
        store.failing = False
        with pytest.raises(StaleHandle):
            file.read(at, 4096)
    file = LittleFsVolume(store).open("f", create=False, exclusive=False)
    file.write(0, new)
    store.failing = True
    with pytest.raises(DeviceFailed):
        file.sync()
    store.failing = False
    with pytest.raises(StaleHandle):
        file.sync()
    again = LittleFsVolume(store).open("f", create=False, exclusive=False)
    assert bytes(again.read(0, len(former))) == former


def test_a_file_keeps_its_bytes_when_it_is_renamed_and_is_stale_when_it_is_replaced() -> None:
    volume = LittleFsVolume(made())
    volume.make_directory("a")
    one, two = (volume.open(f"a/{name}", create=True, exclusive=True) for name in ("one", "two"))
    one.write(0, b"1" * 20_000)
    two.write(0, b"2")
    volume.rename("a", "b")
    one.write(20_000, b"more")
    volume.rename("b/one", "b/two")
    assert bytes(one.read(19_999, 10)) == b"1more"
    with pytest.raises(StaleHandle):
        two.read(0, 1)
    volume.remove("b/two")
    with pytest.raises(StaleHandle):
        one.size()
    assert list(volume.list("b")) == []


def test_a_medium_that_fails_is_told_and_mounted_again_when_it_is_back() -> None:
    store = made()
    volume = LittleFsVolume(store, cache_bytes=0)
    for number in range(40):
        file = volume.open(f"f{number}", create=True, exclusive=True)
        file.write(0, bytes([number]) * 100_000)
        file.close()
    file = volume.open("f1", create=False, exclusive=False)
    store.failing = True

    def read_all() -> None:
        for number in range(40):
            volume.open(f"f{number}", create=False, exclusive=False).read(0, 100_000)

    with pytest.raises(DeviceFailed):
        read_all()
    for attempt in (lambda: volume.stat("f30"), lambda: volume.make_directory("d")):
        with pytest.raises(DeviceFailed):
            attempt()
    store.failing = False
    with pytest.raises(StaleHandle):
        file.read(0, 10)
    assert volume.stat("f30").size == 100_000
    assert bytes(volume.open("f30", create=False, exclusive=False).read(99_999, 2)) == bytes([30])
    volume.make_directory("d")
    assert volume.stat("d").kind is Kind.DIRECTORY


def test_a_full_disk_is_no_space_and_goes_on() -> None:
    volume = LittleFsVolume(made(1 << 20))
    file = volume.open("f", create=True, exclusive=True)

    def fill() -> None:
        for at in range(0, 2 << 20, 65536):
            file.write(at, bytes(65536))

    with pytest.raises(NoSpace):
        fill()
    file.close()
    volume.remove("f")
    again = volume.open("g", create=True, exclusive=True)
    again.write(0, b"fits")
    again.sync()
    assert volume.stat("g").size in (0, 4)
    assert again.size() == 4


def test_random_work_is_what_a_dictionary_says() -> None:
    randomly, store = random.Random(5), made(4 << 20)
    volume, wanted = LittleFsVolume(store, cache_bytes=0), dict[str, bytes]()
    for step in range(600):
        name, other = (randomly.choice("abcdef") for _ in range(2))
        try:
            match randomly.randrange(4):
                case 0:
                    data = randomly.randbytes(randomly.randrange(60_000))
                    file = volume.open(name, create=True, exclusive=False)
                    file.truncate(0)
                    file.write(0, data)
                    file.close()
                    wanted[name] = data
                case 1 if name != other:
                    volume.rename(name, other)
                    wanted[other] = wanted.pop(name)
                case 2:
                    volume.remove(name)
                    del wanted[name]
                case 3:
                    volume = LittleFsVolume(store, cache_bytes=0)
        except FileError:
            assert name not in wanted
        if step % 20 == 0:
            found = {entry.name: entry.size for entry in volume.list("")}
            assert found == {name: len(data) for name, data in wanted.items()}
    for name, data in wanted.items():
        assert bytes(volume.open(name, create=False, exclusive=False).read(0, 100_000)) == data


def test_a_volume_that_is_dropped_leaves_no_memory() -> None:
    store = MemoryStore(1 << 20)
    format_store(store)
    before = Path("/proc/self/statm").read_text().split()[1]
    for _ in range(2000):
        LittleFsVolume(store)
        check(store)
    pages = int(Path("/proc/self/statm").read_text().split()[1]) - int(before)
    assert pages * os.sysconf("SC_PAGE_SIZE") < 16 << 20  # littlefs has two blocks of 16 KiB for each mount


def test_a_file_s_size_is_what_it_has_after_a_write_that_did_not_fit() -> None:
    volume = LittleFsVolume(made(256 << 10))
    file = volume.open("full", create=True, exclusive=True)

    def fill() -> None:
        for at in range(100):
            file.write(at * 8192, b"x" * 8192)

    with pytest.raises(NoSpace):
        fill()
    size = file.size()
    assert 0 < size < 256 << 10
    assert len(file.read(0, 1 << 20)) == size
    file.truncate(10)
    file.write(20, b"end")
    assert (file.size(), file.read(0, 100)) == (23, b"x" * 10 + bytes(10) + b"end")


def test_work_within_a_large_file_is_what_a_bytearray_says_and_what_is_on_the_medium_is_what_was_synced() -> None:
    randomly, store = random.Random(11), made(4 << 20)
    volume = LittleFsVolume(store, cache_bytes=0)
    name, other = "f", "g"
    file = volume.open(name, create=True, exclusive=True)
    wanted, synced = bytearray(), b""
    for _ in range(400):
        at, data = randomly.randrange(len(wanted) + 1), randomly.randbytes(randomly.randrange(40_000))
        match randomly.randrange(8):
            case 0 | 1 | 2 if len(wanted) < 400_000:
                for start in range(0, len(data), 9_000):  # several that follow each other
                    file.write(at + start, data[start : start + 9_000])
                wanted[at : at + len(data)] = data
            case 3:
                assert bytes(file.read(at, 20_000)) == wanted[at : at + 20_000]
            case 4:
                size = randomly.choice((at, len(wanted) + 30_000))
                file.truncate(size)
                wanted = wanted[:size] + bytes(max(0, size - len(wanted)))
            case 5:
                file.sync()
                synced = bytes(wanted)
            case 6:
                volume.rename(name, other)
                name, other, synced = other, name, bytes(wanted)
            case 7:
                file.close()
                file, synced = volume.open(name, create=False, exclusive=False), bytes(wanted)
        assert file.size() == len(wanted)
        lost = LittleFsVolume(MemoryStore(data=bytearray(store.data)))
        assert bytes(lost.open(name, create=False, exclusive=False).read(0, 1 << 20)) == synced
    assert bytes(file.read(0, 1 << 20)) == wanted


def test_what_lies_behind_a_write_is_written_in_large_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = LittleFsVolume(made(), cache_bytes=8 << 20)
    file = volume.open("f", create=True, exclusive=True)
    file.write(0, b"old" * 500_000)
    file.sync()
    file.write(0, b"new" * 1000)
    sizes: list[int] = []
    write = lfs.file_write

    def counted(system: lfs.LFSFilesystem, handle: lfs.LFSFile, data: bytes) -> int:
        sizes.append(len(data))
        return write(system, handle, data)

    monkeypatch.setattr(lfs, "file_write", counted)
    file.sync()
    assert sum(sizes) == 1_497_000
    assert len(sizes) < 30


def test_a_medium_that_fails_under_what_lies_behind_a_write() -> None:
    store = made()
    volume = LittleFsVolume(store, cache_bytes=0)
    file = volume.open("f", create=True, exclusive=True)
    file.write(0, b"old" * 500_000)
    file.sync()
    file.write(0, b"new")
    store.failing = True
    with pytest.raises(DeviceFailed):
        file.sync()
    store.failing = False
    with pytest.raises(StaleHandle):
        file.sync()
    with pytest.raises(StaleHandle, match="what was not synced is lost"):
        file.close()
    assert bytes(volume.open("f", create=False, exclusive=False).read(0, 6)) == b"oldold"


def test_a_disk_that_is_too_full_for_what_lies_behind_a_write_keeps_the_old_file() -> None:
    store = made(1 << 20)
    volume = LittleFsVolume(store)
    file = volume.open("f", create=True, exclusive=True)
    file.write(0, b"old" * 200_000)
    file.sync()
    file.write(0, b"new")
    for _ in range(2):
        with pytest.raises(NoSpace):
            file.sync()
    with pytest.raises(NoSpace):
        file.close()  # who closes it need not be who was told
    again = volume.open("f", create=False, exclusive=False)
    again.write(0, b"new")
    with pytest.raises(NoSpace):
        again.close()
    again = volume.open("f", create=False, exclusive=False)
    assert bytes(again.read(0, 1 << 20)) == b"old" * 200_000


class CountingStore(MemoryStore):
    """Counts its reads."""

    reads = 0

    def read(self, offset: int, size: int, /) -> bytes:
        self.reads += 1
        return super().read(offset, size)


def test_the_first_write_after_a_mount_reads_the_tree_once_and_in_large_pieces() -> None:
    """littlefs looks which blocks are free then, from each file's end to its beginning: a server's successor waits."""
    store, size = CountingStore(96 << 20), 40 << 20
    format_store(store)
    volume = LittleFsVolume(store)
    file = volume.open("f", create=True, exclusive=True)
    for start in range(0, size, 1 << 20):
        file.write(start, bytes(1 << 20))
    file.close()
    volume.close()
    volume = LittleFsVolume(store)
    store.reads = 0
    file = volume.open("g", create=True, exclusive=True)
    file.write(0, bytes(1 << 20))
    file.close()
    assert store.reads < 2 * size // AHEAD_BYTES
    volume.close()


def test_a_file_that_was_closed_is_opened_without_a_look_up_and_its_size_is_what_it_was_left_with() -> None:
    store = made()
    volume = LittleFsVolume(store)
    asked: list[str] = []
    call = volume.call

    def watched(function: object, *arguments: object) -> object:
        asked.append(getattr(function, "__name__", ""))
        return call(function, *arguments)  # type: ignore[arg-type]  # as it was called

    volume.call = watched  # type: ignore[method-assign,assignment]  # to see what littlefs is asked
    for size, change in ((700, 900), (900, 300), (300, 0), (0, 5000)):
        file = volume.open("file", create=True, exclusive=False)
        if size == 700:
            file.write(0, bytes(size))
            file.close()
            file = volume.open("file", create=False, exclusive=False)
        asked.clear()
        assert volume.stat("file").size == size
        file.truncate(change)
        file.sync()
        assert volume.stat("file").size == change
        file.close()
        asked.clear()
        file = volume.open("file", create=False, exclusive=False)
        assert (asked, file.size()) == (["file_open"], change)
        assert LittleFsVolume(store).stat("file").size == change
        file.close()
    volume.remove("file")
    with pytest.raises(NoSuchFile):
        volume.open("file", create=False, exclusive=False)


def test_a_file_that_cannot_be_closed_is_looked_up_again() -> None:
    store = made()
    volume = LittleFsVolume(store)
    file = volume.open("file", create=True, exclusive=False)
    file.write(0, bytes(700))
    file.sync()
    file.write(700, bytes(700))
    store.failing = True
    with pytest.raises(DeviceFailed):
        file.close()
    store.failing = False
    assert volume.stat("file").size == 700
    assert volume.open("file", create=False, exclusive=False).size() == 700


def test_a_second_change_of_a_long_file_is_not_copied_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies behind it is written by large pieces, each time: littlefs' own copy takes six times as long."""
    store = made(80 << 20)
    volume = LittleFsVolume(store)
    file = volume.open("f", create=True, exclusive=True)
    data = bytearray(random.Random(3).randbytes(1 << 20) * (LONG_TAIL_BYTES + (1 << 20) >> 20))
    file.write(0, bytes(data))
    file.sync()
    written, write = 0, lfs.file_write

    def counted(system: object, handle: object, piece: bytes) -> int:
        nonlocal written
        written += len(piece)
        return write(system, handle, piece)

    monkeypatch.setattr(lfs, "file_write", counted)
    for change in (b"first", b"second", b"third"):
        before = written
        file.write(7, change)
        data[7 : 7 + len(change)] = change
        assert file.read(len(data) - 5, 5) == data[-5:]
        assert written - before == len(data) - 7
    found = LittleFsVolume(MemoryStore(data=bytearray(store.data))).open("f", create=False, exclusive=False)
    assert found.read(7, 6) == b"second", "as it was before the last change"
    file.close()
    found = LittleFsVolume(MemoryStore(data=bytearray(store.data))).open("f", create=False, exclusive=False)
    assert found.read(0, len(data)) == data
    assert check(store).problems == []
