"""A littlefs that is full: what was accepted before is kept, who has no room is told, and room can be made again."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from libsel4py import component
from libsel4py.files import Files
from libsel4py.filesystem import FileSystemServer
from libsel4py.interfaces.file import NameTooLong, NoSpace, StaleHandle, TooManyOpen, Unfinished
from libsel4py.littlefs import LittleFsVolume, MemoryStore, format_store
from libsel4py.littlefs import volume as littlefs_volume
from libsel4py.littlefs.check import check
from libsel4py.littlefs.open_file import MOST_GAP_BYTES, LittleFsFile
from libsel4py.littlefs.volume import MOST_AWAKE
from libsel4py.testing import connect, system
from libsel4py.testing.file_system import Subject

OLD = b"old" * 200_000  # in 1 MiB there is no second one of it


def empty(size: int = 1 << 20) -> tuple[MemoryStore, LittleFsVolume]:
    store = MemoryStore(size)
    format_store(store)
    return store, LittleFsVolume(store)


def names(volume: LittleFsVolume) -> dict[str, int]:
    return {entry.name: entry.size for entry in volume.list("")}


def on_medium(store: MemoryStore, name: str) -> bytes:
    """What the next life of the file system finds."""
    volume = LittleFsVolume(MemoryStore(data=bytearray(store.data)))
    return bytes(volume.open(name, create=False, exclusive=False).read(0, 1 << 20))


def with_what_cannot_be_kept(volume: LittleFsVolume) -> LittleFsFile:
    """A file ``f`` whose last write littlefs has taken, and has no blocks for."""
    file = volume.open("f", create=True, exclusive=True)
    file.write(0, OLD)
    file.sync()
    file.write(0, b"new")
    return file


def close(volume: LittleFsVolume, file: LittleFsFile) -> str:
    file.close()
    return "f"


def rename(volume: LittleFsVolume, file: LittleFsFile) -> str:
    volume.rename("f", "g")
    assert bytes(file.read(0, 3)) == b"yes"
    return "g"


@pytest.mark.parametrize("end", [close, rename])
@pytest.mark.parametrize("is_cut", [False, True])
def test_what_was_written_before_a_write_that_did_not_fit_is_kept(
    is_cut: bool, end: Callable[[LittleFsVolume, LittleFsFile], str]
) -> None:
    store, volume = empty(256 << 10)
    file = volume.open("f", create=True, exclusive=True)
    file.write(0, b"yes" * 10_000)
    with pytest.raises(NoSpace):
        file.truncate(300_000) if is_cut else file.write(30_000, b"no" * 200_000)
    size = file.size()
    name = end(volume, file)
    found = on_medium(store, name)
    assert found[:30_000] == b"yes" * 10_000
    assert len(found) == size == names(volume)[name]


def test_behind_a_cut_that_did_not_fit_bytes_are_where_they_are() -> None:
    _, volume = empty(256 << 10)
    file = volume.open("f", create=True, exclusive=True)
    file.write(0, b"yes")
    file.close()
    file = volume.open("f", create=False, exclusive=False)
    with pytest.raises(NoSpace):
        file.truncate(300_000)
    assert len(file.read(0, 1 << 20)) == file.size()
    assert bytes(file.read(0, 3)) == b"yes"


def test_a_file_that_no_disk_of_this_size_can_have_is_refused_at_once() -> None:
    """littlefs would fill the disk with zeroes first, and answer nobody meanwhile."""
    _, volume = empty()
    file = volume.open("f", create=True, exclusive=True)
    for act in (lambda: file.truncate((1 << 20) + 1), lambda: file.write((1 << 31) - 2, b"x")):
        with pytest.raises(NoSpace):
            act()
    assert file.size() == 0
    free = volume.space().free_blocks
    file.close()
    assert volume.space().free_blocks == free


@pytest.mark.parametrize("is_written", [False, True])
def test_a_long_gap_is_filled_in_parts_between_which_others_are_served(is_written: bool) -> None:
    _, volume = empty(48 << 20)
    file, size = volume.open("f", create=True, exclusive=True), 3 * MOST_GAP_BYTES
    file.write(0, b"begin")

    def ask() -> None:
        file.write(size, b"end") if is_written else file.truncate(size)

    for _ in range(3):
        before = file.size()
        try:
            ask()
        except Unfinished:
            assert file.size() == before + MOST_GAP_BYTES
            assert bytes(file.read(0, 9)) == b"begin\0\0\0\0"
    assert file.size() == (size + 3 if is_written else size)
    assert bytes(file.read(size - 2, 9)) == (b"\0\0end" if is_written else b"\0\0")


def test_a_program_does_not_see_that_a_gap_is_filled_in_parts() -> None:
    _, volume = empty(48 << 20)

    @component
    class Main(FileSystemServer):
        def start(self) -> None:
            self.serve_volume(volume)

    with system() as made, connect(Main) as directory, Files(directory, made.first_task) as files:
        size = 2 * MOST_GAP_BYTES + 5
        with files.open("cut", "wb") as cut, files.open("written", "wb") as written:
            cut.truncate(size)
            written.seek(size)
            written.write(b"end")
        assert (files.stat("cut").size, files.stat("written").size) == (size, size + 3)
        with pytest.raises(OSError, match="No space"), files.open("cut", "r+b", buffering=0) as file:
            file.truncate(64 << 20)


def test_many_open_files_take_no_more_memory_than_some() -> None:
    """A client lends 512 bytes for each, and littlefs takes a block: 16 KiB."""
    _, volume = empty(16 << 20)
    for folder in range(15):
        volume.make_directory(f"{folder}")
        for number in range(100):
            file = volume.open(f"{folder}/{number}", create=True, exclusive=True)
            file.write(0, b"%d of %d" % (number, folder))
            file.close()
    before = Path("/proc/self/statm").read_text().split()[1]
    opened = {path: volume.open(path, create=False, exclusive=False) for path in all_files(volume)}
    pages = int(Path("/proc/self/statm").read_text().split()[1]) - int(before)
    assert pages * os.sysconf("SC_PAGE_SIZE") < 2 * MOST_AWAKE * (16 << 10) < len(opened) * (16 << 10)
    for path, file in opened.items():
        file.write(file.size(), b".")
        assert bytes(file.read(0, 100)) == b"%d of %d." % tuple(int(each) for each in reversed(path.split("/")))
    volume.rename("3", "moved")
    for path, file in opened.items():
        file.close()
        now = path.replace("3/", "moved/") if path.startswith("3/") else path
        assert volume.stat(now).size == len(b"%d of %d." % tuple(int(each) for each in reversed(path.split("/"))))


def all_files(volume: LittleFsVolume) -> list[str]:
    return [f"{folder.name}/{file.name}" for folder in volume.list("") for file in volume.list(folder.name)]


def test_files_that_nothing_can_be_kept_of_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(littlefs_volume, "MOST_AWAKE", 2)
    monkeypatch.setattr(littlefs_volume, "MOST_UNKEPT", 4)
    _, volume = empty()

    def no_room(file: LittleFsFile) -> None:
        raise NoSpace("for what was written to it")

    with monkeypatch.context() as patched:
        patched.setattr(LittleFsFile, "sleep", no_room)
        opened = [volume.open(name, create=True, exclusive=True) for name in "abcd"]
        for file in opened:
            file.write(0, b"bytes")
        with pytest.raises(TooManyOpen):
            volume.open("e", create=True, exclusive=True)
        assert "e" not in names(volume)
    opened.append(volume.open("e", create=True, exclusive=True))
    assert [bytes(file.read(0, 9)) for file in opened] == [b"bytes"] * 4 + [b""]


def test_a_rename_of_what_cannot_be_kept_is_refused_and_loses_nothing() -> None:
    _, volume = empty()
    file = with_what_cannot_be_kept(volume)
    other = volume.open("other", create=True, exclusive=True)
    other.write(0, b"x")
    with pytest.raises(NoSpace):
        volume.rename("f", "other")
    assert names(volume).keys() == {"f", "other"}
    assert file.size() == len(OLD)
    assert bytes(other.read(0, 2)) == b"x"  # what would have been replaced is open still
    with pytest.raises(NoSpace):
        file.sync()


def test_a_file_whose_last_write_does_not_fit_can_be_removed() -> None:
    _, volume = empty()
    file = with_what_cannot_be_kept(volume)
    volume.remove("f")
    assert names(volume) == {}
    with pytest.raises(StaleHandle):
        file.size()
    again = volume.open("again", create=True, exclusive=True)
    again.write(0, OLD)
    again.close()
    assert names(volume) == {"again": len(OLD)}


def test_a_file_whose_last_write_does_not_fit_can_be_replaced() -> None:
    store, volume = empty()
    with_what_cannot_be_kept(volume)
    other = volume.open("other", create=True, exclusive=True)
    other.write(0, b"the new one")
    other.close()
    volume.rename("other", "f")
    assert on_medium(store, "f") == b"the new one"


def test_what_one_client_cannot_keep_keeps_no_other_s_from_the_medium() -> None:
    store, volume = empty()
    with_what_cannot_be_kept(volume)
    other = volume.open("other", create=True, exclusive=True)
    other.write(0, b"fits")
    with pytest.raises(NoSpace):
        volume.sync()
    assert on_medium(store, "other") == b"fits"


def test_a_file_is_replaced_whatever_other_clients_cannot_keep() -> None:
    store, volume = empty()

    @component
    class Main(FileSystemServer):
        def start(self) -> None:
            self.serve_volume(volume)

    with system() as made, connect(Main) as directory:
        task = made.first_task
        with Files(directory, task, pool_bits=13) as others, Files(directory, task, pool_bits=13) as files:
            others.path("f").write_bytes(OLD)
            theirs = others.open_raw("f", "r+b")
            theirs.sync()
            theirs.write(b"new")
            files.replace_file("state", "of this client")
            assert on_medium(store, "state") == b"of this client"
            with pytest.raises(OSError, match="No space"):
                files.sync()
            with pytest.raises(OSError, match="No space"):
                theirs.close()


def full_of_names() -> MemoryStore:
    """No block is free, and the root's own has no room for a name of 45 letters."""
    store, volume = empty(256 << 10)
    file = volume.open("big", create=True, exclusive=True)

    def fill() -> None:
        for at in range(0, 512 << 10, 4096):
            file.write(at, bytes(4096))

    with pytest.raises(NoSpace):
        fill()
    file.close()

    def add_names() -> None:
        for number in range(1000):
            volume.open(f"{number:04}" + "x" * 41, create=True, exclusive=True).close()

    with pytest.raises(NoSpace):
        add_names()
    volume.close()
    return store


