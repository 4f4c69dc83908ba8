"""Files for programs, over the file system in memory: what `io` and `pathlib` promise, and errors as `OSError`s."""

from __future__ import annotations

import errno
import gc
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from libsel4py import Endpoint
from libsel4py.files import Files, RawFile, raw_of
from libsel4py.files.errors import ERRNO, os_error
from libsel4py.files.path import Path
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import Access, ChangeKind, Directory, FileError, Kind, NoSuchFile
from libsel4py.task import Task
from libsel4py.testing import TestSystem, connect, in_background, system
from servers.ramfs.main import Main

SECONDS = 10.0


class Disk:
    """A file system and files on it."""

    def __init__(self, made: TestSystem, directory: Directory, files: Files) -> None:
        self.made, self.directory, self.files = made, directory, files

    @property
    def task(self) -> Task:
        return self.made.first_task

    @contextmanager
    def more(self) -> Iterator[Files]:
        """Another client's."""
        with Files(self.directory, self.task, buffer_bytes=16 << 10) as files:
            yield files


@pytest.fixture
def disk() -> Iterator[Disk]:
    with (
        system() as made,
        connect(Main, configuration={"bytes": 8 << 20}) as directory,
        Files(directory, made.first_task, buffer_bytes=64 << 10) as files,
    ):
        yield Disk(made, directory, files)


@pytest.fixture
def files(disk: Disk) -> Files:
    return disk.files


# --- open


def test_text_is_written_and_read_by_lines(files: Files) -> None:
    with files.open("notes.txt", "w") as file:
        print("hällo", file=file)
        print("world", file=file)
    with files.open("notes.txt") as file:
        assert isinstance(file, io.TextIOWrapper)
        assert file.mode == "r"
        assert list(file) == ["hällo\n", "world\n"]
    with files.open("notes.txt", "a") as file:
        file.write("more")
    assert files.path("notes.txt").read_text() == "hällo\nworld\nmore"


@pytest.mark.parametrize(
    ("mode", "kind"), [("rb", io.BufferedReader), ("wb", io.BufferedWriter), ("r+b", io.BufferedRandom)]
)
def test_binary_files_have_the_buffers_of_io(files: Files, mode: str, kind: type) -> None:
    files.path("f").write_bytes(b"x")
    with files.open("f", mode) as file:
        assert type(file) is kind
        assert isinstance(raw_of(file), RawFile)


def test_unbuffered_files_are_raw(files: Files) -> None:
    with files.open("f", "wb", buffering=0) as file:
        assert isinstance(file, RawFile)
        assert file.writable()
        assert not file.readable()
        assert file.seekable()
        assert file.write(b"abc") == 3
        with pytest.raises(io.UnsupportedOperation):
            file.read(1)
    with files.open_raw("f") as file, pytest.raises(io.UnsupportedOperation):
        file.write(b"x")


@pytest.mark.parametrize("mode", ["", "rw", "rr", "q", "rbt", "+", "r++", "br+t"])
def test_modes_that_say_nothing_are_refused(files: Files, mode: str) -> None:
    with pytest.raises(ValueError, match="mode"):
        files.open("f", mode)
    assert files.list() == []


@pytest.mark.parametrize(
    "arguments", [{"mode": "wb", "encoding": "utf-8"}, {"mode": "w", "buffering": 0}, {"mode": "wb", "newline": ""}]
)
def test_arguments_that_do_not_fit_open_nothing(files: Files, arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"binary mode|unbuffered"):
        files.open("f", **arguments)  # type: ignore[call-overload]  # what is tested
    assert files.list() == []


def test_exclusive_creation_refuses_what_is_there(files: Files) -> None:
    files.open("f", "x").close()
    with pytest.raises(FileExistsError):
        files.open("f", "x")


def test_big_writes_and_reads_go_in_pieces_of_the_buffer(files: Files) -> None:
    data = bytes(range(256)) * 1000
    with files.open_raw("f", "w+b") as file:
        assert file.write(data) == len(data)
        file.seek(0)
        assert file.readall() == data
        file.seek(100_000)
        target = bytearray(70_000)
        assert file.readinto(target) == 70_000
        assert target == data[100_000:170_000]
        assert file.seek(-10, 2) == len(data) - 10
        assert file.read() == data[-10:]
        assert file.read() == b""
        assert file.read(0) == b""


