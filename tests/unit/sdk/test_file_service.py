"""The service layer of file systems, where clients are hostile or dead."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from libsel4py import Endpoint, Notification, component
from libsel4py.abi import ObjectType
from libsel4py.badges import FIRST_BADGE, Badges
from libsel4py.filesystem import FileSystemServer, grants
from libsel4py.filesystem.grants import MOST_NARROWED
from libsel4py.filesystem.paths import checked, is_within, join, moved, parent_of, relative
from libsel4py.filesystem.session_table import MOST_DEPTH, TENANTS
from libsel4py.filesystem.waiting import MOST_OF_A_CLIENT
from libsel4py.filesystem.watches import MOST_CHANGES, MOST_WATCHES
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import Access, BadPath, Directory, File, Locked, StaleHandle, TooManyOpen
from libsel4py.lending import lend
from libsel4py.lowlevel.syscalls import Message
from libsel4py.slot_shares import LEAST_FREE_SLOTS
from libsel4py.testing import TestSystem, connect, in_background, system
from libsel4py.testing.fake_objects import FakeCap
from libsel4py.testing.file_system import Subject
from libsel4py.testing.file_system.subject import NEW, READ
from servers.ramfs.main import Main
from servers.ramfs.volume import RamFile, RamVolume

SECONDS = 10.0


@pytest.fixture
def made() -> Iterator[TestSystem]:
    with system() as made:
        yield made


@pytest.fixture
def subject(made: TestSystem) -> Iterator[Subject]:
    with connect(Main, configuration={"bytes": 4 << 20}) as directory:
        yield Subject(directory, made.first_task, in_background)


# --- paths


@pytest.mark.parametrize("path", ["", "a", "a/b", "...", "a/...", "..a", ".a/b.", "a b/\n", "é" * 127, "😀" * 63])
def test_paths_are_taken_as_they_are(path: str) -> None:
    assert checked(path) == path


@pytest.mark.parametrize(
    "path", ["/", "a/", "/a", "a//b", ".", "..", "./a", "a/.", "a/..", "a/../b", "\0", "a\0", "é" * 128, "\ud800" * 80]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(BadPath):
        checked(path)


def test_paths_are_joined_moved_and_seen_from_their_roots() -> None:
    assert [join("", "a"), join("r", ""), join("r", "a/b")] == ["a", "r", "r/a/b"]
    assert [relative("r/a", "r"), relative("r", "r"), relative("a", "")] == ["a", "", "a"]
    assert [is_within("rr/a", "r"), is_within("r/a", "r"), is_within("r", "r"), is_within("x", "")] == [
        False,
        True,
        True,
        True,
    ]
    assert [moved("a/b/c", "a/b", "d"), moved("a/bc", "a/b", "d")] == ["d/c", "a/bc"]
    assert [parent_of("a/b"), parent_of("a"), parent_of("")] == ["a", "", ""]
    with pytest.raises(BadPath, match="700"):
        join("r" * 200, "/".join(["p" * 200] * 3))


# --- badges


def test_two_lives_of_a_server_share_no_badge_and_none_is_given_twice(made: TestSystem) -> None:
    lives = [Badges(Endpoint(16), made.first_task) for _ in range(20)]
    badges = [life.new() for life in lives for _ in range(100)]
    assert len(set(badges)) == len(badges)
    assert all(FIRST_BADGE < badge < 1 << 62 for badge in badges)


def test_a_badge_of_nothing_is_stale_whatever_is_asked(subject: Subject, made: TestSystem) -> None:
    with subject.client() as client:
        endpoint = endpoint_of(client.directory)
        client.directory.close()
        for label in (0, 1, 3, 23, 1 << 40):
            with pytest.raises(StaleHandle):
                client.directory.stat("")
            assert endpoint.call(Message(label, (1, 2, 3))).label != 0
    assert subject.directory.list("") == []


# --- clients that hoard


def test_who_asks_for_locks_without_waiting_is_owed_few_replies(subject: Subject) -> None:
    lock = File.interface_methods["lock"].label
    with subject.client() as hostile, subject.client() as honest:
        hostile.open("f").lock(True)
        for number in range(MOST_OF_A_CLIENT + 10):
            endpoint_of(hostile.open(f"g{number % 3}" if number % 2 else "f")).send(Message(lock, (1,)))
        mine = honest.open("h")
        with pytest.raises(Locked):
            hostile.open("f").lock(True)
        assert mine.try_lock(True)


def test_a_lock_of_the_dead_is_given_to_who_asks_again(subject: Subject) -> None:
    with subject.client() as client:
        file = client.open("f")
        with subject.client() as dead:
            assert dead.open("f").try_lock(True)
            waiting = subject.background(lambda: file.lock(True)) if subject.background else None
            assert waiting is not None
            dead.pool.take_back()
        other = client.open("f")
        while not waiting.done():
            if other.try_lock(True):  # whoever asks lets the server look; it may be asked before the one that waits
                other.unlock()
        waiting.result(SECONDS)


def test_the_dead_keep_no_room_from_the_living(subject: Subject) -> None:
    big = bytes(3 << 20)
    with subject.client() as client:
        with subject.client() as dead:
            dead.put("f", big)
            dead.open("f")
            client.directory.remove("f")
            dead.pool.take_back()
        client.put("g", big)


def test_a_server_keeps_slots_for_itself(subject: Subject, made: TestSystem) -> None:
    with ExitStack() as stack:
        slots = [made.slots.allocate() for _ in range(made.slots.free_count - LEAST_FREE_SLOTS + 1)]
        with lend(subject.task, 13) as pool, pytest.raises(TooManyOpen, match="slots"):
            subject.directory.session(pool.untyped)
        for slot in slots:
            made.slots.free(slot)
        stack.enter_context(subject.client())


def test_one_client_leaves_half_of_the_slots_to_others(made: TestSystem) -> None:
    """By sessions, buffers and watches, each of which takes some; the second client's are as its own."""
    for _ in range(made.slots.free_count - 500):
        made.slots.allocate()
    main = Main()
    with connect(main) as directory, ExitStack() as stack:
        subject, task = Subject(directory, made.first_task), made.first_task
        bell = Notification(task.memory.allocate(ObjectType.NOTIFICATION).start)

        def take() -> None:
            while True:
                client = stack.enter_context(subject.client())
                for _ in range(MOST_WATCHES):
                    client.directory.watch("", bell)

        with pytest.raises(TooManyOpen, match="slots of the server, of"):
            take()
        main.server.add_client(99, "other", Directory)
        other = made.slots.allocate()
        made.kernel.objects.caps[other] = FakeCap(made.kernel.objects.caps[endpoint_of(directory).cptr].object, 99)
        with subject.client(Directory(Endpoint(other))) as second:
            second.directory.watch("", bell)
            second.put("f", b"there is room")