def test_no_room_for_a_name_is_no_space_and_a_name_that_is_too_long_is_that() -> None:
    volume = LittleFsVolume(full_of_names())
    for make in (lambda: volume.open("y" * 45, create=True, exclusive=True), lambda: volume.make_directory("y" * 45)):
        with pytest.raises(NoSpace):
            make()
    with pytest.raises(NameTooLong):
        volume.open("y" * 256, create=True, exclusive=True)


def test_a_name_that_has_no_room_for_its_mark_is_not_there() -> None:
    """Without it the file would be taken for the one that had the name before."""
    store, fitted, refused = full_of_names(), 0, 0
    for length in range(1, 46):
        volume, name = LittleFsVolume(MemoryStore(data=bytearray(store.data))), "y" * length
        before = names(volume)
        try:
            volume.open(name, create=True, exclusive=True).close()
        except NoSpace:
            continue
        volume.remove(name)
        fitted += 1
        try:
            volume.open(name, create=True, exclusive=True).close()
        except NoSpace:
            refused += 1
            assert names(volume) == before
    assert 0 < refused < fitted


class Worker:
    """Works on few files of a small disk at random, and knows what each of them has to have."""

    def __init__(self, seed: int) -> None:
        self.randomly = random.Random(seed)
        self.store, self.volume = empty(384 << 10)
        self.wanted: dict[str, bytes] = {}
        self.opened: dict[str, LittleFsFile] = {}
        self.refused = 0

    def step(self) -> None:
        name = self.randomly.choice("abcde")
        act = self.randomly.choice([self.write] * 4 + [self.truncate, self.sync, self.close, self.remove, self.rename])
        if act == self.write or name in (self.wanted if act in (self.remove, self.rename) else self.opened):
            act(name)

    def write(self, name: str) -> None:
        if name not in self.opened:
            try:
                self.opened[name] = self.volume.open(name, create=True, exclusive=False)
            except NoSpace:
                return
        former = self.wanted.setdefault(name, b"")
        offset = self.randomly.choice([0, 100, len(former), 20_000, 60_000])
        data = bytes([self.randomly.randrange(1, 256)]) * self.randomly.choice([10, 1000, 30_000, 90_000])
        try:
            self.opened[name].write(offset, data)
        except NoSpace:
            self.look_again(name, former[:offset])
        else:
            self.wanted[name] = former[:offset].ljust(offset, b"\0") + data + former[offset + len(data) :]

    def truncate(self, name: str) -> None:
        size = self.randomly.choice([0, 10, 50_000])
        try:
            self.opened[name].truncate(size)
        except NoSpace:
            self.look_again(name, self.wanted[name])
        else:
            self.wanted[name] = self.wanted[name][:size].ljust(size, b"\0")

    def sync(self, name: str) -> None:
        try:
            self.opened[name].sync()
        except NoSpace:
            self.refused += 1
        else:
            assert on_medium(self.store, name) == self.wanted[name]

    def close(self, name: str) -> None:
        try:
            self.opened.pop(name).close()
        except NoSpace:
            self.refused += 1
            self.wanted[name] = on_medium(self.store, name)
        else:
            assert on_medium(self.store, name) == self.wanted[name]

    def remove(self, name: str) -> None:
        self.volume.remove(name)
        del self.wanted[name]
        self.ends(name)

    def rename(self, name: str) -> None:
        new = self.randomly.choice([each for each in "abcde" if each != name])
        try:
            self.volume.rename(name, new)
        except NoSpace:
            self.refused += 1
            return
        self.ends(new)
        self.wanted[new] = self.wanted.pop(name)
        if name in self.opened:
            self.opened[new] = self.opened.pop(name)
        assert on_medium(self.store, new) == self.wanted[new]

    def ends(self, name: str) -> None:
        """Its file has no name any more."""
        if name in self.opened:
            self.opened.pop(name).close()

    def look_again(self, name: str, kept: bytes) -> None:
        """Behind what did not fit: a part may be there, but what lay before it is."""
        self.refused += 1
        try:
            self.wanted[name] = bytes(self.opened[name].read(0, 1 << 20))
        except NoSpace:
            self.close(name)
        else:
            assert self.wanted[name].startswith(kept)

    def look_at_all(self) -> None:
        for name, file in self.opened.items():
            with suppress(NoSpace):
                assert bytes(file.read(0, 1 << 20)) == self.wanted[name]