def test_seeking_truncating_and_telling_are_as_in_io(files: Files) -> None:
    with files.open_raw("f", "w+b") as file:
        file.write(b"0123456789")
        assert file.tell() == 10
        assert file.seek(-4, 1) == 6
        assert file.truncate() == 6
        assert file.seek(0, 2) == 6
        assert file.truncate(8) == 8
        file.seek(0)
        assert file.readall() == b"012345\0\0"
        assert file.seek(100) == 100
        assert file.write(b"x") == 1
        assert files.stat("f").size == 101
        for offset, whence in ((-1, 0), (-1000, 1), (-1000, 2), (0, 9)):
            with pytest.raises(OSError, match=r"before|whence") as caught:
                file.seek(offset, whence)
            assert caught.value.errno == errno.EINVAL
        with pytest.raises(OSError, match="before"):
            file.truncate(-1)
        for act in (file.seek, file.truncate):
            for place in (1 << 63, 1 << 64, 1 << 70):
                with pytest.raises(OverflowError, match="last place"):
                    act(place)
        assert (file.tell(), files.stat("f").size) == (101, 101)


@pytest.mark.parametrize("mode", ["wb", "ab", "r+b"])
def test_what_did_not_fit_is_written_once_when_there_is_room_again(mode: str) -> None:
    """By a task with a small buffer of its session: a buffer of `io`'s is written in several pieces."""
    data = bytes(number % 251 for number in range(60_000))
    with (
        system() as made,
        connect(Main, configuration={"bytes": 200_000}) as directory,
        Files(directory, made.first_task, buffer_bytes=16 << 10) as files,
    ):
        files.path("f").touch()
        files.path("fill").write_bytes(bytes(160_000))
        with files.open("f", mode) as file:
            file.write(data)
            with pytest.raises(OSError, match="No space"):
                file.flush()
            files.remove("fill")
        assert files.path("f").read_bytes() == data


def test_a_write_without_a_buffer_is_whole_or_an_error(disk: Disk) -> None:
    with disk.files.open("f", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        file.write(bytes(9 << 20))


def test_appending_goes_to_the_end_whoever_wrote_there(disk: Disk) -> None:
    with disk.more() as others, disk.files.open_raw("f", "ab") as mine, others.open_raw("f", "ab") as theirs:
        mine.write(b"1")
        theirs.write(b"2")
        mine.write(b"3")
        assert mine.tell() == 3
    assert disk.files.path("f").read_bytes() == b"123"


def test_random_access_with_buffers_is_what_a_model_says(files: Files) -> None:
    model = io.BytesIO()
    with files.open("f", "w+b", buffering=512) as file:
        place = 7
        for number in range(300):
            place = (place * 7919 + number) % 5000
            for each in (model, file):
                each.seek(place)
                if number % 3:
                    each.write(bytes([number & 0xFF]) * (number % 97))
            if not number % 3:
                assert file.read(200) == model.read(200)
    assert files.path("f").read_bytes() == model.getvalue()


def test_a_closed_file_is_closed(files: Files) -> None:
    file = files.open_raw("f", "w+b")
    file.close()
    file.close()
    assert file.closed
    for act in (file.tell, file.readall, file.sync, lambda: file.write(b"x"), lambda: file.seek(0), file.capability):
        with pytest.raises(ValueError, match="closed"):
            act()


def test_a_forgotten_file_is_closed_at_the_server(disk: Disk) -> None:
    for _ in range(300):  # more than the session could have open
        disk.files.open_raw("f", "wb")  # forgotten on purpose


@pytest.mark.parametrize("gone", ["removed", "replaced"])
def test_a_rename_is_none_of_a_file_that_had_the_name_before(disk: Disk, gone: str) -> None:
    files = disk.files
    files.path("f").write_bytes(b"former")
    with files.open_raw("f", "r+b") as former, disk.more() as others:
        if gone == "removed":
            others.remove("f")
            others.path("f").write_bytes(b"later")
        else:
            others.replace_file("f", b"later")
        with files.open_raw("f", "r+b") as later:
            files.rename("f", "g")
            assert (former.readall(), later.readall()) == (b"former", b"later")
            former.write(b" file")
            later.write(b" one")
    assert files.path("g").read_bytes() == b"later one"


def test_what_is_flushed_is_synced_and_other_things_are_not_files(files: Files) -> None:
    with files.open("f", "w") as file:
        file.write("kept")
        files.fsync(file)
        assert files.stat("f").size == 4
    with pytest.raises(TypeError, match="no file"):
        files.fsync(io.BytesIO())


# --- errors


@pytest.mark.parametrize("kind", FileError.__subclasses__())
def test_each_error_has_an_errno_and_keeps_its_words(kind: type[FileError]) -> None:
    error = os_error(kind("what the server says"), "a/b")
    assert error.errno == ERRNO[kind]
    assert error.filename == "a/b"
    assert error.__notes__ == ["what the server says"]


def test_errors_are_those_of_python(files: Files) -> None:
    files.mkdir("d")
    files.path("d/f").write_bytes(b"")
    for kind, act in (
        (FileNotFoundError, lambda: files.open("nothing")),
        (FileNotFoundError, lambda: files.stat("d/nothing")),
        (FileExistsError, lambda: files.mkdir("d")),
        (IsADirectoryError, lambda: files.open("d")),
        (IsADirectoryError, lambda: files.remove("d")),
        (NotADirectoryError, lambda: files.list("d/f")),
        (NotADirectoryError, lambda: files.rmdir("d/f")),
        (OSError, lambda: files.rmdir("d")),
    ):
        with pytest.raises(kind) as caught:
            act()
        assert caught.value.filename is not None
    with pytest.raises(FileNotFoundError) as named:
        files.open("/d//nothing")
    assert named.value.filename == "/d//nothing"  # as it was asked for, and not as the file system was
    with pytest.raises(OSError, match=r"Invalid argument") as refused:
        files.stat("../x")
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError) as both:
        files.rename("nothing", "d/g")
    assert (both.value.filename, both.value.filename2) == ("nothing", "d/g")