def test_what_many_watches_are_told_is_kept_once(made: TestSystem) -> None:
    """A path has up to 700 bytes, and each watch keeps 64 changes: of a session's 16 that is more than was lent."""
    with connect(Main, configuration={"clients": {"test": "rw /root"}, "bytes": 1 << 20}) as directory:
        subject, task = Subject(directory, made.first_task), made.first_task
        bell = Notification(task.memory.allocate(ObjectType.NOTIFICATION).start)
        deep = "/".join("d" * 200 for _ in range(3))
        for end in (200, 401, 602):
            directory.make_directory(deep[:end])
        with subject.client() as client:
            watches = [client.directory.watch("", bell) for _ in range(MOST_WATCHES)]
            tracemalloc.start()
            try:
                for number in range(MOST_CHANGES // 2):
                    directory.make_directory(f"{deep}/{number}")
                    directory.remove(f"{deep}/{number}")
                assert tracemalloc.get_traced_memory()[0] < 2 * MOST_CHANGES * 1024
            finally:
                tracemalloc.stop()
            told = [client.directory.changes(each) for each in watches]
            assert all(each == told[0] for each in told)
            assert len(told[0]) == MOST_CHANGES
            assert told[0][0].path == f"{deep}/0"


def test_narrowed_capabilities_come_to_an_end_and_those_to_nothing_make_room(subject: Subject) -> None:
    def narrow(path: str) -> None:
        subject.task.delete(subject.directory.narrow(path, Access.READ))

    for number in range(MOST_NARROWED):
        subject.directory.make_directory(f"d{number}")
        narrow(f"d{number}")
        narrow(f"d{number}")
    subject.directory.make_directory("more")
    with pytest.raises(TooManyOpen):
        narrow("more")
    subject.directory.remove("d7")
    narrow("more")


def test_who_was_given_a_part_cannot_use_up_what_others_get_by_the_same_connection(subject: Subject) -> None:
    """A client that serves others by its connection, as a namespace does, gives each of them a part."""
    directory = subject.directory
    for name in ("a", "b"):
        directory.make_directory(name)
    one, other = (Directory(directory.narrow(name, Access.ALL)) for name in ("a", "b"))
    for number in range(MOST_NARROWED):
        one.make_directory(f"d{number}")
        subject.task.delete(one.narrow(f"d{number}", Access.READ))
    with pytest.raises(TooManyOpen):
        one.narrow("d0", Access.WRITE)
    one.make_directory("d0/below")
    below = Directory(one.narrow("d0", Access.READ))
    with pytest.raises(TooManyOpen):
        below.narrow("below", Access.READ)
    other.make_directory("d")
    Directory(other.narrow("d", Access.READ)).list("")
    Directory(directory.narrow("a/d0", Access.READ)).list("")


def test_a_connection_has_an_end_of_what_all_its_parts_narrow(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grants, "MOST_OF_AN_OWNER", 5)
    directory = subject.directory
    for part in ("a", "b", "c"):
        directory.make_directory(part)
        directory.make_directory(f"{part}/below")
    one, two, three = (Directory(directory.narrow(part, Access.ALL)) for part in ("a", "b", "c"))
    one.narrow("below", Access.READ)
    two.narrow("below", Access.READ)
    with pytest.raises(TooManyOpen):
        three.narrow("below", Access.READ)
    directory.remove("a/below")
    three.narrow("below", Access.READ)


def test_who_was_given_a_part_has_so_many_sessions_by_it(made: TestSystem) -> None:
    with connect(Main, configuration={"sessions": 2 * TENANTS}) as directory, ExitStack() as stack:
        for name in ("a", "b"):
            directory.make_directory(name)
        one, other = (Directory(directory.narrow(name, Access.ALL)) for name in ("a", "b"))
        pools = [stack.enter_context(lend(made.first_task, 13)) for _ in range(4)]
        first = Directory(one.session(pools[0].untyped))
        Directory(first.narrow("", Access.READ)).session(pools[1].untyped)
        with pytest.raises(TooManyOpen):
            one.session(pools[2].untyped)
        other.session(pools[2].untyped)
        pools[1].take_back()
        one.session(pools[3].untyped)


def test_a_description_gives_one_client_no_more_than_half_of_the_sessions(made: TestSystem) -> None:
    with connect(Main, configuration={"sessions": 4}) as directory, ExitStack() as stack:
        pools = [stack.enter_context(lend(made.first_task, 13)) for _ in range(3)]
        for pool in pools[:2]:
            directory.session(pool.untyped)
        with pytest.raises(TooManyOpen):
            directory.session(pools[2].untyped)


# --- volumes that give up


class Fragile:
    """An open file that can be given up, as a volume does whose medium has failed."""

    def __init__(self, file: RamFile) -> None:
        self.file, self.is_given_up = file, False

    def __getattr__(self, name: str) -> Any:
        if self.is_given_up and name != "close":
            raise StaleHandle("the medium failed")
        return getattr(self.file, name)


class FragileVolume(RamVolume):
    def open(self, path: str, /, *, create: bool, exclusive: bool) -> Any:
        self.opened = Fragile(super().open(path, create=create, exclusive=exclusive))
        return self.opened


def test_a_file_that_the_volume_gave_up_can_be_looked_at_and_opened_anew(made: TestSystem) -> None:
    volume = FragileVolume(1 << 20)

    @component
    class Server(FileSystemServer):
        def start(self) -> None:
            self.serve_volume(volume)

    looks: list[Callable[[Directory], object]] = [
        lambda directory: directory.stat("f"),
        lambda directory: directory.list(""),
        lambda directory: directory.open_number("f", READ),
    ]
    with connect(Server) as directory:
        for look in looks:
            with Subject(directory, made.first_task).client() as client:
                file = client.open("f")
                file.write_piece(0, b"bytes")
                volume.opened.is_given_up = True
                with pytest.raises(StaleHandle):
                    file.size()
                look(client.directory)
                with pytest.raises(StaleHandle):
                    file.read_piece(0, 5)
                assert client.open("f").read_piece(0, 5) == b"bytes"
                file.close()
                assert directory.stat("f").size == 5


def test_a_list_that_is_too_long_to_say_is_refused() -> None:
    with connect(Main, configuration={"bytes": 64 << 20}) as directory:
        for number in range(5_000):
            directory.make_directory(f"{number:0240}")
        with pytest.raises(TooManyOpen, match="5000 names"):
            directory.list("")


# --- what others may see


def test_a_session_of_a_narrowed_capability_follows_its_directory(subject: Subject) -> None:
    subject.directory.make_directory("d")
    with subject.narrowed(subject.directory, "d", Access.ALL) as narrow, subject.client(narrow) as client:
        client.put("f", b"bytes")
        assert client.directory.stat("f").size == 5
        subject.directory.rename("d", "e")
        assert client.directory.stat("f").size == 5
        assert subject.directory.stat("e/f").size == 5
        subject.directory.make_directory("d")
        client.put("g", b"more")
        assert subject.directory.list("d") == []


def test_what_was_looked_at_is_not_seen_again_where_it_is_not(subject: Subject) -> None:
    """Paths that were checked are kept; rights, sessions and names are looked at each time."""
    subject.directory.make_directory("d")
    with subject.client() as client:
        client.put("d/f", b"12345")
        with subject.narrowed(subject.directory, "d", Access.READ) as narrow, subject.client(narrow) as reader:
            assert reader.directory.stat("f").size == narrow.stat("f").size == 5
            reader.pool.take_back()
            with pytest.raises(StaleHandle):
                reader.directory.stat("f")
            client.directory.remove("d/f")
            client.directory.remove("d")
            with pytest.raises(StaleHandle):
                narrow.stat("f")


def test_files_that_were_handed_on_end_with_their_session(subject: Subject) -> None:
    with subject.client() as client:
        client.put("f", b"bytes")
        _, endpoint = client.directory.open("f", READ)
        handed_on = File(endpoint)
        assert handed_on.read_piece(0, 10) == b"bytes"
        client.pool.take_back()
        with pytest.raises(StaleHandle):
            handed_on.read_piece(0, 10)
        subject.task.delete(endpoint)


def test_an_exclusive_file_is_made_once(subject: Subject) -> None:
    with subject.client() as client, subject.client() as other:
        number, size, identity = client.directory.open_number("f", NEW)
        assert size == 0
        another, *same = other.directory.open_number("f", NEW)
        assert same == [0, identity]
        assert another != number
        assert isinstance(client.directory, Directory)


def test_a_long_row_of_sessions_comes_to_an_end_and_ends_with_the_first(made: TestSystem) -> None:
    with connect(Main) as directory, ExitStack() as stack:
        row = [directory]
        for _ in range(1 + MOST_DEPTH):
            pool = stack.enter_context(lend(made.first_task, 13))
            row.append(Directory(row[-1].session(pool.untyped)))
        pool = stack.enter_context(lend(made.first_task, 13))
        with pytest.raises(TooManyOpen, match="that is enough"):
            row[-1].session(pool.untyped)
        assert row[-1].stat("").kind == row[0].stat("").kind
        row[1].close()
        for each in row[1:]:
            with pytest.raises(StaleHandle):
                each.stat("")