@pytest.mark.parametrize("awake", [1, 2, MOST_AWAKE])
def test_random_work_on_a_full_disk_is_kept_or_its_client_is_told(monkeypatch: pytest.MonkeyPatch, awake: int) -> None:
    monkeypatch.setattr(littlefs_volume, "MOST_AWAKE", awake)
    refused = 0
    for seed in range(40):
        worker = Worker(seed)
        free = worker.volume.space().free_blocks
        for _ in range(60):
            worker.step()
            worker.look_at_all()
        for name in list(worker.wanted):
            worker.remove(name)
        assert worker.volume.space().free_blocks == free
        health = check(worker.store)
        assert (health.problems, health.orphans) == ([], 0)
        refused += worker.refused
    assert refused > 40


def test_who_takes_its_memory_back_while_a_write_finds_no_room_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, volume = empty()

    @component
    class Main(FileSystemServer):
        def start(self) -> None:
            self.serve_volume(volume)

    write = LittleFsFile.write

    def takes_back(file: LittleFsFile, offset: int, data: bytes) -> None:
        monkeypatch.setattr(LittleFsFile, "write", write)
        client.pool.take_back()
        raise NoSpace("it is full")

    with system() as made, connect(Main) as directory, Subject(directory, made.first_task).client() as client:
        file = client.open("f")
        monkeypatch.setattr(LittleFsFile, "write", takes_back)
        with pytest.raises(StaleHandle):
            file.write_piece(0, b"x")
        assert not volume._awake
        assert volume.stat("f").size == 0