def test_a_read_only_subtree_gives_permission_errors(disk: Disk) -> None:
    disk.files.mkdir("pub")
    disk.files.path("pub/f").write_text("hello")
    narrow = disk.files.narrow("pub", Access.READ)
    with Files(narrow, disk.task, buffer_bytes=16 << 10) as files:
        assert files.path("/f").read_text() == "hello"
        for act in (
            lambda: files.open("f", "w"),
            lambda: files.open("f", "r+"),
            lambda: files.remove("f"),
            lambda: files.mkdir("x"),
            lambda: files.replace_file("f", b"x"),
        ):
            with pytest.raises(PermissionError):
                act()
    disk.task.delete(narrow)


def test_a_session_that_is_over_is_opened_anew(disk: Disk) -> None:
    file = disk.files.open_raw("f", "wb")
    for act in (lambda: file.write(b"x"), lambda: disk.files.stat("f"), lambda: disk.files.open("f"), file.close):
        disk.files._mounts[""].directory.close()
        act()
    assert disk.files.path("f").read_bytes() == b"x"


def test_what_is_open_of_files_that_are_closed_is_stale(disk: Disk) -> None:
    file = disk.files.open_raw("f", "wb")
    disk.files.close()
    with pytest.raises(OSError, match="Stale") as caught:
        file.write(b"x")
    assert caught.value.errno == errno.ESTALE
    file.close()
    with pytest.raises(ValueError, match="closed"):
        disk.files.stat("f")


def test_all_memory_and_slots_are_back_after_close() -> None:
    with system() as made, connect(Main) as directory:
        task = made.first_task
        with Files(directory, task, buffer_bytes=16 << 10) as files:  # the server's outgoing slot is taken now
            files.narrow("", Access.READ)
        before = task.memory.statistics().free_bytes
        for _ in range(20):
            with Files(directory, task, buffer_bytes=16 << 10) as files:
                files.path("f").write_text("x")
                with files.watch(), files.locked("f"):
                    pass
        assert task.memory.statistics().free_bytes == before


def test_a_task_with_little_memory_has_a_small_buffer(disk: Disk) -> None:
    size = disk.task.memory.statistics().largest_free_bytes
    with Files(disk.directory, disk.task, buffer_bytes=2 * size) as files:
        data = b"x" * 200_000
        files.path("f").write_bytes(data)
        assert files.path("f").read_bytes() == data


# --- names


@pytest.mark.parametrize(
    "path", ["n" * 256, "\u00e9" * 128, "/".join(["p" * 139] * 4 + ["p" * 141]), "a/" * 3000 + "a"]
)
def test_what_is_too_long_for_a_name_or_a_path_says_so(files: Files, path: str) -> None:
    for act in (
        files.stat,
        files.list,
        files.remove,
        files.mkdir,
        lambda path: files.open(path, "wb"),
        lambda path: files.rename(path, "a"),
    ):
        with pytest.raises(OSError, match="File name too long") as refused:
            act(path)
        assert refused.value.errno == errno.ENAMETOOLONG


