"""Files go on after their server's death: reopened, read on, written once more; and what cannot be so is told."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace
from typing import cast

import pytest

from libsel4py import component
from libsel4py.errors import ServerDied
from libsel4py.files import Files, InDoubt, LockLost, RawFile
from libsel4py.files import kept as kept_module
from libsel4py.files import mount as mount_module
from libsel4py.files.mount import MOST_TRIES
from libsel4py.filesystem import FileSystemServer
from libsel4py.interfaces.file import Access, ChangeKind, Directory
from libsel4py.littlefs import LittleFsVolume, MemoryStore, StoreFailed, format_store
from libsel4py.testing import TestSystem, connect, die_with, in_background, restart, system
from libsel4py.testing.harness import server_of
from servers.ramfs.main import Main as RamFs
from servers.vfs.main import Main as Vfs

SIZE = 8 << 20
SECONDS = 10.0


class Store(MemoryStore):
    """Fails with its next write while it is told to."""

    fails = False

    def write(self, pieces: object, /) -> None:
        if self.fails:
            self.fails = False
            raise StoreFailed("the disk is gone")
        super().write(pieces)  # type: ignore[arg-type]


def disk_of(store: MemoryStore) -> type[FileSystemServer]:
    @component
    class Main(FileSystemServer):
        def start(self) -> None:
            self.serve_volume(LittleFsVolume(store))

    return Main


class Scene:
    """A littlefs, its clients, and its death."""

    def __init__(self, made: TestSystem, store: Store, directory: Directory, files: Files) -> None:
        self.made, self.store, self.directory, self.files = made, store, directory, files

    def die(self) -> None:
        restart(self.directory)

    @contextmanager
    def more(self) -> Iterator[Files]:
        with Files(self.directory, self.made.first_task, buffer_bytes=16 << 10) as files:
            yield files

    def bytes_of(self, path: str) -> bytes:
        """What another client reads."""
        with self.more() as files:
            return files.path(path).read_bytes()


@pytest.fixture
def scene() -> Iterator[Scene]:
    store = Store(SIZE)
    format_store(store)
    with (
        system() as made,
        connect(disk_of(store)) as directory,
        Files(directory, made.first_task, buffer_bytes=16 << 10) as files,
    ):
        yield Scene(made, store, directory, files)


def stale(act: Callable[[], object]) -> None:
    with pytest.raises(OSError, match="Stale") as caught:
        act()
    assert caught.value.errno == errno.ESTALE


class ShortLived:
    """One file at servers that die with each ``CALLS``-th call, and with what was not synced."""

    CALLS = 5

    def __init__(self) -> None:
        self.medium, self.cache, self._calls = bytearray(SIZE), bytearray(SIZE), 0

    def write_number(self, file: int, offset: int, count: int, at: int) -> None:
        self._live()
        self.cache[offset : offset + count] = self.buffer[:count]

    def sync_number(self, file: int) -> None:
        self._live()
        self.medium[:] = self.cache

    def _live(self) -> None:
        self._calls += 1
        if self._calls % self.CALLS == 0:
            self.cache[:] = self.medium
            raise ServerDied

    buffer = memoryview(bytearray(4096))


def test_servers_that_die_sooner_than_all_can_be_written_once_more_are_outlived() -> None:
    """What each successor has to write once more becomes less."""
    server, kept = ShortLived(), kept_module.Kept(True)
    data = random.Random(2).randbytes(100 * 4096)
    for start in range(0, len(data), 4096):
        kept.wrote(start, data[start : start + 4096])
    for _ in range(MOST_TRIES):
        with suppress(ServerDied):
            kept.write_again(cast(Directory, server), 1, server.buffer)
        if not kept:
            break
    assert not kept
    assert not kept.is_full(0)
    assert server.medium[: len(data)] == data


# --- reading


def test_a_reader_goes_on_where_it_was(scene: Scene) -> None:
    data = random.Random(1).randbytes(200_000)
    scene.files.path("f").write_bytes(data)
    with scene.files.open("f", "rb") as file:
        parts = [file.read(50_000)]
        for _ in range(3):
            scene.die()
            parts.append(file.read(50_000))
    assert b"".join(parts) == data


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize(
    ("method", "act"),
    [
        ("read_number", lambda files, file: file.read(5)),
        ("size_number", lambda files, file: file.seek(0, 2)),
        ("stat", lambda files, file: files.stat("f").size),
        ("list", lambda files, file: files.list()),
        ("space", lambda files, file: files.space().blocks),
        ("sync", lambda files, file: files.sync()),
        ("open_number", lambda files, file: files.open("f").read()),
        ("make_directory", lambda files, file: files.path("d").mkdir(exist_ok=True)),
    ],
)
def test_what_may_be_asked_twice_is(
    scene: Scene, method: str, act: Callable[[Files, RawFile], object], done: bool
) -> None:
    scene.files.path("f").write_text("bytes")
    with scene.files.open_raw("f") as file:
        expected = act(scene.files, file)
        file.seek(0)
        if method == "make_directory":
            scene.files.rmdir("d")
            if done:
                die_with(scene.directory, method, done=True)
                with pytest.raises(InDoubt):
                    act(scene.files, file)
                return
        die_with(scene.directory, method, done=done)
        assert act(scene.files, file) == expected


def test_a_file_that_was_replaced_is_not_taken_for_the_former_one(scene: Scene) -> None:
    scene.files.path("f").write_text("former")
    with scene.files.open_raw("f") as file:
        scene.die()
        with scene.more() as others:
            others.replace_file("f", "another")
        stale(lambda: file.read(10))
        stale(lambda: file.read(10))
    assert scene.files.path("f").read_text() == "another"


def test_a_file_that_was_removed_stays_gone_also_when_its_name_is_there_again(scene: Scene) -> None:
    scene.files.path("f").write_text("former")
    with scene.files.open_raw("f") as file, scene.more() as others:
        scene.die()
        others.remove("f")
        stale(lambda: file.read(10))
        others.path("f").write_text("another")
        stale(lambda: file.read(10))


def test_a_file_that_this_client_renamed_is_found_again(scene: Scene) -> None:
    scene.files.path("d/e").mkdir(parents=True)
    scene.files.path("g").write_text("replaced")
    with scene.files.open_raw("d/e/f", "w+b") as file, scene.files.open_raw("h", "w+b") as other:
        file.write(b"one")
        scene.files.rename("d", "moved")
        other.write(b"two")
        scene.files.rename("h", "g")
        scene.die()
        for each, expected in ((file, b"one"), (other, b"two")):
            each.seek(0)
            assert each.read(10) == expected


def test_files_in_memory_are_gone_with_their_server_and_say_so() -> None:
    with (
        system() as made,
        connect(RamFs, configuration={"bytes": 1 << 20}) as directory,
        Files(directory, made.first_task, buffer_bytes=16 << 10) as files,
    ):
        file = files.open_raw("f", "w+b")
        file.write(b"gone")
        restart(directory)
        assert files.list() == []
        files.path("f").write_text("another")
        stale(lambda: file.read(10))
        file.close()
        assert files.path("f").read_text() == "another"


# --- writing


def test_what_was_not_synced_is_written_once_more(scene: Scene) -> None:
    model = bytearray()
    chance = random.Random(2)
    with scene.files.open_raw("f", "w+b") as file:
        for number in range(60):
            offset, data = chance.randrange(100_000), chance.randbytes(chance.randrange(1, 40_000))
            model.extend(bytes(max(0, offset + len(data) - len(model))))
            model[offset : offset + len(data)] = data
            file.seek(offset)
            file.write(data)
            if number % 7 == 0:
                size = chance.randrange(len(model) + 1000)
                file.truncate(size)
                del model[size:]
                model.extend(bytes(size - len(model)))
            if number % 11 == 0:
                file.sync()
            if number % 5 == 0:
                scene.die()
        file.seek(0)
        assert file.readall() == bytes(model)
    assert scene.bytes_of("f") == bytes(model)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("method", ["write_number", "sync_number", "truncate_number", "close_number", "size_number"])
def test_no_write_is_lost_with_the_server(scene: Scene, method: str, done: bool) -> None:
    file = scene.files.open_raw("f", "w+b")
    file.write(b"abcdef")
    die_with(scene.directory, method, done=done)
    file.write(b"ghi")
    file.truncate(8)
    file.seek(0, 2)
    file.sync()
    file.close()
    assert scene.bytes_of("f") == b"abcdefgh"


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("method", ["append_number", "sync_number", "close_number"])
def test_what_is_appended_is_there_once(scene: Scene, method: str, done: bool) -> None:
    scene.files.path("log").write_text("begin\n")
    file = scene.files.open_raw("log", "ab")
    file.write(b"one\n")
    die_with(scene.directory, method, done=done)
    file.write(b"two\n")
    file.sync()
    file.write(b"three\n")
    scene.die()
    file.write(b"four\n")
    file.close()
    assert scene.bytes_of("log") == b"begin\none\ntwo\nthree\nfour\n"


def test_whether_bytes_were_appended_is_told_when_others_have_appended_since(scene: Scene) -> None:
    with scene.files.open_raw("log", "ab") as file, scene.more() as others:
        file.write(b"mine\n")
        scene.die()
        with others.open_raw("log", "ab") as other:
            other.write(b"theirs\n")
        with pytest.raises(InDoubt, match="appended"):
            file.write(b"more\n")
        file.write(b"more\n")
    assert scene.bytes_of("log") == b"theirs\nmore\n"


def test_an_exclusive_creation_that_a_server_died_of_is_repeated_or_in_doubt(scene: Scene) -> None:
    die_with(scene.directory, "open_number", done=False)
    scene.files.open_raw("f", "xb").close()
    die_with(scene.directory, "open_number", done=True)
    with pytest.raises(InDoubt):
        scene.files.open_raw("g", "xb")
    scene.die()
    with pytest.raises(FileExistsError):
        scene.files.open_raw("f", "xb")


@pytest.mark.parametrize("done", [False, True])
def test_a_rename_and_a_removal_that_a_server_died_of_are_done(scene: Scene, done: bool) -> None:
    scene.files.path("f").write_text("x")
    die_with(scene.directory, "rename", done=done)
    scene.files.rename("f", "g")
    assert [entry.name for entry in scene.files.list()] == ["g"]
    die_with(scene.directory, "remove", done=done)
    scene.files.remove("g")
    assert scene.files.list() == []


@pytest.mark.parametrize("method", ["open_number", "write_number", "sync_number", "rename", "sync", "close_number"])
@pytest.mark.parametrize("done", [False, True])
def test_a_file_is_replaced_whole(scene: Scene, method: str, done: bool) -> None:
    scene.files.path("state").write_text("old")
    die_with(scene.directory, method, done=done)
    scene.files.replace_file("state", "new" * 10_000)
    assert scene.bytes_of("state") == b"new" * 10_000


def test_a_writer_of_much_has_it_synced_and_loses_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "KEPT_BYTES", 40_000)
    data = random.Random(3).randbytes(300_000)
    with scene.files.open_raw("big", "wb") as file:
        for at in range(0, len(data), 10_000):
            file.write(data[at : at + 10_000])
            assert sum(len(record.data or b"") for record in file._handle.kept.records) <= 50_000
            if at % 70_000 == 0:
                scene.die()
    assert scene.bytes_of("big") == data


@pytest.mark.parametrize(("life", "most"), [(0.001, 256 << 10), (0.01, 419_430), (0.25, 2 << 20), (60.0, 4 << 20)])
def test_the_shorter_servers_live_the_less_is_kept(life: float, most: int) -> None:
    assert kept_module.most_kept(life) == most


def test_at_servers_that_die_soon_less_is_written_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(mount_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    with scene.files.open_raw("big", "wb") as file:
        kept = file._handle.kept
        for _ in range(2):
            scene.die()
            clock[0] += 0.01
            file.write(b"x")
        file.write(bytes(450_000))
        assert sum(len(record.data or b"") for record in kept.records) < 50_000
        clock[0] += 60.0
        file.write(bytes(450_000))
        assert sum(len(record.data or b"") for record in kept.records) > 450_000


def test_writes_that_cannot_be_made_again_are_told_by_each_call_up_to_close(scene: Scene) -> None:
    file = scene.files.open_raw("f", "wb")
    file.write(b"lost")
    scene.die()
    with scene.more() as others:
        others.remove("f")
    stale(lambda: file.write(b"x"))
    stale(file.sync)
    stale(file.close)
    assert file.closed


def test_files_that_are_closed_with_what_is_lost_say_so(scene: Scene) -> None:
    with ExitStack() as stack:
        files = Files(scene.directory, scene.made.first_task, buffer_bytes=16 << 10)
        stack.callback(lambda: None)
        file = files.open_raw("f", "wb")
        file.write(b"kept")
        scene.die()
        files.close()
        assert scene.bytes_of("f") == b"kept"
        files = Files(scene.directory, scene.made.first_task, buffer_bytes=16 << 10)
        lost = files.open_raw("f", "wb")
        lost.write(b"lost")
        scene.die()
        scene.files.remove("f")
        stale(files.close)
        assert file is not lost


def test_a_medium_that_fails_is_told_and_nothing_is_lost_that_was_not_synced(scene: Scene) -> None:
    """A sync that failed is no sync: the next one writes what the first one did not."""
    file = scene.files.open_raw("f", "wb")
    file.write(b"x" * 50_000)
    scene.store.fails = True
    with pytest.raises(OSError, match="Input/output") as caught:
        file.sync()
    assert caught.value.errno == errno.EIO
    file.sync()
    file.write(b"y")
    scene.store.fails = True
    with pytest.raises(OSError, match="Input/output"):
        scene.files.sync()
    file.close()
    assert scene.bytes_of("f") == b"x" * 50_000 + b"y"


def test_who_closes_leaves_nothing_behind_that_only_the_server_has(scene: Scene) -> None:
    with scene.more() as others, others.open_raw("f", "ab"):
        scene.files.path("f").write_text("written and closed")
        scene.die()
        assert scene.bytes_of("f") == b"written and closed"


# --- locks


def test_a_lock_is_held_on(scene: Scene) -> None:
    with scene.files.open_raw("f", "ab") as file, scene.more() as others, others.open_raw("f", "ab") as other:
        file.lock()
        file.write(b"mine")
        scene.die()
        assert scene.files.exists("f")  # whichever call finds it out: the lock is taken again at once
        assert not other.try_lock()
        file.unlock()
        assert other.try_lock()
    assert scene.bytes_of("f") == b"mine"


def test_a_lock_that_another_took_meanwhile_is_lost_and_told(scene: Scene) -> None:
    with scene.files.open_raw("f", "r+b" if scene.files.exists("f") else "w+b") as file, scene.more() as others:
        file.sync()
        file.lock()
        file.write(b"under the lock")
        scene.die()
        with others.open_raw("f", "r+b") as other:
            assert other.try_lock()
            other.write(b"theirs")
        for act in (lambda: file.write(b"x"), lambda: file.read(1), file.sync):
            with pytest.raises(LockLost) as caught:
                act()
            assert caught.value.errno == errno.ENOLCK
        file.lock(timeout=SECONDS)
        file.seek(0)
        assert file.read(100) == b"theirs"


def test_writes_that_went_with_a_lock_are_told_by_close_as_well(scene: Scene) -> None:
    scene.files.path("f").write_text("former")
    with scene.more() as others:
        file = scene.files.open_raw("f", "r+b")
        file.lock()
        file.write(b"under the lock")
        scene.die()
        with others.locked("f"):
            pass
        assert scene.files.exists("f")
        with pytest.raises(LockLost, match="1 changes"):
            file.close()
    assert scene.bytes_of("f") == b"former"


def test_who_waits_for_a_lock_waits_on_at_the_next_life(scene: Scene) -> None:
    with scene.files.open_raw("f", "ab") as file, scene.more() as others, others.open_raw("f", "ab") as other:
        file.lock()
        waiting = in_background(other.lock, timeout=SECONDS)
        with other._mount.lock:  # who waits finds out as well, and must not be first
            scene.die()
            file.write(b"x")
        file.unlock()
        waiting.result(SECONDS)


# --- watches, namespaces, capabilities


def test_a_watch_tells_that_it_has_missed_something_and_goes_on(scene: Scene) -> None:
    with scene.files.watch("") as watcher:
        scene.files.mkdir("d")
        assert [change.kind for change in watcher.changes()] == [ChangeKind.CREATED]
        scene.die()
        waiting = in_background(watcher.wait, SECONDS)
        scene.files.mkdir("e")
        kinds = [change.kind for change in waiting.result(SECONDS)]
        assert kinds[0] is ChangeKind.LOST
        scene.files.mkdir("g")
        assert watcher.wait(SECONDS)[-1].path == "g"


def test_files_of_a_namespace_go_on_after_any_death() -> None:
    store = Store(SIZE)
    format_store(store)
    with system() as made, connect(disk_of(store)) as disk, connect(RamFs) as ram:
        uses = {"disk": disk, "ram": ram}
        with (
            connect(Vfs, uses=uses, configuration={"mounts": {"/": "disk", "/tmp": "ram"}}) as space,
            Files(space, made.first_task, buffer_bytes=16 << 10) as files,
        ):
            with files.open("f", "w") as file:
                file.write("one ")
                file.flush()
                restart(disk)
                file.write("two ")
                file.flush()
                restart(space)
                restart(disk)
                file.write("three")
            assert files.path("f").read_text() == "one two three"
            files.path("/tmp/x").write_text("x")
            restart(ram)
            assert not files.exists("/tmp/x")


def test_what_a_namespace_found_dies_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(SIZE)
    format_store(store)
    with system() as made, connect(disk_of(store)) as disk:
        settings = {"mounts": {"/": "disk"}, "clients": {"test": "rw /"}}
        with (
            connect(Vfs, uses={"disk": disk}, configuration=settings) as space,
            Files(space, made.first_task, buffer_bytes=16 << 10) as files,
        ):
            resolve, deaths = space.resolve, [1, 2]

            def dies(path: str) -> object:
                found = resolve(path)
                if deaths:
                    deaths.pop()
                    restart(disk)
                return found

            monkeypatch.setattr(space, "resolve", dies)
            files.path("f").write_text("there")
            assert files.path("f").read_text() == "there"
            assert not deaths


def test_who_was_handed_a_subtree_asks_for_it_again(scene: Scene) -> None:
    scene.files.mkdir("sub")
    scene.files.path("sub/f").write_text("x")
    handed: list[int] = []

    def give() -> object:
        handed.append(1)
        return scene.files.narrow("sub", Access.READ)

    with Files(give, scene.made.first_task, buffer_bytes=16 << 10) as files:  # type: ignore[arg-type]
        assert files.path("f").read_text() == "x"
        scene.die()
        assert files.path("f").read_text() == "x"
    assert len(handed) >= 2
    with Files(scene.files.narrow("sub", Access.READ), scene.made.first_task, buffer_bytes=16 << 10) as files:
        scene.die()
        stale(lambda: files.path("f").read_text())


def test_a_server_that_dies_of_every_request_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint, begin = server_of(scene.directory)

    def again() -> None:
        begin()
        die_with(scene.directory, "stat", done=False)

    monkeypatch.setitem(scene.made.lives, endpoint, again)
    scene.files.path("f").write_text("x")
    again()
    with pytest.raises(ConnectionError, match="died"):
        scene.files.stat("f")
    monkeypatch.undo()
    begin()
    assert scene.files.stat("f").size == 1