def test_paths_are_as_in_pathlib(files: Files) -> None:
    root = files.path()
    folder = root / "a" / "b"
    assert str(folder) == "a/b"
    assert not folder.exists()
    with pytest.raises(FileNotFoundError):
        folder.mkdir()
    folder.mkdir(parents=True)
    folder.mkdir(exist_ok=True)
    with pytest.raises(FileExistsError):
        folder.mkdir()
    page = folder.joinpath("page.html")
    assert page.write_text("hé") == 2
    assert page.read_bytes() == "hé".encode()
    assert (page.name, page.stem, page.suffix, str(page.parent)) == ("page.html", "page", ".html", "a/b")
    assert page.parts == ("a", "b", "page.html")
    assert (page.is_file(), page.is_dir(), folder.is_dir(), (page / "x").exists()) == (True, False, True, False)
    assert page.stat().kind is Kind.FILE
    assert page.stat().modified_ns > 0
    (folder / "z").touch()
    (folder / "c").mkdir()
    assert [str(each) for each in folder.iterdir()] == ["a/b/c", "a/b/page.html", "a/b/z"]
    assert [(str(at), folders, names) for at, folders, names in root.walk()] == [
        (".", ["a"], []),
        ("a", ["b"], []),
        ("a/b", ["c"], ["page.html", "z"]),
        ("a/b/c", [], []),
    ]
    moved = page.rename("a/moved")
    assert moved.read_text() == "hé"
    assert not page.exists()
    with moved.open("a") as file:
        file.write("!")
    assert moved.with_name("other").parent == moved.parent
    moved.unlink()
    moved.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        moved.unlink()
    (folder / "c").rmdir()
    with pytest.raises(FileExistsError):
        (folder / "z").touch(exist_ok=False)
    folder.touch()
    with pytest.raises(FileExistsError):
        folder.touch(exist_ok=False)


def test_a_leading_slash_is_the_root_and_dots_stay(files: Files) -> None:
    files.path("/f").write_text("x")
    for path in ("f", "/f", "//f", "./f", "/./f", "f/"):
        assert files.stat(path).size == 1
    for path in ("", "/", ".", "./"):
        assert files.stat(path).kind is Kind.DIRECTORY


def test_replacing_leaves_the_old_contents_or_the_new_and_nothing_else(files: Files) -> None:
    files.replace_file("state", "one")
    files.replace_file("state", b"two")
    assert files.path("state").read_bytes() == b"two"
    assert [entry.name for entry in files.list()] == ["state"]
    longest = "n" * 255
    files.replace_file(longest, "long")
    assert files.path(longest).read_text() == "long"


def test_a_replacement_takes_no_name_that_is_another_ones(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    real, names = os.urandom, [b"mine", b"else", b"else"]
    monkeypatch.setattr(os, "urandom", lambda count: names.pop() if count == 4 else real(count))
    files.replace_file("state", "one")
    beside = f".state.{b'else'.hex()}.new"
    files.path(beside).write_text("somebody writes here")
    files.replace_file("state", "two")
    assert files.path("state").read_text() == "two"
    assert files.path(beside).read_text() == "somebody writes here"


def test_a_replacement_that_is_interrupted_leaves_nothing(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system may have made the file, and the answer has not come."""
    files.path("state").write_text("old")
    open_raw = files.open_raw

    def interrupted(path: str | Path, mode: str = "rb") -> RawFile:
        open_raw(path, mode).close()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(files, "open_raw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            files.replace_file("state", "new")
    assert files.path("state").read_text() == "old"
    assert [entry.name for entry in files.list()] == ["state"]


def test_replacing_that_fails_keeps_the_old_contents(files: Files) -> None:
    files.path("state").write_text("old")
    with pytest.raises(OSError, match="No space"):
        files.replace_file("state", bytes(9 << 20))
    assert files.path("state").read_text() == "old"
    assert [entry.name for entry in files.list()] == ["state"]


def test_space_and_sync_are_told(files: Files) -> None:
    assert files.space().blocks == (8 << 20) // 4096
    files.sync()


# --- locks and watches


def test_a_lock_is_held_for_a_block_and_keeps_others_out(disk: Disk) -> None:
    with disk.more() as others:
        with disk.files.locked("f"), pytest.raises(TimeoutError), others.locked("f", timeout=0.0):
            raise AssertionError("both have it")
        with others.locked("f", timeout=0.0), others.open_raw("f") as file:
            assert not file.try_lock(exclusive=False)


def test_who_waits_for_a_lock_has_it_when_it_is_free(disk: Disk) -> None:
    with disk.more() as others, disk.files.open_raw("f", "ab") as mine, others.open_raw("f", "ab") as theirs:
        mine.lock()
        waiting = in_background(theirs.lock)
        mine.unlock()
        waiting.result(SECONDS)
        assert not mine.try_lock(exclusive=False)


def test_a_watch_tells_what_others_do(disk: Disk) -> None:
    with disk.more() as others, disk.files.watch() as watcher:
        assert watcher.changes() == []
        others.mkdir("d")
        assert [(change.kind, change.path) for change in watcher.wait(SECONDS)] == [(ChangeKind.CREATED, "d")]
        with pytest.raises(FileNotFoundError):
            disk.files.watch("nothing")


# --- namespaces


class Mounts:
    """A namespace of two file systems."""

    def __init__(self, disk: Disk, other: Directory) -> None:
        self.asked: list[str] = []
        self._made = disk.made
        self._mounts = {"/tmp": other, "/": disk.directory}

    def resolve(self, path: str) -> tuple[str, Endpoint]:
        self.asked.append(path)
        for at, directory in self._mounts.items():
            if at == "/" or path == at or path.startswith(at + "/"):
                return path.removeprefix(at).lstrip("/"), self._copy(endpoint_of(directory))
        raise NoSuchFile(path)

    def _copy(self, endpoint: Endpoint) -> Endpoint:
        task = self._made.first_task
        slot = task.slots.allocate()
        task.cnode.copy(slot, task.cnode, endpoint.cptr)
        return Endpoint(slot)


def test_a_namespace_is_asked_once_for_each_path_and_has_one_session_a_mount(disk: Disk) -> None:
    with connect(Main, configuration={"bytes": 1 << 20}) as other:
        mounts = Mounts(disk, other)
        with Files(mounts, disk.task, buffer_bytes=16 << 10) as files:
            files.path("/etc").mkdir()
            files.path("/etc/f").write_text("on the disk")
            files.path("/tmp/f").write_text("in memory")
            assert other.stat("f").size == 9
            assert disk.directory.stat("etc/f").size == 11
            assert [entry.name for entry in files.list("/tmp")] == ["f"]
            assert len(files._mounts) == 2
            asked = len(mounts.asked)
            files.stat("/etc/f")
            assert len(mounts.asked) == asked
            with pytest.raises(OSError, match="cross-device") as crossed:
                files.rename("/etc/f", "/tmp/g")
            assert crossed.value.errno == errno.EXDEV
            files.refresh()
            files.stat("/etc/f")
            assert len(mounts.asked) > asked


def test_what_is_no_directory_and_no_namespace_is_refused(disk: Disk) -> None:
    with pytest.raises(TypeError, match="no Directory and no namespace"):
        Files("disk", disk.task)  # type: ignore[arg-type]  # what is tested


def test_a_capability_that_was_revoked_is_stale(disk: Disk) -> None:
    narrow = disk.files.narrow("", Access.READ)
    with Files(narrow, disk.task, buffer_bytes=16 << 10) as files:
        for capability in (files._mounts[""].endpoint, narrow):
            disk.task.cnode.delete(capability.cptr)
        for act in (lambda: files.stat("f"), lambda: files.open("f"), lambda: files.list()):
            with pytest.raises(OSError, match="Stale") as caught:
                act()
            assert caught.value.errno == errno.ESTALE


def test_a_forgotten_file_is_closed_by_no_system_call_of_the_collector(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    whole = disk.made.kernel.trap
    monkeypatch.setattr(disk.made.kernel, "trap", lambda *words: (calls.append("trap"), whole(*words))[1])
    file = disk.files.open_raw("forgotten", "wb")
    file.lock()
    circle: list[object] = [file]
    circle.append(circle)
    del file, circle
    calls.clear()
    gc.collect()
    assert calls == []
    disk.files.open("next", "wb").close()
    with disk.more() as others, others.locked("forgotten", timeout=SECONDS):
        pass  # its lock went with it
